"""A thousand connections at once, from one thread, in asyncio and in trio.

The server is a process of its own, so that each side has a thousand descriptors to itself.
"""

from __future__ import annotations

import gc
import resource
import sys
import tracemalloc
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from dugong import AsyncHTTPConnection
from tests.support.concurrency import Library, both, nothing_left
from tests.support.piecemeal import answer
from tests.support.servers import Server, serving
from tests.support.wire import HOST

pytestmark = pytest.mark.slow

CONNECTIONS = 1000

#: ConnectionState on each of them.
EXCHANGES = 10

#: Descriptors that each side needs, with plenty to spare.
DESCRIPTORS_NEEDED = CONNECTIONS + 500

#: Bytes that may be held afterwards that were not before: caches, not connections. One of those
#: needs some kilobytes.
MARGIN = CONNECTIONS * 500


@pytest.fixture(scope="module", autouse=True)
def enough_descriptors() -> Iterator[None]:
    """Raise what is allowed as far as we may. The server inherits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < DESCRIPTORS_NEEDED:
        if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS_NEEDED:
            pytest.skip(f"no more than {hard} descriptors are allowed here")
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS_NEEDED, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    def command(ports: Sequence[int]) -> list[str | Path]:
        return [sys.executable, "-m", "tests.many_server", *map(str, ports)]

    with serving("many", command) as running:
        yield running


class Crowd:
    """Clients that all connect before any of them goes on, and stay until all are done."""

    def __init__(self, library: Library, address: tuple[str, int]) -> None:
        self.library = library
        self.address = address
        self.connected = 0
        self.all_connected = library.event()
        self.right = 0

    async def client(self, number: int) -> None:
        async with AsyncHTTPConnection(HOST, address=self.address) as conn:
            await conn.connect()
            self.connected += 1
            if self.connected == CONNECTIONS:
                self.all_connected.set()
            await self.all_connected.wait()
            for turn in range(EXCHANGES):
                path = f"/length/{number % 50 * 20}/{number}-{turn}"
                await conn.send_request("GET", path)
                response = await conn.read_response()
                assert (response.status, response.path) == (200, path)
                assert await conn.readall() == answer(path, b"")
                self.right += 1

    async def all(self) -> None:
        clients = [partial(self.client, number) for number in range(CONNECTIONS)]
        await self.library.together(*clients)


@both
def test_a_thousand_connections(library: Library, server: Server) -> None:
    """Every response is the right one, and every descriptor is given back."""
    [port] = server.ports
    crowd = Crowd(library, ("127.0.0.1", port))
    with nothing_left():
        library.run(crowd.all)
    assert crowd.connected == CONNECTIONS
    assert crowd.right == CONNECTIONS * EXCHANGES


@both
def test_memory_of_connections_is_given_back(library: Library, server: Server) -> None:
    """Measured after the first crowd, which fills caches that may stay."""
    [port] = server.ports
    library.run(Crowd(library, ("127.0.0.1", port)).all)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        library.run(partial(connect_and_keep, library, ("127.0.0.1", port)))
        gc.collect()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before > 2 * MARGIN, "what is measured here is not large enough to be seen"
    assert after - before < MARGIN


async def connect_and_keep(library: Library, address: tuple[str, int]) -> None:
    """One exchange on each of a thousand connections, and all of them open at once."""
    conns = [AsyncHTTPConnection(HOST, address=address) for _ in range(CONNECTIONS)]

    async def one(conn: AsyncHTTPConnection) -> None:
        await conn.send_request("GET", "/length/10/x")
        await conn.read_response()
        assert await conn.readall() == answer("/length/10/x", b"")

    await library.together(*[partial(one, conn) for conn in conns])
    for conn in conns:
        conn.disconnect()
