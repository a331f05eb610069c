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
8. The two halves are base classes, not objects. A session whose parts refer back to it would be a
   reference cycle, and a dropped connection would stay open until the garbage collector finds it.
"""

from __future__ import annotations

from ..errors import ConnectionClosed
from ..transport.poll import Co, T
from ..transport.stream import UNREQUESTED, unusable
from ..transport.within import co_within
from .receiver import ResponseReceiver
from .writer import RequestWriter


class Session(RequestWriter, ResponseReceiver):
    """One connection to a server."""

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
        if self.state.closing:
            return unusable("it was due to be closed after the last response, as announced")
        if self._usable_until is not None and self.monitor.clock() >= self._usable_until:
            return unusable("the server's keep-alive time has passed")
        fault = None if self.stream is None else self.stream.idle_fault()
        if fault is None and self.reader.buffer.end:
            fault = unusable(UNREQUESTED)
        return fault
