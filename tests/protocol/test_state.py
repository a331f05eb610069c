"""The state machine: every row of its tables, every refusal, and what a failure tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dugong import (
    BodyFollowing,
    ConnectionClosed,
    ExcessBodyData,
    Headers,
    HTTPResponse,
    StateError,
    UnsupportedResponse,
)
from dugong.protocol.exchange import Exchange
from dugong.protocol.framing import Delimiter, Framing
from dugong.protocol.messages import Request
from dugong.protocol.request import NO_DEFAULTS, prepare
from dugong.protocol.state import ConnectionState
from dugong.protocol.states import RECEIVING, SENDING, Receiving, Sending
from tests.support.in_turn import in_turn

CAUSE = ConnectionClosed("cable cut")


def request(method: str = "GET", body: Any = None, expect: bool = False, **fields: str) -> Exchange:
    return prepare(Request(method, "/", fields, body), expect, NO_DEFAULTS)


def response(status: int = 200) -> HTTPResponse:
    return HTTPResponse("GET", "/", status, "", Headers())


class Machine:
    """`ConnectionState`, and the steps by which its users bring it from state to state."""

    def __init__(self) -> None:
        self.exchanges = ConnectionState()
        self.last: HTTPResponse = response()

    def accept(self, exchange: Exchange | None = None) -> Exchange:
        exchange = exchange or request()
        self.exchanges.accept(exchange)
        return exchange

    def send(self, exchange: Exchange | None = None) -> Exchange:
        exchange = self.accept(exchange)
        exchange.bytes_sent = len(exchange.head)
        self.exchanges.request_sent(exchange)
        return exchange

    def head(
        self,
        status: int = 200,
        length: int | None = 5,
        delimiter: Delimiter = Delimiter.LENGTH,
        closes: bool = False,
    ) -> HTTPResponse:
        self.last = response(status)
        framing = Framing(delimiter, length, closes)
        self.exchanges.received_final(self.exchanges.queue[0], self.last, framing)
        return self.last

    def body(self) -> None:
        self.exchanges.body_ended(self.last)

    def switch(self) -> None:
        self.send(request(Upgrade="x"))
        self.head(101, 0, Delimiter.SWITCH)

    def sent_with(self, body: Any, expect: bool = False) -> Exchange:
        return self.send(request("PUT", body, expect))


Steps = Callable[[Machine], object]


def cut_off(machine: Machine) -> None:
    machine.exchanges.cut_off(machine.accept(), CAUSE)


def reading(machine: Machine) -> None:
    machine.send()
    machine.head()


def refused(machine: Machine) -> None:
    machine.sent_with(BodyFollowing(5), expect=True)
    machine.head(417)


#: How to get into each state of sending.
TO_SENDING: dict[Sending, Steps] = {
    Sending.READY: lambda machine: None,
    Sending.REQUEST: Machine.accept,
    Sending.CONTINUE: lambda machine: machine.sent_with(BodyFollowing(5), expect=True),
    Sending.REQUEST_BODY: lambda machine: machine.sent_with(BodyFollowing(5)),
    Sending.REFUSED: refused,
    Sending.CUT_OFF: cut_off,
}

#: How to get into each state of receiving.
TO_RECEIVING: dict[Receiving, Steps] = {
    Receiving.HEAD: Machine.send,
    Receiving.RESPONSE_BODY: reading,
    Receiving.SWITCHED: Machine.switch,
    Receiving.FAILED: lambda machine: machine.exchanges.fail(CAUSE),
}


def current(machine: Machine) -> Exchange:
    assert machine.exchanges.current is not None
    return machine.exchanges.current


def finish_request(body: Any, expect: bool = False) -> Steps:
    def act(machine: Machine) -> None:
        machine.exchanges.withdraw(current(machine))
        machine.sent_with(body, expect)

    return act


def answer_and_switch(machine: Machine) -> None:
    machine.head(204, 0)
    machine.switch()


#: Each row of `SENDING`: what brings it about.
SENDING_ROWS: dict[tuple[Sending, str], Steps] = {
    (Sending.READY, "accepted"): Machine.accept,
    (Sending.REQUEST, "withdrawn"): lambda m: m.exchanges.withdraw(current(m)),
    (Sending.REQUEST, "sent"): lambda m: m.exchanges.request_sent(current(m)),
    (Sending.REQUEST, "sent, body follows"): finish_request(BodyFollowing()),
    (Sending.REQUEST, "sent, 100 awaited"): finish_request(BodyFollowing(), expect=True),
    (Sending.REQUEST, "final response"): lambda m: m.head(413),
    (Sending.REQUEST, "cut off"): lambda m: m.exchanges.cut_off(current(m), CAUSE),
    (Sending.CONTINUE, "100"): lambda m: m.exchanges.received_interim(current(m), response(100)),
    (Sending.CONTINUE, "time passed"): lambda m: m.exchanges.go_ahead(),
    (Sending.CONTINUE, "final response"): Machine.head,
    (Sending.CONTINUE, "cut off"): lambda m: m.exchanges.cut_off(current(m), CAUSE),
    (Sending.CUT_OFF, "response after all"): lambda m: m.exchanges.answered_after_all(),
    (Sending.REQUEST_BODY, "sent"): lambda m: m.exchanges.body_sent(current(m), 5),
    (Sending.REQUEST_BODY, "final response"): lambda m: m.head(413),
    (Sending.REQUEST_BODY, "cut off"): lambda m: m.exchanges.cut_off(current(m), CAUSE),
}

#: Each row of `RECEIVING`.
RECEIVING_ROWS: dict[tuple[Receiving, str], Steps] = {
    (Receiving.HEAD, "head, body follows"): Machine.head,
    (Receiving.HEAD, "head, switches"): answer_and_switch,
    (Receiving.HEAD, "failed"): lambda m: m.exchanges.fail(CAUSE),
    (Receiving.RESPONSE_BODY, "end of body"): Machine.body,
    (Receiving.RESPONSE_BODY, "failed"): lambda m: m.exchanges.fail(CAUSE),
    (Receiving.SWITCHED, "failed"): lambda m: m.exchanges.fail(CAUSE),
}


def test_rows_are_all_there_are() -> None:
    assert SENDING_ROWS.keys() == {(state, event) for state in SENDING for event in SENDING[state]}
    rows = {(state, event) for state in RECEIVING for event in RECEIVING[state]}
    assert RECEIVING_ROWS.keys() == rows
    assert SENDING.keys() == set(Sending)
    assert RECEIVING.keys() == set(Receiving)


@pytest.mark.parametrize(("state", "event"), SENDING_ROWS)
def test_sending_row(state: Sending, event: str) -> None:
    machine = Machine()
    TO_SENDING[state](machine)
    assert machine.exchanges.sending is state
    SENDING_ROWS[state, event](machine)
    assert machine.exchanges.sending is SENDING[state][event]
    pending = (Sending.CONTINUE, Sending.REQUEST_BODY)
    assert machine.exchanges.body_pending is (SENDING[state][event] in pending)


@pytest.mark.parametrize(("state", "event"), RECEIVING_ROWS)
def test_receiving_row(state: Receiving, event: str) -> None:
    machine = Machine()
    TO_RECEIVING[state](machine)
    assert machine.exchanges.receiving is state
    RECEIVING_ROWS[state, event](machine)
    assert machine.exchanges.receiving is RECEIVING[state][event]


# ------------------------------------------------------------------------------- refusals

ACCEPT: Steps = Machine.accept
WRITE: Steps = lambda machine: machine.exchanges.check_write(1)  # noqa: E731
END: Steps = lambda machine: machine.exchanges.check_end(False)  # noqa: E731
NEXT: Steps = lambda machine: machine.exchanges.next()  # noqa: E731

#: In each state of sending: what accept, check_write, check_end and next raise, None for nothing.
BY_SENDING: dict[Sending, tuple[type[Exception] | None, ...]] = {
    Sending.READY: (None, StateError, StateError, StateError),
    # The caller of accept has the turn to send, so what is being sent was abandoned.
    Sending.REQUEST: (None, StateError, StateError, None),
    Sending.CONTINUE: (StateError, StateError, StateError, None),
    Sending.REQUEST_BODY: (StateError, None, StateError, StateError),
    Sending.REFUSED: (StateError, StateError, StateError, StateError),
    Sending.CUT_OFF: (ConnectionClosed, ConnectionClosed, ConnectionClosed, None),
}
BY_RECEIVING: dict[Receiving, tuple[type[Exception] | None, ...]] = {
    Receiving.HEAD: (None, StateError, StateError, None),
    Receiving.RESPONSE_BODY: (None, StateError, StateError, StateError),
    Receiving.SWITCHED: (StateError, StateError, StateError, StateError),
    Receiving.FAILED: (ConnectionClosed,) * 4,
}
CALLS = {"accept": ACCEPT, "check_write": WRITE, "check_end": END, "next": NEXT}


@in_turn("call", CALLS)
@in_turn("state", [*Sending, *Receiving], ids=str)
def test_what_is_allowed_when(state: Sending | Receiving, call: str) -> None:
    machine = Machine()
    column = list(CALLS).index(call)
    if isinstance(state, Sending):
        TO_SENDING[state](machine)
        expected = BY_SENDING[state][column]
    else:
        TO_RECEIVING[state](machine)
        expected = BY_RECEIVING[state][column]
    before = (machine.exchanges.sending, machine.exchanges.receiving, len(machine.exchanges.queue))
    if expected is None:
        CALLS[call](machine)
        return
    with pytest.raises(expected) as info:
        CALLS[call](machine)
    assert type(info.value) is expected
    exchanges = machine.exchanges
    assert (exchanges.sending, exchanges.receiving, len(exchanges.queue)) == before
    if expected is ConnectionClosed:
        assert info.value.__cause__ is CAUSE


@pytest.mark.parametrize(
    ("body", "count", "error"),
    [
        (BodyFollowing(5), 5, None),
        (BodyFollowing(5), 6, ExcessBodyData),
        (BodyFollowing(), 1 << 40, None),
    ],
)
def test_body_as_announced(body: BodyFollowing, count: int, error: type[Exception] | None) -> None:
    machine = Machine()
    exchange = machine.sent_with(body)
    if error is None:
        assert machine.exchanges.check_write(count) is exchange
    else:
        with pytest.raises(error):
            machine.exchanges.check_write(count)


def test_body_of_known_length_ends_with_its_last_byte() -> None:
    machine = Machine()
    exchange = machine.sent_with(BodyFollowing(5))
    machine.exchanges.body_sent(exchange, 3)
    with pytest.raises(StateError, match="2 bytes"):
        machine.exchanges.check_end(False)
    with pytest.raises(ExcessBodyData):
        machine.exchanges.check_write(3)
    machine.exchanges.body_sent(exchange, 2)
    assert not machine.exchanges.body_pending
    assert machine.exchanges.check_end(False) is None
    machine.accept()


def test_end_of_a_body_whose_request_was_answered_early() -> None:
    machine = Machine()
    exchange = machine.sent_with(BodyFollowing(5))
    machine.head(200, 0)
    assert not machine.exchanges.pending
    machine.exchanges.body_sent(exchange, 5)
    assert machine.exchanges.check_end(False) is None


def test_chunked_body_ends_when_told() -> None:
    machine = Machine()
    exchange = machine.sent_with(BodyFollowing())
    machine.exchanges.body_sent(exchange, 3)
    assert machine.exchanges.check_end(True) is exchange
    machine.exchanges.body_sent(exchange, 0, last=True)
    assert not machine.exchanges.body_pending
    with pytest.raises(StateError):
        machine.exchanges.check_end(False)


@pytest.mark.parametrize("left", [5, 0])
def test_trailers_need_chunks(left: int) -> None:
    machine = Machine()
    exchange = machine.sent_with(BodyFollowing(5))
    machine.exchanges.body_sent(exchange, 5 - left)
    with pytest.raises(ValueError):
        machine.exchanges.check_end(True)


def test_empty_body_is_finished_at_once() -> None:
    machine = Machine()
    machine.sent_with(BodyFollowing(0), expect=True)
    assert not machine.exchanges.body_pending
    assert machine.exchanges.check_end(False) is None
    machine.exchanges.next()


@pytest.mark.parametrize("asked", [True, False])
def test_switching_protocols_has_to_be_asked_for(asked: bool) -> None:
    machine = Machine()
    machine.send(request(Upgrade="x") if asked else request())
    if asked:
        machine.head(101, 0, Delimiter.SWITCH)
        assert machine.exchanges.receiving is Receiving.SWITCHED
        return
    with pytest.raises(UnsupportedResponse) as info:
        machine.head(101, 0, Delimiter.SWITCH)
    assert info.value.response is machine.last
