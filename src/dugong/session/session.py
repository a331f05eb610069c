"""One connection to a server, from the first request accepted for it until it closes.

Theory of operation
===================

1. A `Session` is never connected twice. What is still in progress on an old connection cannot meet
   the requests of its successor.
2. `ConnectionState` decides what may be sent and received. `RequestWriter` and `ResponseReceiver`
   do it, one call at a time in each direction; `ConflictDetector` refuses a second one. The two
   directions may be used by two threads or two coroutines at once.
3. A request is accepted before there is a connection. The call that sends it connects.
4. A reader may be ahead of the sender. It then waits for a descriptor of its own until the request
   is sent, or will not be (`co_wait_until_sent`).
5. Any thread may close the session at any time. That wakes every call that waits for it.
6. The two halves are base classes, not objects: a session whose parts referred back to it would be
   a reference cycle, and a connection that is dropped would stay open until the garbage collector
   finds it.
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
        """Return *crt*, which sends, within the time limits of its exchange if that has any."""
        state = self.state
        return co_within(state.sending_limits, crt) if state.limited else crt

    def to_receive(self, crt: Co[T]) -> Co[T]:
        """Return *crt*, which receives, within the time limits of its exchange if that has any."""
        state = self.state
        return co_within(state.receiving_limits, crt) if state.limited else crt

    def idle_fault(self) -> ConnectionClosed | None:
        """Return why no further request should be sent, if nothing is outstanding; or ``None``."""
        if not self.state.idle:
            return None
        if self.state.closing:
            return unusable("it was to be closed after the last response, as announced")
        if self._usable_until is not None and self.monitor.clock() >= self._usable_until:
            return unusable("the time for which the server keeps it has passed")
        fault = None if self.stream is None else self.stream.idle_fault()
        if fault is None and self.reader.buffer.end:
            fault = unusable(UNREQUESTED)
        return fault
