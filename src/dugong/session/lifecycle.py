"""Connecting, closing, and waking the calls that wait: the part of a session without HTTP."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable

from ..errors import ConnectionClosed, ConnectionTimedOut, DugongError, StateError, add_address
from ..protocol.exchange import Exchange
from ..protocol.reader import ResponseReader
from ..protocol.state import ConnectionState
from ..protocol.states import REFUSED, REQUEST
from ..transport.connect import Dialer, Route
from ..transport.fork import BY_FORK, disown_in_child
from ..transport.monitor import Monitor
from ..transport.poll import POLLIN, Co, PollNeeded
from ..transport.sockets import socketpair
from ..transport.stream import Stream, shut_down
from ..transport.trace import open_trace
from .conflict import ConflictDetector
from .tunnel import tunnel_of

#: Seconds after which a reader ahead of the sender looks whether there still is a sender. A second
#: exception may have kept the first one's handler from waking it.
_LOOK_AGAIN = 1.0


class Lifecycle:
    """One connection to a server, from the first request accepted for it until it closes.

    Attributes:
        route: where it leads.
        state: the exchanges in flight.
        reader: decides where received bytes go and what they mean.
        monitor: counts bytes and reports events.
        stream: the connected socket, ``None`` before.
        closed: whether we closed it.
        send_detector: held by the call that is sending.
        receive_detector: held by the call that is receiving.
        pipelined: whether a `Pipeline` sends and receives here. No other caller knows which
            response is next, so one that wants to do the same disconnects if any is outstanding.
        send_while_reading: called before a receiver waits, to send what can be sent. Returns what
            that waits for, if it waits. ``None`` unless a pipeline sends.
    """

    def __init__(self, route: Route, monitor: Monitor) -> None:
        self.route = route
        self.state = ConnectionState()
        self.reader = ResponseReader(self.state)
        self.monitor = monitor
        self.stream: Stream | None = None
        self.closed = False
        self._closed_by = "by disconnect()"
        self.send_while_reading: Callable[[], PollNeeded | None] | None = None
        self.pipelined = False
        self._dialer: Dialer | None = None
        self.send_detector = ConflictDetector("writing to")
        self.receive_detector = ConflictDetector("reading from")
        #: Both ends of a socket pair, for a reader that waits for the sender.
        self._alarms: deque[tuple[socket.socket, socket.socket]] = deque(maxlen=1)
        self._usable_until: float | None = None
        self._connect_failure: BaseException | None = None
        disown_in_child(self)

    def co_connect(self) -> Co[Stream]:
        """Connect, unless connected. When that fails, the session is closed."""
        if self.stream is not None:
            return self.stream
        if self._dialer is not None:
            raise StateError("another call is connecting this connection")
        dialer = Dialer(self.route, self.monitor, tunnel_of(self.route, self.monitor))
        try:
            self._dialer = dialer
            if self.closed:  # before there was a dialer to cancel
                dialer.cancel()
            stream = yield from dialer.co_dial()
            self.stream = stream
            stream.trace = open_trace()
        except BaseException as exc:
            if not isinstance(exc, GeneratorExit):  # which explains nothing
                self._connect_failure = exc
            if isinstance(exc, (DugongError, OSError)):
                add_address(exc, dialer.where)
            if isinstance(exc, Exception):  # whoever was to send a request says more
                exc.__dict__.update(
                    bytes_sent=0, response_started=False, safe_to_retry=True, unanswered=()
                )
            self.close()
            raise
        finally:
            self._dialer = None
        if self.closed:  # in the very last moment, when the dialer had nothing to give up
            stream.close()
            raise ConnectionClosed(f"the connection was closed {self._closed_by}")
        return stream

    def require_stream(self) -> Stream:
        """Return the stream.

        Raises:
            ConnectionClosed: connecting has failed.
        """
        if self.stream is None:
            cause = self._connect_failure
            reason = f": {cause}" if isinstance(cause, Exception) else ""
            raise ConnectionClosed(f"the connection could not be made{reason}") from cause
        return self.stream

    def co_wait(self, need: PollNeeded) -> Co[None]:
        """Wait for what a receiver lacks, and never only for that while there is more to send.

        Raises:
            ConnectionClosed: the session was closed.
        """
        stream = self.require_stream()
        if self.send_while_reading is not None:
            other = self.send_while_reading()
            if other is not None:
                need = PollNeeded(need.fd, need.mask | other.mask, need.timeout, need.phase)
        yield from stream.wait(need)

    def co_wait_until_sent(self, exchange: Exchange) -> Co[None]:
        """Wait until *exchange* is sent or will not be: for a reader ahead of the sender.

        The descriptor waited for is the reader's own, because the sender may be waiting for any
        readiness of its own while it connects.

        Raises:
            ConnectionClosed: connecting has failed, or the session was closed.
        """
        while self.state.being_sent(exchange) and not self.closed:
            near_end, _ = alarm = socketpair()
            try:
                self._alarms.append(alarm)
                self.finish()
                if self.state.being_sent(exchange) and not self.closed:
                    yield PollNeeded(near_end.fileno(), POLLIN, _LOOK_AGAIN, "response")
            except ConnectionTimedOut as exc:
                exc.phase = exc.phase or "response"
                raise
            finally:
                self._alarms.clear()
                near_end.close()
        self.require_stream()
        if self.closed:
            raise ConnectionClosed(f"the connection was closed {self._closed_by}")

    def finish(self) -> None:
        """Decide what has become of a request if the call that was sending it was interrupted.

        An exception of a signal handler may end that call before it has cleaned up. The state of
        sending is then still REQUEST, and nothing has the turn to send.
        """
        if self.state.sending is REQUEST:
            self.send_detector.run_if_free(self.state.finish)

    def wake_reader(self) -> None:
        """The state of sending has changed.

        This takes no lock, because finalizers and signal handlers call it, too. Whichever thread
        takes the alarm off the deque is the only one that uses and closes it. A reader that comes
        just now looks at the state again after it has put its alarm there.
        """
        if self._alarms:
            try:
                _, far_end = self._alarms.pop()
            except IndexError:
                return  # another thread has taken it
            shut_down(far_end)  # a child of a fork may have a copy, so that close() does not do
            far_end.close()

    @property
    def unfinished(self) -> bool:
        """Whether any response or request body is not complete."""
        return self.state.pending or self.state.body_pending

    def response_complete(self) -> None:
        """Close the connection if the response was the last one, or note how long it is kept.

        Called if nothing else is outstanding, or if a close was announced.

        A server that has refused a body may still be discarding it. That connection is closed as
        by `close`, so that the next request connects.
        """
        state = self.state
        if state.sending is REFUSED:
            self.close()
        elif state.closed:
            self.close_as_announced()
        else:
            seconds = self.reader.keep_alive
            self._usable_until = None if seconds is None else self.monitor.clock() + seconds

    def close_as_announced(self) -> None:
        """Close the socket after the response that announced this (RFC 9112 section 9.6).

        If that came early, and did not refuse its request, the rest of the request is sent first.
        The session is not `closed`: its state has the reason why nothing more can be sent, and
        why the requests behind that response have none.
        """
        state = self.state
        if self.stream is not None and (state.queue or not state.is_sending):
            self.stream.close("after the last response, as announced")

    @property
    def connected(self) -> bool:
        """Whether there is an open socket."""
        return self.stream is not None and not self.stream.closed

    @property
    def owes(self) -> bool:
        """Whether closing the connection now loses a response, and no call notices.

        A call that is reading or sending raises `ConnectionClosed`, which is notice enough. So is
        the exception that has ended receiving, or that has cut a request off.
        """
        if self.closed or self.pipelined or not self.state.outstanding:
            return False
        return not (self.receive_detector.taken or self.send_detector.taken)

    def close(self) -> None:
        """Close the connection, from any thread, at any time; whoever waits for it wakes up."""
        self.closed = True
        dialer = self._dialer
        if dialer is not None:
            dialer.cancel()
        if self.stream is not None:
            self.stream.close()
        self.wake_reader()

    def _disown(self) -> None:
        self._closed_by = BY_FORK
        self._connect_failure = ConnectionClosed(f"the connection was closed {BY_FORK}")
        self.closed = True
        for alarm in self._alarms:
            for end in alarm:
                end.close()
        self._alarms.clear()

    def detach(self) -> socket.socket:
        """Give the connected socket away, blocking as sockets are at first."""
        stream = self.require_stream()
        self.closed = True
        sock = stream.detach()
        sock.setblocking(True)
        return sock
