"""The four forms of request targets (RFC 9112 section 3.2), and the Host that goes with each."""

from __future__ import annotations

from typing import Any

import pytest

from dugong import InvalidRequest, Request
from dugong.protocol.request import Defaults, prepare
from tests.support.in_turn import in_turn

DEFAULTS = Defaults({"host": "Host: server", "connection": "Connection: keep-alive"})

#: Method, target, and the value of Host.
GOOD = [
    ("GET", "/", "server"),
    ("GET", "//", "server"),
    ("GET", "//a@b/c", "server"),
    ("GET", "/a?b=http://u:p@h/", "server"),
    ("GET", '/%zz"<>\\^`{|}', "server"),
    ("OPTIONS", "/", "server"),
    ("OPTIONS", "*", "server"),
    ("GET", "http://server/", "server"),
    ("GET", "http://other/x?y", "other"),
    ("GET", "http://Other:8080", "Other:8080"),
    ("GET", "http://other?q@x", "other"),
    ("GET", "http://other/u@x", "other"),
    ("GET", "https://[::1]:1/", "[::1]:1"),
    ("GET", "ftp://other:/", "other:"),
    ("OPTIONS", "http://other", "other"),
    ("CONNECT", "other:443", "other:443"),
    ("CONNECT", "[::1]:1", "[::1]:1"),
    ("connect", "/", "server"),  # another method: names are case-sensitive
    ("CONNECTED", "/", "server"),
]


def head(method: str, target: Any, headers: Any = None) -> str:
    return prepare(Request(method, target, headers), False, DEFAULTS).head.decode("latin-1")


@in_turn(("method", "target", "host"), GOOD)
def test_target(method: str, target: str, host: str) -> None:
    connection = "Connection: keep-alive\r\n"
    assert head(method, target) == f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{connection}\r\n"


@in_turn(("method", "target", "host"), GOOD)
def test_callers_host(method: str, target: str, host: str) -> None:
    """One that differs from the target's is refused."""
    line = f"hOST: {host.upper()}"
    expected = f"{method} {target} HTTP/1.1\r\n{line}\r\nConnection: keep-alive\r\nA: b\r\n\r\n"
    assert head(method, target, [("A", "b"), ("hOST", host.upper())]) == expected
    if target.startswith("/") or target == "*":
        assert "\r\nHost: virtual:1\r\n" in head(method, target, {"Host": "virtual:1"})
    else:
        for different in ("virtual", f"{host}x", f"x{host}", "server:80"):
            with pytest.raises(InvalidRequest, match="Host"):
                head(method, target, {"Host": different})


BAD = [
    *[
        ("GET", target)
        for target in [
            "", "page", "?q=1", "#part", "/page#part", "/#", "*", "a/b", "h:80", "localhost:80",
            ":",
            "http:", "http://", "http:///x", "http:/x", "http:x", "://h/", "http://:80/", "http://h:x/",
            "http://h:0/", "http://h:70000/", "http://h:111111/", "http://h/#a", "http://h#a",
            "http://u@h/", "http://u:p@h/", "http://@h/", "http://h\\x/", "http://h%41/", "http://127.1/",
            "http://a..b/", "http://.h/", "http://[h]/", "http://[127.0.0.1]/", "http://[::1", "http://::1/",
            "http://[::1%25eth0]/", "urn:a", "mailto:a@b", "/a b", "/\u00e4", "/\n", "http://\u00e4/",
        ]
    ],
    *[("OPTIONS", target) for target in ["", "**", "*/", "h:1", "*#"]],
    *[
        ("CONNECT", target)
        for target in [
            "/x", "/", "*", "h", "h:", ":443", "h:0", "h:65536", "h:x", "http://h:443/", "u@h:443",
            "h:443/", "h:443#", "::1:443", "[::1]", "a%41:1", "127.1:443", "h:\u0661", "h:4 3",
            "h:111111",
        ]
    ],
]  # fmt: skip


@in_turn(("method", "target"), BAD)
def test_no_target(method: str, target: str) -> None:
    with pytest.raises(InvalidRequest, match="path"):
        head(method, target)


@pytest.mark.parametrize("target", [b"/", None, 5, ("GET", "/"), {"A": "b"}, ["/"]])
def test_target_of_another_type(target: Any) -> None:
    with pytest.raises(TypeError, match="path must be a str"):
        head("GET", target)


@pytest.mark.parametrize("method", [b"GET", None, 5, {"A": "b"}])
def test_method_of_another_type(method: Any) -> None:
    with pytest.raises(TypeError, match="method must be a str"):
        head(method, "/")


@pytest.mark.parametrize(("method", "target"), [("/x", "GET"), ("http://h/", "POST"), ("*/", "A")])
def test_in_each_others_place(method: str, target: str) -> None:
    with pytest.raises(InvalidRequest, match="method"):
        head(method, target)
