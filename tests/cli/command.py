"""The command as a process, with every warning an error, and the test itself as its server."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from unittest import mock

from dugong.cli import main
from tests.support.servers import HOST

COMMAND = [sys.executable, "-W", "error", "-X", "dev", "-m", "dugong"]

#: Settings of an interpreter that change what these tests see.
UNWANTED = {"PYTHONUNBUFFERED", "PYTHONWARNINGS"}

#: The status of what Ctrl-C has ended: the signal itself. Shells call that 130.
INTERRUPTED = -signal.SIGINT

#: Seconds after which something hangs.
PATIENCE = 60

#: Have it not try again after a trouble of the network.
ONCE = ["--retries", "0"]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nlost"


#: Has the command run as if the extra were not installed.
WITHOUT_EXTRA = """
import sys

for name in ("rich", "shtab", "selectolax"):
    sys.modules[name] = None
from dugong.cli import main
sys.exit(main())
"""


#: Has the command report each long delay between two attempts instead of waiting.
SLEEPLESS = """
import sys
from dugong.client import call
from dugong.cli import main

def co_delay(seconds, clock, really=call.co_delay):
    if seconds > 1:
        print(f"slept for {seconds:.0f} s", file=sys.stderr)
        seconds = 0.0
    return really(seconds, clock)

call.co_delay = co_delay
sys.exit(main())
"""


@dataclass(frozen=True)
class Done:
    """What became of the command."""

    status: int
    out: bytes
    err: str


def run(*args: str | Path, cwd: Path | None = None, command: Sequence[str] = COMMAND) -> Done:
    """Run ``dugong`` with *args* to its end."""
    with start(*args, cwd=cwd, command=command) as process:
        return ended(process)


@contextmanager
def start(
    *args: str | Path,
    cwd: Path | None = None,
    command: Sequence[str | Path] = COMMAND,
    stdout: int = subprocess.PIPE,
    stdin: int = subprocess.DEVNULL,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``dugong`` with *args* while the context lasts."""
    with subprocess.Popen(
        [*command, *args],
        stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, cwd=cwd,
        env={name: value for name, value in os.environ.items() if name not in UNWANTED},
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def called(*args: str | Path) -> Done:
    """Run ``dugong`` with *args* in this process: for wrong use, which is noticed at once.

    A process of its own takes a quarter of a second of computing.
    """
    with tempfile.TemporaryFile() as file:
        out, err = io.TextIOWrapper(file, "utf-8"), io.StringIO()
        # The command may change the environment, which is its own.
        with redirect_stdout(out), redirect_stderr(err), mock.patch.dict(os.environ):
            try:
                status: Any = main([*map(str, args)])
            except SystemExit as exc:
                status = exc.code
        out.flush()
        file.seek(0)
        return Done(status, file.read(), err.getvalue())


def without_extra(*args: str) -> list[str]:
    """Return what runs ``dugong`` with *args* as if the extra were not installed."""
    return [sys.executable, "-W", "error", "-c", WITHOUT_EXTRA, *args]


def sleepless(*args: str | Path) -> list[str | Path]:
    """Return what runs ``dugong`` with *args* as `SLEEPLESS` says."""
    return [sys.executable, "-W", "error", "-c", SLEEPLESS, *args]


def ended(process: subprocess.Popen[bytes]) -> Done:
    out, err = process.communicate(timeout=PATIENCE)
    return Done(process.returncode, out or b"", err.decode())


def failure(message: str, out: bytes = b"") -> Done:
    """Return what must come of a command that fails with *message*."""
    return Done(1, out, f"dugong: {message}\n")


class Listener:
    """The test as a server.

    Args:
        host: address to listen at.
    """

    def __init__(self, host: str = HOST) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.create_server((host, 0), family=family)
        self.sock.settimeout(PATIENCE)
        port = self.sock.getsockname()[1]
        self.authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.sock.close()

    def url(self, path: str = "/") -> str:
        return f"http://{self.authority}{path}"

    def accept(self) -> socket.socket:
        sock = self.sock.accept()[0]
        sock.settimeout(PATIENCE)
        return sock

    def serve(self, *responses: bytes) -> list[bytes]:
        """Answer so many requests over one connection, then close it. Returns their heads."""
        with self.accept() as sock:
            heads = []
            for response in responses:
                heads.append(head(sock))
                sock.sendall(response)
            return heads

    def is_left_alone(self) -> bool:
        """Tell whether nobody has connected any more."""
        self.sock.setblocking(False)
        try:
            self.sock.accept()[0].close()
        except BlockingIOError:
            return True
        return False


def head(sock: socket.socket) -> bytes:
    """Receive one request, and nothing of what follows it in a pipeline."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        more = sock.recv(1)
        assert more, f"only {data!r} came"
        data += more
    return data
