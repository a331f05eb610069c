"""Responses without end: each has a limit in bytes or in count, met long before memory is."""

# ruff: noqa: E501 - one row, one line

from __future__ import annotations

from dataclasses import dataclass

from dugong.protocol import limits
from tests.hostile.table import CHUNKED, OK, Case, Outcome, bad_body, case, invalid


@dataclass(frozen=True)
class Flood:
    """A row whose bytes are followed by *unit*, again and again.

    Attributes:
        most: after how many bytes at the latest it has to be refused, all of them counted.
    """

    case: Case
    unit: bytes
    most: int


def flood(
    id: str,  # noqa: A002
    source: str,
    data: bytes,
    unit: bytes,
    most: int,
    outcome: Outcome,
) -> Flood:
    """Return a row: as `case`, with what follows and the largest number of bytes until then."""
    return Flood(case(id, source, data, outcome), unit, len(data) + most)


_HEAD, _LINE = limits.MAX_HEADER_SIZE, limits.MAX_LINE_SIZE
_CHUNK_LINE, _TRAILER = limits.MAX_CHUNK_LINE_SIZE, limits.MAX_TRAILER_SIZE
_FIELDS, _INTERIM = limits.MAX_FIELDS, limits.MAX_INTERIM_RESPONSES
_FIELD, _EARLY = b"A: b\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
_LAST = CHUNKED + b"2\r\nhi\r\n0\r\n"

FLOODS: list[Flood] = [
    flood("reason", "CVE-2023-38039 (curl)", b"HTTP/1.1 200 ", b"x", _HEAD, invalid(part="limit")),
    flood("reason-of-spaces", "RFC 9112 4", b"HTTP/1.1 200", b" ", _HEAD, invalid(part="limit")),
    flood("version-digits", "RFC 9112 2.3", b"HTTP/1.1", b"1", _HEAD, invalid(part="limit")),
    flood("name", "CVE-2023-38039 (curl)", OK, b"x", _HEAD, invalid(part="limit")),
    flood("value", "CVE-2023-38039 (curl)", OK + b"A: ", b"x", _HEAD, invalid(part="limit")),
    flood("value-spaces", "PYSEC-2020-155 (waitress)", OK + b"A: b", b" ", _HEAD, invalid(part="limit")),
    flood("value-spaces-and-letters", "PYSEC-2020-155 (waitress)", OK + b"A: b", b" c", _HEAD, invalid(part="limit")),
    flood("value-colons", "RFC 9112 2.2", OK + b"A", b":", _HEAD, invalid(part="limit")),
    flood("value-nul", "RFC 9110 5.5", OK + b"A: ", b"\x00", _HEAD, invalid(part="limit")),
    flood("value-cr", "RFC 9112 2.2", OK + b"A: ", b"\r", _HEAD, invalid(part="limit")),
    flood("fields", "CVE-2023-38039 (curl)", OK, _FIELD, _HEAD, invalid(part="limit")),
    flood("field-lines-lf", "RFC 9112 2.2", OK, b"A: b\n", _HEAD, invalid(part="limit")),
    flood("folds", "RFC 9112 5.2", OK + b"A: b", b"\r\n c", _HEAD, invalid(part="limit")),
    flood("fold-lines-of-spaces", "RFC 9112 5.2", OK + b"A: b", b"\r\n ", _HEAD, invalid(part="limit")),
    flood("fields-after-100", "CVE-2021-3737 (Python)", b"HTTP/1.1 100 Continue\r\n", _FIELD, _HEAD, invalid(part="limit")),
    flood("length-digits", "RFC 9110 8.6", OK + b"Content-Length: ", b"5", _HEAD, invalid(part="limit")),
    flood("length-lines", "RFC 9112 6.3", OK, b"Content-Length: 2\r\n", _HEAD, invalid(part="limit")),
    flood("length-list", "RFC 9112 6.3", OK + b"Content-Length: 2", b", 2", _HEAD, invalid(part="limit")),
    flood("blank-lines", "RFC 9112 2.2", b"", b"\r\n", 0, invalid(part="status-line")),
    flood("lf-lines", "RFC 9112 2.2", b"", b"\n", 0, invalid(part="status-line")),
    flood("nul", "RFC 9112 4", b"", b"\x00", 0, invalid(part="status-line")),
    flood("interim", "RFC 9110 15.2", b"", _EARLY, (_INTERIM + 1) * len(_EARLY), invalid(103, part="limit")),
    flood("continues", "RFC 9110 15.2.1", b"", b"HTTP/1.1 100 X\r\n\r\n", (_INTERIM + 1) * 18, invalid(100, part="limit")),
    flood("chunk-digits", "RFC 9112 7.1", CHUNKED, b"5", _CHUNK_LINE, bad_body(part="limit")),
    flood("chunk-of-zeros", "RFC 9112 7.1", CHUNKED, b"0", _CHUNK_LINE, bad_body(part="limit")),
    flood("chunk-extension", "CVE-2024-22019 (Node.js), CVE-2024-21647 (Puma)", CHUNKED + b"2;", b"a", _CHUNK_LINE, bad_body(part="limit")),
    flood("chunk-extensions", "CVE-2023-39326 (Go)", CHUNKED + b"2", b";a", _CHUNK_LINE, bad_body(part="limit")),
    flood("chunk-extension-quoted", "RFC 9112 7.1.1", CHUNKED + b'2;a="', b"b", _CHUNK_LINE, bad_body(part="limit")),
    flood("chunk-extension-escapes", "RFC 9112 7.1.1", CHUNKED + b'2;a="', b"\\", _CHUNK_LINE, bad_body(part="limit")),
    flood("chunk-spaces", "RFC 9112 7.1.1", CHUNKED + b"2", b" ", _CHUNK_LINE, bad_body(part="limit")),
    flood("chunk-blank-lines", "RFC 9112 7.1", CHUNKED, b"\r\n", 2, bad_body()),
    flood("chunk-crlf-after-data", "RFC 9112 7.1", CHUNKED + b"2\r\nhi", b"\r\n", 4, bad_body(b"hi")),
    flood("last-chunk-extension", "RFC 9112 7.1.1", CHUNKED + b"2\r\nhi\r\n0;", b"a", _CHUNK_LINE, bad_body(b"hi", part="limit")),
    flood("trailer-name", "RFC 9112 7.1.2", _LAST, b"x", _LINE, bad_body(b"hi", part="limit")),
    flood("trailer-value", "RFC 9112 7.1.2", _LAST + b"A: ", b"x", _LINE, bad_body(b"hi", part="limit")),
    flood("trailer-fields", "RFC 9112 7.1.2", _LAST, _FIELD, (_FIELDS + 1) * len(_FIELD), bad_body(b"hi", part="limit")),
    flood("trailer-section", "RFC 9112 7.1.2", _LAST, b"A: " + b"b" * 1000 + b"\r\n", _TRAILER + 1005, bad_body(b"hi", part="limit")),
]  # fmt: skip
