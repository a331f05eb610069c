"""Children of a fork start with an empty pool, and do not touch their parent's connections."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from dugong import ConnectionClosed, HTTPConnection, Pool, StateError, eval_coroutine
from dugong.pool.pool import PoolStats
from tests.support.answering import Answering
from tests.support.forked import forks, in_child

pytestmark = forks

ROOT = Path(__file__).parent.parent.parent


def origin_of(server: Answering, how: str = "address") -> str:
    return f"http://127.0.0.1:{server.hows[how]['port']}"


def ask(conn: HTTPConnection) -> tuple[bytes, bytes]:
    """The numbers of the connection, and of the request on it."""
    conn.request("GET", "/")
    words = conn.readall().split()
    return words[1], words[3]


def test_child_and_parent(answering: Answering) -> None:
    origin = origin_of(answering)
    pool = Pool(per_host=2, timeout=10)
    leased, idle = pool.acquire(origin), pool.acquire(origin)
    first, second = ask(leased)[0], ask(idle)[0]
    pool.release(idle)

    def act() -> None:
        assert pool.stats() == PoolStats()
        with pool.connection(origin) as one, pool.connection(origin) as two:
            assert not {ask(one)[0], ask(two)[0]} & {first, second}
        assert pool.stats().idle == 2
        assert not leased.connected
        assert ask(leased)[1] == b"1"  # a new connection, which is not the pool's
        pool.release(leased)
        assert pool.stats().idle == 2
        with pytest.raises(StateError):
            ask(leased)
        pool.close()
        gc.collect()

    in_child(act)
    in_child(pool.close)
    assert ask(leased) == (first, b"2")
    with pool.connection(origin) as conn:
        assert ask(conn) == (second, b"2")
    pool.release(leased)
    assert pool.stats().idle == 2
    assert list(pool._machine.faults()) == []


def test_a_caller_that_waits(answering: Answering) -> None:
    """In the child it gets a slot of the child's own."""
    origin = origin_of(answering)
    pool = Pool(per_host=1, timeout=10)
    conn = pool.acquire(origin)
    ask(conn)
    crt = pool.co_acquire(origin)
    need = next(crt)
    fd = need.fd

    def act() -> None:
        other = eval_coroutine(crt, 5)
        ask(other)
        pool.release(other)
        assert pool.stats().idle == 1

    in_child(act)
    assert fd == need.fd
    assert not need.poll(0)
    pool.release(conn)
    other = eval_coroutine(crt, 5)
    pool.release(other)


def test_in_the_middle_of_a_call(answering: Answering) -> None:
    """The child's copy of a call that carries out events is never continued."""
    origin = origin_of(answering)
    pool = Pool(per_host=1, timeout=10)
    one = pool.acquire(origin)
    real = pool._clock
    done: list[bool] = []

    def clock() -> float:
        if pool._is_nested and not done:
            done.append(True)
            in_child(lambda: ask(pool.acquire(origin)))
        return real()

    pool._clock = clock
    pool.release(one)
    assert done
    assert pool.stats().hosts == {}


PROGRAM = """
import atexit, sys, threading
if {when!r} == "before":
    atexit.register(lambda: at_the_end())
import dugong

pool = dugong.Pool(per_host=1, timeout=10)

def ask():
    with pool.connection({origin!r}) as conn:
        conn.request("GET", "/")
        return conn.readall().split()[-1].decode()

class Finalized:
    def __init__(self, pool, ask, out=sys.stdout):
        self.all = pool, ask, out
    def __del__(self):
        try:
            said = self.all[1]()
        except BaseException as exc:
            said = repr(exc)
        self.all[2].write("finalized: " + said + "\\n")

def at_the_end():
    print("at exit:", ask())

print("at once:", ask())
if {when!r} in ("after", "daemon"):
    atexit.register(at_the_end)
if {when!r} == "finalizer":
    finalized = Finalized(pool, ask)
if {when!r} == "daemon":
    def work():
        while True:
            ask()
    for _ in range(3):
        threading.Thread(target=work, daemon=True).start()
"""


@pytest.mark.parametrize("when", ["never", "before", "after", "finalizer", "daemon"])
def test_while_the_program_ends(when: str, answering: Answering) -> None:
    """Works, or fails with a clear error. Nothing hangs, and nothing complains."""
    program = PROGRAM.format(when=when, origin=origin_of(answering))
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    first, *rest = done.stdout.splitlines()
    assert first == "at once: 1"
    if when in ("before", "after"):
        assert rest == ["at exit: 2"]
    if when == "finalizer":
        assert rest == ["finalized: 2"]
    if when == "daemon":
        assert rest[0].startswith("at exit: ")


def test_closed_in_the_child(answering: Answering) -> None:
    """A call that is using the connection in the parent notices nothing."""
    origin = origin_of(answering)
    pool = Pool(timeout=10)
    with pool.connection(origin) as conn:
        conn.request("GET", "/half/token")
        assert conn.read(5) == b"01234"
        in_child(pool.close)
        with pool.connection(origin) as other:
            other.request("GET", "/go/token")
            other.readall()
        try:
            assert conn.readall() == b"56789"
        except ConnectionClosed as exc:
            raise AssertionError from exc
