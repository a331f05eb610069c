"""What a pipeline takes from an async iterable: in a task of its own, in asyncio or in trio.

The iterable may take its time, and what it gives may depend on the responses that have come. So
it is waited for together with the responses, and never cancelled in the middle of a step, which
would end an async generator.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

from .loops import expire, running_trio
from .pipeline.items import NotYet


class Feed:
    """An iterator over what has arrived of an async iterable.

    Attributes:
        hungry: whether it was asked for more than had arrived.
    """

    def __init__(self, source: AsyncIterable[Any]) -> None:
        self._source: AsyncIterator[Any] = aiter(source)
        self._arrived: deque[Any] = deque()
        self._failure: Exception | None = None
        self._ended = False
        self._wanted = 0
        self._stop: Callable[[], object] | None = None  # while the task runs
        self._wake: Callable[[], object] | None = None  # while somebody waits
        self.hungry = False

    def __iter__(self) -> Feed:
        return self

    def __length_hint__(self) -> int:
        return len(self._arrived)

    def __next__(self) -> Any:
        """Return what has arrived.

        Raises:
            NotYet: nothing has.
            StopIteration: nothing will. Or whatever the iterable has raised.
        """
        if self._arrived:
            return self._arrived.popleft()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        if self._ended:
            raise StopIteration
        self.hungry = True
        raise NotYet

    def start(self, count: int) -> None:
        """Have *count* requests taken, and no more, unless some are being taken already."""
        self._wanted = count
        if self._stop is not None or self._ended:
            return
        trio = running_trio()
        if trio is None:
            self._stop = asyncio.get_running_loop().create_task(self._pull()).cancel
        else:
            scope = trio.CancelScope()
            self._stop = scope.cancel
            trio.lowlevel.spawn_system_task(self._pull_within, scope)

    async def _pull(self) -> None:
        try:
            while len(self._arrived) < self._wanted:
                self._arrived.append(await anext(self._source))
                self._tell()
        except StopAsyncIteration:
            self._ended = True
        except Exception as exc:
            self._failure, self._ended = exc, True
        finally:
            self._stop = None
            self._tell()

    async def _pull_within(self, scope: Any) -> None:
        with scope:
            await self._pull()

    def _tell(self) -> None:
        wake, self._wake = self._wake, None
        if wake is not None:
            wake()

    def stop(self) -> None:
        """Take no more. What is being taken is cancelled."""
        if self._stop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._stop()

    async def wait(self) -> None:
        """Wait until more has arrived, or nothing more will."""
        trio = running_trio()
        if trio is None:
            arrived: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            self._wake = partial(expire, arrived)
            await arrived
        else:
            event = trio.Event()
            self._wake = event.set
            await event.wait()

    async def wait_or(self, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do *step*, but cancel it when more has arrived before it is done.

        Args:
            step: raises nothing of its own, and keeps what it has found.
        """
        trio = running_trio()
        if trio is not None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_do_and_cancel, step, nursery.cancel_scope)
                await self.wait()
                nursery.cancel_scope.cancel()
            return
        tasks = [asyncio.ensure_future(step()), asyncio.ensure_future(self.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def _do_and_cancel(step: Callable[[], Coroutine[Any, Any, None]], scope: Any) -> None:
    await step()
    scope.cancel()
