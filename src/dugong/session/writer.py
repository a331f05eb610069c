"""The sending half of a session: request heads and bodies.

Theory of operation
===================

1. Each call that sends takes the turn of `send_detector` and returns it. `start` does not wait. It
   accepts a request, and sends it if the stream takes all of it. Otherwise it leaves the rest to a
   coroutine that becomes the *successor* and has the turn from then on. So no other call can send
   between the two, and a caller that never runs the coroutine does not block the session (see
   `ConflictDetector`).
2. An exception may separate a system call from the accounting of its result, because CPython runs
   signal handlers when a call returns. So `Exchange.send_uncertain` is set before each call that
   sends. It is cleared when the bytes have been counted, or when the system has reported that it
   took none. If it is still set after an interrupt, bytes may have been sent. The request then does
   not count as unsent, and is cut off instead of withdrawn.
3. Over TLS, a write that would block may have sent a part of a record. OpenSSL keeps the rest, and
   insists on the same bytes in the next call. So `send_uncertain` remains set while the stream is
   in the middle of a write (`Stream.mid_write`), although `bytes_sent` has not changed.
4. If sending fails or is interrupted before any byte of a request can have been sent, the request
   counts as never made. Otherwise it is cut off: nothing more can be sent on the connection, but
   responses can still be received. Two failures always cut the request off. One is a timeout. The
   other is the end of the connection with earlier requests in flight, because their responses may
   have arrived (`_failed`).
5. Every exit releases the views of the caller's buffers. The frames of an exception would keep
   them exported otherwise, and the caller could not resize a `bytearray`.
6. After `TURN_SIZE` bytes, sending yields even if it could continue. Otherwise, a fast connection
   would keep other tasks of the event loop from running, and time limits from being checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeVarTuple
from weakref import ref

from ..errors import ConnectionClosed, ConnectionTimedOut
from ..protocol.content import AsyncIterableContent, BytesContent, Content, FileContent
from ..protocol.exchange import Exchange
from ..protocol.limits import FILE_BLOCK_SIZE
from ..protocol.request import serialise_trailers
from ..protocol.states import Sending
from ..transport.connect import Route
from ..transport.monitor import Monitor
from ..transport.poll import TURN_SIZE, Co, PollNeeded, pause
from ..transport.stream import Stream, after
from .lifecycle import Lifecycle

if TYPE_CHECKING:
    from ..protocol.messages import HeadersArgument
    from ..transport.within import ExchangeLimits

Ts = TypeVarTuple("Ts")

#: Receives the response, without waiting, while its request is still being sent. Returns what
#: receiving more waits for, ``None`` when its head has arrived.
ReadEarly: TypeAlias = Callable[[], PollNeeded | None]


class RequestWriter(Lifecycle):
    """The sending half of a session."""

    def __init__(self, route: Route, monitor: Monitor) -> None:
        super().__init__(route, monitor)
        self._left_of_turn = TURN_SIZE  # bytes until the driver runs other tasks

    def start(
        self,
        exchange: Exchange,
        read_early: ReadEarly | None = None,
        limits: ExchangeLimits | None = None,
    ) -> Co[None] | None:
        """Accept a request. Sends it if it has no body and the stream takes all of it.

        Args:
            exchange: the exchange.
            read_early: see `_co_send`.
            limits: the time limits to apply to the coroutine.

        Returns:
            A coroutine that sends the request or the rest of it, ``None`` if it has been sent. The
            coroutine has the turn to send: run it or close it.

        Raises:
            StateError: another call is sending. Also as `ConnectionState.accept`.
            ConnectionClosed, ConnectionTimedOut: sending failed.
        """
        turn, successor = self.send_detector, None
        try:
            del turn.free
        except AttributeError:
            turn.take()
        try:
            self.state.accept(exchange)
            stream = self.stream
            if stream is not None and exchange.content is None:
                exchange.received_before = self.reader.total
                if self._try(exchange, stream.send, [memoryview(exchange.head)]) == len(
                    exchange.head
                ):
                    self._sent(exchange)
                    return None
            rest = self._co_send(exchange, read_early)
            if limits is not None:
                rest = limits.co_keep(rest)
            turn.successor = ref(rest)
            successor = rest
            return successor
        except BaseException as exc:
            self._failed(exc)
            raise
        finally:
            if successor is None:
                turn.free = True

    def start_together(self, batch: Sequence[Exchange]) -> Co[None]:
        """Accept requests without bodies, to be sent in one piece.

        Args:
            batch: at least one exchange.

        Returns:
            As `start`, but always a coroutine. If it fails, the state forgets the requests of
            which nothing was sent.

        Raises:
            StateError: another call is sending. Also as `ConnectionState.accept`.
        """
        state, turn, successor = self.state, self.send_detector, None
        try:
            del turn.free
        except AttributeError:
            turn.take()
        try:
            state.accept(batch[0])
            for exchange in batch[1:]:
                state.accept_behind(exchange)
            rest = self._co_send_together(batch)
            turn.successor = ref(rest)
            successor = rest
            return successor
        except BaseException as exc:
            self._failed(exc)
            raise
        finally:
            if successor is None:
                turn.free = True

    def _sent(self, exchange: Exchange) -> None:
        """Note that `start` has sent everything it had to, or that a response refuses the rest."""
        if self.state.request_sent(exchange):
            self.wake_reader()
            on_event = self.monitor.on_event
            if on_event is not None and not exchange.follows:
                on_event("sent")

    def _co_send(self, exchange: Exchange, read_early: ReadEarly | None) -> Co[None]:
        """Send the head of a request, and its body if it was given. Connects if necessary.

        Args:
            exchange: the accepted exchange. Some of its head may have been sent already.
            read_early: called whenever more is to be sent. Sending ends when this has received a
                response that refuses the rest.

        Raises:
            ConnectionClosed, ConnectionTimedOut, OSError: connecting or sending failed.
            BodyChanged, ExcessBodyData, TypeError: the body does not have the announced length, or
                an item is not bytes-like.
        """
        turn = self.send_detector
        content = None if exchange.follows else exchange.content
        pieces: list[memoryview] = []
        try:
            pieces = after([memoryview(exchange.head)], exchange.bytes_sent)
            if isinstance(content, BytesContent):
                if content.length:
                    pieces += _framed(exchange, content.take(), last=True)
                content = None
            if self.stream is None:
                yield from self.co_connect()
            if content is not None and content.length == 0:
                if isinstance(content, AsyncIterableContent):
                    yield from self._co_fetch(exchange, content, None)
                content.take()  # raises before anything is sent if there is data after all
            if not exchange.bytes_sent:
                exchange.received_before = self.reader.total
            yield from self._co_send_all(exchange, pieces, read_early)
            if content is not None:
                yield from self._co_send_content(exchange, content, read_early)
            self._sent(exchange)
            if self.state.closed:
                self.close_as_announced()
        except BaseException as exc:
            self._failed(exc)
            raise
        finally:
            turn.successor = None
            turn.free = True
            _release(pieces)  # the caller may change or resize the buffer again

    def _co_send_together(self, batch: Sequence[Exchange]) -> Co[None]:
        turn, state = self.send_detector, self.state
        try:
            data = memoryview(b"".join([exchange.head for exchange in batch]))
            if self.stream is None:
                yield from self.co_connect()
            stream = self.require_stream()
            for exchange in batch:
                exchange.received_before = self.reader.total
            while data:
                sent = self._try_together(stream, data)
                if not isinstance(sent, PollNeeded):
                    data = data[sent:]
                    continue
                yield from stream.wait(sent)
                if state.sending is Sending.REFUSED:
                    return
        except BaseException as exc:
            self._failed(exc)
            raise
        finally:
            turn.successor = None
            turn.free = True

    def _try_together(self, stream: Stream, data: memoryview) -> int | PollNeeded:
        """Make one call that sends parts of several requests, and count them.

        `accept_behind` has already set `send_uncertain` of the requests behind the first: one call
        may send parts of any of them.
        """
        state = self.state
        exchange = state.current
        assert exchange is not None
        exchange.send_uncertain = True
        try:
            sent = stream.send((data,))
        except (ConnectionClosed, ConnectionTimedOut):
            exchange.send_uncertain = False
            exchange.connection_lost = not self.closed
            raise
        left = 0 if isinstance(sent, PollNeeded) else sent
        on_event = self.monitor.on_event
        while left:
            missing = len(exchange.head) - exchange.bytes_sent
            if left < missing:
                exchange.bytes_sent += left
                break
            exchange.bytes_sent += missing
            left -= missing
            state.request_sent(exchange)
            if on_event is not None:
                on_event("sent")
            exchange = state.current
            assert exchange is not None
        exchange.send_uncertain = stream.mid_write
        return sent

    def _co_send_all(
        self,
        exchange: Exchange,
        pieces: list[memoryview],
        read_early: ReadEarly | None = None,
    ) -> Co[None]:
        """Send all of *pieces*, or stop when *read_early* has received a refusal."""
        stream = self.require_stream()
        try:
            while pieces:
                sent = self._try(exchange, stream.send, pieces)
                if not isinstance(sent, PollNeeded):
                    pieces = after(pieces, sent or 0)
                    if self._left_of_turn <= 0:
                        yield from self._co_pause(stream)
                elif (yield from self._co_wait(exchange, stream, sent, read_early)):
                    return
        finally:
            _release(pieces)

    def _try(
        self, exchange: Exchange, call: Callable[[*Ts], int | PollNeeded | None], *args: *Ts
    ) -> int | PollNeeded | None:
        """Make one call that sends, and count the bytes that it sent.

        Raises:
            ConnectionClosed, ConnectionTimedOut: *call* failed.
            ConnectionTimedOut: the deadline of *exchange* has passed.
        """
        limits = exchange.limits
        if limits is not None:
            limits.check("send")
        exchange.send_uncertain = True
        try:
            sent = call(*args)
        except (ConnectionClosed, ConnectionTimedOut):
            exchange.send_uncertain = False
            exchange.connection_lost = not self.closed
            raise
        if sent is None or isinstance(sent, PollNeeded):
            exchange.send_uncertain = self.require_stream().mid_write
        else:
            exchange.bytes_sent += sent
            exchange.send_uncertain = False
            self._left_of_turn -= sent
        return sent

    def _co_pause(self, stream: Stream) -> Co[None]:
        self._left_of_turn = TURN_SIZE
        yield from stream.wait(pause(stream.want_write))

    def _co_wait(
        self,
        exchange: Exchange,
        stream: Stream,
        need: PollNeeded,
        read_early: ReadEarly | None,
    ) -> Co[bool]:
        """Wait until more can be sent or a response arrives. Returns whether sending must end."""
        if read_early is not None and exchange.bytes_sent:
            other = read_early()
            if self.state.is_refused(exchange):
                return True
            if other is not None:
                need = PollNeeded(need.fd, need.mask | other.mask, phase="send")
        yield from stream.wait(need)
        return False

    def _failed(self, exc: BaseException) -> None:
        """Update the state after *exc* has ended the sending of a request."""
        state = self.state
        exchange = state.current
        if exchange is not None and state.sending is Sending.REQUEST:
            state.describe(exc, exchange)
            # An exception that the caller's iterable raises does not describe our connection,
            # even if it is a `ConnectionClosed`, for example from another connection.
            is_ours = self.stream is not None and not exchange.body_failed
            is_over = is_ours and isinstance(exc, ConnectionClosed)
            is_spoilt = is_over and len(state.queue) > 1  # earlier responses may have arrived
            if is_spoilt or (is_ours and isinstance(exc, ConnectionTimedOut)):
                state.cut_off(exchange, exc)
            else:
                state.finish(exc)
                if is_over and not state.queue:
                    self.close()  # the connection was dead before the request: nothing is lost
        self.wake_reader()

    # Bodies that were given with the request.

    def co_send_body(self, exchange: Exchange, read_early: ReadEarly) -> Co[None]:
        """Send a body that was held back for a 100 (Continue).

        Raises:
            ConnectionClosed, ConnectionTimedOut: sending failed.
            BodyChanged, ExcessBodyData, TypeError: as for `_co_send`.
        """
        content = exchange.content
        assert content is not None
        turn = self.send_detector
        try:
            del turn.free
        except AttributeError:
            turn.take()
        try:
            yield from self._co_send_content(exchange, content, read_early)
        except BaseException as exc:
            self.state.describe(exc, exchange)
            self.state.cut_off(exchange, exc)
            raise
        finally:
            turn.free = True
        if not self.state.is_refused(exchange):
            self.state.body_sent(exchange, exchange.body_left or 0, last=True)
            self.monitor.event("sent")
            if self.state.closed:
                self.close_as_announced()

    def _co_send_content(
        self, exchange: Exchange, content: Content, read_early: ReadEarly | None
    ) -> Co[None]:
        stream = self.require_stream()
        try:
            if isinstance(content, FileContent) and stream.sends_files:
                yield from self._co_send_file(exchange, content, stream, read_early)
            while True:
                if isinstance(content, AsyncIterableContent):
                    yield from self._co_fetch(exchange, content, read_early)
                if self._is_answered(exchange, content, read_early):
                    break
                piece = content.take()
                if not piece:
                    break
                yield from self._co_send_piece(exchange, content, piece, read_early)
            if exchange.chunked and not self.state.is_refused(exchange):
                yield from self._co_send_all(exchange, [memoryview(b"0\r\n\r\n")], read_early)
        finally:
            content.finish()

    def _co_fetch(
        self,
        exchange: Exchange,
        content: AsyncIterableContent,
        read_early: ReadEarly | None,
    ) -> Co[None]:
        """Have the driver fetch the next piece of the body. Stops if a response refuses it.

        Raises:
            ConnectionClosed: the connection was closed.
            ConnectionTimedOut: the deadline of *exchange* has passed.
        """
        stream, limits = self.require_stream(), exchange.limits
        while content.must_fetch:
            other = None if read_early is None else read_early()
            if self.state.is_refused(exchange):
                return
            fd, mask = other or (-1, 0)
            need = PollNeeded(fd, mask, phase="send")
            need.body = content
            yield from stream.wait(need)
            if limits is not None:
                limits.check("send")

    def _is_answered(
        self, exchange: Exchange, content: Content, read_early: ReadEarly | None
    ) -> bool:
        """Whether a response refuses the rest of the body. If there is a rest, this checks."""
        if read_early is not None and exchange.bytes_sent and content.sent != content.length:
            read_early()
        return self.state.is_refused(exchange)

    def _co_send_piece(
        self,
        exchange: Exchange,
        content: Content,
        piece: memoryview,
        read_early: ReadEarly | None,
    ) -> Co[None]:
        pieces, before, size = _framed(exchange, piece), exchange.bytes_sent, len(piece)
        if exchange.chunked:
            before += len(pieces[0])
        try:
            yield from self._co_send_all(exchange, pieces, read_early)
        finally:
            content.sent += min(max(0, exchange.bytes_sent - before), size)
            _release([piece])  # the caller may change or resize its buffer now

    def _co_send_file(
        self,
        exchange: Exchange,
        file: FileContent,
        stream: Stream,
        read_early: ReadEarly | None,
    ) -> Co[None]:
        """Send a file without reading it (``sendfile``).

        If the system cannot send this file so, this returns, and the caller sends the rest by
        reading it.
        """
        while file.left and not self._is_answered(exchange, file, read_early):
            file.check()
            count = min(file.left, FILE_BLOCK_SIZE)
            sent = self._try(exchange, stream.send_file, file.fd, file.offset, count)
            if sent is None:
                return
            if not isinstance(sent, PollNeeded):
                file.sent += sent
                file.offset += sent
                if self._left_of_turn <= 0:
                    yield from self._co_pause(stream)
            elif (yield from self._co_wait(exchange, stream, sent, read_early)):
                return

    # Bodies that the caller writes.

    def co_write(self, data: memoryview) -> Co[None]:
        """Send a part of the body that is due. In a chunked body, the part becomes one chunk.

        Raises:
            StateError, ExcessBodyData: as `ConnectionState.check_write`. Nothing was sent.
            ConnectionClosed, ConnectionTimedOut: sending failed. Nothing more can be sent.
        """
        exchange = self.state.check_write(len(data))
        if not data:
            return
        pieces = _framed(exchange, data, last=exchange.body_left == len(data))
        yield from self._co_send_part(exchange, pieces, len(data))

    def co_end_body(self, trailers: HeadersArgument | None) -> Co[None]:
        """End a chunked body. For a complete body of known length, do nothing.

        Raises:
            StateError, InvalidRequest: as `ConnectionState.check_end`. Nothing was sent.
            ConnectionClosed, ConnectionTimedOut: sending failed. Nothing more can be sent.
        """
        end = serialise_trailers(trailers)
        exchange = self.state.check_end(bool(trailers))
        if exchange is not None:
            yield from self._co_send_part(exchange, [memoryview(end)], 0, last=True)

    def _co_send_part(
        self, exchange: Exchange, pieces: list[memoryview], count: int, last: bool = False
    ) -> Co[None]:
        turn = self.send_detector
        try:
            del turn.free
        except AttributeError:
            turn.take()
        try:
            exchange.body_touched = True
            yield from self._co_send_all(exchange, pieces)
            self.state.body_sent(exchange, count, last)
        except BaseException as exc:
            self.state.describe(exc, exchange)
            self.state.cut_off(exchange, exc)
            raise
        finally:
            turn.free = True
        if not self.state.body_pending:
            self.monitor.event("sent")


def _framed(exchange: Exchange, data: memoryview, last: bool = False) -> list[memoryview]:
    """Return *data* as it goes on the wire, with the end of a chunked body if it is the *last*."""
    if not exchange.chunked:
        return [data]
    end = b"\r\n0\r\n\r\n" if last else b"\r\n"
    return [memoryview(b"%x\r\n" % len(data)), data, memoryview(end)]


def _release(views: Iterable[memoryview]) -> None:
    """Release buffers. Otherwise, the frames of an exception would keep them exported."""
    for view in views:
        view.release()
