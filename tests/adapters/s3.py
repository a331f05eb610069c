"""moto's S3, for tests of several libraries."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.servers import HOST

MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the configuration of the user who runs the tests."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """The server's URL."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(HOST, port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()
