"""The same for `AsyncHTTPConnection`. Imported only by programs that use asyncio or trio."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from .aio import AsyncHTTPConnection
from .leased import Leased, register

if TYPE_CHECKING:
    from ..drivers.loops import Watch


class LeasedAsyncHTTPConnection(Leased, AsyncHTTPConnection):
    """An `AsyncHTTPConnection` that belongs to a pool."""

    def _continue_watch(self, kept: weakref.ref[Watch]) -> None:
        """Take over the registration with an event loop that the previous lease has left."""
        self._kept = kept
        watch = kept()
        if watch is not None:
            watch.close_with(self)


register(LeasedAsyncHTTPConnection)
