"""A plugin of pytest for foreign suites: puts an adapter in place, and records what failed.

Two variables of the environment control it. ``FOREIGN_ADAPTER`` is the name of the adapter, empty
for none. ``FOREIGN_FAILED`` is the path of a file for the failures, as JSON.
"""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path

import pytest

_failed: dict[str, str] = {}
_adapter = os.environ["FOREIGN_ADAPTER"]


def _use_transports(name: str) -> None:
    """Make the clients of httpx or httpx2 use our transports by default."""
    adapter = importlib.import_module(f"dugong.adapters.{name}")
    for module in (name, f"{name}._client"):
        found = importlib.import_module(module)
        found.HTTPTransport = adapter.DugongTransport  # type: ignore[attr-defined]
        found.AsyncHTTPTransport = adapter.AsyncDugongTransport  # type: ignore[attr-defined]


def _use_adapter() -> None:
    """Make requests use our adapter by default."""
    import requests

    from dugong.adapters.requests import DugongAdapter

    for module in (requests.adapters, requests.sessions):
        module.HTTPAdapter = DugongAdapter  # type: ignore[attr-defined]


if _adapter == "requests":
    _use_adapter()
elif _adapter:
    _use_transports(_adapter)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        _failed[report.nodeid] = str(report.longrepr)[-2000:]


def pytest_sessionfinish() -> None:
    Path(os.environ["FOREIGN_FAILED"]).write_text(json.dumps(_failed))
