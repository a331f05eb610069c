"""For tests of programs in asyncio and trio: a server in threads, and a source of requests."""

from __future__ import annotations

import asyncio
import socket
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import trio

from dugong import AsyncHTTPConnection
from tests.support.concurrency import Library, nothing_left
from tests.support.drive import Outcome
from tests.support.pipeline_walk import paths


@contextmanager
def echoing() -> Iterator[tuple[str, int]]:
    """A server that answers every request at once, each with its target."""
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as listener:
        threads: list[threading.Thread] = []

        def accept() -> None:
            try:
                while True:
                    sock, _ = listener.accept()
                    stack.callback(close, sock)
                    threads.append(threading.Thread(target=answer, args=[sock]))
                    threads[-1].start()
            except OSError:
                pass

        threads.append(threading.Thread(target=accept))
        threads[-1].start()
        host, port = listener.getsockname()
        try:
            yield host, port
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            threads[0].join()
            stack.close()
            for thread in threads:
                thread.join()


def close(sock: socket.socket) -> None:
    with suppress(OSError):  # the client has closed it
        sock.shutdown(socket.SHUT_RDWR)


def answer(sock: socket.socket) -> None:
    with suppress(ConnectionError), sock:  # the client may have left
        data = b""
        while more := sock.recv(65536):
            *heads, data = (data + more).split(b"\r\n\r\n")
            for head in heads:
                target = head.split(b" ")[1]
                sock.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(target) + target
                )


Main = Callable[[AsyncHTTPConnection], Any]


def run(library: Library, main: Main, **options: Any) -> Any:
    """Run *main* with a connection to such a server; nothing may be left of it."""

    async def connected(address: tuple[str, int]) -> Any:
        async with AsyncHTTPConnection(*address, **options) as conn:
            return await main(conn)

    with nothing_left(), echoing() as address:
        return library.run(partial(connected, address))


async def all_of(conn: AsyncHTTPConnection, source: Any, **options: Any) -> list[str]:
    """Go through a pipeline. Returns the targets, each as its response has it."""
    return [(await conn.readall()).decode() async for _ in conn.pipeline(source, **options)]


def task() -> Any:
    try:
        return trio.lowlevel.current_task()
    except RuntimeError:
        return asyncio.current_task()


def new_event() -> Any:
    return trio.Event() if isinstance(task(), trio.lowlevel.Task) else asyncio.Event()


async def outcome_of(part: Any) -> Outcome[Any]:
    try:
        return Outcome(value=await part)
    except BaseException as exc:
        return Outcome(error=exc)


async def aclose(items: Any) -> None:
    """Close an async generator, whatever it is typed as."""
    await items.aclose()


class Source:
    """Makes an async iterable, and notes what becomes of it.

    Args:
        count: how many items it gives; then it waits for ever.
    """

    def __init__(self, library: Library, count: int = 1000, error: Exception | None = None) -> None:
        self._library = library
        self._count = count
        self._error = error
        self.begun = False
        self.events: list[str] = []
        self._tasks: set[weakref.ref[Any]] = set()

    async def __call__(self) -> AsyncIterator[str]:
        self.begun = True
        try:
            for path in paths(self._count):
                self._tasks.add(weakref.ref(task()))
                yield path
            await new_event().wait()
        except BaseException as exc:
            self.events.append(type(exc).__name__)
            raise
        finally:
            self._tasks.add(weakref.ref(task()))
            try:
                if self.events == ["GeneratorExit"]:
                    await self._library.checkpoint()
            finally:  # in trio, what was cancelled cannot wait any more
                self.events.append("finally")
            if self._error is not None:
                raise self._error

    @property
    def one_task(self) -> bool:
        return len(self._tasks) == 1

    async def ended(self) -> None:
        while "finally" not in self.events:
            await self._library.checkpoint()
