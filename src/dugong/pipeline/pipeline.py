"""Many requests in flight on one connection, without deadlock: `HTTPConnection.pipeline`.

Theory of operation
===================

1. Requests are taken from the caller's iterable when there is room for them, at most *depth*
   being unanswered. Those that have no body go out together, in one piece.
2. One step sends what can be sent and receives what has arrived, and waits only when neither is
   possible, for both. While the caller reads a body, sending goes on too (`Link.meanwhile`). So
   no size of request or response can make both sides wait for each other.
3. What must not be repeated blindly goes alone: nothing is in flight when it is sent, and nothing
   is sent before its response is complete (RFC 9112 section 9.3.2). So does the first request to
   a server that has not yet shown that it speaks HTTP/1.1 and keeps connections.
4. When the connection ends, the unanswered requests are sent again on a new one, if any response
   came on the old one: as long as there is progress. If the end was not announced, the first of
   them goes alone, because it may be what the server fails at. A server that time and again
   answers only one of several is then asked for one at a time.
5. What cannot be sent again (its method is not idempotent, or its body is gone) is not. It fails,
   and so does what is not a request at all. Such failures keep their place: they are raised when
   all that came before has been answered, and the step after that goes on behind them.
6. A connection on which something was answered is not used any further than its server has
   announced, nor after anything unexpected.
7. What ends the step itself, such as a timeout, loses nothing: the next step goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from ..connection import Connection
from ..errors import (
    ConnectionClosed,
    ConnectionTimedOut,
    InvalidResponse,
    StateError,
    UnsupportedResponse,
)
from ..link import Link
from ..protocol.exchange import Exchange
from ..protocol.limits import BUFFER_SIZE
from ..protocol.messages import HTTPResponse, Request
from ..protocol.states import Receiving
from ..session import Session
from ..transport.poll import Co, PollNeeded
from .items import Item, NotYet, as_item, failed

#: Requests in flight, unless the caller says otherwise.
DEFAULT_DEPTH = 64

#: Seconds. If the caller's iterable takes longer for one request, those before it are not kept
#: waiting for more.
_PROMPT = 0.001

#: So many connections in a row have to end after one response before pipelining is given up.
_MOST_SHORT_LIVED = 2

_ENDED = (ConnectionClosed, ConnectionTimedOut)


class Pipeline:
    """Sends requests and gives their responses, in order. Made by `HTTPConnection.pipeline`."""

    def __init__(self, connection: Connection, requests: Iterable[Any], depth: int) -> None:
        if isinstance(requests, (str, bytes, Request)):
            raise TypeError("pipeline() takes many requests: put a single one into a list")
        if depth < 1:
            raise ValueError(f"a pipeline has a depth of at least 1, not {depth}")
        self._connection = connection
        self._depth = depth
        self._source: Iterator[Any] | None = iter(requests)
        #: What was taken and not answered, oldest first. Those in flight come first.
        self._items: deque[Item] = deque()
        self._in_flight = 0
        self._session: Session | None = None
        self._sending: Co[None] | None = None
        self._sending_failure: Exception | None = None
        self._is_new = False  # the session was made for this pipeline
        self._answered = 0  # responses in this session
        self._overlapped = False  # several were in flight at once in this session
        self._alone = False  # the next request goes alone
        self._is_slow = False  # taking the last request from the caller took long
        self._told: BaseException | None = None  # what is being raised on purpose

    def co_next(self) -> Co[HTTPResponse | None]:
        """Return the next response, ``None`` after the last one; as a coroutine.

        What is left of the previous response's body is discarded. See `HTTPConnection.pipeline`
        for what is raised; whatever it is, calling this again goes on.
        """
        while isinstance(got := self._try_next(), PollNeeded):
            try:
                yield from self._co_wait(got)
            except _ENDED as exc:
                self._describe(exc)
                if isinstance(exc, ConnectionClosed):  # by disconnect()
                    self._drop_session()
                raise
        return got

    def _co_wait(self, need: PollNeeded) -> Co[None]:
        stream = None if self._session is None else self._session.link.stream
        if stream is None:
            yield need  # it is being connected
        else:
            yield from stream.wait(need)

    def _try_next(self) -> HTTPResponse | PollNeeded | None:
        """Do what can be done without waiting."""
        try:
            return self._step()
        except BaseException as exc:
            if exc is not self._told:  # a signal handler raised it: nobody knows how far this got
                self._drop_session()
            raise
        finally:
            self._told = None

    def _raising(self, exc: BaseException) -> BaseException:
        """Return *exc*, which is raised with everything in order."""
        self._told = exc
        return exc

    def _step(self) -> HTTPResponse | PollNeeded | None:
        self._look_after_session()
        if (need := self._try_finish_last()) is not None:
            return need
        while True:
            want_write = self._send_some(eagerly=True)
            if not self._items:
                return None
            first = self._items[0]
            if first.failure is not None:
                self._raise_first(first.failure)
            want_read = self._try_receive(first)
            if isinstance(want_read, HTTPResponse):
                return want_read
            if want_read is None and want_write is None:
                continue  # by another connection
            if self._is_slow and want_read is not None and want_read.poll(0):
                continue
            before = self._in_flight
            want_write = self._send_some(eagerly=False)
            if self._is_slow and self._in_flight > before:
                continue  # that took time: look what has come meanwhile
            if need := _both(want_read, want_write):
                return need

    # Sessions.

    def _look_after_session(self) -> None:
        """Notice what was done to the session since the last step.

        Raises:
            ConnectionClosed: `disconnect` was called with requests in flight.
        """
        session = self._session
        if session is None:
            return
        exchanges = session.link.exchanges
        if self._connection._session is not session or not session.pipelined:
            self._drop_session()  # the connection was used for something else
        elif session.link.closed and not exchanges.closed and self._sending_failure is None:
            exc = ConnectionClosed("the connection was closed by disconnect()")
            self._describe(exc)
            was_in_flight = self._in_flight
            self._drop_session()
            if was_in_flight:
                raise self._raising(exc)

    def _ready_session(self) -> Session | None:
        """Return a session to send in, ``None`` if none can be used before all is answered.

        Raises:
            StateError: something else is outstanding on the connection.
        """
        session, connection = self._session, self._connection
        if self._in_flight and session is not None:
            exchanges = session.link.exchanges
            return None if exchanges.broken or exchanges.closing else session
        if session is not None:
            self._note_life()
            if session.link.exchanges.receiving is Receiving.SWITCHED:
                session.link.close()
        try:
            old = connection._idle_session()
            session = old or connection._new_session(connection._route())
        except Exception as exc:
            self._raising(exc)
            raise
        if session is not self._session:
            self._session = session
            self._sending_failure = None
            self._is_new = old is None
            self._answered = 0
            self._overlapped = False
        session.pipelined = True
        return session

    def _note_life(self) -> None:
        """Judge by how long the session lived, at its end, what the server can do."""
        if self._answered > 1:
            self._connection._short_lived = 0

    def _drop_session(self, exc: Exception | None = None) -> None:
        """Give the session up. What is in flight will be sent again, or fails with *exc*."""
        session, self._session = self._session, None
        sending, self._sending = self._sending, None
        self._sending_failure = None
        if session is not None:
            session.link.meanwhile = None
            session.link.close()
            session.pipelined = False
        if sending is not None:
            sending.close()
        for item in self._items:
            if item.exchange is not None:
                self._send_again(item, exc)
        self._in_flight = 0

    def _send_again(self, item: Item, exc: Exception | None) -> None:
        exchange, outgoing = item.exchange, item.outgoing
        assert exchange is not None
        assert outgoing is not None
        item.exchange = None
        if item.failure is not None:
            return
        if exchange.safe_to_retry:
            if outgoing.content is not None:
                outgoing.content.rewind()
            item.outgoing = None
            return
        kind = ConnectionTimedOut if isinstance(exc, ConnectionTimedOut) else ConnectionClosed
        failure = kind(f"{exc or 'the connection was given up'}; the request cannot be repeated")
        failure.__cause__ = exc
        failure.bytes_sent = exchange.bytes_sent
        failure.response_started = exchange.response_started
        item.failure = failure

    def _lose_session(self, exc: Exception) -> None:
        """The connection has ended, with requests in flight or about to be.

        Raises:
            ConnectionClosed, ConnectionTimedOut, OSError: that is *exc*; there was no progress.
        """
        session = self._session
        assert session is not None
        announced = session.link.exchanges.closed
        if self._answered == 1 and self._overlapped:
            self._connection._short_lived += 1
        self._note_life()
        hopeless = (self._is_new and not self._answered) or self._connection._sock_given
        self._describe(exc)
        self._drop_session(exc)
        self._alone = not announced
        if hopeless and self._items[0].failure is None:
            raise self._raising(exc) from exc.__cause__

    def _describe(self, exc: BaseException) -> None:
        """Give *exc*, by which the oldest request fails, the attributes of such a failure."""
        exchange = self._items[0].exchange if self._items else None
        if exchange is not None and self._session is not None:
            self._session.link.exchanges.describe(exc, exchange)
        exc.__dict__["unanswered"] = tuple([item.request for item in self._items])

    def _raise_first(self, failure: BaseException) -> None:
        """Raise what stands in place of the next response."""
        self._describe(failure)
        if self._items[0].exchange is not None:  # it was cut off, and nothing follows it
            self._drop_session()
        self._items.popleft()
        raise self._raising(failure) from failure.__cause__

    # Sending.

    def _send_some(self, *, eagerly: bool) -> PollNeeded | None:
        """Send what there is room for. Returns what sending waits for, ``None`` if for nothing.

        Args:
            eagerly: whether responses are perhaps there already, so that requests need not be
                sent one by one as each makes room.
        """
        while True:
            need = self._keep_sending()
            if need is not None:
                return need
            if eagerly and (
                2 * self._in_flight > self._depth or (self._is_slow and self._in_flight)
            ):
                return None
            if self._sending_failure is not None or not self._start_sending():
                return None
            if self._is_slow:
                return self._keep_sending()

    def _keep_sending(self) -> PollNeeded | None:
        """Go on with what is being sent. Returns what that waits for, if it does."""
        if self._sending is None:
            return None
        try:
            return next(self._sending)
        except StopIteration:
            pass
        except Exception as exc:
            self._sending_failed(exc)
        self._sending = None
        if self._session is not None:
            self._session.link.meanwhile = None
        return None

    def _sending_failed(self, exc: Exception) -> None:
        session = self._session
        assert session is not None
        link = session.link
        if isinstance(exc, _ENDED) or link.stream is None:
            self._sending_failure = exc
            return
        item = self._items[self._in_flight - 1]  # its body is not what it should be
        item.failure = exc
        if item.exchange not in link.exchanges.queue:
            item.exchange = None  # nothing of it was sent
            self._in_flight -= 1

    def _start_sending(self) -> bool:
        """Begin to send the next requests. Returns whether there are any that may be sent now."""
        batch: list[Item] = []
        size = 0
        session: Session | None = None
        limit = self._limit()
        while self._in_flight + len(batch) < limit and size < BUFFER_SIZE:
            item = self._item(self._in_flight + len(batch))
            if item is None or item.failure is not None:
                break
            if session is None and (session := self._ready_session()) is None:
                break
            if not self._prepare(item, session) or not self._may_join(item, batch):
                break
            assert item.outgoing is not None
            batch.append(item)
            size += len(item.outgoing.head)
            if item.outgoing.content is not None or self._is_slow:
                break
        if batch and session is not None:
            self._send(batch, session)
        return bool(batch)

    def _limit(self) -> int:
        """Return how many requests may be in flight now."""
        connection = self._connection
        if self._alone or not connection._server_keeps or connection._server_is_http10:
            return 1
        return 1 if connection._short_lived >= _MOST_SHORT_LIVED else self._depth

    def _may_join(self, item: Item, batch: list[Item]) -> bool:
        """Whether *item* may be sent with *batch*, and with what is in flight."""
        assert item.outgoing is not None
        if batch and item.outgoing.content is not None:
            return False  # it is sent by itself, in a moment
        before = batch[-1] if batch else None
        if before is None and self._in_flight:
            before = self._items[self._in_flight - 1]
        return before is None or not (item.alone or before.alone)

    def _item(self, index: int) -> Item | None:
        """Return the *index*-th of the unanswered, one that is new if need be and there is one."""
        if index < len(self._items):
            return self._items[index]
        item = self._take()
        if item is not None:
            self._items.append(item)
        return item

    def _take(self) -> Item | None:
        """Take the next request from the caller. What is wrong with it will be raised later."""
        if self._source is None:
            return None
        clock = self._connection._activity.clock
        begin = clock()
        try:
            given = next(self._source)
        except NotYet:
            return None
        except StopIteration:
            self._source = None
            return None
        except Exception as exc:
            self._source = None
            return failed(exc)
        self._is_slow = clock() - begin > _PROMPT
        return as_item(given)

    def _prepare(self, item: Item, session: Session) -> bool:
        """Make *item* ready to be sent. Returns whether it can be."""
        if item.outgoing is not None:
            return True
        request = item.request
        try:
            item.outgoing = self._connection._prepare(
                session.link.route,
                request.method,
                request.path,
                request.headers,
                request.body,
                expect100=False,
            )
        except Exception as exc:
            item.failure = exc
            return False
        if isinstance(request.headers, Iterator):  # which is used up by now
            request.headers = item.outgoing.request.headers
        item.outgoing.request = request
        return True

    def _send(self, batch: list[Item], session: Session) -> None:
        exchanges = session.link.exchanges
        self._in_flight += len(batch)
        self._overlapped |= self._in_flight > 1
        first, *others = batch
        assert first.outgoing is not None
        first.exchange = exchanges.accept(first.outgoing)
        if first.outgoing.content is not None:
            self._sending = session.sender.co_send(first.exchange, _look)
            return
        accepted = [first.exchange]
        for item in others:
            assert item.outgoing is not None
            item.exchange = exchanges.accept_behind(item.outgoing)
            accepted.append(item.exchange)
        self._sending = session.sender.co_send_together(accepted)

    # Receiving.

    def _try_finish_last(self) -> PollNeeded | None:
        """Discard what is left of the last response's body.

        Raises:
            DigestMismatch: it has a digest other than announced.
            StateError: somebody else is reading it.
        """
        session = self._session
        if session is None or not session.receiver.body.unfinished:
            return None
        body = session.receiver.body
        try:
            need = session.receiver.do_once(body.try_discard)
        except (*_ENDED, InvalidResponse, UnsupportedResponse):
            self._drop_session()  # whoever wanted the body would have read it
            self._alone = True
            return None
        except Exception as exc:
            if not isinstance(exc, StateError):
                self._drop_session()
            self._raising(exc)
            raise
        return None if need is None else _both(need, self._keep_sending())

    def _try_receive(self, item: Item) -> HTTPResponse | PollNeeded | None:
        """Receive the response to the oldest request.

        Returns:
            It, or what it waits for. ``None`` if it has not been asked for yet on a connection
            that can still be used.

        Raises:
            InvalidResponse, UnsupportedResponse: it is not what it should be.
            ConnectionClosed, ConnectionTimedOut, OSError: there is no connection to be had.
        """
        session, exchange = self._session, item.exchange
        if session is None:
            return None
        if (end := self._end_of(session.link, exchange)) is not None:
            self._lose_session(end)
            return None
        assert exchange is not None
        if not exchange.bytes_sent and not session.link.exchanges.is_cut_off(exchange):
            return None  # what comes now cannot be its response
        try:
            got = session.receiver.do_once(session.receiver.try_response_to, exchange)
        except _ENDED as exc:
            self._lose_session(exc)
            return None
        except (InvalidResponse, UnsupportedResponse) as exc:
            self._describe(exc)
            self._forget_first()
            self._drop_session()
            self._raising(exc)
            raise
        except StateError as exc:
            self._raising(exc)
            raise
        if isinstance(got, HTTPResponse):
            self._received(got, session, exchange)
        return got

    def _end_of(self, link: Link, exchange: Exchange | None) -> Exception | None:
        """Return why no response to the oldest request can come on this connection, or ``None``."""
        exchanges, failure = link.exchanges, self._sending_failure
        if failure is not None and (link.closed or link.stream is None):
            return failure
        if exchanges.closed:
            return ConnectionClosed("the connection was closed, as announced")
        if exchange is None or (
            self._sending is None and not exchange.bytes_sent and not exchanges.is_cut_off(exchange)
        ):
            return failure or ConnectionClosed("nothing more can be sent on this connection")
        return None

    def _received(self, response: HTTPResponse, session: Session, exchange: Exchange) -> None:
        link, connection = session.link, self._connection
        if link.exchanges.is_cut_off(exchange):
            response.will_close = True
        if link.exchanges.is_refused(exchange) and self._sending is not None:
            self._sending.close()
            self._sending = None
        elif self._sending is not None:
            link.meanwhile = self._keep_sending
        connection._learn(response)
        connection._response_session = session
        self._answered += 1
        self._alone = False
        self._forget_first()

    def _forget_first(self) -> None:
        self._in_flight -= 1
        self._items.popleft()


def _both(want_read: PollNeeded | None, want_write: PollNeeded | None) -> PollNeeded | None:
    """Return what waits for either. Both are for one socket, if there are both."""
    if want_read is None or want_write is None:
        return want_read or want_write
    return PollNeeded(want_read.fd, want_read.mask | want_write.mask)


def _look() -> None:
    """The response to a request that is being sent is looked for by the pipeline's own step."""
