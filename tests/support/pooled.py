"""Pools for tests that run in every style from one text (see `styles`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from dugong import AsyncHTTPConnection, AsyncPool, Origin, Pool
from dugong.pool.pool import PoolStats
from tests.support.peer import Peer
from tests.support.styles import BlockingWire, Disguise, StyledWire, _by_generator, waiting
from tests.support.styles_in_loops import AsyncioWire, TrioWire
from tests.support.wire import Listener

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

#: Every operation of a connection, for what no operation is allowed on.
OPERATIONS = (
    "bytes_received", "bytes_sent", "body_pending", "co_connect", "connect", "connected",
    "detach", "disconnect", "hostname", "on_event", "pipeline", "proxy", "read", "readall",
    "readinto", "request", "reset", "response_pending", "reusable", "send_request", "timeout",
    "write",
)  # fmt: skip


class StyledPool:
    """A pool whose `acquire` is awaited in every style."""

    def __init__(self, wire: StyledWire, **settings: Any) -> None:
        self.wire = wire
        self.is_async = isinstance(wire, (AsyncioWire, TrioWire))
        settings.setdefault("ssl_context", wire.client_context)
        if wire.client_context is None:
            del settings["ssl_context"]
        self.pool: Any = AsyncPool(**settings) if self.is_async else Pool(**settings)
        wire.adopt(self.pool.close)

    async def acquire(self, origin: str | Origin) -> AsyncHTTPConnection:
        wire = self.wire
        if self.is_async:
            conn: AsyncHTTPConnection = await self.pool.acquire(origin)
            return conn
        if isinstance(wire, BlockingWire):
            lent = await wire._call(self.pool, "acquire", origin)
            return cast(AsyncHTTPConnection, Disguise(lent, wire._call))
        lent = await waiting(self.pool.co_acquire(origin))
        return cast(AsyncHTTPConnection, Disguise(lent, _by_generator))

    def release(self, conn: AsyncHTTPConnection) -> None:
        self.pool.release(bare(conn))

    @asynccontextmanager
    async def lease(self, origin: str | Origin) -> AsyncIterator[AsyncHTTPConnection]:
        conn = await self.acquire(origin)
        try:
            yield conn
        finally:
            self.release(conn)

    @property
    def stats(self) -> PoolStats:
        found: PoolStats = self.pool.stats()
        return found

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Idle, leased, connecting and waiting."""
        stats = self.stats
        return stats.idle, stats.leased, stats.connecting, stats.waiting

    def check(self) -> None:
        """The lease machine keeps its rules."""
        self.pool.stats()
        assert list(self.pool._machine.faults()) == []


def bare(conn: Any) -> Any:
    """The connection itself, without its disguise."""
    return vars(conn).get("_conn", conn) if isinstance(conn, Disguise) else conn


def origin_of(listener: Listener, wire: StyledWire) -> str:
    host, port = listener.address
    return f"{'https' if wire.tls else 'http'}://{host}:{port}"


def answering(listener: Listener, requests: int = 1) -> Peer:
    """A peer that answers so many requests."""
    peer = listener.peer()
    for _ in range(requests):
        peer.expect_request()
        peer.reply(OK)
    return peer


async def ask(conn: AsyncHTTPConnection, path: str = "/") -> None:
    assert (await conn.request("GET", path)).status == 200
    assert await conn.readall() == b"hi"
