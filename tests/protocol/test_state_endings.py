"""ConnectionState that end: in order, announced, cut off, failed; and what a failure then tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dugong import (
    BodyFollowing,
    ConnectionClosed,
    Headers,
    HTTPResponse,
    InvalidResponse,
    StateError,
)
from dugong.protocol.exchange import Exchange
from dugong.protocol.framing import Delimiter, Framing
from dugong.protocol.messages import Request
from dugong.protocol.request import NO_DEFAULTS, prepare
from dugong.protocol.state import ConnectionState
from dugong.protocol.states import Receiving, Sending

CAUSE = ConnectionClosed("cable cut")


def accept(
    exchanges: ConnectionState, method: str = "GET", body: Any = None, **fields: str
) -> Exchange:
    target = "h:443" if method == "CONNECT" else f"/{len(exchanges.queue)}"
    return accepted(exchanges, prepare(Request(method, target, fields, body), False, NO_DEFAULTS))


def accepted(exchanges: ConnectionState, exchange: Exchange) -> Exchange:
    exchanges.accept(exchange)
    return exchange


def send(
    exchanges: ConnectionState, method: str = "GET", body: Any = None, **fields: str
) -> Exchange:
    exchange = accept(exchanges, method, body, **fields)
    exchange.bytes_sent = len(exchange.head)
    exchanges.request_sent(exchange)
    return exchange


def answer(exchanges: ConnectionState, length: int = 0, closes: bool = False) -> HTTPResponse:
    response = HTTPResponse("GET", "/", 200, "", Headers())
    framing = Framing(Delimiter.LENGTH, length, closes)
    exchanges.received_final(exchanges.next(), response, framing)
    return response


def test_responses_come_in_the_order_of_the_requests() -> None:
    """RFC 9112 section 9.3.2."""
    exchanges = ConnectionState()
    first, second, third = (send(exchanges) for _ in range(3))
    assert [*exchanges.queue] == [first, second, third]
    response = answer(exchanges, 5)
    assert exchanges.queue[0] is first, "its body is still to come"
    exchanges.body_ended(response)
    assert exchanges.next() is second
    answer(exchanges)
    assert exchanges.next() is third
    answer(exchanges)
    assert not exchanges.pending


def test_response_is_told_what_came_before_it() -> None:
    exchanges = ConnectionState()
    exchange = send(exchanges)
    hints = HTTPResponse("GET", "/", 103, "", Headers())
    assert not exchanges.received_interim(exchange, hints)
    assert exchanges.next() is exchange
    send(exchanges)
    response = answer(exchanges, 0)
    assert (response.informational, response.length) == ([hints], 0)
    assert answer(exchanges).informational == []


def test_only_the_100_that_is_awaited_is_taken_for_it() -> None:
    exchanges = ConnectionState()
    first = send(exchanges)
    body = BodyFollowing(5)
    second = accepted(exchanges, prepare(Request("PUT", "/", None, body), True, NO_DEFAULTS))
    exchanges.request_sent(second)
    word = HTTPResponse("GET", "/", 100, "", Headers())
    assert not exchanges.received_interim(first, word)
    assert exchanges.body_pending
    with pytest.raises(StateError, match="has not accepted the body"):
        exchanges.check_write(1)
    answer(exchanges)
    assert not exchanges.received_interim(second, HTTPResponse("PUT", "/", 102, "", Headers()))
    assert exchanges.received_interim(second, word)
    assert exchanges.check_write(1) is second
    assert not exchanges.received_interim(second, word), "once is enough"


@pytest.mark.parametrize("by", ["client", "server"])
def test_announced_end(by: str) -> None:
    """RFC 9112 section 9.6: no request after that, no response from behind it."""
    exchanges = ConnectionState()
    if by == "client":
        send(exchanges, Connection="close")
    else:
        send(exchanges)
        send(exchanges)
    response = answer(exchanges, 5, closes=by == "server")
    assert response.will_close
    assert exchanges.closing
    assert not exchanges.closed
    with pytest.raises(ConnectionClosed) as info:
        accept(exchanges)
    assert info.value.safe_to_retry
    assert len(info.value.unanswered) == (1 if by == "client" else 2)
    exchanges.body_ended(response)
    assert exchanges.closed
    with pytest.raises(ConnectionClosed if by == "server" else StateError):
        exchanges.next()


def test_announcement_outlives_earlier_responses() -> None:
    exchanges = ConnectionState()
    send(exchanges)
    send(exchanges, Connection="close")
    assert not answer(exchanges).will_close
    with pytest.raises(ConnectionClosed, match="announced"):
        accept(exchanges)
    assert answer(exchanges).will_close


def test_client_announces_only_by_what_was_sent() -> None:
    exchanges = ConnectionState()
    exchanges.withdraw(accept(exchanges, Connection="close"))
    assert not exchanges.closing
    send(exchanges)
    assert not answer(exchanges).will_close


def test_refusal_of_a_body_ends_the_connection() -> None:
    """Nobody knows whether the server still waits for it (RFC 9110 section 10.1.1)."""
    exchanges = ConnectionState()
    exchanges.request_sent(
        accepted(exchanges, prepare(Request("PUT", "/", None, BodyFollowing(5)), True, NO_DEFAULTS))
    )
    response = answer(exchanges)
    assert exchanges.sending is Sending.REFUSED
    assert response.will_close
    assert exchanges.closed


def test_early_answer_to_an_earlier_request_refuses_nothing() -> None:
    exchanges = ConnectionState()
    send(exchanges)
    exchanges.request_sent(
        accepted(exchanges, prepare(Request("PUT", "/", None, BodyFollowing(5)), True, NO_DEFAULTS))
    )
    assert not answer(exchanges).will_close
    assert exchanges.sending is Sending.CONTINUE


def test_withdrawn_request_has_never_been() -> None:
    exchanges = ConnectionState()
    first = send(exchanges)
    second = accept(exchanges)
    assert exchanges.being_sent(second)
    assert not exchanges.being_sent(first)
    exchanges.withdraw(second)
    assert [*exchanges.queue] == [first]
    assert not exchanges.being_sent(second)
    assert send(exchanges).request.path == "/1"


def test_request_cut_off_ends_sending_alone() -> None:
    exchanges = ConnectionState()
    first, second = send(exchanges), accept(exchanges)
    exchanges.cut_off(second, CAUSE)
    assert (exchanges.is_cut_off(first), exchanges.is_cut_off(second)) == (False, True)
    assert exchanges.next() is first
    answer(exchanges)
    assert exchanges.next() is second, "its response may have arrived"
    refused: list[Callable[[], object]]
    refused = [lambda: accept(exchanges), lambda: exchanges.check_write(0)]
    for act in refused:
        with pytest.raises(ConnectionClosed, match="cable cut") as info:
            act()
        assert info.value.__cause__ is CAUSE
        assert info.value.safe_to_retry
        assert info.value.unanswered == (second.request,)
    answer(exchanges)
    with pytest.raises(ConnectionClosed) as info:
        exchanges.next()
    assert info.value.__cause__ is CAUSE


def test_receiving_fails_once_and_for_good() -> None:
    exchanges = ConnectionState()
    send(exchanges)
    exchanges.fail(CAUSE)
    exchanges.fail(ValueError("something later"))
    assert exchanges.failure is not None
    assert exchanges.failure.exc is CAUSE
    assert exchanges.receiving is Receiving.FAILED
    refused: list[Callable[[], object]]
    refused = [exchanges.next, exchanges.check_alive, lambda: exchanges.check_end(False)]
    for act in refused:
        with pytest.raises(ConnectionClosed) as info:
            act()
        assert info.value.__cause__ is CAUSE


def test_switched_connection_takes_no_more_requests() -> None:
    exchanges = ConnectionState()
    send(exchanges, "CONNECT")
    response = HTTPResponse("CONNECT", "h:443", 200, "", Headers())
    exchanges.received_final(exchanges.next(), response, Framing(Delimiter.SWITCH, 0, False))
    assert not exchanges.pending
    with pytest.raises(StateError, match="detach"):
        accept(exchanges)


# ------------------------------------------------------------------- what a failure tells


@pytest.mark.parametrize(
    ("method", "body", "sent", "touched", "safe"),
    [
        ("GET", None, 0, False, True),
        ("POST", b"x", 0, False, True),
        ("GET", None, 1, False, True),
        ("PUT", b"x", 1, False, True),
        ("DELETE", None, 1, False, True),
        ("POST", b"x", 1, False, False),
        ("PATCH", None, 1, False, False),
        ("X", None, 1, False, False),
        ("PUT", BodyFollowing(5), 1, False, True),
        ("PUT", BodyFollowing(5), 1, True, False),
        ("POST", BodyFollowing(5), 1, False, False),
    ],
)
def test_safe_to_retry(method: str, body: Any, sent: int, touched: bool, safe: bool) -> None:
    """None of it was sent; or it is idempotent, and its body is not consumed."""
    exchanges = ConnectionState()
    exchange = accept(exchanges, method, body)
    exchange.bytes_sent, exchange.body_touched = sent, touched
    assert exchange.safe_to_retry is safe


@pytest.mark.parametrize(
    "exc", [ConnectionClosed("x"), InvalidResponse("x"), OSError("x")], ids=repr
)
def test_describe(exc: Any) -> None:
    """The four attributes are of the exchange that failed; unanswered are all that wait."""
    exchanges = ConnectionState()
    first, second = send(exchanges), send(exchanges, "POST", b"abc")
    second.bytes_sent, second.response_started = 17, True
    exchanges.describe(exc, second)
    assert (exc.bytes_sent, exc.response_started, exc.safe_to_retry) == (17, True, False)
    assert exc.unanswered == (first.request, second.request)
    answer(exchanges)
    exchanges.describe(exc, second)
    assert exc.unanswered == (second.request,)
