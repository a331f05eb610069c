"""`run_all`: many coroutines in one thread."""

from __future__ import annotations

import itertools
import signal
import socket
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dugong import (
    POLLIN,
    POLLOUT,
    ConnectionTimedOut,
    HTTPConnection,
    InvalidRequest,
    PollNeeded,
    Pool,
    run_all,
)
from tests.support.answering import Answering
from tests.support.concurrency import nothing_left
from tests.support.wire import Wire

Crt = Generator[PollNeeded, Any, Any]


def returns(value: Any) -> Crt:
    return value
    yield


def raises(exc: BaseException) -> Crt:
    raise exc
    yield


def reads(sock: socket.socket) -> Crt:
    yield PollNeeded(sock.fileno(), POLLIN)
    return sock.recv(100)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        yield near, far


def fetch(pool: Pool, origin: str) -> Crt:
    conn = yield from pool.co_acquire(origin)
    try:
        yield from conn.co_request("GET", "/")
        return (yield from conn.co_readall())
    finally:
        pool.release(conn)


def test_results() -> None:
    error = ValueError("no")
    crts = [returns(1), raises(error), returns(None)]
    results = list(run_all(crts))
    assert [crt for crt, _ in results] == crts
    assert [result for _, result in results] == [1, error, None]


def test_in_the_order_in_which_they_end(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    waiting, quick = reads(near), returns("quick")
    results = run_all([waiting, quick])
    assert next(results) == (quick, "quick")
    far.send(b"data")
    assert next(results) == (waiting, b"data")
    assert list(results) == []


def test_two_wait_for_one_descriptor(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair

    def writes() -> Crt:
        yield PollNeeded(near.fileno(), POLLOUT)
        return near.send(b"out")

    reading, writing = reads(near), writes()
    results = run_all([reading, writing])
    assert next(results) == (writing, 3)
    far.send(b"in")
    assert next(results) == (reading, b"in")


def test_no_more_than_the_limit() -> None:
    started: list[int] = []

    near, far = socket.socketpair()
    with near, far:

        def step(number: int) -> Crt:
            started.append(number)
            yield PollNeeded(near.fileno(), POLLOUT)
            return number

        for seen, (_, result) in enumerate(run_all(map(step, itertools.count()), limit=7)):
            assert isinstance(result, int)
            assert len(started) <= seen + 1 + 2 * 7
            if seen == 100:
                break


def test_many_through_one_pool(answering: Answering) -> None:
    origin = f"http://127.0.0.1:{answering.hows['address']['port']}"
    pool = Pool(per_host=3)
    with run_all((fetch(pool, origin) for _ in range(200)), limit=50, timeout=30) as results:
        bodies: list[Any] = [result for _, result in results]
    assert len({body.split(b",")[0] for body in bodies}) == 3
    assert pool.stats().idle == 3
    pool.close()


def test_leaving_early_frees_every_slot(answering: Answering) -> None:
    origin = f"http://127.0.0.1:{answering.hows['address']['port']}"
    pool = Pool(per_host=3)
    endless = (fetch(pool, origin) for _ in itertools.count())
    with run_all(endless, limit=50) as results:
        for _ in range(20):
            next(results)
        assert pool.stats().leased + pool.stats().waiting > 0
    stats = pool.stats()
    assert (stats.leased, stats.connecting, stats.waiting) == (0, 0, 0)
    with pytest.raises(StopIteration):
        next(results)
    results.close()
    pool.close()


def test_one_silent_server_delays_no_other(plain: Wire, answering: Answering) -> None:
    silent = plain.listen()
    origin = f"http://127.0.0.1:{answering.hows['address']['port']}"
    pool = Pool(max_connections=20, per_host=10)
    stuck = [fetch(pool, "http://{}:{}".format(*silent.address)) for _ in range(15)]
    others = [fetch(pool, origin) for _ in range(99)]
    with run_all([*stuck, *others], limit=200) as results:
        done = [crt for crt, _ in itertools.islice(results, 99)]
    assert set(done) == set(others)
    pool.close()


# ------------------------------------------------------------------------------- time


def test_timeout_of_one_wait(pair: tuple[socket.socket, socket.socket]) -> None:
    ((_, result),) = run_all([reads(pair[0])], timeout=0.01)
    assert isinstance(result, ConnectionTimedOut)
    assert "no data transferred for 0.01 seconds" in str(result)


def test_deadline_of_each(pair: tuple[socket.socket, socket.socket]) -> None:
    def spins() -> Crt:
        while True:
            yield PollNeeded(pair[0].fileno(), POLLOUT)

    for _, result in run_all([spins(), spins()], deadline=0.02):
        assert isinstance(result, ConnectionTimedOut)
        assert "not done within 0.02 seconds" in str(result)


def test_resumed_when_it_asks_for_that(pair: tuple[socket.socket, socket.socket]) -> None:
    def waits() -> Crt:
        for _ in range(3):
            yield PollNeeded(pair[0].fileno(), POLLIN, 0.001)
        return "resumed"

    ((_, result),) = run_all([waits()], timeout=30)
    assert result == "resumed"


def test_the_limit_of_the_pool_restarts_with_each_grant(answering: Answering) -> None:
    """Many wait far longer than the limit, while slots are granted all the time."""
    origin = f"http://127.0.0.1:{answering.hows['address']['port']}"
    pool = Pool(per_host=1)

    def slow() -> Crt:
        conn = yield from pool.co_acquire(origin)
        try:
            end = time.monotonic() + 0.02
            while (left := end - time.monotonic()) > 0:
                yield PollNeeded(near.fileno(), POLLIN, left)
        finally:
            pool.release(conn)

    near, far = socket.socketpair()
    with near, far:
        results = [result for _, result in run_all((slow() for _ in range(30)), timeout=0.2)]
    assert results == [None] * 30
    pool.close()


# ------------------------------------------------------------------------------- errors


def test_arguments() -> None:
    with pytest.raises(InvalidRequest):
        run_all([], limit=0)
    with pytest.raises(TypeError):
        run_all([], timeout="x")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        run_all(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be a generator"):
        next(run_all([HTTPConnection]))  # type: ignore[list-item,arg-type]


def test_an_error_of_the_iterable() -> None:
    def crts() -> Iterator[Crt]:
        yield returns(1)
        raise ValueError("no more")

    results = run_all(crts(), limit=1)
    assert next(results)[1] == 1
    with pytest.raises(ValueError, match="no more"):
        next(results)


@contextmanager
def interrupted() -> Iterator[None]:
    """Interrupt this thread in a moment. A process in the background may ignore the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.05, signal.pthread_kill, [threading.get_ident(), signal.SIGINT])
    timer.start()
    try:
        yield
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)


def test_interrupt(pair: tuple[socket.socket, socket.socket]) -> None:
    """Another step continues: nothing is lost but what was running."""
    waiting = reads(pair[0])
    results = run_all([waiting])
    with interrupted(), pytest.raises(KeyboardInterrupt):
        next(results)
    pair[1].send(b"data")
    assert next(results) == (waiting, b"data")


def test_interrupt_inside() -> None:
    ended = []

    def inside() -> Crt:
        try:
            raise KeyboardInterrupt
            yield
        finally:
            ended.append(True)

    results = run_all([inside(), returns(1)])
    with pytest.raises(KeyboardInterrupt):
        next(results)
    assert ended
    assert next(results)[1] == 1
    assert list(results) == []


def test_closing_closes_all_of_them(pair: tuple[socket.socket, socket.socket]) -> None:
    closed: list[int] = []

    def waits(number: int) -> Crt:
        try:
            yield PollNeeded(pair[0].fileno(), POLLIN)
        finally:
            closed.append(number)
            if number == 1:
                raise ValueError("in the end")

    with nothing_left():
        results = run_all([*map(waits, range(3)), returns(0)])
        next(results)
        with pytest.raises(ValueError, match="in the end"):
            results.close()
        assert sorted(closed) == [0, 1, 2]
        results.close()


def test_dropped(pair: tuple[socket.socket, socket.socket]) -> None:
    closed: list[int] = []

    def waits() -> Crt:
        try:
            yield PollNeeded(pair[0].fileno(), POLLIN)
        finally:
            closed.append(1)

    pool = Pool(per_host=1)
    conn = pool.acquire("http://a.example")
    results = run_all([waits(), fetch(pool, "http://a.example"), returns(0)])
    next(results)
    assert pool.stats().waiting == 1
    del results
    assert closed
    assert pool.stats().waiting == 0
    pool.release(conn)


def test_a_descriptor_that_is_closed(plain: Wire) -> None:
    """The coroutine finds out when it is resumed."""
    near, far = socket.socketpair()

    def waits() -> Crt:
        fd = near.fileno()
        near.close()
        yield PollNeeded(fd, POLLIN)
        return "resumed"

    ((_, result),) = run_all([waits()])
    assert result == "resumed"
    far.close()
