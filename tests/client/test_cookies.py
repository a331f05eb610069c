"""Cookies: which are stored, and where they go."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy, MozillaCookieJar
from pathlib import Path
from typing import Any

import pytest

from dugong import Headers
from dugong.client.cookie_policy import CookiePolicy, is_public_suffix
from dugong.client.cookies import Cookies
from dugong.client.url import parse
from tests.support.in_turn import in_turn

ROOT = Path(__file__).parent.parent.parent


def stored(
    cookies: Cookies, url: str, *values: str, name: str = "Set-Cookie"
) -> list[tuple[str | None, str]]:
    cookies.store(parse(url), Headers([(name, value) for value in values]))
    return [(cookie.domain, cookie.name) for cookie in cookies.jar]


def sent(cookies: Cookies, url: str) -> str | None:
    return cookies.header(parse(url))


def set_by(url: str, *values: str) -> Cookies:
    cookies = Cookies()
    stored(cookies, url, *values)
    return cookies


def test_back_to_the_host() -> None:
    cookies = set_by("http://example.org/a/b?q#f", "a=1", "b=2; Path=/; HttpOnly", "c=3; Path=/x")
    assert sent(cookies, "http://example.org/a/c") == "a=1; b=2"
    assert sent(cookies, "http://u:p@EXAMPLE.org:8080/a/") == "a=1; b=2"
    assert sent(cookies, "https://example.org/x/y") == "c=3; b=2"
    assert sent(cookies, "http://example.org/xy") == "b=2"
    assert sent(cookies, "http://other.example/a/") is None


#: The host that sets a cookie, its Domain, a host, and whether that gets it.
DOMAINS = [
    ("example.org", None, "example.org", True),
    ("example.org", None, "sub.example.org", False),
    ("example.org", None, "org", False),
    ("example.org", None, "notexample.org", False),
    ("sub.example.org", None, "example.org", False),
    ("example.org", "example.org", "example.org", True),
    ("example.org", "example.org", "sub.example.org", True),
    ("example.org", ".example.org", "a.b.example.org", True),
    ("example.org", "EXAMPLE.org", "sub.example.org", True),
    ("sub.example.org", "example.org", "example.org", True),
    ("sub.example.org", "example.org", "other.example.org", True),
    ("a.b.example.org", "example.org", "x.y.example.org", True),
    ("example.org", "example.org", "notexample.org", False),
    ("example.org", "example.org", "example.org.evil.net", False),
    ("example.org", "sub.example.org", "sub.example.org", False),
    ("example.org", "other.net", "other.net", False),
    ("evilexample.org", "example.org", "example.org", False),
    ("example.org", "org", "example.org", False),
    ("example.org", "org", "other.org", False),
    ("example.org", "", "other.org", False),
    ("example.org", ".", "other.org", False),
    ("shop.co.uk", "co.uk", "shop.co.uk", False),
    ("shop.co.uk", "co.uk", "other.co.uk", False),
    ("shop.co.uk", "shop.co.uk", "a.shop.co.uk", True),
    ("me.github.io", "github.io", "you.github.io", False),
    ("github.io", "github.io", "github.io", True),
    ("github.io", "github.io", "me.github.io", False),
    ("a.kobe.jp", "kobe.jp", "b.kobe.jp", False),
    ("a.xn--p1ai", "xn--p1ai", "b.xn--p1ai", False),
    ("localhost", None, "localhost", True),
    ("localhost", None, "sub.localhost", False),
    ("localhost", "localhost", "localhost", True),
    ("localhost", "localhost", "sub.localhost", False),
    ("127.0.0.1", None, "127.0.0.1", True),
    ("127.0.0.1", "127.0.0.1", "127.0.0.1", True),
    ("127.0.0.1", "0.0.1", "127.0.0.1", False),
    ("127.0.0.1", "1", "10.0.0.1", False),
    ("[::1]", None, "[::1]", True),
    ("[::1]", None, "[::2]", False),
    ("example.org.", "org.", "other.org.", False),
]


@in_turn(("setter", "domain", "host", "expected"), DOMAINS)
@in_turn("make", [Cookies, lambda: Cookies(CookieJar())], ids=["own", "given"])
def test_hosts(
    setter: str, domain: str | None, host: str, expected: bool, make: Callable[[], Cookies]
) -> None:
    cookies = make()
    attribute = "" if domain is None else f"; Domain={domain}"
    stored(cookies, f"https://{setter}/", f"a=1; Path=/{attribute}")
    assert sent(cookies, f"https://{host}/") == ("a=1" if expected else None)


def test_secure() -> None:
    cookies = set_by("https://example.org/", "a=1; Secure", "b=2")
    assert sent(cookies, "https://example.org/") == "a=1; b=2"
    assert sent(cookies, "http://example.org/") == "b=2"
    assert sent(cookies, "http://example.org:443/") == "b=2"


def test_expiry_and_replacement() -> None:
    url = "http://example.org/"
    cookies = set_by(url, "a=1; Max-Age=1000", "b=2; Expires=Fri, 01 Jan 2100 00:00:00 GMT", "c=3")
    assert sent(cookies, url) == "a=1; b=2; c=3"
    stored(cookies, url, "a=4", "b=; Max-Age=0", "c=; Expires=Thu, 01 Jan 1970 00:00:00 GMT")
    assert sent(cookies, url) == "a=4"


def test_ports_and_versions_count_for_nothing() -> None:
    cookies = set_by("http://example.org:81/", 'a=1; Port="81"; Version=1')
    assert sent(cookies, "http://example.org:82/") == "a=1"
    assert stored(Cookies(), "http://example.org/", "a=1", name="Set-Cookie2") == []


@in_turn("value", ["", ";", "=", "=x", "a", ";a=1", "a=1; Path", "a=\xe9\xff", 'a="b c"'])
def test_odd_values_do_no_harm(value: str) -> None:
    cookies = set_by("http://example.org/", value)
    assert "\n" not in (sent(cookies, "http://example.org/") or "")


def test_values_stay_as_they_are() -> None:
    cookies = set_by("http://example.org/", 'a="b, c"', "d=\xe9=%20")
    assert sent(cookies, "http://example.org/") == 'a="b, c"; d=\xe9=%20'


# ------------------------------------------------------------------------------------- jars


class Strange(DefaultCookiePolicy):
    def return_ok(self, cookie: Cookie, request: Any) -> bool:
        return False


@pytest.mark.parametrize(
    "policy", [Strange(), DefaultCookiePolicy(blocked_domains=["example.org"])], ids=["own", "set"]
)
def test_a_policy_of_the_callers_decides(policy: DefaultCookiePolicy) -> None:
    jar = CookieJar(policy)
    cookies = Cookies(jar)
    stored(cookies, "http://example.org/", "a=1")
    assert sent(cookies, "http://example.org/") is None
    assert jar._policy is policy  # type: ignore[attr-defined]


def test_a_jar_with_the_default_policy_gets_ours() -> None:
    for jar in (CookieJar(), MozillaCookieJar(), CookieJar(DefaultCookiePolicy())):
        assert Cookies(jar).jar is jar
        assert type(jar._policy) is CookiePolicy  # type: ignore[attr-defined]


def test_a_jar_that_was_filled_and_one_that_is_saved(tmp_path: Path) -> None:
    path = tmp_path / "cookies.txt"
    jar = MozillaCookieJar(str(path))
    stored(Cookies(jar), "https://example.org/", "a=1; Max-Age=9999", "b=2; Secure; Max-Age=9999")
    jar.save()
    again = MozillaCookieJar(str(path))
    again.load()
    cookies = Cookies(again)
    assert sent(cookies, "https://example.org/") == "a=1; b=2"
    assert sent(cookies, "http://example.org/") == "a=1"
    assert sent(cookies, "http://sub.example.org/") is None


@pytest.mark.parametrize("jar", [{}, {"a": "b"}, "a=b", DefaultCookiePolicy()])
def test_no_jar(jar: Any) -> None:
    with pytest.raises(TypeError, match="cookies must be"):
        Cookies(jar)


UNUSED = """
import sys
from dugong import Headers
from dugong.client.cookies import Cookies
from dugong.client.url import parse
from tests.support.in_turn import in_turn
cookies, url = Cookies(), parse("http://example.org/")
assert cookies.header(url) is None
cookies.store(url, Headers([("A", "b")]))
assert cookies.header(url) is None
assert "http.cookiejar" not in sys.modules
cookies.store(url, Headers([("Set-Cookie", "a=1")]))
assert cookies.header(url) == "a=1"
assert "publicsuffixlist" not in sys.modules
"""

WITHOUT = """
import sys
sys.modules["publicsuffixlist"] = None
from dugong.client.cookie_policy import is_public_suffix
for domain in ("com", "co.uk", "com.au", "or.jp", "com."):
    assert is_public_suffix(domain), domain
for domain in ("example.com", "shop.co.uk", "co.example", "github.io"):
    assert not is_public_suffix(domain), domain
"""


@pytest.mark.parametrize("code", [UNUSED, WITHOUT], ids=["unused", "without list"])
def test_what_is_loaded(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@in_turn(
    ("domain", "expected"),
    [
        ("com", True), ("co.uk", True), ("github.io", True), ("co.uk.", True), ("unknown", True),
        ("xn--p1ai", True), ("xn--55qx5d.cn", True), ("example.com", False), ("a.co.uk", False),
        ("city.kobe.jp", False), ("c.kobe.jp", True),
    ],
)  # fmt: skip
def test_public_suffixes(domain: str, expected: bool) -> None:
    assert is_public_suffix(domain) is expected
