"""The examples of many requests or connections at once, run as programs against nginx."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256

import pytest

from tests.cli.command import OK, Listener
from tests.support.servers import ROOT, Documents, NginxEndpoints, unavailable

pytestmark = pytest.mark.slow

#: Seconds. A program that takes longer hangs.
PATIENCE = 60

#: The library that each program needs, and how many connections it opens.
PROGRAMS: dict[str, tuple[str | None, int]] = {
    "threads.py": (None, 1),
    "selectors_loop.py": (None, 50),
    "gevent_blocking.py": ("gevent", 50),
    "asyncio_many.py": (None, 50),
    "trio_many.py": ("trio", 50),
}

examples = pytest.mark.parametrize("name", PROGRAMS)


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    library, _ = PROGRAMS[name]
    if library is not None and importlib.util.find_spec(library) is None:
        unavailable(f"{library} is not installed")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", ROOT / "examples" / name, *arguments],
        capture_output=True, timeout=PATIENCE, check=False, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    # asyncio's debug mode reports each step that takes 0.1 seconds, as any does on a busy machine.
    lines = done.stderr.splitlines(keepends=True)
    done.stderr = "".join(line for line in lines if not line.startswith("Executing <"))
    return done


@examples
def test_fetches_everything(name: str, nginx: NginxEndpoints, documents: Documents) -> None:
    names = sorted(
        path.name for path in documents.directory.iterdir() if path.stat().st_size < 100_000
    )[:5]
    assert len(names) > 1
    _, connections = PROGRAMS[name]
    expected = []
    paths = []
    for document in names:
        for prefix in ("doc", "chunked"):
            data = (documents.directory / document).read_bytes()
            paths.append(f"/{prefix}/{document}")
            digest = sha256(data).hexdigest()[:16]
            expected.append(f"{connections} times {paths[-1]}: 200, {len(data)} bytes, {digest}")
    paths.append("/no-content")
    digest = sha256(b"").hexdigest()[:16]
    expected.append(f"{connections} times /no-content: 204, 0 bytes, {digest}")
    done = run(name, nginx.plain.host, str(nginx.plain.port), *paths)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == sorted(expected)


@examples
def test_by_name(name: str, nginx: NginxEndpoints) -> None:
    """Looking a name up takes a thread and a wait of another kind."""
    done = run(name, "localhost", str(nginx.plain.port), "/no-content")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{PROGRAMS[name][1]} times /no-content: 204, 0 bytes")


@examples
def test_refused(name: str) -> None:
    """Where nobody listens, that is said, and the program ends."""
    done = run(name, "127.0.0.1", "1", "/")
    assert done.returncode == 1
    assert "ConnectionRefusedError" in done.stderr


@examples
def test_says_how_to_use_it(name: str) -> None:
    done = run(name)
    assert done.returncode == 1
    assert done.stderr == f"usage: {name} HOST PORT PATH [PATH ...]\n"


@examples
def test_server_closes(name: str) -> None:
    """What breaks off in the middle is said, and nothing hangs."""
    with Listener() as listener, ThreadPoolExecutor() as pool:
        over = threading.Event()
        serving = pool.submit(break_off, listener, over)
        try:
            done = run(name, *listener.authority.split(":"), *["/a"] * 500)
        finally:
            over.set()
            socket.create_connection(listener.sock.getsockname()).close()  # ends `accept`
        serving.result(PATIENCE)
    assert done.returncode == 1
    assert "ConnectionClosed" in done.stderr


def break_off(listener: Listener, over: threading.Event) -> None:
    """Answer one request of each connection, and close it."""
    while not over.is_set():
        with listener.accept() as sock, suppress(ConnectionError):  # it may hang up first
            data = b""
            while b"\r\n\r\n" not in data and (more := sock.recv(4096)):
                data += more
            if data:
                sock.sendall(OK)
