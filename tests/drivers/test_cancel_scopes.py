"""The time limits and cancellations of the libraries themselves, at every await there is.

`asyncio.timeout`, `trio.move_on_after` and the cancelling of tasks have to end any operation
that waits. What was cut short is a read that can be repeated, or a send that ends sending.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio

from dugong import (
    AsyncHTTPConnection,
    BodyFollowing,
    ConnectionClosed,
    ConnectionTimedOut,
    HTTPConnection,
    PollNeeded,
)
from tests.support.concurrency import LIBRARIES, Library, both, nothing_left
from tests.support.drive import advance, drive
from tests.support.exchanges import CHUNKED, PAYLOAD
from tests.support.in_turn import in_turn
from tests.support.wire import HOST, Certificates, Wire, tcp_pair
from tests.transport.tools import busy_server

TRIO = LIBRARIES[1]

#: Turns of the loop after which an operation has come to its wait.
TURNS = 20

LARGE = bytes(8 << 20)


async def prepare(conn: AsyncHTTPConnection, far: socket.socket, operation: str) -> None:
    """Bring the connection to where *operation* is due and has nothing to go on with."""
    if operation in ("connect", "send_request", "get_ssl_peercert", "get_ssl_cipher"):
        return
    if operation == "write":
        await conn.send_request("PUT", "/", body=BodyFollowing())
        return
    await conn.send_request("GET", "/")
    if operation != "read_response":
        far.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        await conn.read_response()


ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "connect": (),
    "get_ssl_peercert": (),
    "get_ssl_cipher": (),
    "send_request": ("PUT", "/", None, LARGE),
    "write": (LARGE,),
    "read_response": (),
    "read": (10,),
    "readinto": (bytearray(10),),
    "readall": (),
    "discard": (),
}

#: Those that have to connect first, and are held up there.
CONNECTING = ("connect", "get_ssl_peercert", "get_ssl_cipher")


async def by_cancelling(library: Library, call: Callable[[], Awaitable[object]]) -> None:
    assert await library.cut_short(call, TURNS) is None


async def by_scope(library: Library, call: Callable[[], Awaitable[object]]) -> None:
    """With a time limit of the library's own, of which the connection knows nothing."""
    if library.name == "asyncio":
        with pytest.raises(TimeoutError) as info:
            async with asyncio.timeout(0.01):
                await call()
        assert not isinstance(info.value, ConnectionTimedOut)
    else:
        with trio.move_on_after(0.01) as scope:
            await call()
        assert scope.cancelled_caught


async def by_past_scope(library: Library, call: Callable[[], Awaitable[object]]) -> None:
    """The time was over before the call."""
    if library.name == "asyncio":
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await call()
    else:
        with trio.move_on_after(0) as scope:
            await call()
        assert scope.cancelled_caught


Cut = Callable[[Library, Callable[[], Awaitable[object]]], Awaitable[None]]

WAYS: dict[str, Cut] = {
    "cancelled": by_cancelling,
    "limit": by_scope,
    "limit of zero": by_past_scope,
}


@both
@in_turn("operation", ARGUMENTS)
def test_ends_every_operation(library: Library, operation: str) -> None:
    async def main() -> None:
        for cut in WAYS.values():
            await cut_one(cut)

    async def cut_one(cut: Cut) -> None:
        near, far = tcp_pair(small=True)
        options: dict[str, Any] = {"sock": near}
        with busy_server() as server, far:
            if operation in CONNECTING:
                near.close()
                options = {"address": server.getsockname()}
            conn = AsyncHTTPConnection(HOST, **options)
            await prepare(conn, far, operation)
            await cut(library, partial(getattr(conn, operation), *ARGUMENTS[operation]))
            conn.disconnect()

    with nothing_left():
        library.run(main)


@both
@pytest.mark.parametrize("operation", ["connect", "send_request", "get_ssl_peercert"])
def test_ends_a_handshake(library: Library, operation: str, certificates: Certificates) -> None:
    async def main() -> None:
        near, far = tcp_pair(small=False)
        with far:
            conn = AsyncHTTPConnection(HOST, sock=near, ssl_context=certificates.client)
            arguments = ("GET", "/") if operation == "send_request" else ()
            await by_cancelling(library, partial(getattr(conn, operation), *arguments))
            conn.disconnect()

    with nothing_left():
        library.run(main)


# --------------------------------------------------------------------- what is left afterwards


@both
@pytest.mark.parametrize("way", ["cancelled", "limit"])
def test_read_cut_short_again_and_again_loses_nothing(library: Library, way: str) -> None:
    """Before each byte of a response, head and body, the call that reads it is cut short."""

    async def main() -> None:
        near, far = socket.socketpair()
        conn = AsyncHTTPConnection(HOST, sock=near)
        await conn.send_request("GET", "/")
        wire = CHUNKED.wire
        end = wire.index(b"\r\n\r\n") + 4
        step = 1 if way == "cancelled" else 13
        pieces = [wire[i : min(i + step, end)] for i in range(0, end, step)]
        for piece in pieces:
            await WAYS[way](library, conn.read_response)
            far.sendall(piece)
        assert (await conn.read_response()).status == 200
        for i in range(end, len(wire), step):
            await WAYS[way](library, conn.readall)
            far.sendall(wire[i : i + step])
        assert await conn.readall() == PAYLOAD
        conn.disconnect()
        far.close()

    with nothing_left():
        library.run(main)


@both
@pytest.mark.parametrize("way", ["cancelled", "limit"])
def test_send_cut_short_ends_sending(library: Library, way: str) -> None:
    async def main() -> None:
        near, far = tcp_pair(small=True)
        conn = AsyncHTTPConnection(HOST, sock=near)
        await conn.connect()
        await WAYS[way](library, partial(conn.send_request, "PUT", "/", body=LARGE))
        with pytest.raises(ConnectionClosed):
            await conn.send_request("GET", "/")
        conn.disconnect()
        far.close()

    with nothing_left():
        library.run(main)


def test_cancelled_before_it_began() -> None:
    """In trio that is an error of every call, and nothing has happened."""

    async def main() -> None:
        near, far = socket.socketpair()
        conn = AsyncHTTPConnection(HOST, sock=near)
        await by_past_scope(TRIO, partial(conn.send_request, "PUT", "/", body=LARGE))
        assert not conn.response_pending()
        assert conn.bytes_sent == 0
        await conn.send_request("GET", "/")
        assert far.recv(1000).startswith(b"GET / ")
        conn.disconnect()
        far.close()

    with nothing_left():
        TRIO.run(main)


@both
def test_time_out_in_the_middle_of_readall(library: Library) -> None:
    """What it had gathered is what the next call begins with, whichever that is."""

    async def main() -> None:
        near, far = socket.socketpair()
        conn = AsyncHTTPConnection(HOST, sock=near)
        await conn.send_request("GET", "/")
        far.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        await conn.read_response()
        conn.timeout = 0.01
        for part in (b"def", b"g"):
            with pytest.raises(ConnectionTimedOut):
                await conn.readall()
            far.sendall(part)
        buffer = bytearray(2)
        assert await conn.readinto(buffer) == 2
        assert bytes(buffer) == b"ab"
        assert await conn.read(3) == b"cde"
        with pytest.raises(ConnectionTimedOut):
            await conn.readall()
        far.sendall(b"hi")
        assert await conn.readall() == b"fghi"
        conn.disconnect()
        far.close()

    with nothing_left():
        library.run(main)


@both
def test_a_server_that_drips_cannot_hold_a_caller(library: Library) -> None:
    """Another byte at every turn: no wait is long, and the call is over all the same."""

    async def main() -> None:
        near, far = socket.socketpair()
        far.setblocking(False)
        conn = AsyncHTTPConnection(HOST, sock=near, timeout=30, deadline=0.1)

        async def drip() -> None:
            head = iter(b"HTTP/1.1 200 OK\r\n" + b"X-Field: value\r\n" * 3)
            while True:
                await library.checkpoint()
                far.sendall(bytes([next(head, ord("x"))]))

        await conn.send_request("GET", "/")
        async with library.background(drip):
            with pytest.raises(ConnectionTimedOut, match="not done within"):
                await conn.read_response()
        conn.disconnect()
        far.close()

    with nothing_left():
        library.run(main)


# --------------------------------------------------------------------------------- generators


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
def test_generators_know_no_limits(wire: Wire, limit: str) -> None:
    """Whoever drives one decides how long it may take."""
    options: dict[str, Any] = {limit: 0}
    conn, peer = wire.pair(**options)
    peer.expect_request()
    drive(conn.co_send_request("GET", "/"), peer)
    crt = conn.co_read_response()
    need = advance(crt, peer)
    assert isinstance(need, PollNeeded)
    assert need.timeout is None
    for _ in range(3):
        assert next(crt) == need
    peer.reply(CHUNKED.wire)
    assert drive(crt, peer).status == 200
    assert drive(conn.co_readall(), peer) == PAYLOAD
    assert getattr(conn, limit) == 0


def test_blocking_calls_know_them(plain: Wire) -> None:
    conn, peer = plain.pair(timeout=0)
    assert isinstance(conn, HTTPConnection)
    conn.send_request("GET", "/")
    with pytest.raises(ConnectionTimedOut):
        conn.read_response()
    peer.expect_request()
    peer.reply(CHUNKED.wire)
    peer.run()
    assert conn.read_response().status == 200
    assert conn.readall() == PAYLOAD
