"""What a call of a pool costs does not depend on how many connections it has, or callers wait.

`test_leases` shows that of the state machine. Here all the code of the package counts.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

import dugong
from dugong import HTTPConnection, Pool
from tests.pool.lines import Lines

PACKAGE = str(Path(dugong.__file__).parent)

#: A process with the other ends: one alone may not have as many descriptors.
SERVER = """
import socket
listener, accepted = socket.create_server(("127.0.0.1", 0), backlog=1000), []
print(listener.getsockname()[1], flush=True)
while True:
    accepted.append(listener.accept())
"""

BUSY = "http://busy.example"


@pytest.fixture(scope="module")
def accepting() -> Iterator[str]:
    """The origin of a server that accepts connections and keeps them."""
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.kill()


class Crowd:
    """A pool with many idle connections, leases and callers that wait, and no free slot."""

    def __init__(self, count: int, origin: str) -> None:
        self.pool = pool = Pool(max_connections=2 * count, per_host=count)
        conns = [pool.acquire(origin) for _ in range(count)]
        for conn in conns:
            conn.connect()
        for conn in conns:
            pool.release(conn)
        self.leased = [pool.acquire(BUSY) for _ in range(count)]
        self.waiting = [pool.co_acquire(BUSY) for _ in range(count)]
        for crt in self.waiting:
            next(crt)
        stats = pool.stats()
        assert (stats.idle, stats.connecting, stats.waiting) == (count, count, count)

    def close(self) -> None:
        for crt in self.waiting:
            crt.close()
        self.pool.close()


def finish(crt: Generator[Any, Any, HTTPConnection]) -> HTTPConnection:
    try:
        next(crt)
    except StopIteration as stop:
        conn: HTTPConnection = stop.value
        return conn
    raise AssertionError("it still waits")


def cost(count: int, origin: str) -> dict[str, int]:
    """Return how many lines each call runs through."""
    crowd = Crowd(count, origin)
    pool, leased, waiting = crowd.pool, crowd.leased, crowd.waiting
    another = pool.co_acquire(BUSY)
    conns: list[HTTPConnection] = []
    calls: dict[str, Callable[[], object]] = {
        "begins to wait": lambda: next(another),
        "gives up": waiting[count // 2].close,
        "is dropped while it waits": lambda: waiting.pop(count // 3),
        "passes its slot on": lambda: pool.release(leased[0]),
        "notices that": lambda: conns.append(finish(waiting[0])),
        "is dropped": lambda: leased.pop(1),
        "takes an idle connection": lambda: conns.append(pool.acquire(origin)),
        "returns it": lambda: pool.release(conns.pop()),
        "needs room": lambda: conns.append(pool.acquire("http://new.example")),
        "releases it": lambda: pool.release(conns.pop()),
        "looks": pool._close_expired,
    }
    found = {}
    for name, call in calls.items():
        with Lines(PACKAGE) as lines:
            call()
        found[name] = lines.count
    assert min(found.values()) > 5
    another.close()
    crowd.close()
    return found


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_cost_does_not_grow(count: int, accepting: str) -> None:
    cost(10, accepting)  # the first time, caches are empty
    assert cost(10, accepting) == cost(count, accepting)
