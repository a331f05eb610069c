"""Names: numeric ones at once, others in threads, and what it means when they fail."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from typing import Any

import pytest

from dugong import POLLIN, DNSUnavailable, HostnameNotResolvable, PollNeeded
from dugong.transport import resolve
from dugong.transport.resolve import AddressInfo, Lookup, numeric
from tests.transport.tools import end_resolver_threads, resolver_threads

TEST_HOSTS = (("one.example", 80), ("two.example", 53))
ADDRESS: AddressInfo = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))


class System:
    """Stands for `socket.getaddrinfo`: each name has its answers, the last one for good."""

    def __init__(self, **answers: list[int | Exception | None]) -> None:
        self.answers = {name.replace("_", "."): codes for name, codes in answers.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, **options: Any) -> list[AddressInfo]:
        assert options["type"] == socket.SOCK_STREAM
        self.asked.append(host)
        answers = self.answers.get(host, [socket.EAI_NONAME])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            raise socket.gaierror(answer, "no")
        return [ADDRESS]


def wait_for(lookup: Lookup) -> list[AddressInfo]:
    """What a driver does until the result is there."""
    with lookup.sock:
        while (addresses := lookup.result()) is None:
            assert PollNeeded(lookup.sock.fileno(), POLLIN).poll(10), "never told"
        return addresses


# -------------------------------------------------------------------------------- numeric


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", ("127.0.0.1", 81)),
        ("::1", ("::1", 81, 0, 0)),
        ("2001:db8::1", ("2001:db8::1", 81, 0, 0)),
    ],
)
def test_numeric(host: str, address: tuple[Any, ...]) -> None:
    found = numeric(host, 81)
    assert found is not None
    ((_, kind, _, _, got),) = found
    assert (kind, got) == (socket.SOCK_STREAM, address)


@pytest.mark.parametrize(
    "host", ["localhost", "h", "256.1.1.1", "127.0.0.1.example", "a" * 64, ".a"]
)
def test_not_numeric(host: str) -> None:
    assert numeric(host, 80) is None


# ------------------------------------------------------------------------- classification

NONAME, FAIL, AGAIN = socket.EAI_NONAME, socket.EAI_FAIL, socket.EAI_AGAIN

#: Answers for the name and the two test hosts; what comes of it, and who is asked in what order.
CLASSIFIED: dict[str, tuple[dict[str, Any], type[Exception] | None, str]] = {
    "there": ({"name": [None]}, None, "n"),
    "try again": ({"name": [AGAIN], "one_example": [None]}, DNSUnavailable, "n"),
    "unknown": ({"name": [NONAME], "one_example": [None]}, HostnameNotResolvable, "n1n"),
    "failed": ({"name": [FAIL], "one_example": [None]}, HostnameNotResolvable, "n1n"),
    "unknown, one is enough": (
        {"name": [NONAME], "two_example": [None]}, HostnameNotResolvable, "n12n",
    ),
    "a test host that is none": (
        {"name": [NONAME], "one_example": [UnicodeError()], "two_example": [None]},
        HostnameNotResolvable, "n12n",
    ),
    "down": ({"name": [NONAME]}, DNSUnavailable, "n12"),
    "back again": ({"name": [NONAME, None], "one_example": [None]}, None, "n1n"),
    "away again": ({"name": [NONAME, AGAIN], "one_example": [None]}, DNSUnavailable, "n1n"),
    "not a name": ({"name": [UnicodeError()]}, HostnameNotResolvable, "n"),
}  # fmt: skip


@pytest.mark.parametrize(("answers", "error", "asked"), CLASSIFIED.values(), ids=CLASSIFIED)
def test_classification(
    monkeypatch: pytest.MonkeyPatch,
    answers: dict[str, Any],
    error: type[HostnameNotResolvable | DNSUnavailable] | None,
    asked: str,
) -> None:
    system = System(**{name: [*codes] for name, codes in answers.items()})
    monkeypatch.setattr(socket, "getaddrinfo", system)
    monkeypatch.setattr(resolve, "DNS_TEST_HOSTNAMES", TEST_HOSTS)
    for call in (resolve.resolve, lambda host, port: wait_for(Lookup(host, port))):
        system.asked.clear()
        system.answers = {name.replace("_", "."): [*codes] for name, codes in answers.items()}
        if error is None:
            assert call("name", 80) == [ADDRESS]
        else:
            with pytest.raises(error) as info:
                call("name", 80)
            assert info.value.name == "name"
        short = {"name": "n", "one.example": "1", "two.example": "2"}
        assert "".join(short[name] for name in system.asked) == asked


def test_other_errors_pass_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", System(name=[OSError("broken")]))
    with pytest.raises(OSError, match="broken"):
        wait_for(Lookup("name", 80))


# -------------------------------------------------------------------------------- threads


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Each look-up ends when this is released once."""
    gate = threading.Semaphore(0)

    def getaddrinfo(host: str, port: int, **options: Any) -> list[AddressInfo]:
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
    system = System(name=[None])
    monkeypatch.setattr(socket, "getaddrinfo", system)

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        for _ in range(2 * resolve.MAX_THREADS):
            with pytest.raises(RuntimeError):
                Lookup("name", 80)
    assert wait_for(Lookup("name", 80)) == [ADDRESS]
    assert system.asked == ["name"], "what failed is not looked up later"


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
