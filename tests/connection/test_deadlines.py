"""`deadline` and `timeout` of one exchange, which hold up to its last byte and in every style.

Where a test needs time to pass, it turns the clock of the connection. Where it needs a wait to
end by itself, the peer never does what is waited for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dugong import (
    AsyncHTTPConnection,
    BodyFollowing,
    ConnectionClosed,
    ConnectionTimedOut,
    StateError,
)
from tests.session.test_reading_early import CALLS, call
from tests.support.exchanges import CHUNKED, CLOSED, LENGTH, OK, PAYLOAD, Sample, Text, works
from tests.support.in_turn import in_turn
from tests.support.peer import Peer
from tests.support.styles import StyledWire
from tests.support.turned import Turned

#: Seconds that a peer which stays silent is waited for.
SHORT = 0.02

BIG = bytes(3_000_000)

samples = in_turn("sample", [LENGTH, CHUNKED, CLOSED], ids=str)


def timed(wire: StyledWire, **options: Any) -> tuple[AsyncHTTPConnection, Peer, Turned]:
    conn, peer = wire.pair(**options)
    conn._monitor.clock = clock = Turned()
    return conn, peer, clock


async def too_late(conn: AsyncHTTPConnection, seconds: float = 5) -> None:
    """Assert that no call reads anything any more."""
    for read in CALLS.values():
        with pytest.raises(ConnectionTimedOut, match=f"not done within {seconds} seconds") as info:
            await read(conn)
        assert info.value.phase == "body"
        assert f"deadline={seconds}" in str(info.value)


# --------------------------------------------------------------------------- until the head


@pytest.mark.parametrize("how", ["request", "send_request"])
async def test_no_response(wire: StyledWire, how: str) -> None:
    conn, peer, clock = timed(wire)
    peer.expect_request()
    peer.call(clock.run)
    if how == "send_request":
        await conn.send_request("GET", "/", deadline=SHORT)
    for i in range(3):
        with pytest.raises(ConnectionTimedOut) as info:
            if how == "request" and i == 0:
                await conn.request("GET", "/", deadline=SHORT)
            else:
                await conn.read_response()
        assert info.value.phase == "response"
        assert "not done within 0.02 seconds" in str(info.value)
        assert info.value.safe_to_retry
        assert info.value.bytes_sent == conn.bytes_sent > 0
        assert [request.path for request in info.value.unanswered] == ["/"]
    peer.reply(OK)
    peer.run()
    assert (await conn.read_response()).status == 200, "the last byte has arrived"
    assert await conn.readall() == b"hi"
    await works(conn, peer)


async def test_deadline_of_0(wire: StyledWire) -> None:
    """Nothing is waited for, and nothing is sent."""
    conn, _ = wire.pair()
    await conn.connect()
    with pytest.raises(ConnectionTimedOut) as info:
        await conn.request("GET", "/", deadline=0)
    assert (info.value.phase, info.value.bytes_sent) == ("send", 0)
    assert info.value.safe_to_retry


async def test_the_head_arrives_too_late(wire: StyledWire) -> None:
    conn, peer, clock = timed(wire)
    peer.expect_request()
    peer.call(lambda: clock.turn(6))
    peer.reply(b"HTTP/1.1 200 OK\r\n")
    with pytest.raises(ConnectionTimedOut) as info:
        await conn.request("GET", "/", deadline=5)
    assert info.value.phase == "response"


# ---------------------------------------------------------------------- up to the last byte


@samples
async def test_the_rest_of_the_body_is_missing(wire: StyledWire, sample: Sample) -> None:
    """No call returns a part of it, and none loses any."""
    conn, peer, clock = timed(wire)
    peer.expect_request()
    peer.reply(sample.wire[:-2])
    assert (await conn.request("GET", "/", deadline=5)).status == 200
    assert await conn.read(2) == PAYLOAD[:2]
    clock.turn(5)
    for read in [*CALLS.values()][:-1]:
        with pytest.raises(ConnectionTimedOut, match="not done within 5 seconds") as info:
            await read(conn)
        assert info.value.phase == "body"
    peer.reply(sample.wire[-2:])
    if sample.closes:
        peer.close()
    peer.run()
    assert await conn.read(5) == PAYLOAD[2:7], "now it has arrived to the last byte"
    assert await conn.readall() == PAYLOAD[7:]
    if not sample.closes:
        await works(conn, peer)


@samples
@in_turn("apart", [False, True])
async def test_the_last_byte_came_in_time(wire: StyledWire, sample: Sample, apart: bool) -> None:
    """Whether it was read from the system before or not."""
    for read in CALLS.values():
        conn, peer, clock = timed(wire)
        peer.expect_request()
        if apart:
            peer.reply(sample.head)
        peer.reply(sample.body if apart else sample.wire)
        await conn.request("GET", "/", deadline=5)
        if sample.closes:
            peer.close()
        peer.run()
        clock.turn(1000)
        got = piece = await read(conn)
        while piece and read is CALLS["read"]:
            got += (piece := await read(conn))
        assert got in (PAYLOAD, b"")
        assert await conn.readall() == b""


async def test_in_small_pieces_after_the_deadline(wire: StyledWire) -> None:
    conn, peer, clock = timed(wire)
    peer.expect_request()
    peer.reply(CHUNKED.wire)
    await conn.request("GET", "/", deadline=5)
    clock.turn(1000)
    buf, got = bytearray(2), b""
    while count := await conn.readinto(buf):
        got += buf[:count] + await conn.read(1)
    assert got == PAYLOAD
    await works(conn, peer)


async def trickling(wire: StyledWire) -> tuple[AsyncHTTPConnection, Turned]:
    """A response whose body arrives byte by byte, one each second, except for the last one."""
    conn, peer, clock = timed(wire)
    peer.expect_request()
    peer.reply(LENGTH.head)
    await conn.request("GET", "/", deadline=5)
    for i in range(len(PAYLOAD) - 1):
        peer.call(lambda: clock.turn(1))
        peer.reply(PAYLOAD[i : i + 1])
    return conn, clock


@pytest.mark.parametrize("call", ["readall", "discard"])
async def test_bytes_that_trickle_in(wire: StyledWire, call: str) -> None:
    """One call goes on although each wait is short."""
    conn, clock = await trickling(wire)
    with pytest.raises(ConnectionTimedOut):
        await CALLS[call](conn)
    assert clock.now >= 105
    await too_late(conn)


async def test_a_loop_that_reads_what_trickles_in(wire: StyledWire) -> None:
    """Many calls, each of which is quick."""
    conn, clock = await trickling(wire)
    got = b""
    with pytest.raises(ConnectionTimedOut):
        while piece := await conn.read(100):
            got += piece
    assert PAYLOAD.startswith(got)
    assert clock.now >= 105
    await too_late(conn)


@pytest.mark.parametrize("limit", ["deadline", "timeout"])
@call
async def test_a_wait_ends_by_itself(wire: StyledWire, call: Text[[], bytes], limit: str) -> None:
    """The rest of the body stays away, and so no driver has anything to wake up for."""
    conn, peer, clock = timed(wire)
    peer.expect_request()
    peer.reply(LENGTH.wire[:-1])
    arguments: dict[str, Any] = {limit: SHORT}
    await conn.request("GET", "/", **arguments)
    clock.run()
    for _ in range(2):
        with pytest.raises(ConnectionTimedOut, match=f"{limit}=0.02") as info:
            while True:
                await call(conn)
        assert info.value.phase == "body"


async def test_a_response_that_is_read_too_late(wire: StyledWire) -> None:
    """Its head has arrived, and is kept until its body has arrived as well."""
    conn, peer, clock = timed(wire)
    peer.expect_request()
    peer.reply(LENGTH.wire[:-1])
    await conn.send_request("GET", "/", deadline=5)
    peer.run()
    clock.turn(5)
    for _ in range(2):
        with pytest.raises(ConnectionTimedOut):
            await conn.read_response()
        with pytest.raises(StateError):
            await conn.readall()
        assert conn.response_pending()
    peer.reply(LENGTH.wire[-1:])
    peer.run()
    assert (await conn.read_response()).status == 200
    assert await conn.readall() == PAYLOAD
    await works(conn, peer)


async def test_a_complete_response_that_is_read_too_late(wire: StyledWire) -> None:
    conn, peer, clock = timed(wire)
    for reply in (OK, b"HTTP/1.1 204 No Content\r\n\r\n"):
        peer.expect_request()
        peer.reply(reply)
        await conn.send_request("GET", "/", deadline=5)
        peer.run()
        clock.turn(5)
        assert (await conn.read_response()).status in (200, 204)
        assert await conn.readall() in (b"hi", b"")
    await works(conn, peer)


async def test_the_next_exchange_has_its_own(wire: StyledWire) -> None:
    conn, peer, clock = timed(wire)
    peer.expect_request()
    peer.reply(OK)
    await conn.request("GET", "/", deadline=5)
    assert await conn.readall() == b"hi"
    clock.turn(1000)
    await works(conn, peer)
    peer.expect_request()
    peer.reply(OK)
    await conn.request("GET", "/", deadline=5)
    assert await conn.readall() == b"hi"


async def test_requests_in_flight(wire: StyledWire) -> None:
    """Each has a deadline of its own, and some have none."""
    conn, peer, clock = timed(wire)
    for deadline in (100, 5, None):
        peer.expect_request()
        await conn.send_request("GET", "/", deadline=deadline)
    peer.reply(OK + OK[:-1])
    clock.turn(5)
    assert (await conn.read_response()).status == 200
    assert await conn.readall() == b"hi"
    with pytest.raises(ConnectionTimedOut):
        await conn.read_response()
    peer.reply(OK[-1:] + OK)
    peer.run()
    for _ in range(2):
        assert (await conn.read_response()).status == 200
        assert await conn.readall() == b"hi"


async def test_the_end_of_the_body_before(wire: StyledWire) -> None:
    """`read_response` first waits for the end of the last body, within that one's limits."""
    conn, peer, clock = timed(wire)
    peer.expect_request()
    peer.expect_request()
    peer.reply(CHUNKED.wire[:-5])
    await conn.send_request("GET", "/", deadline=5)
    await conn.send_request("GET", "/")
    await conn.read_response()
    assert await conn.read(100) == PAYLOAD
    clock.turn(5)
    with pytest.raises(ConnectionTimedOut):
        await conn.read_response()
    peer.reply(CHUNKED.wire[-5:])
    peer.run()
    peer.reply(OK)
    assert (await conn.read_response()).status == 200
    assert await conn.readall() == b"hi"


# --------------------------------------------------------------------------------- sending


@pytest.mark.parametrize("how", ["request", "send_request"])
async def test_a_peer_that_does_not_read(wire: StyledWire, how: str) -> None:
    conn, peer, clock = timed(wire, small=True)
    peer.expect_head()
    peer.call(clock.run)
    with pytest.raises(ConnectionTimedOut) as info:
        if how == "request":
            await conn.request("PUT", "/", body=BIG, expect100=False, deadline=SHORT)
        else:
            await conn.send_request("PUT", "/", body=BIG, deadline=SHORT)
    assert info.value.phase == "send"
    assert 0 < info.value.bytes_sent < len(BIG)
    with pytest.raises(ConnectionClosed):
        await conn.send_request("GET", "/")


async def test_a_body_that_takes_its_time(wire: StyledWire) -> None:
    """Without a wait of ours."""
    conn, peer, clock = timed(wire)

    def blocks() -> Iterator[bytes]:
        for _ in range(10):
            yield b"hello"
            clock.turn(1)

    peer.expect_head()
    with pytest.raises(ConnectionTimedOut) as info:
        await conn.request("PUT", "/", body=blocks(), expect100=False, deadline=5)
    assert info.value.phase == "send"
    assert clock.now == 105


async def test_a_body_that_is_written(wire: StyledWire) -> None:
    conn, _, clock = timed(wire)
    await conn.send_request("PUT", "/", body=BodyFollowing(), deadline=5)
    await conn.write(b"hello")
    clock.turn(5)
    sent = conn.bytes_sent
    with pytest.raises(ConnectionTimedOut) as info:
        await conn.write(b"more")
    assert info.value.phase == "send"
    with pytest.raises(ConnectionClosed):
        await conn.end_body()
    assert conn.bytes_sent == sent


async def test_the_end_of_a_body_that_is_written(wire: StyledWire) -> None:
    conn, _, clock = timed(wire)
    await conn.send_request("PUT", "/", body=BodyFollowing(), deadline=5)
    clock.turn(5)
    with pytest.raises(ConnectionTimedOut):
        await conn.end_body()


async def test_the_100_that_is_awaited(wire: StyledWire) -> None:
    conn, peer, clock = timed(wire, continue_timeout=None)
    peer.expect_head()
    peer.call(clock.run)
    with pytest.raises(ConnectionTimedOut) as info:
        await conn.request("PUT", "/", body=b"hello", expect100=True, deadline=SHORT)
    assert info.value.phase == "response"
