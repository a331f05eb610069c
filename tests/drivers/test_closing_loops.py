"""Closing, and what has to do with the loop: closed early, exchanged, or just being told."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import threading
import weakref
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest

from dugong import AsyncHTTPConnection, ConnectionClosed, HTTPConnection
from tests.support.concurrency import GUARD, LIBRARIES, Library, both, nothing_left
from tests.support.drive import drive
from tests.support.wire import HOST, Wire
from tests.transport.tools import busy_server

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


async def fetch(library: Library, conn: AsyncHTTPConnection, far: socket.socket) -> None:
    """One exchange, the response coming when it is already waited for."""
    await conn.send_request("GET", "/")
    read: list[bytes] = []

    async def receive() -> None:
        await conn.read_response()
        read.append(await conn.readall())

    async def reply() -> None:
        for _ in range(3):
            await library.checkpoint()
        far.sendall(OK)

    await library.together(receive, reply)
    assert read == [b"hi"]
    far.recv(1 << 16)


class Ends:
    """A connection object on one end of a socket pair."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.conn = AsyncHTTPConnection(HOST, sock=self.near)
        self.fd = self.near.fileno()

    async def fetch(self, library: Library) -> None:
        await fetch(library, self.conn, self.far)

    def close(self) -> None:
        self.conn.disconnect()
        self.far.close()
        assert self.near.fileno() == -1


@both
def test_loop_that_ended_with_the_connection_open(library: Library) -> None:
    with nothing_left():
        ends = Ends()
        library.run(partial(ends.fetch, library))
        ends.close()


@both
def test_one_connection_in_two_loops(library: Library) -> None:
    with nothing_left():
        ends = Ends()
        for _ in range(3):
            library.run(partial(ends.fetch, library))
        ends.close()


def test_one_connection_in_asyncio_and_trio() -> None:
    with nothing_left():
        ends = Ends()
        for library in LIBRARIES * 2:
            library.run(partial(ends.fetch, library))
        ends.close()


def test_disconnect_in_another_loop() -> None:
    async def disconnect(ends: Ends) -> None:
        ends.close()

    with nothing_left():
        ends = Ends()
        asyncio.run(ends.fetch(LIBRARIES[0]))
        asyncio.run(disconnect(ends))


def test_loops_are_let_go() -> None:
    """Neither an open nor a closed connection keeps a loop alive that has ended."""
    loops = []

    async def main(ends: Ends) -> None:
        await ends.fetch(LIBRARIES[0])
        loops.append(weakref.ref(asyncio.get_running_loop()))

    ends = Ends()
    asyncio.run(main(ends))
    asyncio.run(main(ends))
    ends.close()
    del ends
    gc.collect()
    assert [loop() for loop in loops] == [None, None]


@both
@pytest.mark.parametrize("inside", [True, False])
def test_dropped_without_disconnect(library: Library, inside: bool) -> None:
    async def main() -> None:
        await ends.fetch(library)
        if inside:
            drop()

    def drop() -> None:
        del ends.conn
        gc.collect()
        assert ends.near.fileno() == -1

    with nothing_left():
        ends = Ends()
        library.run(main)
        if not inside:
            drop()
        ends.far.close()


@both
def test_dropped_while_it_waits(library: Library) -> None:
    """The task that waits keeps it; cancelled, that lets it go."""

    async def main() -> None:
        near, far = socket.socketpair()

        async def wait() -> None:
            conn = AsyncHTTPConnection(HOST, sock=near)
            await conn.send_request("GET", "/")
            await conn.read_response()

        assert await library.cut_short(wait, 5) is None
        gc.collect()
        assert near.fileno() == -1
        far.close()

    with nothing_left():
        library.run(main)


def test_disconnected_in_a_thread_while_the_loop_sleeps_on_it() -> None:
    """Nobody waits, the registration is kept: the loop gives it up by itself."""

    async def main() -> None:
        ends = Ends()
        await ends.fetch(LIBRARIES[0])
        thread = threading.Thread(target=ends.conn.disconnect)
        thread.start()
        thread.join()
        for _ in range(5):
            await asyncio.sleep(0)
        assert ends.near.fileno() == -1
        ends.far.close()

    with nothing_left():
        asyncio.run(main())


class InterruptedLoop(asyncio.SelectorEventLoop):
    """A loop in which something happens in another thread when it is told of a reader."""

    meanwhile: Callable[[], object] | None = None

    def add_reader(  # type: ignore[override]
        self, fd: int, callback: Callable[..., object], *args: object
    ) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            thread = threading.Thread(target=meanwhile)
            thread.start()
            thread.join()
        super().add_reader(fd, callback, *args)


def test_disconnected_in_a_thread_just_before_the_wait() -> None:
    """The descriptor's number may soon be another connection's, which must get its events."""
    library = LIBRARIES[0]

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, InterruptedLoop)
        first = Ends()
        await first.conn.send_request("GET", "/")
        loop.meanwhile = first.conn.disconnect
        with pytest.raises(ConnectionClosed):
            await first.conn.read_response()
        second = Ends()
        assert first.fd in (second.fd, second.far.fileno())
        async with library.limit(10):
            await second.fetch(library)
        second.close()
        first.close()

    with nothing_left():
        with asyncio.Runner(loop_factory=InterruptedLoop) as runner:
            runner.run(main())


@both
def test_old_waits_and_new_connections_do_not_meet(library: Library) -> None:
    """The next request connects afresh while a reader of the old connection is still to wake."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            conn = AsyncHTTPConnection(HOST, address=server.getsockname())
            await conn.send_request("GET", "/old")
            old, _ = server.accept()

            async def wait() -> None:
                with pytest.raises(ConnectionClosed):
                    await conn.read_response()

            async def change() -> None:
                for _ in range(3):
                    await library.checkpoint()
                conn.disconnect()
                await conn.send_request("GET", "/new")

            await library.together(wait, change)
            new, _ = server.accept()
            assert new.recv(1000).startswith(b"GET /new ")
            new.sendall(OK)
            assert (await conn.read_response()).path == "/new"
            conn.disconnect()
            old.close()
            new.close()

    with nothing_left():
        library.run(main)


# ---------------------------------------------------------- at any moment while connecting


@pytest.mark.parametrize("event", ["connected", "secured"])
@pytest.mark.parametrize(
    "call", ["co_connect", "co_get_ssl_peercert", "co_get_ssl_cipher", "co_send_request"]
)
def test_disconnect_when_told_of_progress(tls: Wire, event: str, call: str) -> None:
    conn, peer = tls.pair()
    conn.on_event = lambda name: conn.disconnect() if name == event else None
    arguments = ("GET", "/") if call == "co_send_request" else ()
    with pytest.raises(ConnectionClosed):
        drive(getattr(conn, call)(*arguments), peer)


def test_disconnect_just_before_connecting_begins() -> None:
    """Whatever line of the package another thread's `disconnect` comes before, none hangs."""
    with busy_server() as server:
        lines = _run_until_waiting(server.getsockname(), at=None)
        assert lines > 50
        for at in range(lines):
            _run_until_waiting(server.getsockname(), at)


def _run_until_waiting(address: tuple[str, int], at: int | None) -> int:
    """Connect, and disconnect in another thread before line number *at* that is run.

    Returns the number of lines run until the first wait.
    """
    conn = HTTPConnection(HOST, address=address)
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if "/dugong/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            if count == at:
                sys.settrace(None)
                thread = threading.Thread(target=conn.disconnect)
                thread.start()
                thread.join()
            count += 1
        return trace

    crt = conn.co_send_request("GET", "/")
    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        need = next(crt)
        sys.settrace(previous)
        if at is not None and not conn.response_pending():
            # Disconnected when the wait was all but begun, so it has to be over at once.
            assert need.poll(GUARD), f"waits although it was disconnected before line {at}"
            next(crt)
            pytest.fail(f"goes on although it was disconnected before line {at}")
    except ConnectionClosed:
        pass
    finally:
        sys.settrace(previous)
        crt.close()
        conn.disconnect()
    return count
