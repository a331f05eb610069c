"""Response heads, from bytes to `HTTPResponse`: RFC 9112 sections 2.2, 4 and 5."""

from __future__ import annotations

from typing import SupportsIndex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dugong import HTTPResponse, InvalidResponse, UnsupportedResponse
from dugong.protocol.response import find_head, parse_fields, parse_head
from tests.support.in_turn import in_turn
from tests.support.ways import in_every_way, ways

STATUS = b"HTTP/1.1 200 OK\r\n"


class Incoming:
    """A head that arrives in pieces, somewhere in a buffer that is larger than it."""

    def __init__(self, data: bytearray | None = None, start: int = 0) -> None:
        self.data = bytearray(300_000) if data is None else data
        self.start = self.end = self.scanned = start

    def receive(self, piece: bytes) -> int:
        """Where the head ends, -1 if it has not arrived."""
        self.data[self.end : self.end + len(piece)] = piece
        self.end += len(piece)
        found = find_head(self.data, self.start, self.end, self.scanned)
        self.scanned = self.end
        return found


def read(pieces: list[bytes]) -> HTTPResponse:
    incoming = Incoming(start=100)
    incoming.data[:100] = b"HTTP/1.1 404 Before\r\n\r\n\n\r\n".ljust(100, b"\n")
    for piece in pieces:
        end = incoming.receive(piece)
        if end >= 0:
            return parse_head(bytes(incoming.data[incoming.start : end]), "GET", "/x")
    raise AssertionError("the end of the head was not seen")


def summary(pieces: list[bytes]) -> tuple[int, str, str, list[tuple[str, str]]]:
    response = read(pieces)
    return response.status, response.reason, response.version, response.headers.items()


STATUS_LINES = [
    (b"HTTP/1.1 200 OK", 200, "OK", "1.1"),
    (b"HTTP/1.1 200 ", 200, "", "1.1"),
    (b"HTTP/1.1 200", 200, "", "1.1"),
    (b"HTTP/1.0 404 \xe9 \t x", 404, "\xe9 \t x", "1.0"),
    (b"HTTP/1.9 100 x", 100, "x", "1.1"),
    (b"HTTP/1.1 999 x", 999, "x", "1.1"),
]


@in_turn(("line", "status", "reason", "version"), STATUS_LINES)
@in_turn("fields", [b"", b"A: b\r\n"])
def test_status_line(line: bytes, status: int, reason: str, version: str, fields: bytes) -> None:
    expected = (status, reason, version, [("A", "b")] if fields else [])
    head = line + b"\r\n" + fields + b"\r\n"
    assert in_every_way(head, summary, trailing=b"\n\r\nHTTP/1.1 500 X\r\n\r\n") == expected


def test_what_the_response_answers() -> None:
    response = parse_head(STATUS + b"\r\n", "PUT", "/x")
    assert (response.method, response.path, response.length) == ("PUT", "/x", None)
    assert response.informational == []
    assert len(response.trailers) == 0


FIELDS = [
    (b"A: b", [("A", "b")]),
    (b"A:b", [("A", "b")]),
    (b"A:", [("A", "")]),
    (b"A: \t ", [("A", "")]),
    (b"A:\t b \tc \t", [("A", "b \tc")]),
    (b"A: 1\r\na: 2\r\nB: 3", [("A", "1"), ("a", "2"), ("B", "3")]),
    (b"A: \x80\xa0\xff", [("A", "\x80\xa0\xff")]),
    (b"A: \x85b\xa0", [("A", "\x85b\xa0")]),  # white space to str.strip, not to RFC 9110
    (b"A: b\r\n c", [("A", "b c")]),  # obs-fold, RFC 9112 section 5.2
    (b"A: b \r\n\t c\t\r\n  d \r\nE: f", [("A", "b c d"), ("E", "f")]),
    (b"A:\r\n b", [("A", "b")]),
    (b"A: b\r\n \r\nC: d", [("A", "b"), ("C", "d")]),
    (b"A: b\r\n Content-Length: 5", [("A", "b Content-Length: 5")]),
    (b"Connection: a,\r\n b,\r\n close", [("Connection", "a, b, close")]),
]


@in_turn(("lines", "fields"), FIELDS)
def test_fields(lines: bytes, fields: list[tuple[str, str]]) -> None:
    assert in_every_way(STATUS + lines + b"\r\n\r\n", summary)[3] == fields


BAD_LINES = {
    "bare LF": b"A: b\nC: d",
    "bare CR": b"A: b\rC: d",
    "CR before CRLF": b"A: b\r",
    "NUL": b"A: b\x00c",
    "control": b"A: \x1b[2J",
    "DEL": b"A: \x7f",
    "control in name": b"A\x01: b",
    "space before colon": b"A : b",
    "tab before colon": b"A\t: b",
    "empty name": b": b",
    "no colon": b"A b",
    "space in name": b"A B: c",
    "name beyond ASCII": b"\xc4: b",
    "fold before any field": b" A: b",
    "fold before any field, and one later": b" A: b\r\nC: d\r\n e",
    "fold of Content-Length": b"Content-Length:\r\n 5",
    "fold of Transfer-Encoding": b"A: b\r\ntransfer-ENCODING: x,\r\n chunked\r\nC: d\r\n e",
    "fold with NUL": b"A: b\r\n \x00",
    "fold with bare LF": b"A: b\n c",
    "bad line after a fold": b"A: b\r\n c\r\nD : e",
}


@in_turn("lines", BAD_LINES.values(), ids=BAD_LINES)
def test_bad_field_lines(lines: bytes) -> None:
    for pieces in ways(STATUS + lines + b"\r\n\r\n"):
        with pytest.raises(InvalidResponse):
            read(pieces)


BAD_STATUS_LINES = [
    b"HTTP/1.1 099 X\r\n", b"HTTP/1.1 20 X\r\n", b"HTTP/1.1 2000 X\r\n", b"HTTP/1.1  200 X\r\n",
    b"HTTP/1.1 200X\r\n", b"HTTP/1.1 +20 X\r\n", b"HTTP/1.1 \xb2\xb2\xb2 X\r\n",
    b"HTTP/1 200 X\r\n",
    b"HTTP/1.10 200 X\r\n", b"HTTP/+1.1 200 X\r\n", b"HTTP/1.1 200 a\x00\r\n", b"HTTP/\r\n",
    b"HTTP/1.1 200 a\rb\r\n", b"HTTP/1.1 200 OK\n",
    b"HTTP/1.1\t200 OK\r\n", b"HTTP/1.1 200\tOK\r\n",
    b"HTTP/1.1 2_0 OK\r\n", b"HTTP/1.1 -20 OK\r\n",
]  # fmt: skip


@in_turn("line", BAD_STATUS_LINES)
def test_bad_status_lines(line: bytes) -> None:
    for pieces in ways(line + b"A: b\r\n\r\n"):
        with pytest.raises(InvalidResponse):
            read(pieces)


@pytest.mark.parametrize(
    "line", [b"HTTP/2.0 200 OK\r\n", b"HTTP/0.9 200 OK\r\n", b"HTTP/3.1 200\r\n"]
)
def test_other_major_versions(line: bytes) -> None:
    with pytest.raises(UnsupportedResponse, match=line[5:8].decode()):
        parse_head(line + b"\r\n", "GET", "/")


def test_error_shows_the_line_in_short() -> None:
    with pytest.raises(InvalidResponse) as info:
        parse_head(STATUS + b"A: b\r\nB" + b"c" * 5000 + b"\r\nD: e\r\n\r\n", "GET", "/")
    assert "'Bccc" in str(info.value)
    assert len(str(info.value)) < 150


@pytest.mark.parametrize("block", ["A: b\r\n c\r\n", "\tA: b\r\n"])
def test_trailers_are_not_folded(block: str) -> None:
    with pytest.raises(InvalidResponse):
        parse_fields(block, trailer=True)


# ----------------------------------------------------------------- before the head's end


@in_turn(
    "garbage",
    [b"220 ", b"SSH-2.0", b"<html>", b"\x15\x03\x01", b"\r\nHTTP/1.1 ", b"\n", b"http/", b"\0"],
)
def test_garbage_is_refused_at_its_first_wrong_byte(garbage: bytes) -> None:
    for data in (garbage, b"HTTP/"[:3] + garbage):
        for pieces in ways(data):
            incoming = Incoming(start=7)
            with pytest.raises(InvalidResponse):
                for piece in pieces:
                    incoming.receive(piece)


@pytest.mark.parametrize(
    "frame_type", [pytest.param(4, id="SETTINGS"), pytest.param(7, id="GOAWAY")]
)
def test_http2(frame_type: int) -> None:
    """RFC 9113 section 4.1: an HTTP/2 server's first frame, with stream 0."""
    frame = bytes([0, 0, 18, frame_type, 0, 0, 0, 0, 0]) + bytes(18)
    with pytest.raises(UnsupportedResponse, match="HTTP/2"):
        Incoming().receive(frame)
    with pytest.raises(InvalidResponse):
        Incoming().receive(bytes([0, 0, 18, frame_type, 0, 0, 0, 0, 1]))
    with pytest.raises(InvalidResponse):
        Incoming().receive(bytes([0, 0, 18, 1, 0, 0, 0, 0, 0]))


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\nA: b\n\n", b"HTTP/1.1 200 OK\r\nA: b\r\n\n"])
def test_bare_line_feeds_do_not_leave_the_reader_waiting(head: bytes) -> None:
    for pieces in ways(head):
        incoming = Incoming()
        with pytest.raises(InvalidResponse):
            for piece in pieces:
                assert incoming.receive(piece) == -1


@given(data=st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b"A: b"])).map(b"".join))
def test_the_first_empty_line_ends_the_head(data: bytes) -> None:
    data = b"HTTP/1.1 200 OK" + data + b"\r\n\r\n"
    end = data.index(b"\n\r\n") + 3

    def found(pieces: list[bytes]) -> int:
        incoming = Incoming()
        for piece in pieces:
            at = incoming.receive(piece)
            if at >= 0:
                return at
        return -1

    lonely = data.find(b"\n\n")
    if 0 <= lonely < end:
        return  # refused, sooner or later, as the tests above say
    assert in_every_way(data[:end], found, trailing=data[end:]) == end


class Counting(bytearray):
    """Counts the bytes that are searched."""

    looked_at = 0

    def find(
        self,
        sub: bytes | int,  # type: ignore[override]
        start: SupportsIndex | None = 0,
        end: SupportsIndex | None = None,
        /,
    ) -> int:
        found = super().find(sub, start, end)
        stop = len(self) if end is None else end.__index__()
        self.looked_at += (stop if found < 0 else found) - (
            0 if start is None else start.__index__()
        )
        return found


def test_head_in_single_bytes_is_not_searched_again_and_again() -> None:
    head = STATUS + b"".join(b"A%d: b\r\n" % i for i in range(500)) + b"\r\n"
    data = Counting(len(head))
    incoming = Incoming(data)
    for i in range(len(head) - 1):
        assert incoming.receive(head[i : i + 1]) == -1
    assert incoming.receive(head[-1:]) == len(head)
    assert len(head) < data.looked_at < 10 * len(head)


@in_turn("name", ["Set-Cookie", "authorization", " Cookie", "Proxy-Authorization "])
@in_turn("value", ["secret\x00", "secret" + 70_000 * "x"])
def test_messages_show_no_secret(name: str, value: str) -> None:
    """A field that is not valid, or too long, or reflected by the server."""
    head = f"HTTP/1.1 200 OK\r\n{name}: {value}\r\n\r\n".encode("latin-1")
    with pytest.raises(InvalidResponse) as info:
        parse_head(head, "GET", "/")
    assert "secret" not in f"{info.value!r}"
    assert name in str(info.value)
