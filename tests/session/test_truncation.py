"""Responses that are cut off: an error wherever the framing or TLS can tell."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dugong import ConnectionClosed
from tests.support.drive import drive
from tests.support.exchanges import (
    CLOSED,
    CUT_READERS,
    LENGTH,
    PAYLOAD,
    READERS,
    SAMPLES,
    SELF_DELIMITED,
    Reader,
    Sample,
    ask,
)
from tests.support.in_turn import in_turn
from tests.support.peer import Peer
from tests.support.styles import StyledWire
from tests.support.wire import Wire

pytestmark = pytest.mark.slow

ENDS: dict[str, Callable[[Peer], None]] = {
    "close": Peer.close,
    "reset": Peer.reset,
    "without notify": Peer.close_without_notify,
}


@in_turn("end", ENDS.values(), ids=ENDS)
@in_turn("sample", SELF_DELIMITED, ids=str)
@in_turn("reader", CUT_READERS.values(), ids=CUT_READERS)
def test_body_cut_off_at_every_offset(
    wire: Wire,
    sample: Sample,
    reader: Reader,
    end: Callable[[Peer], None],
) -> None:
    for offset in range(len(sample.head), len(sample.wire)):
        conn, peer = wire.pair()
        peer.expect_request()
        peer.reply(sample.wire[:offset])
        end(peer)
        try:
            response = drive(ask(conn), peer)
            with pytest.raises(ConnectionClosed) as info:
                drive(reader(conn), peer)
                pytest.fail(f"{offset - len(sample.head)} bytes pass for a whole body")
            assert response.status == 200
            assert info.value.response_started
            assert [request.path for request in info.value.unanswered] == ["/"]
        finally:
            conn.disconnect()
            peer.abandon()


@in_turn("reader", CUT_READERS.values(), ids=CUT_READERS)
@in_turn("offset", [0, 1, 5, len(PAYLOAD)])
async def test_close_delimited_body_ended_by_a_reset(
    wire: StyledWire, reader: Reader, offset: int
) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(CLOSED.head + PAYLOAD[:offset])
    await ask(conn)
    peer.reset()
    with pytest.raises(ConnectionClosed):
        await reader(conn)


@pytest.mark.parametrize("reader", CUT_READERS.values(), ids=CUT_READERS)
async def test_close_delimited_body_without_close_notify(tls: StyledWire, reader: Reader) -> None:
    conn, peer = tls.pair()
    peer.expect_request()
    peer.reply(CLOSED.wire)
    peer.close_without_notify()
    await ask(conn)
    with pytest.raises(ConnectionClosed):
        await reader(conn)


async def test_body_of_known_length_needs_no_close_notify(tls: StyledWire) -> None:
    conn, peer = tls.pair()
    peer.expect_request()
    peer.reply(LENGTH.wire)
    peer.close_without_notify()
    await ask(conn)
    assert await conn.readall() == PAYLOAD


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_head_cut_off_at_every_offset(wire: Wire, end: Callable[[Peer], None]) -> None:
    head = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + CLOSED.head
    interim = head.index(b"HTTP/1.1 200")
    for offset in range(len(head)):
        conn, peer = wire.pair()
        peer.expect_request()
        peer.reply(head[:offset])
        end(peer)
        try:
            drive(conn.co_send_request("GET", "/"), peer)
            with pytest.raises(ConnectionClosed) as info:
                drive(conn.co_read_response(), peer)
                pytest.fail(f"{offset} bytes pass for a whole head")
            if offset > interim:
                assert info.value.response_started
            elif offset == 0:
                assert not info.value.response_started
        finally:
            conn.disconnect()
            peer.abandon()


@in_turn("sample", SAMPLES, ids=str)
async def test_error_is_repeated_until_disconnect(wire: StyledWire, sample: Sample) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(sample.wire[: len(sample.head) + 5])
    await ask(conn)
    peer.reset()
    with pytest.raises(ConnectionClosed):
        await READERS["read(5)"](conn)
    for again in (conn.read(1), conn.readall(), conn.send_request("GET", "/")):
        with pytest.raises(ConnectionClosed):
            await again


async def test_what_came_before_the_cut_can_be_read(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(LENGTH.wire[:-20])
    peer.close()
    await ask(conn)
    assert await conn.read(100) == PAYLOAD[:-20]
    with pytest.raises(ConnectionClosed):
        await conn.read(100)


async def test_disconnect_in_the_middle_of_a_body(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(LENGTH.wire[:-20])
    await ask(conn)
    conn.disconnect()
    with pytest.raises(ConnectionClosed):
        await conn.read(5)
