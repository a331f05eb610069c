"""Pools whose calls are interrupted, or entered again, at any point.

Afterwards, each slot is free, and each caller that waits gets one.
"""

from __future__ import annotations

import gc
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from dugong import HTTPConnection, Pool, StateError, eval_coroutine
from tests.support.answering import Answering
from tests.support.interrupts import Interrupt

#: Of the places where an interrupt may come, `make test` tries each of this many.
SPARSE = 13

steps = pytest.mark.parametrize("step", [SPARSE, pytest.param(1, marks=pytest.mark.slow)])


def origin_of(server: Answering) -> str:
    return f"http://127.0.0.1:{server.hows['address']['port']}"


def ask(conn: HTTPConnection) -> None:
    conn.request("GET", "/")
    conn.readall()


def use(pool: Pool, origin: str) -> None:
    with pool.connection(origin) as conn:
        ask(conn)


def use_without_block(pool: Pool, origin: str) -> None:
    conn = pool.acquire(origin)
    try:
        ask(conn)
    finally:
        pool.release(conn)


def drop(pool: Pool, origin: str) -> None:
    ask(pool.acquire(origin))


def several(pool: Pool, origin: str) -> None:
    """The full way, with events that are carried out together."""
    conns = [pool.acquire(origin) for _ in range(2)]
    for conn in conns:
        pool.release(conn)
    pool.stats()


def waits(pool: Pool, origin: str) -> None:
    """A caller that waits is granted the slot of another one, which is interrupted."""
    conns = [pool.acquire(origin) for _ in range(2)]
    crt = pool.co_acquire(origin)
    next(crt)
    pool.release(conns.pop())
    conns.append(eval_coroutine(crt, 10))
    for conn in conns:
        pool.release(conn)


def closes(pool: Pool, origin: str) -> None:
    conn = pool.acquire(origin)
    ask(conn)
    pool.release(conn)
    pool.close_idle()


@pytest.mark.parametrize("act", [use, use_without_block, drop, several, waits, closes])
@steps
def test_interrupted_anywhere(
    act: Callable[[Pool, str], None], step: int, answering: Answering
) -> None:
    origin = origin_of(answering)
    place = 0
    while True:
        pool = Pool(per_host=2, timeout=10)
        use(pool, origin)
        with Interrupt(place) as interrupt:
            act(pool, origin)
        interrupt.forget()
        gc.collect()
        stats = pool.stats()
        assert (stats.leased, stats.connecting, stats.waiting) == (0, 0, 0), interrupt
        assert list(pool._machine.faults()) == [], interrupt
        conns = [pool.acquire(origin) for _ in range(2)]  # both slots are there
        for conn in conns:
            ask(conn)
            pool.release(conn)
        pool.close()
        if interrupt.raised is None:
            assert place > 50
            return
        place += step


@pytest.mark.parametrize("kept", [True, False])
def test_another_caller_waits(kept: bool, answering: Answering) -> None:
    """It gets the slot, wherever the call that gives it back is interrupted."""
    origin, place = origin_of(answering), 0
    while True:
        pool = Pool(per_host=1, timeout=10)
        conn = pool.acquire(origin)
        if kept:
            ask(conn)
        crt = pool.co_acquire(origin)
        need = next(crt)
        with Interrupt(place) as interrupt:
            pool.release(conn)
        interrupt.forget()
        del conn
        if not need.poll(0):
            # The interrupt came before the end of the lease was posted, and dropping the object did
            # the rest. Nothing else needs to be called.
            raise AssertionError(f"the caller still waits: {interrupt}")
        del need
        other = eval_coroutine(crt, 10)
        ask(other)
        pool.release(other)
        assert pool.stats().leased == 0
        pool.close()
        if interrupt.raised is None:
            assert place > 10
            return
        place += 1


# ------------------------------------------------------------------------------- entered again


class Reentry:
    """Calls the pool in the middle of a call of the pool, as a finalizer does."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act
        self.error: BaseException | None = None

    def __call__(self) -> float:
        self.act, act = (lambda: None), self.act
        try:
            act()
        except BaseException as exc:
            self.error = exc
        return 0.0


def test_released_in_the_middle_of_a_call(answering: Answering) -> None:
    origin = origin_of(answering)
    pool = Pool(per_host=2, timeout=10)
    one, two = pool.acquire(origin), pool.acquire(origin)
    ask(two)
    pool._clock = Reentry(lambda: pool.release(two))  # the clock is asked at each event
    pool.release(one)
    assert pool.stats().leased == 0
    assert pool.stats().idle == 1
    assert list(pool._machine.faults()) == []


class Inbox(deque[Any]):
    """Does something just after a call that carries out events has found no more of them."""

    def __init__(self, pool: Pool, act: Callable[[], object]) -> None:
        super().__init__()
        self.pool = pool
        self.act: Callable[[], object] | None = act

    def __bool__(self) -> bool:
        found = len(self) > 0
        if not found and self.act is not None and self.pool._worker:
            act, self.act = self.act, None
            act()
        return found


def test_an_event_that_comes_last(answering: Answering) -> None:
    """Another thread posts it, and leaves it to a call that is about to end."""
    origin = origin_of(answering)
    pool = Pool(per_host=1, timeout=10)
    one = pool.acquire(origin)
    crt = pool.co_acquire(origin)
    need = next(crt)

    def release() -> None:
        thread = threading.Thread(target=pool.release, args=(one,))
        thread.start()
        thread.join()

    pool._inbox = Inbox(pool, release)
    pool.close_idle()
    assert need.poll(0)
    crt.close()
    assert pool.stats().hosts == {}


def test_closed_in_the_middle_of_a_call(answering: Answering) -> None:
    origin = origin_of(answering)
    pool = Pool(per_host=1, timeout=10)
    one = pool.acquire(origin)
    crt = pool.co_acquire(origin)
    need = next(crt)
    pool._clock = Reentry(pool.close)
    pool.release(one)
    assert need.poll(0)
    with pytest.raises(StateError, match="closed"):
        next(crt)


def test_acquiring_in_the_middle_of_a_call(answering: Answering) -> None:
    """That would wait for itself, so it is refused, and leaves nothing behind."""
    origin = origin_of(answering)
    pool = Pool(per_host=5, timeout=10)
    one = pool.acquire(origin)

    class Finalized:
        def __init__(self, reentry: Reentry) -> None:
            self.reentry = reentry

        def __del__(self) -> None:
            self.reentry()

    reentry = Reentry(lambda: pool.acquire(origin))
    doomed: list[Any] = [Finalized(reentry)]
    machine_want = pool._machine.want

    def want(*args: Any) -> Any:  # in the middle of carrying out an event
        doomed.clear()
        return machine_want(*args)

    pool._machine.want = want  # type: ignore[method-assign,assignment]
    two = pool.acquire(origin)
    assert isinstance(reentry.error, StateError)
    assert "finalizer or signal handler" in str(reentry.error)
    del reentry
    for conn in (one, two):
        ask(conn)
        pool.release(conn)
    stats = pool.stats()
    assert (stats.leased, stats.connecting, stats.waiting) == (0, 0, 0)


def test_many_threads(answering: Answering) -> None:
    """Threads that collide all the time: the switch interval is as short as it can be."""
    import sys

    origin = origin_of(answering)
    pool = Pool(per_host=3, timeout=30)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(200):
                with pool.connection(origin):
                    pass
        except BaseException as exc:
            errors.append(exc)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert errors == []
    assert pool.stats().hosts == {}
