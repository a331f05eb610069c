"""The state of one connection: the requests in flight, and which calls are allowed next.

Theory of operation
===================

An *exchange* is one request with its response. `ConnectionState.queue` holds every exchange whose
response is incomplete, oldest first. Responses arrive in that order (RFC 9112 section 9.3.2). The
queue may hold any number of exchanges: that is pipelining, and it needs no mode.

The sending direction is in one of these states (`states.Sending`):

========= ===========================================================================
READY     A request may be accepted.
REQUEST   A request was accepted. Its head, and any body passed with it, is being sent.
CONTINUE  The head is sent, and the body awaits a 100 (Continue).
BODY      The head is sent, and the body follows.
REFUSED   A final response arrived before the end of the body. Sending has ended.
CUT_OFF   A request was sent only in part. Sending has ended.
========= ===========================================================================

The receiving direction is in HEAD, BODY, SWITCHED (101 or a tunnel) or FAILED
(`states.Receiving`). The tables `SENDING` and `RECEIVING` in `states` are the complete set of
transitions.

1. Each direction has its own state, and they fail separately. When sending is cut off, the
   responses to requests that were sent completely can still be read.
2. An exchange enters the queue when its request is *accepted*, before its first byte is sent. It
   leaves the queue with the last byte of its response.
3. A request that fails before its first byte is sent is *withdrawn*: the state is as if it had
   never been accepted. After the first byte, a failure *cuts off* the request, and that ends all
   sending. The server still expects the missing bytes and would take the next request for them.
4. A response to a request that was cut off is read if it has arrived, and never waited for.
5. With Expect (RFC 9110 section 10.1.1), sending waits in CONTINUE for a 100 or a final response.
   A final response ends sending, because the client cannot know whether the server still expects
   the body. The caller may also stop waiting and send the body (`go_ahead`).
6. A final response that arrives while its request is still being sent ends sending if it is a
   refusal (300 and above) or announces a close. After any other (2xx), sending continues.
7. Receiving fails permanently at the first byte that is not valid. No later byte is ever taken
   for a response.
8. Once either side has announced a close, no request is accepted, and bytes after the last
   response are ignored (RFC 9112 section 9.6). An interim response that announces a body counts
   as such an announcement: it must not have a body, but the server may send one anyway.
9. Bytes that arrived before a request was sent are not its response, even if other requests are
   in flight (RFC 9112 section 9.2).

Threads and interrupts
======================

One thread may send while another receives, and both use this object without a lock. Most methods
belong to one direction. The queue is shared: the sender appends and withdraws at its end, and the
receiver removes from its front. Single operations of a `deque` are atomic. A method that needs
several must allow for a change by the other thread in between (`_oldest`, `_unanswered`).

A signal handler may raise an exception between any two bytecodes. So the order of assignments
matters where a comment notes it: in each intermediate state, `finish` must still decide
correctly whether part of the request may have been sent.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeVar

from ..errors import (
    ConnectionClosed,
    DugongError,
    ExcessBodyData,
    InvalidRequest,
    InvalidResponse,
    Remembered,
    StateError,
)
from ..errors import UnsupportedResponse as Unsupported
from . import states
from .exchange import Exchange
from .framing import SWITCH, Framing, announces_body
from .limits import MAX_INTERIM_RESPONSES
from .messages import BodyFollowing, HTTPResponse, Request
from .states import RECEIVING, SENDING

if TYPE_CHECKING:
    from ..transport.within import ExchangeLimits

E = TypeVar("E", bound=BaseException)


class ConnectionState:
    """The exchanges of one connection.

    Attributes:
        queue: the exchanges whose response is incomplete, oldest first.
        sending: the state of the sending direction.
        receiving: the state of the receiving direction.
        current: the exchange whose request is being sent, or was sent last. ``None`` before the
            first request. Also ``None`` after a complete exchange with a body, which may be large.
        following: exchanges whose requests are sent in one piece with that of `current`, after it.
        closing: whether either side has announced that it closes after an exchange.
        closed: whether that exchange's response is complete.
        cut_off_by: the exception that ended sending, when `sending` is CUT_OFF.
        failure: the exception that ended receiving, when `receiving` is FAILED.
        limited: whether any exchange has, or had, its own time limits.
    """

    def __init__(self) -> None:
        self.queue: deque[Exchange] = deque()
        self.sending = states.READY
        self.receiving = states.HEAD
        self.current: Exchange | None = None
        self.following: deque[Exchange] = deque()
        self.closing = False
        self.closed = False
        self.cut_off_by: Remembered | None = None
        self.failure: Remembered | None = None
        self.limited = False

    # Methods that run for every request or response do the same inline, which saves a call.

    def _send(self, event: str) -> None:
        self.sending = SENDING[self.sending][event]

    def _receive(self, event: str) -> None:
        self.receiving = RECEIVING[self.receiving][event]

    # Queries.

    @property
    def pending(self) -> bool:
        """Whether any response is incomplete."""
        return bool(self.queue)

    @property
    def unread(self) -> bool:
        """Whether any incomplete response can still be read."""
        return bool(self.queue) and self.failure is None

    @property
    def idle(self) -> bool:
        """Whether all exchanges are complete and another request may be sent."""
        return (
            not self.queue
            and self.sending is states.READY
            and self.receiving is states.HEAD
            and self.failure is None
        )

    @property
    def outstanding(self) -> bool:
        """Whether any unfinished request or response can still be finished."""
        if self.failure is not None:
            return False
        if self.is_sending:
            return True
        if self.sending is states.CUT_OFF and self.receiving is states.HEAD:
            return bool(self.queue) and not self.is_cut_off(self.queue[0])
        return bool(self.queue)

    @property
    def broken(self) -> bool:
        """Whether no further request can be sent on this connection."""
        return self.failure is not None or self.sending in (states.REFUSED, states.CUT_OFF)

    @property
    def body_pending(self) -> bool:
        """Whether an accepted request's body is unfinished or awaits its 100 (Continue)."""
        return self.sending in (states.CONTINUE, states.REQUEST_BODY)

    @property
    def is_sending(self) -> bool:
        """Whether part of an accepted request is still unsent. It may have been answered."""
        return self.sending is states.REQUEST or self.body_pending

    def being_sent(self, exchange: Exchange) -> bool:
        """Whether *exchange* is accepted, and its head or the body passed with it is unsent."""
        return exchange is self.current and self.sending is states.REQUEST

    def is_awaiting_continue(self, exchange: Exchange) -> bool:
        """Whether the body of *exchange* awaits its 100 (Continue)."""
        return exchange is self.current and self.sending is states.CONTINUE

    def is_refused(self, exchange: Exchange) -> bool:
        """Whether the response to *exchange* arrived early and ended sending."""
        return exchange.refused

    def is_cut_off(self, exchange: Exchange) -> bool:
        """Whether *exchange* was sent only in part, and the rest will never be sent."""
        return exchange is self.current and self.sending is states.CUT_OFF

    def sending_limits(self) -> ExchangeLimits | None:
        """Return the time limits of the exchange whose request is being sent, or was sent last."""
        return None if self.current is None else self.current.limits

    def receiving_limits(self) -> ExchangeLimits | None:
        """Return the time limits of the exchange whose response is being received, or is next."""
        oldest = self._oldest()
        return None if oldest is None else oldest.limits

    @property
    def cause_of_cut(self) -> BaseException | None:
        """The exception that ended sending, if `sending` is CUT_OFF and the exception is known."""
        return None if self.cut_off_by is None else self.cut_off_by.exc

    def check_alive(self) -> None:
        """Raise `ConnectionClosed` if receiving has failed."""
        if self.failure is not None:
            message = f"the connection is broken: {self.failure}"
            raise self._described(ConnectionClosed(message)) from self.failure.exc

    def lost(self) -> ConnectionClosed:
        """Return the exception for a connection that was closed with unfinished exchanges."""
        return self._described(ConnectionClosed("the connection was closed by disconnect()"))

    # Sending.

    def accept(self, exchange: Exchange) -> None:
        """Queue an exchange whose request is about to be sent.

        The caller holds the turn to send, so no other call is sending. If this raises, nothing
        has changed, except that a request left over by an interrupted call is settled (`finish`).

        Raises:
            StateError: another request's body is unfinished, or the connection has switched to
                another protocol.
            ConnectionClosed: sending has ended. If the request is safe to retry, its body is as
                the caller passed it.
        """
        if (
            self.failure is not None
            or self.closing
            or self.sending is not states.READY
            or self.receiving is states.SWITCHED
        ):
            self._check_acceptable(exchange)
        # The order matters if an interrupt arrives in between. In REQUEST, `finish` assumes that
        # `current` is being sent, so `current` is set first. `withdraw` expects that the exchange
        # may not be queued yet, so the queue comes last.
        self.current = exchange
        self.sending = SENDING[self.sending]["accepted"]
        if exchange.limits is not None:
            self.limited = True
        self.queue.append(exchange)

    def _check_acceptable(self, exchange: Exchange) -> None:
        self.finish()
        exc = self._not_accepted()
        if exc is not None:
            exc.safe_to_retry &= exchange.restore()
            # The traceback refers to this frame. If the frame kept a reference to the exception,
            # they would form a cycle that reaches the connection, and only the garbage collector
            # would close that.
            try:
                raise exc
            finally:
                del exc

    def _not_accepted(self) -> DugongError | None:
        if self.failure is not None:
            return self._retriable(f"the connection is broken: {self.failure}", self.failure.exc)
        if self.receiving is states.SWITCHED:
            return StateError("the connection no longer speaks HTTP: call detach() or disconnect()")
        if self.sending is not states.READY:
            return self._not_ready()
        if self.closing:
            return self._retriable("the connection is about to be closed, as announced")
        return None  # `finish` has withdrawn the interrupted request that was in the way

    def accept_behind(self, exchange: Exchange) -> None:
        """Queue an exchange whose request is sent in one piece with the one accepted before it.

        The requests share one buffer, and any system call may send bytes of several of them. So
        `send_uncertain` is set now and stays set until the bytes of this request are counted.
        """
        exchange.send_uncertain = True
        # In this order: after an interrupt in between, `_drop_behind` finds it in `following`.
        self.following.append(exchange)
        self.queue.append(exchange)

    def finish(self, exc: BaseException | None = None) -> None:
        """Settle a request whose sending call has ended before the request was sent completely.

        If none of its bytes can have been sent, the request is withdrawn. Otherwise it is cut
        off, even if no byte was counted: a signal handler may have raised between the system call
        and the counting (`Exchange.send_uncertain`). The caller holds the turn to send.

        Args:
            exc: the exception that ended that call, if it is known.
        """
        exchange = self.current
        if exchange is None or self.sending is not states.REQUEST:
            return
        if exchange.bytes_sent or exchange.send_uncertain:
            self.cut_off(exchange, exc)
        else:
            self.withdraw(exchange)

    def _drop_behind(self) -> None:
        """Remove the requests behind the current one. None of their bytes will be sent.

        An exchange leaves the queue first and `following` second. After an interrupt in between,
        the next call finds it in `following` only, and continues.
        """
        while self.following:
            exchange = self.following[-1]
            if self.queue[-1] is exchange:
                self.queue.pop()
            self.following.pop()

    def _not_ready(self) -> DugongError:
        if self.sending is states.CUT_OFF:
            reason = f": {self.cut_off_by}" if str(self.cut_off_by or "") else ""
            message = f"nothing more can be sent after a request that was sent only in part{reason}"
            return self._retriable(message, self.cause_of_cut)
        if self.sending is states.REFUSED:
            return StateError("the server refused the last request's body: read its response first")
        return StateError("the last request's body is unfinished: write the rest of it first")

    def _retriable(self, message: str, cause: BaseException | None = None) -> ConnectionClosed:
        exc = ConnectionClosed(message)
        exc.safe_to_retry = True
        exc.unanswered = self._unanswered()
        exc.__cause__ = cause
        return exc

    def _unanswered(self) -> tuple[Request, ...]:
        # Iterating over a deque fails if another thread changes it. Copying it is atomic.
        return tuple([exchange.request for exchange in tuple(self.queue)])

    def withdraw(self, exchange: Exchange) -> None:
        """Remove *exchange*, of which no byte was sent, and those behind it. Sending is READY."""
        self._drop_behind()
        if exchange in self.queue:  # `accept` may have been interrupted before it queued this
            self.queue.remove(exchange)
        self._send("withdrawn")
        self.current = None

    def request_sent(self, exchange: Exchange) -> bool:
        """Record that the head is sent, and any body passed with it.

        If other requests are sent in one piece with it, the next of them becomes `current`.
        A ``Connection: close`` of ours counts from here on, not before: the server has not seen
        it while the request may still fail.

        Returns:
            False if an early response has ended sending instead.
        """
        if self.sending is states.REFUSED:
            return False
        if self.following:
            # In this order: after an interrupt in between, the next request is in both places and
            # counts as being sent. In the other order, the request that was just sent completely
            # would count as being sent, and its response would not be waited for.
            self.current = self.following[0]
            self.following.popleft()
            return True
        if exchange.closes:
            self.closing = True
        if exchange.expect_continue:
            self._send("sent, 100 awaited")
        elif exchange.follows:
            self._send("sent, body follows")
        else:
            self._send("sent")
            if exchange.content is not None and exchange not in self.queue:
                self._let_go()
        return True

    def check_write(self, count: int) -> Exchange:
        """Return the exchange that may send *count* more bytes of body now.

        Raises:
            StateError: no body is due, or its 100 (Continue) is awaited.
            ExcessBodyData: *count* is more than the announced length leaves.
            ConnectionClosed: sending has ended.
        """
        self.check_alive()
        if self.sending is states.CUT_OFF:
            raise self._described(self._not_ready(), self.current)
        if self.sending is states.CONTINUE:
            raise StateError("the server has not accepted the body yet: call read_response() first")
        if self.sending is not states.REQUEST_BODY or self.current is None:
            raise StateError(
                "no request body is expected: call send_request() with a BodyFollowing first"
            )
        left = self.current.body_left
        if left is not None and count > left:
            raise ExcessBodyData(
                f"{count} bytes of body passed, but only {left} of the announced bytes are left"
            )
        return self.current

    def check_end(self, trailers: bool) -> Exchange | None:
        """Return the exchange whose chunked body may end now.

        Args:
            trailers: whether the caller passed any trailer fields.

        Returns:
            ``None`` if the body has a known length and ended with its last byte.

        Raises:
            StateError: no body is due, or bytes of it are missing.
            InvalidRequest: there are trailers, and the body is not chunked.
            ConnectionClosed: sending has ended.
        """
        current = self.current
        if current is not None and isinstance(current.request.body, BodyFollowing):
            if trailers and current.length is not None:
                raise InvalidRequest(
                    "trailers need a body of unknown length: use BodyFollowing() without a length"
                )
            if self.sending is states.READY and current.body_left == 0:
                return None
        exchange = self.check_write(0)
        if exchange.body_left is not None:
            raise StateError(f"{exchange.body_left} bytes of the announced body are missing")
        return exchange

    def body_sent(self, exchange: Exchange, count: int, last: bool = False) -> None:
        """Record that *count* bytes of body were sent. *last* ends a body of unknown length."""
        if exchange.body_left is not None:
            exchange.body_left -= count
            last = exchange.body_left == 0
        if last:
            self._send("sent")
            if exchange.content is not None and exchange not in self.queue:
                self._let_go()

    def go_ahead(self) -> None:
        """Stop waiting for the 100 (Continue): the body is due without it.

        A server may not know Expect, so a client must not wait indefinitely (RFC 9110 section
        10.1.1).
        """
        self._send("time passed")

    def answered_after_all(self) -> None:
        """Record that a request that was cut off has been answered.

        The server responded and then closed the connection while the request was still being
        sent. That is a refusal, not a failure.
        """
        self._send("response after all")

    def cut_off(self, exchange: Exchange, exc: BaseException | None) -> None:
        """End sending: *exchange* was sent only in part.

        Does nothing if an early response has ended sending already.

        Args:
            exchange: the exchange being sent.
            exc: the exception that ended the sending call, if it is known. A `GeneratorExit` is
                not kept, because it explains nothing.
        """
        if self.is_refused(exchange):
            return
        self._drop_behind()
        if exc is not None and not isinstance(exc, GeneratorExit):
            self.cut_off_by = Remembered(exc)
        self._send("cut off")
        if self.cut_off_by is not None:
            self.cut_off_by.weaken()

    # Receiving.

    def next(self) -> Exchange:
        """Return the exchange whose response is next.

        Raises:
            StateError: there is none, or it cannot be read in this state.
            ConnectionClosed: receiving has failed, or the connection ended as announced.
        """
        if self.receiving is not states.HEAD:
            self.check_alive()
            if self.receiving is states.SWITCHED:
                raise StateError(
                    "the connection no longer speaks HTTP: call detach() or disconnect()"
                )
            raise StateError(
                "the body of the last response has not been read: read or discard it first"
            )
        exchange = self._oldest()
        if exchange is None:
            if self.sending is states.CUT_OFF:
                raise self._not_ready()
            raise StateError("no response is outstanding: send a request first")
        if exchange is self.current and self.sending is states.REQUEST_BODY:
            raise StateError("the request's body is unfinished: write the rest of it first")
        if self.closed:
            raise ConnectionClosed("the connection was closed, as announced, before this response")
        return exchange

    def received_interim(self, exchange: Exchange, response: HTTPResponse) -> bool:
        """Record a 1xx response other than 101 (RFC 9110 section 15.2).

        Returns:
            Whether it is the 100 (Continue) that was awaited. Any other is added to
            `Exchange.informational`.

        Raises:
            InvalidResponse: the exchange has too many interim responses.
        """
        response.length = 0
        if announces_body(response):
            exchange.closes = self.closing = True
        if response.status == 100 and exchange is self.current:
            if self.sending is states.CONTINUE:
                self._send("100")
                return True
            if self.sending is states.REQUEST:
                # It arrived before the whole head was sent: the body will not wait for another.
                exchange.expect_continue = False
        if len(exchange.informational) >= MAX_INTERIM_RESPONSES:
            message = f"more than {MAX_INTERIM_RESPONSES} interim responses"
            raise InvalidResponse(message, response, part="limit")
        exchange.informational += (response,)
        return False

    def received_final(self, exchange: Exchange, response: HTTPResponse, framing: Framing) -> None:
        """Record the head of a final response or a 101.

        A response without a body is complete after this call, and the exchange leaves the queue.
        So it does after a switch to another protocol.

        Raises:
            UnsupportedResponse: the server switches protocols without being asked. Nothing has
                changed except `HTTPResponse.length`.
        """
        response.length = framing.length
        if response.status == 101 and not exchange.upgrades:
            raise Unsupported("the server switched protocols without being asked to", response)
        if exchange.informational:
            response.informational = list(exchange.informational)
        refused = exchange is self.current and self._ends_sending(response, framing)
        if refused:
            exchange.refused = True
            self._drop_behind()
            self._send("final response")
        if refused or framing.closes or exchange.closes:
            response.will_close = self.closing = True
        if framing.delimiter is SWITCH:
            self._receive("head, switches")
            self.queue.popleft()
            return
        self.receiving = RECEIVING[self.receiving]["head, body follows"]
        if framing.length == 0:
            self.body_ended(response)

    def _ends_sending(self, response: HTTPResponse, framing: Framing) -> bool:
        if self.sending is states.READY:
            return False
        if self.sending in (states.REQUEST, states.REQUEST_BODY):
            return response.status >= 300 or framing.closes
        return self.sending is states.CONTINUE

    def body_ended(self, response: HTTPResponse) -> None:
        """Record that the response of the oldest exchange is complete."""
        self.receiving = RECEIVING[self.receiving]["end of body"]
        exchange = self.queue.popleft()
        self.closed = response.will_close
        if exchange is self.current and exchange.content is not None:
            self._let_go()

    def _let_go(self) -> None:
        """Drop the reference to an answered request that is not being sent any more.

        Its body may be large, and the next request may be a long time away.
        """
        if self.sending in (states.READY, states.REFUSED):
            self.current = None

    def fail(self, exc: BaseException) -> None:
        """End receiving because of *exc*. Only the first exception counts."""
        if self.failure is None:
            self.failure = Remembered(exc)
            self._receive("failed")
            self.failure.weaken()

    def _oldest(self) -> Exchange | None:
        # One operation, not a check and then an access: a sender in another thread may withdraw
        # the only exchange in between.
        try:
            return self.queue[0]
        except IndexError:
            return None

    def _described(self, exc: E, exchange: Exchange | None = None) -> E:
        self.describe(exc, exchange)
        return exc

    def describe(self, exc: BaseException, exchange: Exchange | None = None) -> None:
        """Set the attributes on *exc* that describe the failure of *exchange* (see `DugongError`).

        If the request is safe to retry, this also restores its body: `safe_to_retry` promises
        that the object in the caller's hands can be sent again. A body that another thread or
        task is sending at this moment is not touched. That is the case if a reader fails while
        the oldest exchange is still being sent; the sender restores the body when it fails, too.

        Args:
            exc: the exception.
            exchange: the exchange that the caller is sending; by default, the oldest one, if any.
        """
        is_mine = exchange is not None
        exchange = exchange or self._oldest()
        if exchange is None:
            return
        is_ended = is_mine or exchange is not self.current or self.sending not in states.UNSENT
        exc.__dict__.update(
            bytes_sent=exchange.bytes_sent,
            response_started=exchange.response_started,
            safe_to_retry=exchange.restore() if is_ended else exchange.safe_to_retry,
            unanswered=self._unanswered(),
        )
