"""No text of the caller's puts an extra line on the wire (hypothesis).

The far end's view is the bytes, taken apart here at every CR and LF. A request is either refused,
with nothing sent and the connection as good as before, or exactly the lines asked for arrive.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dugong import BodyFollowing, ConnectionTimedOut, HTTPConnection, InvalidRequest
from tests.support.responses import EXAMPLES
from tests.support.scripted import ScriptedSocket, run, scripted

pytestmark = pytest.mark.slow

much = settings(
    max_examples=2 * EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

DEFAULTS = {
    "host": "Host: h",
    "accept-encoding": "Accept-Encoding: identity",
    "connection": "Connection: keep-alive",
}

#: What a line is made of, ends with, or may be taken to end with.
NASTY = (
    "\r\n", "\n", "\r", "\x00", " ", "\t", ":", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u010a",
    "\u010d", "\u0d0a", "\ud80a", "\U0001000a", "\x7f", "\xa0", "\xff", "\r\nInjected: 1",
    " HTTP/1.1\r\nHost: other\r\n\r\nGET /",
)  # fmt: skip

anything = st.text(st.characters(exclude_categories=()), max_size=8)
plain = st.sampled_from(["GET", "/", "a", "X-Y", "Host", "Expect", "b c", "/?a=b", "100-continue"])
text = st.one_of(
    anything,
    plain,
    st.lists(st.one_of(plain, st.sampled_from(NASTY)), max_size=4).map("".join),
)


class Rude:
    """What is no text, and would not be nice if it were."""

    def __str__(self) -> str:
        return "a\r\nInjected: 1"

    __repr__ = __str__


odd: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 1.5, b"bytes", b"\r\n", bytearray(b"a"), [], ("a",), Rude(), {"a": 1}]
)
values = st.one_of(text, st.integers(), odd)
targets = st.one_of(text, text.map("/".__add__))
header_names = st.one_of(text, odd.filter(lambda thing: getattr(thing, "__hash__", None)))
pairs = st.lists(st.tuples(header_names, values), max_size=3)

#: The forms in which fields can be given.
FORMS: dict[str, Callable[[list[tuple[Any, Any]]], Any]] = {
    "pairs": list,
    "iterator": iter,
    "mapping": dict,
    "view": lambda fields: dict(fields).items(),
}


def lines_of(wire: bytes) -> list[str]:
    """The lines that any reader could make of the bytes: none of them has half a line end."""
    lines = wire.decode("latin-1").split("\r\n")
    for each in lines:
        assert not re.search("[\r\n\x00]", each), lines
    return lines


def given_lines(fields: list[tuple[Any, Any]]) -> list[str]:
    return [f"{as_text(name)}: {as_text(value)}" for name, value in fields if value is not None]


def as_text(given: Any) -> Any:
    return given.decode("latin-1") if isinstance(given, bytes) else given


def assert_head(wire: bytes, start: str, expected: list[str], **defaults: str) -> None:
    """The head has *expected* field lines, and the defaults for what is not among them."""
    first, *lines = lines_of(wire)
    assert (first, lines[-2:]) == (start, ["", ""])
    assert lines[0].lower().startswith("host:")
    names = {each.partition(":")[0].lower() for each in expected}
    added = [value for name, value in (DEFAULTS | defaults).items() if name not in names]
    assert sorted(lines[:-2]) == sorted(expected + added)


def assert_untouched(conn: HTTPConnection, sock: ScriptedSocket) -> None:
    """Nothing was sent, and the connection is as good as new."""
    assert not sock.sent
    assert not conn.response_pending()
    run(conn.co_send_request("GET", "/works"), sock)
    assert sock.sent.startswith(b"GET /works HTTP/1.1\r\n")


def assert_request(
    method: str, target: str, fields: list[tuple[Any, Any]], form: str = "pairs"
) -> None:
    if form in ("mapping", "view"):
        fields = [*dict(fields).items()]
    with scripted() as (conn, sock):
        try:
            run(conn.co_send_request(method, target, FORMS[form](fields)), sock)
        except (ValueError, TypeError):
            assert_untouched(conn, sock)
            return
        length = {"content-length": "Content-Length: 0"} if method in ("POST", "PUT") else {}
        assert_head(sock.sent, f"{method} {target} HTTP/1.1", given_lines(fields), **length)


@much
@given(method=text, target=targets, fields=pairs, form=st.sampled_from([*FORMS]))
@example("GET", "/", [("A", "b\r\nC: d")], "mapping")
@example("GET", "/", [("A\r\nC", "d")], "pairs")
@example("GET", "/", [("Host", "a\r\nC: d")], "pairs")
@example("GET / HTTP/1.1\r\nA:", "/", [], "pairs")
@example("GET", "/ HTTP/1.1\r\nA: b\r\n\r\n", [], "pairs")
@example("GET", "/\u010d\u010aA: b", [], "pairs")
@example("GET", "/", [("A", "b\u010d\u010aC: d")], "pairs")
def test_request(method: str, target: str, fields: list[tuple[Any, Any]], form: str) -> None:
    assert_request(method, target, fields, form)


@much
@given(name=header_names, value=values)
@example("A", "b\r\nC: d")
def test_one_field(name: Any, value: Any) -> None:
    """By itself, so that nothing else has the request refused."""
    assert_request("GET", "/", [(name, value)])


@much
@given(method=text)
def test_method(method: str) -> None:
    assert_request(method, "/", [])


@much
@given(target=targets)
def test_target(target: str) -> None:
    assert_request("GET", target, [])


@much
@given(method=odd, target=odd)
def test_what_is_no_text(method: Any, target: Any) -> None:
    for arguments in ((method, "/"), ("GET", target), (method, target)):
        with scripted() as (conn, sock):
            with pytest.raises((TypeError, ValueError)):
                run(conn.co_send_request(*arguments), sock)
            assert_untouched(conn, sock)


@much
@given(fields=pairs, form=st.sampled_from([*FORMS]))
@example([("A", "b\r\nC: d")], "mapping")
@example([("A\r\n\r\nGET", "/")], "pairs")
def test_trailers(fields: list[tuple[Any, Any]], form: str) -> None:
    if form in ("mapping", "view"):
        fields = [*dict(fields).items()]
    with scripted() as (conn, sock):
        run(conn.co_send_request("PUT", "/", body=BodyFollowing()), sock)
        run(conn.co_write(b"hi"), sock)
        sock.sent = b""
        try:
            run(conn.co_end_body(FORMS[form](fields)), sock)
        except (ValueError, TypeError):
            assert not sock.sent
            run(conn.co_end_body(), sock)
            assert sock.sent.startswith(b"0\r\n\r\n")
            return
        assert lines_of(sock.sent) == ["0", *given_lines(fields), "", ""]


# ------------------------------------------------------------------------------------- hosts

hosts = st.one_of(text, text.map("a".__add__), st.sampled_from(["::1", "b\xfccher", "::1%\r\n"]))


def assert_host(wire: bytes) -> None:
    """There is one Host, with one line."""
    lines = lines_of(wire)
    assert len(lines) == 2 + len(DEFAULTS) + 1, lines
    (host,) = [each for each in lines if each.lower().startswith("host:")]
    assert re.fullmatch(r"Host: [!-~]+", host)


@much
@given(host=hosts)
@example("a\r\nC: d")
@example("a\u010d\u010aC: d")
def test_host_name(host: str) -> None:
    """Given at first, or set later."""
    with scripted() as (conn, sock):
        try:
            conn.hostname = host
        except InvalidRequest:
            assert conn.hostname == "h"
            assert_untouched(conn, sock)
            with pytest.raises(InvalidRequest):
                HTTPConnection(host)
            return
        run(conn.co_send_request("GET", "/"), sock)
        assert_host(sock.sent)
        HTTPConnection(host)


@much
@given(port=st.one_of(text, st.integers(), odd))
@example("80\r\nC: d")
def test_port(port: Any) -> None:
    with scripted() as (conn, sock):
        try:
            conn.port = port
        except (InvalidRequest, TypeError):
            assert conn.port == 80
            assert_untouched(conn, sock)
            return
        run(conn.co_send_request("GET", "/"), sock)
        assert_host(sock.sent)


credentials = st.builds("{}:{}@".format, text, text)
proxies = st.one_of(
    text.map("http://p:8080".__add__),
    text.map("http://{}".format),
    st.one_of(text.map("{}@".format), credentials).map("http://{}p:8080".format),
)
URL = re.compile(r"(OPTIONS http://h(/a)?|CONNECT h:443) HTTP/1.1")
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@much
@given(proxy=proxies, target=st.sampled_from(["/a", "*"]), tls=st.booleans())
@example("http://u%0d%0aC: d@p:8080", "/a", False)
@example("http://u:%0d%0aC: d@p:8080", "/a", True)
@example("http://u:d%00@p:8080", "/a", True)
def test_proxy(proxy: str, target: str, tls: bool) -> None:
    """Credentials become a field of the request, or of the one for a tunnel."""
    with ScriptedSocket() as sock:
        try:
            conn = HTTPConnection("h", None, TLS if tls else None, proxy, sock=sock)
        except ValueError:
            return
        with conn:
            try:
                run(conn.co_send_request("OPTIONS", target), sock)
            except ConnectionTimedOut:
                assert tls
        first, *lines = lines_of(sock.sent)
        assert URL.fullmatch(first)
        assert lines[-2:] == ["", ""]
        expected = [r"Host: h(:443)?", *([] if tls else ["Accept-Encoding: .*", "Connection: .*"])]
        if "@" in proxy:
            expected.append(r"Proxy-Authorization: Basic [A-Za-z0-9+/=]+")
        assert len(lines) == len(expected) + 2
        for pattern, each in zip(sorted(expected), sorted(lines[:-2]), strict=True):
            assert re.fullmatch(pattern, each)


# --------------------------------------------------- text that is written otherwise than it is


class Named(str, Enum):  # noqa: UP042 - a StrEnum is written as it is
    """Formatted as ``Named.A`` by current Pythons, and written as it is by everybody else."""

    A = "a"
    TARGET = "/a"


class Liar(str):
    """Harmless to whoever looks at its characters, unlike what it says when it is asked."""

    __slots__ = ()

    def __str__(self) -> str:
        return "x\r\nInjected: 1"

    def __format__(self, spec: str) -> str:
        return str(self)


@pytest.mark.parametrize("text", [Named.A, Liar("a")], ids=["enum", "liar"])
@pytest.mark.parametrize("part", ["method", "target", "name", "value", "trailer"])
def test_what_was_checked_is_what_is_sent(text: str, part: str) -> None:
    """Of a str whose class has ideas of its own the characters are sent."""
    parts = dict.fromkeys(("method", "target", "name", "value", "trailer"), "b")
    parts |= {"target": "/b", part: type(text)("/a") if part == "target" else text}
    with scripted() as (conn, sock):
        headers = {parts["name"]: parts["value"]}
        run(conn.co_send_request(parts["method"], parts["target"], headers, BodyFollowing()), sock)
        run(conn.co_end_body({parts["trailer"]: parts["trailer"]}), sock)
        plain = {name: "a" if name == part else "b" for name in parts}
        first, *lines = lines_of(sock.sent)
        assert first == f"{plain['method']} /{plain['target']} HTTP/1.1"
        assert f"{plain['name']}: {plain['value']}" in lines
        assert lines[-4:] == ["0", f"{plain['trailer']}: {plain['trailer']}", "", ""]
