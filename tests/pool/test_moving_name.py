"""A name whose address changes: `max_age` bounds how long the old one stays in use."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import ROOT, SYSTEM_PATHS, unavailable


def program(name: str, package: str) -> str:
    path = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), SYSTEM_PATHS)))
    if path is None:
        unavailable(f"{name} is not installed (Debian: {package})")
    return path


def test_max_age(tmp_path: Path) -> None:
    dnsmasq = program("dnsmasq", "dnsmasq-base")
    unshare = [program("unshare", "util-linux"), "--net", "--mount"]
    if os.geteuid() != 0:
        unshare.append("--map-root-user")
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system does not let tests create network namespaces")
    program("ip", "iproute2")
    done = subprocess.run(
        [*unshare, sys.executable, "-m", "tests.support.moving", dnsmasq, tmp_path],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
