"""Receiving that has to wait: what may happen meanwhile, and stopping half way."""

from __future__ import annotations

from typing import TypeVar

import pytest

from dugong import POLLIN, POLLOUT, AsyncHTTPConnection, ConnectionClosed, StateError
from tests.support.drive import Coroutine, advance, drive
from tests.support.exchanges import (
    CLOSED,
    DECORATED,
    EMPTY,
    LENGTH,
    OK,
    PAYLOAD,
    SELF_DELIMITED,
    Sample,
    ask,
    fetch,
    works,
)
from tests.support.in_turn import in_turn
from tests.support.styles import StyledWire
from tests.support.tapped import Pace
from tests.support.wire import Wire

T = TypeVar("T")

self_delimited = in_turn("sample", SELF_DELIMITED, ids=str)


# ---------------------------------------------------------------------- stopping half way


async def gather(conn: AsyncHTTPConnection, name: str, got: bytearray) -> None:
    """Read to the end of the body; *got* is what complete calls have returned."""
    if name == "read":
        while piece := await conn.read(4):
            got += piece
    elif name == "readinto":
        buf = bytearray(4)
        while count := await conn.readinto(buf):
            got += buf[:count]
    elif name == "readall":
        got += await conn.readall()
    else:
        await conn.discard()


@self_delimited
@in_turn("name", ["read", "readinto", "readall", "discard"])
async def test_reading_that_was_stopped_loses_nothing(
    wire: StyledWire, sample: Sample, name: str
) -> None:
    """At every offset: what waits there is stopped, and reading goes on with another call."""
    for offset in wire.offsets(len(sample.head), len(sample.wire)):
        conn, peer = wire.pair()
        peer.expect_request()
        peer.reply(sample.wire[:offset])
        response = await ask(conn)
        got = bytearray()
        await wire.stop(gather(conn, name, got))
        peer.reply(sample.wire[offset:])
        got += await conn.readall()
        if name == "discard":
            assert sample.payload.endswith(got)
        else:
            assert got == sample.payload
        if sample is DECORATED:
            assert response.trailers["X-Two"] == "a, b"
        await works(conn, peer)
        conn.disconnect()
        peer.abandon()


async def test_read_response_that_was_stopped_loses_nothing(wire: StyledWire) -> None:
    head = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + LENGTH.head
    for offset in wire.offsets(0, len(head)):
        conn, peer = wire.pair()
        peer.expect_request()
        peer.reply(head[:offset])
        await conn.send_request("GET", "/")
        await wire.stop(conn.read_response())
        peer.reply(head[offset:] + PAYLOAD)
        response = await conn.read_response()
        assert [early.status for early in response.informational] == [103]
        assert await conn.readall() == PAYLOAD
        conn.disconnect()
        peer.abandon()


@in_turn("name", ["read", "readinto", "readall", "discard"])
async def test_half_done_readall_is_served_by_the_next_read(wire: StyledWire, name: str) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(LENGTH.wire[:-20])
    await ask(conn)
    await wire.stop(conn.readall())
    if name == "read":  # what is there is served without waiting for more
        assert await conn.read(4) == PAYLOAD[:4]
        assert await conn.read(100) == PAYLOAD[4:7]
    elif name == "readinto":
        buf = bytearray(7)
        assert await conn.readinto(buf) == 7
        assert buf == PAYLOAD[:7]
    peer.reply(LENGTH.wire[-20:])
    if name == "discard":
        await conn.discard()
    else:
        start = 0 if name == "readall" else 7
        assert await conn.readall() == PAYLOAD[start:]
    await works(conn, peer)


# --------------------------------------------------------------------------------- waiting


def test_second_reader_at_the_same_time(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    drive(conn.co_send_request("GET", "/"), peer)
    crt = conn.co_read_response()
    assert advance(crt, peer).mask == POLLIN
    with pytest.raises(StateError):
        drive(conn.co_read_response(), peer)
    peer.reply(LENGTH.wire[:-5])
    drive(crt, peer)
    body = conn.co_readall()
    advance(body, peer)
    for second in (conn.co_read(1), conn.co_readinto(bytearray(1)), conn.co_discard()):
        with pytest.raises(StateError):
            drive(second, peer)
    peer.reply(LENGTH.wire[-5:])
    assert drive(body, peer) == PAYLOAD
    works(conn, peer)


def test_mask_is_what_the_socket_asked_for(tls: Wire) -> None:
    pace = Pace()
    conn, peer = tls.pair(tap=pace)
    peer.expect_request()
    drive(conn.co_send_request("GET", "/"), peer)
    pace.recv_wants_write = 1
    crt = conn.co_read_response()
    assert next(crt).mask == POLLOUT
    peer.reply(OK)
    assert drive(crt, peer).status == 200
    assert drive(conn.co_readall(), peer) == b"hi"


def test_early_resumption_is_harmless(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    drive(conn.co_send_request("GET", "/"), peer)
    crt = conn.co_read_response()
    for _ in range(5):
        assert next(crt).mask == POLLIN
    peer.reply(OK)
    assert drive(crt, peer).status == 200
    body = conn.co_readall()
    assert drive(body, peer) == b"hi"


def test_poll_needed_is_a_tuple(plain: Wire) -> None:
    conn, peer = plain.pair()
    peer.expect_request()
    drive(conn.co_send_request("GET", "/"), peer)
    crt = conn.co_read_response()
    advance(crt, peer)
    need = next(crt)
    fd, mask = need
    assert (fd, mask) == (need.fd, need.mask)
    assert isinstance(need, tuple)
    assert need.timeout is None
    assert need.poll(0) is False
    peer.reply(OK)
    peer.run()
    assert need.poll() is True
    assert need.poll(timeout=5) is True
    assert drive(crt, peer).status == 200


async def test_read_response_once_more_after_the_connection_ended(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(CLOSED.wire)
    peer.close()
    await fetch(conn)
    with pytest.raises(StateError):
        await conn.read_response()


async def test_pipelined_behind_a_close_delimited_response(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.expect_request()
    peer.reply(CLOSED.wire)
    peer.close()
    await conn.send_request("GET", "/one")
    await conn.send_request("GET", "/two")
    await conn.read_response()
    assert await conn.readall() == PAYLOAD
    with pytest.raises(ConnectionClosed) as info:
        await conn.read_response()
    assert [request.path for request in info.value.unanswered] == ["/two"]


def impatient(crt: Coroutine[T]) -> Coroutine[T]:
    """Resume the coroutine three times for each time that it is ready."""
    while True:
        try:
            next(crt)
            next(crt)
            need = next(crt)
        except StopIteration as exc:
            return exc.value  # type: ignore[no-any-return]
        yield need


@pytest.mark.parametrize("dialled", [True, False])
def test_driver_that_resumes_too_often(wire: Wire, dialled: bool) -> None:
    """Connecting, the handshake, sending and receiving, all resumed early."""
    if dialled:
        listener = wire.listen()
        conn, peer = wire.dial(listener), listener.peer(chunk=3)
    else:
        conn, peer = wire.pair(chunk=3, small=True)
    body = bytes(500_000)
    peer.expect_request(body=body)
    peer.reply(DECORATED.wire)
    response, got = drive(impatient(fetch(conn, "PUT", body=body)), peer)
    assert (got, response.trailers["X-Sum"]) == (PAYLOAD, "7")
    works(conn, peer)


async def test_half_done_readall_is_still_a_body_being_read(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.expect_request()
    await conn.send_request("GET", "/one")
    await conn.send_request("GET", "/two")
    peer.reply(LENGTH.wire[:-20])
    await conn.read_response()
    await wire.stop(conn.readall())
    with pytest.raises(StateError):
        await conn.read_response()
    peer.reply(LENGTH.wire[-20:] + EMPTY)
    peer.run()
    with pytest.raises(StateError):
        await conn.read_response()
    assert await conn.readall() == PAYLOAD
    assert (await conn.read_response()).path == "/two"
