"""The receiving half of HTTP/1.1, without I/O: bytes and end of stream in, messages out.

Theory of operation
===================

`ResponseReader` performs no I/O. Its user asks where the next bytes belong, receives them there,
and reports their number. 0 reports the end of the stream::

    while (response := reader.next_response(exchange)) is None:
        room = reader.target()
        reader.received(room, recv_into(room))

    while (room := reader.target(view)) is not None:
        if count := reader.received(room, recv_into(room)):
            break                              # payload, directly in the view
    else:
        count = reader.take_into(view)         # payload from the buffer; 0 at the end of the body

The reader is inside a body while `ResponseReader.body` is a decoder, and otherwise at a head. The
decoder reports whether payload or a line is next (see `body`).

1. **Heads** pass through the buffer. The reader parses a head when all of it has arrived
   (RFC 9112 section 2.2). Interim responses (RFC 9110 section 15.2) are collected in the exchange,
   except the 100 that the writer awaits, which is returned.
2. **Payload goes directly to the caller** if it is next on the wire and enough of it is missing.
   Chunk-size lines and the trailer section (RFC 9112 section 7.1) pass through the buffer. So do
   chunks that are smaller than both the caller's view and the buffer: one system call for each
   of them would cost more than copying them.
3. **The end of a body** is its last byte if its length is known. A chunked body ends with its
   trailer section, and a close-delimited body with the stream. Both come after the last payload,
   so a read that has its payload may not know that it was the last. `end_target` receives only
   bytes that may end the body.
4. **The end of the stream** completes a close-delimited body. Anywhere else it truncates a head or
   a body, and raises `ConnectionClosed` (RFC 9112 section 8). The transport decides whether the
   stream itself ended properly: over TLS, a missing close_notify raises an exception there and
   is never reported here as a 0.
5. **Early bytes** are not a response (RFC 9112 section 9.2). `total` counts the bytes received. The
   writer stores it in an exchange before it sends the first byte of the request. If the head of
   the response began before that count, the server cannot have sent it in response, and the
   reader raises `InvalidResponse`.
6. **Stray bytes** after the last response make the connection unusable, because no later request
   may be answered by them. `drop_strays` announces a close when they are already in the buffer.
   The transport's `Stream.idle_fault` finds those that arrive later.
7. An exception does not move the position, so calling the same method again raises it again. The
   user decides whether it ends the connection, and then calls `fail`. For example, an error found
   while looking ahead for the end of a body must not fail the read that already has payload.

`ConnectionState` decides what a response means for the connection. This class decides what the
bytes mean.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import (
    ConnectionClosed,
    ConnectionTimedOut,
    DigestMismatch,
    InvalidResponse,
    StateError,
    UnsupportedResponse,
)
from .body import Chunked, Decoder, Length, UntilClose
from .buffer import ReceiveBuffer
from .digest import BodyDigest, Hash
from .exchange import Exchange
from .framing import CHUNKED, LENGTH, Framing, frame
from .limits import RECEIVE_SIZE
from .messages import HTTPResponse
from .response import KnownHead, find_head, parse_head
from .state import ConnectionState
from .states import RESPONSE_BODY

#: Exceptions that end a body, or the wait for a head, early.
FAILURES = (ConnectionClosed, ConnectionTimedOut, InvalidResponse, UnsupportedResponse)

#: `ResponseReader.direct` returns this if the next bytes belong in the buffer.
BUFFERED = -1


class ResponseReader:
    """Reads the responses of one connection, one after another.

    Args:
        state: the exchanges of the connection.

    Attributes:
        buffer: bytes that were received and not yet consumed.
        total: the number of bytes received, consumed or not.
        response: the response whose head was read last.
        body: the decoder for the rest of its body; ``None`` once that has ended.
        ended: the response whose last byte was consumed; the user resets it to ``None``. It is not
            set for a response without a body, which is complete when `next_response` returns it.
        keep_alive: for how many seconds the server keeps the connection after it; ``None`` if the
            server has not announced that.
        sent_body: whether its request had a body.
        digest: the hashes that the body is fed to; ``None`` if there are none.
    """

    __slots__ = (
        "_known",
        "_untouched",
        "body",
        "buffer",
        "digest",
        "ended",
        "keep_alive",
        "response",
        "sent_body",
        "state",
        "total",
    )

    def __init__(self, state: ConnectionState) -> None:
        self.state = state
        self.buffer = ReceiveBuffer()
        self.total = 0
        self.response: HTTPResponse | None = None
        self.body: Decoder | None = None
        self.ended: HTTPResponse | None = None
        self.digest: BodyDigest | None = None
        self.keep_alive: int | None = None
        self.sent_body = False
        self._untouched = False  # whether none of the current body was read
        self._known: KnownHead | None = None  # the last final head

    # Heads.

    def next_response(self, exchange: Exchange) -> HTTPResponse | None:
        """Consume the head at the beginning of the buffer.

        Args:
            exchange: the oldest exchange, whose response is next.

        Returns:
            The final response, a 101 (Switching Protocols), or the 100 (Continue) that the writer
            awaits. ``None`` if more bytes are needed.

        Raises:
            InvalidResponse: the head is not valid, or arrived before its request was sent, or
                exceeds a limit. The buffer still begins with it.
            UnsupportedResponse: the head is valid, but its meaning is not supported. The buffer
                still begins with it.
        """
        buffer, request = self.buffer, exchange.request
        while buffer.end > buffer.start:
            known = self._known
            exchange.response_started = True
            # A server's heads are often identical. Comparing bytes is faster than parsing them.
            if known is not None and buffer.data.startswith(known.head, buffer.start, buffer.end):
                head = known.head
            else:
                known = None
                end = find_head(buffer.data, buffer.start, buffer.end, buffer.scanned)
                if end < 0:
                    buffer.scanned = buffer.end
                    # Part of an interim response is no sign that the request was processed.
                    code = buffer.start + len("HTTP/1.1 ")
                    exchange.response_started = not buffer.data.startswith(b"1", code, buffer.end)
                    return None
                head = bytes(buffer.view[buffer.start : end])
            if known is not None and request.method == known.method:
                response = known.response(request)
            else:
                known = None
                response = parse_head(head, request.method, request.path)
                response.request = request
            # Rule 5, by the position of the head's first byte in the stream. It would not do to
            # require an empty buffer when a request is sent: with pipelining, it may rightfully
            # hold responses to earlier requests.
            if self.total - (buffer.end - buffer.start) < exchange.received_before:
                raise InvalidResponse(
                    "the response arrived before its request was sent", response, part="early"
                )
            if response.status < 200 and response.status != 101:
                exchange.response_started = False
                awaited = self.state.received_interim(exchange, response)
                buffer.consume(len(head))
                if awaited:
                    return response
                continue
            if known is None:
                known = self._known = KnownHead(head, response, frame(response))
            self.state.received_final(exchange, response, known.framing)
            buffer.consume(len(head))
            self.keep_alive = known.framing.keep_alive
            self.sent_body = request.body is not None
            self._begin_body(response, known.framing)
            return response
        return None

    def _begin_body(self, response: HTTPResponse, framing: Framing) -> None:
        self.response = response
        self.digest = None
        self._untouched = True
        if self.state.receiving is RESPONSE_BODY:
            if framing.delimiter is LENGTH:
                self.body = Length(framing.length or 0)
            elif framing.delimiter is CHUNKED:
                self.body = Chunked()
            else:
                self.body = UntilClose()

    # Receiving.

    def target(self, view: memoryview | None = None) -> memoryview | None:
        """Return the buffer for the next bytes.

        Args:
            view: the caller's buffer for payload, not empty; ``None`` when reading a head.

        Returns:
            The beginning of *view*, or a part of the receive buffer. Receive into it and report
            the number of bytes with `received`, even if it is 0. ``None`` if nothing must be
            received, because the buffer holds payload or the body has ended.

        Raises:
            InvalidResponse: a chunk line or the trailer section is not valid.
            DigestMismatch: the body has ended and does not have the announced digest.
        """
        if view is None or self.body is None:
            return self.room() if view is None else None
        size = len(view)
        count = self.direct(size)
        if count > 0:
            return view if count >= size else view[:count]
        return self.room() if count else None

    def direct(self, size: int) -> int:
        """Return how many bytes of payload a caller that wants *size* bytes may receive directly.

        Returns:
            A number that may exceed *size*; `BUFFERED` if the next bytes belong in `room`; 0 if
            none must be received. Raises as `target`.
        """
        buffer = self.buffer
        while (body := self.body) is not None:
            if payload := body.payload:
                if buffer.end:
                    return 0
                if payload >= size or not isinstance(body, Chunked):
                    return payload
                # The end of a chunk. It goes directly to the caller if it would not fit in the
                # buffer, or if the chunk is so large that one more call hardly matters.
                if payload >= len(buffer.data) or body.size >= RECEIVE_SIZE:
                    return payload
                return BUFFERED
            if not body.line_limit:
                self._end_body(body)
            elif not self._take_line(body):
                return BUFFERED
        return 0

    def end_target(self) -> memoryview | None:
        """Return the buffer for bytes that may end the body. Raises as `target`.

        Returns:
            As `target`. ``None`` while more payload is certain to follow, and after the end.
        """
        while (body := self.body) is not None:
            if body.payload:
                if body.ended_by_close and not self.buffer.end:
                    return self.buffer.room()
                return None
            if not body.line_limit:
                self._end_body(body)
            elif not self._take_line(body):
                return self.room()
        return None

    def received(self, room: memoryview, count: int) -> int:
        """Record that *count* bytes were received into *room*, 0 at the end of the stream.

        Args:
            room: the result of `target` or `end_target`.
            count: the number of bytes.

        Returns:
            The number of bytes of payload in the caller's own view.

        Raises:
            ConnectionClosed: the stream ended in the middle of a head or a body, or before a head.
        """
        self.total += count
        if not count:
            self._end_of_stream()
        elif room.obj is self.buffer.data:
            self.buffer.received(count)
        else:
            self._took(room, count)
            return count
        return 0

    def received_payload(self, data: bytes) -> None:
        """Record payload that was received as a separate object.

        Args:
            data: at most as many bytes as `direct` returned; empty at the end of the stream.

        Raises:
            ConnectionClosed: the end of the stream truncates the body.
        """
        self.total += len(data)
        if data:
            self._took(data, len(data))
        else:
            self._end_of_stream()

    def _took(self, data: bytes | memoryview, count: int) -> None:
        assert self.body is not None
        self._untouched = False
        self.body.took(count)
        if self.digest is not None:
            self.digest.update(data[:count])

    def room(self) -> memoryview:
        """Return the free part of the receive buffer, for heads, lines and small chunks.

        Between large chunks it is limited to the expected size of the lines. More would receive
        the beginning of the next chunk, which is better received directly by the caller.
        """
        room, body = self.buffer.room(), self.body
        if isinstance(body, Chunked) and body.size >= RECEIVE_SIZE:
            return room[: body.line_size]
        return room

    def _end_of_stream(self) -> None:
        body = self.body
        if body is None:
            raise ConnectionClosed(
                "the connection ended in the middle of a response head"
                if self.buffer
                else "the connection ended before a response arrived"
            )
        if isinstance(body, UntilClose):
            body.close()
        elif isinstance(body, Length):
            raise ConnectionClosed(
                f"the connection ended {body.payload} bytes before the end of the body"
            )
        else:
            raise ConnectionClosed("the connection ended in the middle of a chunked body")

    # Buffered payload.

    def take(self, most: int) -> bytes:
        """Return at most *most* bytes of payload from the buffer; ``b""`` if it has none."""
        return b"".join(self._pieces(most)) if self.has_payload else b""

    def take_into(self, view: memoryview) -> int:
        """Copy payload from the buffer into *view*. Returns the number of bytes, 0 for none."""
        filled = 0
        if self.has_payload:
            for piece in self._pieces(len(view)):
                end = filled + len(piece)
                view[filled:end] = piece
                filled = end
        return filled

    @property
    def has_payload(self) -> bool:
        """Whether the buffer begins with payload."""
        return self.body is not None and self.body.payload > 0 and self.buffer.end > 0

    def _pieces(self, most: int) -> list[memoryview]:
        """Consume payload. The views are valid until the next receive, so copy them first."""
        body, buffer = self.body, self.buffer
        assert body is not None
        self._untouched = False
        if isinstance(body, Chunked):
            pieces, end = body.take(buffer.data, buffer.view, buffer.start, buffer.end, most)
        else:
            end = min(buffer.start + min(body.payload, most), buffer.end)
            pieces = [buffer.view[buffer.start : end]]
            body.took(end - buffer.start)
        if self.digest is not None:
            for piece in pieces:
                self.digest.update(piece)
        buffer.skip_to(end)
        return pieces

    def take_rest(self, length: int) -> bytes:
        """Return the last *length* bytes of the body, which the buffer holds, and end the body.

        Raises:
            DigestMismatch: the body does not have the announced digest.
        """
        body, rest = self.body, self.buffer.take(length)
        assert body is not None
        self._untouched = False
        if self.digest is not None:
            self.digest.update(rest)
        self._end_body(body)
        return rest

    def _take_line(self, body: Decoder) -> bool:
        """Pass the next line, or two, from the buffer to *body*. Return whether it has arrived."""
        buffer, limit = self.buffer, body.line_limit
        if isinstance(body, Chunked):
            start = body.skip_lines(buffer.data, buffer.start, buffer.end)
            if start > buffer.start:
                buffer.skip_to(start)
                return True
        size = buffer.find_line(limit)
        if size < 0:
            if len(buffer) < limit:
                return False
            size = limit
        body.line(bytes(buffer.data[buffer.start : buffer.start + size]))
        buffer.consume(size)
        return True

    # Ends.

    def _end_body(self, body: Decoder) -> None:
        response = self.response
        assert response is not None
        response.trailers = body.trailers
        if self.digest is not None:
            self._verify(self.digest)
        self.body = None
        self.ended = response
        self.state.body_ended(response)

    def forget_request(self) -> None:
        """Drop the reference to the request of a complete response: its body may be large."""
        assert self.response is not None
        self.response = self.response.without_request()

    def hash_body(self, hashes: Sequence[Hash], check: bool) -> None:
        """Feed the body that is about to be read to *hashes*.

        Args:
            hashes: objects with a method ``update``.
            check: whether to check the digests that the response announces (RFC 9530).

        Raises:
            StateError: there is no such body, or some of it was read.
            TypeError: an item of *hashes* has no such method.
            DigestMismatch: the response announces no digest; or its body is empty, and the digest
                is not that of an empty body.
        """
        response = self.response
        if response is None or not self._untouched:
            raise StateError(
                "no body to hash: call hash_body() between read_response() and the first read"
            )
        if self.digest is not None:
            raise StateError("hash_body() was already called: pass all hashes in one call")
        for given in hashes:
            if not callable(getattr(given, "update", None)):
                raise TypeError(
                    f"hashes must have a method update(), but {type(given).__name__} has none"
                )
        try:
            digest = BodyDigest(hashes, response, check and _has_content(response))
        except DigestMismatch as exc:
            self.state.describe(exc)
            raise
        if self.body is not None:
            self.digest = digest
        else:
            self._verify(digest)

    def _verify(self, digest: BodyDigest) -> None:
        try:
            digest.verify()
        except DigestMismatch as exc:
            self.fail(exc)
            raise

    def fail(self, exc: Exception) -> None:
        """Complete the attributes of *exc*, and end receiving unless it is a timeout.

        After a timeout, the same call can be repeated. Nothing was lost.
        """
        state = self.state
        if isinstance(exc, (InvalidResponse, UnsupportedResponse)) and exc.response is None:
            exc.response = self.response if self.body is not None else None
        state.describe(exc)
        if not isinstance(exc, ConnectionTimedOut):
            state.fail(exc)

    def drop_strays(self) -> None:
        """Announce a close if the buffer holds bytes beyond the end of the last response.

        No request can be answered by them, so no further request is accepted. The check needs a
        body of known length, and no other exchange in flight.
        """
        body = self.body
        has_strays = isinstance(body, Length) and len(self.buffer) > body.payload
        if has_strays and len(self.state.queue) == 1:
            self.state.closing = True


def _has_content(response: HTTPResponse) -> bool:
    return response.method != "HEAD" and response.status not in (204, 304)
