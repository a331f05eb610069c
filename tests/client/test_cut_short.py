"""Calls of a client that are interrupted, cancelled or dropped at any point: every slot is free."""

from __future__ import annotations

import gc
import gzip
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from dugong import AsyncClient, AsyncPool, Client, Pool
from tests.support.concurrency import Library, every_loop, nothing_left
from tests.support.interrupts import Interrupt
from tests.support.servers import NginxEndpoints
from tests.support.site import Reply, Site, redirect, site

#: Of the places where an interrupt may come, `make test` tries each of this many.
SPARSE = 17

steps = pytest.mark.parametrize("step", [SPARSE, pytest.param(3, marks=pytest.mark.slow)])


def get(client: Client) -> None:
    client.get("plain").readall()


def stream(client: Client) -> None:
    with client.get("gzip") as response:
        for _ in response:
            pass


def follow(client: Client) -> None:
    client.post("from", body=b"x" * 10, auth=lambda request: {"X": "y"}).text()


def retry(client: Client) -> None:
    client.get("busy", retries=1, headers={"X": "y"}).discard()


def fail(client: Client) -> None:
    try:
        client.get("missing").raise_for_status()
    except Exception as exc:
        assert "404" in str(exc)  # noqa: PT017 - an interrupt may come instead


def prepare(server: Site) -> None:
    server.on(
        "/gzip", Reply(body=gzip.compress(b"x" * 200_000), headers={"Content-Encoding": "gzip"})
    )
    server.on("/from", redirect("/plain", 307))
    server.on("/busy", Reply(503, b"", {"Retry-After": "0"}))
    server.on("/missing", Reply(404, b"no"))


@pytest.mark.parametrize("act", [get, stream, follow, retry, fail])
@steps
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # an interrupt may drop a response
def test_interrupted_anywhere(act: Callable[[Client], None], step: int) -> None:
    place = 0
    with site() as server:
        prepare(server)
        while True:
            with Client(base_url=server.url, timeout=10) as client:
                client.get("plain").readall()
                with Interrupt(place, sparse=5) as interrupt:
                    act(client)
                interrupt.forget()
                gc.collect()
                stats = client.pool.stats()
                assert (stats.leased, stats.connecting, stats.waiting) == (0, 0, 0), interrupt
                assert client.get("plain").readall() == b"ok"
            if interrupt.raised is None:
                assert place > 50
                return
            place += step


SLOTS = 5

sizes = pytest.mark.parametrize("count", [300, pytest.param(5000, marks=pytest.mark.slow)])


@sizes
@every_loop
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # a cancelled task drops its response
def test_cancelled_tasks(library: Library, count: int, nginx: NginxEndpoints) -> None:
    url = f"http://127.0.0.1:{nginx.plain.port}"
    done: Counter[bool] = Counter()
    workers = 50

    async def storm() -> None:
        pool = AsyncPool(max_connections=SLOTS, per_host=None)
        async with AsyncClient(base_url=url, pool=pool, proxy=None) as client:

            async def ask() -> None:
                response = await client.get("redirect")
                assert len(response.history) == 1
                await response.readall()

            async def work(number: int) -> None:
                rng = random.Random(number)
                for _ in range(count // workers):
                    turns = int(60 * rng.random() ** 2)
                    done[await library.cut_short(ask, turns) is not None] += 1

            await library.together(*(lambda number=i: work(number) for i in range(workers)))
            gc.collect()
            stats = pool.stats()
            assert (stats.leased, stats.connecting, stats.waiting) == (0, 0, 0)
            assert stats.idle <= SLOTS
            await library.together(*[ask] * (4 * SLOTS))
        pool.close()

    with nothing_left():
        library.run(storm)
    assert min(done.values()) > count / 20


def test_a_generator_that_is_dropped_at_any_wait() -> None:
    with site() as server:
        prepare(server)
        pool = Pool(per_host=1)
        with Client(base_url=server.url, pool=pool) as client:
            waits, response = 0, None
            while response is None:
                crt: Any = client.co_post("from", body=b"x")
                try:
                    for _ in range(waits):
                        next(crt).poll(10)
                    next(crt)
                except StopIteration as stop:
                    response = stop.value
                crt.close()
                assert pool.stats().leased == (response is not None)
                waits += 1
            assert response.readall() == b"ok"
            assert waits > 0  # how many depends on what has arrived
        pool.close()
