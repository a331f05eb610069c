"""The process in which one client does one piece of work, once.

``python -m bench.child JSON`` prints what it took, as JSON; ``--probe MODULE`` prints whether the
client is there, and its version.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import re
import resource
import sys
from pathlib import Path
from typing import Any


def peak() -> int:
    """Return the largest resident set this process has had, in bytes.

    Not `resource.getrusage`: its figure survives exec, and so begins with the parent's.
    """
    found = re.search(
        r"^VmHWM:\s+([0-9]+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE
    )
    assert found
    return int(found[1]) * 1024


def measure(spec: dict[str, Any]) -> dict[str, float]:
    """Do the work and return what it took."""
    from bench.clients import Target
    from bench.work import WORK, Job

    if spec["cpu"] is not None:
        os.sched_setaffinity(0, {spec["cpu"]})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    module = importlib.import_module(f"bench.clients.{spec['module']}")
    job = Job(Target(**spec["target"]), **spec["job"])
    WORK[spec["work"]](module, job)
    return {"wall": job.clock.wall, "cpu": job.clock.cpu, "memory": job.memory or peak()}


def probe(module: str, distribution: str) -> dict[str, str]:
    """Import the client, and return its description."""
    import ssl
    from importlib.metadata import version

    client = importlib.import_module(f"bench.clients.{module}")
    found = {"python": platform.python_version(), "openssl": ssl.OPENSSL_VERSION}
    if hasattr(client, "version"):
        found["version"] = client.version()
    elif distribution:
        found["version"] = version(distribution)
    return found


if __name__ == "__main__":
    if sys.argv[1] == "--probe":
        found: dict[str, Any] = dict(probe(*sys.argv[2:]))
    else:
        found = measure(json.loads(sys.argv[1]))
    print(json.dumps(found), flush=True)
    # A client's own threads may not survive the end of the interpreter: pyreqwest's do not.
    os._exit(0)
