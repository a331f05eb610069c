"""The command aria2c."""

from __future__ import annotations

import subprocess
from shutil import which

from bench.clients import Command

PATH = which("aria2c")
if PATH is None:
    raise ImportError("aria2c is not on PATH")
ARIA2 = [PATH, "--no-conf", "--quiet", "--input-file=-", "--file-allocation=none"]


def version() -> str:
    """Return the version of the command."""
    done = subprocess.run([ARIA2[0], "--version"], capture_output=True, text=True, check=True)
    return done.stdout.split()[2]


def download(urls: list[str], connections: int) -> Command:
    count = str(connections)
    options = ["--split", count, "--max-connection-per-server", count]
    return Command(
        [*ARIA2, *options, "--max-concurrent-downloads", count, "--min-split-size=1M"],
        "\n".join(urls),
    )
