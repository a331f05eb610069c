"""The receiving half of a link: response heads and bodies.

Payload is received straight into the caller's buffer. Only heads and chunk lines, and what
arrives together with them, pass through the receive buffer; and chunks that are smaller than it,
because a call of the system for each would cost more than copying them.

Each operation is an *attempt*, a method ``try_…`` that does what can be done without waiting. It
returns the result, or as `PollNeeded` what it lacks; then it is to be made again. `co_do` does
that. Nothing is taken from the receive buffer before it can be handed over or understood as a
whole, so whoever waits may give up at any time, and begin again later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from .errors import (
    ConnectionClosed,
    ConnectionTimedOut,
    DigestMismatch,
    InvalidResponse,
    StateError,
    UnsupportedResponse,
)
from .link import Link, Turn
from .protocol.body import Chunked, Decoder, Length, UntilClose
from .protocol.digest import BodyDigest, Hash
from .protocol.exchange import Exchange, Receiving
from .protocol.framing import Delimiter, Framing, frame
from .protocol.limits import BUFFER_SIZE, MAX_CHUNK_LINE_SIZE
from .protocol.messages import HTTPResponse
from .protocol.response import find_head, parse_head
from .transport.buffer import Gathered, ReceiveBuffer
from .transport.poll import Co, PollNeeded

P = ParamSpec("P")
T = TypeVar("T")

#: How much is received at once into a buffer of ours, and given out by one call of `read`.
_BLOCK_SIZE = 4 * BUFFER_SIZE

_FAILURES = (ConnectionClosed, ConnectionTimedOut, InvalidResponse, UnsupportedResponse)


class Receiver:
    """Reads responses from one link.

    Attributes:
        buffer: what has arrived and is not yet consumed.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._exchanges = link.exchanges
        self._turn = Turn("reading from")
        self.buffer = ReceiveBuffer()
        self._response: HTTPResponse | None = None
        self._body: Decoder | None = None
        #: What the body goes through besides, as it comes in.
        self._digest: BodyDigest | None = None
        self._untouched = False  # nobody has read any of the body
        #: What an interrupted readall had gathered, and what it gathers by.
        self._gathered = Gathered()
        self._block: memoryview | None = None

    def co_do(
        self, attempt: Callable[P, T | PollNeeded], *args: P.args, **kwargs: P.kwargs
    ) -> Co[T]:
        """Make an attempt of this receiver's until it succeeds or fails, waiting in between.

        Raises:
            StateError: another call is reading.
        """
        self._turn.take()
        try:
            while isinstance(got := attempt(*args, **kwargs), PollNeeded):
                yield from self._link.require_stream().wait(got)
            return got
        except BaseException as exc:
            self._broke_off(exc)
            raise
        finally:
            self._turn.release()

    def _broke_off(self, exc: BaseException) -> None:
        """Decide what *exc*, raised by an attempt or thrown into a wait, leaves behind."""
        if isinstance(exc, _FAILURES):
            self._failed(exc)
        elif not isinstance(exc, (GeneratorExit, StateError, DigestMismatch)):
            self._exchanges.fail(exc)  # in the middle: nobody knows what was consumed

    # Heads.

    def co_read_response(self) -> Co[HTTPResponse]:
        """Read the next response's head, or the 100 (Continue) that is awaited."""
        link, exchanges = self._link, self._exchanges
        self._turn.take()
        try:
            exchanges.check_alive()
            while self._body is not None and (need := self.try_finish_body()) is not None:
                yield from link.require_stream().wait(need)
            exchange = exchanges.next()
            while exchanges.being_sent(exchange):
                yield from link.co_wait_until_sent(exchange)
                exchange = exchanges.next()
            while isinstance(got := self._try_response(exchange), PollNeeded):
                yield from link.require_stream().wait(got)
            return got
        except BaseException as exc:
            self._broke_off(exc)
            raise
        finally:
            self._turn.release()

    def try_response_to(self, exchange: Exchange) -> HTTPResponse | PollNeeded:
        """Read the response to the only exchange there is, sent or not, or the awaited 100."""
        self._exchanges.check_alive()
        return self._try_response(exchange)

    def _try_response(self, exchange: Exchange) -> HTTPResponse | PollNeeded:
        request = exchange.outgoing.request
        while True:
            head = self._try_head(exchange)
            if isinstance(head, PollNeeded):
                return head
            response = parse_head(head, request.method, request.path)
            if response.status < 200 and response.status != 101:
                exchange.response_started = False
                frame(response)
                awaited = self._exchanges.received_interim(exchange, response)
                self.buffer.consume(len(head))
                if awaited:
                    return response
            else:
                framing = frame(response)
                self._exchanges.received_final(exchange, response, framing)
                self.buffer.consume(len(head))
                self._begin_body(response, framing)
                return response

    def _try_head(self, exchange: Exchange) -> bytes | PollNeeded:
        """Receive until the buffer begins with a complete head, and return that, not consumed."""
        buffer = self.buffer
        stream = self._link.require_stream()
        while True:
            if buffer.end > buffer.start:
                exchange.response_started = True
                end = find_head(buffer.data, buffer.start, buffer.end, buffer.scanned)
                if end >= 0:
                    return bytes(buffer.view[buffer.start : end])
                buffer.scanned = buffer.end
                code = buffer.start + len("HTTP/1.1 ")
                exchange.response_started = not buffer.data.startswith(b"1", code, buffer.end)
            elif not exchange.looked_for and stream.peeks:
                # It has just been sent: wait first, instead of trying in vain first.
                exchange.looked_for = True
                if not self._exchanges.is_cut_off(exchange):
                    return stream.want_read
            got = stream.recv_into(buffer.room())
            if isinstance(got, PollNeeded):
                if self._exchanges.is_cut_off(exchange):
                    cause = self._exchanges.cut_off_by
                    raise ConnectionClosed("the request was not sent whole") from cause
                return got
            buffer.received(got)
            if got == 0:
                raise ConnectionClosed(
                    "the connection ended in the middle of a response head"
                    if buffer
                    else "the connection ended before a response came"
                )

    def _begin_body(self, response: HTTPResponse, framing: Framing) -> None:
        self._response = response
        self._digest = None
        self._untouched = True
        if self._exchanges.receiving is Receiving.BODY:
            if framing.delimiter is Delimiter.CHUNKED:
                self._body = Chunked()
            elif framing.delimiter is Delimiter.LENGTH:
                self._body = Length(framing.length or 0)
            else:
                self._body = UntilClose()
        self._link.activity.event("first_byte")
        if self._body is None:
            self._complete(response)
        elif not self._body.payload:
            self._advance(receive=False)

    def _complete(self, response: HTTPResponse) -> None:
        self._link.became_idle(response)
        self._link.activity.event("done")

    # Bodies.

    def try_read(self, count: int) -> bytes | PollNeeded:
        """Read at most *count* bytes, ``b""`` only at the end (or for *count* 0)."""
        if count == 0:
            return b""
        if self._gathered:
            return self._gathered.take(count)
        pieces: list[bytes] = []
        left = min(count, _BLOCK_SIZE)
        while True:
            payload = self._try_payload(left)
            if not payload or isinstance(payload, PollNeeded):
                return payload or b""
            data: bytes | PollNeeded
            if self._digest is None and isinstance(self._body, Chunked) and self.buffer:
                block = self._some_block()
                count = self._chunks_into(self._body, block[:left])
                data = bytes(block[:count])
                pieces.append(data)
                left -= count
                if not left or not self._has_more():
                    return data if len(pieces) == 1 else b"".join(pieces)
                continue
            if self.buffer:
                data = self.buffer.take(min(payload, left))
            else:
                data = self._link.require_stream().recv(min(payload, left))
                if isinstance(data, PollNeeded):
                    return data
            if not data:
                self._connection_ended()
                continue
            self._took(data, len(data))
            pieces.append(data)
            left -= len(data)
            if not left or not self._has_more():
                return data if len(pieces) == 1 else b"".join(pieces)

    def try_readinto(self, view: memoryview) -> int | PollNeeded:
        """Read into *view*; return the number of bytes, 0 only at the end (or for no room)."""
        if not view:
            return 0
        if self._gathered:
            data = self._gathered.take(len(view))
            view[: len(data)] = data
            return len(data)
        return self._try_into(view)

    def try_readall(self, limit: int | None) -> bytes | PollNeeded:
        """Read the rest of the body. What it had when interrupted is served by the next read."""
        gathered, body = self._gathered, self._body
        length = body.payload if isinstance(body, Length) else None
        if limit is not None and len(gathered) + (length or 0) > limit:
            raise self._beyond(limit)
        rest = b""
        if body is None or (length is not None and length <= len(self.buffer)):
            self._exchanges.check_alive()
            if body is not None:
                rest = self.buffer.take(length or 0)
                self._took(rest, len(rest))
            if not gathered:
                return rest
        elif (need := self._try_gather(length, limit)) is not None:
            return need
        self._gathered = Gathered()
        return gathered.take_all() + rest if rest else gathered.take_all()

    def _try_gather(self, length: int | None, limit: int | None) -> PollNeeded | None:
        block = self._some_block(length)
        while count := self._try_into(block):
            if isinstance(count, PollNeeded):
                return count
            self._gathered.add(block[:count])
            if limit is not None and len(self._gathered) > limit:
                raise self._beyond(limit)
        return None

    def _some_block(self, length: int | None = None) -> memoryview:
        """Return a block to receive into; it is kept until the end of the body."""
        if self._block is None:
            self._block = memoryview(bytearray(min(length or _BLOCK_SIZE, _BLOCK_SIZE)))
        return self._block

    def try_discard(self) -> PollNeeded | None:
        """Read the rest of the body and throw it away."""
        self._gathered = Gathered()
        block = self._some_block() if self._body is not None else memoryview(bytearray(1))
        while count := self._try_into(block):
            if isinstance(count, PollNeeded):
                return count
        return None

    def _beyond(self, limit: int) -> InvalidResponse:
        return InvalidResponse(f"response body is longer than the limit of {limit} bytes")

    def _try_into(self, view: memoryview) -> int | PollNeeded:
        filled = 0
        while True:
            payload = self._try_payload(len(view) - filled)
            if not payload or isinstance(payload, PollNeeded):
                return payload
            if self._digest is None and isinstance(self._body, Chunked) and self.buffer:
                filled += self._chunks_into(self._body, view[filled:])
                if filled == len(view) or not self._has_more():
                    return filled
                continue
            with view[filled : filled + payload] as room:  # let go even if this fails
                if self.buffer:
                    count = self.buffer.take_into(room)
                else:
                    got = self._link.require_stream().recv_into(room)
                    if isinstance(got, PollNeeded):
                        return got
                    count = got
                if not count:
                    self._connection_ended()
                    continue
                self._took(room, count)
            filled += count
            if filled == len(view) or not self._has_more():
                return filled

    def _chunks_into(self, body: Chunked, view: memoryview) -> int:
        """Move payload of as many chunks as the buffer holds, without a call for each step."""
        buffer = self.buffer
        data, source, start, end = buffer.data, buffer.view, buffer.start, buffer.end
        filled, size = 0, len(view)
        while filled < size and start < end:
            count = min(body.payload, end - start, size - filled)
            view[filled : filled + count] = source[start : start + count]
            filled += count
            start += count
            body.took(count)
            if not body.payload:
                begin = start
                start = body.skip_lines(data, start, end)
                if start == begin:
                    break
        view.release()
        buffer.skip_to(start)
        self._untouched = False
        if not body.payload:
            self._advance(receive=True)
        return filled

    def _has_more(self) -> bool:
        """Whether the buffer has payload that comes next."""
        return self._body is not None and self._body.payload > 0 and bool(self.buffer)

    def _try_payload(self, wanted: int) -> int | PollNeeded:
        """Return how many bytes of payload may come next, after any lines before them; 0: none.

        If *wanted* is more than that and they are few, they are in the buffer afterwards.
        """
        self._exchanges.check_alive()
        buffer = self.buffer
        while (body := self._body) is not None:
            if body.payload:
                if buffer or body.payload >= wanted or not body.line_follows:
                    return body.payload
                if body.payload >= len(buffer.data):
                    return body.payload
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
        except _FAILURES:
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
        room = self.buffer.room()
        if isinstance(self._body, Chunked) and self._body.size >= _BLOCK_SIZE:
            return room[:MAX_CHUNK_LINE_SIZE]  # the rest goes straight to the caller
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
            self._failed(exc)
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

    def try_finish_body(self) -> PollNeeded | None:
        """Consume the end of a body whose payload was read, if only later bytes end it."""
        while not self._gathered and (body := self._body) is not None:
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
        """Do what `try_finish_body` does, as far as it has arrived, unless somebody is reading.

        Raises:
            InvalidResponse: that is not how the body may end.
            DigestMismatch: it ends so, and is not what it was said to be.
        """
        if self._body is not None and not self._gathered:
            self._turn.between(self._take_end)

    def _take_end(self) -> None:
        if self._exchanges.failure is not None:
            return
        try:
            self._go_on(receive=True)
        except (InvalidResponse, UnsupportedResponse) as exc:
            self._failed(exc)
            raise
        except (ConnectionClosed, ConnectionTimedOut):
            pass  # whoever reads is told
        body = self._body
        has_strays = isinstance(body, Length) and len(self.buffer) > body.payload
        if has_strays and len(self._exchanges.queue) == 1:
            self._exchanges.closing = True  # no request may get what follows the last response

    # Failures, and what is left.

    def _failed(self, exc: Exception) -> None:
        """Complete what *exc* tells, and end receiving unless the same call may succeed later."""
        exchanges = self._exchanges
        if isinstance(exc, (InvalidResponse, UnsupportedResponse)) and exc.response is None:
            exc.response = self._response if self._body is not None else None
        exchanges.describe(exc)
        if not isinstance(exc, ConnectionTimedOut):
            exchanges.fail(exc)

    def try_read_raw(self, count: int) -> bytes | PollNeeded:
        """Read at most *count* bytes as they come. No response can be read after that."""
        self._exchanges.fail(ConnectionClosed("read_raw() was used"))
        if self.buffer:
            return self.buffer.take(count)
        return self._link.require_stream().recv(count)

    def take_rest(self) -> bytes:
        """Return and drop what has arrived and is not consumed."""
        return self.buffer.take(len(self.buffer))


def _has_content(response: HTTPResponse) -> bool:
    return response.method != "HEAD" and response.status not in (204, 304)
