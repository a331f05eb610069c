"""Both ends of the connections of `tests.connection.test_api_model`: its far end, and what sends.

The first class has what all calls need, and what the server may do; the second sends.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dugong import (
    ConnectionClosed,
    ConnectionTimedOut,
    ExcessBodyData,
    HTTPConnection,
    HTTPResponse,
    InvalidRequest,
    PollNeeded,
    StateError,
)
from tests.connection.api_session import (
    INTERIM,
    LENGTHS,
    PHASES,
    REQUESTS,
    SHAPES,
    WHOLE,
    Asked,
    Session,
    Shape,
)

Co = Generator[PollNeeded, Any, Any]
Expected = type[Exception] | None


class BothEnds(RuleBasedStateMachine):
    """The connection, and a server that does anything at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        path = str(Path(self.directory.name) / "s")
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(path)
        self.listening.listen()
        self.listening.setblocking(False)
        self.conn = HTTPConnection("h", unix_socket=path)
        self.fars: list[socket.socket] = []
        self.session: Session | None = None
        #: Where the last response was, or was to be, read from.
        self.source: Session | None = None
        self.count = 0

    def teardown(self) -> None:
        self.conn.disconnect()
        self.listening.close()
        self.directory.cleanup()
        for far in self.fars:
            far.close()

    # Calls.

    def run(self, crt: Co, *server: Callable[[], None]) -> Any:
        """Run it as far as it comes with what is there, and with what *server* then does."""
        steps = [*server]
        try:
            need = next(crt)
            while True:
                if need.poll(0):
                    need = next(crt)
                elif steps:
                    steps.pop(0)()
                else:
                    need = crt.throw(ConnectionTimedOut("nothing more comes"))
        except StopIteration as stop:
            return stop.value
        finally:
            crt.close()

    def call(self, error: Expected, crt: Co, *server: Callable[[], None]) -> Any:
        """Make a call that returns, or raises *error* and nothing else."""
        if error is None:
            return self.run(crt, *server)
        with pytest.raises(error) as info:
            returned = self.run(crt, *server)
            pytest.fail(f"returned {returned!r}")
        assert type(info.value) is error
        if error is StateError and self.session is not None and not self.session.gone:
            self.nothing_sent(self.session)
        return None

    @property
    def here(self) -> Session | None:
        """The connection that is open."""
        return None if self.session is None or self.session.gone else self.session

    @staticmethod
    def lost(session: Session | None, closed: Expected) -> tuple[Session | None, Expected]:
        """The session to ask, or what to expect if that is gone."""
        if session is None or (session.gone and not session.unfinished):
            return None, closed
        return session, ConnectionClosed if session.gone else None

    # What the server does.

    def serves(self) -> bool:
        """Whether the server may speak."""
        here = self.here
        return here is not None and not (here.ending or here.silent or here.closed)

    def answers(self) -> bool:
        here = self.here
        if here is None or here.to_the_end or here.serving:
            return False
        return self.serves() and bool(here.unanswered)

    @precondition(answers)
    @rule(name=st.sampled_from([*SHAPES]), whole=st.booleans())
    def reply(self, name: str, whole: bool) -> None:
        here = self.session
        assert here is not None
        shape, asked = SHAPES[name], here.unanswered.popleft()
        here.far.send(shape.head)
        here.arrived.append(shape)
        if asked.has_body(shape):
            here.serving.extend(shape.rest)
            here.to_the_end = name == "until close"
        elif asked.switches(shape):
            here.silent = True
        here.silent = here.silent or bool(asked.refuses(shape))
        while here.serving and whole:
            self.more()

    @precondition(lambda self: self.serves() and self.session.serving)
    @rule()
    def more(self) -> None:
        here = self.session
        assert here is not None
        data, payload = here.serving.popleft()
        here.far.send(data)
        here.arrived.append(payload)

    @precondition(answers)
    @rule(status=st.sampled_from([*INTERIM]))
    def interim(self, status: int) -> None:
        here = self.session
        assert here is not None
        if here.unanswered[0].interim < 10:
            here.far.send(INTERIM[status].head)
            here.arrived.append(INTERIM[status])

    @precondition(
        lambda self: self.serves() and not (self.session.unfinished or self.session.to_the_end)
    )
    @rule()
    def stray(self) -> None:
        here = self.session
        assert here is not None
        here.far.send(SHAPES["empty"].head)
        here.arrived.append(SHAPES["empty"])
        here.silent = True

    @precondition(lambda self: self.here is not None and not self.here.ending)
    @rule(how=st.sampled_from(["close", "reset"]))
    def end(self, how: str) -> None:
        """Closing with bytes unread is a reset."""
        here = self.session
        assert here is not None
        self.nothing_sent(here)
        if how == "close" and here.sent:
            here.far.recv(1 << 20)
        here.far.close()
        here.ending = how

    # What is always so.

    @staticmethod
    def nothing_sent(here: Session) -> None:
        """Nothing has been sent but what was to be sent."""
        if here.ending:
            return
        try:
            got = here.far.recv(1 << 20, socket.MSG_PEEK)
        except BlockingIOError:
            got = b""
        assert got == here.sent

    @invariant()
    def same(self) -> None:
        here = self.here
        assert self.conn.body_pending is (here is not None and here.phase in ("continue", "body"))
        if here is None:
            assert not self.conn.response_pending()
            assert not self.conn.connected
            return
        pending = self.conn.response_pending()
        if here.reading is not None and here.at_end and not pending:
            here.take_end()  # an end that came with the head may have been taken along or not
        assert pending is bool(here.queue)
        assert self.conn.connected is not here.closed
        self.nothing_sent(here)


class Sending(BothEnds):
    """All calls that send."""

    # Sending.

    def refusal_to_send(self, here: Session) -> Expected:
        """What sending one more request must raise; closes what is found unusable."""
        idle = not here.queue and not here.failed and here.phase == "idle" and not here.switched
        if idle and (here.closing or here.ending or here.arrived):
            here.gone = True
            return ConnectionClosed
        if here.failed:
            return ConnectionClosed
        if here.switched:
            return StateError
        if here.phase in ("continue", "body", "refused"):
            return StateError
        if here.phase == "cut" or here.closing:
            return ConnectionClosed
        return None

    @rule(kind=st.sampled_from([*REQUESTS]))
    def send_request(self, kind: str) -> None:
        here = self.here
        error: Expected = None
        if here is not None:
            if not here.gathered and not here.failed:
                here.take_end()
            here = self.here
        if here is not None:
            error = self.refusal_to_send(here)
        self.count += 1
        asked = Asked(kind, self.target(kind))
        broken = here is not None and error is None and bool(here.ending)
        method, end, arguments = REQUESTS[kind]
        if broken:
            error = ConnectionClosed
        self.call(error, self.conn.co_send_request(method, asked.path, **arguments()))
        here = here or self.accept()
        if broken:
            here.phase, here.last = "cut", asked
            here.queue.append(asked)
        elif error is None:
            self.was_sent(here, asked, end)

    def target(self, kind: str) -> str:
        return f"h:{self.count}" if kind == "connect" else f"/{self.count}"

    def accept(self) -> Session:
        far, _ = self.listening.accept()
        far.setblocking(False)
        self.fars.append(far)
        self.session = Session(far)
        return self.session

    @staticmethod
    def was_sent(here: Session, asked: Asked, end: bytes) -> None:
        own = {"last": "Connection: close", "upgrade": "Upgrade: x"}.get(asked.kind)
        host = asked.path if asked.kind == "connect" else "h"
        lines = [f"{asked.method} {asked.path} HTTP/1.1", f"Host: {host}"]
        lines.append("Accept-Encoding: identity")
        if asked.kind != "last":
            lines.append("Connection: keep-alive")
        if own is not None:
            lines.append(own)
        here.sent += "".join(f"{line}\r\n" for line in lines).encode() + end
        here.queue.append(asked)
        here.unanswered.append(asked)
        here.last, here.left = asked, LENGTHS.get(asked.kind)
        here.phase = PHASES.get(asked.kind, "idle")
        here.closing = here.closing or asked.kind == "last"

    # Whole exchanges.

    def session_for_request(self) -> tuple[Session | None, Expected]:
        """The connection that a whole exchange uses, ``None`` for a new one; or its refusal."""
        here = self.here
        if here is not None and not here.gathered and not here.failed:
            here.take_end()
            here = self.here
        if here is None:
            return None, None
        if not here.failed:
            waiting = bool(here.queue)
            if here.phase == "cut" and here.reading is None:
                waiting = waiting and here.queue[0] is not here.last
            if waiting or here.phase in ("continue", "body") or here.switched:
                return here, StateError
        unusable = here.failed or here.phase in ("refused", "cut") or here.closing
        here.gone = bool(unusable or here.ending or here.arrived)
        return self.here, None

    @rule(
        kind=st.sampled_from(WHOLE),
        answer=st.sampled_from([*SHAPES, "close", "silence"]),
        refuses=st.booleans(),
    )
    def request(self, kind: str, answer: str, refuses: bool) -> None:
        """The server answers as soon as it has everything, or instead of a 100 (Continue)."""
        here, error = self.session_for_request()
        method, end, arguments = REQUESTS[kind]
        self.count += 1
        awaits = kind == "expect"
        asked = Asked("bytes" if awaits else kind, self.target(kind))
        options: dict[str, Any] = {"body": b"abc"} if awaits else arguments()
        crt = self.conn.co_request(method, asked.path, **options, expect100=awaits)
        if error is not None:
            self.call(error, crt)
            return
        refuses = refuses and awaits
        if awaits and answer == "refusal":
            answer = "empty"  # 417 would have it sent once more

        def receive() -> None:
            session = here or self.accept()
            self.was_sent(session, asked, end)
            session.phase = "continue" if awaits else "idle"
            self.nothing_sent(session)

        def go_ahead() -> None:
            self.interim(100)

        def respond() -> None:
            session = self.session
            assert session is not None
            if awaits and not refuses:
                session.sent += b"abc"
                session.phase, session.left = "idle", 0
                session.arrived.clear()
                asked.interim += 1
            if answer == "close":
                self.end("close")
            elif answer != "silence":
                self.reply(answer, whole=True)

        steps: list[Callable[[], None]] = [
            receive,
            *([go_ahead] if awaits and not refuses else []),
            respond,
        ]
        shape = SHAPES.get(answer)
        if shape is None:
            error = ConnectionClosed if answer == "close" else ConnectionTimedOut
        else:
            error = asked.refuses(shape)
        response = self.call(error, crt, *steps)
        here = self.source = self.session
        assert here is not None
        if shape is not None:
            assert here.arrived.popleft() is shape
        if error is None:
            assert shape is not None
            self.got_head(here, shape, response)
            return
        here.failed = error is not ConnectionTimedOut
        if refuses:
            here.phase = "cut"

    def got_head(self, here: Session, shape: Shape, response: HTTPResponse) -> None:
        here.reported = False
        asked = here.queue[0]
        refused = asked is here.last and here.phase == "continue"
        closes = shape.closes or refused or asked.kind == "last"
        if refused:
            here.phase = "refused"
        if asked.switches(shape):
            here.switched = True
            here.queue.pop(0)
            closes = asked.kind == "last"
        elif asked.has_body(shape):
            here.reading, here.body_left = shape, shape.length
        else:
            closes = refused or (closes and not (asked.kind == "head" and shape.by_close))
            here.closed = closes
            here.answered()
        here.closing = here.closing or closes
        assert (response.status, response.path) == (shape.status, asked.path)
        assert len(response.informational) == asked.interim
        assert response.length == (shape.length if asked.has_body(shape) else 0)
        assert response.will_close is closes

    # Bodies.

    def refusal_to_write(self, here: Session) -> Expected:
        if here.failed or here.phase == "cut":
            return ConnectionClosed
        return None if here.phase == "body" else StateError

    @rule(count=st.integers(0, 4))
    def write(self, count: int) -> None:
        here, error = self.lost(self.session, StateError)
        data = b"abcd"[:count]
        if here is None or error is not None:
            self.call(error, self.conn.co_write(data))
            return
        error = self.refusal_to_write(here)
        if error is None and here.left is not None and count > here.left:
            error = ExcessBodyData
        elif error is None and count and here.ending:
            error, here.phase = ConnectionClosed, "cut"
        self.call(error, self.conn.co_write(data))
        if error is not None or not count:
            return
        if here.left is None:
            here.sent += b"%x\r\n%s\r\n" % (count, data)
        else:
            here.sent += data
            here.left -= count
            here.phase = "body" if here.left else "idle"

    @rule(trailers=st.booleans())
    def end_body(self, trailers: bool) -> None:
        here, error = self.lost(self.session, StateError)
        fields = {"A": "b"} if trailers else None
        if here is None or error is not None:
            self.call(error, self.conn.co_end_body(fields))
            return
        known = here.last is not None and here.last.kind in LENGTHS
        if known and trailers:
            self.call(InvalidRequest, self.conn.co_end_body(fields))
            return
        if known and here.phase == "idle" and here.left == 0:
            self.call(None, self.conn.co_end_body(fields))
            return
        error = self.refusal_to_write(here)
        if error is None and here.left is not None:
            error = StateError
        elif error is None and here.ending:
            error, here.phase = ConnectionClosed, "cut"
        self.call(error, self.conn.co_end_body(fields))
        if error is None:
            here.sent += b"0\r\nA: b\r\n\r\n" if trailers else b"0\r\n\r\n"
            here.phase = "idle"
