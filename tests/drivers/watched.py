"""A pair of sockets, and what tests ask of an asyncio loop about them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeAlias

from dugong import POLLIN, PollNeeded
from tests.support.concurrency import LIBRARIES, nothing_left

Crt: TypeAlias = Generator[PollNeeded, Any, Any]


class Ends:
    """Two connected sockets, of which the near one has nothing to read and room to write."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.far.setblocking(False)
        self.fd = self.near.fileno()

    def reader(self, log: list[str] | None = None) -> Crt:
        """Wait for a byte and return it; note how it ended."""
        log = [] if log is None else log
        try:
            while True:
                yield PollNeeded(self.fd, POLLIN)
                try:
                    return self.near.recv(1)
                except BlockingIOError:
                    pass  # somebody else was quicker
        finally:
            log.append("closed")

    def fill(self) -> None:
        """Leave no room to write."""
        try:
            while True:
                self.near.send(bytes(1 << 16))
        except BlockingIOError:
            pass

    def drain(self) -> None:
        try:
            while self.far.recv(1 << 20):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        self.near.close()
        self.far.close()


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it in asyncio; nothing may be left, and the loop may have no complaint."""
    with nothing_left():
        LIBRARIES[0].run(main)


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def registered(fd: int) -> bool:
    """Whether the running loop knows of this descriptor; it is removed if so."""
    loop = asyncio.get_running_loop()
    return loop.remove_reader(fd) or loop.remove_writer(fd)
