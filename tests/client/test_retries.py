"""Retries: after which errors and responses, and when."""

from __future__ import annotations

import math
import ssl
from email.utils import formatdate
from typing import Any

import pytest

from dugong import (
    ConnectionClosed,
    ConnectionTimedOut,
    DNSUnavailable,
    Headers,
    HostnameNotResolvable,
    InvalidRequest,
    InvalidResponse,
)
from dugong.client.retries import Retry, check_retries, must_resend, parse_date, retry_after
from tests.support.in_turn import in_turn

NOW = 1_800_000_000.0
MIDDLE = 0.5


def chance() -> float:
    return MIDDLE


def error(
    kind: type[BaseException] = ConnectionClosed,
    *args: Any,
    safe: bool = True,
    started: bool = False,
) -> Any:
    exc: Any = kind(*args)
    exc.safe_to_retry = safe
    exc.response_started = started
    return exc


# ------------------------------------------------------------------------------------ errors


@in_turn(
    ("exc", "expected"),
    [
        (error(), True),
        (error(ConnectionTimedOut), True),
        (error(ConnectionRefusedError), True),
        (error(DNSUnavailable, "h"), True),
        (error(safe=False), False),
        (error(HostnameNotResolvable, "h"), False),
        (error(InvalidResponse, "x"), False),
        (error(ssl.SSLCertVerificationError), False),
        (error(ValueError), False),
        (ConnectionResetError(), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_errors(exc: BaseException, expected: bool) -> None:
    assert (Retry(1).after_error(exc, 0) is not None) is expected


def test_the_number_of_retries() -> None:
    policy = Retry(2)
    assert policy.after_error(error(), 1) is not None
    assert policy.after_error(error(), 2) is None
    assert Retry(0).after_error(error(), 0) is None
    headers = Headers()
    assert policy.after_response("GET", 503, headers, 1, now=NOW) is not None
    assert policy.after_response("GET", 503, headers, 2, now=NOW) is None


# --------------------------------------------------------------------------------- responses


@in_turn(
    ("method", "status", "expected"),
    [
        ("GET", 429, True), ("GET", 502, True), ("HEAD", 503, True), ("PUT", 504, True),
        ("DELETE", 503, True), ("OPTIONS", 503, True), ("POST", 503, False), ("PATCH", 429, False),
        ("get", 503, False), ("GET", 500, False), ("GET", 200, False), ("GET", 404, False),
        ("GET", 408, False),
    ],
)  # fmt: skip
def test_responses(method: str, status: int, expected: bool) -> None:
    delay = Retry(1).after_response(method, status, Headers(), 0, now=NOW)
    assert (delay is not None) is expected


def test_a_body_that_cannot_be_sent_again() -> None:
    assert Retry(1).after_response("PUT", 503, Headers(), 0, now=NOW, replayable=False) is None


def test_other_statuses() -> None:
    policy = Retry(1, statuses=[500])
    assert policy.after_response("GET", 500, Headers(), 0, now=NOW) is not None
    assert policy.after_response("GET", 503, Headers(), 0, now=NOW) is None


# ------------------------------------------------------------------------------------- delays


def test_delays_grow_to_a_limit() -> None:
    policy = Retry(9, backoff=1, max_wait=10)
    assert [policy.delay(number, lambda: 0.0) for number in range(6)] == [1, 2, 4, 8, 10, 10]
    assert [policy.delay(number, lambda: 1.0) for number in range(6)] == [0.5, 1, 2, 4, 5, 5]
    assert policy.delay(10**9, lambda: 0.0) == 10
    assert Retry(backoff=0).delay(5) == 0
    assert 0.25 <= Retry().delay(0) <= 0.5


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0", 0.75), ("1", 1.0), ("60", 60.0), ("61", None), ("9" * 30, None), ("soon", 0.75)],
)
def test_retry_after_makes_the_delay_longer(value: str, expected: float | None) -> None:
    headers = Headers([("Retry-After", value)])
    policy = Retry(1, backoff=1)
    delay = policy.after_response("GET", 503, headers, 0, now=NOW, chance=chance)
    assert delay == expected


def test_retry_after_beyond_a_custom_limit() -> None:
    headers = Headers([("Retry-After", "5")])
    assert Retry(1, max_wait=4).after_response("GET", 429, headers, 0, now=NOW) is None


@in_turn(
    ("value", "expected"),
    [
        ("0", 0.0), ("120", 120.0), (" 7\t", 7.0), ("007", 7.0), ("0" * 50, 0.0),
        ("1" * 10, math.inf), ("9" * 5000, math.inf), ("-1", None), ("+1", None), ("1.5", None),
        ("1_0", None), ("\xb2", None), ("", None), ("1, 2", None), ("never", None),
        (formatdate(NOW + 90, usegmt=True), 90.0), (formatdate(NOW - 90, usegmt=True), 0.0),
        ("Friday, 15-Jan-27 08:01:00 GMT", 60.0), ("Fri Jan 15 08:01:00 2027", 60.0),
        ("Fri, 99 Foo 2027 08:01:00 GMT", None), ("Fri, 15 Jan 99999999999 08:01:00 GMT", None),
    ],
)  # fmt: skip
def test_retry_after(value: str, expected: float | None) -> None:
    assert retry_after(Headers([("retry-after", value)]), NOW) == expected


def test_a_date_counts_from_the_clock_of_the_server() -> None:
    hour = 3600
    fields = [("Retry-After", formatdate(NOW + hour + 5, usegmt=True))]
    assert retry_after(Headers(fields), NOW) == hour + 5
    fields.append(("Date", formatdate(NOW + hour, usegmt=True)))
    assert retry_after(Headers(fields), NOW) == 5


def test_no_retry_after() -> None:
    assert retry_after(Headers(), NOW) is None


@pytest.mark.parametrize(
    "value", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
              "Sun Nov  6 08:49:37 1994"],
)  # fmt: skip
def test_dates(value: str) -> None:
    """The three formats of RFC 9110 section 5.6.7."""
    assert parse_date(value) == 784111777


# ------------------------------------------------------------------- stale reused connections


@pytest.mark.parametrize(
    ("exc", "reused", "expected"),
    [
        (error(), True, True),
        (error(), False, False),
        (error(safe=False), True, False),
        (error(started=True), True, False),
        (error(ConnectionTimedOut), True, False),
        (error(ConnectionRefusedError), True, False),
        (error(InvalidResponse, "x"), True, False),
    ],
    ids=range(7),
)
def test_must_resend(exc: BaseException, reused: bool, expected: bool) -> None:
    assert must_resend(exc, reused=reused) is expected


# --------------------------------------------------------------------------------- arguments


def test_arguments() -> None:
    assert check_retries(None) is None
    policy = Retry(2, {429}, 1, 5)
    assert check_retries(policy) is policy
    number = check_retries(4)
    assert number is not None
    assert (number.retries, sorted(number.statuses)) == (4, [429, 502, 503, 504])
    assert (number.backoff, number.max_wait) == (0.5, 60)
    assert repr(policy) == "Retry(retries=2, statuses=[429], backoff=1, max_wait=5)"


@pytest.mark.parametrize("value", [True, "3", 1.5, [3]])
def test_retries_of_the_wrong_kind(value: Any) -> None:
    with pytest.raises(TypeError, match="retries"):
        check_retries(value)
    with pytest.raises(TypeError, match="retries"):
        Retry(value)


@in_turn(
    ("arguments", "kind", "text"),
    [
        ({"retries": -1}, InvalidRequest, "retries"),
        ({"statuses": 503}, TypeError, "statuses"),
        ({"statuses": "503"}, TypeError, "statuses"),
        ({"statuses": [200]}, InvalidRequest, "4xx or 5xx"),
        ({"statuses": [True]}, TypeError, "statuses"),
        ({"backoff": -1}, InvalidRequest, "backoff"),
        ({"backoff": None}, TypeError, "backoff"),
        ({"backoff": math.nan}, InvalidRequest, "backoff"),
        ({"max_wait": "1"}, TypeError, "max_wait"),
        ({"max_wait": math.inf}, InvalidRequest, "max_wait"),
    ],
    ids=range(10),
)
def test_arguments_that_are_not_valid(
    arguments: dict[str, Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        Retry(**arguments)
