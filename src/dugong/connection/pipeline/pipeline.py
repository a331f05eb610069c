"""Many requests in flight on one connection, without deadlock: `HTTPConnection.pipeline`.

Theory of operation
===================

1. *Room.* Requests are taken from the caller's iterable while fewer than *depth* are unanswered.
   Requests without a body go out together, in one piece. Exception: if the iterable may take long
   to yield the next request, each request is sent before the next one is taken.
2. *No deadlock.* One step sends as much as possible and receives as much as has arrived. When it
   can do neither, it waits for both. While the caller reads a body, sending also continues
   (`Lifecycle.send_while_reading`). So the two sides never wait for each other, and requests and
   responses may have any size.
3. *Alone.* Some requests go *alone*: no other is in flight when one is sent, and nothing follows
   until its response is complete. These are:

   - a request whose method is not idempotent. If the connection ended before its response, it could
     not be sent again, because the server may have acted on it (RFC 9112 section 9.3.2);
   - a request that closes or upgrades the connection, because no response to later ones follows;
   - a request whose body is an async iterable. The iterable runs in the caller's task and may have
     cancel scopes open. So it can only be sent within a step of an async pipeline, and not while
     the caller reads a body;
   - the first request to a server that has not yet shown that it speaks HTTP/1.1 and keeps
     connections open.
4. *Progress.* When the connection ends, the unanswered requests are sent again on a new one, if the
   old one brought at least one response. If the end was not announced, the first of them goes
   alone. That request may be the reason why the connection ended, and an error response to it could
   be lost again if other requests followed (RFC 9112 section 9.3.2). A server that has answered
   only one of several requests on `_MOST_SHORT_LIVED` connections in a row gets one request at a
   time.
5. *Proof.* Some servers read a buffer, answer the first request in it and drop the rest. The
   response to a request that is sent later would then be taken for the response to a dropped one.
   So until a server has answered two requests that were sent in one piece (`_PROOF`), nothing is
   sent behind such a piece, and at most two requests that were sent separately are in flight.
6. *Patience.* If several requests were in flight and no byte moves for `PATIENCE`, the server has
   probably dropped requests. The connection is closed, the oldest request is sent again alone, and
   this server gets one request at a time from then on. That happens at most once per connection
   object. At a depth of one, only the caller's time limits end a wait.
7. *Failures.* A request that cannot be sent again fails: its method is not idempotent, or its body
   is gone. So does an item that is not a request at all. Such failures keep their place in the
   order. They are raised when all requests before them have been answered, and the next step
   continues behind them.
8. *Announcements.* A connection is not used after a response that announces a close, nor after
   anything unexpected.
9. *Interruption.* An exception that ends the step itself, such as a timeout, loses nothing: the
   next step continues. If a signal handler raises in the middle of a step, it is not known how far
   that step got. The connection is then dropped, and rule 4 or 7 applies to each request.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from ...errors import (
    ConnectionClosed,
    ConnectionTimedOut,
    InvalidResponse,
    StateError,
    UnsupportedResponse,
)
from ...protocol.arguments import check_size
from ...protocol.content import AsyncIterableContent
from ...protocol.exchange import Exchange
from ...protocol.messages import IDEMPOTENT_METHODS, HTTPResponse, Request
from ...protocol.states import Receiving
from ...transport.connect import Route
from ...transport.poll import Co, PollNeeded
from ...transport.stream import AT_ONCE
from ..connection import Connection
from .queue import QueuedRequest, RequestQueue
from .session import PipelinedSession

#: The default for the number of requests in flight.
DEFAULT_DEPTH = 64

#: The number of responses, on one connection, to requests that were sent in one piece. They prove
#: that the server does not drop all requests but the first of those that it receives together.
_PROOF = 2

#: The number of consecutive connections that end after one response before pipelining ends.
_MOST_SHORT_LIVED = 2

_ENDED = (ConnectionClosed, ConnectionTimedOut)


class Pipeline:
    """Sends requests and returns their responses in order. Made by `HTTPConnection.pipeline`."""

    def __init__(
        self,
        connection: Connection,
        requests: Iterable[Any],
        depth: int,
        deadline: float | None = None,
    ) -> None:
        if isinstance(requests, (str, bytes, Request)):
            raise TypeError("requests must be an iterable: put a single request in a list")
        if not hasattr(requests, "__iter__") and not hasattr(requests, "__getitem__"):
            raise TypeError(f"requests must be an iterable, not {type(requests).__name__}")
        depth = check_size(depth, "depth", lowest=1)
        self._connection = connection
        self._depth = depth
        self._items = RequestQueue(requests)
        if connection._traits.pipelines:
            self._items.server_pipelines()
        self._run: PipelinedSession | None = None
        self._alone = False  # whether the next request goes alone
        self._deliberate: BaseException | None = None  # the exception being raised on purpose
        self._limits = None if deadline is None else connection._limits_of_exchange(deadline)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a pipeline cannot be copied or pickled: it is bound to its connection")

    def co_next(self) -> Co[HTTPResponse | None]:
        """Coroutine of one step: return the next response, ``None`` after the last one.

        This discards the unread part of the previous response's body. See `HTTPConnection.pipeline`
        for the exceptions. After any of them, call this again to continue.
        """
        got = self._try_next()
        if isinstance(got, PollNeeded):
            got = yield from self._go_on(got)
        return got

    def _go_on(self, need: PollNeeded) -> Co[HTTPResponse | None]:
        """Return a coroutine for the rest of `co_next` after `_try_next` has returned *need*."""
        crt = self._co_go_on(need)
        return crt if self._limits is None else self._limits.co_keep(crt)

    def _co_go_on(self, need: PollNeeded) -> Co[HTTPResponse | None]:
        got: HTTPResponse | PollNeeded | None = need
        while isinstance(got, PollNeeded):
            try:
                yield from self._co_wait(got)
            except _ENDED as exc:
                self._describe(exc)
                if isinstance(exc, ConnectionClosed):  # by disconnect()
                    self._drop_run()
                raise
            got = self._try_next()
        return got

    def _co_wait(self, need: PollNeeded) -> Co[None]:
        run = self._run
        stream = None if run is None else run.session.stream
        if run is None or stream is None or not need.mask:
            yield need  # connecting, or waiting only for the caller's async iterable
            return
        yield from stream.wait(need)
        if run.shared and stream.in_records and stream.want_read.poll(0):
            run.heard()

    def _try_next(self) -> HTTPResponse | PollNeeded | None:
        """Make one step as far as that is possible without waiting."""
        items, run = self._items, self._run
        try:
            if run is not None:
                session = run.session
                if (
                    session.reader.body is not None
                    or session.closed
                    or self._connection._session is not session
                    or not session.pipelined
                ) and (need := self._try_finish_last(run)) is not None:
                    return need
            while True:
                want_write = self._send_some(eagerly=True)
                if not items.queue:
                    if want_write is None:
                        self._finish()
                    return want_write
                first = items.queue[0]
                if first.failure is not None:
                    self._raise_first(first)
                want_read = self._try_receive(first)
                if isinstance(want_read, HTTPResponse):
                    return want_read
                if want_read is None and (want_write is None or self._run is None):
                    continue  # by another connection
                if (need := self._look_again(first, want_read, want_write)) is not None:
                    return need
        except BaseException as exc:
            if exc is not self._deliberate:  # a signal handler raised it, at an unknown point
                self._drop_run()
            raise
        finally:
            self._deliberate = None

    def _deliberately(self, exc: BaseException) -> BaseException:
        """Return *exc*, and note that it leaves the pipeline in a consistent state."""
        self._deliberate = exc
        return exc

    def _look_again(
        self, first: QueuedRequest, want_read: PollNeeded | None, want_write: PollNeeded | None
    ) -> PollNeeded | None:
        """Send one by one while nothing has come. Returns what to wait for, ``None`` to go on."""
        items = self._items
        if not items.is_quick and want_read is not None and want_read.poll(0):
            return None
        before = items.in_flight
        if want_write is None:
            want_write = self._send_some(eagerly=False)
        if not items.is_quick and items.in_flight > before:
            return None  # that may have taken time: look what has come meanwhile
        need = _both(want_read, want_write)
        run = self._run
        if need is None or run is None or not run.shared or want_read is None:
            return need
        if (patient := run.while_patient(first, need)) is None:
            self._stop_overlapping()
        return patient

    def _first(self) -> QueuedRequest | None:
        """Return the one whose response comes next."""
        return self._items.queue[0] if self._items.queue else None

    def _stop_overlapping(self) -> None:
        """Send one request at a time from now on: the server has probably dropped some (rule 6)."""
        self._connection._traits.pipelines = False
        self._drop_run()

    def _finish(self) -> None:
        """End the pipeline, when every request has been answered or has failed."""
        if self._run is not None and not self._run.can_start:
            self._drop_run()

    # Connections.

    def _look_after(self, run: PipelinedSession) -> None:
        """Check whether the connection was closed or used otherwise since the last step.

        Raises:
            ConnectionClosed: `disconnect` was called with requests in flight.
        """
        session = run.session
        if self._connection._session is not session or (session.closed and not session.pipelined):
            self._drop_run()
        elif not session.pipelined:
            self._run = None  # nothing was outstanding
        elif run.was_disconnected:
            exc = ConnectionClosed("the connection was closed by disconnect()")
            self._describe(exc)
            was_in_flight = self._items.in_flight
            self._drop_run()
            if was_in_flight:
                try:
                    raise self._deliberately(exc)
                finally:
                    del exc  # as in `ConnectionState`

    def _ready_run(self) -> PipelinedSession:
        """Return a connection for sending on which nothing is in flight, a new one if necessary.

        Raises:
            StateError: something else is outstanding on the connection.
        """
        run, connection = self._run, self._connection
        if run is not None and run.session.state.receiving is Receiving.SWITCHED:
            run.session.close()
        try:
            old = connection._idle_session()
            session = old or connection._new_session(connection._route())
        except Exception as exc:
            self._deliberately(exc)
            raise
        if run is None or run.session is not session:
            replaceable = not connection._sock_given
            run = self._run = PipelinedSession(
                session, self._items, is_new=old is None, replaceable=replaceable
            )
        session.pipelined = True
        return run

    def _drop_run(self, exc: Exception | None = None) -> None:
        """Close the connection. Requests in flight will be sent again, or fail with *exc*."""
        run, self._run = self._run, None
        if run is not None:
            run.close()
        self._items.back_from_flight(exc)

    def _lose_run(self, run: PipelinedSession, exc: Exception) -> None:
        """Handle the end of a connection with requests in flight or about to be sent (rule 4).

        Raises:
            ConnectionClosed, ConnectionTimedOut, OSError: *exc*, if there was no progress.
        """
        connection, first = self._connection, self._first()
        if run.answered == 1 and run.overlapped:
            connection._traits.short_lived += 1
        self._describe(exc)
        self._alone = not run.session.state.closed
        self._drop_run(exc)
        hopeless = (run.is_new and not run.answered) or connection._sock_given
        if hopeless and first is not None and first.failure is None:
            try:
                raise self._deliberately(exc) from exc.__cause__
            finally:
                del exc  # as in `ConnectionState`

    def _describe(self, exc: BaseException) -> None:
        """Set the attributes of *exc*, the failure of the oldest request."""
        first, run = self._first(), self._run
        if first is not None and first.exchange is not None and run is not None:
            run.session.state.describe(exc, first.exchange)
        self._items.restore()  # the caller may send the unanswered requests in another pipeline
        exc.__dict__["unanswered"] = self._items.requests()

    def _raise_first(self, first: QueuedRequest) -> None:
        """Raise the failure that takes the place of the next response (rule 7)."""
        failure = first.failure
        assert failure is not None
        self._describe(failure)
        if first.exchange is not None:  # it was cut off, and nothing can follow it
            self._drop_run()
        self._items.forget_first()
        first.failure = None
        try:
            raise self._deliberately(failure) from failure.__cause__
        finally:
            del failure  # its traceback refers to this frame: a reference cycle

    # Sending.

    def _send_some(self, *, eagerly: bool) -> PollNeeded | None:
        """Send as many requests as there is room for.

        Args:
            eagerly: whether responses may have arrived already. This then sends nothing while more
                than half of the room is taken. Otherwise, each response would make room for one
                request, and each request would take a separate system call.

        Returns:
            What sending waits for, ``None`` if it does not wait.
        """
        items, need, started = self._items, None, False
        while True:
            run = self._run
            if run is not None and run.sending and (need := run.keep_sending()) is not None:
                break
            in_flight = items.in_flight
            if eagerly and (in_flight > self._depth // 2 or (in_flight and not items.is_quick)):
                break
            if not self._start_sending():
                break
            started = True
            if not items.is_quick:
                need = None if self._run is None else self._run.keep_sending()
                break
        if started and self._run is not None:
            self._run.push()
        return need

    def _start_sending(self) -> bool:
        """Begin to send the next requests. Returns whether any may be sent now."""
        items, limit = self._items, self._limit()
        if items.in_flight >= limit or not items.has_more():
            return False
        if self._limits is not None and self._limits.passed:
            self._late()
            return False
        run = self._run
        if run is None or not items.in_flight:
            run = self._ready_run()
        elif not run.can_start:
            return False
        batch = items.next_to_send(limit, self._prepare)
        if batch:
            may_join = not items.at_hand or not self._connection._traits.pipelines
            run.start(batch, more=may_join and items.is_quick)
        return bool(batch)

    def _late(self) -> None:
        """Handle a request that is to be sent after the deadline.

        Raises:
            ConnectionTimedOut: no request is in flight, so no response can arrive, either.
        """
        assert self._limits is not None
        if not self._items.in_flight:
            try:
                self._limits.check("send")
            except ConnectionTimedOut as exc:
                self._describe(exc)
                self._deliberately(exc)
                raise

    def _limit(self) -> int:
        """Return how many requests may be in flight now (rules 3 to 6)."""
        connection, run = self._connection, self._run
        if self._alone or not connection._traits.keeps_connections or connection._traits.is_http10:
            return 1
        if connection._traits.short_lived >= _MOST_SHORT_LIVED:
            return 1
        if connection._traits.pipelines:
            return self._depth
        if connection._traits.pipelines is not None:
            return 1
        in_flight = self._items.in_flight
        if run is None or not in_flight:
            return self._depth
        return in_flight if run.shared else min(2, self._depth)

    def _prepare(self, item: QueuedRequest) -> bool:
        """Prepare *item* for sending. Returns whether it is valid."""
        assert self._run is not None
        route, body = self._run.session.route, item.request.body
        try:
            if body is not None and hasattr(type(body), "__aiter__"):
                exchange = self._prepare_async(route, item)
            else:
                exchange = self._connection._prepare(route, item.request, expect100=False)
        except Exception as exc:
            item.failure = exc
            return False
        exchange.limits = self._limits
        item.alone = (
            item.request.method not in IDEMPOTENT_METHODS
            or exchange.closes
            or exchange.upgrades
            or isinstance(exchange.content, AsyncIterableContent)
        )
        item.prepared = exchange
        return True

    def _prepare_async(self, route: Route, item: QueuedRequest) -> Exchange:
        """Prepare *item*, whose body is an async iterable, and return its exchange."""
        return self._connection._prepare(route, item.request, expect100=False)

    # Receiving.

    def _try_finish_last(self, run: PipelinedSession) -> PollNeeded | None:
        """Discard the unread part of the last response's body.

        Raises:
            ConnectionClosed: `disconnect` was called with requests in flight.
            DigestMismatch: the body does not have the announced digest.
            StateError: another call is reading it.
        """
        session = run.session
        if session.closed or self._connection._session is not session or not session.pipelined:
            self._look_after(run)
        if self._run is None or session.reader.body is None or session.holds_response:
            return None
        if run.early is not None:
            return None
        try:
            need = session.try_do(AT_ONCE, session.try_discard)
        except (*_ENDED, InvalidResponse, UnsupportedResponse):
            self._drop_run()  # no error: a caller that wants the body reads it before this step
            self._alone = True
            return None
        except Exception as exc:
            if not isinstance(exc, StateError):
                self._drop_run()
            self._deliberately(exc)
            raise
        return None if need is None else _both(need, run.keep_sending())

    def _try_receive(self, first: QueuedRequest) -> HTTPResponse | PollNeeded | None:
        """Receive the response to the oldest request.

        Returns:
            The response, or what it waits for. ``None`` if the request has not been sent yet on a
            connection that can still be used.

        Raises:
            InvalidResponse, UnsupportedResponse: the response is invalid or unsupported.
            ConnectionClosed, ConnectionTimedOut, OSError: no connection is available.
        """
        run, exchange = self._run, first.exchange
        if run is None or (exchange is None and run.sending is not None):
            return None
        may_end = run.failure is not None or run.session.state.closed
        if exchange is None or not exchange.bytes_sent or may_end:
            if (end := run.end(exchange)) is not None:
                try:
                    self._lose_run(run, end)
                finally:
                    del end
                return None
            assert exchange is not None
        try:
            got = run.try_response(exchange)
        except _ENDED as exc:
            # Time may have passed while the request was being sent. Then its response is not
            # awaited, and the time limit is the reason, not the cut.
            is_late = isinstance(run.failure, ConnectionTimedOut)
            self._lose_run(run, run.failure if is_late and run.failure else exc)
            return None
        except (InvalidResponse, UnsupportedResponse) as exc:
            self._describe(exc)
            self._items.forget_first()
            self._drop_run()
            self._deliberately(exc)
            raise
        except StateError as exc:
            self._deliberately(exc)
            raise
        if isinstance(got, HTTPResponse):
            connection = self._connection
            if not connection._traits.keeps_connections or got.version == "1.0":
                connection._traits.learn(got)
            connection._response_session = run.session
            if run.answered > 1:
                connection._traits.short_lived = 0
            if connection._traits.pipelines is None and run.joined_answered >= _PROOF:
                connection._traits.pipelines = True
                self._items.server_pipelines()
            self._alone = False
            items = self._items  # as `forget_first`, without a call for each response
            items.in_flight -= 1
            del items.queue[0]
        return got


def _both(want_read: PollNeeded | None, want_write: PollNeeded | None) -> PollNeeded | None:
    """Return a need for either. If both are given, they are for the same socket."""
    if want_read is None or want_write is None:
        return want_read or want_write
    mask, phase = want_read.mask | want_write.mask, want_read.phase
    if want_write.body is None:
        return PollNeeded(want_read.fd, mask, phase=phase)
    need = PollNeeded(want_read.fd, mask, phase=want_write.phase)
    need.body = want_write.body
    return need
