"""The receive loop around `protocol.reader`: heads and bodies of one session.

Theory of operation
===================

1. Each operation is an *attempt*, a method ``try_…`` that does what is possible without waiting. It
   returns the result, or a `PollNeeded` if it would have to wait. Then it must be made again, which
   `co_do` does.
2. An attempt consumes received data only when it can return the data or parse all of it. So a
   caller may stop waiting at any time, and make another attempt later, even a different one. An
   interrupted `readall` leaves its data in `_gathered`, and the next reading call takes it from
   there.
3. Waiting happens between attempts. A time limit that ends a wait, or a driver that closes the
   coroutine during a wait, therefore loses nothing. An exception of a signal handler in the middle
   of an attempt is different: it is not known what was consumed. So it breaks the connection
   (`_broke_off`). Blocking methods may also wait inside the receive (see `transport.stream`). An
   exception that ends that wait loses nothing either.
4. A call that has received payload looks ahead (`_look_ahead`): it consumes the end of the body if
   that has arrived. The connection is then idle without another call, and can be reused or closed.
   An error that is found this way does not fail the call that has its payload. The next call finds
   it again and raises it.
5. The deadline of an exchange covers the whole body. A response whose head is read after the
   deadline is *held* until its body has arrived completely. It is returned if the body arrives
   without waiting. Otherwise the call times out, and a later call may still return the response.

`ResponseReceiver._receive` receives for the reader. The exceptions are `try_response`, for heads,
and `try_read`, for payload that needs no buffer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from ..errors import (
    ConnectionClosed,
    ConnectionTimedOut,
    DigestMismatch,
    InvalidResponse,
    StateError,
    UnsupportedResponse,
)
from ..protocol.body import Length, UntilClose
from ..protocol.buffer import Gathered
from ..protocol.exchange import Exchange
from ..protocol.limits import RECEIVE_SIZE
from ..protocol.messages import HTTPResponse
from ..protocol.reader import BUFFERED, FAILURES
from ..protocol.states import READY
from ..transport.connect import Route
from ..transport.monitor import Monitor
from ..transport.poll import TURN_SIZE, Co, PollNeeded, pause
from ..transport.stream import AT_ONCE, PIECE_SIZE, TO_THE_END
from .lifecycle import Lifecycle

#: `ResponseReceiver.try_read_response` leaves everything to the coroutine.
_COROUTINE = PollNeeded(-1, 0)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class ResponseReceiver(Lifecycle):
    """The receiving half of a session.

    Attributes:
        end_reported: whether a reading call has reported the end of the body. Also true before
            the first response.
        receive_flags: of the receives that the current call makes (see `Stream.recv_into`).
    """

    def __init__(self, route: Route, monitor: Monitor) -> None:
        super().__init__(route, monitor)
        self.end_reported = True
        self.receive_flags = AT_ONCE
        #: A response that was read after its deadline and whose body is not complete (rule 5).
        self._held: HTTPResponse | None = None
        #: The data of an interrupted `readall`, and the block that it receives into.
        self._gathered = Gathered()
        self._block: memoryview | None = None

    # Attempts.

    def co_do(self, attempt: Callable[[*Ts], T | PollNeeded], *args: *Ts) -> Co[T]:
        """Repeat an attempt of this receiver until it succeeds or fails, and wait in between.

        All attempts have the same turn and the same cleanup. So they are passed as callables; a
        context manager would take two more calls for each.

        Raises:
            StateError: another call is reading.
        """
        turn = self.receive_detector
        try:
            del turn.free
        except AttributeError:
            turn.take()
        try:
            while isinstance(got := attempt(*args), PollNeeded):
                yield from self.co_wait(got)
            if self.reader.ended is not None:
                self._completed()
            return got
        except BaseException as exc:
            self._broke_off(exc)
            raise
        finally:
            turn.free = True

    def try_do(
        self, flags: int, attempt: Callable[[*Ts], T | PollNeeded], *args: *Ts
    ) -> T | PollNeeded:
        """Make one attempt of this receiver.

        Args:
            flags: `AT_ONCE`; or `BRIEFLY` to wait for a moment if necessary, unless time limits or
                a pipeline depend on this session meanwhile.
            attempt: a method.
            args: its arguments.

        Raises:
            StateError: another call is reading.
        """
        turn = self.receive_detector
        try:
            del turn.free
        except AttributeError:
            turn.take()
        try:
            if not self.state.limited and self.send_while_reading is None:
                self.receive_flags = flags
            got = attempt(*args)
            if self.reader.ended is not None:
                self._completed()
            return got
        except BaseException as exc:
            self._broke_off(exc)
            raise
        finally:
            self.receive_flags = AT_ONCE
            turn.free = True

    def _broke_off(self, exc: BaseException) -> None:
        """Update the state after *exc* has ended an attempt or a wait."""
        if isinstance(exc, FAILURES):
            self.reader.fail(exc)
        elif isinstance(exc, DigestMismatch):
            self._gathered = Gathered()  # do not deliver corrupt data
        elif isinstance(exc, (GeneratorExit, StateError)):
            pass
        elif self.stream is None or not self.stream.take_interrupted_wait():
            self.state.fail(exc)  # an interrupt: what was consumed is unknown

    def _receive(self, room: memoryview, flags: int) -> int | PollNeeded:
        """Receive into *room*, a target of the reader. Returns the number of payload bytes."""
        stream = self.stream or self.require_stream()
        got = stream.recv_into(room, flags)
        return got if isinstance(got, PollNeeded) else self.reader.received(room, got)

    # Heads.

    def co_read_response(self) -> Co[HTTPResponse]:
        """Read the head of the next response, or the 100 (Continue) that is awaited."""
        state = self.state
        turn = self.receive_detector
        try:
            del turn.free
        except AttributeError:
            turn.take()
        try:
            if self._held is not None:
                exchange = state.queue[0]
            else:
                if self.reader.body is not None:
                    yield from self._co_finish_body()
                exchange = state.next()
            while state.being_sent(exchange):
                yield from self.co_wait_until_sent(exchange)
                exchange = state.next()
            while isinstance(got := self.try_response(exchange), PollNeeded):
                stream = self.require_stream()
                try:  # `Stream.wait`, inlined to save a coroutine for each response
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
            self.end_reported = False  # after a 100 (Continue), too, although it has no body
            return got
        except BaseException as exc:
            self._broke_off(exc)
            raise
        finally:
            turn.free = True

    def try_read_response(self) -> HTTPResponse | PollNeeded:
        """Do what `co_read_response` does, or return a `PollNeeded` if it would have to wait."""
        state, stream = self.state, self.stream
        if (
            self._held is not None
            or self.reader.body is not None
            or state.sending is not READY
            or stream is None
            or stream.in_records  # cannot wait briefly, and the response has yet to arrive
        ):
            return _COROUTINE
        got = self.try_response(state.next())
        if not isinstance(got, PollNeeded):
            self.end_reported = False
        return got

    def _co_finish_body(self) -> Co[None]:
        self.state.check_alive()
        while (need := self._try_finish()) is not None:
            yield from self.require_stream().wait(need)
        if self.reader.ended is not None:
            self._completed()

    def _try_finish(self) -> PollNeeded | None:
        """Consume the end of a body whose payload has been read, such as the last chunk."""
        if self._gathered.left:
            return None
        while (room := self.reader.end_target()) is not None:
            if isinstance(got := self._receive(room, self.receive_flags), PollNeeded):
                return got
        return None

    def try_response(self, exchange: Exchange) -> HTTPResponse | PollNeeded:
        """Read the response to the oldest exchange, or the 100 that it awaits.

        The request may not have been sent completely, or may have been cut off.
        """
        state, reader = self.state, self.reader
        if state.failure is not None:
            state.check_alive()
        if self._held is not None:
            return self._unless_late(self._held)
        stream = self.stream or self.require_stream()
        if not exchange.receive_tried:
            exchange.receive_tried = True
            if (
                self.receive_flags == AT_ONCE
                and stream.peeks
                and not reader.buffer.end
                and not state.is_cut_off(exchange)
            ):
                stream.want_read.phase = "response"
                return stream.want_read  # it has just been sent: nothing can be there yet
        response = reader.next_response(exchange) if reader.buffer.end else None
        while response is None:
            room = reader.buffer.room()
            got = stream.recv_into(room, self.receive_flags)
            if isinstance(got, PollNeeded):
                got.phase = "response"
                if state.is_cut_off(exchange):
                    message = "the request was sent only in part"
                    raise ConnectionClosed(message) from state.cause_of_cut
                return got
            reader.received(room, got)
            response = reader.next_response(exchange)
        if response.status < 200 and response.status != 101:
            return response  # the 100 that is awaited
        self._begin(response)
        return self._unless_late(response) if state.limited else response

    def _begin(self, response: HTTPResponse) -> None:
        """Begin the body of a final *response*, whose head has been read."""
        reader = self.reader
        self.end_reported = False
        on_event = self.monitor.on_event
        if on_event is not None:
            on_event("first_byte")
        body = reader.body
        if body is None:
            self._completed()
            return
        if self.stream is not None:
            self.stream.want_read.phase = "body"
        if not body.payload:
            try:
                reader.end_target()  # advance to the first chunk or the end, if it has arrived
            except FAILURES:
                pass  # the call that reads the body raises this
            if reader.ended is not None:
                self._completed()

    @property
    def holds_response(self) -> bool:
        """Whether a response was read after its deadline, and waits for the end of its body."""
        return self._held is not None

    def _unless_late(self, response: HTTPResponse) -> HTTPResponse | PollNeeded:
        """Return *response*. After its deadline, hold it until its body is complete (rule 5)."""
        need = self._try_late()
        self._held = None if need is None else response
        self.end_reported = self.holds_response  # no call may read that body
        return response if need is None else need

    # Bodies.

    def try_read(self, count: int) -> bytes | PollNeeded:
        """Read at most *count* bytes. Returns ``b""`` only at the end, or if *count* is 0."""
        if count == 0:
            return b""
        if self.state.limited and (need := self._try_late()) is not None:
            return need
        if self._gathered.left:
            return self._gathered.take(count)
        if self.state.failure is not None:
            self.state.check_alive()
        reader, most = self.reader, min(count, RECEIVE_SIZE)
        while payload := reader.direct(most):
            stream = self.stream or self.require_stream()
            if payload == BUFFERED:
                got = self._receive(reader.room(), self.receive_flags)
                if isinstance(got, PollNeeded):
                    return got
                continue
            size = min(payload, most)
            if stream.in_records and size > PIECE_SIZE:
                block = self._some_block()[:size]
                got = self._receive(block, self.receive_flags)
                if isinstance(got, PollNeeded):
                    return got
                data: bytes | PollNeeded = bytes(block[:got])
            else:
                data = stream.recv(size, self.receive_flags)
                if isinstance(data, PollNeeded):
                    return data
                reader.received_payload(data)
            if data:
                self._look_ahead()
                return data
        if reader.body is not None:
            return self._take(most)
        self.end_reported = True
        return b""

    def try_readinto(self, view: memoryview) -> int | PollNeeded:
        """Read into *view*. Returns the number of bytes, 0 only at the end or for an empty view."""
        if not view:
            return 0
        if self.state.limited and (need := self._try_late()) is not None:
            return need
        if self._gathered.left:
            data = self._gathered.take(len(view))
            view[: len(data)] = data
            return len(data)
        got = self._try_into(view, self.receive_flags)
        if got == 0:
            self.end_reported = True
        return got

    def try_readall(self, limit: int | None) -> bytes | PollNeeded:
        """Read the rest of the body. If this is interrupted, the next read returns its data."""
        gathered, reader = self._gathered, self.reader
        body, buffer = reader.body, reader.buffer
        length = body.payload if isinstance(body, Length) else None
        if limit is not None and gathered.left + (length or 0) > limit:
            raise _beyond(limit)
        rest = b""
        if body is None or (length is not None and length <= buffer.end - buffer.start):
            if self.state.failure is not None:
                self.state.check_alive()
            if body is not None:
                rest = reader.take_rest(length or 0)
            if not gathered.left:
                self.end_reported = True
                return rest
        elif (need := self._try_gather(length, limit)) is not None:
            return need
        self.end_reported = True
        self._gathered = Gathered()
        return gathered.take_all() + rest if rest else gathered.take_all()

    def try_discard(self) -> PollNeeded | None:
        """Read the rest of the body and drop it."""
        self._gathered = Gathered()
        block = self._some_block() if self.reader.body is not None else memoryview(bytearray(1))
        moved, flags = 0, self._flags_to_fill
        while count := self._try_into(block, flags):
            if isinstance(count, PollNeeded):
                return count
            moved += count
            if moved >= TURN_SIZE and self.reader.body is not None:
                return pause(self.require_stream().want_read)
        self.end_reported = True
        return None

    def _try_late(self) -> PollNeeded | None:
        """After the deadline of the exchange, gather the rest of the body, as far as it arrived.

        Returns:
            What the rest waits for; ``None`` if the body is complete or the deadline has not
            passed. The time limits of the exchange then leave no time for that wait.
        """
        limits = self.state.receiving_limits() if self.reader.body is not None else None
        return self._try_gather(None, None) if limits is not None and limits.passed else None

    def _try_gather(self, length: int | None, limit: int | None) -> PollNeeded | None:
        block, moved, flags = self._some_block(length), 0, self._flags_to_fill
        while count := self._try_into(block, flags):
            if isinstance(count, PollNeeded):
                return count
            moved += count
            self._gathered.add(block[:count])
            if limit is not None and self._gathered.left > limit:
                raise _beyond(limit)
            if moved >= TURN_SIZE and self.reader.body is not None:
                return pause(self.require_stream().want_read)
        return None

    @property
    def _flags_to_fill(self) -> int:
        """The flags of receives for a caller that wants the whole body."""
        return AT_ONCE if self.receive_flags == AT_ONCE else TO_THE_END

    def _some_block(self, length: int | None = None) -> memoryview:
        """Return a block to receive into. It is kept until the end of the body."""
        if self._block is None:
            self._block = memoryview(bytearray(min(length or RECEIVE_SIZE, RECEIVE_SIZE)))
        return self._block

    def _completed(self) -> None:
        """Finish a response whose last byte has been consumed."""
        state, reader = self.state, self.reader
        reader.ended = self._block = None
        if reader.sent_body:
            reader.forget_request()
        if state.closed or not state.queue:
            self.response_complete()
        on_event = self.monitor.on_event
        if on_event is not None:
            on_event("done")

    def _try_into(self, view: memoryview, flags: int) -> int | PollNeeded:
        if self.state.failure is not None:
            self.state.check_alive()
        while (room := self.reader.target(view)) is not None:
            try:
                got = self._receive(room, flags)
            finally:
                # The frames of an exception would keep the caller's buffer exported.
                if room is not view and room.obj is view.obj:
                    room.release()
            if got:
                if not isinstance(got, PollNeeded):
                    self._look_ahead()
                return got
        return self._take_into(view)

    # From the buffer.

    def _take(self, most: int) -> bytes:
        blocks: list[bytes] = []
        while True:
            block = self.reader.take(most)
            blocks.append(block)
            most -= len(block)
            self._look_ahead()
            if not most or not self.reader.has_payload:
                return block if len(blocks) == 1 else b"".join(blocks)

    def _take_into(self, view: memoryview) -> int:
        filled, size = 0, len(view)
        while filled < size and self.reader.has_payload:
            filled += self.reader.take_into(view[filled:] if filled else view)
            self._look_ahead()
        return filled

    def _look_ahead(self) -> None:
        """Advance to the next payload or consume the end of the body, if it has arrived (rule 4).

        An error in the data after the payload is ignored here. The next call raises it.
        """
        body = self.reader.body
        if body is None or (body.payload and not body.ended_by_close):
            return
        try:
            self._receive_end()
        except FAILURES:
            pass

    def _receive_end(self) -> None:
        """Receive data that may end the body, without waiting."""
        stream, reader = self.require_stream(), self.reader
        while (room := reader.end_target()) is not None:
            # Payload that is received here has to be copied later. So peek before receiving.
            if isinstance(reader.body, UntilClose) and stream.peeks and not stream.has_ended():
                return
            if isinstance(self._receive(room, AT_ONCE), PollNeeded):
                return

    def take_end(self) -> None:
        """Consume the end of the last body if it has arrived, unless a call is reading.

        Raises:
            InvalidResponse: the end of the body is invalid.
            DigestMismatch: the body does not have the announced digest.
        """
        if self.reader.body is not None:
            self.receive_detector.run_if_free(self._take_end)

    def _take_end(self) -> None:
        if self.reader.body is None or self._gathered.left or self.state.failure is not None:
            return
        try:
            self._receive_end()
        except (InvalidResponse, UnsupportedResponse) as exc:
            self.reader.fail(exc)
            raise
        except (ConnectionClosed, ConnectionTimedOut):
            pass  # the call that reads the body raises it
        if self.reader.ended is not None:
            self._completed()
        self.reader.drop_strays()

    # Raw bytes.

    def try_read_raw(self, count: int) -> bytes | PollNeeded:
        """Read at most *count* bytes without parsing them. No response can be read after that."""
        self.state.fail(ConnectionClosed("read_raw() was used"))
        buffer = self.reader.buffer
        if buffer:
            return buffer.take(count)
        return self.require_stream().recv(count)

    def take_received(self) -> bytes:
        """Return and drop the bytes that were received and not consumed."""
        buffer = self.reader.buffer
        return buffer.take(len(buffer))


def _beyond(limit: int) -> InvalidResponse:
    message = f"response body is longer than the limit of {limit} bytes"
    return InvalidResponse(message, part="limit")
