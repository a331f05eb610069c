"""The receiving half of a link: heads here, bodies by its `BodyReader`.

Each operation is an *attempt*, a method ``try_…`` that does what can be done without waiting. It
returns the result, or as `PollNeeded` what it lacks; then it is to be made again. `co_do` does
that. Nothing is taken from the receive buffer before it can be handed over or understood as a
whole, so whoever waits may give up at any time, and begin again later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from .body_reader import BodyReader
from .errors import (
    ConnectionClosed,
    ConnectionTimedOut,
    DigestMismatch,
    InvalidResponse,
    StateError,
)
from .incoming import FAILURES
from .link import Link, Turn
from .protocol.framing import frame
from .protocol.inflight import Exchange
from .protocol.messages import HTTPResponse
from .protocol.response import KnownHead, find_head, parse_head
from .transport.poll import Co, PollNeeded
from .transport.stream import Stream

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Receiver:
    """Reads responses from one link.

    Attributes:
        body: reads the body of the response whose head was read last.
        buffer: what has arrived and is not yet consumed.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._exchanges = link.exchanges
        self.turn = Turn("reading from")
        self._known: KnownHead | None = None  # the last one
        self._held: HTTPResponse | None = None  # whose head was read, and whose body is late
        self.body = BodyReader(link)
        self.buffer = self.body.buffer

    def co_do(self, attempt: Callable[[*Ts], T | PollNeeded], *args: *Ts) -> Co[T]:
        """Make an attempt of this receiver's until it succeeds or fails, waiting in between.

        Raises:
            StateError: another call is reading.
        """
        turn = self.turn
        try:
            del turn.free
        except AttributeError:
            turn.take()
        try:
            while isinstance(got := attempt(*args), PollNeeded):
                yield from self._link.co_wait(got)
            return got
        except BaseException as exc:
            self._broke_off(exc)
            raise
        finally:
            turn.free = True

    def try_do(self, attempt: Callable[[*Ts], T | PollNeeded], *args: *Ts) -> T | PollNeeded:
        """Make one attempt of this receiver's. Raises as `co_do`."""
        turn = self.turn
        try:
            del turn.free
        except AttributeError:
            turn.take()
        try:
            return attempt(*args)
        except BaseException as exc:
            self._broke_off(exc)
            raise
        finally:
            turn.free = True

    def _broke_off(self, exc: BaseException) -> None:
        """Decide what *exc*, raised by an attempt or thrown into a wait, leaves behind."""
        if isinstance(exc, FAILURES):
            self.body.note_failure(exc)
        elif not isinstance(exc, (GeneratorExit, StateError, DigestMismatch)):
            self._exchanges.fail(exc)  # in the middle: nobody knows what was consumed

    # Heads.

    def co_read_response(self) -> Co[HTTPResponse]:
        """Read the next response's head, or the 100 (Continue) that is awaited."""
        link, exchanges = self._link, self._exchanges
        turn = self.turn
        try:
            del turn.free
        except AttributeError:
            turn.take()
        try:
            if self._held is not None:
                exchange = exchanges.queue[0]
            else:
                if self.body.unfinished:
                    yield from self._co_finish_body()
                exchange = exchanges.next()
            while exchanges.being_sent(exchange):
                yield from link.co_wait_until_sent(exchange)
                exchange = exchanges.next()
            while isinstance(got := self.try_response(exchange), PollNeeded):
                stream = link.require_stream()
                try:  # as `Stream.wait`, without a coroutine for each response
                    stream.holders.add(self)
                    if stream.closed:
                        stream.check_open()
                    yield got
                except ConnectionTimedOut as exc:
                    exc.phase = exc.phase or got.phase
                    raise
                finally:
                    stream.holders.discard(self)
                    if stream.closed:
                        stream.release(self)
            self.body.end_reported = False  # also that of a 100 (Continue), which has no body
            return got
        except BaseException as exc:
            self._broke_off(exc)
            raise
        finally:
            turn.free = True

    def _co_finish_body(self) -> Co[None]:
        self._exchanges.check_alive()
        while (need := self.body.try_finish()) is not None:
            yield from self._link.require_stream().wait(need)

    def try_response(self, exchange: Exchange) -> HTTPResponse | PollNeeded:
        """Read the response to the oldest exchange, sent whole or not, or the 100 it awaits."""
        if self._exchanges.failure is not None:
            self._exchanges.check_alive()
        if self._held is not None:
            return self._unless_late(self._held)
        stream = self._link.stream or self._link.require_stream()
        if not exchange.looked_for:
            exchange.looked_for = True
            if stream.peeks and not self.buffer.end and not self._exchanges.is_cut_off(exchange):
                stream.want_read.phase = "response"
                return stream.want_read  # it has just been sent: nothing can be there yet
        request = exchange.outgoing.request
        while True:
            head = self._try_head(exchange, stream)
            if isinstance(head, PollNeeded):
                head.phase = "response"
                return head
            known = self._known
            if known is not None and (head is not known.head or request.method != known.method):
                known = None
            if known is not None:
                response = known.response(request)
            else:
                response = parse_head(head, request.method, request.path)
                response.request = request
            buffer = self.buffer
            consumed = self._link.activity.bytes_received - (buffer.end - buffer.start)
            if consumed < exchange.received_before:
                # RFC 9112 section 9.2: what came unasked for is nobody's response.
                raise InvalidResponse(
                    "the response arrived before its request was sent", response, part="early"
                )
            if response.status < 200 and response.status != 101:
                exchange.response_started = False
                awaited = self._exchanges.received_interim(exchange, response)
                buffer.consume(len(head))
                if awaited:
                    return response
            else:
                if known is None:
                    known = self._known = KnownHead(head, response, frame(response))
                self._exchanges.received_final(exchange, response, known.framing)
                buffer.consume(len(head))
                self.body.begin(response, known.framing)
                return self._unless_late(response) if self._exchanges.limited else response

    @property
    def holds_response(self) -> bool:
        """Whether a response was read after its deadline, and is held until its body is there."""
        return self._held is not None

    def _unless_late(self, response: HTTPResponse) -> HTTPResponse | PollNeeded:
        """Return *response*; what its body lacks, if anything, after its deadline."""
        need = self.body.try_late()
        self._held = None if need is None else response
        self.body.end_reported = self.holds_response  # no call may read that body
        return response if need is None else need

    def _try_head(self, exchange: Exchange, stream: Stream) -> bytes | PollNeeded:
        """Receive until the buffer begins with a complete head, and return that, not consumed."""
        buffer, known = self.buffer, self._known
        while True:
            if buffer.end > buffer.start:
                exchange.response_started = True
                if known is not None and buffer.data.startswith(
                    known.head, buffer.start, buffer.end
                ):
                    return known.head
                end = find_head(buffer.data, buffer.start, buffer.end, buffer.scanned)
                if end >= 0:
                    return bytes(buffer.view[buffer.start : end])
                buffer.scanned = buffer.end
                code = buffer.start + len("HTTP/1.1 ")
                exchange.response_started = not buffer.data.startswith(b"1", code, buffer.end)
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

    def take_end(self) -> None:
        """Consume the end of the last body, as far as it has arrived, unless somebody is reading.

        Raises:
            InvalidResponse, DigestMismatch: as `IncomingBody.take_end`.
        """
        if self.body.unfinished:
            self.turn.between(self.body.take_end)

    # What is left.

    def try_read_raw(self, count: int) -> bytes | PollNeeded:
        """Read at most *count* bytes as they come. No response can be read after that."""
        self._exchanges.fail(ConnectionClosed("read_raw() was used"))
        if self.buffer:
            return self.buffer.take(count)
        return self._link.require_stream().recv(count)

    def take_rest(self) -> bytes:
        """Return and drop what has arrived and is not consumed."""
        return self.buffer.take(len(self.buffer))
