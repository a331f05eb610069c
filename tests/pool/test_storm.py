"""Storms: far more callers than slots, of which most are cut short wherever they are.

Afterwards, every slot is free. (That is what exhausts other pools.)
"""

from __future__ import annotations

import gc
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dugong import AsyncPool, ConnectionTimedOut, Pool, eval_coroutine, run_all
from dugong.pool.pool import BasePool
from tests.support.concurrency import Library, every_loop, nothing_left
from tests.support.servers import NginxEndpoints

SLOTS = 5

sizes = pytest.mark.parametrize("count", [300, pytest.param(5000, marks=pytest.mark.slow)])
collecting = pytest.mark.parametrize(
    "often", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["", "collecting"]
)


@contextmanager
def collections(often: bool) -> Iterator[None]:
    """Run the collector at every opportunity, in the middle of whatever the pool does."""
    threshold = gc.get_threshold()
    if often:
        gc.set_threshold(1)
    try:
        yield
    finally:
        gc.set_threshold(*threshold)


def all_free(pool: BasePool[Any]) -> None:
    stats = pool.stats()
    assert (stats.leased, stats.connecting, stats.waiting) == (0, 0, 0)
    assert stats.idle <= SLOTS
    assert list(pool._machine.faults()) == []
    assert not pool._machine.leases


@sizes
@collecting
@every_loop
def test_tasks(library: Library, count: int, often: bool, nginx: NginxEndpoints) -> None:
    origin = f"http://127.0.0.1:{nginx.plain.port}"
    done: Counter[bool] = Counter()
    workers = 50

    async def storm() -> None:
        pool = AsyncPool(max_connections=SLOTS, per_host=None)

        async def ask() -> None:
            async with pool.connection(origin) as conn:
                assert (await conn.request("GET", "/doc/1.txt")).status == 200
                await conn.readall()

        async def work(number: int) -> None:
            rng = random.Random(number)
            for _ in range(count // workers):
                turns = int(40 * rng.random() ** 2)
                done[await library.cut_short(ask, turns) is not None] += 1

        await library.together(*(lambda number=i: work(number) for i in range(workers)))
        all_free(pool)
        await library.together(*[ask] * (4 * SLOTS))
        all_free(pool)
        pool.close()

    with nothing_left(), collections(often):
        library.run(storm)
    assert min(done.values()) > count / 20


@sizes
@collecting
def test_threads(count: int, often: bool, nginx: NginxEndpoints) -> None:
    origin = f"http://127.0.0.1:{nginx.plain.port}"
    done: Counter[bool] = Counter()
    errors: list[BaseException] = []
    workers = 20

    def work(pool: Pool, number: int) -> None:
        rng = random.Random(number)
        for _ in range(count // workers):
            limit = 0.02 * rng.random() ** 2
            try:
                conn = eval_coroutine(pool.co_acquire(origin), deadline=limit)
                try:
                    conn.request("GET", "/doc/1.txt", deadline=limit)
                    conn.readall()
                    done[True] += 1
                finally:
                    if rng.random() < 0.9:  # or drop it
                        pool.release(conn)
                    del conn
            except ConnectionTimedOut:
                done[False] += 1
            except Exception as exc:
                errors.append(exc)
                raise

    with nothing_left(), collections(often):
        pool = Pool(max_connections=SLOTS, per_host=None)
        threads = [threading.Thread(target=work, args=(pool, i)) for i in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        gc.collect()
        all_free(pool)
        for _ in range(4 * SLOTS):
            with pool.connection(origin) as conn:
                conn.request("GET", "/doc/1.txt")
                conn.readall()
        all_free(pool)
        pool.close()
        conn = None  # type: ignore[assignment]
        del pool
    assert min(done.values()) > count / 20


@sizes
def test_coroutines_in_one_thread(count: int, nginx: NginxEndpoints) -> None:
    origin = f"http://127.0.0.1:{nginx.plain.port}"
    rng = random.Random(1)
    done: Counter[bool] = Counter()

    def ask(pool: Pool) -> Any:
        steps = int(30 * rng.random())
        conn = yield from pool.co_acquire(origin)
        try:
            crt = conn.co_request("GET", "/doc/1.txt")
            for need in crt:
                steps -= 1
                if steps < 0:
                    crt.close()
                    raise TimeoutError
                yield need
            yield from conn.co_readall()
        finally:
            pool.release(conn)

    with nothing_left():
        pool = Pool(max_connections=SLOTS, per_host=None)
        seen = 0
        while seen < count:  # each round is left early
            with run_all((ask(pool) for _ in range(200)), limit=100) as results:
                for _, result in results:
                    done[isinstance(result, Exception)] += 1
                    seen += 1
                    if rng.random() < 0.01:
                        break
            del _, result
            all_free(pool)
        pool.close()
    assert done[False] > count / 20
