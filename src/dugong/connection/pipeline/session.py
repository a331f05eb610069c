"""The part of a pipeline that concerns one connection."""

from __future__ import annotations

from ...errors import ConnectionClosed, ConnectionTimedOut
from ...protocol.content import AsyncIterableContent
from ...protocol.exchange import Exchange
from ...protocol.messages import HTTPResponse
from ...protocol.states import CUT_OFF
from ...session.session import Session
from ...transport.poll import Co, PollNeeded
from ...transport.stream import AT_ONCE
from .queue import QueuedRequest, RequestQueue

#: Seconds without a byte in either direction after which requests sent together count as dropped.
#: Almost all responses arrive sooner. If one takes longer, the wrong guess costs one repetition of
#: idempotent requests, and later requests are not sent together. When Firefox still pipelined, it
#: moved requests to another connection after 1.5 s, and closed a connection after 30 s.
PATIENCE = 5.0

#: Bytes per second: the assumed minimum rate at which requests reach the server. The last bytes may
#: still be in the buffers of the system or the network, where we cannot see their progress.
SLOWEST_UPLINK = 16 * 1024


class PipelinedSession:
    """One session of a pipeline.

    Attributes:
        session: the session.
        answered: how many responses have arrived.
        is_new: whether the connection was made for the pipeline.
        overlapped: whether several requests were in flight at once.
        shared: how many requests in flight, the oldest ones, have been in flight with others.
        joined_answered: how many responses have arrived to requests that were sent in one piece.
        early: a response that arrived while its request was being sent, and that is delivered when
            the request has been sent.
        sending: a coroutine that sends the rest of the requests; ``None`` if all have been sent.
    """

    __slots__ = (
        "_items",
        "_joined",
        "_joining",
        "_moved",
        "_patient",
        "_quiet_since",
        "_replaceable",
        "answered",
        "early",
        "failure",
        "is_new",
        "joined_answered",
        "overlapped",
        "sending",
        "session",
        "shared",
    )

    def __init__(
        self, session: Session, items: RequestQueue, is_new: bool, replaceable: bool
    ) -> None:
        session.pipelined = True
        self.session = session
        self.is_new = is_new
        self.answered = 0
        self.overlapped = False
        self.shared = 0
        self.joined_answered = 0
        self._joined = 0  # the number of requests in the last piece
        self._joining = False  # whether the next request becomes part of that piece
        self._items = items
        self.sending: Co[None] | None = None
        self.failure: Exception | None = None
        self.early: HTTPResponse | None = None
        self._replaceable = replaceable  # whether another connection can be made
        self._moved = -1
        self._quiet_since = 0.0
        self._patient: PollNeeded | None = None

    @property
    def can_start(self) -> bool:
        """Whether more requests can be sent after those that are being sent."""
        state = self.session.state
        return self.failure is None and not state.broken and not state.closing

    @property
    def was_disconnected(self) -> bool:
        """Whether `disconnect` has closed the connection, and not the peer or a failure."""
        session = self.session
        return session.closed and not session.state.closed and self.failure is None

    def start(self, batch: list[QueuedRequest], more: bool) -> None:
        """Begin to send *batch*: one request with a body, or some without.

        Args:
            batch: the next requests.
            more: whether others will probably follow immediately.
        """
        self._items.in_flight += len(batch)
        if self._items.in_flight > 1:
            self.overlapped = True
            self.shared = self._items.in_flight
        self._joined = len(batch) + (self._joined if self._joining else 0)
        exchanges: list[Exchange] = []
        for item in batch:
            assert item.prepared is not None
            item.exchange = item.prepared
            exchanges.append(item.exchange)
        stream = self.session.stream
        self._joining = more and stream is not None
        if more and stream is not None:
            stream.expect_more()
        first = exchanges[0]
        if first.content is not None:
            self.sending = self.session.start(first, _read_nothing)
        else:
            self.sending = self.session.start_together(exchanges)

    def push(self) -> None:
        """Let the system send what it holds back, because no more requests follow immediately."""
        self._joining = False
        stream = self.session.stream
        if stream is not None:
            stream.push()

    def keep_sending(self) -> PollNeeded | None:
        """Continue sending.

        After the pipeline's deadline, sending stops where it is. It does not fail, because earlier
        responses may have arrived. The limits of the pipeline leave no time for the returned wait.

        Returns:
            What sending waits for, ``None`` if it is complete or has failed.
        """
        if self.sending is None:
            return None
        session = self.session
        limits = session.state.sending_limits()
        if limits is not None and limits.passed and session.stream is not None:
            return session.stream.want_write
        try:
            return next(self.sending)
        except StopIteration:
            pass
        except Exception as exc:
            if not self._note_failure(exc):
                raise
        self.sending = None
        self.session.send_while_reading = None
        return None

    def _note_failure(self, exc: Exception) -> bool:
        """Record *exc*, which sending has raised.

        Returns:
            Whether *exc* is a failure of the connection or of a body. If not, a callback or a
            signal handler has raised it.
        """
        session = self.session
        current = session.state.current
        ended = session.stream is None or (
            isinstance(exc, (ConnectionClosed, ConnectionTimedOut))
            and not (current is not None and current.body_failed)
        )
        if ended or not self._items.in_flight:  # or the request has been answered already
            self.failure = exc
            return True
        item = self._items.last_sent()
        if item.prepared is None or item.prepared.content is None:
            return False
        item.failure = exc  # the body failed, or does not have the announced length
        if item.exchange not in session.state.queue:
            item.exchange = None  # nothing of it was sent
            self._items.in_flight -= 1
        return True

    def end(self, exchange: Exchange | None) -> Exception | None:
        """Return why no response to the oldest request can arrive here, ``None`` if one can.

        Args:
            exchange: the exchange of that request, ``None`` if it is not in flight.
        """
        session, state = self.session, self.session.state
        if self.failure is not None and (session.closed or session.stream is None):
            return self.failure
        if state.closed:
            return ConnectionClosed("the connection was closed, as announced")
        if exchange is None or not (
            exchange.bytes_sent or self.sending is not None or state.is_cut_off(exchange)
        ):
            return self.failure or ConnectionClosed("nothing more can be sent on this connection")
        return None

    def try_response(self, exchange: Exchange) -> HTTPResponse | PollNeeded | None:
        """Receive the response to the oldest request.

        Returns:
            The response, or what it waits for. ``None`` if the request has to be sent first.

        Raises:
            ConnectionClosed, ConnectionTimedOut: the response cannot arrive any more.
            InvalidResponse, UnsupportedResponse: the response is invalid or unsupported.
            StateError: another call is reading.
        """
        session, state = self.session, self.session.state
        if not exchange.bytes_sent and not state.is_cut_off(exchange):
            return None  # data that arrives now cannot be its response
        if self.early is not None:
            if self.sending is not None:
                return None
            response, self.early = self.early, None
            return response
        got = session.try_do(AT_ONCE, session.try_response, exchange)
        if isinstance(got, HTTPResponse):
            self.answered += 1
            if self.shared:
                self.shared -= 1
                self.joined_answered += self._joined > 1
            if state.sending is CUT_OFF and state.is_cut_off(exchange):
                got.will_close = True
            if self.sending is not None:
                return self._send_on_or_stop(exchange, got)
        return got

    def _send_on_or_stop(self, answered: Exchange, response: HTTPResponse) -> HTTPResponse | None:
        """Handle a response that arrived during sending, perhaps of its own request.

        Returns:
            The response, ``None`` if it is delivered when everything has been sent.
        """
        if self.session.state.is_refused(answered) and self.sending is not None:
            self.sending.close()
            self.sending = None
        elif isinstance(answered.content, AsyncIterableContent):
            # The iterable runs in the caller's task and may have scopes open. They have to be
            # closed before the caller's own code continues.
            self.early = response
            return None
        else:
            # While the caller reads the body, the rest of the requests keeps going out.
            self.session.send_while_reading = self.keep_sending
        return response

    def while_patient(self, first: QueuedRequest, need: PollNeeded) -> PollNeeded | None:
        """Return *need* with a time limit if the server may have dropped requests.

        Call this when there is nothing to read. The time runs from the first such call after a byte
        has moved, across all steps. So a step that ends because of a shorter time limit does not
        restart it.

        There is no time limit

        - if part of the response to the first request has arrived, or an interim response. The
          server is working on it;
        - if requests are still being sent;
        - if one of the requests could not be sent again, or the connection could not be replaced.
          Closing the connection would then lose responses for good.

        When `PATIENCE` is over, the limit is extended by the time that the requests need at
        `SLOWEST_UPLINK`. The server may not have received them yet.

        Args:
            first: the oldest request in flight.
            need: what its response, and perhaps the sending of others, waits for.

        Returns:
            *need*, perhaps with a time limit. ``None`` if the time is over: the server has probably
            dropped requests that it received together.
        """
        exchange = first.exchange
        if self.sending is not None or exchange is None or not self._replaceable:
            return need
        if exchange.response_started or exchange.informational:
            return need
        monitor = self.session.monitor
        now, moved = monitor.clock(), monitor.bytes_sent + monitor.bytes_received
        if moved != self._moved:
            self._moved, self._quiet_since = moved, now
            # Reuse the object for all such waits, because it keeps its `select.poll` object.
            patient = self._patient
            if patient is None or patient != need:
                patient = self._patient = PollNeeded(need.fd, need.mask, PATIENCE, need.phase)
            return patient
        left = self._quiet_since + PATIENCE - now
        if left <= 0:
            in_flight = self.session.state.queue
            if not all(other.safe_to_retry for other in in_flight):
                return need
            left += sum(other.bytes_sent for other in in_flight) / SLOWEST_UPLINK
        return PollNeeded(need.fd, need.mask, left, need.phase) if left > 0 else None

    def heard(self) -> None:
        """Restart the patience, because the socket is readable.

        Over TLS, part of a record may have arrived. Its bytes only count when it is complete.
        """
        self._moved = -1

    def close(self) -> None:
        """Close the connection."""
        self.session.send_while_reading = None
        self.session.close()
        self.session.pipelined = False
        self.failure = None  # the frames in its traceback refer to this object
        if self.sending is not None:
            self.sending.close()


def _read_nothing() -> None:
    """Do nothing as the `ReadEarly` of a request: the pipeline's own step receives its response."""
