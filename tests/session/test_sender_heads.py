"""The heads that sending makes: default fields, the caller's own, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from dugong import BodyFollowing, CaseInsensitiveDict, InvalidRequest
from tests.support.exchanges import EMPTY, sent, works
from tests.support.in_turn import in_turn
from tests.support.styles import StyledWire


async def test_default_head(plain: StyledWire) -> None:
    conn, peer = plain.pair()
    request = await sent(conn, peer, "GET", "/a?b=c%20d")
    assert request.line == "GET /a?b=c%20d HTTP/1.1"
    assert request.fields == (
        ("Host", "localhost"),
        ("Accept-Encoding", "identity"),
        ("Connection", "keep-alive"),
    )


@in_turn("name", ["Host", "host", "ACCEPT-ENCODING", "connection"])
async def test_caller_wins_over_defaults(plain: StyledWire, name: str) -> None:
    conn, peer = plain.pair()
    value = {"host": "example.com:81", "accept-encoding": "gzip", "connection": "close"}
    request = await sent(conn, peer, "GET", "/", headers={name: value[name.lower()]})
    assert request.all(name) == [value[name.lower()]]
    assert request.fields[0][0].lower() == "host"
    assert len(request.fields) == 3


@in_turn(
    ("host", "port", "field"),
    [
        ("localhost", None, "localhost"),
        ("localhost", 80, "localhost"),
        ("localhost", 8080, "localhost:8080"),
        ("localhost", 443, "localhost:443"),
        ("192.0.2.7", 8080, "192.0.2.7:8080"),
        ("::1", None, "[::1]"),
        ("2001:db8::2", 8080, "[2001:db8::2]:8080"),
    ],
)
async def test_host(plain: StyledWire, host: str, port: int | None, field: str) -> None:
    conn, peer = plain.pair(host=host, port=port)
    assert (await sent(conn, peer)).get("Host") == field


@in_turn(("port", "field"), [(None, "localhost"), (443, "localhost"), (80, "localhost:80")])
async def test_host_over_tls(tls: StyledWire, port: int | None, field: str) -> None:
    conn, peer = tls.pair(port=port)
    assert (await sent(conn, peer)).get("Host") == field


async def test_header_pairs_keep_order_and_repeats(plain: StyledWire) -> None:
    conn, peer = plain.pair()
    pairs = [("X-B", "1"), ("X-A", "two\twords"), ("X-B", "3"), ("X-N", 42), ("X-L", "caf\xe9")]
    request = await sent(conn, peer, headers=pairs)
    own = [(name, value) for name, value in request.fields if name.startswith("X-")]
    assert own == [(name, str(value)) for name, value in pairs]


@pytest.mark.parametrize("kind", [dict, CaseInsensitiveDict])
async def test_mapping_is_not_modified(plain: StyledWire, kind: Any) -> None:
    headers = kind({"X-One": "a", "x-two": 2})
    before = list(headers.items())
    conn, peer = plain.pair()
    request = await sent(conn, peer, "PUT", "/", headers=headers, body=b"abc")
    assert (request.get("X-One"), request.get("x-two")) == ("a", "2")
    assert list(headers.items()) == before


async def test_pairs_are_not_modified(plain: StyledWire) -> None:
    pairs: list[tuple[str, str | int]] = [("X-One", "a")]
    conn, peer = plain.pair()
    await sent(conn, peer, "POST", "/", headers=pairs, body=b"abc")
    assert pairs == [("X-One", "a")]


@in_turn("name", ["X-Name", b"X-Name"])
@in_turn("value", ["caf\xe9", b"caf\xe9"])
async def test_bytes_are_latin1(plain: StyledWire, name: str | bytes, value: str | bytes) -> None:
    conn, peer = plain.pair()
    for headers in ({name: value}, [(name, value)]):
        request = await sent(conn, peer, headers=headers)
        assert request.get("X-Name") == "caf\xe9"


async def test_none_leaves_out_what_would_be_added(plain: StyledWire) -> None:
    conn, peer = plain.pair()
    headers = {"accept-encoding": None, b"Connection": None, "X-Other": None, "X-A": "b"}
    request = await sent(conn, peer, headers=headers)
    assert request.fields == (("Host", "localhost"), ("X-A", "b"))
    assert len(headers) == 4


async def test_none_leaves_out_expect(plain: StyledWire) -> None:
    """For a body that would be asked for first."""
    conn, peer = plain.pair()
    peer.expect_request()
    peer.reply(EMPTY)
    response = await conn.request("PUT", "/", {"Expect": None}, bytes(2**20))
    assert response.status == 200
    assert peer.requests[0].get("Expect") is None


NOT_HEADERS: dict[str, dict[str, Any]] = {
    "name of int": {"headers": {1: "v"}},
    "value of float": {"headers": {"X-Name": 1.5}},
    "value of list": {"headers": {"X-Name": ["v"]}},
    "value of bool": {"headers": [("X-Name", True)]},
    "line": {"headers": "X: y"},
    "list of lines": {"headers": ["X: y"]},
    "list of short lines": {"headers": ["XY"]},
    "lines of bytes": {"headers": [b"XY"]},
    "int": {"headers": 5},
    "body": {"headers": b"data"},
    "headers and body": {"headers": b"data", "body": {"X": "y"}},
    "pairs in the body": {"body": [("X", "y")]},
    "mapping in the body": {"body": {"X": b"y"}},
}


@in_turn("operation", ["send_request", "request"])
@in_turn("arguments", NOT_HEADERS.values(), ids=NOT_HEADERS)
async def test_what_is_not_headers(
    plain: StyledWire, operation: str, arguments: dict[str, Any]
) -> None:
    conn, peer = plain.pair()
    with pytest.raises(TypeError, match=r"headers|field|body"):
        await getattr(conn, operation)("PUT", "/", **arguments)
    assert conn.bytes_sent == 0
    await works(conn, peer)


@in_turn("trailers", ["X: y", ["X: y"], [b"XY"], b"data", {"X": None}, {"X": 1.5}])
async def test_what_is_not_trailers(plain: StyledWire, trailers: Any) -> None:
    conn, peer = plain.pair()
    peer.expect_request(body=b"ab")
    peer.reply(EMPTY)
    await conn.send_request("PUT", "/", body=BodyFollowing())
    await conn.write(b"ab")
    with pytest.raises(TypeError):
        await conn.end_body(trailers)
    await conn.end_body({"X-Sum": b"5"})
    assert (await conn.read_response()).status == 200


BAD_HEADS: list[tuple[str, str, Any]] = [
    ("", "/", None),
    ("GET ", "/", None),
    ("GE T", "/", None),
    ("GET\r\n", "/", None),
    ("G\xc9T", "/", None),
    ("GET", "", None),
    ("GET", "/a b", None),
    ("GET", "/\r\nX: y", None),
    ("GET", "/a\n", None),
    ("GET", "/\x00", None),
    ("GET", "/caf\xe9", None),
    ("GET", "/\u20ac", None),
    ("GET", "/\x7f", None),
    ("GET", "/", {"": "v"}),
    ("GET", "/", {"X Y": "v"}),
    ("GET", "/", {"X:": "v"}),
    ("GET", "/", {"X\r\nY": "v"}),
    ("GET", "/", {"X\n": "v"}),
    ("GET", "/", {"\xdc": "v"}),
    ("GET", "/", {"X": "a\r\nEvil: yes"}),
    ("GET", "/", {"X": "a\nb"}),
    ("GET", "/", {"X": "a\rb"}),
    ("GET", "/", {"X": "a\r\n b"}),
    ("GET", "/", {"X": "a\n"}),
    ("GET", "/", {"X": "\x00"}),
    ("GET", "/", {"X": "\x7f"}),
    ("GET", "/", {"X": "\u20ac"}),
    ("GET", "/", {"Host": "a b"}),
    ("GET", "/", {"Host": "a, b"}),
    ("GET", "/", {"Host": "a:b"}),
    ("GET", "/", {"Host": "user@a"}),
    ("GET", "/", {"Host": "a/b"}),
    ("GET", "/", {"Host": None}),
    ("GET", "/", {b"X\n": "v"}),
    ("GET", "/", {"X": b"a\nb"}),
    ("GET", "/", [("X", "y", "z")]),
    ("GET", "/", [("Host", "a"), (b"host", "a")]),
    ("/", "GET", None),
    ("GET", "/", {"Content-Length": "5"}),
    ("GET", "/", {"Transfer-Encoding": "chunked"}),
]


@in_turn(("method", "target", "headers"), BAD_HEADS, ids=repr)
async def test_invalid_heads_send_nothing(
    plain: StyledWire, method: str, target: str, headers: Any
) -> None:
    conn, peer = plain.pair()
    with pytest.raises(InvalidRequest):
        await conn.send_request(method, target, headers)
    assert conn.bytes_sent == 0
    assert not conn.response_pending()
    await works(conn, peer)


async def test_two_hosts_are_refused(plain: StyledWire) -> None:
    conn, peer = plain.pair()
    with pytest.raises(InvalidRequest):
        await conn.send_request("GET", "/", [("Host", "a"), ("host", "b")])
    await works(conn, peer)


@in_turn(
    ("fields", "body"),
    [
        ([("Content-Length", "4")], b"abc"),
        ([("Content-Length", 4)], b"abc"),
        ([("Content-Length", "+3")], b"abc"),
        ([("Content-Length", "3, 3")], b"abc"),
        ([("Content-Length", "3"), ("content-length", "4")], b"abc"),
        ([("Content-Length", "3")], BodyFollowing(4)),
        ([("Content-Length", "3")], BodyFollowing()),
        ([("Transfer-Encoding", "gzip")], BodyFollowing()),
        ([("Transfer-Encoding", "chunked"), ("Content-Length", "3")], BodyFollowing()),
        ([("Transfer-Encoding", "chunked"), ("Content-Length", "3")], b"abc"),
        ([("Transfer-Encoding", "gzip")], b"abc"),
    ],
    ids=repr,
)
async def test_framing_fields_must_agree_with_the_body(
    plain: StyledWire, fields: Any, body: Any
) -> None:
    conn, peer = plain.pair()
    with pytest.raises(InvalidRequest):
        await conn.send_request("PUT", "/", fields, body=body)
    assert not conn.body_pending
    await works(conn, peer)


@pytest.mark.parametrize("length", ["3", 3])
async def test_agreeing_content_length_is_sent_once(plain: StyledWire, length: str | int) -> None:
    conn, peer = plain.pair()
    request = await sent(conn, peer, "PUT", "/", headers={"content-length": length}, body=b"abc")
    assert (request.get("Content-Length"), request.body) == ("3", b"abc")


async def test_agreeing_transfer_encoding_is_sent_once(plain: StyledWire) -> None:
    conn, peer = plain.pair()
    peer.expect_request(body=b"ab")
    peer.reply(EMPTY)
    headers = {"transfer-encoding": "chunked"}
    await conn.send_request("PUT", "/", headers, body=BodyFollowing())
    await conn.write(b"ab")
    await conn.end_body()
    await conn.read_response()
    assert peer.requests[0].get("Transfer-Encoding") == "chunked"
