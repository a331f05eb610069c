"""Decoders for response bodies, which work in place: `Length`, `Chunked`, `UntilClose`.

Theory of operation
===================

A decoder never holds bytes, so payload is copied at most once: the system can receive it directly
into the caller's buffer. The decoder announces what is next, and its user reports what arrived.
At any time it is in one of three states:

1. ``payload`` is positive: up to that many bytes of payload are next. The user receives them,
   directly into the caller's buffer if it likes, and reports their number with `took`.
2. ``payload`` is 0 and ``line_limit`` is positive: a line is next, of at most that many bytes
   with its CRLF. The user passes it to `line`. Only chunked bodies have lines, between chunks and
   in the trailer section.
3. Both are 0: the body has ended.

`ended_by_close` is true if the end of the connection ends the body, and false if it truncates it.

`Chunked.size` is the size of the current chunk, or of the last one. `Chunked.line_size` is the
expected number of bytes between this chunk and the next. Both help `reader` to decide how much to
receive into which buffer.
"""

from __future__ import annotations

import sys

from ..errors import InvalidResponse
from . import grammar
from .headers import parsed
from .limits import MAX_CHUNK_LINE_SIZE, MAX_FIELDS, MAX_LINE_SIZE, MAX_TRAILER_SIZE
from .messages import NO_TRAILERS
from .response import parse_fields

#: The largest number of pieces that one call takes from a buffer.
_MOST_PIECES = 4096

#: After so many chunks of one size, more are expected.
_FEW = 4


class Length:
    """A body of known length (RFC 9112 section 6.2)."""

    __slots__ = ("payload",)

    line_limit = 0
    ended_by_close = False
    trailers = NO_TRAILERS

    def __init__(self, length: int) -> None:
        self.payload = length

    def took(self, count: int) -> None:
        """Record that *count* bytes of payload were received or taken from the buffer."""
        self.payload -= count

    def line(self, line: bytes) -> None:
        """Never called."""
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
        pass  # only the end of the connection ends the body

    def line(self, line: bytes) -> None:
        """Never called."""
        raise AssertionError("a close-delimited body has no lines")

    def close(self) -> None:
        """End the body, because the connection has ended."""
        self.payload = 0


class Chunked:
    """A body in chunks (RFC 9112 section 7.1).

    Chunk extensions are validated and ignored. The lines come in this order; *data* is payload::

        size, data, end of data, size, data, end of data, ..., size 0, trailer, ..., empty line

    `take` and `skip_lines` handle the usual lines, those without extensions, several at once and
    inside the buffer. `line` handles any line, and is the only one that reports errors.
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
        self._separator = b"\r\n"  # both lines between the last two chunks
        self._run = 0  # how many chunks of this size came in a row
        self._trailer_fields: list[tuple[str, str]] | None = None
        self._trailer_size = 0

    @property
    def line_size(self) -> int:
        """The expected number of bytes between this chunk and the next."""
        return len(self._separator)

    def took(self, count: int) -> None:
        """Record that *count* bytes of payload were received or taken from the buffer."""
        self.payload -= count
        if self.payload == 0:
            self.line_limit = 2

    def take(
        self, data: bytearray, view: memoryview, start: int, end: int, most: int
    ) -> tuple[list[memoryview], int]:
        """Take payload from a buffer, and the plain lines between chunks.

        Args:
            data: the buffer.
            view: a view of all of *data*.
            start: the index of the first byte not yet consumed.
            end: the index behind the last byte received.
            most: the number of bytes of payload that are wanted.

        Returns:
            The payload as pieces of *view*, and the index behind the last byte taken.
        """
        # A server may send chunks of one byte. So this loop makes no call that it can avoid.
        pieces: list[memoryview] = []
        payload, next_chunk = self.payload, grammar.NEXT_CHUNK.match
        while start < end and most and len(pieces) < _MOST_PIECES:
            if payload:
                stop = min(start + payload, start + most, end)
                pieces.append(view[start:stop])
                payload -= stop - start
                most -= stop - start
                start = stop
            elif not self._in_data:
                break
            elif self._run >= _FEW and (count := self._alike(data, start, end, most)):
                first, step = start + len(self._separator), len(self._separator) + self.size
                start += count * step
                most -= count * self.size
                pieces += [view[i : i + self.size] for i in range(first, start, step)]
            else:
                match = next_chunk(data, start, end)
                if match is None or not (size := int(match[1], 16)):
                    break
                self._run = self._run + 1 if match[0] == self._separator else 0
                self._separator = match[0]
                self.size = payload = size
                start = match.end()
        self.payload = payload
        self.line_limit = 0 if payload else self.line_limit or 2
        return pieces, start

    def _alike(self, data: bytearray, start: int, end: int, most: int) -> int:
        """Return how many complete chunks with the same size line as the last one come next.

        Servers that stream usually send chunks of one size. Their lines are then at equal
        distances in the buffer, and a slice with that step holds the same byte of each line. So
        all lines are compared with one operation for each byte of a line, instead of one match
        for each chunk.

        A server that mixes sizes must not make this cost more than it saves. So this is called
        after `_FEW` chunks of one size, and compares at most four times as many as were alike in
        a row so far (`_run`).
        """
        separator = self._separator
        step = len(separator) + self.size
        count = min((end - start) // step, most // self.size, 4 * self._run, _MOST_PIECES)
        if not count:
            return 0
        compared = count
        for i, byte in enumerate(separator, start):
            column = data[i : start + count * step : step]
            if column.count(byte) < count:
                count -= len(column.lstrip(bytes((byte,))))
        self._run = self._run + count if count == compared else count
        return count

    def skip_lines(self, data: bytearray, start: int, end: int) -> int:
        """Take both lines between two chunks, if both are in *data* and have no extensions.

        Returns:
            The index where the next payload begins; *start* if `line` has to take the next line.
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
        """Take the next line with its CRLF, or the first `line_limit` bytes of a longer one.

        Raises:
            InvalidResponse: the line is not valid at this point, or a limit is exceeded.
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
