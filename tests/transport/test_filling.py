"""Receiving goes on as long as much comes in: in pieces, until the view is as good as full."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from dugong import POLLIN, ConnectionClosed, ConnectionTimedOut, PollNeeded
from dugong.transport.monitor import Monitor
from dugong.transport.stream import PIECE_SIZE, Stream
from tests.support.wire import tcp_pair

PIECE = PIECE_SIZE


class Scripted(socket.socket):
    """Gives what the test says, one after another: so many bytes, or an error."""

    script: list[int | OSError]

    def recv_into(self, buffer: memoryview, nbytes: int = 0, flags: int = 0) -> int:  # type: ignore[override]
        got = self.script.pop(0)
        if isinstance(got, OSError):
            raise got
        assert got <= len(buffer)
        buffer[:got] = bytes([len(self.script) + 1]) * got
        return got


@pytest.fixture
def stream() -> Iterator[Stream]:
    near, far = tcp_pair(small=False)
    sock = Scripted(fileno=near.detach())
    stream = Stream(sock, Monitor())
    yield stream
    stream.close()
    far.close()


@pytest.mark.parametrize(
    ("size", "script", "count", "unused"),
    [
        (4 * PIECE, [PIECE, PIECE, PIECE, PIECE], 4 * PIECE, 0),
        (4 * PIECE, [PIECE, 2 * PIECE, 1, PIECE], 3 * PIECE + 1, 1),
        (5 * PIECE, [PIECE, 1, PIECE], PIECE + 1, 1),
        (4 * PIECE, [PIECE - 1, PIECE], PIECE - 1, 1),  # not much: probably all that there is
        (4 * PIECE, [3 * PIECE + 1, 1], 3 * PIECE + 1, 1),  # no room for much more
        (2 * PIECE, [PIECE, BlockingIOError()], PIECE, 0),
        (2 * PIECE, [PIECE, 0], PIECE, 0),
        (PIECE, [PIECE, 1], PIECE, 1),
        (10, [10, 1], 10, 1),
    ],
    ids=str,
)
def test_filling(
    stream: Stream, size: int, script: list[int | OSError], count: int, unused: int
) -> None:
    assert isinstance(stream.sock, Scripted)
    stream.sock.script = list(script)
    expected = b""
    for left, got in enumerate(script[: len(script) - unused]):
        if isinstance(got, int):
            expected += bytes([len(script) - left]) * got
    buffer = bytearray(b"\xee" * size)
    with memoryview(buffer) as view:
        assert stream.recv_into(view) == count
    assert buffer == expected.ljust(size, b"\xee")
    assert stream.monitor.bytes_received == count
    assert len(stream.sock.script) == unused
    buffer.clear()  # nothing is left exported


@pytest.mark.parametrize("exc", [ConnectionResetError(), TimeoutError()], ids=repr)
def test_failure_after_some_pieces_is_kept_for_the_next_call(stream: Stream, exc: OSError) -> None:
    """The system tells it only once, and the pieces are not lost."""
    assert isinstance(stream.sock, Scripted)
    stream.sock.script = [PIECE, exc]
    buffer = bytearray(2 * PIECE)
    with memoryview(buffer) as view:
        assert stream.recv_into(view) == PIECE
    buffer.clear()  # nothing is left exported
    expected = ConnectionTimedOut if isinstance(exc, TimeoutError) else ConnectionClosed
    for _ in range(2):
        with pytest.raises(expected) as caught:
            stream.recv_into(memoryview(bytearray(10)))
        assert caught.value.__cause__ is exc


def test_nothing_there_is_no_failure(stream: Stream) -> None:
    assert isinstance(stream.sock, Scripted)
    stream.sock.script = [PIECE, BlockingIOError(), BlockingIOError(), 5]
    view = memoryview(bytearray(2 * PIECE))
    assert stream.recv_into(view) == PIECE
    assert stream.recv_into(view) == PollNeeded(stream.sock.fileno(), POLLIN)
    assert stream.recv_into(view) == 5
