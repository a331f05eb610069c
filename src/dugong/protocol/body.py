"""Bodies of responses, decoded where they lie: `Length`, `Chunked`, `UntilClose`.

A decoder never holds bytes. It announces what comes next, and is told what came:

``payload``
    How many bytes of payload may come next, which whoever asked for them may receive straight
    into a buffer of his own; `took` tells how many did.
``line_limit``
    With no payload next: how many bytes the line that comes next may have, CRLF included; `line`
    takes it. Chunked bodies alone have lines: between chunks, and the trailer section.
Neither
    The body has ended.

`Chunked.size` is the size of the chunk that it is in, or was in last, and `Chunked.line_size` how
many bytes are likely to come between this chunk and the next.

`ended_by_close` tells whether the end of the connection ends the body, or truncates it.
"""

from __future__ import annotations

import sys

from ..errors import InvalidResponse
from . import grammar
from .headers import parsed
from .limits import MAX_CHUNK_LINE_SIZE, MAX_FIELDS, MAX_LINE_SIZE, MAX_TRAILER_SIZE
from .messages import NO_TRAILERS
from .response import parse_fields

#: Payload is taken from a buffer in no more pieces than that at once.
_MOST_PIECES = 4096


class Length:
    """A body of known length (RFC 9112 section 6.2)."""

    __slots__ = ("payload",)

    line_limit = 0
    ended_by_close = False
    trailers = NO_TRAILERS

    def __init__(self, length: int) -> None:
        self.payload = length

    def took(self, count: int) -> None:
        self.payload -= count

    def line(self, line: bytes) -> None:
        raise AssertionError("a body of known length has no lines")


class UntilClose:
    """A body that ends with the connection (RFC 9112 section 6.3, rule 8)."""

    __slots__ = ("payload",)

    line_limit = 0
    ended_by_close = True
    trailers = NO_TRAILERS

    def __init__(self) -> None:
        self.payload = sys.maxsize

    def took(self, count: int) -> None:
        pass

    def line(self, line: bytes) -> None:
        raise AssertionError("a close-delimited body has no lines")

    def close(self) -> None:
        """The connection has ended, and the body with it."""
        self.payload = 0


class Chunked:
    """A body in chunks (RFC 9112 section 7.1).

    Extensions are checked and ignored. The lines come in this order; *data* is payload::

        size, data, end of data, size, data, end of data, ..., size 0, trailer, ..., empty line
    """

    __slots__ = (
        "_in_data",
        "_run",
        "_separator",
        "_trailer_fields",
        "_trailer_size",
        "line_limit",
        "payload",
        "size",
        "trailers",
    )

    ended_by_close = False

    def __init__(self) -> None:
        self.payload = 0
        self.size = 0
        self.line_limit = MAX_CHUNK_LINE_SIZE
        self.trailers = NO_TRAILERS
        self._in_data = False
        self._separator = b"\r\n"  # what was between the last two chunks: both lines
        self._run = 4  # how many chunks at once are compared with the last one
        self._trailer_fields: list[tuple[str, str]] | None = None
        self._trailer_size = 0

    @property
    def line_size(self) -> int:
        return len(self._separator)

    def took(self, count: int) -> None:
        self.payload -= count
        if self.payload == 0:
            self.line_limit = 2

    def take(
        self, data: bytearray, view: memoryview, start: int, end: int, most: int
    ) -> tuple[list[memoryview], int]:
        """Take payload that lies in *data*, and plain lines between, without a call for each step.

        Args:
            view: all of *data*.
            most: how many bytes of payload are wanted.

        Returns:
            The payload as pieces of *view*, and the index behind all that was taken.
        """
        pieces: list[memoryview] = []
        while start < end and most and len(pieces) < _MOST_PIECES:
            count = min(self.payload, end - start, most)
            if count:
                pieces.append(view[start : start + count])
                start += count
                most -= count
                self.took(count)
            elif count := self._alike(data, start, end, most):
                first, step = start + len(self._separator), len(self._separator) + self.size
                start += count * step
                most -= count * self.size
                pieces += [view[i : i + self.size] for i in range(first, start, step)]
            else:
                begin, start = start, self.skip_lines(data, start, end)
                if start == begin:
                    break
        return pieces, start

    def _alike(self, data: bytearray, start: int, end: int, most: int) -> int:
        """Return how many whole chunks lie there that have the same size line as the last one.

        All of these lines are compared at once, the first bytes of all, then the second. How many
        are looked at grows with how many were alike before: a server that mixes sizes must not be
        able to make this cost more than it saves.
        """
        separator = self._separator
        if not (self._in_data and data.startswith(separator, start, end)):
            return 0
        step = len(separator) + self.size
        count = min((end - start) // step, most // self.size, self._run)
        if not count:
            return 0
        if count == self._run:
            self._run = min(4 * self._run, _MOST_PIECES)
        for i, byte in enumerate(separator, start):
            column = data[i : start + count * step : step]
            if column.count(byte) < count:
                count -= len(column.lstrip(bytes((byte,))))
                self._run = min(4 * count, _MOST_PIECES)
        return count

    def skip_lines(self, data: bytearray, start: int, end: int) -> int:
        """Take both lines between two chunks at once, where they are in *data* and are plain.

        Returns:
            Where the next payload begins; *start* if `line` has to take the next line.
        """
        match = grammar.NEXT_CHUNK.match(data, start, end) if self._in_data else None
        size = 0 if match is None else int(match[1], 16)
        if match is None or not size:
            return start
        self._begin(size, match[0])
        return match.end()

    def _begin(self, size: int, separator: bytes) -> None:
        self.payload = self.size = size
        self._separator = separator
        self._in_data = True
        self.line_limit = 0

    def line(self, line: bytes) -> None:
        """Take the next line with its CRLF, or the first `line_limit` bytes of it if it is longer.

        Raises:
            InvalidResponse: it is not the line that must come now.
        """
        if self._in_data:
            if line != b"\r\n":
                raise InvalidResponse(
                    f"chunk is not followed by CRLF but by {line!r}", part="chunk"
                )
            self._in_data = False
            self.line_limit = MAX_CHUNK_LINE_SIZE
        elif self._trailer_fields is None:
            self._chunk_line(line)
        else:
            self._trailer_line(self._trailer_fields, line)

    def _chunk_line(self, line: bytes) -> None:
        if not line.endswith(b"\n"):
            raise InvalidResponse(
                f"chunk line is longer than {MAX_CHUNK_LINE_SIZE} bytes", part="limit"
            )
        match = grammar.CHUNK_LINE.fullmatch(line.decode("latin-1"))
        if match is None:
            raise InvalidResponse(f"bad chunk line: {line[:80]!r}", part="chunk")
        size = int(match[1], 16)
        if size:
            self._begin(size, b"\r\n" + line)
        else:
            self.size = 0
            self._trailer_fields = []
            self.line_limit = MAX_LINE_SIZE

    def _trailer_line(self, fields: list[tuple[str, str]], line: bytes) -> None:
        size = self._trailer_size + len(line)
        if size > MAX_TRAILER_SIZE:
            raise InvalidResponse(
                f"trailer section is longer than {MAX_TRAILER_SIZE} bytes", part="limit"
            )
        if line == b"\r\n":
            self.trailers = parsed(fields) if fields else NO_TRAILERS
            self.line_limit = 0
            return
        if not line.endswith(b"\n"):
            raise InvalidResponse(
                f"trailer line is longer than {MAX_LINE_SIZE} bytes", part="limit"
            )
        fields += parse_fields(line.decode("latin-1"), trailer=True)
        if len(fields) > MAX_FIELDS:
            raise InvalidResponse(
                f"more than {MAX_FIELDS} fields in the trailer section", part="limit"
            )
        self._trailer_size = size


Decoder = Length | Chunked | UntilClose
