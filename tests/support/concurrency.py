"""asyncio and trio behind one face, for tests that say the same of both.

A test is written once, in terms of a `Library`, and runs under each of `LIBRARIES`. Nothing
here waits by the clock.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pytest
import trio

from tests.transport.tools import DESCRIPTORS, end_resolver_threads, open_descriptors

T = TypeVar("T")

#: Seconds after which a test that does not move is called stuck. Far above any honest wait.
GUARD = 60.0


@dataclass(frozen=True)
class Done(Generic[T]):
    """What a call returned that came to its end."""

    value: T


class Library(ABC):
    """What the tests need of a library for asynchronous programs.

    Attributes:
        event: makes an event with `set` and ``await wait()``.
    """

    name: str
    event: Callable[[], Any]

    @abstractmethod
    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run *main* in a new loop; it must leave no task and no complaint behind."""

    @abstractmethod
    async def checkpoint(self) -> None:
        """Let everybody else have a turn."""

    async def in_thread(self, function: Callable[[], object]) -> None:
        """Run *function* in a thread of its own and wait for that."""
        thread = threading.Thread(target=function)
        thread.start()
        while thread.is_alive():
            await self.checkpoint()

    @abstractmethod
    def limit(self, seconds: float) -> AbstractAsyncContextManager[None]:
        """Raise `TimeoutError` if the block is not left within so many seconds."""

    @abstractmethod
    async def together(self, *functions: Callable[[], Awaitable[object]]) -> None:
        """Run all of *functions* at once, each in a task, and wait for all of them."""

    @abstractmethod
    def background(
        self, function: Callable[[], Awaitable[object]]
    ) -> AbstractAsyncContextManager[None]:
        """Run *function* in a task that is cancelled at the end of the block."""

    @abstractmethod
    async def cut_short(
        self,
        function: Callable[[], Awaitable[T]],
        checkpoints: int,
        begin: Callable[[], bool] = lambda: True,
    ) -> Done[T] | None:
        """Run *function* in a task, and cancel that after so many `checkpoint`.

        They are counted from when *begin* says so.

        Returns:
            What *function* returned, or None if it was cancelled before.
        """

    def __str__(self) -> str:
        return self.name


class Asyncio(Library):
    name = "asyncio"
    event = asyncio.Event

    def prepare(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make *loop* special."""

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        complaints: list[dict[str, Any]] = []

        async def guarded() -> T:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, complaint: complaints.append(complaint))
            self.prepare(loop)
            async with asyncio.timeout(GUARD):
                result = await main()
            assert asyncio.all_tasks() == {asyncio.current_task()}
            return result

        result = asyncio.run(guarded())
        gc.collect()
        assert complaints == []
        return result

    async def checkpoint(self) -> None:
        await asyncio.sleep(0)

    @asynccontextmanager
    async def limit(self, seconds: float) -> AsyncIterator[None]:
        async with asyncio.timeout(seconds):
            yield

    async def together(self, *functions: Callable[[], Awaitable[object]]) -> None:
        async with asyncio.TaskGroup() as group:
            for function in functions:
                group.create_task(_coroutine(function))

    @asynccontextmanager
    async def background(self, function: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
        task = asyncio.create_task(_coroutine(function))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()

    async def cut_short(
        self,
        function: Callable[[], Awaitable[T]],
        checkpoints: int,
        begin: Callable[[], bool] = lambda: True,
    ) -> Done[T] | None:
        task = asyncio.create_task(_coroutine(function))
        while checkpoints > 0 and not task.done():
            await asyncio.sleep(0)
            checkpoints -= begin()
        task.cancel()
        await asyncio.wait([task])
        return None if task.cancelled() else Done(task.result())


async def _coroutine(function: Callable[[], Awaitable[T]]) -> T:
    return await function()


class EagerAsyncio(Asyncio):
    """asyncio with tasks that run when they are made, up to their first wait."""

    name = "asyncio-eager"

    def prepare(self, loop: asyncio.AbstractEventLoop) -> None:
        factory: Any = getattr(asyncio, "eager_task_factory")  # noqa: B009 - from 3.12 on
        loop.set_task_factory(factory)


class Trio(Library):
    name = "trio"
    event = trio.Event

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async def guarded() -> T:
            with trio.fail_after(GUARD):
                return await main()

        return trio.run(guarded)

    async def checkpoint(self) -> None:
        await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def limit(self, seconds: float) -> AsyncIterator[None]:
        try:
            with trio.fail_after(seconds):
                yield
        except trio.TooSlowError as exc:
            raise TimeoutError from exc

    async def together(self, *functions: Callable[[], Awaitable[object]]) -> None:
        async with trio.open_nursery() as nursery:
            for function in functions:
                nursery.start_soon(function)

    @asynccontextmanager
    async def background(self, function: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(function)
            yield
            nursery.cancel_scope.cancel()

    async def cut_short(
        self,
        function: Callable[[], Awaitable[T]],
        checkpoints: int,
        begin: Callable[[], bool] = lambda: True,
    ) -> Done[T] | None:
        results: list[Done[T]] = []
        errors: list[Exception] = []
        scope = trio.CancelScope()
        ended = False

        async def run() -> None:
            nonlocal ended
            try:
                with scope:
                    results.append(Done(await function()))
            except Exception as exc:
                errors.append(exc)
            ended = True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            while checkpoints > 0 and not ended:
                await trio.lowlevel.checkpoint()
                checkpoints -= begin()
            scope.cancel()
        if errors:
            raise errors[0]
        return results[0] if results else None


LIBRARIES: tuple[Library, ...] = (Asyncio(), Trio())

EAGER = (EagerAsyncio(),) if sys.version_info >= (3, 12) else ()

#: For what may depend on when a task begins to run.
every_loop = pytest.mark.parametrize("library", [*LIBRARIES, *EAGER], ids=str)

both = pytest.mark.parametrize("library", LIBRARIES, ids=str)


@contextmanager
def nothing_left(*, collect: bool = True) -> Iterator[None]:
    """Assert that descriptors and threads are in the end those of the beginning.

    Args:
        collect: whether the garbage collector may close descriptors in the end.
    """
    gc.collect()
    end_resolver_threads()
    descriptors = open_descriptors() if DESCRIPTORS.exists() else set()
    threads = set(threading.enumerate())
    yield
    if collect:
        gc.collect()
    end_resolver_threads()
    assert set(threading.enumerate()) <= threads
    if descriptors:
        assert open_descriptors() - descriptors == set()
