"""`AsyncPool`: a pool for asyncio and trio.

One loop at a time uses it. While a loop runs, a timer of that loop closes the connections that have
been idle for too long. In asyncio that is a callback, in trio a system task, which ends with the
loop. Both refer to the pool weakly.
"""

from __future__ import annotations

import asyncio
import math
import weakref
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Self

from ..connection.aio import AsyncHTTPConnection
from ..connection.connection import Connection
from ..connection.leased_aio import LeasedAsyncHTTPConnection
from ..drivers.loops import pause, run_in_loop, running_loop, running_trio
from ..errors import StateError
from .origin import Origin
from .place import Place
from .pool import BasePool

if TYPE_CHECKING:
    from types import TracebackType


class _AsyncBorrowing(AbstractAsyncContextManager[AsyncHTTPConnection, None]):
    """A lease for the time of an ``async with`` block."""

    __slots__ = ("_conn", "_place", "_pool")

    def __init__(self, pool: AsyncPool, place: Place[LeasedAsyncHTTPConnection]) -> None:
        self._pool = pool
        self._place = place

    async def __aenter__(self) -> AsyncHTTPConnection:
        self._conn = await self._pool._acquire_at(self._place)
        return self._conn

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.release(self._conn)


class AsyncPool(BasePool[LeasedAsyncHTTPConnection]):
    """Connections to any number of servers, for programs that run in asyncio or trio.

    ::

        async with AsyncPool(timeout=30) as pool:
            async with pool.connection("https://www.example.org") as conn:
                resp = await conn.request("GET", "/")
                body = await conn.readall()

    The arguments, methods and errors are those of `Pool`. `acquire` is awaited. `release`, `close`
    and the other methods never wait. While a loop runs, idle connections are closed on time without
    a further call.

    A pool outlives the loop in which it was used. While that loop runs, no other one can use it.
    """

    _kind = LeasedAsyncHTTPConnection
    _loop: Any = None
    _timer_in: Any = None  # the loop that has a timer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def connection(
        self, origin: str | Origin
    ) -> AbstractAsyncContextManager[AsyncHTTPConnection, None]:
        """Return an async context manager that leases a connection. As `Pool.connection`."""
        return _AsyncBorrowing(self, self._own_place(origin))

    async def acquire(self, origin: str | Origin) -> AsyncHTTPConnection:
        """Lease a connection. End the lease with `release`. As `Pool.acquire`.

        Raises:
            StateError: another loop that is running uses the pool. Also as `Pool.acquire`.
        """
        return await self._acquire_at(self._own_place(origin))

    async def _acquire_at(self, place: Place[LeasedAsyncHTTPConnection]) -> AsyncHTTPConnection:
        """Lease a connection to a known place."""
        self.enter_loop()
        conn = self.take_again(place)
        if conn is not None:
            await pause()
            return conn
        settings = self._settings
        return await run_in_loop(self.co_lease(place), settings.timeout, settings.deadline)

    def enter_loop(self) -> None:
        """Note that the running loop uses the pool, unless another one does.

        Raises:
            StateError: another loop that is running uses the pool.
        """
        trio = running_trio()
        loop = asyncio.get_running_loop() if trio is None else trio.lowlevel.current_trio_token()
        if loop is not self._loop:
            if self._loop is not None and _runs(self._loop):
                raise StateError(
                    "another event loop is using this pool: use one AsyncPool for each loop"
                )
            self._loop = loop
        self._arm()

    def release(self, conn: Connection) -> None:
        super().release(conn)
        self._arm()

    release.__doc__ = BasePool.release.__doc__

    def _arm(self) -> None:
        """Have the loop close idle connections, unless it does so or there are none."""
        if self._timer_in is not self._loop and (self._inbox or self._due < math.inf):
            loop = self._loop
            if isinstance(loop, asyncio.AbstractEventLoop):
                if running_loop() is loop:
                    self._timer_in = loop
                    _tick_in_asyncio(weakref.ref(self), loop)
            elif (trio := running_trio()) is not None:
                self._timer_in = loop
                trio.lowlevel.spawn_system_task(_tick_in_trio, trio, weakref.ref(self))

    def _tick(self) -> float | None:
        """Close what has been idle for too long. Returns the seconds until there is more to do."""
        self._close_expired()
        left = self._machine.next_tick - self._clock()
        if left < math.inf:
            return max(left, 0.0)
        self._timer_in = None
        return None

    def _disown(self) -> None:
        super()._disown()
        self._loop = self._timer_in = None


def _runs(loop: Any) -> bool:
    if isinstance(loop, asyncio.AbstractEventLoop):
        return loop.is_running()
    try:
        loop.run_sync_soon(_nothing)
    except RuntimeError:  # trio.RunFinishedError
        return False
    return True


def _nothing() -> None:
    pass


def _tick_in_asyncio(found: weakref.ref[AsyncPool], loop: asyncio.AbstractEventLoop) -> None:
    pool = found()
    seconds = None if pool is None else pool._tick()
    if seconds is not None:
        loop.call_later(seconds, _tick_in_asyncio, found, loop)


async def _tick_in_trio(trio: Any, found: weakref.ref[AsyncPool]) -> None:
    while True:
        pool = found()
        seconds = None if pool is None else pool._tick()
        del pool
        if seconds is None:
            return
        await trio.sleep(seconds)
