"""`Response`: the head of a response, and its body, decoded.

Theory of operation
===================

1. A response has its connection until the last byte of its body was received, until `close`, or
   until a reading method raises. Then the lease ends, and the pool keeps or closes the connection.
2. A reading method is a coroutine (`_co_…`) that is run in three ways: by `read`, by `co_read`, and
   by `AsyncResponse.read`. The lease ends outside of the coroutine, because its driver still uses
   the connection object until the coroutine has returned.
3. Without a content coding, the connection writes straight into the caller's buffer. With one,
   received data goes through a `Decoder`. The last bytes may then be decoded after the connection
   has been returned.
4. A response that is dropped unread drops its connection, and the finalizer of the lease closes
   that (see `pool.pool`). So the finalizer here only warns.
"""

from __future__ import annotations

import codecs
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from ..connection.leased import Leased, LeasedHTTPConnection
from ..errors import DugongError, InvalidResponse, StateError, StatusError
from ..protocol.arguments import check_int, check_size
from ..protocol.buffer import writable_view
from ..protocol.limits import BUFFER_SIZE
from ..transport.poll import run
from .coding import decoder_for
from .delay import co_delay
from .lines import LINE_LIMIT, Lines, LineSplitter
from .pace import Pace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from _typeshed import WriteableBuffer

    from ..pool.pool import BasePool
    from ..protocol.headers import Headers
    from ..protocol.messages import HTTPResponse
    from ..transport.poll import Co, T
    from .call import Call
    from .coding import Decoder
    from .request import ClientRequest

C = TypeVar("C", bound=Leased)

#: The most bytes of a body that `StatusError` has.
MAX_ERROR_BODY = 64 * 1024


class Kept:
    """A body that was received and decoded. It is read like what a `Decoder` has decoded."""

    __slots__ = ("_at", "_body")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    @property
    def finished(self) -> bool:
        return self._at == len(self._body)

    def read(self, n: int) -> bytes:
        data = self._body[self._at : self._at + n]  # all of it is not copied
        self._at += len(data)
        if self.finished:
            self._body, self._at = b"", 0
        return data

    def readinto(self, view: memoryview) -> int:
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


#: What to use instead of attributes that the responses of other libraries have.
_INSTEAD = {
    "content": "readall()",
    "status_code": "status",
    "reason_phrase": "reason",
    "ok": "raise_for_status(), or compare status",
    "is_success": "raise_for_status(), or compare status",
    "iter_lines": "lines()",
    "iter_content": "read(), or a loop over the response",
    "iter_bytes": "read(), or a loop over the response",
    "cookies": "the cookies of the client",
    "encoding": "text(encoding)",
    "elapsed": "on_event of the client",
}


class BaseResponse(Generic[C]):
    """The common part of `Response` and `AsyncResponse`. `Response` has the documentation."""

    __slots__ = (
        "__weakref__", "_closed", "_conn", "_decoder", "_head", "_limits", "_max_body", "_pace",
        "_pool", "history", "request",
    )  # fmt: skip

    def __init__(
        self, call: Call[C, Any], head: HTTPResponse, conn: C | None, history: list[Any]
    ) -> None:
        self._head = head
        self._pool: BasePool[C] = call.pool
        self._limits = call.limits
        self._max_body = call.settings.max_body
        self._closed = conn is None
        self._decoder: Decoder | Kept | None = None
        self._pace: Pace | None = None
        self.request: ClientRequest = call.request
        self.history: list[Self] = history
        self._conn: C | None = None
        if conn is not None:
            if call.decode and head.headers.mentions("content-encoding"):
                self._decoder = decoder_for(head.method, head.status, head.headers, head)
            if call.settings.rate is not None:
                self._pace = Pace(call.settings.rate, time.monotonic)
            self._conn = conn
            if head.length == 0:
                self._return_connection()

    # The head.

    @property
    def status(self) -> int:
        """The status code, such as 200."""
        return self._head.status

    @property
    def reason(self) -> str:
        """The reason phrase, which may be empty."""
        return self._head.reason

    @property
    def headers(self) -> Headers:
        """The fields, as received, a `Headers`."""
        return self._head.headers

    @property
    def trailers(self) -> Headers:
        """The fields of the trailer section, a `Headers`; empty until the body was read."""
        return self._head.trailers

    @property
    def informational(self) -> list[HTTPResponse]:
        """The interim (1xx) responses before this one."""
        return self._head.informational

    @property
    def http_version(self) -> str:
        """The server's protocol version, ``'1.1'`` or ``'1.0'``."""
        return self._head.version

    @property
    def length(self) -> int | None:
        """The number of bytes of the body on the wire, encoded; ``None`` if it is unknown."""
        return self._head.length

    @property
    def url(self) -> str:
        """The URL of the request, with the fragment and without user information."""
        return self.request.url

    @property
    def closed(self) -> bool:
        """Whether the response no longer has a connection."""
        return self._conn is None

    if not TYPE_CHECKING:  # a type checker would believe that there are any attributes

        def __getattr__(self, name: str) -> Any:
            hint = f": use {_INSTEAD[name]}" if name in _INSTEAD else ""
            text = f"{type(self).__name__!r} object has no attribute {name!r}{hint}"
            raise AttributeError(text, name=name, obj=self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status} {self.reason}".rstrip() + ">"

    def __reduce__(self) -> tuple[Any, ...]:
        """Return a closed response without its body: exceptions that refer to it are pickled."""
        return _unpickled, (type(self), self._head, self.request, self.history)

    def __del__(self) -> None:
        if getattr(self, "_conn", None) is not None:
            warnings.warn(
                f"the body of {self!r} to {self.request.method} {self.url} was not read: read it, "
                "use a with block, or call close()",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )

    # The end.

    def _return_connection(self) -> None:
        """End the lease."""
        conn, self._conn = self._conn, None
        if conn is not None:
            self._pool.release(conn)

    def end(self) -> None:
        """Close the response without waiting, as `Response.close` does. For coroutines."""
        if self._conn is not None or self._decoder is not None:
            self._closed = True
        self._decoder = None
        self._return_connection()

    def keep(self, body: bytes) -> None:
        """Have the reading methods return *body*, which was read from this response."""
        self._decoder = Kept(body)

    def _after_reading(self) -> None:
        """End the lease if the whole body has been received."""
        conn = self._conn
        if conn is not None and not conn.response_pending():
            self._return_connection()

    def _check_open(self) -> None:
        if self._closed:
            raise StateError("the response is closed: read its body before that")

    # Coroutines. The methods of `Response` have the documentation.

    def _co_run(self, crt: Co[T]) -> Co[T]:
        """Run a reading coroutine. Every failure closes the response."""
        try:
            result = yield from crt
        except BaseException:
            self.end()
            raise
        self._after_reading()
        return result

    def co_read(self, n: int | None = None) -> Co[bytes]:
        """Coroutine of `Response.read`."""
        return self._co_run(self._co_read(check_n(n)))

    def co_readinto(self, buf: WriteableBuffer) -> Co[int]:
        """Coroutine of `Response.readinto`."""
        return self._co_run(self._co_readinto(writable_view(buf)))

    def co_readall(self, limit: int | None = None) -> Co[bytes]:
        """Coroutine of `Response.readall`."""
        return self._co_run(self._co_readall(self._limit(limit)))

    def co_discard(self) -> Co[None]:
        """Coroutine of `Response.discard`."""
        return self._co_run(self._co_discard())

    def co_text(self, encoding: str | None = None) -> Co[str]:
        """Coroutine of `Response.text`."""
        return self._co_run(self._co_text(self._encoding(encoding)))

    def co_json(self) -> Co[Any]:
        """Coroutine of `Response.json`."""
        return self._co_run(self._co_json())

    def co_raise_for_status(self) -> Co[Self]:
        """Coroutine of `Response.raise_for_status`."""
        if self.status < 400:
            return self
        yield from self._co_run(self._co_error_body())
        raise AssertionError("unreachable")

    # What they do.

    def _co_receive(self, n: int) -> Co[bytes]:
        """Receive at most *n* bytes, without decoding them."""
        conn, pace = self._conn, self._pace
        if conn is None:
            return b""
        if pace is None:
            return (yield from conn.co_read(n))
        yield from pace.co_wait()
        data = yield from conn.co_read(min(n, pace.piece))
        pace.received(len(data))
        return data

    def _co_read(self, n: int | None) -> Co[bytes]:
        self._check_open()
        if n is None:
            return (yield from self._co_readall(self._limit(None)))
        decoder = self._decoder
        if decoder is None:
            return (yield from self._co_receive(n))
        while n:
            data = decoder.read(n)
            if data or decoder.finished:
                return data
            yield from self._co_feed(decoder)
        return b""

    def _co_feed(self, decoder: Decoder | Kept) -> Co[None]:
        """Give more data to a decoder that has returned nothing."""
        assert not isinstance(decoder, Kept)  # it has returned something, or is finished
        if decoder.needs_input:
            received = yield from self._co_receive(BUFFER_SIZE)
            if received:
                decoder.feed(received)
            else:
                decoder.end()
        else:  # it has decoded much data and dropped it: the driver gets a turn
            if self._limits is not None:
                self._limits.check("body")
            yield from co_delay(0.0, time.monotonic)

    def _co_readinto(self, view: memoryview) -> Co[int]:
        try:
            self._check_open()
            decoder = self._decoder
            if decoder is None:
                conn, pace = self._conn, self._pace
                if conn is None:
                    return 0
                if pace is None:
                    return (yield from conn.co_readinto(view))
                yield from pace.co_wait()
                count = yield from conn.co_readinto(view[: pace.piece])
                pace.received(count)
                return count
            while len(view):
                count = decoder.readinto(view)
                if count or decoder.finished:
                    return count
                yield from self._co_feed(decoder)
            return 0
        finally:
            view.release()  # the frames of an exception would keep the caller's buffer exported

    def _co_readall(self, limit: int | None) -> Co[bytes]:
        self._check_open()
        if self._decoder is None and self._pace is None:
            conn = self._conn
            return b"" if conn is None else (yield from conn.co_readall(limit))
        if isinstance(self._decoder, Kept) and limit is None:
            return self._decoder.read(sys.maxsize)
        pieces, size = [], 0
        while piece := (yield from self._co_read(BUFFER_SIZE)):
            size += len(piece)
            if limit is not None and size > limit:
                raise InvalidResponse(
                    f"the body has more than {limit} bytes, decoded", self._head, part="limit"
                )
            pieces.append(piece)
        return b"".join(pieces)

    def _co_discard(self) -> Co[None]:
        self._check_open()
        self._decoder = None
        if self._pace is None:
            if self._conn is not None:
                yield from self._conn.co_discard()
            return
        while (yield from self._co_receive(BUFFER_SIZE)):
            pass

    def _co_text(self, encoding: str) -> Co[str]:
        data = yield from self._co_readall(self._limit(None))
        return data.decode(encoding, "replace")

    def _co_json(self) -> Co[Any]:
        from json import loads  # imported only for such a body

        return loads((yield from self._co_readall(self._limit(None))))

    def _co_error_body(self) -> Co[None]:
        """Raise a `StatusError`. That closes the response."""
        body = bytearray()
        try:
            while not self._closed and len(body) < MAX_ERROR_BODY:
                piece = yield from self._co_read(MAX_ERROR_BODY - len(body))
                if not piece:
                    break
                body += piece
        except (DugongError, OSError):
            pass  # the status matters more than what follows it
        raise StatusError(self.status, self.reason, self.url, self, bytes(body))

    # Arguments.

    def _limit(self, limit: int | None) -> int | None:
        most = self._max_body
        if limit is None:
            return most
        limit = check_size(limit, "limit")
        return limit if most is None else min(limit, most)

    def _encoding(self, encoding: str | None) -> str:
        """Return the encoding of the text: the argument, the declared charset, or UTF-8."""
        if encoding is not None:
            return codecs.lookup(encoding).name
        declared = self.headers.get_content_charset()
        if declared is not None:
            try:
                return codecs.lookup(declared).name
            except (LookupError, ValueError):
                pass
        return "utf-8"

    def _splitter(self, limit: int) -> LineSplitter:
        self._check_open()
        return LineSplitter(self._encoding(None), check_size(limit, "limit", 1), self._head)


class Response(BaseResponse[LeasedHTTPConnection]):
    """A response of a `Client`.

    The head is complete. The body is read with the methods of this object, and decoded if it has a
    content coding that is supported, unless *decode* is false.

    The response has its connection until the last byte of the body was read, until `close`, or
    until the end of a ``with`` block. Any error that a reading method raises, except for a wrong
    argument, closes the connection.

    Attributes:
        request: the request: an object with ``method``, ``url``, ``headers`` and ``body``.
        history: the responses that redirected to this one, oldest first. Their bodies were
            discarded.
    """

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, crt: Co[T]) -> T:
        conn = self._conn
        try:
            result = run(crt, None, None, None) if conn is None else conn.run(crt)
        except BaseException:
            self.end()
            raise
        if self._conn is not None:
            self._after_reading()
        return result

    def close(self) -> None:
        """Close the response. Never waits. May be called again.

        If the body has not been received completely, this closes the connection.
        """
        self.end()

    def read(self, n: int | None = None) -> bytes:
        """Read some of the body.

        Args:
            n: the most bytes to return. ``None`` or a negative number reads everything, like
                `readall`.

        Returns:
            At most *n* decoded bytes, as they arrive; ``b''`` only at the end of the body.

        Raises:
            TypeError: *n* is not an integer.
            StateError: the response is closed.
            InvalidResponse: the body is invalid, or does not match its content coding.
            ConnectionClosed: the connection ended before the body did.
            ConnectionTimedOut: a time limit has passed.
        """
        return self._run(self._co_read(check_n(n)))

    def readinto(self, buf: WriteableBuffer) -> int:
        """Read some of the body into a buffer.

        Args:
            buf: any writable, contiguous buffer.

        Returns:
            The number of bytes; 0 only at the end of the body, or for an empty buffer.

        Raises:
            TypeError: *buf* is not a writable buffer.
            DugongError: as for `read`.
        """
        return self._run(self._co_readinto(writable_view(buf)))

    def readall(self, limit: int | None = None) -> bytes:
        """Read the rest of the body.

        Args:
            limit: the maximum acceptable number of decoded bytes. ``None`` for *max_body* of the
                client.

        Raises:
            InvalidResponse: the body is longer (``part`` is ``'limit'``). Also as for `read`.
            DugongError: as for `read`.
        """
        limit = self._max_body if limit is None else self._limit(limit)
        conn = self._conn
        if conn is None or self._decoder is not None or self._pace is not None:
            return self._run(self._co_readall(limit))
        try:
            data = conn.readall(limit)
        except BaseException:
            self.end()
            raise
        self._return_connection()
        return data

    def discard(self) -> None:
        """Receive the rest of the body and drop it, without decoding it.

        Raises:
            DugongError: as for `read`.
        """
        self._run(self._co_discard())

    def text(self, encoding: str | None = None) -> str:
        """Read the rest of the body as text.

        Args:
            encoding: the encoding. By default that is the charset that ``Content-Type`` declares,
                if Python knows it, and UTF-8 otherwise. Invalid bytes are replaced.

        Raises:
            LookupError: Python does not know *encoding*.
            DugongError: as for `readall`.
        """
        return self._run(self._co_text(self._encoding(encoding)))

    def json(self) -> Any:
        """Read the rest of the body as JSON, and return the value.

        Raises:
            ValueError: the body is not valid JSON.
            DugongError: as for `readall`.
        """
        return self._run(self._co_json())

    def lines(self, limit: int = LINE_LIMIT) -> ResponseLines:
        """Return an iterator over the lines of the body, decoded as in `text`.

        Lines end with LF, CRLF or CR, which they do not contain.

        Args:
            limit: the maximum acceptable number of characters in a line.

        Raises:
            InvalidResponse: a line is longer (``part`` is ``'limit'``). Raised by the iterator.
            DugongError: as for `read`. Raised by the iterator.
        """
        return ResponseLines(self, self._splitter(limit))

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body in pieces, as they arrive."""
        while piece := self.read(BUFFER_SIZE):
            yield piece

    def raise_for_status(self) -> Self:
        """Return this response, unless its status is 4xx or 5xx.

        Raises:
            StatusError: its status is 4xx or 5xx. It has at most 64 KiB of the body. The response
                is closed.
        """
        if self.status >= 400:
            self._run(self._co_error_body())
        return self


class ResponseLines(Lines[Response]):
    """The lines of a response."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        while (line := self._next_line()) is None and not self._splitter.ended:
            self._splitter.feed(self._response.read(BUFFER_SIZE))
        if line is None:
            raise StopIteration
        return line


def check_n(n: int | None) -> int | None:
    """Return the argument *n* of `read`; ``None`` to read everything."""
    if n is None:
        return None
    n = check_int(n, "n")
    return None if n < 0 else n


def _unpickled(
    kind: type[BaseResponse[Any]], head: HTTPResponse, request: ClientRequest, history: list[Any]
) -> BaseResponse[Any]:
    response = kind.__new__(kind)
    response._head, response.request, response.history = head, request, history
    response._conn = response._decoder = response._pace = None
    response._limits = response._max_body = None
    response._closed = True
    return response
