"""The state machine against a model of it, in any order of events (hypothesis)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dugong import (
    BodyFollowing,
    ConnectionClosed,
    ExcessBodyData,
    Headers,
    HTTPResponse,
    StateError,
)
from dugong.protocol.exchange import Exchange
from dugong.protocol.framing import Delimiter, Framing
from dugong.protocol.messages import Request
from dugong.protocol.request import NO_DEFAULTS, prepare
from dugong.protocol.state import ConnectionState

pytestmark = pytest.mark.slow


def request(method: str, body: BodyFollowing | None, expect: bool, **fields: str) -> Exchange:
    return prepare(Request(method, "/", fields, body), expect, NO_DEFAULTS)


#: A request of each kind; made anew for each use.
REQUESTS: dict[str, Callable[[], Exchange]] = {
    "plain": lambda: request("GET", None, False),
    "upgrade": lambda: request("GET", None, False, Upgrade="x"),
    "last": lambda: request("GET", None, False, Connection="close"),
    "length": lambda: request("PUT", BodyFollowing(3), False),
    "chunks": lambda: request("PUT", BodyFollowing(), False),
    "expect": lambda: request("PUT", BodyFollowing(3), True),
}


class Model(RuleBasedStateMachine):
    """What the driver of a connection does, and beside it what must come of that."""

    def __init__(self) -> None:
        super().__init__()
        self.real = ConnectionState()
        self.waiting: list[Exchange] = []
        self.last: Exchange | None = None
        self.kind = ""  # of the last request
        self.phase = "idle"  # of it: request, continue, body; refused and cut are for good
        self.left: int | None = None
        self.reading: HTTPResponse | None = None
        self.broken = self.switched = self.closing = self.closed = False

    def expect(self, error: type[Exception] | None, act: Callable[[], object]) -> bool:
        """Do it, and check that it is refused, or that it is not."""
        if error is None:
            act()
            return True
        with pytest.raises(error) as info:
            act()
        assert type(info.value) is error
        return False

    # Sending.

    @precondition(lambda self: self.phase != "request")  # whoever sends has the turn until then
    @rule(kind=st.sampled_from([*REQUESTS]), at_once=st.booleans())
    def accept(self, kind: str, at_once: bool) -> None:
        error: type[Exception] | None = None
        if self.broken:
            error = ConnectionClosed
        elif self.switched or self.phase in ("continue", "body", "refused"):
            error = StateError
        elif self.phase == "cut" or self.closing:
            error = ConnectionClosed
        exchange = REQUESTS[kind]()
        if self.expect(error, lambda: self.real.accept(exchange)):
            self.last, self.kind, self.phase = self.real.queue[-1], kind, "request"
            self.left = exchange.length
            self.waiting.append(self.last)
            if at_once:
                self.sent()

    @precondition(lambda self: self.phase == "request")
    @rule()
    def finish_sending(self) -> None:
        self.sent()

    def sent(self) -> None:
        assert self.last is not None
        self.real.request_sent(self.last)
        self.closing = self.closing or self.kind == "last"
        follows = {"expect": "continue", "length": "body", "chunks": "body"}
        self.phase = follows.get(self.kind, "idle")

    @precondition(lambda self: self.phase == "request" and self.last in self.waiting)
    @precondition(lambda self: self.reading is None or self.waiting[0] is not self.last)
    @rule()
    def withdraw(self) -> None:
        self.real.withdraw(self.waiting.pop())
        self.phase = "idle"

    @precondition(lambda self: self.phase == "request")
    @rule(is_out=st.booleans())
    def abandon(self, is_out: bool) -> None:
        """The call that was sending it was interrupted, perhaps before the first byte."""
        assert self.last is not None
        reads_it = self.reading is not None and self.waiting[0] is self.last
        if is_out or reads_it or self.last not in self.waiting:
            self.last.bytes_sent = 1
            self.phase = "cut"
        else:
            self.waiting.pop()
            self.phase = "idle"
        self.real.finish()

    @precondition(lambda self: self.phase == "continue")
    @rule()
    def go_ahead(self) -> None:
        self.real.go_ahead()
        self.phase = "body"

    @precondition(lambda self: self.phase in ("request", "continue", "body"))
    @rule()
    def cut_off(self) -> None:
        assert self.last is not None
        self.real.cut_off(self.last, OSError())
        self.phase = "cut"

    @rule(count=st.integers(0, 4))
    def write(self, count: int) -> None:
        error: type[Exception] | None = None
        if self.broken or self.phase == "cut":
            error = ConnectionClosed
        elif self.phase != "body":
            error = StateError
        elif self.left is not None and count > self.left:
            error = ExcessBodyData
        if self.expect(error, lambda: self.real.check_write(count)):
            assert self.last is not None
            self.real.body_sent(self.last, count)
            if self.left is not None:
                self.left -= count
                self.phase = "idle" if self.left == 0 else "body"

    @rule()
    def end_body(self) -> None:
        finished = self.phase == "idle" and self.kind in ("length", "expect") and self.left == 0
        error: type[Exception] | None = None
        if finished:
            pass
        elif self.broken or self.phase == "cut":
            error = ConnectionClosed
        elif self.phase != "body" or self.left is not None:
            error = StateError
        if self.expect(error, lambda: self.real.check_end(False)) and not finished:
            assert self.last is not None
            self.real.body_sent(self.last, 0, last=True)
            self.phase = "idle"

    # Receiving.

    def refusal(self) -> type[Exception] | None:
        """What reading the next response must raise."""
        if self.broken:
            return ConnectionClosed
        if self.switched or self.reading is not None:
            return StateError
        if not self.waiting:
            return ConnectionClosed if self.phase == "cut" else StateError
        if self.waiting[0] is self.last and self.phase == "body":
            return StateError
        return ConnectionClosed if self.closed else None

    @rule()
    def next(self) -> None:
        if self.expect(self.refusal(), self.real.next):
            assert self.real.next() is self.waiting[0]

    def readable(self) -> bool:
        """Whether a head may come: not while the reader still waits for the sender."""
        awaits_sender = bool(self.waiting) and self.waiting[0] is self.last
        return self.refusal() is None and not (awaits_sender and self.phase == "request")

    @precondition(readable)
    @rule(status=st.sampled_from([100, 103]))
    def interim(self, status: int) -> None:
        response = HTTPResponse("", "/", status, "", Headers())
        awaited = status == 100 and self.phase == "continue" and self.waiting[0] is self.last
        assert self.real.received_interim(self.real.next(), response) is awaited
        if awaited:
            self.phase = "body"

    @precondition(readable)
    @rule(length=st.sampled_from([0, 5, None]), closes=st.booleans())
    def final(self, length: int | None, closes: bool) -> None:
        assert self.real.next() is self.waiting[0]
        refuses = self.waiting[0] is self.last and self.phase == "continue"
        self.answer(200, length, closes, refuses)

    @precondition(lambda self: self.phase in ("request", "body") and self.waiting == [self.last])
    @precondition(lambda self: self.reading is None and not self.switched)
    @precondition(lambda self: not (self.broken or self.closed))
    @rule(status=st.sampled_from([200, 413]), length=st.sampled_from([0, 5]), closes=st.booleans())
    def early_response(self, status: int, length: int, closes: bool) -> None:
        self.answer(status, length, closes, refuses=status == 413 or closes)

    def answer(self, status: int, length: int | None, closes: bool, refuses: bool) -> None:
        first = self.waiting[0]
        response = HTTPResponse("", "/", status, "", Headers())
        self.real.received_final(first, response, Framing(Delimiter.LENGTH, length, closes))
        if refuses:
            self.phase, closes = "refused", True
        closes = closes or first.closes
        assert response.will_close is closes
        self.closing = self.closing or closes
        self.reading = response
        if length == 0:
            self.response_complete()

    @precondition(lambda self: self.readable() and self.waiting[0].upgrades)
    @rule()
    def switch(self) -> None:
        response = HTTPResponse("", "/", 101, "", Headers())
        self.real.received_final(self.real.next(), response, Framing(Delimiter.SWITCH, 0, False))
        self.waiting.pop(0)
        self.switched = True

    @precondition(lambda self: self.reading is not None and not self.broken)
    @rule()
    def end_of_response(self) -> None:
        assert self.reading is not None
        self.real.body_ended(self.reading)
        self.response_complete()

    def response_complete(self) -> None:
        assert self.reading is not None
        self.closed = self.reading.will_close
        self.reading = None
        self.waiting.pop(0)

    @precondition(lambda self: len(self.waiting) > 1 or self.closing)
    @rule()
    def fail(self) -> None:
        self.real.fail(OSError())
        self.broken = True

    # What is always so.

    @invariant()
    def same(self) -> None:
        assert [*self.real.queue] == self.waiting
        assert self.real.pending is bool(self.waiting)
        assert self.real.body_pending is (self.phase in ("continue", "body"))
        assert (self.real.closing, self.real.closed) == (self.closing, self.closed)
        assert self.real.being_sent(self.last) is (self.phase == "request") if self.last else True
        assert self.real.is_cut_off(self.last) is (self.phase == "cut") if self.last else True


# Much ends everything (and `fail` is let loose only when there is something to lose), so runs are
# many and short rather than few and long.
Model.TestCase.settings = settings(max_examples=300, stateful_step_count=25, deadline=None)
TestModel = Model.TestCase
