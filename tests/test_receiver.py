"""What receiving does: every framing read in every way, however the bytes arrive."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from dugong import (
    HTTPConnection,
    InvalidResponse,
    StateError,
)
from tests.drive import drive
from tests.exchanges import (
    CHUNKED,
    CLOSED,
    DECORATED,
    EMPTY,
    LENGTH,
    OK,
    PAYLOAD,
    READERS,
    SAMPLES,
    Bytes,
    Sample,
    ask,
    works,
)
from tests.ways import ways
from tests.wire import Pace, Wire

framings = pytest.mark.parametrize("sample", SAMPLES, ids=str)
readers = pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
Reader = Callable[[HTTPConnection], Bytes]


# ------------------------------------------------------------------ framings and readers


@framings
@readers
@pytest.mark.parametrize("chunk", [None, 1, 7])
def test_body(wire: Wire, sample: Sample, reader: Reader, chunk: int | None) -> None:
    conn, peer = wire.pair(chunk=chunk)
    peer.expect_request()
    peer.reply(sample.wire)
    if sample.closes:
        peer.close()
    response = drive(ask(conn), peer)
    assert (response.status, response.reason, response.length) == (200, "OK", sample.length)
    assert drive(reader(conn), peer) == sample.payload
    if not sample.closes:
        works(conn, peer)


@framings
def test_discard(wire: Wire, sample: Sample) -> None:
    conn, peer = wire.pair(chunk=5)
    peer.expect_request()
    peer.reply(sample.wire)
    if sample.closes:
        peer.close()
    drive(ask(conn), peer)
    assert len(drive(conn.co_read(3), peer)) > 0
    assert drive(conn.co_discard(), peer) is None
    assert drive(conn.co_read(3), peer) == b""
    if not sample.closes:
        works(conn, peer)


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
@pytest.mark.parametrize("stall", [False, True])
def test_short_reads_of_the_socket(wire: Wire, sample: Sample, stall: bool) -> None:
    conn, peer = wire.pair(pace=Pace(1, stall))
    peer.expect_request()
    peer.reply(sample.wire)
    if sample.closes:
        peer.close()
    drive(ask(conn), peer)
    assert drive(conn.co_readall(), peer) == sample.payload


@framings
def test_large_body(wire: Wire, sample: Sample) -> None:
    data = bytes(range(256)) * 4000
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if sample in (CHUNKED, DECORATED) else data
    head = sample.head.replace(b"27", b"%d" % len(data))
    for reader in ("readall", "read(big)", "readinto(big)"):
        conn, peer = wire.pair()
        peer.expect_request()
        peer.reply(head + body)
        if sample.closes:
            peer.close()
        drive(ask(conn), peer)
        assert drive(READERS[reader](conn), peer) == data


def test_large_read_is_filled_from_what_is_there(plain: Wire) -> None:
    conn, peer = plain.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
    peer.reply(b"def")
    drive(ask(conn), peer)
    assert drive(conn.co_read(100), peer) == b"abc"  # at most: what has come, not all there is
    assert drive(conn.co_read(100), peer) == b"def"


@pytest.mark.parametrize("sample", [LENGTH, CLOSED], ids=str)
def test_text_wrapper(wire: Wire, sample: Sample) -> None:
    conn, peer = wire.pair()
    drive(conn.co_connect(), peer)
    conn.send_request("GET", "/")
    peer.expect_request()
    peer.reply(sample.wire)
    if sample.closes:
        peer.close()
    peer.run()
    conn.read_response()
    text = io.TextIOWrapper(conn, encoding="us-ascii", newline="\r\n")  # type: ignore[type-var]
    assert list(text) == ["swim\r\n", "like a sea cow\r\n", "\r\n", "0\r\n"]
    text.close()
    assert not conn.closed


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


@pytest.mark.parametrize(("method", "head"), NOTHING)
def test_responses_without_body_are_finished_at_once(wire: Wire, method: str, head: bytes) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.expect_request()
    peer.reply(head + OK)
    drive(conn.co_send_request(method, "/"), peer)
    drive(conn.co_send_request("GET", "/next"), peer)
    response = drive(conn.co_read_response(), peer)
    assert response.length == 0
    assert drive(conn.co_read_response(), peer).path == "/next"  # nothing to be read before it
    assert drive(conn.co_readall(), peer) == b"hi"
    works(conn, peer)


@pytest.mark.parametrize(("method", "head"), NOTHING)
@readers
def test_reading_where_there_is_no_body(
    plain: Wire, method: str, head: bytes, reader: Reader
) -> None:
    conn, peer = plain.pair()
    peer.expect_request()
    peer.reply(head)
    drive(ask(conn, method), peer)
    for _ in range(2):
        assert drive(reader(conn), peer) == b""
    works(conn, peer)


def test_chunked_body_of_nothing(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert drive(ask(conn), peer).length is None
    assert drive(conn.co_read(10), peer) == b""
    works(conn, peer)


@pytest.mark.parametrize("state", ["fresh", "idle", "sent"])
def test_reading_when_no_response_is_being_read(wire: Wire, state: str) -> None:
    conn, peer = wire.pair()
    if state == "idle":
        works(conn, peer)
    elif state == "sent":
        drive(conn.co_send_request("GET", "/"), peer)
    assert drive(conn.co_read(5), peer) == b""
    assert drive(conn.co_read(), peer) == b""
    assert drive(conn.co_readinto(bytearray(3)), peer) == 0
    assert drive(conn.co_readall(), peer) == b""
    assert drive(conn.co_discard(), peer) is None
    if state == "sent":
        peer.expect_request()
        peer.reply(EMPTY)
        drive(conn.co_read_response(), peer)
    works(conn, peer)


def test_read_of_zero_bytes(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(OK)
    drive(ask(conn), peer)
    assert drive(conn.co_read(0), peer) == b""
    assert drive(conn.co_readall(), peer) == b"hi"


# -------------------------------------------------------------------- where a body ends


@pytest.mark.parametrize("name", ["read(5)", "readinto(3)"])
def test_body_of_known_length_ends_at_its_last_byte(wire: Wire, name: str) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.expect_request()
    peer.reply(OK + EMPTY)
    drive(conn.co_send_request("GET", "/one"), peer)
    drive(conn.co_send_request("GET", "/two"), peer)
    drive(conn.co_read_response(), peer)
    if name.startswith("readinto"):
        assert drive(conn.co_readinto(bytearray(2)), peer) == 2
    else:
        assert drive(conn.co_read(2), peer) == b"hi"
    assert drive(conn.co_read_response(), peer).path == "/two"


def test_end_that_has_arrived_is_taken_along(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(CHUNKED.wire)
    drive(ask(conn), peer)
    assert drive(conn.co_read(5), peer) == PAYLOAD[:5]
    assert drive(conn.co_read(22), peer) == PAYLOAD[5:]
    assert not conn.response_pending()
    works(conn, peer)


def test_trailers_are_there_when_the_end_was_taken_along(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(DECORATED.wire)
    response = drive(ask(conn), peer)
    assert drive(conn.co_read(27), peer) == PAYLOAD
    assert response.trailers["X-Sum"] == "7"


@pytest.mark.parametrize("way", ["read", "read_response", "send_request"])
def test_end_that_comes_later(wire: Wire, way: str) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(CHUNKED.wire[:-5])
    drive(ask(conn), peer)
    assert drive(conn.co_read(5), peer) == PAYLOAD[:5]
    assert drive(conn.co_read(22), peer) == PAYLOAD[5:]
    peer.reply(b"0\r\n\r\n")
    if way == "read":
        assert drive(conn.co_read(5), peer) == b""
    elif way == "read_response":
        drive(conn.co_send_request("GET", "/next"), peer)
        peer.expect_request()
        peer.reply(EMPTY)
        assert drive(conn.co_read_response(), peer).path == "/next"
    else:
        peer.run()
        drive(conn.co_send_request("GET", "/next"), peer)
        peer.expect_request()
        peer.reply(EMPTY)
        assert drive(conn.co_read_response(), peer).path == "/next"
    works(conn, peer)


def test_read_response_when_more_payload_comes(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
    drive(conn.co_send_request("GET", "/one"), peer)
    drive(conn.co_send_request("GET", "/two"), peer)
    drive(conn.co_read_response(), peer)
    assert drive(conn.co_read(2), peer) == b"ab"
    peer.reply(b"2\r\ncd\r\n0\r\n\r\n" + EMPTY)
    with pytest.raises(StateError):
        drive(conn.co_read_response(), peer)
    assert drive(conn.co_readall(), peer) == b"cd"
    assert drive(conn.co_read_response(), peer).path == "/two"
    works(conn, peer)


@framings
def test_read_response_while_a_body_is_unread(wire: Wire, sample: Sample) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(sample.wire)
    if sample.closes:
        peer.close()
    drive(ask(conn), peer)
    for _ in range(2):
        with pytest.raises(StateError):
            drive(conn.co_read_response(), peer)
    assert drive(conn.co_readall(), peer) == sample.payload


@pytest.mark.parametrize("state", ["fresh", "idle"])
def test_read_response_when_nothing_is_outstanding(wire: Wire, state: str) -> None:
    conn, peer = wire.pair()
    if state == "idle":
        works(conn, peer)
    assert not conn.response_pending()
    with pytest.raises(StateError):
        drive(conn.co_read_response(), peer)
    works(conn, peer)


def test_response_pending(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.expect_request()
    peer.reply(OK + EMPTY)
    drive(conn.co_send_request("GET", "/one"), peer)
    drive(conn.co_send_request("GET", "/two"), peer)
    assert conn.response_pending()
    drive(conn.co_read_response(), peer)
    drive(conn.co_readall(), peer)
    assert conn.response_pending()
    drive(conn.co_read_response(), peer)
    assert not conn.response_pending()


# ------------------------------------------------------------------------- readall(limit)


@framings
@pytest.mark.parametrize("limit", [27, 28, 10_000])
def test_readall_within_its_limit(wire: Wire, sample: Sample, limit: int) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(sample.wire)
    if sample.closes:
        peer.close()
    drive(ask(conn), peer)
    assert drive(conn.co_readall(limit), peer) == sample.payload


@framings
@pytest.mark.parametrize("limit", [0, 4, 5, 26])
@pytest.mark.parametrize("chunk", [None, 1])
def test_readall_beyond_its_limit(
    wire: Wire, sample: Sample, limit: int, chunk: int | None
) -> None:
    conn, peer = wire.pair(chunk=chunk)
    peer.expect_request()
    peer.reply(sample.wire)
    if sample.closes:
        peer.close()
    drive(ask(conn), peer)
    with pytest.raises(InvalidResponse):
        drive(conn.co_readall(limit), peer)


def test_readall_limit_does_not_wait_for_the_excess(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\n\r\nabcdef")
    drive(ask(conn), peer)
    with pytest.raises(InvalidResponse):  # the peer neither says more nor closes
        drive(conn.co_readall(limit=5), peer)
