"""One connection to a server, from the first request accepted for it until it closes.

Theory of operation
===================

1. A `Session` connects at most once. After that connection, a new session takes its place. Calls
   that are still in progress on the old session thus cannot touch the requests of the new one.
2. `ConnectionState` decides what may be sent and received. `RequestWriter` sends and
   `ResponseReceiver` receives, one call at a time in each direction. `ConflictDetector` refuses a
   second call. Two threads or two coroutines may use the two directions at the same time.
3. A request is accepted before there is a connection. The call that sends it connects.
4. A reader may be ahead of the sender. It then waits for an alarm until the request has been sent,
   or cannot be (`lifecycle`).
5. Any thread may close the session at any time. That wakes every waiting call (`lifecycle`).
6. Sending and receiving fail separately. For example, if the server refuses a request and resets
   the connection, sending fails, but the response may still be readable (`upload`).
7. An exception of a signal handler may end a call at almost any point. Each call therefore orders
   its changes such that the next call can find out what has happened: whether bytes may have been
   sent (`Exchange.send_uncertain`), whether a call has the turn (`ConflictDetector`), and whether
   received data may be lost (`ResponseReceiver`).
8. A pool gives the connection of an idle session to another user. A caller of the first user may
   still be between two steps in another thread, with a reference to the session. So the session
   retires: it keeps both turns forever, which keeps every caller out (`retire`). A new session
   takes over what it consisted of (`succeed`).
9. The two halves are base classes, not objects. A session whose parts refer back to it would be a
   reference cycle, and a dropped connection would stay open until the garbage collector finds it.
"""

from __future__ import annotations

from typing import Self

from ..errors import ConnectionClosed, DugongError
from ..transport.monitor import Monitor
from ..transport.poll import Co, T
from ..transport.stream import AT_ONCE, UNREQUESTED, unusable
from ..transport.within import co_within
from .conflict import ConflictDetector
from .receiver import ResponseReceiver
from .writer import RequestWriter


class Session(RequestWriter, ResponseReceiver):
    """One connection to a server.

    Attributes:
        fresh_until: until when the next call of `idle_fault` need not look, because a pool has just
            done so; 0 if it must.
    """

    fresh_until = 0.0

    def to_send(self, crt: Co[T]) -> Co[T]:
        """Return the sending coroutine *crt*, with the time limits of its exchange applied."""
        state = self.state
        return co_within(state.sending_limits, crt) if state.limited else crt

    def to_receive(self, crt: Co[T]) -> Co[T]:
        """Return the receiving coroutine *crt*, with the time limits of its exchange applied."""
        state = self.state
        return co_within(state.receiving_limits, crt) if state.limited else crt

    def idle_fault(self) -> ConnectionClosed | None:
        """Return why an idle session cannot take another request; ``None`` if it can.

        ``None`` also while anything is outstanding.
        """
        if not self.state.idle:
            return None
        if self.fresh_until:
            fresh, self.fresh_until = self.monitor.clock() < self.fresh_until, 0.0
            if fresh:
                return None
        if self.state.closing:
            return unusable("it was due to be closed after the last response, as announced")
        if self._usable_until is not None and self.monitor.clock() >= self._usable_until:
            return unusable("the server's keep-alive time has passed")
        stream, turn = self.stream, self.receive_detector
        # The turn, because this receives: were the session to retire meanwhile, this could take a
        # byte from the next user of the connection.
        try:
            del turn.free
        except AttributeError:
            return None  # the next step, which takes a turn, finds out why
        try:
            fault = None if stream is None else stream.idle_fault()
        finally:
            turn.free = True
        if fault is None and self.reader.buffer.end:
            fault = unusable(UNREQUESTED)
        return fault

    def retire(self, monitor: Monitor) -> bool:
        """End the use of this session, so that its connection can have another user.

        Args:
            monitor: replaces that of the user, which may refer to the user's own objects.

        Returns:
            Whether the connection can be used again: it is open, nothing is outstanding or unread,
            no close was announced, and no call is sending or receiving. If not, the session is
            closed.
        """
        state, reader, stream = self.state, self.reader, self.stream
        try:
            if reader.body is not None:
                self.take_end()
            self._take_for_good(self.send_detector)
            self._take_for_good(self.receive_detector)
        except DugongError:  # a call has a turn, or the end of the body is not valid
            self.close()
            return False
        if (
            stream is None
            or stream.closed
            or self.closed
            or not state.idle
            or state.closing
            or reader.body is not None
            or reader.buffer.end
            or self._gathered.left
        ):
            self.close()
            return False
        if stream.tls_version is not None:
            stream.keep_tls_session()
        self.monitor = stream.monitor = monitor
        # Nothing in the session refers to the user's requests, responses and callbacks.
        state.current = reader.response = reader.digest = None
        state.limited = False
        return True

    @staticmethod
    def _take_for_good(turn: ConflictDetector) -> None:
        try:
            del turn.free
        except AttributeError:
            turn.take()

    def retired_fault(self) -> ConnectionClosed | None:
        """Return why the connection of this session, which has retired, cannot be used again.

        ``None`` if it can. Its owner calls this, and nothing else uses the session.
        """
        stream = self.stream
        if stream is None or stream.closed:
            return unusable("it is closed")
        if self._usable_until is not None and stream.monitor.clock() >= self._usable_until:
            return unusable("the server's keep-alive time has passed")
        return stream.idle_fault()

    def succeed(self, monitor: Monitor) -> Self:
        """Return a new session with the connection of this one, which has retired.

        Args:
            monitor: that of the new user.
        """
        # One by one: an object whose dictionary is filled at once is slower in CPython, from its
        # first request on.
        successor = object.__new__(type(self))
        successor.route = self.route
        successor.state = self.state
        successor.reader = self.reader
        successor.monitor = monitor
        successor.stream = self.stream
        successor.closed = False
        successor._closed_by = self._closed_by
        successor._dialer = None
        successor._alarms = self._alarms
        successor._usable_until = self._usable_until
        successor._connect_failure = None
        successor._left_of_turn = self._left_of_turn
        successor._held = None
        successor._gathered = self._gathered
        successor._block = None
        successor.send_detector = ConflictDetector("writing to")
        successor.receive_detector = ConflictDetector("reading from")
        successor.pipelined = False
        successor.send_while_reading = None
        successor.end_reported = True
        successor.receive_flags = AT_ONCE
        successor.fresh_until = 0.0
        if self.stream is not None:
            self.stream.monitor = monitor
        # Not registered for `disown_in_child`, which takes long: the stream is, and so is whatever
        # has the session.
        # Last: after an interrupt before this, the connection still belongs to this session.
        self.closed = True
        self.stream = None
        return successor
