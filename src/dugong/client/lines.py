"""The lines of a body, decoded as they arrive."""

from __future__ import annotations

import codecs
import io
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..errors import InvalidResponse
from ..protocol.limits import BUFFER_SIZE

if TYPE_CHECKING:
    from ..protocol.messages import HTTPResponse
    from ..transport.poll import Co
    from .response import BaseResponse

R = TypeVar("R", bound="BaseResponse[Any]")

#: The most characters in a line by default: without a limit, a server that sends no line end could
#: fill the memory. asyncio's streams: 64 KiB.
LINE_LIMIT = 1024 * 1024


class LineSplitter:
    """Splits a body into lines.

    Args:
        encoding: the encoding of the text. Invalid bytes are replaced.
        limit: the most characters in a line.
        head: the response, for exceptions.

    Attributes:
        ended: whether the body has ended.
    """

    __slots__ = ("_decoder", "_head", "_limit", "_lines", "_rest", "_size", "ended")

    def __init__(self, encoding: str, limit: int, head: HTTPResponse) -> None:
        decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._decoder = io.IncrementalNewlineDecoder(decoder, translate=True)
        self._limit = limit
        self._head = head
        self._lines: deque[str] = deque()
        self._rest: list[str] = []  # the beginning of the next line
        self._size = 0  # characters in it
        self.ended = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body; none at its end."""
        *ends, rest = self._decoder.decode(data, final=not data).split("\n")
        if ends:
            self._lines.append("".join([*self._rest, ends[0]]))
            self._lines.extend(ends[1:])
            self._rest, self._size = [], 0
        if rest:
            self._rest.append(rest)
            self._size += len(rest)
        self.ended = not data
        if self.ended and self._rest:
            self._lines.append("".join(self._rest))

    def next_line(self) -> str | None:
        """Return the next line, ``None`` if there is none yet.

        Raises:
            InvalidResponse: it is too long.
        """
        line = self._lines.popleft() if self._lines else None
        if (self._size if line is None else len(line)) > self._limit:
            raise InvalidResponse(
                f"a line has more than {self._limit} characters", self._head, part="limit"
            )
        return line


class Lines(Generic[R]):
    """The common part of the iterators over the lines of a response."""

    def __init__(self, response: R, splitter: LineSplitter) -> None:
        self._response = response
        self._splitter = splitter

    def _next_line(self) -> str | None:
        try:
            return self._splitter.next_line()
        except InvalidResponse:
            self._response.end()
            raise

    def co_next(self) -> Co[str | None]:
        """Coroutine that returns the next line, ``None`` at the end of the body."""
        while (line := self._next_line()) is None and not self._splitter.ended:
            self._splitter.feed((yield from self._response.co_read(BUFFER_SIZE)))
        return line
