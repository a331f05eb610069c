"""The same for `AsyncHTTPConnection`. Imported only by programs that use asyncio or trio."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from ..transport.poll import Co, T
from .aio import AsyncHTTPConnection
from .leased import Leased, register

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ..drivers.loops import Watch
    from ..protocol.content import AsyncIterableContent


class LeasedAsyncHTTPConnection(Leased, AsyncHTTPConnection):
    """An `AsyncHTTPConnection` that belongs to a pool."""

    def run(self, crt: Co[T], body: AsyncIterableContent | None = None) -> Awaitable[T]:
        """Run a coroutine of this connection, within the connection's time limits.

        Args:
            crt: the coroutine.
            body: the body that it sends, if that is an async iterable. It is closed afterwards.

        Returns:
            An awaitable for its result. (An ``async`` method would cost as much as its content.)
        """
        if body is not None:
            return self._and_close(self._run(crt), body.aclose)
        return self._run(crt)

    def _continue_watch(self, kept: weakref.ref[Watch]) -> None:
        """Take over the registration with an event loop that the previous lease has left."""
        self._kept = kept
        watch = kept()
        if watch is not None:
            watch.close_with(self)


register(LeasedAsyncHTTPConnection)
