"""``DUGONG_TRACEFILE``."""

from __future__ import annotations

import os
import re
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from dugong import is_temp_network_error
from dugong.transport.monitor import Monitor
from dugong.transport.stream import Stream
from dugong.transport.trace import Trace, open_trace
from tests.support.exchanges import works
from tests.support.styles import StyledWire
from tests.support.wire import tcp_pair
from tests.transport.tools import open_descriptors


def opened(monkeypatch: pytest.MonkeyPatch, template: Path | str) -> Trace | None:
    monkeypatch.setenv("DUGONG_TRACEFILE", str(template))
    return open_trace()


def test_no_file_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert opened(monkeypatch, "") is None
    monkeypatch.delenv("DUGONG_TRACEFILE")
    assert open_trace() is None


def test_shows_both_directions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trace = opened(monkeypatch, tmp_path / "%d")
    assert trace is not None
    pieces = [b"GET / ", b"HTTP/1.1\r\n", b"not sent"]
    trace.sent([memoryview(piece) for piece in pieces], 16)
    trace.received(memoryview(bytearray(b"HTTP/1.1 200\r\n")))
    trace.received(b"")
    trace.close()
    assert (tmp_path / "1").read_bytes() == (
        b"\n--- sent 16 bytes ---\nGET / HTTP/1.1\r\n"
        b"\n--- received 14 bytes ---\nHTTP/1.1 200\r\n"
        b"\n--- received 0 bytes ---\n"
    )


def test_each_connection_has_a_file_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "2.log").write_text("somebody else's")
    for number, name in enumerate(["1.log", "3.log", "4.log"]):
        trace = opened(monkeypatch, tmp_path / "%d.log")
        assert trace is not None
        trace.received(b"%d" % number)
        trace.close()
        assert (tmp_path / name).read_bytes().endswith(b"%d" % number)
    assert (tmp_path / "2.log").read_text() == "somebody else's"
    assert len([*tmp_path.iterdir()]) == 4


def test_one_file_for_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a ``%d``, and other percent signs are just that."""
    path = tmp_path / "100%s"
    path.touch(0o600)
    path.write_text("before")
    for data in (b"one", b"two"):
        trace = opened(monkeypatch, path)
        assert trace is not None
        trace.received(data)
        trace.close()
    assert re.findall(rb"before|one|two", path.read_bytes()) == [b"before", b"one", b"two"]


@pytest.mark.parametrize("name", ["%d", "all"])
def test_only_the_owner_can_read_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """It shows credentials."""
    before = os.umask(0)
    try:
        trace = opened(monkeypatch, tmp_path / name)
    finally:
        os.umask(before)
    assert trace is not None
    trace.close()
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def a_directory(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path, 0o600)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def a_second_name(path: Path) -> None:
    (path.parent / "elsewhere").touch(0o600)
    path.hardlink_to(path.parent / "elsewhere")


def a_link(path: Path) -> None:
    (path.parent / "elsewhere").touch(0o600)
    path.symlink_to("elsewhere")


def a_link_to_nothing(path: Path) -> None:
    path.symlink_to("elsewhere")


def a_link_to_a_device(path: Path) -> None:
    path.symlink_to(os.devnull)


def with_mode(mode: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.touch()
        path.chmod(mode)

    return make


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "readable by all": (with_mode(0o644), "644"),
    "readable by the group": (with_mode(0o640), "640"),
    "writable by others": (with_mode(0o602), "602"),
    "symbolic link": (a_link, "symbolic link"),
    "dangling link": (a_link_to_nothing, "symbolic link"),
    "link to a device": (a_link_to_a_device, "symbolic link"),
    "hard link": (a_second_name, "hard link"),
    "directory": (a_directory, "directory"),
    "pipe": (a_pipe, "No such device"),
    "socket": (a_socket, "No such device"),
}


@pytest.mark.parametrize(("make", "reason"), REFUSED.values(), ids=REFUSED)
def test_file_that_others_may_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    """Nothing is written, waited for, created elsewhere, left open or changed."""
    path = tmp_path / "trace"
    make(path)
    before = path.lstat(), sorted(tmp_path.iterdir()), open_descriptors()
    with pytest.raises(OSError, match=reason) as info:
        opened(monkeypatch, path)
    assert info.value.filename == str(path)
    assert (path.lstat(), sorted(tmp_path.iterdir()), open_descriptors()) == before


def test_pipe_with_a_reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    a_pipe(tmp_path / "trace")
    reader = os.open(tmp_path / "trace", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(PermissionError, match="regular"):
        opened(monkeypatch, tmp_path / "trace")
    os.close(reader)


def test_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stores nothing, whatever its mode."""
    trace = opened(monkeypatch, os.devnull)
    assert trace is not None
    trace.close()


def test_file_of_another_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "trace").touch(0o600)
    monkeypatch.setattr(os, "geteuid", lambda: (tmp_path / "trace").stat().st_uid + 1)
    with pytest.raises(PermissionError, match="another user"):
        opened(monkeypatch, tmp_path / "trace")


@pytest.mark.parametrize("make", [a_link, a_link_to_nothing, a_second_name, a_pipe])
def test_numbers_that_are_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """By whatever: the next one is used, and it is new."""
    make(tmp_path / "1")
    trace = opened(monkeypatch, tmp_path / "%d")
    assert trace is not None
    trace.received(b"secret")
    trace.close()
    assert b"secret" in (tmp_path / "2").read_bytes()
    elsewhere = tmp_path / "elsewhere"
    assert not elsewhere.exists() or elsewhere.read_bytes() == b""


def test_systems_without_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Modes mean something else there."""
    monkeypatch.delattr(os, "geteuid")
    with_mode(0o666)(tmp_path / "trace")
    trace = opened(monkeypatch, tmp_path / "trace")
    assert trace is not None
    trace.close()


async def test_refused_trace_ends_connecting(
    wire: StyledWire, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "trace"
    with_mode(0o644)(path)
    monkeypatch.setenv("DUGONG_TRACEFILE", str(path))
    conn, _ = wire.pair()
    with pytest.raises(PermissionError, match="DUGONG_TRACEFILE") as info:
        await conn.request("GET", "/", {"Authorization": "secret"})
    assert info.value.filename == str(path)
    assert not is_temp_network_error(info.value)
    assert path.read_bytes() == b""


def check_trace(path: Path) -> None:
    assert b"GET /works" in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_traced_exchange(
    wire: StyledWire, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DUGONG_TRACEFILE", str(tmp_path / "%d"))
    conn, peer = wire.pair()
    await works(conn, peer)
    conn.disconnect()
    check_trace(tmp_path / "1")


def test_directory_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        opened(monkeypatch, tmp_path / "none" / "%d")


def test_closing_twice_closes_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trace = opened(monkeypatch, tmp_path / "%d")
    assert trace is not None
    trace.close()
    fd = os.open(tmp_path / "1", os.O_RDONLY)  # gets the number that was just given up
    trace.close()
    os.close(fd)


def test_stream_writes_down_what_passed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    near, far = tcp_pair(small=False)
    near.setblocking(False)
    stream = Stream(near, Monitor())
    stream.trace = opened(monkeypatch, tmp_path / "%d")
    with far:
        assert stream.send([memoryview(b"ab"), memoryview(b"c")]) == 3
        far.sendall(b"defg")
        assert stream.want_read.poll(10)
        assert stream.recv(2) == b"de"
        assert stream.recv_into(memoryview(bytearray(10))) == 2
        stream.close()
    assert (tmp_path / "1").read_bytes().split(b"\n") == [
        b"", b"--- sent 3 bytes ---", b"abc", b"--- received 2 bytes ---", b"de",
        b"--- received 2 bytes ---", b"fg",
    ]  # fmt: skip
