"""What tests of the command are given."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.cli.addresses import many_addresses
from tests.cli.command import Listener
from tests.cli.putting import LARGE
from tests.support.servers import HOST, Documents


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as listener:
        yield listener


@pytest.fixture
def refused() -> Iterator[str]:
    """Host and port of an address where nobody listens, and nobody else can."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        yield f"{HOST}:{sock.getsockname()[1]}"


@pytest.fixture(autouse=True)
def trust(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the command trust the servers, and nobody else."""
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with nothing in it but a document."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old").write_text("before")
    return folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small file to be put somewhere."""
    file = tmp_path / "file.txt"
    file.write_bytes(b"hello")
    return file


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """One that is large enough to be asked for first."""
    file = tmp_path / "large.bin"
    file.write_bytes(LARGE)
    return file


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Have SIGINT mean something, even where the tests run in the background, without it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def port(documents: Documents) -> Iterator[int]:
    """A port at which nginx listens at many addresses, `tests.cli.addresses.HOSTS`."""
    with many_addresses(documents) as port:
        yield port


@pytest.fixture
def url(port: int) -> str:
    """The first of those, without a path."""
    return f"http://{HOST}:{port}"
