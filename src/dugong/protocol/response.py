"""Strict parsing of complete response heads (RFC 9112 sections 4 and 5).

The patterns in `grammar` decide what is valid. This module adds these decisions:

* obs-fold is replaced by one SP (RFC 9112 section 5.2). It is invalid before the first field, and
  in a field that determines where the body ends.
* A status code is from 100 to 999. RFC 9110 section 15 recommends treating codes above 599 as
  server errors; that is left to the caller. Codes below 100 have no defined meaning, not even a
  framing, and are invalid.
* Every ``HTTP/1.x`` above 1.0 is treated as 1.1 (RFC 9110 section 2.5). Other major versions raise
  `UnsupportedResponse`, and so does a server that begins with an HTTP/2 frame.
"""

from __future__ import annotations

from functools import lru_cache

from ..errors import InvalidResponse, Part, UnsupportedResponse
from . import grammar
from .framing import Framing
from .headers import SECRET_FIELDS, parsed, parsed_lines
from .limits import MAX_FIELDS, MAX_HEADER_SIZE, MAX_LINE_SIZE
from .messages import HTTPResponse, Request

_START = b"HTTP/"


def find_head(data: bytearray, start: int, end: int, scanned: int) -> int:
    """Find the end of the head that begins at *start*.

    Args:
        data: a buffer that is filled from *start* to *end*.
        start: the index of the first byte of the head.
        end: the index behind the last byte received.
        scanned: *end* of the last call for this head, or *start* in the first call. No byte is
            searched more than a few times, even if a head arrives in very small pieces.

    Returns:
        The index behind the head's empty line, or -1 if that has not arrived.

    Raises:
        InvalidResponse: the bytes received cannot become a valid head.
        UnsupportedResponse: the server speaks HTTP/2.
    """
    if not data.startswith(_START, start, end):
        begin = bytes(data[start : min(end, start + len(_START))])
        if not _START.startswith(begin):
            raise _not_http(bytes(data[start : min(end, start + 40)]))
    scanned = max(start, scanned - 2)
    behind = data.find(b"\n\r\n", scanned, end) + 3
    if behind > 2:
        if behind - start > MAX_HEADER_SIZE:
            raise _head_too_long()
        return behind
    if data.find(b"\n\n", scanned, end) >= 0:
        line_end = data.find(b"\n", start, end)
        part: Part = "head" if data.startswith(b"\r", line_end - 1) else "status-line"
        raise InvalidResponse("line end in the response head is LF, not CRLF", part=part)
    if end - start >= MAX_HEADER_SIZE:
        raise _head_too_long()
    return -1


def _head_too_long() -> InvalidResponse:
    return InvalidResponse(f"response head is longer than {MAX_HEADER_SIZE} bytes", part="limit")


def _not_http(begin: bytes) -> InvalidResponse | UnsupportedResponse:
    # An HTTP/2 frame header (RFC 9113 section 4.1): 24 bits of length, the type (SETTINGS is 4 and
    # GOAWAY is 7), flags, and the stream identifier, which is 0 for both types.
    if len(begin) >= 9 and begin[0] == 0 and begin[3] in (4, 7) and begin[5:9] == bytes(4):
        return UnsupportedResponse("the server speaks HTTP/2, not HTTP/1.1")
    return InvalidResponse(f"not an HTTP response: {begin!r}", part="status-line")


def parse_head(head: bytes, method: str, path: str) -> HTTPResponse:
    """Parse a complete head, including its empty line.

    Args:
        head: the bytes from the status line to the empty line.
        method: the method of the request that it answers.
        path: the request's target.

    Returns:
        The response. Its attribute `length` is not set; see `framing.frame`.

    Raises:
        InvalidResponse: the head is not valid, or exceeds a limit.
        UnsupportedResponse: the major version is not 1.
    """
    text = head.decode("latin-1")
    end = text.find("\n") + 1
    version, status, reason = _parse_status_line(text[:end])
    if len(head) > MAX_LINE_SIZE:
        _check_lines(text)
    lines = text[end:-2]
    if grammar.FIELD_LINES.fullmatch(lines) and lines.count("\n") <= MAX_FIELDS:
        headers = parsed_lines(lines)
    else:
        headers = parsed(parse_fields(lines))
    return HTTPResponse(method, path, status, reason, headers, None, version)


@lru_cache(maxsize=64)  # a server sends few different status lines
def _parse_status_line(line: str) -> tuple[str, int, str]:
    """Return version, status code and reason phrase."""
    match = grammar.STATUS_LINE.fullmatch(line)
    if match is None:
        raise InvalidResponse(f"bad status line: {_excerpt(line)}", part="status-line")
    major, minor, status, reason = match.groups("")
    if major != "1":
        raise UnsupportedResponse(f"the server speaks HTTP/{major}.{minor}, not HTTP/1.1")
    return "1.0" if minor == "0" else "1.1", int(status), reason


class KnownHead:
    """A parsed final head, to avoid parsing an identical one: a server's heads are often identical.

    The meaning of a head depends only on its bytes and on the request's method.

    Attributes:
        head: the bytes from the status line to the empty line.
        method: the method of the request that it answered.
        framing: how its body is delimited.
    """

    __slots__ = (
        "_fields",
        "_reason",
        "_status",
        "_version",
        "framing",
        "head",
        "method",
    )

    def __init__(self, head: bytes, response: HTTPResponse, framing: Framing) -> None:
        self.head = head
        self.method = response.method
        self.framing = framing
        # Not the response itself: it belongs to the caller, who may change it.
        self._status = response.status
        self._reason = response.reason
        self._fields = response.headers
        self._version = response.version

    def response(self, request: Request) -> HTTPResponse:
        """Return the result of `parse_head` for this head and a request with the same method."""
        return HTTPResponse(
            self.method, request.path, self._status, self._reason, self._fields, None,
            self._version, request,
        )  # fmt: skip


def parse_fields(block: str, *, trailer: bool = False) -> list[tuple[str, str]]:
    """Parse field lines, each with its CRLF.

    Args:
        block: the lines of a head or a trailer section, without the empty line.
        trailer: whether they are from a trailer section, where obs-fold is invalid.

    Returns:
        Pairs of name and value.

    Raises:
        InvalidResponse: a line is not valid, or there are too many lines.
    """
    fields: list[tuple[str, str]] = grammar.FIELD_LINE.findall(block)
    if len(fields) != block.count("\n"):
        fields = _parse_unusual(block if trailer else _unfold(block), trailer)
    if len(fields) > MAX_FIELDS:
        raise InvalidResponse(f"more than {MAX_FIELDS} fields", part="limit")
    return fields


def _parse_unusual(block: str, trailer: bool) -> list[tuple[str, str]]:
    """Parse field lines that may have white space after their values."""
    block = grammar.TRAILING_SPACE.sub("\r\n", block)
    fields: list[tuple[str, str]] = grammar.FIELD_LINE.findall(block)
    if len(fields) != block.count("\n"):
        part: Part = "trailer" if trailer else "head"
        raise InvalidResponse(f"bad field line: {_first_bad_line(block)}", part=part)
    return fields


def _unfold(block: str) -> str:
    match = grammar.FOLDED_FRAMING.search(block)
    if match is not None:
        raise InvalidResponse(f"field {match[1]} continues on a second line", part="framing")
    return grammar.OBS_FOLD.sub(" ", block)


def _check_lines(text: str) -> None:
    for line in text.split("\n"):
        if len(line) >= MAX_LINE_SIZE:
            raise InvalidResponse(
                f"line longer than {MAX_LINE_SIZE} bytes in the response head: {_excerpt(line)}",
                part="limit",
            )


def _first_bad_line(block: str) -> str:
    for line in block.split("\n"):
        if not grammar.FIELD_LINE.fullmatch(line + "\n"):
            return _excerpt(line)
    return _excerpt(block)


def _excerpt(text: str) -> str:
    """Return the beginning of a line for a message, without the values of secret fields."""
    line = text.partition("\n")[0]
    name = line.partition(":")[0]
    if name.strip().lower() in SECRET_FIELDS:
        line = f"{name}: ***"
    return repr(line if len(line) <= 80 else line[:77] + "...")
