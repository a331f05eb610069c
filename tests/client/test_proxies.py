"""Proxies from the environment, compared with curl."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from dugong import InvalidRequest
from dugong.client.proxies import EnvironmentProxies
from dugong.pool.origin import Origin, check_origin
from tests.support.in_turn import in_turn

PROXY = "http://127.0.0.1:1"


def found(url: str, **environ: str) -> str | None:
    return EnvironmentProxies(environ).find(check_origin(url))


def curl(*urls: str, **environ: str) -> list[str | None]:
    """Return the proxy that curl tries to connect to for each URL; ``None`` if it uses none.

    Without a proxy, it tries to connect to port 2.
    """
    command = ["curl", "-q", "-sS", "--connect-to", "::127.0.0.1:2", "--max-time", "10", *urls]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    tried = re.findall(r"connect to (\S+) port (\d+)", done.stderr)
    assert len(tried) == len(urls), done.stderr
    return [None if port == "2" else f"{host}:{port}" for host, port in tried]


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

VARIABLES = [
    {},
    {"http_proxy": PROXY},
    {"HTTP_PROXY": PROXY},
    {"Http_Proxy": PROXY},
    {"https_proxy": PROXY},
    {"HTTPS_PROXY": PROXY},
    {"all_proxy": PROXY},
    {"ALL_PROXY": PROXY},
    {"http_proxy": "", "all_proxy": PROXY},
    {"https_proxy": "", "HTTPS_PROXY": PROXY},
    {"http_proxy": PROXY, "all_proxy": "http://127.0.0.1:3"},
    {"https_proxy": PROXY, "HTTPS_PROXY": "http://127.0.0.1:3"},
    {"all_proxy": PROXY, "ALL_PROXY": "http://127.0.0.1:3"},
    {"HTTPS_PROXY": PROXY, "all_proxy": "http://127.0.0.1:3"},
    {"all_proxy": PROXY, "no_proxy": "*"},
    {"all_proxy": PROXY, "NO_PROXY": "*"},
    {"all_proxy": PROXY, "no_proxy": "", "NO_PROXY": "*"},
    {"all_proxy": PROXY, "no_proxy": "other", "NO_PROXY": "*"},
    {"HTTP_PROXY": PROXY, "all_proxy": ""},
]


@needs_curl
@in_turn("environ", VARIABLES, ids=str)
@in_turn("scheme", ["http", "https"])
def test_variables(environ: dict[str, str], scheme: str) -> None:
    proxy = found(f"{scheme}://a.example/", **environ)
    [expected] = curl(f"{scheme}://a.example/", **environ)
    assert proxy == (None if expected is None else f"http://{expected}")


VALUES = [
    "127.0.0.1:3", "127.0.0.1", "http://127.0.0.1", "HTTP://127.0.0.1:3/", "http://u:p@127.0.0.1:3",
    "u:p@127.0.0.1:3", "http://u:p%40ss@127.0.0.1:3", "socks5://127.0.0.1:3", "socks5h://127.0.0.1",
    "http://[::1]:3", "[::1]:3", "http://:@127.0.0.1:3", "http://127.0.0.1:", "https://127.0.0.1",
]  # fmt: skip


@needs_curl
@in_turn("value", VALUES)
def test_values(value: str) -> None:
    proxy = found("http://a.example/", http_proxy=value)
    assert proxy is not None
    address = proxy.partition("://")[2].rpartition("@")[2]
    [expected] = curl("http://a.example/", http_proxy=value)
    assert expected is not None
    assert address.replace("[", "").replace("]", "") == expected.replace("[", "").replace("]", "")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("h", "http://h:1080"),
        ("https://u:p@H/", "https://u:p@H:443"),
        ("socks5h://h:9", "socks5h://h:9"),
        ("u@h:3128", "http://u@h:3128"),
    ],
)
def test_normal_form(value: str, expected: str) -> None:
    assert found("http://x/", http_proxy=value) == expected


#: Hosts, and items that may match them.
HOSTS = [
    "example.org", "www.example.org", "www.example.org.", "notexample.org", "org", "10.1.2.3",
    "127.0.0.1", "192.168.255.255", "[::1]", "[fe80::12:34]", "[2001:db8::1]", "localhost",
    "EXAMPLE.org",
]  # fmt: skip

LISTS = [
    "example.org", ".example.org", "..example.org", "example.org.", ".example.org.", "EXAMPLE.ORG",
    "www.example.org", "a,example.org", "a, example.org ,b", "a ,\texample.org",
    ",,example.org", "a,,example.org,", " example.org", "*", " *", "*,a", "a,*", "*.example.org",
    "*example.org", "example", "org", ".", "..", ",", " ", "example.org:80", "example.org:443",
    "10.1.2.3", "10.1.2.3:80", "10.0.0.0/8", "10.9.9.9/8", "10.1.2.3/32", "10.1.2.0/33",
    "10.1.2.3/0", "0.0.0.0/0", "10.1.2.3/008", "10.1.2",
    "2.3", ".2.3", "10.0.0.0/8 a", "192.168.0.0/16", "192.168.128.0/17", "192.168.0.0/17", "::1",
    "[::1]", "::/0", "fe80::/129",
    "::ffff:10.1.2.3", "fe80::12:34%eth0", "127.0.0.0/8,example.org", "127.1",
    "localhost", "http://example.org", "example.org/", "10.1.2.03",
]  # fmt: skip


@needs_curl
@in_turn("without", LISTS, ids=str)
def test_no_proxy(without: str) -> None:
    environ = {"all_proxy": PROXY, "no_proxy": without}
    urls = [f"http://{host}/" for host in HOSTS]
    for url, expected in zip(urls, curl(*urls, **environ), strict=True):
        assert (found(url, **environ) is None) is (expected is None), url


def skips(without: str, host: str) -> bool:
    return found(f"http://{host}/", all_proxy=PROXY, no_proxy=without) is None


@in_turn(
    ("without", "host", "expected"),
    [
        ("a example.org", "example.org", False),
        ("a example.org", "a", True),
        ("::1/128", "[::1]", True),
        ("::1/0", "[::1]", True),
        ("::1/0", "[::2]", False),
        ("fe80::/10", "[fe80::12:34]", True),
        ("fe80::/10", "[fec0::1]", False),
        ("ff00::/9", "[ff7f::1]", True),
        ("ff00::/9", "[ff80::1]", False),
        ("2001:db8::/32", "[2001:db8::1]", True),
        ("2001:db8::/31", "[2001:db9::1]", True),
        ("2001:db8::/31", "[2001:dba::1]", False),
        ("10.1.2.3/", "10.1.2.3", False),
        ("10.1.2.3/a", "10.1.2.3", False),
        ("10.1.2.3/8/8", "10.1.2.3", False),
        ("10.1.2.3/+8", "10.1.2.3", False),
    ],
)
def test_what_curl_has_corrected(without: str, host: str, expected: bool) -> None:
    """Older versions, which are in use, split at blanks, and read some networks wrongly."""
    assert skips(without, host) is expected


def test_no_proxy_without_curl() -> None:

    assert skips("a, .example.org", "www.example.org")
    assert skips("example.org", "Example.org.")
    assert not skips("example.org", "notexample.org")
    assert skips("10.0.0.0/8", "10.1.2.3")
    assert not skips("10.0.0.0/8", "11.1.2.3")
    assert skips("2001:db8::/32", "[2001:db8::1]")
    assert not skips("example.org:80", "example.org")
    assert not skips("a b.example", "b.example")


@in_turn(
    "value",
    [
        "http://",
        "http://h:x",
        "http://h:123456",
        "h/path",
        "h?q",
        "http://u:s3cret@",
        "a b@",
        "http://u:s3cret@x@h",
    ],
)
def test_no_proxy_url(value: str) -> None:
    with pytest.raises(InvalidRequest, match="https_proxy") as info:
        EnvironmentProxies({"https_proxy": value})
    assert "s3cret" not in str(info.value)


@pytest.mark.parametrize("scheme", ["socks4", "socks4a", "ftp", "h2"])
def test_an_unsupported_kind_of_proxy(scheme: str) -> None:
    with pytest.raises(InvalidRequest, match=f"http_proxy .*{scheme}"):
        EnvironmentProxies({"http_proxy": f"{scheme}://u:p@h:1"})


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"HTTP_PROXY": PROXY}, False),
        ({"http_proxy": PROXY}, True),
        ({"all_proxy": PROXY, "no_proxy": "*"}, False),
    ],
)
def test_whether_there_is_any(environ: dict[str, str], expected: bool) -> None:
    assert bool(EnvironmentProxies(environ)) is expected


def test_the_environment_is_read_once() -> None:
    environ = {"http_proxy": PROXY}
    proxies = EnvironmentProxies(environ)
    environ.clear()
    assert proxies.find(Origin("http", "h")) == PROXY
