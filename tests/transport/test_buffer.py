"""The receive buffer against plain bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dugong.protocol.buffer import ReceiveBuffer
from dugong.protocol.limits import BUFFER_SIZE, FIRST_BUFFER_SIZE


def receive(buffer: ReceiveBuffer, data: bytes) -> None:
    """Put *data* in, as much at a time as there is room for."""
    while data:
        room = buffer.room()
        count = min(len(room), len(data))
        assert count > 0
        room[:count] = data[:count]
        buffer.received(count)
        data = data[count:]


def content(buffer: ReceiveBuffer) -> bytes:
    return bytes(buffer.data[buffer.start : buffer.end])


def pattern(count: int) -> bytes:
    """Bytes of which no two neighbourhoods look alike."""
    return b"".join(b"%07d," % i for i in range(count // 8 + 1))[:count]


def test_new() -> None:
    buffer = ReceiveBuffer()
    assert (len(buffer), bool(buffer), len(buffer.room())) == (0, False, FIRST_BUFFER_SIZE)


def test_room_is_behind_what_is_there() -> None:
    buffer = ReceiveBuffer()
    receive(buffer, b"abc")
    room = buffer.room()
    room[:2] = b"de"
    assert content(buffer) == b"abc", "not told yet that it was received"
    buffer.received(2)
    assert content(buffer) == b"abcde"


def test_grows_when_full() -> None:
    buffer = ReceiveBuffer()
    data = pattern(5 * BUFFER_SIZE)
    receive(buffer, data)
    assert content(buffer) == data
    assert len(buffer.data) == 8 * BUFFER_SIZE
    assert buffer.take(len(data)) == data


def test_grows_while_it_is_filled_by_what_comes() -> None:
    """Up to a size that saves calls of the system; no further for what is consumed at once."""
    buffer = ReceiveBuffer()
    sizes = []
    for _ in range(8):
        room = buffer.room()
        buffer.received(len(room))
        buffer.consume(len(buffer))
        sizes.append(len(room))
    assert sizes == [FIRST_BUFFER_SIZE << i for i in range(6)] + 2 * [4 * BUFFER_SIZE]


def test_moves_to_the_front_instead_of_growing() -> None:
    buffer = ReceiveBuffer()
    data = pattern(4 * BUFFER_SIZE)
    receive(buffer, data)
    buffer.consume(1000)
    assert len(buffer.room()) == 1000
    assert content(buffer) == data[1000:]
    receive(buffer, b"x" * 1000)
    assert content(buffer) == data[1000:] + b"x" * 1000
    assert len(buffer.data) == 4 * BUFFER_SIZE


def test_empty_buffer_starts_at_the_front_again() -> None:
    buffer = ReceiveBuffer()
    for _ in range(3):
        receive(buffer, bytes(100))
        buffer.consume(100)
        assert len(buffer.room()) == FIRST_BUFFER_SIZE
    assert len(buffer.data) == FIRST_BUFFER_SIZE


def test_view_handed_out_before_growing_can_be_kept() -> None:
    buffer = ReceiveBuffer()
    kept = buffer.room()
    receive(buffer, pattern(BUFFER_SIZE + 1))
    assert bytes(kept[:8]) == pattern(8)


def test_moving_keeps_track_of_what_was_searched() -> None:
    """Neither bytes that were not searched nor a line that was found get lost by a move."""
    buffer = ReceiveBuffer()
    receive(buffer, b"x" * (BUFFER_SIZE - 4) + b"abcd")
    buffer.consume(BUFFER_SIZE - 4)
    assert buffer.find_line(100) == -1
    assert buffer.scanned == buffer.end
    buffer.room()
    assert (buffer.start, buffer.scanned) == (0, 4)
    receive(buffer, b"e\n")
    assert buffer.find_line(100) == 6


@pytest.mark.parametrize(
    ("data", "limit", "length"),
    [
        (b"", 10, -1),
        (b"ab", 10, -1),
        (b"ab\r\ncd\n", 10, 4),
        (b"ab\ncd\n", 10, 3),
        (b"\n", 10, 1),
        (b"abc\n", 4, 4),
        (b"abc\n", 3, -1),
        (b"abc\n", 2, -1),
    ],
)
def test_find_line(data: bytes, limit: int, length: int) -> None:
    buffer = ReceiveBuffer()
    receive(buffer, b"..\n" + data)
    buffer.consume(3)
    assert buffer.find_line(limit) == length


def test_line_that_was_found_is_found_again() -> None:
    """Whoever met an error in it before consuming it meets the same line the next time."""
    buffer = ReceiveBuffer()
    receive(buffer, b"ab\r\ncd\r\n")
    assert [buffer.find_line(10), buffer.find_line(10)] == [4, 4]
    buffer.consume(4)
    assert [buffer.find_line(10), buffer.find_line(10)] == [4, 4]


def test_limit_may_differ_from_line_to_line() -> None:
    buffer = ReceiveBuffer()
    receive(buffer, b"\r\n1234\r\n")
    assert buffer.find_line(2) == 2
    buffer.consume(2)
    assert buffer.find_line(100) == 6


def test_limit_counts_from_the_beginning_of_the_line() -> None:
    buffer = ReceiveBuffer()
    receive(buffer, b"abc")
    assert buffer.find_line(4) == -1
    receive(buffer, b"d\n")
    assert buffer.find_line(4) == -1
    assert buffer.find_line(5) == 5


def test_what_is_behind_the_end_is_not_searched() -> None:
    buffer = ReceiveBuffer()
    receive(buffer, b"ab\n")
    buffer.consume(3)
    receive(buffer, b"x")
    assert buffer.find_line(100) == -1


@given(line=st.text("ab", max_size=30), pieces=st.lists(st.integers(1, 5)))
def test_line_that_comes_in_pieces(line: str, pieces: list[int]) -> None:
    data = line.encode() + b"\n"
    buffer, sent = ReceiveBuffer(), 0
    for size in [*pieces, len(data)]:
        if sent < len(data):
            assert buffer.find_line(100) == -1
            receive(buffer, data[sent : sent + size])
            sent += size
    assert buffer.find_line(100) == len(data)


class Model(RuleBasedStateMachine):
    """Any order of receiving, taking and consuming, beside plain bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = ReceiveBuffer()
        self.bytes = b""
        self.made = 0

    @rule(count=st.integers(0, 3) | st.integers(1, BUFFER_SIZE))
    def receive(self, count: int) -> None:
        data = pattern(self.made + count)[self.made :]
        self.made = (self.made + count) % 10_000
        receive(self.buffer, data)
        self.bytes += data

    @rule(part=st.floats(0, 1))
    def consume(self, part: float) -> None:
        count = int(part * len(self.bytes))
        self.buffer.consume(count)
        self.bytes = self.bytes[count:]

    @rule(count=st.integers(0, 2 * BUFFER_SIZE))
    def take(self, count: int) -> None:
        assert self.buffer.take(count) == self.bytes[:count]
        self.bytes = self.bytes[count:]

    @rule()
    def room(self) -> None:
        assert len(self.buffer.room()) > 0

    @invariant()
    def same(self) -> None:
        assert len(self.buffer) == len(self.bytes)
        assert bool(self.buffer) is bool(self.bytes)
        assert bool(self.buffer.end) is bool(self.bytes)
        assert content(self.buffer) == self.bytes
        assert self.buffer.start <= self.buffer.scanned <= self.buffer.end


Model.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
TestModel = Model.TestCase
