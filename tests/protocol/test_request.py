"""Request heads: what is added, what is refused, and that no text gets a line onto the wire."""

from __future__ import annotations

import array
import ctypes
import http
import io
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dugong import BodyFollowing, CaseInsensitiveDict, InvalidRequest, Request
from dugong.protocol.content import as_bytes
from dugong.protocol.exchange import Exchange
from dugong.protocol.limits import MIN_EXPECT_SIZE
from dugong.protocol.request import Defaults, prepare, serialise_trailers
from tests.support.in_turn import in_turn

LINES = {"host": "Host: h", "accept-encoding": "Accept-Encoding: identity"}
DEFAULTS = Defaults(LINES)


def make(
    method: str = "GET",
    target: str = "/",
    headers: Any = None,
    body: Any = None,
    expect100: bool = False,
) -> Exchange:
    return prepare(Request(method, target, headers, body), expect100, DEFAULTS)


def lines(exchange: Exchange) -> list[str]:
    """The field lines beyond the defaults."""
    head = exchange.head.decode("latin-1")
    assert head.endswith("\r\n\r\n")
    return [line for line in head[:-4].split("\r\n")[1:] if line not in LINES.values()]


# --------------------------------------------------------------------------- what is sent


def test_whole_head() -> None:
    exchange = make("PUT", "/a?b", {"X-A": "b", "N": 5}, b"xyz")
    assert exchange.head == (
        b"PUT /a?b HTTP/1.1\r\nHost: h\r\nAccept-Encoding: identity\r\n"
        b"X-A: b\r\nN: 5\r\nContent-Length: 3\r\n\r\n"
    )
    assert exchange.content is not None
    assert (bytes(exchange.content.take()), exchange.length) == (b"xyz", 3)
    assert not exchange.follows


@pytest.mark.parametrize("name", ["Host", "host", "HOST", "accept-Encoding"])
def test_caller_replaces_a_default(name: str) -> None:
    exchange = make(headers={name: "other"})
    assert [line.lower() for line in exchange.head.decode().split("\r\n")].count(
        f"{name.lower()}: other"
    ) == 1
    assert LINES[name.lower()].encode() not in exchange.head


FRAMING: list[tuple[str, Any, list[str]]] = [
    # RFC 9110 section 8.6: a method whose content means something says that there is none
    *[(method, None, []) for method in ("GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "X", "post")],
    *[(method, None, ["Content-Length: 0"]) for method in ("POST", "PUT", "PATCH")],
    ("GET", b"", ["Content-Length: 0"]),
    ("POST", b"abc", ["Content-Length: 3"]),
    ("POST", array.array("I", [1, 2]), ["Content-Length: 8"]),
    ("POST", BodyFollowing(7), ["Content-Length: 7"]),
    ("POST", BodyFollowing(0), ["Content-Length: 0"]),
    ("POST", BodyFollowing(), ["Transfer-Encoding: chunked"]),
    ("GET", BodyFollowing(), ["Transfer-Encoding: chunked"]),
]


@in_turn(("method", "body", "expected"), FRAMING)
def test_framing(method: str, body: Any, expected: list[str]) -> None:
    assert lines(make(method, body=body)) == expected


@in_turn(
    ("body", "field"),
    [
        (b"abc", ("Content-Length", "3")),
        (b"abc", ("content-length", 3)),
        (b"abc", ("CONTENT-LENGTH", " 03\t")),
        (None, ("Content-Length", 0)),
        (BodyFollowing(5), ("Content-Length", "5")),
        (BodyFollowing(), ("transfer-encoding", "Chunked")),
        (BodyFollowing(5), ("transfer-encoding", "chunked")),
        (b"abc", ("Transfer-Encoding", "chunked")),
        (io.BytesIO(b"abc"), ("Transfer-Encoding", "chunked")),
        (io.BytesIO(b"abc"), ("Content-Length", "2")),
    ],
)
def test_framing_of_the_callers_own_is_kept(body: Any, field: tuple[str, Any]) -> None:
    assert lines(make("POST", headers=[field], body=body)) == [f"{field[0]}: {field[1]}"]


@pytest.mark.parametrize(
    ("body", "headers", "follows", "expects", "added"),
    [
        (BodyFollowing(3), {}, True, True, ["Content-Length: 3", "Expect: 100-continue"]),
        (BodyFollowing(), {}, True, True, ["Transfer-Encoding: chunked", "Expect: 100-continue"]),
        (BodyFollowing(3), {"expect": "100-Continue"}, True, True, ["Content-Length: 3"]),
        (BodyFollowing(0), {}, False, False, ["Content-Length: 0"]),
    ],
)
def test_expect(
    body: Any, headers: dict[str, str], follows: bool, expects: bool, added: list[str]
) -> None:
    exchange = make("PUT", headers=headers, body=body, expect100=True)
    assert (exchange.follows, exchange.expect_continue) == (follows, expects)
    assert lines(exchange) == [f"{name}: {value}" for name, value in headers.items()] + added


@pytest.mark.parametrize(
    ("value", "closes"),
    [("close", True), ("x,\tCLOSE ", True), ("keep-alive", False), ("closed", False), ("", False)],
)
def test_announcing_to_close(value: str, closes: bool) -> None:
    assert make(headers={"Connection": value}).closes is closes


def test_upgrade() -> None:
    assert make(headers={"upgrade": "websocket"}).upgrades
    assert not make().upgrades


@pytest.mark.parametrize(
    "headers",
    [
        {"A": "b", "C": 1},
        CaseInsensitiveDict({"A": "b", "C": 1}),
        [("A", "b"), ("C", 1)],
        iter([("A", "b"), ("C", 1)]),
        (("A", "b"), ("C", 1)),
    ],
    ids=["dict", "CaseInsensitiveDict", "list", "iterator", "tuple"],
)
def test_forms_of_headers(headers: Iterable[Any]) -> None:
    assert lines(make(headers=headers)) == ["A: b", "C: 1"]


def test_headers_given_once_are_there_for_a_retry() -> None:
    """What `unanswered` lists can be sent again, an iterator of pairs included."""
    request = make("PUT", headers=iter([("A", "b")]), body=b"x").request
    again = make(request.method, request.path, request.headers, request.body)
    assert lines(again)[0] == "A: b"


def test_callers_headers_are_not_written_to() -> None:
    headers = {"A": "b"}
    make("POST", headers=headers, body=b"x")
    assert headers == {"A": "b"}


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("\xe9\xff\t!~", "\xe9\xff\t!~"), ("", ""), (-5, "-5"), (http.HTTPStatus.OK, "200"),
        (b"\xe9\xff\t!~", "\xe9\xff\t!~"), (b"", ""),
    ],
)  # fmt: skip
def test_values(value: str | bytes | int, sent: str) -> None:
    for name in ("A", b"A"):
        assert lines(make(headers={name: value})) == [f"A: {sent}"]


@pytest.mark.parametrize("name", ["Accept-Encoding", b"accept-encoding"])
def test_none_leaves_a_field_out(name: str | bytes) -> None:
    for headers in ({name: None, "A": "b"}, iter([(name, None), ("A", "b")])):
        exchange = make(headers=headers)
        assert exchange.head == b"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n"
        again = make(headers=exchange.request.headers)
        assert again.head == exchange.head


def test_none_where_nothing_would_be_added() -> None:
    assert make(headers={"User-Agent": None}).head == make().head


def test_none_leaves_out_expect() -> None:
    """A large body would ask first."""
    request = Request("PUT", "/", {"Expect": None}, bytes(MIN_EXPECT_SIZE))
    exchange = prepare(request, None, DEFAULTS)
    assert not exchange.expect_continue
    assert b"Expect" not in exchange.head


@in_turn("name", ["Host", b"HOST", "hOsT"])
@in_turn("where", [0, 1, 2])
def test_host_is_first(name: str | bytes, where: int) -> None:
    """RFC 9110 section 7.2."""
    headers: list[tuple[str | bytes, str]] = [("A", "b"), ("C", "d")]
    headers.insert(where, (name, "other:80"))
    text = name if isinstance(name, str) else name.decode()
    expected = (
        f"GET / HTTP/1.1\r\n{text}: other:80\r\n{LINES['accept-encoding']}\r\nA: b\r\nC: d\r\n\r\n"
    )
    assert make(headers=headers).head.decode() == expected
    assert make().head.startswith(b"GET / HTTP/1.1\r\nHost: h\r\n")


def test_path_is_what_the_user_gave() -> None:
    exchange = prepare(Request("GET", "/x"), False, DEFAULTS, "http://h/x")
    assert exchange.head.startswith(b"GET http://h/x HTTP/1.1\r\n")
    assert exchange.request.path == "/x"


# ------------------------------------------------------------------------ what is refused

TYPE_ERRORS: dict[str, dict[str, Any]] = {
    "str body": {"body": "text"},
    "int body": {"body": 5},
    "text file body": {"body": io.StringIO("text")},
    "dict body": {"body": {"a": b"b"}},
    "float value": {"headers": {"A": 1.5}},
    "bool value": {"headers": {"A": True}},
    "bytearray value": {"headers": {"A": bytearray(b"b")}},
    "list value": {"headers": {"A": ["b"]}},
    "int name": {"headers": [(1, "b")]},
    "None name": {"headers": [(None, "b")]},
    "str headers": {"headers": "X: y"},
    "empty str headers": {"headers": ""},
    "bytes headers": {"headers": b"X: y"},
    "int headers": {"headers": 5},
    "file headers": {"headers": io.BytesIO(b"data")},
    "BodyFollowing headers": {"headers": BodyFollowing(5)},
    "list of lines": {"headers": ["X: y"]},
    "list of two characters": {"headers": ["ab"]},
    "list of bytes": {"headers": [b"ab"]},
    "headers and body in each other's place": {"headers": b"data", "body": {"A": "b"}},
    "pairs as the body": {"body": [("A", "b")]},
    "strings as the body": {"body": ["a"]},
    "bytes method": {"method": b"GET"},
    "bytes target": {"target": b"/"},
    "no target": {"target": None},
}

VALUE_ERRORS: dict[str, dict[str, Any]] = {
    "empty method": {"method": ""},
    "method and path in each other's place": {"method": "/", "target": "GET"},
    "URL and method in each other's place": {"method": "http://h/", "target": "GET"},
    "method with space": {"method": "GET /"},
    "method with line end": {"method": "GET\r\n"},
    "method beyond ASCII": {"method": "G\xc9T"},
    "empty target": {"target": ""},
    "target with space": {"target": "/a b"},
    "target with LF": {"target": "/a\n"},
    "target beyond ASCII": {"target": "/\xe9"},
    "triples": {"headers": [("A", "b", "c")]},
    "singles": {"headers": [("A",)]},
    "empty name": {"headers": {"": "b"}},
    "bytes name with LF": {"headers": {b"A\n": "b"}},
    "bytes name beyond ASCII": {"headers": {b"\xe4": "b"}},
    "bytes value with LF": {"headers": {"A": b"b\n"}},
    "endless number": {"headers": {"A": 10**5000}},
    "Host left out": {"headers": {"Host": None}},
    "length left out": {"method": "POST", "headers": {"Content-Length": None}},
    "coding left out": {"body": BodyFollowing(), "headers": {"Transfer-Encoding": None}},
    "Expect left out and asked for": {
        "expect100": True, "body": BodyFollowing(1), "headers": {"Expect": None},
    },
    "name with colon": {"headers": {"A:": "b"}},
    "name with space": {"headers": {"A b": "b"}},
    "name with LF": {"headers": {"A\n": "b"}},
    "value with CR": {"headers": {"A": "b\rc"}},
    "value with LF": {"headers": {"A": "b\n"}},
    "value with NUL": {"headers": {"A": "\x00"}},
    "value beyond latin-1": {"headers": {"A": "\u20ac"}},
    "no Host": {"headers": {"Host": ""}},
    "Host with path": {"headers": {"Host": "h/x"}},
    "Host with user": {"headers": {"Host": "u@h"}},
    "bare IPv6 Host": {"headers": {"Host": "::1"}},
    "two Hosts": {"headers": [("Host", "h"), ("host", "h")]},
    "two Hosts, one of bytes": {"headers": {"Host": "h", b"Host": "h"}},
    "list of Hosts": {"headers": {"Host": "h, h"}},
    "Expect of something else": {
        "expect100": True, "body": BodyFollowing(1), "headers": {"Expect": "y"},
    },
    "length too big": {"body": b"abc", "headers": {"Content-Length": "4"}},
    "length with sign": {"body": b"abc", "headers": {"Content-Length": "+3"}},
    "length negative": {"body": b"", "headers": {"Content-Length": -1}},
    "length in hex": {"body": b"abc", "headers": {"Content-Length": "0x3"}},
    "length empty": {"headers": {"Content-Length": ""}},
    "two lengths": {"body": b"abc", "headers": [("Content-Length", 3), ("content-length", 3)]},
    "length without body": {"headers": {"Content-Length": "3"}},
    "length and chunks": {"body": BodyFollowing(), "headers": {"Content-Length": "3"}},
    "chunks without body": {"headers": {"Transfer-Encoding": "chunked"}},
    "both framing fields": {
        "body": [b"abc"], "headers": {"Transfer-Encoding": "chunked", "Content-Length": "3"},
    },
    "other coding": {"body": BodyFollowing(), "headers": {"Transfer-Encoding": "gzip, chunked"}},
    "chunked twice": {
        "body": BodyFollowing(), "headers": 2 * [("Transfer-Encoding", "chunked")],
    },
}  # fmt: skip


@in_turn("arguments", TYPE_ERRORS.values(), ids=TYPE_ERRORS)
def test_wrong_types(arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        make(**arguments)


@in_turn("arguments", VALUE_ERRORS.values(), ids=VALUE_ERRORS)
def test_wrong_values(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        make(**arguments)


NASTY = st.text(st.sampled_from("aG/:, \t\r\n\x00\x0b\x1c\x7f\x85\xa0\xff\u010a\u2028\U0001f40b"))


@given(method=NASTY, target=NASTY, name=NASTY, value=NASTY)
@example(method="GET", target="/", name="A", value="b\u010a\u010dC: d")
@example(method="GET", target="/", name="A", value="\x85 b")
def test_nothing_adds_a_line(method: str, target: str, name: str, value: str) -> None:
    """Each part by itself, so that a refused one cannot hide another."""
    for arguments in (
        {"method": method},
        {"target": target},
        {"headers": {name: "b"}},
        {"headers": {"A": value}},
        {"method": method, "target": target, "headers": {name: value}},
    ):
        try:
            head = make(**arguments).head
        except ValueError:
            continue
        given_fields = len(arguments.get("headers", ()))
        assert head.count(b"\r\n\r\n") == 1
        assert head.count(b"\n") == head.count(b"\r") == len(LINES) + given_fields + 2
        assert b"\x00" not in head
        assert head.split(b"\r\n")[0].count(b" ") == 2


# ------------------------------------------------------------------------------- bodies

PAIR, EMPTY = ctypes.c_ubyte * 2, ctypes.c_ubyte * 0

BODIES = {
    "bytes": b"abcd",
    "bytearray": bytearray(b"abcd"),
    "slice": memoryview(b"xabcdx")[1:5],
    "every other": memoryview(b"a.b.c.d.")[::2],
    "backwards": memoryview(b"dcba")[::-1],
    "matrix": memoryview(b"abcd").cast("B", (2, 2)),
    "characters": memoryview(b"abcd").cast("c"),
    "signed": array.array("b", b"abcd"),
    "wide": array.array("I", [int.from_bytes(b"abcd", "little")]),
    "ctypes array": (ctypes.c_char * 4)(b"a", b"b", b"c", b"d"),
    "ctypes matrix": (PAIR * 2)(PAIR(97, 98), PAIR(99, 100)),
    "ctypes number": ctypes.c_uint32(int.from_bytes(b"abcd", "little")),
}


@in_turn("data", BODIES.values(), ids=BODIES)
def test_bytes_of_any_format_and_shape(data: Any) -> None:
    view = as_bytes(data)
    assert (view.format, view.ndim, view.c_contiguous) == ("B", 1, True)
    assert (len(view), bytes(view)) == (4, b"abcd")
    assert make("PUT", body=data).length == 4


@pytest.mark.parametrize(
    "data", [b"", bytearray(), array.array("I"), (ctypes.c_int * 0)(), (EMPTY * 3)()]
)
def test_no_bytes_of_any_format(data: Any) -> None:
    assert bytes(as_bytes(data)) == b""
    assert lines(make("PUT", body=data)) == ["Content-Length: 0"]


def test_flat_bytes_are_not_copied() -> None:
    data = bytearray(b"abcd")
    for view in (as_bytes(data), as_bytes(memoryview(data).cast("B", (2, 2)))):
        view[0] = ord("x")
        assert data == b"xbcd"
        data[0] = ord("a")


# ------------------------------------------------------------------------------ trailers


@pytest.mark.parametrize(
    ("trailers", "sent"),
    [
        (None, b"0\r\n\r\n"),
        ({}, b"0\r\n\r\n"),
        ([("X-Sum", 5), (b"x-sum", b"b")], b"0\r\nX-Sum: 5\r\nx-sum: b\r\n\r\n"),
    ],
)
def test_trailers(trailers: Any, sent: bytes) -> None:
    assert serialise_trailers(trailers) == sent


@pytest.mark.parametrize(
    "name", ["Content-Length", "transfer-encoding", "HOST", "Trailer", "TE", "Connection", "Expect"]
)
def test_fields_that_cannot_be_trailers(name: str) -> None:
    """RFC 9110 section 6.5.1."""
    with pytest.raises(InvalidRequest):
        serialise_trailers({name: "5"})


@pytest.mark.parametrize(
    ("trailers", "error"),
    [
        ({"A": "b\r\n"}, InvalidRequest),
        ({"A b": "c"}, InvalidRequest),
        ({"A": None}, TypeError),
        ("A: b", TypeError),
    ],
)
def test_trailers_are_validated(trailers: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        serialise_trailers(trailers)
