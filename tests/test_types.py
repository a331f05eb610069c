"""The program that type checkers accept, run. ``make check`` runs the type checkers."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import ROOT


def test_idioms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    server = importlib.import_module("practice_server").start()
    try:
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", "-m", "tests.typed.idioms",
             str(server.server_port)],
            capture_output=True, check=False, text=True, timeout=100, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"},
        )  # fmt: skip
    finally:
        server.shutdown()
        server.server_close()
    assert (done.returncode, done.stderr) == (0, "")
