"""What tests of downloads share: contents, and processes that are killed while they download."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

from dugong import Retry
from tests.support.servers import ROOT

MEBIBYTE = 1 << 20

#: So that tests do not wait between attempts.
AT_ONCE = Retry(0, backoff=0)


def content(seed: int, size: int) -> bytes:
    return hashlib.shake_128(b"%d" % seed).digest(size)


def files_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


PROGRAM = """
import sys
from dugong import Client
url, target, parts, stop = sys.argv[1:]

def progress(done, total):
    if done >= int(stop):
        print("now", flush=True)
        sys.stdin.read()

with Client() as client:
    done = client.download(url, target, parts=int(parts), progress=progress)
print(done.resumed_from, done.fetched)
"""


def download(url: str, target: Path, parts: int, stop: int) -> subprocess.Popen[str]:
    """Start a process that downloads *url*, and waits when it has *stop* bytes."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, url, target, str(parts), str(stop)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip


def kill_at(url: str, target: Path, parts: int, stop: int) -> None:
    with download(url, target, parts, stop) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        process.send_signal(signal.SIGKILL)


def run_again(url: str, target: Path, parts: int) -> tuple[int, int]:
    """Return how many bytes the killed process had received, and how many this one has."""
    with download(url, target, parts, 1 << 62) as process:
        output, _ = process.communicate(timeout=120)
    resumed_from, fetched = map(int, output.split())
    return resumed_from, fetched
