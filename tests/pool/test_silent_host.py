"""One silent host among many: it uses up its own slots, and delays no other host."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from dugong import AsyncPool, ConnectionClosed, Pool, StateError
from tests.support.concurrency import Library, both
from tests.support.servers import serving_by_nginx

#: The hosts that answer, and how many callers ask the one that does not.
FAST, STUCK = 99, 30

#: Too few slots for all callers of the silent host, and two for all the others.
LIMITS: dict[str, Any] = {"per_host": 10, "max_connections": 12}


@pytest.fixture(scope="module")
def fast() -> Iterator[list[str]]:
    """The origins of the hosts that answer."""
    hosts = [f"127.0.1.{i}" for i in range(1, FAST + 1)]
    listen = "".join(f"listen {host}:{{ports[0]}}; " for host in hosts)
    # nginx is known to run when it accepts connections on the first address.
    conf = f'server {{{{ listen 127.0.0.1:{{ports[0]}}; {listen} return 200 "hello"; }}}}'
    with serving_by_nginx("nginx of many hosts", conf) as (server, _):
        yield [f"http://{host}:{server.ports[0]}" for host in hosts]


@pytest.fixture
def silent() -> Iterator[str]:
    """The origin of the host that does not. The system accepts its connections."""
    with socket.create_server(("127.0.0.1", 0), backlog=STUCK) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_threads(fast: list[str], silent: str) -> None:
    pool = Pool(**LIMITS)
    bodies: list[bytes] = []
    ended: list[BaseException] = []
    leased = threading.Semaphore(0)

    def ask_silent() -> None:
        try:
            with pool.connection(silent) as conn:
                leased.release()
                conn.request("GET", "/")
        except (ConnectionClosed, StateError) as exc:
            ended.append(exc)

    def ask_fast(origin: str) -> None:
        with pool.connection(origin) as conn:
            conn.request("GET", "/")
            bodies.append(conn.readall())

    stuck = [threading.Thread(target=ask_silent) for _ in range(STUCK)]
    for thread in stuck:
        thread.start()
    for _ in range(LIMITS["per_host"]):
        leased.acquire()
    others = [threading.Thread(target=ask_fast, args=(origin,)) for origin in fast]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join()
    assert bodies == [b"hello"] * FAST
    assert ended == []
    pool.close()
    for thread in stuck:
        thread.join()
    assert len(ended) == STUCK


@both
def test_tasks(library: Library, fast: list[str], silent: str) -> None:
    bodies: list[bytes] = []
    ended: list[bool] = []

    async def main() -> None:
        pool = AsyncPool(**LIMITS)

        async def ask_silent() -> None:
            try:
                async with pool.connection(silent) as conn:
                    await conn.request("GET", "/")
            finally:
                ended.append(True)

        async def ask_fast(origin: str) -> None:
            async with pool.connection(origin) as conn:
                await conn.request("GET", "/")
                bodies.append(await conn.readall())

        async with library.background(lambda: library.together(*[ask_silent] * STUCK)):
            while pool.stats().waiting < STUCK - LIMITS["per_host"]:
                await library.checkpoint()
            await library.together(*(lambda origin=each: ask_fast(origin) for each in fast))
            assert ended == []
        assert len(ended) == STUCK
        stats = pool.stats()
        assert (stats.leased, stats.connecting, stats.waiting) == (0, 0, 0)
        pool.close()

    library.run(main)
    assert bodies == [b"hello"] * FAST
