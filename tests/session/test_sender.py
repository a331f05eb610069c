"""What sending does: bodies on the wire, in one piece and in parts, and when it is allowed."""

from __future__ import annotations

import array
from typing import Any

import pytest

from dugong import BodyFollowing, ExcessBodyData, StateError
from tests.support.exchanges import EMPTY, OK, fetch, sent, works
from tests.support.in_turn import in_turn
from tests.support.styles import StyledWire
from tests.support.tapped import Pace

# ------------------------------------------------------------------- bodies in one piece


@in_turn(
    ("method", "length"),
    [
        *((method, "0") for method in ("POST", "PUT", "PATCH")),
        *((method, None) for method in ("GET", "HEAD", "DELETE", "OPTIONS")),
    ],
)
async def test_bodyless(wire: StyledWire, method: str, length: str | None) -> None:
    conn, peer = wire.pair()
    request = await sent(conn, peer, method)
    assert request.get("Content-Length") == length
    assert request.get("Transfer-Encoding") is None


@in_turn(
    "body",
    [
        b"some bytes",
        bytearray(b"some bytes"),
        memoryview(b"some bytes"),
        memoryview(b"xsome bytesx")[1:-1],
        array.array("B", b"some bytes"),
        array.array("H", b"some bytes"),
    ],
    ids=lambda body: type(body).__name__,
)
@in_turn("method", ["POST", "GET", "DELETE"])
async def test_body_in_one_piece(wire: StyledWire, method: str, body: Any) -> None:
    conn, peer = wire.pair()
    request = await sent(conn, peer, method, "/form", body=body)
    assert (request.get("Content-Length"), request.body) == ("10", b"some bytes")


@in_turn("body", ["text", 5, 1.5, object()], ids=lambda body: type(body).__name__)
async def test_bodies_of_the_wrong_type(wire: StyledWire, body: Any) -> None:
    conn, peer = wire.pair()
    with pytest.raises(TypeError):
        await conn.send_request("POST", "/", body=body)
    await works(conn, peer)


@in_turn("stall", [False, True])
@in_turn("limit", [1, 7, None])
async def test_short_writes(wire: StyledWire, limit: int | None, stall: bool) -> None:
    conn, peer = wire.pair(tap=Pace(limit, stall))
    body = bytes(range(256)) * 2
    peer.expect_request(body=body)
    peer.expect_request(body=body[:100])
    peer.reply(EMPTY * 2)
    await conn.send_request("PUT", "/x", body=body)
    await conn.send_request("PUT", "/y", body=BodyFollowing(100))
    await conn.write(body[:50])
    await conn.write(body[50:100])
    assert [(await conn.read_response()).path for _ in range(2)] == ["/x", "/y"]
    peer.check()


async def test_everything_was_given_to_the_system_on_return(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    await conn.connect()
    await conn.send_request("PUT", "/", body=bytes(10_000))
    peer.expect_request(body=bytes(10_000))
    peer.run()


# ----------------------------------------------------------------------- bodies in parts


async def test_body_of_known_length_in_parts(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_head(b"PUT /big HTTP/1.1\r\n")
    peer.expect(b"0123456789")
    peer.reply(OK)
    assert not conn.body_pending
    await conn.send_request("PUT", "/big", body=BodyFollowing(10))
    for part in (b"012", bytearray(b"3456"), b"", memoryview(b"789")):
        assert conn.body_pending
        await conn.write(part)
    assert not conn.body_pending
    assert (await conn.read_response()).status == 200
    assert peer.requests[0].get("Content-Length") == "10"
    assert await conn.readall() == b"hi"
    await works(conn, peer)


async def test_write_of_wide_items_counts_bytes(plain: StyledWire) -> None:
    conn, peer = plain.pair()
    peer.expect_request(body=b"\x01\x00\x02\x00" * 2)
    peer.reply(EMPTY)
    await conn.send_request("PUT", "/", body=BodyFollowing(8))
    items = array.array("H", [1, 2])
    await conn.write(items)
    with pytest.raises(ExcessBodyData):
        await conn.write(array.array("H", [1, 2, 3]))
    await conn.write(items)
    await conn.read_response()


async def test_out_remaining_is_an_alias_of_body_pending(plain: StyledWire) -> None:
    conn, _ = plain.pair()
    states = []

    def note() -> None:
        states.append((bool(conn._out_remaining), conn.body_pending))  # a name users know

    note()
    await conn.send_request("PUT", "/", body=BodyFollowing(2))
    note()
    await conn.write(b"ab")
    note()
    assert states == [(False, False), (True, True), (False, False)]


async def test_excess_body_data(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request(b"PUT", body=b"abcde")
    peer.reply(EMPTY)
    await conn.send_request("PUT", "/", body=BodyFollowing(5))
    with pytest.raises(ExcessBodyData):
        await conn.write(b"xxxxxx")
    await conn.write(b"abc")
    with pytest.raises(ExcessBodyData):
        await conn.write(b"xxx")
    assert conn.body_pending
    await conn.write(b"de")
    assert (await conn.read_response()).status == 200
    await works(conn, peer)


async def test_chunked_body(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_head(b"PUT / HTTP/1.1\r\n")
    peer.expect(b"3\r\nabc\r\n")
    peer.expect(b"1a\r\n" + bytes(26) + b"\r\n")
    peer.expect(b"0\r\n\r\n")
    peer.reply(EMPTY)
    await conn.send_request("PUT", "/", body=BodyFollowing())
    await conn.write(b"abc")
    await conn.write(b"")
    await conn.write(bytes(26))
    assert conn.body_pending
    await conn.end_body()
    assert not conn.body_pending
    assert (await conn.read_response()).status == 200
    (request,) = peer.requests
    assert (request.get("Transfer-Encoding"), request.get("Content-Length")) == ("chunked", None)
    await works(conn, peer)


async def test_empty_chunked_body(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_head()
    peer.expect(b"0\r\n\r\n")
    peer.reply(EMPTY)
    await conn.send_request("PUT", "/", body=BodyFollowing())
    await conn.end_body()
    await conn.read_response()
    await works(conn, peer)


@pytest.mark.parametrize("trailers", [{"X-Sum": "7", "X-N": 3}, [("X-Sum", "7"), ("X-N", 3)]])
async def test_chunked_body_with_trailers(wire: StyledWire, trailers: Any) -> None:
    conn, peer = wire.pair()
    peer.expect_request(body=b"abc")
    peer.reply(EMPTY)
    await conn.send_request("PUT", "/", body=BodyFollowing())
    await conn.write(b"abc")
    await conn.end_body(trailers=trailers)
    await conn.read_response()
    assert peer.requests[0].trailers == b"X-Sum: 7\r\nX-N: 3\r\n"
    await works(conn, peer)


async def test_trailers_that_inject(plain: StyledWire) -> None:
    conn, peer = plain.pair()
    peer.expect_request(body=b"abc")
    peer.reply(EMPTY)
    await conn.send_request("PUT", "/", body=BodyFollowing())
    await conn.write(b"abc")
    with pytest.raises(ValueError):
        await conn.end_body({"X": "a\r\n\r\nGET / HTTP/1.1"})
    await conn.end_body()
    await conn.read_response()
    assert peer.requests[0].trailers == b""
    await works(conn, peer)


async def test_end_body_with_a_length(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request(body=b"abc")
    peer.reply(EMPTY)
    await conn.send_request("PUT", "/", body=BodyFollowing(3))
    await conn.write(b"ab")
    with pytest.raises(StateError):
        await conn.end_body()
    with pytest.raises(ValueError):
        await conn.end_body({"X-Sum": "7"})
    await conn.write(b"c")
    await conn.read_response()
    await works(conn, peer)


async def test_body_following_nothing(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request(b"PUT")
    peer.reply(EMPTY)
    await conn.send_request("PUT", "/", body=BodyFollowing(0), expect100=True)
    assert not conn.body_pending
    assert (await conn.read_response()).status == 200
    assert (peer.requests[0].get("Expect"), peer.requests[0].get("Content-Length")) == (None, "0")
    await works(conn, peer)


@pytest.mark.parametrize("length", [-1, -100])
def test_negative_length(length: int) -> None:
    with pytest.raises(ValueError):
        BodyFollowing(length)


@pytest.mark.parametrize("length", [5, None])
async def test_nothing_else_while_a_body_is_unfinished(
    wire: StyledWire, length: int | None
) -> None:
    conn, peer = wire.pair()
    peer.expect_request(b"PUT", body=b"abcde")
    peer.reply(EMPTY)
    await conn.send_request("PUT", "/", body=BodyFollowing(length))
    for _ in range(2):
        with pytest.raises(StateError):
            await conn.send_request("GET", "/")
        with pytest.raises(StateError):
            await conn.read_response()
        await conn.write(b"")
    await conn.write(b"abcde")
    if length is None:
        await conn.end_body()
    await conn.read_response()
    await works(conn, peer)


@in_turn("case", ["fresh", "bodyless", "in one piece", "finished", "idle"])
async def test_write_when_no_body_is_due(wire: StyledWire, case: str) -> None:
    conn, peer = wire.pair()
    if case == "finished":
        await conn.send_request("PUT", "/", body=BodyFollowing(2))
        await conn.write(b"ab")
    elif case != "fresh":
        body = b"ab" if case == "in one piece" else None
        await conn.send_request("PUT", "/", body=body)
    if case != "fresh":
        peer.expect_request()
        peer.reply(EMPTY)
    if case == "idle":
        await conn.read_response()
    with pytest.raises(StateError):
        await conn.write(b"x")
    if case not in ("fresh", "idle"):
        await conn.read_response()
    await works(conn, peer)


async def test_chunked_after_http_1_0(plain: StyledWire) -> None:
    conn, peer = plain.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n")
    await fetch(conn)
    with pytest.raises(ValueError):
        await conn.send_request("PUT", "/", body=BodyFollowing())
    await works(conn, peer)


async def test_chunked_after_http_1_0_on_an_earlier_connection(plain: StyledWire) -> None:
    listener = plain.listen()
    conn = plain.dial(listener)
    first, second = listener.peer(), listener.peer()
    first.expect_request()
    first.reply(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
    await fetch(conn)
    conn.disconnect()
    with pytest.raises(ValueError):
        await conn.send_request("PUT", "/", body=BodyFollowing())
    await works(conn, second)


@in_turn("state", ["fresh", "bodyless", "idle"])
async def test_end_body_when_no_body_is_due(wire: StyledWire, state: str) -> None:
    conn, peer = wire.pair()
    if state == "idle":
        await works(conn, peer)
    elif state == "bodyless":
        peer.expect_request(b"PUT")
        await conn.send_request("PUT", "/")
    with pytest.raises(StateError):
        await conn.end_body()
    if state == "bodyless":
        peer.reply(EMPTY)
        await conn.read_response()
    await works(conn, peer)
