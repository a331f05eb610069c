"""Connections, coroutines, tasks and pipelines that are left to reference counts and the collector.

The collector runs at every opportunity, in the middle of whatever the package is doing. Nothing
hangs, no finalizer raises, and no descriptor stays open. (An exception in a finalizer, and the
warning of a socket that was not closed, make a test fail.)
"""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import threading
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import pytest
import trio

import dugong
from dugong import (
    AioFuture,
    AsyncHTTPConnection,
    ConnectionClosed,
    ConnectionTimedOut,
    DNSUnavailable,
    HostnameNotResolvable,
    HTTPConnection,
    InvalidResponse,
    eval_coroutine,
)
from tests.support.concurrency import Asyncio, Library, Trio, nothing_left
from tests.support.drive import advance
from tests.support.exchanges import OK
from tests.support.peer import Peer
from tests.support.stages import Stage, at_every_stage, enter, stages
from tests.support.styles import BlockingWire, StyledWire
from tests.support.styles_in_loops import AsyncioWire, TrioWire
from tests.support.wire import HOST, AnyWire, Certificates, Wire, tcp_pair
from tests.transport.tools import refusing_address

T = TypeVar("T")

getaddrinfo = socket.getaddrinfo

# ------------------------------------------------------------------------------ ways to leave them

Leave = Callable[..., None]


def by_reference(*things: object) -> None:
    """They go one by one, each with the last reference to it. The collector does not run."""


def in_a_cycle(*things: object) -> None:
    """They go together, and in any order."""
    around: list[object] = [*things]
    around.append(around)


def in_a_traceback(*things: object) -> None:
    """Frames refer to them, an exception to the frames, and a frame to the exception."""
    kept: list[object] = []
    try:
        raise AssertionError
    except AssertionError as exc:
        kept.append(exc)


#: CPython 3.12.1 crashes when its collector runs in the middle of a coroutine whose frame only a
#: traceback keeps alive (a segmentation fault, in two of these tests). 3.11 and 3.13 do not.
crashes = pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="CPython 3.12 crashes")

every_way = pytest.mark.parametrize(
    "leave", [by_reference, in_a_cycle, pytest.param(in_a_traceback, marks=crashes)]
)


@contextmanager
def leaving(leave: Leave = in_a_cycle) -> Iterator[None]:
    """Assert that what is left in this way within the block leaves nothing behind."""
    by_collector = leave is not by_reference
    threshold = gc.get_threshold()
    with nothing_left(collect=by_collector):
        if by_collector:
            gc.set_threshold(1, 1, 1)
        else:
            gc.disable()
        try:
            yield
        finally:
            gc.set_threshold(*threshold)
            gc.enable()


# ------------------------------------------------------------------- what waits for a silent server


def leave_coroutines(stage: Stage, steps: int, leave: Leave) -> None:
    """Let so many steps go by, fewer if the halt comes before."""
    conn = HTTPConnection(**stage.options)
    for call in enter(conn, stage.before):
        call()
    crts = [call() for call in enter(conn, stage.calls, "co_")]
    for crt in crts:
        need = next(crt)
        for _ in range(steps):
            if need.poll(0.01):
                need = next(crt)
    leave(conn, *crts)


@every_way
@at_every_stage
def test_coroutines(
    name: str, leave: Leave, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    with leaving(leave):
        for steps in (1, 4):
            with stages(name, certificates, monkeypatch) as stage:
                leave_coroutines(stage, steps, leave)
                if leave is not by_reference:
                    gc.collect()  # the server waits for the end of the connection


@pytest.mark.parametrize("kind", ["task", "future"])
@at_every_stage
def test_loops_that_end(
    name: str, kind: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop is closed without cancelling its tasks."""
    with leaving(), stages(name, certificates, monkeypatch) as stage:
        conn = AsyncHTTPConnection(**stage.options)
        loop = asyncio.SelectorEventLoop()
        loop.set_exception_handler(lambda *_: None)  # of tasks that are destroyed
        for call in enter(conn, stage.before):
            loop.run_until_complete(call())
        task: Any = None
        for call in enter(conn, stage.calls, "co_" if kind == "future" else ""):
            task = AioFuture(call(), loop) if kind == "future" else loop.create_task(call())
            while not (conn.response_pending() and stage.reached(conn)):
                loop.run_until_complete(asyncio.sleep(0))
        for _ in range(3):
            loop.run_until_complete(asyncio.sleep(0))
        known = weakref.ref(task)
        loop.close()
        in_a_cycle(conn, loop)
        del conn, loop, call, task
        gc.collect()
        assert known() is None


@pytest.mark.parametrize(
    ("library", "leave"), [(Asyncio(), by_reference), (Trio(), in_a_cycle)], ids=["asyncio", "trio"]
)
@at_every_stage
def test_cancelled_tasks(
    library: Library,
    name: str,
    leave: Leave,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main(stage: Stage) -> None:
        conn = AsyncHTTPConnection(**stage.options)
        for call in enter(conn, stage.before):
            await call()
        call = enter(conn, stage.calls)[0]
        assert await library.cut_short(call, 3, partial(stage.reached, conn)) is None
        leave(conn, call)

    with leaving(leave), stages(name, certificates, monkeypatch) as stage:
        library.run(partial(main, stage))
        if leave is not by_reference:
            gc.collect()


# ------------------------------------------------------------------------ at each part of a script


async def turn(wire: Any) -> None:
    """Let a loop go on."""
    if isinstance(wire, AsyncioWire):
        await asyncio.sleep(0)
    elif isinstance(wire, TrioWire):
        await trio.lowlevel.checkpoint()


class Loose:
    """A connection that nothing else refers to, and the peer at its other end."""

    def __init__(self, wire: Any, **options: Any) -> None:
        self._wire = wire
        self._listener = wire.listen()
        if "ssl_context" in options:
            options["proxy"] = self._listener.address
        else:
            options |= {"address": self._listener.address, "ssl_context": wire.client_context}
        self.conn: Any = wire.connection(HOST, **options)
        self.conn.continue_timeout = None
        wire._closers.pop()  # which would disconnect it
        if isinstance(wire, BlockingWire):
            wire._conns.clear()
        self.peer = self._listener.peer()

    async def halt(self, part: Coroutine[Any, Any, None]) -> None:
        """Do *part* until it waits for something that the peer is not going to do; stop it there.

        A blocking call may be stopped before that.
        """
        if isinstance(self._wire, BlockingWire):
            self.conn.timeout = 0.02
            with suppress(ConnectionTimedOut):
                await part
        else:
            await self._wire.stop(part)
            await turn(self._wire)  # until then, the loop refers to what was cancelled

    def close(self) -> None:
        """Close the peer's end; of the connection, there is nothing left."""
        assert not hasattr(self, "conn")
        self.peer.abandon()
        self._wire.peers.remove(self.peer)
        self._listener.close()


def script(certificates: Certificates) -> list[Callable[[Peer], None]]:
    """Return what a peer does one after another in an exchange with everything in it."""
    return [
        lambda peer: None,
        lambda peer: peer.expect_head(b"CONNECT"),
        lambda peer: peer.reply(b"HTTP/1.1 200 OK\r\n"),
        lambda peer: peer.reply(b"\r\n"),
        lambda peer: peer.start_tls(certificates.server),
        lambda peer: peer.expect_head(b"PUT"),
        lambda peer: peer.reply(b"HTTP/1.1 100 Continue\r\n\r\n"),
        lambda peer: peer.expect(b"body"),
        lambda peer: peer.reply(b"HTTP/1.1 200 OK\r\nTransfer-"),
        lambda peer: peer.reply(b"Encoding: chunked\r\n\r\n"),
        lambda peer: peer.reply(b"4"),
        lambda peer: peer.reply(b"\r\nab"),
        lambda peer: peer.reply(b"cd\r\n0\r\n"),
    ]


def at_each_part(wire: AnyWire[Any]) -> Iterator[Loose]:
    """Yield a connection whose peer stops after the first part of the script, and so on."""
    parts = script(wire.certificates)
    for count in range(1, len(parts) + 1):
        loose = Loose(wire, ssl_context=wire.certificates.client)
        for part in parts[:count]:
            part(loose.peer)
        yield loose
        loose.close()


def co_exchange(conn: HTTPConnection) -> Any:
    yield from conn.co_request("PUT", "/", body=b"body", expect100=True)
    yield from conn.co_readall()


async def exchange(conn: AsyncHTTPConnection) -> None:
    await conn.request("PUT", "/", body=b"body", expect100=True)
    await conn.readall()


@every_way
def test_coroutine_at_each_part(plain: Wire, leave: Leave) -> None:
    with leaving(leave):
        for loose in at_each_part(plain):
            crt = co_exchange(loose.conn)
            advance(crt, loose.peer)
            leave(loose.conn, crt)
            del loose.conn, crt


@every_way
async def test_call_at_each_part(plain: StyledWire, leave: Leave) -> None:
    """It is closed, cancelled or timed out before its connection is let go."""
    with leaving(leave):
        for loose in at_each_part(plain):
            await loose.halt(exchange(loose.conn))
            leave(loose.conn)
            del loose.conn


@pytest.mark.parametrize("reply", [b"HTTP/1.1 2", OK[:-1], b"HTTX\r\n\r\n"])
async def test_connection_after_an_error(wire: StyledWire, reply: bytes) -> None:
    """It keeps the error, whose traceback refers to the connection."""
    with leaving(by_reference):
        for end in (Peer.close, Peer.reset):
            loose = Loose(wire)
            loose.peer.expect_request()
            loose.peer.reply(reply)
            end(loose.peer)
            with suppress(ConnectionClosed, InvalidResponse):
                await loose.conn.request("GET", "/")
                await loose.conn.readall()
                raise AssertionError("no error")
            with suppress(ConnectionClosed):
                await loose.conn.read_response()
                raise AssertionError("no error")
            await turn(wire)
            del loose.conn
            loose.close()


def raising(value: T) -> Iterator[T]:
    yield value
    raise ValueError


async def from_an_iterable(conn: AsyncHTTPConnection) -> None:
    async for _ in conn.pipeline(raising("/")):
        await conn.readall()


async def from_a_body(conn: AsyncHTTPConnection) -> None:
    await conn.send_request("PUT", "/", body=raising(b"part"))


async def from_a_callback(conn: AsyncHTTPConnection) -> None:
    conn.on_event = lambda event: [*raising(event)] if event == "first_byte" else None
    await conn.request("GET", "/")


@pytest.mark.parametrize("act", [from_an_iterable, from_a_body, from_a_callback])
async def test_connection_after_an_error_of_the_caller(
    wire: StyledWire, act: Callable[[AsyncHTTPConnection], Awaitable[None]]
) -> None:
    with leaving(by_reference):
        loose = Loose(wire)
        loose.peer.expect_head()
        loose.peer.reply(OK)
        with suppress(ValueError):
            await act(loose.conn)
            raise AssertionError("no error")
        await turn(wire)
        del loose.conn
        loose.close()


def test_connection_after_a_send_that_took_too_long() -> None:
    with leaving(by_reference):
        near, far = tcp_pair(small=True)
        conn = HTTPConnection(HOST, sock=near)
        del near
        crt = conn.co_send_request("PUT", "/", body=bytes(1 << 20))
        with suppress(ConnectionTimedOut):
            eval_coroutine(crt, timeout=0)
            raise AssertionError("no error")
        del conn, crt
        far.close()


class Witness:
    """In a frame that an exception passes: it lives as long as something keeps the traceback."""


def connects_to_nobody(witness: Witness) -> None:
    HTTPConnection(*refusing_address()).connect()


def has_no_address(witness: Witness) -> None:
    HTTPConnection("nowhere.invalid").connect()


def sends_on_a_dead_connection(witness: Witness) -> None:
    near, far = socket.socketpair()
    conn = HTTPConnection(HOST, sock=near)
    conn.connect()
    far.close()
    conn.send_request("GET", "/")


def steps_after_the_end(witness: Witness) -> None:
    near, far = socket.socketpair()
    conn = HTTPConnection(HOST, sock=near)
    far.close()
    next(conn.pipeline(["/a", "/b"]))


@pytest.mark.parametrize(
    "act", [connects_to_nobody, has_no_address, sends_on_a_dead_connection, steps_after_the_end]
)
def test_an_exception_keeps_no_frame(
    act: Callable[[Witness], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the caller has let go of it: not even until the collector runs."""

    def unknown(*args: object, **options: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown if act is has_no_address else getaddrinfo)
    monkeypatch.setattr(dugong, "DNS_TEST_HOSTNAMES", ())
    with leaving(by_reference):
        witness = Witness()
        alive = weakref.ref(witness)
        with suppress(ConnectionClosed, OSError, HostnameNotResolvable, DNSUnavailable):
            act(witness)
            raise AssertionError("no error")
        del witness
        assert alive() is None


async def go_through(pipeline: Any, conn: Any) -> None:
    async for response in pipeline:
        assert await conn.readall() == b"hi"
        assert response.trailers is not None


async def leave_pipelines(wire: StyledWire, leave: Leave, make: Callable[[], Any]) -> None:
    """Leave a pipeline of what *make* returns, in the middle of each request and response."""
    for count in range(6):
        loose = Loose(wire)
        for half in range(count):
            if half % 2:
                loose.peer.reply(OK[len(OK) // 2 :])
            else:
                loose.peer.expect_request()
                loose.peer.reply(OK[: len(OK) // 2])
        pipeline = loose.conn.pipeline(make())
        await loose.halt(go_through(pipeline, loose.conn))
        leave(loose.conn, pipeline)
        del loose.conn, pipeline
        loose.close()


PATHS = [f"/{number}" for number in range(4)]


@pytest.mark.parametrize("leave", [by_reference, in_a_cycle])
async def test_pipelines(wire: StyledWire, leave: Leave) -> None:
    with leaving(leave):
        await leave_pipelines(wire, leave, lambda: PATHS if leave is by_reference else iter(PATHS))


@pytest.mark.styles("asyncio", "trio")
@every_way
async def test_pipelines_of_async_iterables(plain: StyledWire, leave: Leave) -> None:
    closed: list[None] = []

    async def paths() -> AsyncGenerator[str, None]:
        try:
            for path in PATHS:
                yield path
        finally:
            closed.append(None)

    with leaving(leave):
        await leave_pipelines(plain, leave, paths)
        while len(closed) < 6:
            await turn(plain)


# ------------------------------------------------------------------------------------ all the while


async def test_exchanges(wire: StyledWire) -> None:
    """What is in use is not lost while the collector runs."""
    with leaving():
        for _ in range(3):
            loose = Loose(wire)
            for number in range(4):
                loose.peer.expect_request(b"GET /%d" % number)
                loose.peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
                loose.peer.reply(b"%02d" % number)
                await loose.conn.send_request("GET", f"/{number}")
                assert (await loose.conn.read_response()).path == f"/{number}"
                assert await loose.conn.readall() == b"%02d" % number
            in_a_cycle(loose.conn)
            del loose.conn
            loose.close()


def test_threads() -> None:
    """Garbage of one thread is collected in another, in the middle of its work."""
    failures: list[BaseException] = []

    def serve(listener: socket.socket) -> None:
        while True:
            sock, _ = listener.accept()
            with sock:
                if not sock.recv(1000):
                    return
                sock.sendall(OK)

    def leave(address: Any) -> None:
        try:
            for count in range(20):
                conn = HTTPConnection(HOST, address=address, timeout=20)
                assert conn.request("GET", "/").status == 200
                crt = conn.co_readall()
                if count % 2:
                    assert conn.readall() == b"hi"
                in_a_cycle(conn, crt)
                del conn, crt
        except BaseException as exc:
            failures.append(exc)

    with leaving(), socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=[listener])
        server.start()
        threads = [threading.Thread(target=leave, args=[listener.getsockname()]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        socket.create_connection(listener.getsockname()).close()
        server.join()
    assert failures == []
