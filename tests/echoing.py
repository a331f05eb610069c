"""A server in a thread that answers everything, for tests of what a program does around it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import trio

from dugong import AsyncHTTPConnection
from tests.concurrency import Library, nothing_left
from tests.drive import Outcome


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
    with sock:
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
