"""What receiving does: every framing read in every way, however the bytes arrive."""

from __future__ import annotations

import pytest

from dugong import InvalidResponse, StateError
from tests.support.drive import drive
from tests.support.exchanges import (
    CHUNKED,
    DECORATED,
    EMPTY,
    OK,
    PAYLOAD,
    READERS,
    SAMPLES,
    Reader,
    Sample,
    ask,
    works,
)
from tests.support.in_turn import in_turn
from tests.support.styles import StyledWire
from tests.support.tapped import Pace
from tests.support.ways import ways
from tests.support.wire import Wire

framings = in_turn("sample", SAMPLES, ids=str)
readers = in_turn("reader", READERS.values(), ids=READERS)


# ------------------------------------------------------------------ framings and readers


@framings
@readers
@in_turn("chunk", [None, 7])
async def test_body(wire: StyledWire, sample: Sample, reader: Reader, chunk: int | None) -> None:
    await whole_body(wire, sample, reader, chunk)


@pytest.mark.slow  # the tests of the engine do that without a socket
@framings
@readers
async def test_body_byte_by_byte(wire: StyledWire, sample: Sample, reader: Reader) -> None:
    await whole_body(wire, sample, reader, 1)


async def whole_body(wire: StyledWire, sample: Sample, reader: Reader, chunk: int | None) -> None:
    conn, peer = wire.pair(chunk=chunk)
    peer.expect_request()
    peer.reply(sample.wire)
    if sample.closes:
        peer.close()
    response = await ask(conn)
    assert (response.status, response.reason, response.length) == (200, "OK", sample.length)
    assert await reader(conn) == sample.payload
    if not sample.closes:
        await works(conn, peer)


@framings
async def test_discard(wire: StyledWire, sample: Sample) -> None:
    conn, peer = wire.pair(chunk=5)
    peer.expect_request()
    peer.reply(sample.wire)
    if sample.closes:
        peer.close()
    await ask(conn)
    assert len(await conn.read(3)) > 0
    await conn.discard()
    assert await conn.read(3) == b""
    if not sample.closes:
        await works(conn, peer)


@pytest.mark.slow
@framings
@pytest.mark.parametrize("next_one", [True, False], ids=["pipelined", "alone"])
def test_split_at_every_offset(wire: Wire, sample: Sample, next_one: bool) -> None:
    for pieces in ways(sample.wire):
        conn, peer = wire.pair()
        peer.expect_request()
        pipelined = next_one and not sample.closes
        if pipelined:
            peer.expect_request()
            pieces[-1] += OK
        peer.reply_pieces(pieces)
        if sample.closes:
            peer.close()
        drive(conn.co_send_request("GET", "/"), peer)
        if pipelined:
            drive(conn.co_send_request("GET", "/next"), peer)
        assert drive(conn.co_read_response(), peer).length == sample.length
        assert drive(conn.co_readall(), peer) == sample.payload, pieces
        if pipelined:
            assert drive(conn.co_read_response(), peer).path == "/next"
            assert drive(conn.co_readall(), peer) == b"hi"
        conn.disconnect()
        peer.abandon()


@framings
@in_turn("stall", [False, True])
async def test_short_reads_of_the_socket(wire: StyledWire, sample: Sample, stall: bool) -> None:
    conn, peer = wire.pair(tap=Pace(1, stall))
    peer.expect_request()
    peer.reply(sample.wire)
    if sample.closes:
        peer.close()
    await ask(conn)
    assert await conn.readall() == sample.payload


@framings
async def test_large_body(wire: StyledWire, sample: Sample) -> None:
    data = bytes(range(256)) * 4000
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if sample in (CHUNKED, DECORATED) else data
    head = sample.head.replace(b"27", b"%d" % len(data))
    for reader in ("readall", "read(big)", "readinto(big)"):
        conn, peer = wire.pair()
        peer.expect_request()
        peer.reply(head + body)
        if sample.closes:
            peer.close()
        await ask(conn)
        assert await READERS[reader](conn) == data


async def test_large_read_is_filled_from_what_is_there(plain: StyledWire) -> None:
    conn, peer = plain.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
    await ask(conn)
    assert await conn.read(100) == b"abc"  # at most: what has come, not all there is
    peer.reply(b"def")
    assert await conn.read(100) == b"def"


# ----------------------------------------------------------------------- bodies of no bytes

NOTHING = [
    ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"),
    ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("HEAD", b"HTTP/1.1 404 Not Found\r\n\r\n"),
    ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
    ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5000\r\n\r\n"),
    ("GET", b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("POST", b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"),
]


@in_turn(("method", "head"), NOTHING)
async def test_responses_without_body_are_finished_at_once(
    wire: StyledWire, method: str, head: bytes
) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.expect_request()
    peer.reply(head + OK)
    await conn.send_request(method, "/")
    await conn.send_request("GET", "/next")
    response = await conn.read_response()
    assert response.length == 0
    assert (await conn.read_response()).path == "/next"  # nothing to be read before it
    assert await conn.readall() == b"hi"
    await works(conn, peer)


@in_turn(("method", "head"), NOTHING)
@readers
async def test_reading_where_there_is_no_body(
    plain: StyledWire, method: str, head: bytes, reader: Reader
) -> None:
    conn, peer = plain.pair()
    peer.expect_request()
    peer.reply(head)
    await ask(conn, method)
    for _ in range(2):
        assert await reader(conn) == b""
    await works(conn, peer)


async def test_chunked_body_of_nothing(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert (await ask(conn)).length is None
    assert await conn.read(10) == b""
    await works(conn, peer)


@pytest.mark.parametrize("state", ["fresh", "idle"])
async def test_reading_when_no_response_is_being_read(wire: StyledWire, state: str) -> None:
    conn, peer = wire.pair()
    if state == "idle":
        await works(conn, peer)
    assert await conn.read(5) == b""
    assert await conn.read() == b""
    assert await conn.readinto(bytearray(3)) == 0
    assert await conn.readall() == b""
    await conn.discard()
    await works(conn, peer)


async def test_read_of_zero_bytes(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(OK)
    await ask(conn)
    assert await conn.read(0) == b""
    assert await conn.readall() == b"hi"


# -------------------------------------------------------------------- where a body ends


@pytest.mark.parametrize("name", ["read(5)", "readinto(3)"])
async def test_body_of_known_length_ends_at_its_last_byte(wire: StyledWire, name: str) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.expect_request()
    peer.reply(OK + EMPTY)
    await conn.send_request("GET", "/one")
    await conn.send_request("GET", "/two")
    await conn.read_response()
    if name.startswith("readinto"):
        assert await conn.readinto(bytearray(2)) == 2
    else:
        assert await conn.read(2) == b"hi"
    assert (await conn.read_response()).path == "/two"


async def test_end_that_has_arrived_is_taken_along(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(CHUNKED.wire)
    await ask(conn)
    assert await conn.read(5) == PAYLOAD[:5]
    assert await conn.read(22) == PAYLOAD[5:]
    assert not conn.response_pending()
    await works(conn, peer)


async def test_trailers_are_there_when_the_end_was_taken_along(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(DECORATED.wire)
    response = await ask(conn)
    assert await conn.read(27) == PAYLOAD
    assert response.trailers["X-Sum"] == "7"


@in_turn("way", ["read", "read_response", "send_request"])
async def test_end_that_comes_later(wire: StyledWire, way: str) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(CHUNKED.wire[:-5])
    await ask(conn)
    assert await conn.read(5) == PAYLOAD[:5]
    assert await conn.read(22) == PAYLOAD[5:]
    peer.reply(b"0\r\n\r\n")
    if way == "read":
        assert await conn.read(5) == b""
    elif way == "read_response":
        await conn.send_request("GET", "/next")
        peer.expect_request()
        peer.reply(EMPTY)
        assert (await conn.read_response()).path == "/next"
    else:
        peer.run()
        await conn.send_request("GET", "/next")
        peer.expect_request()
        peer.reply(EMPTY)
        assert (await conn.read_response()).path == "/next"
    await works(conn, peer)


async def test_read_response_when_more_payload_comes(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
    await conn.send_request("GET", "/one")
    await conn.send_request("GET", "/two")
    await conn.read_response()
    assert await conn.read(2) == b"ab"
    peer.reply(b"2\r\ncd\r\n0\r\n\r\n" + EMPTY)
    with pytest.raises(StateError):
        await conn.read_response()
    assert await conn.readall() == b"cd"
    assert (await conn.read_response()).path == "/two"
    await works(conn, peer)


@framings
async def test_read_response_while_a_body_is_unread(wire: StyledWire, sample: Sample) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(sample.wire)
    if sample.closes:
        peer.close()
    await ask(conn)
    for _ in range(2):
        with pytest.raises(StateError):
            await conn.read_response()
    assert await conn.readall() == sample.payload


@pytest.mark.parametrize("state", ["fresh", "idle"])
async def test_read_response_when_nothing_is_outstanding(wire: StyledWire, state: str) -> None:
    conn, peer = wire.pair()
    if state == "idle":
        await works(conn, peer)
    assert not conn.response_pending()
    with pytest.raises(StateError):
        await conn.read_response()
    await works(conn, peer)


async def test_response_pending(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.expect_request()
    peer.reply(OK + EMPTY)
    await conn.send_request("GET", "/one")
    await conn.send_request("GET", "/two")
    assert conn.response_pending()
    await conn.read_response()
    await conn.readall()
    assert conn.response_pending()
    await conn.read_response()
    assert not conn.response_pending()


# ------------------------------------------------------------------------- readall(limit)


@framings
@in_turn("limit", [27, 28, 10_000])
async def test_readall_within_its_limit(wire: StyledWire, sample: Sample, limit: int) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(sample.wire)
    if sample.closes:
        peer.close()
    await ask(conn)
    assert await conn.readall(limit) == sample.payload


@framings
@in_turn("limit", [0, 4, 5, 26])
@in_turn("chunk", [None, 1])
async def test_readall_beyond_its_limit(
    wire: StyledWire, sample: Sample, limit: int, chunk: int | None
) -> None:
    conn, peer = wire.pair(chunk=chunk)
    peer.expect_request()
    peer.reply(sample.wire)
    if sample.closes:
        peer.close()
    await ask(conn)
    with pytest.raises(InvalidResponse):
        await conn.readall(limit)


async def test_readall_limit_does_not_wait_for_the_excess(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\n\r\nabcdef")
    await ask(conn)
    with pytest.raises(InvalidResponse):  # the peer neither says more nor closes
        await conn.readall(limit=5)
