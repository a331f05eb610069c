"""The callers of one pool, in three styles: threads, tasks of asyncio, and tasks of trio.

The test's own thread begins each call, so it decides in which order they begin. A call is an async
function. Tasks run it in a loop in another thread. In the style of threads, each caller is a
thread, and the calls block.
"""

from __future__ import annotations

import asyncio
import select
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeAlias, TypeVar

import trio

from dugong import AsyncPool, Pool, eval_coroutine
from dugong.drivers.loops import run_in_loop
from dugong.pool.place import ConnectionSettings
from dugong.transport.poll import Co
from tests.pool.numbered import GUARD
from tests.support.styles import Disguise, _call_through

T = TypeVar("T")

#: What a call does. It returns nothing, because its result would be kept for longer than the call.
Part: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


class Cancelled(Exception):
    """The call was cancelled."""


class Call:
    """A call that has begun.

    Attributes:
        future: its end.
        cancel: cancels it. To be called by `Callers.run`.
    """

    def __init__(self) -> None:
        self.future: Future[None] = Future()
        self.cancel: Callable[[], object] = lambda: None

    def wait(self) -> None:
        """Wait for its end. Raises what it has raised."""
        self.future.result(GUARD)


class Callers(ABC):
    """Callers that share a pool.

    Attributes:
        pool: the pool.
        are_tasks: whether they are tasks of one loop. Then nothing else happens during `run`.
    """

    pool: Any
    are_tasks = True

    @abstractmethod
    def __init__(self, **settings: Any) -> None:
        """Make the pool with these settings."""

    @abstractmethod
    def begin(self, caller: int, part: Part) -> Call:
        """Begin a call."""

    @abstractmethod
    def run(self, function: Callable[[], T]) -> T:
        """Run *function*, which does not wait, where the callers run."""

    @abstractmethod
    async def acquire(self, origin: str, settings: ConnectionSettings | None, patient: bool) -> Any:
        """Lease a connection. Part of a call, which cannot be cancelled if it is *patient*."""

    @abstractmethod
    def close(self) -> None:
        """Wait until nothing is left of the callers. The pool is closed already."""


# ------------------------------------------------------------------------------------- threads


async def _now(conn: Any, name: str, *args: Any) -> Any:
    return getattr(conn, name)(*args)


class Threads(Callers):
    """Each caller is a thread. Its waits for the pool are blocking calls, or its own loop."""

    are_tasks = False

    def __init__(self, **settings: Any) -> None:
        self.pool = Pool(**settings)
        self._threads: dict[int, ThreadPoolExecutor] = {}
        self._mine = threading.local()

    def begin(self, caller: int, part: Part) -> Call:
        call = Call()
        stopped, stop = socket.socketpair()
        call.cancel = partial(stop.shutdown, socket.SHUT_RDWR)

        def run() -> None:
            with stopped, stop:
                self._mine.stopped = stopped
                _call_through(part())

        executor = self._threads.setdefault(caller, ThreadPoolExecutor(1))
        call.future = executor.submit(run)
        return call

    def run(self, function: Callable[[], T]) -> T:
        return function()

    async def acquire(self, origin: str, settings: ConnectionSettings | None, patient: bool) -> Any:
        if not patient:
            conn = self._in_own_loop(self.pool.co_acquire(origin, settings))
        elif settings is None:
            conn = self.pool.acquire(origin)
        else:
            conn = eval_coroutine(self.pool.co_acquire(origin, settings))
        return Disguise(conn, _now)

    def _in_own_loop(self, crt: Co[Any]) -> Any:
        stopped = self._mine.stopped
        try:
            while True:
                poller = select.poll()
                poller.register(*next(crt))
                poller.register(stopped, select.POLLIN)
                if stopped.fileno() in dict(poller.poll(GUARD * 1000)):
                    crt.close()
                    raise Cancelled
        except StopIteration as stop:
            return stop.value

    def close(self) -> None:
        for executor in self._threads.values():
            executor.shutdown()


# ------------------------------------------------------------------------------------- tasks


class Tasks(Callers):
    """Each call is a task of a loop, which runs in a thread."""

    def __init__(self, **settings: Any) -> None:
        self.pool = AsyncPool(**settings)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run_loop)
        self._thread.start()
        assert self._ready.wait(GUARD)

    @abstractmethod
    def _run_loop(self) -> None:
        """Run the loop until `close`. Sets `_ready` when it runs."""

    @abstractmethod
    def _soon(self, function: Callable[[], object]) -> None:
        """Have the loop call *function*. Those of one thread are called in their order."""

    @abstractmethod
    def _stop(self) -> None:
        """End the loop, in the loop."""

    def run(self, function: Callable[[], T]) -> T:
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(function())
            except BaseException as exc:
                future.set_exception(exc)

        self._soon(run)
        return future.result(GUARD)

    async def acquire(self, origin: str, settings: ConnectionSettings | None, patient: bool) -> Any:
        if settings is None:
            return await self.pool.acquire(origin)
        return await run_in_loop(self.pool.co_acquire(origin, settings))

    def close(self) -> None:
        self._soon(self._stop)
        self._thread.join(GUARD)
        assert not self._thread.is_alive()


class AsyncioTasks(Tasks):
    def _run_loop(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready.set()
        await self._stopped.wait()

    def _soon(self, function: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(function)

    def _stop(self) -> None:
        self._stopped.set()

    def begin(self, caller: int, part: Part) -> Call:
        call = Call()

        async def run() -> None:
            try:
                await part()
            except asyncio.CancelledError:
                call.future.set_exception(Cancelled())
            except BaseException as exc:
                call.future.set_exception(exc)
            else:
                call.future.set_result(None)

        def start() -> None:
            task = self._loop.create_task(run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            call.cancel = task.cancel

        self._soon(start)
        return call


class TrioTasks(Tasks):
    def _run_loop(self) -> None:
        trio.run(self._main)

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._stopped = trio.Event()
        async with trio.open_nursery() as self._nursery:
            self._ready.set()
            await self._stopped.wait()

    def _soon(self, function: Callable[[], object]) -> None:
        self._token.run_sync_soon(function)

    def _stop(self) -> None:
        self._stopped.set()

    def begin(self, caller: int, part: Part) -> Call:
        call, scope = Call(), trio.CancelScope()
        call.cancel = scope.cancel

        async def run() -> None:
            try:
                with scope:
                    await part()
            except BaseException as exc:
                call.future.set_exception(exc)
            else:
                if scope.cancelled_caught:
                    call.future.set_exception(Cancelled())
                else:
                    call.future.set_result(None)

        self._soon(partial(self._nursery.start_soon, run))
        return call


STYLES: dict[str, type[Callers]] = {
    "threads": Threads,
    "asyncio": AsyncioTasks,
    "trio": TrioTasks,
}
