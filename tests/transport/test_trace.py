"""``DUGONG_TRACEFILE``."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from dugong.transport.activity import Activity
from dugong.transport.stream import Stream
from dugong.transport.trace import Trace, open_trace
from tests.wire import tcp_pair


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
    stream = Stream(near, Activity())
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
