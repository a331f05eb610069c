"""The command wget."""

from __future__ import annotations

import subprocess
from shutil import which

from bench.clients import Command

PATH = which("wget")
if PATH is None:
    raise ImportError("wget is not on PATH")
WGET = [PATH, "--no-config", "--no-proxy", "--quiet", "--input-file=-"]


def version() -> str:
    """Return the version of the command."""
    done = subprocess.run([WGET[0], "--version"], capture_output=True, text=True, check=True)
    return done.stdout.split()[2]


def download(urls: list[str], connections: int) -> Command:
    assert connections == 1
    return Command(WGET, "\n".join(urls))
