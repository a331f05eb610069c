"""The styles in which a loop runs the test: asyncio and trio, and how the peers move on in each."""

from __future__ import annotations

import asyncio
import select
import selectors
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

import trio
import trio.testing

from dugong import AsyncHTTPConnection
from tests.support.drive import Outcome, describe, poller_for
from tests.support.farend import GUARD
from tests.support.styles import StyledWire, not_blocked, outcome_of

# ----------------------------------------------------------------------------------- asyncio


class PlayingSelector(selectors.DefaultSelector):
    """What an asyncio loop sleeps in. Before it sleeps, the peers take their steps."""

    def __init__(self, wire: StyledWire) -> None:
        super().__init__()
        self._wire = wire
        self.when_blocked: Callable[[], object] | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        give_up = time.monotonic() + GUARD
        end = give_up if timeout is None else time.monotonic() + timeout
        while True:
            events = super().select(0)
            left = min(end, give_up) - time.monotonic()
            if events or (timeout is not None and left <= 0 and end < give_up):
                return events
            if self._wire.step():
                continue
            if self.when_blocked is not None and self._wire.played:
                self.when_blocked()
                return []
            assert left > 0, describe(self._wire.peers)
            poller = poller_for(self._wire.peers, {self.fileno(): select.POLLIN})
            poller.poll(left * 1000)


class AsyncioWire(StyledWire):
    """`AsyncHTTPConnection` in asyncio."""

    def connection(self, host: str, **options: Any) -> AsyncHTTPConnection:
        conn = AsyncHTTPConnection(host, **options)
        self.adopt(conn.disconnect)
        return conn

    def run(self, test: Coroutine[Any, Any, None]) -> None:
        self._selector = PlayingSelector(self)
        loop = partial(asyncio.SelectorEventLoop, self._selector)
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(test)

    async def together(self, *parts: Coroutine[Any, Any, Any]) -> list[Outcome[Any]]:
        return list(await asyncio.gather(*map(outcome_of, parts)))

    async def stop(self, part: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(part)
        self._selector.when_blocked = task.cancel
        try:
            with suppress(asyncio.CancelledError):
                raise not_blocked(await task)
        finally:
            self._selector.when_blocked = None


# -------------------------------------------------------------------------------------- trio


class TrioWire(StyledWire):
    """`AsyncHTTPConnection` in trio."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._errors: list[BaseException] = []
        self._when_blocked: Callable[[], object] | None = None

    def connection(self, host: str, **options: Any) -> AsyncHTTPConnection:
        conn = AsyncHTTPConnection(host, **options)
        self.adopt(conn.disconnect)
        return conn

    def run(self, test: Coroutine[Any, Any, None]) -> None:
        trio.run(self._run, test)
        if self._errors:
            raise self._errors[0]

    async def _run(self, test: Coroutine[Any, Any, None]) -> None:
        async with trio.open_nursery() as nursery:
            self._scope = nursery.cancel_scope
            nursery.start_soon(self._noting_errors, self._play)
            await self._noting_errors(lambda: test)
            self._scope.cancel()

    async def _noting_errors(self, part: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Note errors here, so that none arrives in an ExceptionGroup."""
        try:
            await part()
        except trio.Cancelled:
            raise
        except BaseException as exc:
            self._errors.append(exc)
            self._scope.cancel()

    async def _play(self) -> None:
        give_up = trio.current_time() + GUARD
        moved = True
        while True:
            # Where nobody can move, the kernel has to: then look again soon.
            await trio.testing.wait_all_tasks_blocked(0 if moved else 0.0005)
            moved = self.step()
            if moved:
                give_up = trio.current_time() + GUARD
            elif self._when_blocked is not None and self.played:
                self._when_blocked()
            else:
                assert trio.current_time() < give_up, describe(self.peers)

    async def together(self, *parts: Coroutine[Any, Any, Any]) -> list[Outcome[Any]]:
        outcomes: list[Outcome[Any]] = [Outcome() for _ in parts]

        async def run(i: int, part: Coroutine[Any, Any, Any]) -> None:
            outcomes[i] = await outcome_of(part)

        async with trio.open_nursery() as nursery:
            for item in enumerate(parts):
                nursery.start_soon(run, *item)
        return outcomes

    async def stop(self, part: Coroutine[Any, Any, Any]) -> None:
        with trio.CancelScope() as scope:
            self._when_blocked = scope.cancel
            try:
                raise not_blocked(await part)
            finally:
                self._when_blocked = None
