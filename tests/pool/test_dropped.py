"""Leases, callers and pools that are dropped: slots pass on, and nothing remains."""

from __future__ import annotations

import asyncio
import gc
import select
import socket
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from dugong import AioFuture, AsyncPool, HTTPConnection, Pool, StateError, eval_coroutine
from dugong.pool.waiting import SlotNeeded
from tests.pool.numbered import NumberedServer
from tests.support.answering import Answering


def origin_of(server: Answering) -> str:
    return f"http://127.0.0.1:{server.hows['address']['port']}"


def ask(conn: HTTPConnection) -> bytes:
    conn.request("GET", "/")
    return conn.readall()


def socket_of(conn: HTTPConnection) -> socket.socket:
    session = conn._session
    assert session is not None
    assert session.stream is not None
    return session.stream.sock


def test_a_dropped_connection_frees_its_slot(answering: Answering) -> None:
    pool = Pool(per_host=1, timeout=5)
    conn = pool.acquire(origin_of(answering))
    ask(conn)
    sock = socket_of(conn)
    waits = pool.co_acquire(origin_of(answering))
    need = next(waits)
    assert not need.poll(0)
    del conn
    assert sock.fileno() < 0
    assert need.poll(0)  # at once, without another call of the pool
    other = eval_coroutine(waits)
    ask(other)
    del need, other
    assert pool.stats().hosts == {}


def test_an_earlier_connection_object_keeps_nothing(answering: Answering) -> None:
    """Not even the lease that was continued by the next object."""
    pool = Pool(per_host=1, timeout=5)
    earlier = pool.acquire(origin_of(answering))
    ask(earlier)
    pool.release(earlier)
    conn = pool.acquire(origin_of(answering))
    ask(conn)
    del conn
    assert pool.stats().hosts == {}
    assert earlier.closed


def test_dropped_in_a_cycle(answering: Answering) -> None:
    pool = Pool(per_host=1, timeout=5)
    around: list[Any] = [pool.acquire(origin_of(answering))]
    ask(around[0])
    around.append(around)
    waits = pool.co_acquire(origin_of(answering))
    need = next(waits)
    del around
    gc.collect()
    assert need.poll(0)
    waits.close()
    assert pool.stats().hosts == {}


@pytest.mark.parametrize("started", [False, True])
def test_a_dropped_coroutine(answering: Answering, started: bool) -> None:
    pool = Pool(per_host=1)
    conn = pool.acquire(origin_of(answering))
    crt = pool.co_acquire(origin_of(answering))
    if started:
        next(crt)
        assert pool.stats().waiting == 1
    del crt
    assert pool.stats().waiting == 0
    pool.release(conn)
    assert pool.stats().hosts == {}


def test_the_connection_of_a_caller_that_has_gone() -> None:
    """It is idle again, so it is closed when the server has closed it."""
    server, pool = NumberedServer(1), Pool(per_host=1, timeout=10)
    origin = f"http://127.0.0.1:{server.ports[0]}"
    conn = pool.acquire(origin)
    ask(conn)
    crt = pool.co_acquire(origin)
    next(crt)
    pool.release(conn)  # which grants the connection
    crt.close()
    assert pool.stats().idle == 1
    (idle,) = pool._machine.idle
    server.hang_up(1)
    stream = idle.session.stream  # type: ignore[attr-defined]
    assert stream.want_read.poll(10)
    assert pool.stats().idle == 0
    server.close()


def test_a_dropped_pool(answering: Answering) -> None:
    """Its connections close without the collector, whether they were returned last or not."""
    pool, socks = Pool(), []
    for count in (1, 3):
        conns = [pool.acquire(origin_of(answering)) for _ in range(count)]
        for conn in conns:
            ask(conn)
            socks.append(socket_of(conn))
            pool.release(conn)
        conns.clear()
        del conn
    found = weakref.ref(pool)
    assert {sock.fileno() < 0 for sock in socks} == {False}
    gc.disable()
    try:
        del pool
        assert found() is None
        assert {sock.fileno() < 0 for sock in socks} == {True}
    finally:
        gc.enable()


def test_nothing_remains_of_a_lease(answering: Answering) -> None:
    class Value(str):
        """What a caller passes; a str itself has no weak references."""

        __slots__ = ("__weakref__",)

    pool = Pool()
    value = Value("yes")
    with pool.connection(origin_of(answering)) as conn:
        conn.on_event = lambda _, value=value: None
        response = conn.request("GET", "/", {"X-Value": value})
        conn.readall()
    kept = [weakref.ref(thing) for thing in (conn, value)]
    del conn, value, response
    assert [reference() for reference in kept] == [None, None]
    assert pool.stats().idle == 1
    pool.close()


def test_nothing_remains_of_many_hosts() -> None:
    """The places of the last hosts are remembered, and no more."""
    pool = Pool(max_connections=None)
    kept: list[weakref.ref[Any]] = []
    for i in range(10_000):
        conn = pool.acquire(f"http://host{i}.example")
        kept.append(weakref.ref(conn))
        pool.release(conn)
    del conn  # type: ignore[possibly-undefined]
    assert not [reference for reference in kept if reference() is not None]
    assert pool.stats().hosts == {}
    assert not pool._machine.leases
    assert len(pool._places) <= 256


# ------------------------------------------------------------------------------- many waiters


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_ten_thousand_tasks_use_no_descriptors() -> None:
    async def main() -> None:
        pool = AsyncPool(per_host=1)
        conn = await pool.acquire("http://a.example")
        before = descriptors()
        tasks = [asyncio.create_task(pool.acquire("http://a.example")) for _ in range(10_000)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert pool.stats().waiting == 10_000
        assert descriptors() == before
        for task in tasks[1:]:
            task.cancel()
        pool.release(conn)
        pool.release(await tasks[0])
        await asyncio.gather(*tasks[1:], return_exceptions=True)
        assert pool.stats().hosts == {}

    asyncio.run(main())


def test_a_loop_that_asks_for_the_descriptor_gets_one() -> None:
    pool = Pool(per_host=1)
    conn = pool.acquire("http://a.example")
    crt = pool.co_acquire("http://a.example")
    before = descriptors()
    need = next(crt)
    assert isinstance(need, SlotNeeded)
    assert repr(need) == "SlotNeeded(timeout=None)"
    assert descriptors() == before
    fd, mask = need
    assert (fd, mask) == (need.fd, need.mask) == (need[0], need[1])
    assert len(need) == 2
    assert descriptors() == before + 2
    poller = select.poll()
    poller.register(*need)
    assert poller.poll(0) == []
    pool.release(conn)
    assert poller.poll(0) != []
    with pytest.raises(StopIteration) as info:
        next(crt)
    assert descriptors() == before
    pool.release(info.value.value)


# ------------------------------------------------------------------------------- loops


def test_a_caller_whose_loop_is_gone() -> None:
    """Its grant passes on to the next caller."""
    pool = AsyncPool(per_host=1)
    loop = asyncio.new_event_loop()
    conn = loop.run_until_complete(pool.acquire("http://a.example"))
    task = loop.create_task(pool.acquire("http://a.example"))
    loop.run_until_complete(asyncio.sleep(0))
    assert pool.stats().waiting == 1
    loop.close()
    task._log_destroy_pending = False  # type: ignore[attr-defined]

    async def main() -> None:
        waits = asyncio.create_task(pool.acquire("http://a.example"))
        await asyncio.sleep(0)
        pool.release(conn)
        async with asyncio.timeout(10):
            pool.release(await waits)

    asyncio.run(main())
    assert pool.stats().hosts == {}
    del task


def test_outlives_loops(answering: Answering) -> None:
    """asyncio, trio and asyncio again, over the same connection."""
    pool, seen = AsyncPool(), []

    async def use() -> None:
        async with pool.connection(origin_of(answering)) as conn:
            await conn.request("GET", "/")
            seen.append(await conn.readall())

    for run in (asyncio.run, lambda crt: trio.run(lambda: crt), asyncio.run):
        run(use())
    pool.close()
    connections = {body.split(b",")[0] for body in seen}
    assert len(connections) == 1
    assert [body.split()[-1] for body in seen] == [b"1", b"2", b"3"]


def test_a_second_loop() -> None:
    pool = AsyncPool()

    async def main() -> None:
        conn = await pool.acquire("http://a.example")

        def elsewhere() -> None:
            with pytest.raises(StateError, match="another event loop is using this pool"):
                asyncio.run(pool.acquire("http://a.example"))
            with pytest.raises(StateError, match="another event loop is using this pool"):
                trio.run(pool.acquire, "http://a.example")

        await asyncio.to_thread(elsewhere)
        pool.release(conn)

    asyncio.run(main())
    assert pool.stats().hosts == {}


def test_a_second_loop_beside_trio() -> None:
    pool = AsyncPool()

    async def main() -> None:
        conn = await pool.acquire("http://a.example")

        def elsewhere() -> None:
            with pytest.raises(StateError):
                asyncio.run(pool.acquire("http://a.example"))

        await trio.to_thread.run_sync(elsewhere)
        pool.release(conn)

    trio.run(main)


def test_idle_connections_are_closed_while_a_loop_runs(answering: Answering) -> None:
    pool = AsyncPool(idle_timeout=0.05)

    async def use(sleep: Callable[[float], Any]) -> None:
        async with pool.connection(origin_of(answering)) as conn:
            await conn.request("GET", "/")
            await conn.readall()
            stream = conn._session.stream  # type: ignore[union-attr]
        assert stream is not None
        for _ in range(1000):
            if stream.closed:  # no call of the pool
                break
            await sleep(0.01)
        assert stream.closed

    asyncio.run(use(asyncio.sleep))
    trio.run(use, trio.sleep)
    assert pool.stats().hosts == {}


def test_aio_future(answering: Answering) -> None:
    async def main() -> None:
        pool = Pool(per_host=1)
        conn = await AioFuture(pool.co_acquire(origin_of(answering)))
        before = descriptors()
        waiting = [AioFuture(pool.co_acquire(origin_of(answering))) for _ in range(10)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert pool.stats().waiting == 10
        assert descriptors() == before
        for future in waiting[1:]:
            future.cancel()
        assert pool.stats().waiting == 1
        pool.release(conn)
        pool.release(await waiting[0])
        assert pool.stats().hosts == {}

    asyncio.run(main())


def test_in_another_thread() -> None:
    """A task is woken by a thread, which releases a connection of the pool."""

    async def main(run_in_thread: Callable[[Callable[[], None]], Any]) -> None:
        pool = AsyncPool(per_host=1)
        conn = await pool.acquire("http://a.example")

        async def wait() -> None:
            pool.release(await pool.acquire("http://a.example"))

        if run_in_thread is asyncio.to_thread:
            task = asyncio.create_task(wait())
            await asyncio.sleep(0)
            await run_in_thread(lambda: pool.release(conn))
            await task
        else:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()
                await run_in_thread(lambda: pool.release(conn))
        assert pool.stats().hosts == {}

    asyncio.run(main(asyncio.to_thread))
    trio.run(main, trio.to_thread.run_sync)
