"""The time limits that the drivers keep: `timeout` for one wait, `deadline` for one call.

A generator knows none: whoever drives it by hand, limits it by hand. `eval_coroutine`, which
takes limits, is what the blocking methods are made of.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from dugong import (
    POLLIN,
    AsyncHTTPConnection,
    BodyFollowing,
    ConnectionClosed,
    ConnectionTimedOut,
    PollNeeded,
)
from dugong.transport import poll
from tests.support.exchanges import CHUNKED, LENGTH, OK, PAYLOAD, ask, works
from tests.support.in_turn import in_turn
from tests.support.peer import Peer
from tests.support.styles import StyledWire

pytestmark = pytest.mark.styles("blocking", "asyncio", "trio")


@dataclass
class Turned:
    """A clock that the test turns."""

    now: float

    def __call__(self) -> float:
        return self.now


async def answered(wire: StyledWire, reply: bytes) -> tuple[AsyncHTTPConnection, Peer]:
    """A connection whose request has been sent and whose reply lies in the socket's buffer."""
    conn, peer = wire.pair()
    await conn.connect()
    await conn.send_request("GET", "/")
    peer.expect_request()
    peer.reply(reply)
    peer.run()
    return conn, peer


@in_turn("limit", ["timeout", "deadline"])
@in_turn("seconds", [0, 0.01])
async def test_silent_peer(wire: StyledWire, limit: str, seconds: float) -> None:
    """A read that timed out may be repeated and has lost nothing."""
    conn, peer = await answered(wire, b"HTTP/1.1 20")
    setattr(conn, limit, seconds)
    for _ in range(2):
        with pytest.raises(ConnectionTimedOut):
            await conn.read_response()
    peer.reply(CHUNKED.wire[11:-20])
    peer.run()
    setattr(conn, limit, None)
    assert (await conn.read_response()).status == 200
    setattr(conn, limit, seconds)
    for _ in range(2):
        with pytest.raises(ConnectionTimedOut):
            await conn.readall()
    peer.reply(CHUNKED.wire[-20:])
    peer.run()
    setattr(conn, limit, None)
    assert await conn.readall() == PAYLOAD
    await works(conn, peer)


async def test_silence_is_an_error_of_the_exchange(wire: StyledWire) -> None:
    conn, peer = await answered(wire, b"")
    conn.timeout = 0
    with pytest.raises(ConnectionTimedOut) as info:
        await conn.read_response()
    assert info.value.bytes_sent == len(peer.received)
    assert not info.value.response_started
    assert info.value.safe_to_retry
    assert [request.path for request in info.value.unanswered] == ["/"]


async def test_no_wait_needs_no_time(wire: StyledWire) -> None:
    conn, _ = await answered(wire, OK)
    conn.timeout = conn.deadline = 0
    assert (await conn.read_response()).status == 200
    assert await conn.readall() == b"hi"


@in_turn("limit", ["timeout", "deadline"])
@in_turn("seconds", [0, 0.01])
async def test_timed_out_send_breaks_the_connection(
    wire: StyledWire, limit: str, seconds: float
) -> None:
    conn, _ = wire.pair(small=True)
    await conn.connect()
    setattr(conn, limit, seconds)
    with pytest.raises(ConnectionTimedOut) as info:
        await conn.send_request("PUT", "/", body=bytes(10_000_000))
    assert 0 < info.value.bytes_sent < 10_000_000
    with pytest.raises(ConnectionClosed):
        await conn.send_request("GET", "/")


async def test_timed_out_write_breaks_the_connection(wire: StyledWire) -> None:
    conn, _ = wire.pair(small=True)
    await conn.connect()
    conn.timeout = 0.01
    await conn.send_request("PUT", "/", body=BodyFollowing(10_000_000))
    with pytest.raises(ConnectionTimedOut):
        await conn.write(bytes(10_000_000))
    with pytest.raises(ConnectionClosed):
        await conn.write(b"x")


async def test_the_time_before_the_body_moved(
    wire: StyledWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait for the response has all its time, however long that for the 100 has been."""
    clock = Turned(time.monotonic())
    monkeypatch.setattr(poll, "time", SimpleNamespace(monotonic=clock))

    def blocks() -> Iterator[bytes]:
        clock.now += 20  # so long it took
        yield b"hello"

    conn, peer = wire.pair(timeout=10, continue_timeout=0.005)
    peer.expect_head()
    peer.expect(b"hello")
    peer.reply(OK)
    headers = {"Content-Length": 5}
    response = await conn.request("PUT", "/", headers=headers, body=blocks(), expect100=True)
    assert (response.status, response.informational) == (200, [])
    assert await conn.readall() == b"hi"
    await works(conn, peer)


def test_bytes_that_moved_begin_the_time_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, moved = Turned(100.0), 7
    monkeypatch.setattr(poll, "time", SimpleNamespace(monotonic=clock))
    limits = poll.Limits(10, None, lambda: moved)
    for own, passes, count, left in [
        (None, 4.0, 7, 10.0),  # what each wait has, and what comes after it
        (3.0, 3.0, 7, 3.0),
        (None, 2.0, 8, 3.0),
        (None, 9.0, 8, 10.0),
        (None, 1.0, 8, 1.0),
        (None, 0.0, 9, 0.0),
        (5.0, 0.0, 9, 5.0),
    ]:
        seconds, message = limits.next_wait(PollNeeded(0, POLLIN, own))
        assert seconds == pytest.approx(left)
        assert (message is None) == (own is not None)
        clock.now += passes
        moved = count


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
async def test_limits_cover_the_handshake(tls: StyledWire, limit: str) -> None:
    conn, _ = tls.pair(handshake=False)
    setattr(conn, limit, 0.01)
    with pytest.raises(ConnectionTimedOut):
        await conn.connect()


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
async def test_limits_cover_connecting(plain: StyledWire, limit: str) -> None:
    """A listening socket whose queue is full leaves further connections hanging."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        fillers = []
        try:
            for _ in range(5):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(server.getsockname())
                fillers.append(filler)
            options = {"address": server.getsockname(), limit: 0.01}
            conn = plain.connection("localhost", **options)
            with pytest.raises(ConnectionTimedOut):
                await conn.connect()
        finally:
            for filler in fillers:
                filler.close()


async def test_timeout_is_for_one_wait(wire: StyledWire) -> None:
    """Bytes that move begin the time anew: no limit of the whole."""
    conn, peer = wire.pair(chunk=1, timeout=5)
    peer.expect_request()
    peer.reply(LENGTH.wire)
    await ask(conn)
    assert await conn.readall() == PAYLOAD


async def test_deadline_is_for_the_whole_call(plain: StyledWire) -> None:
    """Bytes trickle in, a million of them one by one; the next call has all its time again."""
    conn, peer = plain.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    peer.reply(bytes(1_000_000), chunk=1)
    await ask(conn)
    conn.timeout, conn.deadline = 5, 0.02
    for _ in range(2):
        with pytest.raises(ConnectionTimedOut):
            await conn.discard()
    assert await conn.read(1) == b"\0"
