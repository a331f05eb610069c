"""Fixtures of the whole suite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.wire import Certificates, Wire

#: The real servers, started by the first test that asks for one.
pytest_plugins = ["tests.servers"]


@pytest.fixture(scope="session")
def certificates() -> Certificates:
    """A certificate authority, and contexts for both ends."""
    return Certificates.make()


@pytest.fixture(params=["plain", "tls"])
def wire(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[Wire]:
    """Connections to scripted peers; the test runs once over TCP and once over TLS."""
    wire = Wire(certificates, tls=request.param == "tls")
    yield wire
    wire.close()


@pytest.fixture
def plain(certificates: Certificates) -> Iterator[Wire]:
    """The same over TCP alone, for what has nothing to do with TLS."""
    wire = Wire(certificates, tls=False)
    yield wire
    wire.close()


@pytest.fixture
def tls(certificates: Certificates) -> Iterator[Wire]:
    """The same over TLS alone."""
    wire = Wire(certificates, tls=True)
    yield wire
    wire.close()
