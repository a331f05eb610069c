"""Buffers that were given to a call that failed: resizable as soon as it has raised.

A traceback keeps the frames of the failed call, and so whatever they look at: the exception is
held here while the buffer is resized.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dugong import BodyFollowing, ConnectionClosed, ConnectionTimedOut, ExcessBodyData, StateError
from tests.support.exchanges import OK
from tests.support.in_turn import in_turn
from tests.support.styles import StyledWire
from tests.support.uploads import WAYS, swallow
from tests.support.wire import HOST

SIZE = 4_000_000  # more than small buffers hold


async def let_go(buffer: bytearray, error: type[Exception], part: Awaitable[Any]) -> None:
    """Assert that *part* fails, and that *buffer* is let go although its traceback is there."""
    try:
        await part
    except error:
        buffer.append(0)
    else:
        raise AssertionError(f"no {error.__name__}")


@in_turn("end", ["reset", "close"])
@in_turn("way", WAYS)
async def test_the_peer_goes(plain: StyledWire, way: str, end: str) -> None:
    await the_peer_goes(plain, way, end)


async def the_peer_goes(wire: StyledWire, way: str, end: str) -> None:
    conn, peer = wire.pair(small=True)
    body = bytearray(SIZE)
    peer.expect_head()
    swallow(peer, 10_000)
    getattr(peer, end)()
    await let_go(body, ConnectionClosed, WAYS[way](conn, "PUT", body=body, expect100=False))


#: A blocking call may find more than one of these ends, as the threads run.
STEPWISE = pytest.mark.styles("generator", "asyncio", "trio")


@STEPWISE
@in_turn("end", ["reset", "close"])
@in_turn("way", WAYS)
async def test_the_peer_goes_over_tls(tls: StyledWire, way: str, end: str) -> None:
    await the_peer_goes(tls, way, end)


@pytest.mark.parametrize("end", ["reset", "close"])
async def test_the_peer_goes_while_the_100_is_awaited(wire: StyledWire, end: str) -> None:
    conn, peer = wire.pair()
    body = bytearray(SIZE)
    peer.expect_head()
    getattr(peer, end)()
    await let_go(body, ConnectionClosed, conn.request("PUT", "/", body=body, expect100=True))


@pytest.mark.styles("blocking", "asyncio", "trio")  # a generator has no time limits
@in_turn("limit", ["timeout", "deadline"])
@in_turn("way", WAYS)
async def test_time_passes(wire: StyledWire, way: str, limit: str) -> None:
    conn, _ = wire.pair(small=True)
    await conn.connect()
    setattr(conn, limit, 0.01)
    body = bytearray(SIZE)
    await let_go(body, ConnectionTimedOut, WAYS[way](conn, "PUT", body=body, expect100=False))


@pytest.mark.styles("blocking", "asyncio", "trio")
@in_turn("length", [SIZE, None])
async def test_time_passes_in_write(wire: StyledWire, length: int | None) -> None:
    conn, _ = wire.pair(small=True)
    await conn.send_request("PUT", "/", body=BodyFollowing(length))
    conn.timeout = 0.01
    body = bytearray(SIZE)
    await let_go(body, ConnectionTimedOut, conn.write(body))


@in_turn("state", ["no body is due", "too many bytes", "sending has ended"])
async def test_a_write_that_is_refused(wire: StyledWire, state: str) -> None:
    conn, peer = wire.pair()
    body = bytearray(b"hello")
    if state == "no body is due":
        await conn.send_request("GET", "/")
        await let_go(body, StateError, conn.write(body))
    elif state == "too many bytes":
        await conn.send_request("PUT", "/", body=BodyFollowing(2))
        await let_go(body, ExcessBodyData, conn.write(body))
    else:
        await conn.send_request("PUT", "/", body=BodyFollowing())
        peer.expect_head()
        peer.run()
        conn.disconnect()
        await let_go(body, ConnectionClosed, conn.write(body))


@pytest.mark.parametrize("length", [SIZE, None])
async def test_the_peer_goes_in_write(plain: StyledWire, length: int | None) -> None:
    await the_peer_goes_in_write(plain, length)


@STEPWISE
@pytest.mark.parametrize("length", [SIZE, None])
async def test_the_peer_goes_in_write_over_tls(tls: StyledWire, length: int | None) -> None:
    await the_peer_goes_in_write(tls, length)


async def the_peer_goes_in_write(wire: StyledWire, length: int | None) -> None:
    conn, peer = wire.pair(small=True)
    await conn.connect()
    await conn.send_request("PUT", "/", body=BodyFollowing(length))
    peer.expect_head()
    swallow(peer, 10_000)
    peer.reset()
    body = bytearray(SIZE)
    await let_go(body, ConnectionClosed, conn.write(body))


@pytest.mark.styles("blocking", "asyncio", "trio")
async def test_time_passes_in_readinto(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhi")
    await conn.request("GET", "/")
    assert await conn.read(2) == b"hi"
    conn.timeout = 0.01
    buffer = bytearray(20)
    await let_go(buffer, ConnectionTimedOut, conn.readinto(buffer))


@pytest.mark.parametrize("end", ["reset", "close"])
async def test_the_peer_goes_in_readinto(wire: StyledWire, end: str) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhi")
    await conn.request("GET", "/")
    assert await conn.read(2) == b"hi"
    getattr(peer, end)()
    buffer = bytearray(20)
    await let_go(buffer, ConnectionClosed, conn.readinto(buffer))


async def test_a_connection_found_stale(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(OK)
    peer.close()
    await conn.request("GET", "/")
    assert await conn.readall() == b"hi"
    while peer.step():
        pass
    body = bytearray(b"hello")
    await let_go(body, ConnectionClosed, conn.send_request("PUT", "/", body=body))


REFUSED: dict[str, Callable[[Any, bytearray], Any]] = {
    "bad field": lambda conn, body: conn.request("PUT", "/", {"X-A": "b\n"}, body),
    "bad host": lambda conn, body: conn.send_request("PUT", "/", {"Host": "a b"}, body),
    "bad length": lambda conn, body: conn.request("PUT", "/", {"Content-Length": "7"}, body),
    "bad method": lambda conn, body: conn.send_request("P T", "/", None, body),
    "bad target": lambda conn, body: conn.request("PUT", "/ /", None, body),
}


@in_turn("kind", REFUSED)
async def test_a_request_that_is_none(plain: StyledWire, kind: str) -> None:
    conn, _ = plain.pair()
    body = bytearray(b"hello")
    await let_go(body, ValueError, REFUSED[kind](conn, body))


async def test_nobody_listens(plain: StyledWire) -> None:
    listener = plain.listen()
    address = listener.address
    listener.close()
    for way in WAYS.values():
        conn = plain.connection(HOST, address=address)
        body = bytearray(b"hello")
        await let_go(body, OSError, way(conn, "PUT", body=body, expect100=False))
