"""What a pipeline does on one connection."""

from __future__ import annotations

from ..errors import ConnectionClosed, ConnectionTimedOut
from ..protocol.inflight import Exchange
from ..protocol.messages import HTTPResponse
from ..session import Session
from ..transport.poll import Co, PollNeeded
from .items import Item, Items

#: Seconds without a byte in either direction after which requests sent together count as dropped.
#: Almost any response takes less. If one takes longer, a wrong guess costs one repetition of
#: idempotent requests, and later requests are not sent together. Firefox, while it pipelined,
#: moved requests to another connection after 1.5 s, and gave a connection up after 30 s.
PATIENCE = 5.0

#: Bytes per second at which requests leave at least. The last of them may still be in the buffers
#: of the system or the network, where their slow progress is invisible.
SLOWEST_UPLINK = 16 * 1024


class Run:
    """One session of a pipeline.

    Attributes:
        session: the connection.
        answered: how many responses have come.
        is_new: whether the connection was made for the pipeline.
        overlapped: whether several requests were in flight at once.
        shared: how many requests in flight, the oldest ones, have been in flight with others.
        joined_answered: how many responses have come to requests that were sent in one piece.
        sending: sends what is not out yet, answered or not; ``None`` if all is.
    """

    __slots__ = (
        "_failure",
        "_items",
        "_joined",
        "_joining",
        "_moved",
        "_patient",
        "_quiet_since",
        "_replaceable",
        "answered",
        "is_new",
        "joined_answered",
        "overlapped",
        "sending",
        "session",
        "shared",
    )

    def __init__(self, session: Session, items: Items, is_new: bool, replaceable: bool) -> None:
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
        self._failure: Exception | None = None
        self._replaceable = replaceable  # by another connection
        self._moved = -1
        self._quiet_since = 0.0
        self._patient: PollNeeded | None = None

    @property
    def can_start(self) -> bool:
        """Whether more requests can be sent, when those that are being sent are out."""
        exchanges = self.session.link.exchanges
        return self._failure is None and not exchanges.broken and not exchanges.closing

    @property
    def was_disconnected(self) -> bool:
        """Whether the connection was closed, and neither by its peer nor because of a failure."""
        link = self.session.link
        return link.closed and not link.exchanges.closed and self._failure is None

    def start(self, batch: list[Item], more: bool) -> None:
        """Begin to send *batch*: one request with a body, or some without.

        Args:
            batch: the next ones.
            more: whether others will probably follow at once.
        """
        sender = self.session.sender
        self._items.in_flight += len(batch)
        if self._items.in_flight > 1:
            self.overlapped = True
            self.shared = self._items.in_flight
        self._joined = len(batch) + (self._joined if self._joining else 0)
        exchanges: list[Exchange] = []
        for item in batch:
            assert item.outgoing is not None
            item.exchange = Exchange(item.outgoing)
            exchanges.append(item.exchange)
        stream = self.session.link.stream
        self._joining = more and stream is not None
        if more and stream is not None:
            stream.expect_more()
        first = exchanges[0]
        if first.outgoing.content is not None:
            self.sending = sender.start(first, _look)
        else:
            self.sending = sender.start_together(exchanges)

    def push(self) -> None:
        """Nothing more follows at once."""
        self._joining = False
        stream = self.session.link.stream
        if stream is not None:
            stream.push()

    def keep_sending(self) -> PollNeeded | None:
        """Go on with what is being sent. Returns what that waits for, if it does.

        After the pipeline's deadline, sending stops where it is. It does not fail, because earlier
        responses may have arrived. The limits of the pipeline leave no time to wait for it.
        """
        if self.sending is None:
            return None
        link = self.session.link
        limits = link.exchanges.sending_limits()
        if limits is not None and limits.passed and link.stream is not None:
            return link.stream.want_write
        try:
            return next(self.sending)
        except StopIteration:
            pass
        except Exception as exc:
            if not self._note_failure(exc):
                raise
        self.sending = None
        self.session.link.meanwhile = None
        return None

    def _note_failure(self, exc: Exception) -> bool:
        """Decide what *exc* ends, which sending has raised. Returns whether it belongs to that."""
        link = self.session.link
        current = link.exchanges.current
        ended = link.stream is None or (
            isinstance(exc, (ConnectionClosed, ConnectionTimedOut))
            and not (current is not None and current.body_failed)
        )
        if ended or not self._items.in_flight:  # or the request has been answered already
            self._failure = exc
            return True
        item = self._items.last_sent()
        if item.outgoing is None or item.outgoing.content is None:
            return False  # somebody's callback or signal handler has raised it
        item.failure = exc  # its body is not what it should be
        if item.exchange not in link.exchanges.queue:
            item.exchange = None  # nothing of it was sent
            self._items.in_flight -= 1
        return True

    def end(self, exchange: Exchange | None) -> Exception | None:
        """Return why no response to the oldest request can come here, ``None`` if it can.

        Args:
            exchange: that request's; ``None`` if it is not in flight.
        """
        link, exchanges = self.session.link, self.session.link.exchanges
        if self._failure is not None and (link.closed or link.stream is None):
            return self._failure
        if exchanges.closed:
            return ConnectionClosed("the connection was closed, as announced")
        if exchange is None or not (
            exchange.bytes_sent or self.sending is not None or exchanges.is_cut_off(exchange)
        ):
            return self._failure or ConnectionClosed("nothing more can be sent on this connection")
        return None

    def try_response(self, exchange: Exchange) -> HTTPResponse | PollNeeded | None:
        """Receive the response to the oldest request; ``None`` if that is yet to be sent.

        Raises:
            ConnectionClosed, ConnectionTimedOut: it cannot come any more.
            InvalidResponse, UnsupportedResponse: it is not what it should be.
            StateError: somebody else is reading.
        """
        exchanges, receiver = self.session.link.exchanges, self.session.receiver
        if not exchange.bytes_sent and not exchanges.is_cut_off(exchange):
            return None  # what comes now cannot be its response
        got = receiver.try_do(receiver.try_response, exchange)
        if isinstance(got, HTTPResponse):
            self.answered += 1
            if self.shared:
                self.shared -= 1
                self.joined_answered += self._joined > 1
            if exchanges.is_cut_off(exchange):
                got.will_close = True
            if self.sending is not None:
                self._send_on_or_stop(exchange)
        return got

    def _send_on_or_stop(self, answered: Exchange) -> None:
        """A response has come while more is being sent; perhaps to the very request that is."""
        if self.session.link.exchanges.is_refused(answered) and self.sending is not None:
            self.sending.close()
            self.sending = None
        else:
            self.session.link.meanwhile = self.keep_sending  # when the caller reads its body

    def while_patient(self, first: Item, need: PollNeeded) -> PollNeeded | None:
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
        activity = self.session.link.activity
        now, moved = activity.clock(), activity.bytes_sent + activity.bytes_received
        if moved != self._moved:
            self._moved, self._quiet_since = moved, now
            # The same object for all such waits, since it keeps its `select.poll`.
            patient = self._patient
            if patient is None or patient != need:
                patient = self._patient = PollNeeded(need.fd, need.mask, PATIENCE, need.phase)
            return patient
        left = self._quiet_since + PATIENCE - now
        if left <= 0:
            in_flight = self.session.link.exchanges.queue
            if not all(other.safe_to_retry for other in in_flight):
                return need
            left += sum(other.bytes_sent for other in in_flight) / SLOWEST_UPLINK
        return PollNeeded(need.fd, need.mask, left, need.phase) if left > 0 else None

    def heard(self) -> None:
        """The socket is readable: some of a TLS record, perhaps, of which no byte counts yet."""
        self._moved = -1

    def close(self) -> None:
        """Close the connection."""
        self.session.link.meanwhile = None
        self.session.link.close()
        self.session.pipelined = False
        if self.sending is not None:
            self.sending.close()


def _look() -> None:
    """The response to a request that is being sent is looked for by the pipeline's own step."""
