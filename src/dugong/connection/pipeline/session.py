"""What a pipeline does on one connection."""

from __future__ import annotations

from ...errors import ConnectionClosed, ConnectionTimedOut
from ...protocol.content import AsyncIterableContent
from ...protocol.exchange import Exchange
from ...protocol.messages import HTTPResponse
from ...protocol.states import CUT_OFF
from ...session.session import Session
from ...transport.poll import Co, PollNeeded
from .queue import QueuedRequest, RequestQueue

#: Seconds without a byte in either direction after which requests sent together count as dropped.
#: Almost any response takes less. If one takes longer, a wrong guess costs one repetition of
#: idempotent requests, and later requests are not sent together. Firefox, while it pipelined,
#: moved requests to another connection after 1.5 s, and gave a connection up after 30 s.
PATIENCE = 5.0

#: Bytes per second at which requests leave at least. The last of them may still be in the buffers
#: of the system or the network, where their slow progress is invisible.
SLOWEST_UPLINK = 16 * 1024


class PipelinedSession:
    """One session of a pipeline.

    Attributes:
        session: the connection.
        answered: how many responses have come.
        is_new: whether the connection was made for the pipeline.
        overlapped: whether several requests were in flight at once.
        shared: how many requests in flight, the oldest ones, have been in flight with others.
        joined_answered: how many responses have come to requests that were sent in one piece.
        early: a response that came while its request was being sent, and is to wait for that.
        failure: what sending has failed with, ``None`` if it has not.
        sending: sends what is not out yet, answered or not; ``None`` if all is.
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
        self._joined = 0  # how many requests the last piece consists of
        self._joining = False  # whether the next one becomes part of it
        self._items = items
        self.sending: Co[None] | None = None
        self.failure: Exception | None = None
        self.early: HTTPResponse | None = None
        self._replaceable = replaceable  # by another connection
        self._moved = -1
        self._quiet_since = 0.0
        self._patient: PollNeeded | None = None

    @property
    def can_start(self) -> bool:
        """Whether more requests can be sent, when those that are being sent are out."""
        state = self.session.state
        return self.failure is None and not state.broken and not state.closing

    @property
    def was_disconnected(self) -> bool:
        """Whether the connection was closed, and neither by its peer nor because of a failure."""
        session = self.session
        return session.closed and not session.state.closed and self.failure is None

    def start(self, batch: list[QueuedRequest], more: bool) -> None:
        """Begin to send *batch*: one request with a body, or some without.

        Args:
            batch: the next ones.
            more: whether others will probably follow at once.
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
            self.sending = self.session.start(first, _look)
        else:
            self.sending = self.session.start_together(exchanges)

    def push(self) -> None:
        """Nothing more follows at once."""
        self._joining = False
        stream = self.session.stream
        if stream is not None:
            stream.push()

    def keep_sending(self) -> PollNeeded | None:
        """Go on with what is being sent. Returns what that waits for, if it does.

        After the pipeline's deadline, sending stops where it is. It does not fail, because earlier
        responses may have arrived. The limits of the pipeline leave no time to wait for it.
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
        """Decide what *exc* ends, which sending has raised. Returns whether it belongs to that."""
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
            return False  # somebody's callback or signal handler has raised it
        item.failure = exc  # its body is not what it should be
        if item.exchange not in session.state.queue:
            item.exchange = None  # nothing of it was sent
            self._items.in_flight -= 1
        return True

    def end(self, exchange: Exchange | None) -> Exception | None:
        """Return why no response to the oldest request can come here, ``None`` if it can.

        Args:
            exchange: that request's; ``None`` if it is not in flight.
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
        """Receive the response to the oldest request; ``None`` if that is yet to be sent.

        Raises:
            ConnectionClosed, ConnectionTimedOut: it cannot come any more.
            InvalidResponse, UnsupportedResponse: it is not what it should be.
            StateError: somebody else is reading.
        """
        session, state = self.session, self.session.state
        if not exchange.bytes_sent and not state.is_cut_off(exchange):
            return None  # what comes now cannot be its response
        if self.early is not None:
            if self.sending is not None:
                return None
            response, self.early = self.early, None
            return response
        got = session.try_do(session.try_response, exchange)
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
        """A response has come while more is being sent; perhaps to the very request that is.

        Returns:
            The response, ``None`` if it is to wait until all is sent.
        """
        if self.session.state.is_refused(answered) and self.sending is not None:
            self.sending.close()
            self.sending = None
        elif isinstance(answered.content, AsyncIterableContent):
            # The iterable may have scopes open, which have to be closed before the caller runs.
            self.early = response
            return None
        else:
            self.session.send_while_reading = self.keep_sending  # when the caller reads its body
        return response

    def while_patient(self, first: QueuedRequest, need: PollNeeded) -> PollNeeded | None:
        """Return *need*, limited in time if the server may have dropped requests.

        To be called when there is nothing to read. The time runs from the first such call after a
        byte moved, across all steps: steps that end by a shorter time limit do not restart it.

        Args:
            first: the oldest request in flight.
            need: what its response, and perhaps the sending of others, waits for.

        Returns:
            ``None`` if the server has probably dropped requests that it received together. The
            time is not limited if the server shows that it is working on the first request, if
            requests are still being sent, or if they could not all be sent again.
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
            # The same object for all such waits, since it keeps its `select.poll`.
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
        """The socket is readable: some of a TLS record, perhaps, of which no byte counts yet."""
        self._moved = -1

    def close(self) -> None:
        """Close the connection."""
        self.session.send_while_reading = None
        self.session.close()
        self.session.pipelined = False
        if self.sending is not None:
            self.sending.close()


def _look() -> None:
    """The response to a request that is being sent is looked for by the pipeline's own step."""
