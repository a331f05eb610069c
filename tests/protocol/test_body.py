"""The decoders of bodies, driven directly: RFC 9112 sections 6 and 7.1."""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dugong import InvalidResponse
from dugong.protocol.body import Chunked, Decoder, Length, UntilClose
from tests.support.in_turn import in_turn
from tests.support.ways import in_every_way, ways

ENDED = "ended"


class Reader:
    """Gives a decoder what it announces, as far as that has arrived, and keeps the payload."""

    def __init__(self, body: Decoder) -> None:
        self.body = body
        self.payload = b""
        self.rest = b""

    @property
    def ended(self) -> bool:
        return not self.body.payload and not self.body.line_limit

    def receive(self, piece: bytes) -> None:
        self.rest += piece
        while self.rest and not self.ended:
            if self.body.payload:
                data = self.rest[: self.body.payload]
                self.payload += data
                self.body.took(len(data))
            else:
                data = self.rest[: self.body.line_limit]
                if b"\n" in data:
                    data = data[: data.index(b"\n") + 1]
                elif len(data) < self.body.line_limit:
                    return
                self.body.line(data)
            self.rest = self.rest[len(data) :]


def read(pieces: list[bytes]) -> tuple[bytes, list[tuple[str, str]]]:
    """What comes of a chunked body: its payload and its trailers."""
    reader = Reader(Chunked())
    for piece in pieces:
        assert not reader.ended
        reader.receive(piece)
    assert reader.ended
    return reader.payload, reader.body.trailers.items()


# --------------------------------------------------------------------- Length, UntilClose


def test_length() -> None:
    body = Length(5)
    assert (body.payload, body.line_limit, body.ended_by_close) == (5, 0, False)
    body.took(3)
    assert body.payload == 2
    body.took(2)
    assert (body.payload, body.line_limit) == (0, 0)
    assert len(body.trailers) == 0


def test_length_leaves_what_follows() -> None:
    reader = Reader(Length(5))
    reader.receive(b"ab")
    assert not reader.ended
    reader.receive(b"cde\r\nHTTP/1.1 200 OK")
    assert (reader.ended, reader.payload, reader.rest) == (True, b"abcde", b"\r\nHTTP/1.1 200 OK")


def test_until_close() -> None:
    body = UntilClose()
    reader = Reader(body)
    for piece in (b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"):
        reader.receive(piece)
    assert (body.payload, body.line_limit, body.ended_by_close) == (sys.maxsize, 0, True)
    body.close()
    assert reader.ended
    assert reader.payload == b"0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"


@pytest.mark.parametrize("body", [Length(5), UntilClose()], ids=["length", "until close"])
def test_bodies_without_lines(body: Length | UntilClose) -> None:
    with pytest.raises(AssertionError):
        body.line(b"\r\n")


# -------------------------------------------------------------------------------- Chunked

GOOD: dict[str, tuple[bytes, bytes, list[tuple[str, str]]]] = {
    "empty": (b"0\r\n\r\n", b"", []),
    "one chunk": (b"3\r\nabc\r\n0\r\n\r\n", b"abc", []),
    "hex digits": (
        b"a\r\n" + b"x" * 10 + b"\r\nB\r\n" + b"y" * 11 + b"\r\n0\r\n\r\n",
        b"x" * 10 + b"y" * 11,
        [],
    ),
    "leading zeros": (b"00003\r\nabc\r\n000\r\n\r\n", b"abc", []),
    "payload like framing": (b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\n", []),
    "name": (b"3;a\r\nabc\r\n0;b\r\n\r\n", b"abc", []),
    "values": (b"3;a=b;c=\"d;\\\"e\"\r\nabc\r\n0\r\n\r\n", b"abc", []),
    "bad white space": (b"3 \t; a = b ;c\r\nabc\r\n0\r\n\r\n", b"abc", []),
    "trailers": (
        b"1\r\na\r\n0\r\nA: b\r\na:\tc \r\nContent-Length: 9\r\n\r\n",
        b"a",
        [("A", "b"), ("a", "c"), ("Content-Length", "9")],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("wire", "payload", "trailers"), GOOD.values(), ids=GOOD)
def test_chunked(wire: bytes, payload: bytes, trailers: list[tuple[str, str]]) -> None:
    assert in_every_way(wire, read) == (payload, trailers)


def test_what_is_announced() -> None:
    """Payload or a line, never both: whoever reads need not know in which order to ask."""
    body = Chunked()
    seen = []
    for line in (b"2\r\n", b"\r\n", b"1;a\r\n", b"\r\n", b"0\r\n", b"A: b\r\n", b"\r\n"):
        seen.append((body.payload, bool(body.line_limit)))
        body.line(line)
        seen.append((body.payload, bool(body.line_limit)))
        if body.payload:
            body.took(body.payload)
    any_line, two, one, end = (0, True), (2, False), (1, False), (0, False)
    assert seen == [any_line, two, *[any_line] * 3, one, *[any_line] * 7, end]


def test_chunked_leaves_what_follows() -> None:
    reader = Reader(Chunked())
    reader.receive(b"1\r\na\r\n0\r\n\r\n\r\n0\r\nHTTP/1.1 200 OK")
    assert (reader.ended, reader.rest) == (True, b"\r\n0\r\nHTTP/1.1 200 OK")


NUMBERS = [
    b"", b"+5", b"-5", b" 5", b"5 ", b"\t5", b"0x5", b"0X5", b"1_0", b"5h", b"x", b"5.0", b"\xb2",
    "\u0665".encode(), "\uff15".encode(), b"f" * 30, b"0" * 30, b"5\x00", b"5\x0b", b"5,",
]  # fmt: skip

EXTENSIONS = [
    b";", b";=b", b";a=", b";a=b c", b";a b", b";a;", b';a="b', b';a="b"c', b';a="\x00"',
    b";a=\x7f", b";\xe9", b";a=b\rc", b';a="\\\x00"', b" a", b";a\x0c=b",
]  # fmt: skip

BAD = [
    *[number + b"\r\n" for number in NUMBERS],
    *[b"5" + extension + b"\r\n" for extension in EXTENSIONS],
    b"5\n", b"5;a\n", b'5;a="\n', b"0\n\n", b"\n", b"\r\n",
    b"3\r\nabc0\r\n\r\n", b"3\r\nabc\n0\r\n\r\n", b"3\r\nabc\r0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n",
    b"3\r\nabc\r\n\r\n",
    b"0\r\n\n", b"0\r\nA: b\n\r\n", b"0\r\nA: b\r\n\n", b"0\r\nA : b\r\n\r\n",
    b"0\r\n: b\r\n\r\n", b"0\r\nA: b\r\n c\r\n\r\n", b"0\r\n A: b\r\n\r\n",
    b"0\r\nA: \x00\r\n\r\n", b"0\r\nA: b\rc\r\n\r\n",
    b"0\r\nHTTP/1.1 200 OK\r\n\r\n", b"0\r\nA\r\n\r\n",
]  # fmt: skip


@in_turn("wire", BAD)
def test_bad_chunks(wire: bytes) -> None:
    for pieces in ways(wire):
        reader = Reader(Chunked())
        with pytest.raises(InvalidResponse):
            for piece in pieces:
                reader.receive(piece)


@in_turn("wire", BAD)
def test_bad_line_stays_bad(wire: bytes) -> None:
    """Who ignored the error is told again, and nobody ever takes the body for ended."""
    reader = Reader(Chunked())
    for piece in (wire, b"", b""):
        with pytest.raises(InvalidResponse):
            reader.receive(piece)
        assert not reader.ended
        assert len(reader.body.trailers) == 0


@pytest.mark.parametrize("start", [b"", b"1\r\na\r\n"])
def test_lines_are_bounded(start: bytes) -> None:
    """However little of a line is right, there is an end to waiting for the rest of it."""
    for endless in (b"5;a=" + b"b" * 100_000, b"0\r\nA: " + b"b" * 100_000, b"5;" + b" " * 100_000):
        reader = Reader(Chunked())
        with pytest.raises(InvalidResponse):
            reader.receive(start + endless)


def test_end_of_a_chunk_is_waited_for_byte_by_byte() -> None:
    """And the line between chunks is two bytes long: more of a wrong one is not waited for."""
    reader = Reader(Chunked())
    reader.receive(b"1\r\na")
    assert (reader.body.payload, reader.body.line_limit) == (0, 2)
    reader.receive(b"\r")
    assert reader.rest == b"\r"
    with pytest.raises(InvalidResponse):
        reader.receive(b"x")


def test_trailers_are_there_only_at_the_end() -> None:
    reader = Reader(Chunked())
    reader.receive(b"0\r\nA: b\r\n")
    assert len(reader.body.trailers) == 0
    assert not reader.ended
    reader.receive(b"\r\n")
    assert reader.body.trailers["a"] == "b"


EXTENSION = st.sampled_from([b"", b";a", b" ; a=b", b';x="\\";y"', b";a;b=c"])


@st.composite
def chunked(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A payload, and the same in chunks of any size, written in any of the ways allowed."""
    chunks = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=5))
    wire = b""
    for chunk in chunks:
        size = draw(st.sampled_from([b"%x", b"%X", b"00%x"])) % len(chunk)
        wire += size + draw(EXTENSION) + b"\r\n" + chunk + b"\r\n"
    return b"".join(chunks), wire + b"0" + draw(EXTENSION) + b"\r\n\r\n"


@given(body=chunked(), cuts=st.lists(st.integers(0, 300)))
def test_any_chunking_split_anyhow_gives_the_payload(
    body: tuple[bytes, bytes], cuts: list[int]
) -> None:
    payload, wire = body
    edges = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    reader = Reader(Chunked())
    for begin, end in pairwise(edges):
        reader.receive(wire[begin:end])
    assert (reader.ended, reader.payload, reader.rest) == (True, payload, b"")


@given(body=chunked(), data=st.data())
def test_no_shorter_beginning_of_it_has_ended(
    body: tuple[bytes, bytes], data: st.DataObject
) -> None:
    payload, wire = body
    cut = data.draw(st.integers(0, len(wire) - 1))
    reader = Reader(Chunked())
    reader.receive(wire[:cut])
    assert not reader.ended
    assert payload.startswith(reader.payload)


# ------------------------------------------------------------- many chunks in one buffer


class Taker(Reader):
    """Takes payload out of a buffer as far as it lies there, *most* bytes at a time."""

    def __init__(self, body: Chunked, most: int = sys.maxsize) -> None:
        super().__init__(body)
        self.most = most

    def receive(self, piece: bytes) -> None:
        body = self.body
        assert isinstance(body, Chunked)
        data = bytearray(b"before" + self.rest + piece + b"behind")
        start, end = len(b"before"), len(data) - len(b"behind")
        while start < end and not self.ended:
            pieces, start = body.take(data, memoryview(data), start, end, self.most)
            taken = b"".join(pieces)
            assert len(taken) <= self.most
            self.payload += taken
            if not taken and not body.payload:
                stop = data.find(b"\n", start, end) + 1
                if not stop:
                    break
                body.line(bytes(data[start:stop]))
                start = stop
        self.rest = bytes(data[start:end])


@st.composite
def alike(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A payload in chunks many of which have the same size, and look like chunk lines."""
    runs = draw(
        st.lists(
            st.tuples(
                st.sampled_from([1, 3, 10, 16]),
                st.integers(1, 6),
                st.sampled_from([b"%x", b"%X", b"0%x"]),
                EXTENSION,
            ),
            max_size=5,
        )
    )
    payload = wire = b""
    for size, count, form, extension in runs:
        chunk = draw(st.sampled_from([b"\r\n3\r\n3\r\n\r\n10\r\nab", b"0123456789abcdef"]))[:size]
        payload += chunk * count
        wire += (form % size + extension + b"\r\n" + chunk + b"\r\n") * count
    return payload, wire + b"0\r\n\r\n"


@given(
    body=alike() | chunked(), cuts=st.lists(st.integers(0, 500)), most=st.sampled_from([1, 7, 999])
)
def test_taken_from_a_buffer(body: tuple[bytes, bytes], cuts: list[int], most: int) -> None:
    payload, wire = body
    edges = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    taker = Taker(Chunked(), most)
    for begin, end in pairwise(edges):
        taker.receive(wire[begin:end])
    assert (taker.ended, taker.payload, taker.rest) == (True, payload, b"")


@in_turn("offset", range(len(b"\r\nc;x\r\n")))
@in_turn("number", range(5))
def test_one_line_is_wrong_among_many_alike(number: int, offset: int) -> None:
    chunk = b"\r\nc;x\r\nab\r\n\r\n"[:12]
    wire = bytearray(b"c;x\r\n" + chunk + (b"\r\nc;x\r\n" + chunk) * 5)
    wire[len(b"c;x\r\n" + chunk) + number * len(b"\r\nc;x\r\n" + chunk) + offset] ^= 0x80
    taker = Taker(Chunked())
    with pytest.raises(InvalidResponse):
        taker.receive(bytes(wire))
    assert taker.payload == chunk * (number + 1)


def test_no_more_pieces_at_once_than_memory_allows() -> None:
    wire = b"1\r\nx\r\n" * 100_000
    body = Chunked()
    body.line(b"1\r\n")
    pieces, start = body.take(bytearray(wire), memoryview(wire), 3, len(wire), sys.maxsize)
    assert 1000 < len(pieces) < 10_000
    assert start == 6 * len(pieces) - 2


class Counted(bytearray):
    """Counts the bytes of all slices that are made of it."""

    sliced = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        self.sliced += len(found)
        return found


@pytest.mark.parametrize(
    "wire",
    [
        (b"1\r\na\r\n" * 50 + b"2\r\nab\r\n") * 400,
        (b"1\r\na\r\n" * 2 + b"2\r\nab\r\n") * 4000,
        (b"00000000000001\r\na\r\n" * 3000 + b"00000000000002\r\nab\r\n") * 3,
        b"1\r\na\r\n" * 30_000,
        (b"1;" + b"x" * 2000 + b"\r\na\r\n") * 20,
    ],
    ids=["50 and 1", "2 and 1", "3000 and 1", "one size", "extensions"],
)
def test_looking_for_equal_chunks_costs_no_more_than_there_are_bytes(wire: bytes) -> None:
    body, data, start = Chunked(), Counted(wire), 0
    while start < len(wire):
        _, start = body.take(data, memoryview(data), start, len(wire), sys.maxsize)
        if not body.payload and start < len(wire) and not wire.startswith(b"\r\n1\r\n", start):
            stop = wire.index(b"\n", start) + 1
            body.line(wire[start:stop])
            start = stop
    assert data.sliced < 4 * len(wire)
