"""The state of one connection: the requests in flight, and what may be done next.

Theory of operation
===================

An *exchange* is one request with its response. Those whose response is not complete stand in a
queue, oldest first; responses come in that order (RFC 9112 section 9.3.2). Any number may be
queued: that is pipelining, and it needs no mode.

1. Each direction has a state of its own, and they fail separately: when sending was cut off, the
   responses to requests that were sent whole can still be read.
2. An exchange is queued when its request is *accepted*, before its first byte is sent, and leaves
   the queue with the last byte of its response.
3. A request that fails before its first byte is *withdrawn*, as if it had never been. Once a
   byte is out there is no way back: a request cut off ends all sending on this connection.
4. A response to a request that is cut off is read if it has arrived, but never waited for.
5. With Expect (RFC 9110 section 10.1.1), sending waits in CONTINUE for what the server says: a
   100, or a final response, which ends sending too, because nobody knows whether the server
   still waits for the body. Whoever does not want to wait any longer may go ahead.
6. A final response that comes while its request is still being sent ends sending, if it is a
   refusal (300 and above) or announces to close. After another (2xx) sending goes on.
7. Receiving fails for good at the first byte that is not understood. Nothing that follows it is
   ever taken as a response.
8. When either side has announced to close, no request is accepted any more, and what comes
   behind the last response is not looked at (RFC 9112 section 9.6). An interim response that
   announces a body counts as such an announcement: that body may follow although it must not.
9. What had arrived before a request was sent is not the response to it, however many others are
   in flight (RFC 9112 section 9.2).

`SENDING` and `RECEIVING` in `states` are the transitions, and all there are.
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
        queue: the exchanges whose response is not complete, oldest first.
        sending: the state of the sending direction.
        receiving: the state of the receiving direction.
        current: the exchange whose request is being sent, or was sent last.
        following: the exchanges whose requests go out together with it, after it.
        closing: whether either side has announced to close after an exchange.
        closed: whether that exchange's response is complete.
        cut_off_by: what ended sending, once that is CUT_OFF.
        failure: what ended receiving, once that is FAILED.
        limited: whether any exchange has, or had, time limits of its own.
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

    # What each response comes through does the same as these two, in place.

    def _send(self, event: str) -> None:
        self.sending = SENDING[self.sending][event]

    def _receive(self, event: str) -> None:
        self.receiving = RECEIVING[self.receiving][event]

    # What is asked.

    @property
    def pending(self) -> bool:
        """Whether any response is not complete."""
        return bool(self.queue)

    @property
    def unread(self) -> bool:
        """Whether a response can still be read that is not complete."""
        return bool(self.queue) and self.failure is None

    @property
    def idle(self) -> bool:
        """Whether everything is complete, and another request may be sent."""
        return (
            not self.queue
            and self.sending is states.READY
            and self.receiving is states.HEAD
            and self.failure is None
        )

    @property
    def outstanding(self) -> bool:
        """Whether any request or response is unfinished that can still be finished."""
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
        """Whether an accepted request's body is unfinished, or awaits its 100."""
        return self.sending in (states.CONTINUE, states.REQUEST_BODY)

    @property
    def is_sending(self) -> bool:
        """Whether part of an accepted request, which may have been answered, is yet to be sent."""
        return self.sending is states.REQUEST or self.body_pending

    def being_sent(self, exchange: Exchange) -> bool:
        """Whether *exchange* has been accepted, and its head and given body are not yet out."""
        return exchange is self.current and self.sending is states.REQUEST

    def is_awaiting_continue(self, exchange: Exchange) -> bool:
        """Whether the body of *exchange* awaits its 100."""
        return exchange is self.current and self.sending is states.CONTINUE

    def is_refused(self, exchange: Exchange) -> bool:
        """Whether the response to *exchange* has ended the sending of it."""
        return exchange.refused

    def is_cut_off(self, exchange: Exchange) -> bool:
        """Whether *exchange* will never be sent whole."""
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
        """What ended sending, if that is CUT_OFF and the reason is worth telling."""
        return None if self.cut_off_by is None else self.cut_off_by.exc

    def check_alive(self) -> None:
        """Raise `ConnectionClosed` if receiving has failed."""
        if self.failure is not None:
            message = f"the connection is broken: {self.failure}"
            raise self._described(ConnectionClosed(message)) from self.failure.exc

    def lost(self) -> ConnectionClosed:
        """Return what to raise when the connection was closed with something unfinished."""
        return self._described(ConnectionClosed("the connection was closed by disconnect()"))

    # The frames in the traceback of an exception do not refer to that exception. They refer to the
    # connection, which would be closed by the garbage collector only.

    # What sending does.

    def accept(self, exchange: Exchange) -> None:
        """Queue an exchange whose request is about to be sent. The caller has the turn to send.

        Raises:
            StateError: another request's body is unfinished, or the connection is switched to
                another protocol.
            ConnectionClosed: sending has ended.
        """
        if (
            self.failure is not None
            or self.closing
            or self.sending is not states.READY
            or self.receiving is states.SWITCHED
        ):
            self._check_acceptable(exchange)
        # In this order: `finish` takes the current exchange for the one that is being sent.
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
            try:
                raise exc
            finally:
                del exc

    def _not_accepted(self) -> DugongError | None:
        if self.failure is not None:
            return self._retriable(f"the connection is broken: {self.failure}", self.failure.exc)
        if self.receiving is states.SWITCHED:
            return StateError("the connection left HTTP: call detach() or disconnect()")
        if self.sending is not states.READY:
            return self._not_ready()
        if self.closing:
            return self._retriable("the connection is about to be closed, as announced")
        return None  # `finish` has cleared the way

    def accept_behind(self, exchange: Exchange) -> None:
        """Queue one whose request goes out in one piece with that of the one accepted before it."""
        exchange.send_uncertain = True  # from the first call of the system on
        self.following.append(exchange)
        self.queue.append(exchange)

    def finish(self, exc: BaseException | None = None) -> None:
        """Decide what becomes of a request that was being sent by a call that is over.

        If no byte of it may be out, it counts as never made. The caller has the turn to send.

        Args:
            exc: what ended that call, if that is known.
        """
        exchange = self.current
        if exchange is None or self.sending is not states.REQUEST:
            return
        if exchange.bytes_sent or exchange.send_uncertain:
            self.cut_off(exchange, exc)
        else:
            self.withdraw(exchange)

    def _drop_behind(self) -> None:
        """Forget the requests behind the current one, of which nothing will be sent."""
        while self.following:
            exchange = self.following[-1]
            if self.queue[-1] is exchange:
                self.queue.pop()
            self.following.pop()

    def _not_ready(self) -> DugongError:
        if self.sending is states.CUT_OFF:
            reason = f": {self.cut_off_by}" if str(self.cut_off_by or "") else ""
            message = f"sending has ended with a request that was not sent whole{reason}"
            return self._retriable(message, self.cause_of_cut)
        if self.sending is states.REFUSED:
            return StateError("the server refused the last request's body: read its response first")
        return StateError("the last request's body is unfinished")

    def _retriable(self, message: str, cause: BaseException | None = None) -> ConnectionClosed:
        exc = ConnectionClosed(message)
        exc.safe_to_retry = True
        exc.unanswered = self._unanswered()
        exc.__cause__ = cause
        return exc

    def _unanswered(self) -> tuple[Request, ...]:
        # The other direction's thread may change the queue: copy it in one go.
        return tuple([exchange.request for exchange in tuple(self.queue)])

    def withdraw(self, exchange: Exchange) -> None:
        """Forget *exchange*, of which no byte was sent, and those behind it."""
        self._drop_behind()
        if exchange in self.queue:  # an interrupt may have kept it from being queued
            self.queue.remove(exchange)
        self._send("withdrawn")
        self.current = None

    def request_sent(self, exchange: Exchange) -> bool:
        """The head is out, and the body that was given with it. Next is the one behind it.

        Returns:
            Whether it is: a response may have ended the sending instead.
        """
        if self.sending is states.REFUSED:
            return False
        if self.following:
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
        """Return the exchange whose body may have *count* bytes more now.

        Raises:
            StateError: no body is due, or its 100 is awaited.
            ExcessBodyData: more than announced.
            ConnectionClosed: sending has ended.
        """
        self.check_alive()
        if self.sending is states.CUT_OFF:
            raise self._described(self._not_ready(), self.current)
        if self.sending is states.CONTINUE:
            raise StateError("the server's word on the body is awaited: call read_response() first")
        if self.sending is not states.REQUEST_BODY or self.current is None:
            raise StateError("no request body is due")
        left = self.current.body_left
        if left is not None and count > left:
            raise ExcessBodyData(f"{count} bytes of body given, {left} left of those announced")
        return self.current

    def check_end(self, trailers: bool) -> Exchange | None:
        """Return the exchange whose chunked body may end now; ``None`` if it has ended by itself.

        Raises:
            StateError: no body is due, or bytes of it are missing.
            InvalidRequest: there are trailers, and the body is not chunked.
            ConnectionClosed: sending has ended.
        """
        current = self.current
        if current is not None and isinstance(current.request.body, BodyFollowing):
            if trailers and current.length is not None:
                raise InvalidRequest(
                    "trailers need a body of unknown length, BodyFollowing(): this one has a length"
                )
            if self.sending is states.READY and current.body_left == 0:
                return None
        exchange = self.check_write(0)
        if exchange.body_left is not None:
            raise StateError(f"{exchange.body_left} bytes of the announced body are missing")
        return exchange

    def body_sent(self, exchange: Exchange, count: int, last: bool = False) -> None:
        """*count* bytes of body are out; *last* ends a body of unknown length."""
        if exchange.body_left is not None:
            exchange.body_left -= count
            last = exchange.body_left == 0
        if last:
            self._send("sent")
            if exchange.content is not None and exchange not in self.queue:
                self._let_go()

    def go_ahead(self) -> None:
        """The 100 that was awaited has not come in time: the body is due all the same."""
        self._send("time passed")

    def answered_after_all(self) -> None:
        """The last request could not be sent whole, and is answered: that is no failure."""
        self._send("response after all")

    def cut_off(self, exchange: Exchange, exc: BaseException | None) -> None:
        """*exchange* will not be sent whole, and no other after it."""
        if self.is_refused(exchange):
            return  # which ends sending just as well
        self._drop_behind()
        if exc is not None and not isinstance(exc, GeneratorExit):  # which explains nothing
            self.cut_off_by = Remembered(exc)
        self._send("cut off")
        if self.cut_off_by is not None:
            self.cut_off_by.weaken()

    # What receiving does.

    def next(self) -> Exchange:
        """Return the exchange whose response comes next.

        Raises:
            StateError: there is none, or it is not to be read now.
            ConnectionClosed: receiving has failed, or the connection ended as announced.
        """
        if self.receiving is not states.HEAD:
            self.check_alive()
            if self.receiving is states.SWITCHED:
                raise StateError("the connection left HTTP: call detach() or disconnect()")
            raise StateError("the body of the last response is unread: read or discard it first")
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
        """Take a 1xx response other than 101 (RFC 9110 section 15.2).

        Returns:
            Whether it is the 100 (Continue) that was awaited.

        Raises:
            InvalidResponse: there are too many of them.
        """
        response.length = 0
        if announces_body(response):
            exchange.closes = self.closing = True
        if response.status == 100 and exchange is self.current:
            if self.sending is states.CONTINUE:
                self._send("100")
                return True
            if self.sending is states.REQUEST:
                exchange.expect_continue = False  # it is here before the head is out
        if len(exchange.informational) >= MAX_INTERIM_RESPONSES:
            message = f"more than {MAX_INTERIM_RESPONSES} interim responses"
            raise InvalidResponse(message, response, part="limit")
        exchange.informational += (response,)
        return False

    def received_final(self, exchange: Exchange, response: HTTPResponse, framing: Framing) -> None:
        """Take the head of a final response, 101 included.

        Raises:
            UnsupportedResponse: it switches to a protocol that nobody asked for.
        """
        response.length = framing.length
        if response.status == 101 and not exchange.upgrades:
            raise Unsupported("the server switches protocols, but was not asked to", response)
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
        """The oldest exchange's response is complete."""
        self.receiving = RECEIVING[self.receiving]["end of body"]
        exchange = self.queue.popleft()
        self.closed = response.will_close
        if exchange is self.current and exchange.content is not None:
            self._let_go()

    def _let_go(self) -> None:
        """Forget the last request, which is answered, if it is sent too: its body may be large."""
        if self.sending in (states.READY, states.REFUSED):
            self.current = None

    def fail(self, exc: BaseException) -> None:
        """Nothing more can be received, for the first such reason."""
        if self.failure is None:
            self.failure = Remembered(exc)
            self._receive("failed")
            self.failure.weaken()

    def _oldest(self) -> Exchange | None:
        try:
            return self.queue[0]
        except IndexError:  # at once: a sender in another thread may be withdrawing it
            return None

    def _described(self, exc: E, exchange: Exchange | None = None) -> E:
        self.describe(exc, exchange)
        return exc

    def describe(self, exc: BaseException, exchange: Exchange | None = None) -> None:
        """Give *exc* the attributes that a failure of *exchange* has (see `DugongError`).

        If the request is safe to retry, its body is given back too: what the attribute promises
        holds for the object that the caller still has. The exception is a body that another
        thread or task is sending.

        Args:
            exc: the exception.
            exchange: what the caller is sending; by default, the oldest exchange, if any.
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
