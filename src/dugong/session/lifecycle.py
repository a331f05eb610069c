"""The part of a session without HTTP: connecting, closing, and waking the calls that wait.

Closing
=======

`Lifecycle.close` may run in any thread, in a signal handler and in a finalizer, while other calls
use the session. So it never waits for a lock. A call that waits is in one of three places, and
`close` reaches each of them:

1. While a call connects, it waits for its `Dialer`. `close` cancels the dialer. A call that has not
   created its dialer yet, or that has just got its socket from it, checks `closed` itself.
2. While a call sends or receives, it waits for the descriptor of the stream. `Stream.close` shuts
   the socket down, which makes the descriptor ready.
3. A reader that is ahead of the sender waits for an alarm.

Alarms
======

A thread or coroutine may read a response before another one has sent the request. The reader cannot
wait for the socket, because there may be none yet. Nor can it wait for what the sender waits for,
because that changes while the sender connects. So the reader waits for its own socket pair, the
*alarm*, and the sender sounds it when the state of sending changes (`wake_reader`).

The reader first publishes its alarm and then checks the state. The sender first changes the state
and then looks for an alarm. So one of them always notices the other.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from ..errors import (
    ConnectionClosed,
    ConnectionTimedOut,
    DugongError,
    Remembered,
    StateError,
    add_address,
)
from ..protocol.exchange import Exchange
from ..protocol.reader import ResponseReader
from ..protocol.state import ConnectionState
from ..protocol.states import REFUSED, REQUEST
from ..transport.connect import Dialer, Route
from ..transport.fork import BY_FORK, disown_in_child
from ..transport.monitor import Monitor
from ..transport.poll import POLLIN, Co, PollNeeded
from ..transport.sockets import socketpair
from ..transport.stream import AS_ANNOUNCED, Stream, shut_down
from ..transport.trace import open_trace
from .conflict import ConflictDetector
from .tunnel import tunnel_of

#: Seconds after which a reader that is ahead of the sender checks whether there still is a sender.
#: A signal handler may raise a second exception while the sender handles the first one. The sender
#: then ends without sounding the alarm.
_LOOK_AGAIN = 1.0


class Lifecycle:
    """One connection to a server, from the first request accepted for it until it closes.

    Attributes:
        route: the server's address and the way to it.
        state: the exchanges in flight.
        reader: decides where received bytes go and what they mean.
        monitor: counts bytes and reports events.
        stream: the connected socket, ``None`` before there is one.
        closed: whether we have closed the session.
        send_detector: its turn belongs to the call that is sending.
        receive_detector: its turn belongs to the call that is receiving.
        pipelined: whether a `Pipeline` sends and receives here. Other callers do not know which
            response is next. If any is outstanding, they disconnect before they send.
        send_while_reading: called before a receiver waits, so that queued requests keep going out.
            Returns what sending waits for, if it waits. ``None`` unless a pipeline sends.
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
        #: The alarm of a reader that waits for the sender: both ends of a socket pair.
        self._alarms: deque[tuple[socket.socket, socket.socket]] = deque(maxlen=1)
        self._usable_until: float | None = None
        self._connect_failure: Remembered | None = None
        disown_in_child(self)

    def co_connect(self) -> Co[Stream]:
        """Connect, unless already connected. If connecting fails, the session is closed."""
        if self.stream is not None:
            return self.stream
        if self._dialer is not None:
            raise StateError("another call is connecting this connection")
        dialer = Dialer(self.route, self.monitor, tunnel_of(self.route, self.monitor))
        try:
            self._dialer = dialer
            if self.closed:  # before there was a dialer that `close` could cancel
                dialer.cancel()
            stream = yield from dialer.co_dial()
            self.stream = stream
            stream.trace = open_trace()
        except BaseException as exc:
            if not isinstance(exc, GeneratorExit):  # it explains nothing
                self._connect_failure = Remembered(exc)
            if isinstance(exc, (DugongError, OSError)):
                add_address(exc, dialer.where)
            if isinstance(exc, Exception):  # defaults, which a call that sends a request replaces
                exc.__dict__.update(
                    bytes_sent=0,
                    response_started=False,
                    safe_to_retry=True,
                    unanswered=(),
                    while_connecting=True,
                    at_proxy=dialer.at_proxy,
                )
            self.close()
            if self._connect_failure is not None:
                self._connect_failure.weaken()
            raise
        finally:
            self._dialer = None
        if self.closed:  # after the dialer had finished, so there was nothing to cancel
            stream.close()
            raise ConnectionClosed(f"the connection was closed {self._closed_by}")
        return stream

    def require_stream(self) -> Stream:
        """Return the stream.

        Raises:
            ConnectionClosed: connecting has failed.
        """
        if self.stream is None:
            cause = None if self._connect_failure is None else self._connect_failure.exc
            reason = f": {cause}" if isinstance(cause, Exception) else ""
            raise ConnectionClosed(f"the connection could not be made{reason}") from cause
        return self.stream

    def co_wait(self, need: PollNeeded) -> Co[None]:
        """Wait until a receiver can continue, and meanwhile keep sending for a pipeline.

        Waiting only for received data could block forever. The server may not read on until we
        have read its responses, and not respond until it has read more of the requests.

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
        """Wait until *exchange* has been sent, or cannot be: for a reader ahead of the sender.

        This waits for an alarm (see the module docstring).

        Raises:
            ConnectionClosed: connecting has failed, or the session was closed.
        """
        while self.state.being_sent(exchange) and not self.closed:
            near_end, _ = alarm = socketpair()
            try:
                disown_in_child(self)
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
        """Clean up after a call that was interrupted while it was sending a request.

        A signal handler may raise an exception that ends a call before the call has updated the
        state. The state of sending is then still REQUEST, but no call has the turn to send.
        """
        if self.state.sending is REQUEST:
            self.send_detector.run_if_free(self.state.finish)

    def wake_reader(self) -> None:
        """Sound the alarm of a waiting reader, if any, after the state of sending has changed.

        This takes no lock, because finalizers and signal handlers call it, too. Only the thread
        that removes the alarm from the deque uses and closes the far end. A reader that adds its
        alarm after that checks the state again.
        """
        if self._alarms:
            try:
                _, far_end = self._alarms.pop()
            except IndexError:
                return  # another thread has taken it
            # A forked child may have a copy of the descriptor. Then only a shutdown wakes the
            # reader, and closing our copy does not.
            shut_down(far_end)
            far_end.close()

    @property
    def unfinished(self) -> bool:
        """Whether any response or request body is not complete."""
        return self.state.pending or self.state.body_pending

    def response_complete(self) -> None:
        """Close the connection if the response was the last one, or note how long it is kept.

        Called if nothing else is outstanding, or if a close was announced.

        A server that has refused a body may still be discarding it, and would take the next
        request for a part of that body. So that session is closed, and the next request
        reconnects.
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

        If the response came early and did not refuse its request, the rest of the request is sent
        first. The session does not become `closed`: its state has the reason why nothing more can
        be sent, and why later requests have no response.
        """
        state = self.state
        if self.stream is not None and (state.queue or not state.is_sending):
            self.stream.close(AS_ANNOUNCED)

    @property
    def connected(self) -> bool:
        """Whether there is an open socket."""
        return self.stream is not None and not self.stream.closed

    @property
    def peer_address(self) -> Any:
        """The remote address, in the form that `socket` uses, as soon as a socket is connected."""
        if self.stream is not None:
            return self.stream.peer_address
        return None if self._dialer is None else self._dialer.address

    @property
    def owes(self) -> bool:
        """Whether closing the connection now loses a response without any call noticing.

        A call that is reading or sending notices, because it raises `ConnectionClosed`. If
        receiving has failed or a request was cut off, the exception has already been raised.
        """
        if self.closed or self.pipelined or not self.state.outstanding:
            return False
        return not (self.receive_detector.taken or self.send_detector.taken)

    def close(self) -> None:
        """Close the session, from any thread, at any time. All waiting calls wake up and raise."""
        self.closed = True
        dialer = self._dialer
        if dialer is not None:
            dialer.cancel()
        if self.stream is not None:
            self.stream.close()
        self.wake_reader()

    def _disown(self) -> None:
        self._closed_by = BY_FORK
        closed = ConnectionClosed(f"the connection was closed {BY_FORK}")
        self._connect_failure = Remembered(closed)
        self.closed = True
        if self._dialer is not None:
            self._dialer.disown()
        for alarm in self._alarms:
            for end in alarm:
                end.close()
        self._alarms.clear()

    def detach(self) -> socket.socket:
        """Hand over the connected socket, in blocking mode.

        Raises:
            StateError: there is TLS inside the TLS of a proxy.
        """
        stream = self.require_stream()
        if not stream.detachable:
            raise StateError(
                "detach() has no socket to return, because there is TLS inside the TLS of the proxy"
            )
        self.closed = True
        sock = stream.detach()
        sock.setblocking(True)
        return sock
