"""One whole exchange up to the head of the response: the work of `HTTPConnection.request`.

Theory of operation
===================

An `Upload` watches for the response while it sends the request:

1. The head goes out together with the body, unless a 100 (Continue) is awaited.
2. The wait for the 100 lasts at most `continue_timeout`. Then the body goes out anyway, because not
   every server supports the mechanism (RFC 9110 section 10.1.1).
3. A refusal ends the sending immediately (RFC 9112 section 9.5). The connection cannot be used
   again: the server may still be discarding bytes that the request has announced, and would take
   the next request for a part of them.
4. A server may refuse a request and then close the connection without reading the rest. Its system
   answers the rest with a reset, and sending fails (RFC 9112 section 9.6). The response may have
   arrived before that. So after a failure to send, the upload looks for a response, and returns it
   instead of raising (`_last_word`).
5. The caller never sees the head of a response if an exception takes its place. The session is then
   closed. Otherwise, the next reading call would return the body of that response.
"""

from __future__ import annotations

from typing import Any

from ..errors import DugongError
from ..protocol.exchange import Exchange
from ..protocol.messages import HTTPResponse
from ..transport.poll import Co, PollNeeded
from ..transport.stream import AT_ONCE
from .session import Session


class Upload:
    """One exchange in a session with nothing else outstanding.

    Attributes:
        expect_failed: whether the server does not support Expect: the 100 did not arrive in time,
            or the server answered with 417 (Expectation Failed).
        connection_lost: whether sending failed because the connection was gone, and we had not
            closed it.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.expect_failed = False
        self.connection_lost = False

    def co_run(
        self, exchange: Exchange, continue_timeout: float | None, flags: int
    ) -> Co[HTTPResponse]:
        """Send the request and return its final response, or a 101 that was asked for.

        Args:
            exchange: the exchange, not accepted yet.
            continue_timeout: seconds to wait for a 100, ``None`` for no limit.
            flags: for receiving the response once everything is sent (see `Stream.recv_into`).

        Raises:
            ConnectionClosed, ConnectionTimedOut, OSError: connecting, sending or reading failed.
            InvalidResponse, UnsupportedResponse: the response is invalid or unsupported.
            BodyChanged, ExcessBodyData, TypeError: the body does not have the announced length, or
                an item is not bytes-like.
        """
        watch = _ResponseWatch(self._session, exchange)
        try:
            try:
                yield from self._co_send(exchange, watch, continue_timeout)
                response = yield from watch.co_response(flags)
            except BaseException as exc:
                last_word = self._last_word(exchange, watch, exc)
                if last_word is None:
                    raise
                response = last_word
            finally:
                watch.close()
                if exchange.content is not None:
                    exchange.content.finish()  # even if none of it was to be sent
            self.expect_failed |= exchange.expect_continue and response.status == 417
            return response
        except BaseException:
            if watch.response is not None:
                self._session.close()  # rule 5
            raise

    def _last_word(
        self, exchange: Exchange, watch: _ResponseWatch, exc: BaseException
    ) -> HTTPResponse | None:
        """Return the response if it arrived before *exc* ended the exchange; ``None`` if not."""
        state = self._session.state
        self.connection_lost = exchange.connection_lost
        response = watch.last_word() if exchange.connection_lost else None
        if response is not None:
            response.will_close = True
            state.answered_after_all()
            if not state.pending:
                self._session.close()
            return response
        if exchange in state.queue:
            state.describe(exc, exchange)
        if exchange is state.current and state.body_pending:
            state.cut_off(exchange, exc)  # interrupted, or failed while the 100 was awaited
        return None

    def _co_send(
        self, exchange: Exchange, watch: _ResponseWatch, continue_timeout: float | None
    ) -> Co[None]:
        state = self._session.state
        rest = self._session.start(exchange, watch.read_early)
        if rest is not None:
            try:
                yield from rest
            finally:
                rest.close()
        if state.body_pending:
            yield from self._co_await_continue(exchange, watch, continue_timeout)
            if state.body_pending:
                yield from self._session.co_send_body(exchange, watch.read_early)

    def _co_await_continue(
        self, exchange: Exchange, watch: _ResponseWatch, seconds: float | None
    ) -> Co[None]:
        session = self._session
        clock = session.monitor.clock
        end = None if seconds is None else clock() + seconds
        while session.state.is_awaiting_continue(exchange):
            need = watch.read_early()
            if need is None or not session.state.is_awaiting_continue(exchange):
                return
            left = None if end is None else end - clock()
            if left is not None and left <= 0:
                self.expect_failed = True
                session.state.go_ahead()
                return
            yield from session.require_stream().wait(
                PollNeeded(need.fd, need.mask, left, need.phase)
            )


class _ResponseWatch:
    """Reads the response to one exchange while its request is still being sent.

    Its coroutine is suspended between the calls of `read_early`, and keeps the turn to receive.
    """

    def __init__(self, session: Session, exchange: Exchange) -> None:
        self._session = session
        self._exchange = exchange
        exchange.receive_tried = exchange.content is not None
        self._reading: Any = session.co_do(session.try_response, exchange)
        self.response: HTTPResponse | None = None

    def read_early(self) -> PollNeeded | None:
        """Receive as much of the response as has arrived.

        Returns:
            What receiving more waits for, ``None`` if the response is complete up to its head.

        Raises:
            ConnectionClosed, InvalidResponse, UnsupportedResponse: no response can arrive.
        """
        while self.response is None:
            try:
                need: PollNeeded = next(self._reading)
                return need
            except StopIteration as stop:
                self.response = stop.value
            self._pass_over_continue()
        return None

    def co_response(self, flags: int) -> Co[HTTPResponse]:
        """Wait for the response. *flags* are for receiving it."""
        session = self._session
        session.receive_flags = flags  # `_reading` has the turn to receive
        try:
            while self.response is None:
                self.response = yield from self._reading
                self._pass_over_continue()
        finally:
            session.receive_flags = AT_ONCE
        return self.response

    def _pass_over_continue(self) -> None:
        """Continue reading if the response is the 100 that was awaited."""
        if self.response is not None and self.response.status == 100:
            self._exchange.informational += (self.response,)
            self._reading = self._session.co_do(self._session.try_response, self._exchange)
            self.response = None

    def last_word(self) -> HTTPResponse | None:
        """Return the response if it has arrived, after sending has failed."""
        if self.response is None and self._reading.gi_frame is not None:
            try:
                self.read_early()  # the connection is gone: nothing more can arrive later
            except DugongError:
                pass
        return self.response

    def close(self) -> None:
        self._reading.close()
