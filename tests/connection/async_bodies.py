"""Async iterables that tests give as bodies, and that note what is done with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import trio

from dugong.drivers.loops import running_trio


async def a_turn() -> None:
    """Let other tasks run."""
    if running_trio() is None:
        await asyncio.sleep(0)
    else:
        await trio.lowlevel.checkpoint()


async def forever() -> None:
    """Wait for what never comes."""
    if running_trio() is None:
        await asyncio.get_running_loop().create_future()
    else:
        await trio.sleep_forever()


class Gate:
    """What an iterable waits at, until a peer's script or another task opens it."""

    def __init__(self) -> None:
        in_asyncio = running_trio() is None
        self._event: Any = asyncio.Event() if in_asyncio else trio.Event()
        self._loop = asyncio.get_running_loop() if in_asyncio else None
        self.wait = self._event.wait

    def open(self) -> None:
        if self._loop is None:
            self._event.set()
        else:  # which may be looking for something to do just now
            self._loop.call_soon_threadsafe(self._event.set)

    async def pass_by(self) -> None:
        """Open it, as an item of `Blocks`."""
        self.open()


def current_task() -> object:
    return asyncio.current_task() if running_trio() is None else trio.lowlevel.current_task()


class Blocks:
    """An async iterator of blocks. An exception among them is raised, a callable is awaited.

    Attributes:
        taken: how many blocks it has given.
        closed: how often ``aclose`` was called.
        tasks: those it has run in.
    """

    def __init__(self, *blocks: Any) -> None:
        self._blocks = iter(blocks)
        self.taken = 0
        self.closed = 0
        self.tasks: set[object] = set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        self.tasks.add(current_task())
        await a_turn()
        for block in self._blocks:
            if isinstance(block, BaseException):
                raise block
            if not callable(block):
                self.taken += 1
                return block
            await block()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.tasks.add(current_task())
        self.closed += 1
        await a_turn()


class Generated:
    """The same as an async generator, which is `body`."""

    def __init__(self, *blocks: Any) -> None:
        self.taken = 0
        self.closed = 0
        self.begun = False
        self.body = self._generate(blocks)

    async def _generate(self, blocks: tuple[Any, ...]) -> AsyncIterator[Any]:
        self.begun = True
        try:
            for block in blocks:
                if isinstance(block, BaseException):
                    raise block
                if callable(block):
                    await block()
                else:
                    self.taken += 1
                    yield block
        finally:
            self.closed += 1


class Reusable:
    """An async iterable that gives its blocks every time, as a list does."""

    def __init__(self, *blocks: Any) -> None:
        self._blocks = blocks
        self.closed = 0

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            for block in self._blocks:
                yield block
        finally:
            self.closed += 1


KINDS: dict[str, Callable[..., Any]] = {
    "iterator": Blocks,
    "generator": lambda *blocks: Generated(*blocks).body,
    "iterable": Reusable,
}
