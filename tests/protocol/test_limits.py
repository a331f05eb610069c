"""Limits: what is within must be taken, what is beyond is refused by an error that names it."""

from __future__ import annotations

from typing import Any

import pytest

from dugong import InvalidResponse
from dugong.protocol import limits
from dugong.protocol.body import Chunked
from dugong.protocol.framing import frame
from dugong.protocol.messages import HTTPResponse, Request
from dugong.protocol.request import NO_DEFAULTS, prepare
from dugong.protocol.response import find_head, parse_head
from dugong.protocol.state import ConnectionState

KIB = 1024
STATUS = b"HTTP/1.1 200 OK\r\n"


def head(lines: bytes, status: bytes = STATUS) -> bytes:
    return status + lines + b"\r\n"


def take(data: bytes) -> HTTPResponse:
    """What the two functions that a head passes through make of it."""
    end = find_head(bytearray(data), 0, len(data), 0)
    assert end == len(data)
    return parse_head(data, "GET", "/")


WITHIN = {
    "reason": head(b"", b"HTTP/1.1 200 " + b"r" * 4 * KIB + b"\r\n"),
    "field line": head(b"A: " + b"x" * (8 * KIB - 5) + b"\r\n"),
    "fields": head(b"".join(b"A%d: b\r\n" % i for i in range(100))),
    "head": head(b"".join(b"A%d: %s\r\n" % (i, b"x" * 4000) for i in range(16))),
    "folds": head(b"A: b\r\n" + b" c\r\n" * 99),
}


@pytest.mark.parametrize("data", WITHIN.values(), ids=WITHIN)
def test_head_that_must_be_taken(data: bytes) -> None:
    assert len(data) <= 64 * KIB
    response = take(data)
    assert len(response.reason) + sum(map(len, response.headers.values())) > 90


def test_line_limit_is_exact() -> None:
    """A line may have `MAX_LINE_SIZE` bytes, CRLF included, and no more."""
    room = limits.MAX_LINE_SIZE - len(b"A: \r\n")
    assert len(take(head(b"A: " + b"x" * room + b"\r\n")).headers["A"] or "") == room
    with pytest.raises(InvalidResponse, match=str(limits.MAX_LINE_SIZE)):
        take(head(b"A: " + b"x" * (room + 1) + b"\r\n"))


def test_status_line_has_the_same_limit() -> None:
    with pytest.raises(InvalidResponse, match=str(limits.MAX_LINE_SIZE)):
        take(head(b"", b"HTTP/1.1 200 " + b"r" * limits.MAX_LINE_SIZE + b"\r\n"))


def test_field_limit_is_exact() -> None:
    assert len(take(head(b"A: b\r\n" * limits.MAX_FIELDS)).headers) == limits.MAX_FIELDS
    with pytest.raises(InvalidResponse, match=str(limits.MAX_FIELDS)):
        take(head(b"A: b\r\n" * (limits.MAX_FIELDS + 1)))


@pytest.mark.parametrize("complete", [True, False])
def test_head_limit_is_exact(complete: bool) -> None:
    """Whether or not the end of the head is there already."""
    line = b"A: " + b"x" * 1000 + b"\r\n"
    count = limits.MAX_HEADER_SIZE // len(line)
    rest = limits.MAX_HEADER_SIZE - len(head(line * count)) - len(b"A: \r\n")
    data = head(line * count + b"A: " + b"x" * rest + b"\r\n")
    assert len(data) == limits.MAX_HEADER_SIZE
    longer = bytearray(data.replace(b"OK", b"OKK"))
    if complete:
        assert find_head(bytearray(data), 0, len(data), 0) == len(data)
    else:
        data = data[:-1]
        longer[-1:] = b"x"
        assert find_head(bytearray(data), 0, len(data), 0) == -1
    with pytest.raises(InvalidResponse, match=str(limits.MAX_HEADER_SIZE)):
        find_head(longer, 0, len(longer), 0)


@pytest.mark.parametrize("extension", [b";" + b"a" * KIB, b';a="' + b"b" * (KIB - 4) + b'"'])
def test_chunk_extension_that_must_be_taken(extension: bytes) -> None:
    body = Chunked()
    line = b"2" + extension + b"\r\n"
    assert len(line) <= body.line_limit
    body.line(line)
    assert body.payload == 2


def test_chunk_line_beyond_its_limit_is_named() -> None:
    body = Chunked()
    with pytest.raises(InvalidResponse, match=str(limits.MAX_CHUNK_LINE_SIZE)):
        body.line((b"2;" + b"a" * body.line_limit)[: body.line_limit])


def in_trailers() -> Chunked:
    body = Chunked()
    body.line(b"0\r\n")
    return body


def test_trailer_line_beyond_its_limit_is_named() -> None:
    body = in_trailers()
    with pytest.raises(InvalidResponse, match=str(limits.MAX_LINE_SIZE)):
        body.line((b"A: " + b"a" * body.line_limit)[: body.line_limit])


def test_trailer_section_beyond_its_limit_is_named() -> None:
    body = in_trailers()
    line = b"A: " + b"b" * 1019 + b"\r\n"
    for _ in range(limits.MAX_TRAILER_SIZE // len(line)):
        body.line(line)
    with pytest.raises(InvalidResponse, match=str(limits.MAX_TRAILER_SIZE)):
        body.line(b"\r\n")


def test_trailer_fields_are_counted() -> None:
    body = in_trailers()
    for _ in range(limits.MAX_FIELDS):
        body.line(b"A: b\r\n")
    with pytest.raises(InvalidResponse, match=str(limits.MAX_FIELDS)):
        body.line(b"A: b\r\n")


def test_interim_responses_are_counted_for_each_request() -> None:
    assert limits.MAX_INTERIM_RESPONSES >= 20
    exchanges = ConnectionState()
    for _ in range(2):
        exchange = prepare(Request("GET", "/"), False, NO_DEFAULTS)
        exchanges.accept(exchange)
        exchanges.request_sent(exchange)
        assert exchanges.next() is exchange
        for _ in range(limits.MAX_INTERIM_RESPONSES):
            assert not exchanges.received_interim(exchange, interim())
        with pytest.raises(InvalidResponse, match=str(limits.MAX_INTERIM_RESPONSES)) as info:
            exchanges.received_interim(exchange, interim())
        assert info.value.response is not None
        assert info.value.response.status == 103
        final = parse_head(head(b"Content-Length: 0\r\n"), "GET", "/")
        exchanges.received_final(exchange, final, frame(final))


def interim() -> HTTPResponse:
    return parse_head(b"HTTP/1.1 103 Early Hints\r\n\r\n", "GET", "/")


NEVER_TIGHTER: dict[str, Any] = {
    "MAX_LINE_SIZE": 8 * KIB,
    "MAX_HEADER_SIZE": 64 * KIB,
    "MAX_FIELDS": 100,
    "MAX_INTERIM_RESPONSES": 20,
    "MAX_CHUNK_LINE_SIZE": KIB + len("fffffff\r\n"),
    "MAX_LENGTH_DIGITS": len(str(2**53)),
    "MAX_CHUNK_SIZE_DIGITS": len(f"{2**53:x}"),
}


@pytest.mark.parametrize("name", NEVER_TIGHTER)
def test_never_tighter(name: str) -> None:
    assert getattr(limits, name) >= NEVER_TIGHTER[name]
