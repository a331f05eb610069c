"""Redirects: where they lead, and what is not to be told there."""

from __future__ import annotations

import pytest

from dugong import Headers, HTTPResponse
from dugong.cli.arguments import url
from dugong.cli.output import Failure
from dugong.cli.redirects import Trail, followed, location
from tests.support.in_turn import in_turn

SECRETS = [("Authorization", "x"), ("cookie", "x"), ("Proxy-Authorization", "x"), ("HOST", "x")]
HARMLESS = [("Accept", "text/plain"), ("X-Host", "y")]


def led(start: str, *targets: str) -> Trail:
    trail = Trail(url(start), [*SECRETS, *HARMLESS])
    for target in targets:
        trail = followed(trail, target)
    return trail


@in_turn(
    ("start", "target", "there"),
    [
        ("http://a/b/c?d", "e", "http://a/b/e"),
        ("http://a/b/c", "/e?f", "http://a/e?f"),
        ("http://a/b/c", "?f", "http://a/b/c?f"),
        ("http://a/b/c", "//d/e", "http://d/e"),
        ("https://a/b/c", "//d/e", "https://d/e"),
        ("http://a/b/c", "../e", "http://a/e"),
        ("http://a", "https://d", "https://d"),
        ("http://[::1]:8/b", "c", "http://[::1]:8/c"),
        ("http://a/b c", "d e", "http://a/d e"),
        ("http://a/b", "/c;", "http://a/c;"),
        ("http://a/b", "/c?", "http://a/c?"),
        ("http://a/b?c", "?", "http://a/b?"),
        ("http://a/b", "b?", "http://a/b?"),
        ("http://a/b", "/c/../d;?#", "http://a/d;?#"),
        ("http://a/b#s", "/c", "http://a/c#s"),
        ("http://a/b#s", "/c#t", "http://a/c#t"),
        ("http://a/b", "HTTP://C/d", "http://C/d"),
        ("http://a/b", "/%2e%2E/%zz/\\c", "http://a/%2e%2E/%zz/\\c"),
        ("http://a/b", "\\\\c\\d", "http://a/\\\\c\\d"),
    ],
)
def test_target(start: str, target: str, there: str) -> None:
    assert led(start, target).document.url == there


@in_turn("status", [200, 201, 300, 301, 302, 303, 304, 305, 307, 308, 404])
def test_location(status: int) -> None:
    fields = Headers([("Location", "/\xc3\xa9\xff")])
    said = location(HTTPResponse("GET", "/", status, "", fields))
    assert said == ("/é\udcff" if status in (301, 302, 303, 307, 308) else None)
    assert location(HTTPResponse("GET", "/", status, "", Headers())) is None


def test_location_repeated() -> None:
    same = Headers([("Location", "/a"), ("location", "/a")])
    assert location(HTTPResponse("GET", "/", 302, "", same)) == "/a"
    others = Headers([("Location", "/a"), ("Location", "/a"), ("location", "/a;")])
    with pytest.raises(Failure, match=r"^the server redirects to several places: /a, /a, /a;$"):
        location(HTTPResponse("GET", "/", 302, "", others))
    assert location(HTTPResponse("GET", "/", 200, "", others)) is None


def test_target_is_sent_as_it_came() -> None:
    assert led("http://a/", "/é\udcff").document.target == "/%C3%A9%FF"
    assert led("http://a/", "/b?%c3%A9 \\;?#s").document.target == "/b?%c3%A9%20\\;?"
    assert led("http://a/", "//é.example/?").document.target == "/?"


@in_turn(
    ("start", "target", "same"),
    [
        ("http://a/b", "/c", True),
        ("http://a/b", "http://a:80/c", True),
        ("http://a/b", "http://A/c", True),
        ("http://a/b", "https://a/c", True),
        ("http://a:80/b", "https://a:443/c", True),
        ("http://a/b", "http://b/c", False),
        ("http://a/b", "http://sub.a/c", False),
        ("http://a/b", "http://a:81/c", False),
        ("http://a:8080/b", "https://a/c", False),
        ("http://a/b", "https://a:8443/c", False),
    ],
)
def test_secrets_stay_with_their_server(start: str, target: str, same: bool) -> None:
    assert led(start, target).fields == [*(SECRETS if same else []), *HARMLESS]


def test_secrets_do_not_come_back() -> None:
    assert led("http://a/1", "http://b/2", "http://a/3").fields == HARMLESS


@in_turn(
    ("start", "targets", "message"),
    [
        ("http://a/1", ["/1"], "the server redirects in a loop, back to http://a/1"),
        ("http://a/1", ["/2", "/1#x"], "the server redirects in a loop, back to http://a/1#x"),
        ("http://a/1#y", ["/2", "/1"], "the server redirects in a loop, back to http://a/1#y"),
        (
            "http://a/1?#y",
            ["/1", "/1?"],
            "the server redirects in a loop, back to http://a/1?#y",
        ),
        ("http://a/1", [""], "the server redirects in a loop, back to http://a/1"),
        ("http://a/1", ["#x"], "the server redirects in a loop, back to http://a/1#x"),
        (
            "http://a/",
            [f"/{i}" for i in range(21)],
            "the server redirects more than 20 times, last to http://a/20",
        ),
        (
            "https://a/1",
            ["http://a/2"],
            "the server redirects from https to http: to allow that, fetch http://a/2",
        ),
        (
            "http://a/",
            ["ftp://a/"],
            "the server redirects to an unsupported URL: 'ftp://a/': a URL",
        ),
        ("http://a/", ["http://x:y@a/"], "the server redirects to an unsupported URL: a user name"),
        ("http://a/", ["http://[/"], "the server redirects to an unsupported URL: "),
        ("http://a/", ["http://a:0/"], "the server redirects to an unsupported URL: "),
        (
            "http://a/",
            ["http:///b"],
            "the server redirects to an unsupported URL: 'http:///b': the host",
        ),
        (
            "http://a/",
            ["///b"],
            "the server redirects to an unsupported URL: 'http:///b': the host name",
        ),
        ("http://a/", ["//"], "the server redirects to an unsupported URL: 'http://': the host"),
        ("http://a/", ["//:80/b"], "the server redirects to an unsupported URL: "),
        (
            "http://a/",
            ["http:/b"],
            "the server redirects to an unsupported URL: 'http:/b': the host",
        ),
        ("http://a/", ["http:b"], "the server redirects to an unsupported URL: 'http:b': the host"),
        ("http://a/", ["//b\\@c/"], "the server redirects to an unsupported URL: "),
        ("http://a/", ["//b\\c/"], "the server redirects to an unsupported URL: "),
        ("http://a/", ["//b\udcff/"], "the server redirects to an unsupported URL: "),
        ("http://a/", ["/\x01"], "the server redirects to an unsupported URL: "),
    ],
)
def test_nowhere(start: str, targets: list[str], message: str) -> None:
    trail = led(start, *targets[:-1])
    with pytest.raises(Failure) as caught:
        followed(trail, targets[-1])
    assert str(caught.value).startswith(message)
