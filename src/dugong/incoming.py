"""The body that is coming in: where it is at, and what of it lies in the receive buffer."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import (
    ConnectionClosed,
    ConnectionTimedOut,
    DigestMismatch,
    InvalidResponse,
    StateError,
    UnsupportedResponse,
)
from .link import Link
from .protocol.body import Chunked, Decoder, Length, UntilClose
from .protocol.digest import BodyDigest, Hash
from .protocol.framing import CHUNKED, LENGTH, Framing
from .protocol.limits import BUFFER_SIZE
from .protocol.messages import HTTPResponse
from .protocol.states import RESPONSE_BODY
from .transport.buffer import Gathered, ReceiveBuffer
from .transport.poll import PollNeeded

#: How much is received at once into a buffer of ours, and given out by one call of `read`.
BLOCK_SIZE = 4 * BUFFER_SIZE

#: What ends a body early.
FAILURES = (ConnectionClosed, ConnectionTimedOut, InvalidResponse, UnsupportedResponse)


class IncomingBody:
    """The body of the response whose head was read last, one after another on one link.

    Attributes:
        buffer: what has arrived and is not yet consumed.
        end_reported: whether a reading call has reported the end of the body. Also true before
            the first response.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._exchanges = link.exchanges
        self.buffer = ReceiveBuffer()
        self.end_reported = True
        self._response: HTTPResponse | None = None
        self._body: Decoder | None = None
        #: What the body goes through besides, as it comes in.
        self._digest: BodyDigest | None = None
        self._untouched = False  # nobody has read any of the body
        #: What an interrupted readall had gathered, and what it gathers by.
        self._gathered = Gathered()
        self._block: memoryview | None = None

    @property
    def unfinished(self) -> bool:
        """Whether the end of the body is still to come, or to be consumed."""
        return self._body is not None

    def begin(self, response: HTTPResponse, framing: Framing) -> None:
        """The head of *response* was read, and consumed."""
        self._response = response
        self._digest = None
        self._untouched = True
        self.end_reported = False
        if self._exchanges.receiving is RESPONSE_BODY:
            if framing.delimiter is LENGTH:
                self._body = Length(framing.length or 0)
            elif framing.delimiter is CHUNKED:
                self._body = Chunked()
            else:
                self._body = UntilClose()
        on_event = self._link.activity.on_event
        if on_event is not None:
            on_event("first_byte")
        if self._body is None:
            self._complete(response)
            return
        stream = self._link.stream
        if stream is not None:
            stream.want_read.phase = "body"
        if not self._body.payload:
            self._advance(receive=False)

    def _complete(self, response: HTTPResponse) -> None:
        link = self._link
        if response.request.body is not None:  # which may be large
            self._response = response.without_request()
        if self._exchanges.closed or not self._exchanges.queue:
            link.response_complete(response)
        on_event = link.activity.on_event
        if on_event is not None:
            on_event("done")

    def _try_payload(self, wanted: int) -> int | PollNeeded:
        """Return how many bytes of payload may come next, after any lines before them; 0: none.

        If *wanted* is more than that and they are few, they are in the buffer afterwards.
        """
        if self._exchanges.failure is not None:
            self._exchanges.check_alive()
        buffer = self.buffer
        while (body := self._body) is not None:
            if payload := body.payload:
                if buffer.end or payload >= wanted or not isinstance(body, Chunked):
                    return payload
                if payload >= len(buffer.data) or body.size >= BLOCK_SIZE:
                    return payload
            elif not body.line_limit:
                self._finish(body)
                continue
            elif self._take_line(body):
                continue
            got = self._link.require_stream().recv_into(self._room())
            if isinstance(got, PollNeeded):
                return got
            buffer.received(got)
            if got == 0:
                self._connection_ended()
        return 0

    def _took(self, data: bytes | memoryview, count: int) -> None:
        """The first *count* bytes of *data* are the next of the payload."""
        assert self._body is not None
        self._untouched = False
        self._body.took(count)
        if self._digest is not None:
            self._digest.update(data[:count])
        if not self._body.payload or self._body.ended_by_close:
            self._advance(receive=True)

    def _take_line(self, body: Decoder) -> bool:
        """Have *body* take its next line, or two, from the buffer. Returns whether it was there."""
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

    def _advance(self, *, receive: bool) -> None:
        """Go on to the next payload or to the end of the body, as far as that has arrived.

        What is wrong there is met again, and raised, by the call that cannot do without.

        Args:
            receive: whether to look for it in the system's buffer too, not in ours alone.
        """
        try:
            self._go_on(receive)
        except FAILURES:
            pass

    def _go_on(self, receive: bool) -> None:
        while (body := self._body) is not None:
            if body.payload:
                if body.ended_by_close and receive and not self.buffer and self._at_end():
                    self._connection_ended()
                    continue
                return
            if not body.line_limit:
                self._finish(body)
            elif not self._take_line(body) and not (receive and self._fill()):
                return

    def _at_end(self) -> bool:
        """Whether the end of the connection has arrived. May fill the buffer."""
        stream = self._link.require_stream()
        return stream.has_ended() if stream.peeks else self._fill() == 0

    def _fill(self) -> int | None:
        """Receive into the buffer, without waiting. Returns the number of bytes, 0 at the end."""
        got = self._link.require_stream().recv_into(self._room())
        if isinstance(got, PollNeeded):
            return None
        self.buffer.received(got)
        return got

    def _room(self) -> memoryview:
        """Return where to receive lines of a body into, and what comes along with them."""
        room, body = self.buffer.room(), self._body
        if isinstance(body, Chunked) and body.size >= BLOCK_SIZE:
            return room[: body.line_size]  # the rest goes straight to the caller
        return room

    def _finish(self, body: Decoder) -> None:
        response = self._response
        assert response is not None
        response.trailers = body.trailers
        if self._digest is not None:
            self._verify(self._digest)
        self._body = self._block = None
        self._exchanges.body_ended(response)
        self._complete(response)

    def hash_body(self, hashes: Sequence[Hash], check: bool) -> None:
        """Feed the body that is about to be read to *hashes*, and check its digests if asked to.

        Raises:
            StateError: there is no such body, or somebody has begun to read it.
            DigestMismatch: there is nothing to check it by; or it is empty, and that is wrong.
        """
        response = self._response
        if response is None or not self._untouched:
            raise StateError("there is no response whose body is about to be read")
        if self._digest is not None:
            raise StateError("hash_body() was called before: give it all hashes at once")
        for given in hashes:
            if not callable(getattr(given, "update", None)):
                raise TypeError(
                    f"hashes have a method update(), and {type(given).__name__} has none"
                )
        try:
            digest = BodyDigest(hashes, response, check and _has_content(response))
        except DigestMismatch as exc:
            self._exchanges.describe(exc)
            raise
        if self._body is not None:
            self._digest = digest
        else:
            self._verify(digest)

    def _verify(self, digest: BodyDigest) -> None:
        try:
            digest.verify()
        except DigestMismatch as exc:
            self._gathered = Gathered()  # what is wrong is not given out
            self.note_failure(exc)
            raise

    def _connection_ended(self) -> None:
        """The peer has ended the connection in the middle of a body, or that is its end."""
        body = self._body
        if isinstance(body, UntilClose):
            body.close()
        elif isinstance(body, Length):
            raise ConnectionClosed(f"the connection ended {body.payload} bytes before the body did")
        else:
            raise ConnectionClosed("the connection ended in the middle of a chunked body")

    def try_finish(self) -> PollNeeded | None:
        """Consume the end of a body whose payload was read, if only later bytes end it."""
        while not self._gathered.left and (body := self._body) is not None:
            if body.payload and (self.buffer or not body.ended_by_close):
                return None  # more payload: the caller is told that it is unread
            if body.line_limit and self._take_line(body):
                continue
            if not body.payload and not body.line_limit:
                self._finish(body)
                continue
            got = self._link.require_stream().recv_into(self.buffer.room())
            if isinstance(got, PollNeeded):
                return got
            self.buffer.received(got)
            if got == 0:
                self._connection_ended()
        return None

    def take_end(self) -> None:
        """Do what `try_finish` does, as far as it has arrived, without waiting.

        Raises:
            InvalidResponse: that is not how the body may end.
            DigestMismatch: it ends so, and is not what it was said to be.
        """
        if self._body is None or self._gathered.left:
            return
        if self._exchanges.failure is not None:
            return
        try:
            self._go_on(receive=True)
        except (InvalidResponse, UnsupportedResponse) as exc:
            self.note_failure(exc)
            raise
        except (ConnectionClosed, ConnectionTimedOut):
            pass  # whoever reads is told
        body = self._body
        has_strays = isinstance(body, Length) and len(self.buffer) > body.payload
        if has_strays and len(self._exchanges.queue) == 1:
            self._exchanges.closing = True  # no request may get what follows the last response

    def note_failure(self, exc: Exception) -> None:
        """Complete what *exc* tells, and end receiving unless the same call may succeed later."""
        exchanges = self._exchanges
        if isinstance(exc, (InvalidResponse, UnsupportedResponse)) and exc.response is None:
            exc.response = self._response if self._body is not None else None
        exchanges.describe(exc)
        if not isinstance(exc, ConnectionTimedOut):
            exchanges.fail(exc)


def _has_content(response: HTTPResponse) -> bool:
    return response.method != "HEAD" and response.status not in (204, 304)
