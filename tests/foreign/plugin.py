"""A plugin of pytest for foreign suites: puts an adapter in place, and records what failed.

Three variables of the environment control it. ``FOREIGN_ADAPTER`` is the name of the adapter, or
empty. ``FOREIGN_FAILED`` is the path of a file for the failures, as JSON. ``FOREIGN_S3`` is "1" if
the suite needs a server with buckets: moto's, which then runs in each process.
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


def _use_session() -> None:
    """Make clients of botocore use our session by default."""
    import botocore.httpsession

    from dugong.adapters.botocore import DugongSession

    # Before `botocore.endpoint` is imported, which makes the class a default argument.
    botocore.httpsession.URLLib3Session = DugongSession


def _use_sessions() -> None:
    """Make clients of aiobotocore use ours in place of its two sessions.

    That on top of httpx2 keeps its class, and gets our transport.
    """
    _use_transports("httpx2")
    import aiobotocore.httpsession

    from dugong.adapters.botocore import AsyncDugongSession

    aiobotocore.httpsession.AIOHTTPSession = AsyncDugongSession


def _serve_s3() -> None:
    """Start moto's server, and make clients of botocore use it by default."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    os.environ |= {
        "AWS_ENDPOINT_URL": "http://{}:{}".format(*server.get_host_and_port()),
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_CONFIG_FILE": "/nowhere",
        "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
    }


if _adapter == "requests":
    _use_adapter()
elif _adapter == "botocore":
    _use_session()
elif _adapter == "aiobotocore":
    _use_sessions()
elif _adapter:
    _use_transports(_adapter)

if os.environ["FOREIGN_S3"]:
    _serve_s3()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        _failed[report.nodeid] = str(report.longrepr)[-2000:]


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):  # the process that gets all reports
        Path(os.environ["FOREIGN_FAILED"]).write_text(json.dumps(_failed))
