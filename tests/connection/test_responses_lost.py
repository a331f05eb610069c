"""Responses lost by a `disconnect` are reported to another caller, and never replaced."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
import trio

from dugong import AsyncHTTPConnection, ConnectionClosed, HTTPConnection, InvalidResponse
from tests.support.exchanges import works
from tests.support.styles import StyledWire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def elsewhere(call: object) -> None:
    """Make a call in another thread, and wait for it."""
    assert callable(call)
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


async def test_sender_comes_first(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    for path in ("/a", "/b"):
        peer.expect_request()
        await conn.send_request("GET", path)
    elsewhere(conn.disconnect)
    with pytest.raises(ConnectionClosed) as info:
        await conn.send_request("POST", "/c", body=b"body")
    exc = info.value
    assert (exc.bytes_sent, exc.response_started, exc.safe_to_retry) == (0, False, True)
    assert [request.path for request in exc.unanswered] == ["/a", "/b"]


async def test_reader_comes_first(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    await conn.send_request("GET", "/a")
    elsewhere(conn.disconnect)
    with pytest.raises(ConnectionClosed) as info:
        await conn.read_response()
    assert [request.path for request in info.value.unanswered] == ["/a"]


async def test_body_is_lost(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(OK[:-1])
    await conn.send_request("GET", "/a")
    await conn.read_response()
    assert await conn.read(1) == b"h"
    elsewhere(conn.disconnect)
    with pytest.raises(ConnectionClosed):
        await conn.read(1)


def serve(listener: socket.socket) -> None:
    """Answer each request with its own path, on one connection after another."""
    while True:
        try:
            sock = listener.accept()[0]
        except OSError:  # the test is over
            return
        with sock, sock.makefile("rb") as lines:
            while line := lines.readline():
                while lines.readline() != b"\r\n":
                    pass
                path = line.split()[1]
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(path) + path)


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield int(listener.getsockname()[1])
        socket.socket.shutdown(listener, socket.SHUT_RDWR)  # wakes the thread
        thread.join()


def test_same_thread_notices_nothing(port: int) -> None:
    with HTTPConnection("127.0.0.1", port) as conn:
        conn.send_request("GET", "/a")
        conn.disconnect()
        conn.send_request("GET", "/b")
        assert conn.read_response().path == "/b"
        assert conn.readall() == b"/b"


def test_reader_is_never_given_a_later_response(port: int) -> None:
    """The caller that disconnected sends again; a reader in another thread is owed /a."""
    failures: list[ConnectionClosed] = []

    def read() -> None:
        try:
            conn.read_response()
        except ConnectionClosed as exc:
            failures.append(exc)

    with HTTPConnection("127.0.0.1", port) as conn:
        conn.send_request("GET", "/a")
        conn.disconnect()
        conn.send_request("GET", "/b")
        elsewhere(read)
        assert [request.path for request in failures[0].unanswered] == ["/a"]
        assert conn.read_response().path == "/b"  # reported once
        assert conn.readall() == b"/b"


def test_whole_exchange_needs_no_report(port: int) -> None:
    with HTTPConnection("127.0.0.1", port) as conn:
        conn.send_request("GET", "/a")
        elsewhere(conn.disconnect)
        assert conn.request("GET", "/b").path == "/b"
        assert conn.readall() == b"/b"


async def test_request_cut_off_needs_no_report(wire: StyledWire) -> None:
    """The exception that cut it off was notice enough, and no response to it is outstanding."""

    def body() -> Iterator[bytes]:
        yield b"some"
        raise ZeroDivisionError

    listener = wire.listen()
    conn = wire.dial(listener)
    first, second = listener.peer(), listener.peer()
    first.expect_head(b"PUT /a")
    with pytest.raises(ZeroDivisionError):
        await conn.send_request("PUT", "/a", body=body())
    elsewhere(conn.disconnect)
    await works(conn, second)


async def test_invalid_response_needs_no_report(wire: StyledWire) -> None:
    """The call that read it has raised already."""
    listener = wire.listen()
    conn = wire.dial(listener)
    first, second = listener.peer(), listener.peer()
    first.expect_request()
    first.reply(b"HTTP/1.1 2OO OK\r\n\r\n")
    await conn.send_request("GET", "/a")
    with pytest.raises(InvalidResponse):
        await conn.read_response()
    elsewhere(conn.disconnect)
    await works(conn, second)


async def lose(conn: AsyncHTTPConnection) -> None:
    conn.disconnect()


def test_tasks_of_asyncio(port: int) -> None:
    async def main() -> None:
        async with AsyncHTTPConnection("127.0.0.1", port) as conn:
            await conn.send_request("GET", "/a")
            await asyncio.create_task(lose(conn))
            with pytest.raises(ConnectionClosed):
                await conn.send_request("GET", "/b")
            await conn.send_request("GET", "/c")  # reported once
            conn.disconnect()
            await conn.send_request("GET", "/d")  # by this task itself

    asyncio.run(main())


def test_tasks_of_trio(port: int) -> None:
    async def main() -> None:
        async with AsyncHTTPConnection("127.0.0.1", port) as conn:
            await conn.send_request("GET", "/a")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lose, conn)
            with pytest.raises(ConnectionClosed):
                await conn.send_request("GET", "/b")
            await conn.send_request("GET", "/c")

    trio.run(main)
