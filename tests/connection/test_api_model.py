"""A whole connection against a model of it, in any order of calls and of a server's doings.

The model says of each call what it returns or which exception it raises. Both ends are in one
thread, over a unix socket, where what one end sends has arrived at the other at once; a call that
would wait longer than the server has anything to do is told so, as every driver does.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from dugong import ConnectionClosed, ConnectionTimedOut, StateError
from tests.connection.api_ends import Co, Expected, Sending
from tests.connection.api_session import INTERIM, Session, Shape
from tests.support.responses import EXAMPLES

pytestmark = pytest.mark.slow


class Model(Sending):
    """The calls that read, and those that end it."""

    # Reading.

    def refusal_to_read(self, here: Session) -> Expected:
        """What reading the next response must raise, before any of it is looked for."""
        if here.failed:
            return ConnectionClosed
        if here.reading is not None:
            if here.gathered or here.available or here.body_left:
                return StateError
            if not here.at_end:
                return ConnectionClosed if here.ending else ConnectionTimedOut
            here.take_end()
        if here.switched:
            return StateError
        if not here.queue:
            return ConnectionClosed if here.phase == "cut" else StateError
        if here.queue[0] is here.last and here.phase == "body":
            return StateError
        return ConnectionClosed if here.closed else None

    def next_head(self, here: Session) -> Shape | Expected:
        """The head that is delivered next, after those that are not; or what must be raised."""
        asked = here.queue[0]
        while here.arrived:
            shape = here.arrived.popleft()
            assert isinstance(shape, Shape)
            if shape in INTERIM.values():
                if shape.status == 100 and here.phase == "continue" and asked is here.last:
                    return shape
                asked.interim += 1
            else:
                return asked.refuses(shape) or shape
        if here.ending or (here.phase == "cut" and asked is here.last):
            return ConnectionClosed
        return ConnectionTimedOut

    @rule()
    def read_response(self) -> None:
        here, error = self.lost(self.session, StateError)
        if here is None or error is not None:
            self.call(error, self.conn.co_read_response())
            return
        self.source = here
        error = self.refusal_to_read(here)
        shape: Shape | Expected = None
        if error is None:
            shape = self.next_head(here)
            error = None if isinstance(shape, Shape) else shape
        response = self.call(error, self.conn.co_read_response())
        if error is not None:
            here.failed = here.failed or error not in (StateError, ConnectionTimedOut)
            return
        assert isinstance(shape, Shape)
        if shape.status == 100:
            assert response.status == 100
            here.phase, here.reported = "body", False
        else:
            self.got_head(here, shape, response)

    def body_error(self, here: Session) -> Expected:
        """What reading on must raise when there is no payload and no end."""
        if not here.ending:
            return ConnectionTimedOut
        here.failed = True
        return ConnectionClosed

    def to_read(self) -> tuple[Session | None, Expected]:
        """The session that a reading call reads from, and what it must raise before it does."""
        source, here = self.source, self.here
        if source is not None and source.gone and source.unfinished:
            return source, ConnectionClosed
        if source is None or source.reported:
            early = here is not None and here.queue and not here.failed
            return source, StateError if early else None
        return source, None

    def read_some(self, count: int, read: Callable[[], Co]) -> None:
        """Read at most *count* bytes."""
        here, error = self.to_read()
        if here is None or error is not None or not count:
            assert not self.call(error, read())
            return
        if here.gathered:
            data = self.call(None, read())
            assert data == here.gathered[:count]
            here.gathered = here.gathered[count:]
            return
        if here.failed:
            self.call(ConnectionClosed, read())
            return
        if here.reading is None:
            assert not self.call(None, read())
            here.reported = True
            return
        available = here.available
        if available:
            data = self.call(None, read())
            assert 0 < len(data) <= count
            assert available.startswith(data)
            here.take(len(data))
        elif here.at_end:
            assert not self.call(None, read())
            here.take_end()
            here.reported = True
        else:
            self.call(self.body_error(here), read())

    @rule(count=st.sampled_from([0, 1, 2, 3, 100]))
    def read(self, count: int) -> None:
        self.read_some(count, lambda: self.conn.co_read(count))

    @rule(count=st.sampled_from([0, 1, 2, 3, 100]))
    def readinto(self, count: int) -> None:
        def co_read() -> Co:
            buf = bytearray(count)
            got = yield from self.conn.co_readinto(buf)
            return bytes(buf[:got])

        self.read_some(count, co_read)

    def read_rest(self, read: Callable[[], Co], *, keeps: bool) -> None:
        here, error = self.to_read()
        if here is None or error is not None:
            assert not self.call(error, read())
            return
        gathered, here.gathered = here.gathered, b""
        if here.failed:
            self.call(ConnectionClosed, read())
            here.gathered = gathered if keeps else b""
            return
        if here.reading is not None:
            gathered += here.available
            here.take(len(here.available))
        if here.reading is None:
            assert self.call(None, read()) == (gathered if keeps else None)
            here.reported = True
            return
        self.call(self.body_error(here), read())
        here.gathered = gathered if keeps else b""

    @rule(how=st.sampled_from(["readall", "read", "negative"]))
    def readall(self, how: str) -> None:
        calls = {
            "readall": self.conn.co_readall,
            "read": self.conn.co_read,
            "negative": lambda: self.conn.co_read(-1),
        }
        self.read_rest(calls[how], keeps=True)

    @rule()
    def discard(self) -> None:
        self.read_rest(self.conn.co_discard, keeps=False)

    # Ending it.

    @rule()
    def disconnect(self) -> None:
        self.conn.disconnect()
        if self.session is not None:
            self.session.gone = True

    @rule()
    def detach(self) -> None:
        here = self.here
        if here is None or not here.switched:
            with pytest.raises(StateError):
                self.conn.detach()
            return
        sock, rest = self.conn.detach()
        with sock:
            assert sock.getblocking()
            assert rest == b""
            if not here.ending:
                sock.send(b"raw")
                here.sent += b"raw"
                self.nothing_sent(here)
        here.gone = True


# Where several workers share a machine, a step may take long.
Model.TestCase.settings = settings(
    max_examples=2 * EXAMPLES,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestModel = Model.TestCase
