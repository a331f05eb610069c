"""Files as bodies: which are sent without being read, where the position ends, and the traps."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import socket
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dugong import BodyChanged
from tests.support.drive import drive
from tests.support.exchanges import OK, works
from tests.support.styles import StyledWire
from tests.support.uploads import DATA, MIB, WAYS, complete
from tests.support.wire import Wire

TEXT = b"".join(b"%03d\n" % i for i in range(500))

Open = Callable[[Path], Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(TEXT)
    return path


@pytest.fixture
def sendfile_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int | None, int]]:
    """The descriptor, offset and size of every `os.sendfile`, which goes on to do its work."""
    calls = []

    def sendfile(out: int, in_: int, offset: int | None, count: int) -> int:
        calls.append((in_, offset, count))
        return real(out, in_, offset, count)

    real = os.sendfile
    monkeypatch.setattr(os, "sendfile", sendfile)
    return calls


# ------------------------------------------------------------------------------ plain files


def unbuffered(path: Path) -> Any:
    return path.open("rb", buffering=0)


def buffered(path: Path) -> Any:
    return path.open("rb")


def for_update(path: Path) -> Any:
    return path.open("r+b")


PLAIN: list[Open] = [unbuffered, buffered, for_update]


@pytest.mark.parametrize("open_", PLAIN)
@pytest.mark.parametrize("start", [0, 7, len(TEXT) - 1])
def test_plain_file(
    wire: Wire, ask: Any, path: Path, open_: Open, start: int, sendfile_calls: list[Any]
) -> None:
    """From where it stands, by the system's own means if there is no TLS in between."""
    with open_(path) as file:
        file.read(start)
        for _ in range(2):
            conn, peer = wire.pair()
            peer.expect_request(body=TEXT[start:])
            peer.reply(OK)
            drive(ask(conn, "PUT", body=file), peer)
            assert peer.requests[0].get("Content-Length") == str(len(TEXT) - start)
            assert file.tell() == len(TEXT)
            assert file.read() == b""
            works(conn, peer)
            file.seek(start)
        assert {fd for fd, _, _ in sendfile_calls} == (set() if wire.tls else {file.fileno()})
        assert all(offset is not None for _, offset, _ in sendfile_calls)


@pytest.mark.parametrize("open_", PLAIN)
@pytest.mark.parametrize("start", [len(TEXT), len(TEXT) + 1000])
def test_at_its_end(plain: Wire, ask: Any, path: Path, open_: Open, start: int) -> None:
    with open_(path) as file:
        file.seek(start)
        conn, peer = plain.pair()
        peer.expect_request(body=b"")
        peer.reply(OK)
        drive(ask(conn, "PUT", body=file), peer)
        assert peer.requests[0].get("Content-Length") == "0"
        assert file.tell() == start
        works(conn, peer)


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("text", [b"sea", b"sea cow" * 1000])
def test_what_was_written_and_not_flushed(
    wire: Wire, ask: Any, path: Path, text: bytes, back: bool
) -> None:
    """The body is what `read` would have given."""
    with path.open("r+b") as file:
        file.read(1)
        file.seek(0)
        file.write(text)
        if back:
            file.seek(0)
        expected = (text + TEXT[len(text) :])[file.tell() :]
        conn, peer = wire.pair()
        peer.expect_request(body=expected)
        peer.reply(OK)
        drive(ask(conn, "PUT", body=file), peer)
        assert file.tell() == max(len(TEXT), len(text))
        works(conn, peer)


@pytest.mark.parametrize("open_", PLAIN)
def test_content_length_of_the_callers(
    plain: Wire, ask: Any, path: Path, open_: Open, sendfile_calls: list[Any]
) -> None:
    """So much is read of it, and no more."""
    conn, peer = plain.pair()
    with open_(path) as file:
        for length in (10, 0, len(TEXT) - 10):
            start = file.tell()
            peer.expect_request(body=TEXT[start : start + length])
            peer.reply(OK)
            drive(ask(conn, "PUT", headers={"Content-Length": length}, body=file), peer)
            assert file.tell() == start + length
        works(conn, peer)
        for ask_again in WAYS.values():
            conn, peer = plain.pair()
            with pytest.raises(BodyChanged, match="1 bytes short"):
                drive(ask_again(conn, "PUT", headers={"Content-Length": 1}, body=file), peer)
            assert not complete(peer)
    assert sendfile_calls == []


@pytest.mark.parametrize("open_", PLAIN)
async def test_more_than_the_buffers_hold(wire: StyledWire, tmp_path: Path, open_: Open) -> None:
    path = tmp_path / "large"
    path.write_bytes(DATA)
    with open_(path) as file:
        file.seek(1000)
        for ask in WAYS.values():
            conn, peer = wire.pair(small=True)
            peer.expect_request(body=DATA[1000:])
            peer.reply(OK)
            await ask(conn, "PUT", body=file, expect100=False)
            assert file.tell() == len(DATA)
            await works(conn, peer)
            file.seek(1000)


# ------------------------------------------------------------------------------- the traps


def zip_member(path: Path) -> Any:
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
        archive.writestr("member", TEXT, zipfile.ZIP_DEFLATED)
    return zipfile.ZipFile(path.with_suffix(".zip")).open("member")


def compressed(module: Any, path: Path) -> Any:
    packed = path.with_suffix(".packed")
    with module.open(packed, "wb") as file:
        file.write(TEXT)
    return module.open(packed, "rb")


def spooled(size: int) -> Any:
    file = tempfile.SpooledTemporaryFile(max_size=size)  # noqa: SIM115 - for the test to close
    file.write(TEXT)
    file.seek(0)
    return file


def temporary(make: Callable[[], Any]) -> Any:
    file = make()
    file.write(TEXT)
    file.seek(0)
    return file


class Shouting(io.BytesIO):
    """Gives something else than it holds."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(size).upper()


class Doubling(io.FileIO):
    """The same for a file that has a descriptor."""

    def read(self, size: int | None = -1) -> bytes:
        block = super().read(size)
        return b"" if block is None else block.swapcase()


class Subclass(io.BufferedReader):
    def read(self, size: int | None = -1) -> bytes:
        return super().read(size).swapcase()


class OnlyRead:
    """A file that can do nothing but read."""

    def __init__(self, data: bytes, step: int = 1 << 30) -> None:
        self.sizes: list[int] = []
        self._file = io.BytesIO(data)
        self._step = step

    def read(self, size: int = -1) -> bytes:
        self.sizes.append(size)
        return self._file.read(min(size, self._step))


def piped(path: Path) -> Any:
    near, far = os.pipe()
    os.write(far, TEXT)
    os.close(far)
    return os.fdopen(near, "rb")


def over_a_socket(path: Path) -> Any:
    near, far = socket.socketpair()
    with near, far:
        far.sendall(TEXT)
        return near.makefile("rb")


READ: dict[str, tuple[Open, bool]] = {  # how to open it, and whether its length is known
    "gzip": (lambda path: compressed(gzip, path), False),
    "bz2": (lambda path: compressed(bz2, path), False),
    "lzma": (lambda path: compressed(lzma, path), False),
    "zip member": (zip_member, False),
    "buffered gzip": (lambda path: io.BufferedReader(compressed(gzip, path)), False),
    "spooled in memory": (lambda path: spooled(1 << 20), True),
    "spooled on disk": (lambda path: spooled(10), True),
    "named": (lambda path: temporary(tempfile.NamedTemporaryFile), True),
    "unnamed": (lambda path: temporary(tempfile.TemporaryFile), True),
    "BytesIO": (lambda path: io.BytesIO(TEXT), True),
    "subclass of BytesIO": (lambda path: Shouting(TEXT), True),
    "buffered BytesIO": (lambda path: io.BufferedReader(io.BytesIO(TEXT)), True),
    "subclass of FileIO": (lambda path: Doubling(str(path)), True),
    "subclass of BufferedReader": (lambda path: Subclass(path.open("rb", buffering=0)), True),
    "only read": (lambda path: OnlyRead(TEXT), False),
    "short blocks": (lambda path: OnlyRead(TEXT, 7), False),
    "pipe": (piped, False),
    "socket": (over_a_socket, False),
}


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize("kind", READ)
def test_file_that_is_read(
    plain: Wire, ask: Any, path: Path, kind: str, sendfile_calls: list[Any]
) -> None:
    open_, known = READ[kind]
    file = open_(path)
    conn, peer = plain.pair()
    peer.expect_request(body=TEXT)
    peer.reply(OK)
    drive(ask(conn, "PUT", body=file, expect100=False), peer)
    received = peer.requests[0]
    assert received.get("Content-Length") == (str(len(TEXT)) if known else None)
    assert received.get("Transfer-Encoding") == (None if known else "chunked")
    if kind != "unnamed":  # which is a plain file on some systems
        assert sendfile_calls == []
    if hasattr(file, "tell") and file.seekable():
        assert file.tell() == len(TEXT)
    assert not file.read(10)
    works(conn, peer)
    if hasattr(file, "close"):
        file.close()


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("start", [0, 100])
def test_file_that_is_read_with_a_length(
    plain: Wire, ask: Any, path: Path, kind: str, start: int
) -> None:
    """Which is that from the position on."""
    file = READ[kind][0](path)
    file.read(start)
    expected = TEXT[start:] if kind != "short blocks" else TEXT[min(start, 7) :]
    conn, peer = plain.pair()
    peer.expect_request(body=expected)
    peer.reply(OK)
    headers = {"Content-Length": len(expected)}
    drive(ask(conn, "PUT", headers=headers, body=file, expect100=False), peer)
    assert peer.requests[0].get("Transfer-Encoding") is None
    works(conn, peer)
    if hasattr(file, "close"):
        file.close()


def test_blocks_are_of_one_mib_at_most(plain: Wire, ask: Any) -> None:
    file = OnlyRead(bytes(5 * MIB // 2))
    conn, peer = plain.pair()
    peer.expect_head()
    peer.expect(b"".join(b"%x\r\n%b\r\n" % (n, bytes(n)) for n in (MIB, MIB, MIB // 2)))
    peer.expect(b"0\r\n\r\n")
    peer.reply(OK)
    drive(ask(conn, "PUT", body=file, expect100=False), peer)
    assert all(0 < size <= MIB for size in file.sizes)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no /dev/zero")
@pytest.mark.parametrize("buffering", [0, -1])
def test_character_device(plain: Wire, ask: Any, buffering: int) -> None:
    """It can seek, and has no size. Whether there is more than announced is not found out."""
    conn, peer = plain.pair()
    peer.expect_request(body=bytes(5000))
    peer.reply(OK)
    with Path("/dev/zero").open("rb", buffering=buffering) as file:
        drive(ask(conn, "PUT", headers={"Content-Length": 5000}, body=file), peer)
    works(conn, peer)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")
def test_a_regular_file_of_no_size(plain: Wire, ask: Any) -> None:
    """What the system makes up while it is read, it says to have 0 bytes."""
    conn, peer = plain.pair()
    with Path("/proc/self/limits").open("rb") as file:
        expected = file.read()
        file.seek(0)
        peer.expect_request(body=expected)
        peer.reply(OK)
        drive(ask(conn, "PUT", body=file, expect100=False), peer)
    works(conn, peer)
