"""Lookups in threads: bounded, abandoned, interrupted, without threads, and in forked children."""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from dugong import POLLIN, HTTPConnection, PollNeeded
from dugong.transport import resolve
from dugong.transport.resolve import AddressInfo, Lookup
from tests.transport.tools import (
    before_line,
    end_resolver_threads,
    open_descriptors,
    resolver_threads,
    wait_for,
)

ADDRESS: AddressInfo = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Each look-up ends when this is released once."""
    gate = threading.Semaphore(0)

    def getaddrinfo(host: str, port: int, **options: Any) -> list[AddressInfo]:
        if options["flags"]:
            raise socket.gaierror(socket.EAI_NONAME, "not numeric")
        assert gate.acquire(timeout=10)
        return [(*ADDRESS[:3], host, ("192.0.2.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return gate


def test_caller_does_not_wait(gate: threading.Semaphore) -> None:
    lookup = Lookup("name", 80)
    assert lookup.result() is None
    assert not PollNeeded(lookup.sock.fileno(), POLLIN).poll(0)
    gate.release()
    assert wait_for(lookup) == [(*ADDRESS[:3], "name", ("192.0.2.1", 80))]
    assert lookup.result() is not None, "it stays"


def test_threads_are_bounded_and_end(
    gate: threading.Semaphore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve, "MAX_THREADS", 3)
    end_resolver_threads()
    lookups = [Lookup(f"name{i}", i) for i in range(10)]
    assert len(resolver_threads()) == 3
    gate.release(10)
    for i, lookup in enumerate(lookups):
        ((*_, name, address),) = wait_for(lookup)
        assert (name, address) == (f"name{i}", ("192.0.2.1", i))
    end_resolver_threads()
    gate.release()
    assert wait_for(Lookup("again", 1))[0][3] == "again", "after all threads have ended"


def test_nobody_waits_any_more(gate: threading.Semaphore) -> None:
    """A look-up that was given up ends quietly, whenever it ends."""
    lookup = Lookup("name", 80)
    lookup.sock.close()
    gate.release()
    end_resolver_threads()
    assert lookup.result() is not None


def test_no_thread_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is the system's, nothing is left open, and the next look-up works."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, **options: Any) -> list[AddressInfo]:
        asked.append(host)
        return [ADDRESS]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        for _ in range(2 * resolve.MAX_THREADS):
            with pytest.raises(RuntimeError):
                Lookup("name", 80)
    assert wait_for(Lookup("name", 80)) == [ADDRESS]
    assert asked == ["name"], "what failed is not looked up later"


# ------------------------------------------- in the collector, in signal handlers, at any moment

RESOLVER = resolve.__file__


def look_up_and_close() -> None:
    Lookup("name", 80).close()


def abandon() -> None:
    """Leave a request that is being looked up to the garbage collector, and run that."""
    cycle: list[Any] = [HTTPConnection("name.example").co_request("GET", "/")]
    next(cycle[0])
    cycle.append(cycle)
    del cycle
    gc.collect(1)  # it is young; a full collection at each line would take minutes


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("inner", [look_up_and_close, abandon])
def test_reentered_at_any_line(
    gate: threading.Semaphore,
    monkeypatch: pytest.MonkeyPatch,
    inner: Callable[[], object],
    threads: int,
) -> None:
    """A lookup is begun or abandoned in the middle of another's beginning or end: none hangs."""
    monkeypatch.setattr(resolve, "MAX_THREADS", threads)
    for outer in (look_up_and_close, lambda: wait_for(Lookup("last", 80))):
        count = 0
        while before_line(RESOLVER, count, inner, outer):
            gate.release(3)
            end_resolver_threads()
            count += 1
            gate.release(3)  # for the next one, which waits for its result
        assert count > 10
    end_resolver_threads()


def interrupt() -> None:
    raise KeyboardInterrupt


def test_interrupted_at_any_line(
    gate: threading.Semaphore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interrupt arrives, no descriptor stays open, and the next lookup gets its thread."""
    monkeypatch.setattr(resolve, "MAX_THREADS", 1)
    end_resolver_threads()
    gc.collect()
    before = open_descriptors()
    count = 0
    while True:
        try:
            before_line(RESOLVER, count, interrupt, lambda: Lookup("interrupted", 80))
        except KeyboardInterrupt:
            pass
        else:
            break
        gate.release(2)
        assert wait_for(Lookup("next", 80))[0][3] == "next"
        end_resolver_threads()
        while gate.acquire(blocking=False):
            pass
        count += 1
    assert count > 10
    gate.release()
    end_resolver_threads()
    gc.collect()
    assert open_descriptors() <= before


# --------------------------------------------------------------------- where no thread can start


@pytest.mark.parametrize(
    "text",
    [
        "can't create new thread at interpreter shutdown",
        "thread is not supported for isolated subinterpreters",
    ],
)
def test_no_thread_will_ever_start(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """The caller's thread looks the name up."""
    asked: list[int] = []

    def getaddrinfo(host: str, port: int, **options: Any) -> list[AddressInfo]:
        asked.append(threading.get_ident())
        return [ADDRESS]

    def start(thread: threading.Thread) -> None:
        raise RuntimeError(text)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(threading.Thread, "start", start)
    lookup = Lookup("name", 80)
    assert lookup.result() == [ADDRESS]
    assert asked == [threading.get_ident()]
    assert wait_for(lookup) == [ADDRESS]


# Before 3.12, no interpreter can be destroyed while one of its threads has not ended, whatever it
# does, so this one waits for the thread that looked the name up.
SUBINTERPRETER = """
import sys, threading
sys.path[:0] = {path}
from dugong import HTTPConnection
conn = HTTPConnection("localhost", {port}, timeout=10)
conn.request("GET", "/")
print(conn.readall().decode(), flush=True)
for thread in threading.enumerate():
    if thread.name == "dugong-resolver":
        thread.join()
"""

RUN_IN_SUBINTERPRETERS = """
import sys
code = sys.stdin.read()
try:
    import _interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
    for isolated in (True, False):
        interpreter = interpreters.create(isolated=isolated)
        interpreters.run_string(interpreter, code)
        interpreters.destroy(interpreter)
else:
    for config in ("isolated", "legacy"):
        interpreter = _interpreters.create(config)
        failure = _interpreters.exec(interpreter, code)
        assert failure is None, failure
        _interpreters.destroy(interpreter)
"""


def test_in_subinterpreters() -> None:
    """Isolated ones (PEP 734) have no daemon threads, and before 3.12 no threads at all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                with listener.accept()[0] as sock:
                    sock.recv(1000)
                    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        port = listener.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", "-c", RUN_IN_SUBINTERPRETERS],
            input=SUBINTERPRETER.format(path=[path for path in sys.path if path], port=port),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert (done.stdout.split(), done.stderr) == (["hi", "hi"], "")


# ----------------------------------------------------------------------------------- fork

PRELUDE = """
import os, socket, threading, warnings
from dugong import POLLIN, PollNeeded
from dugong.transport import resolve
from dugong.transport.resolve import Lookup
warnings.simplefilter("ignore")  # of forking with threads: it is what this is about
resolve.MAX_THREADS = 1
gate = threading.Event()
parent = os.getpid()

def getaddrinfo(host, port, **options):
    assert os.getpid() != parent or gate.wait(10)
    return [(2, 1, 6, host, ("192.0.2.1", port))]

socket.getaddrinfo = getaddrinfo

def wait_for(lookup):
    while (addresses := lookup.result()) is None:
        assert PollNeeded(lookup.sock.fileno(), POLLIN).poll(10), "never told"
    return addresses[0][3]

first, queued = Lookup("first", 1), Lookup("queued", 1)
"""

CHILD_LOOKS_UP = """
if (child := os.fork()) == 0:
    print(wait_for(Lookup("child", 1)), flush=True)
    os._exit(0)
os.waitpid(child, 0)
gate.set()
print(wait_for(first), wait_for(queued))
"""

CHILD_LIVES_ON = """
reader, writer = os.pipe()
if (child := os.fork()) == 0:
    os.close(writer)
    os.read(reader, 1)
    os._exit(0)
os.close(reader)
gate.set()
print(wait_for(first), wait_for(queued))
os.close(writer)
os.waitpid(child, 0)
"""


def run(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("code", "said"),
    [(CHILD_LOOKS_UP, ["child", "first", "queued"]), (CHILD_LIVES_ON, ["first", "queued"])],
    ids=["a child looks up", "a child lives on"],
)
def test_fork_while_looking_up(code: str, said: list[str]) -> None:
    """The parent's threads and locks are not the child's, nor is the child in the parent's way."""
    assert run(code) == said
