"""The exceptions that only the client raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dugong import DugongError, Headers, HTTPResponse, is_temp_network_error
from dugong.errors import RedirectError, StatusError
from tests.support.copies import every_way
from tests.support.in_turn import in_turn


def not_found() -> HTTPResponse:
    return HTTPResponse("GET", "/", 404, "Not Found", Headers([("A", "b")]))


@in_turn(
    ("exc", "text"),
    [
        (RedirectError("too many", not_found()), "too many"),
        (
            StatusError(404, "Not Found", "http://h/a", not_found(), b"body"),
            "404 Not Found for http://h/a",
        ),
        (StatusError(599, "", "http://h/a"), "599 for http://h/a"),
    ],
    ids=range(3),
)
@every_way
def test_copies(exc: DugongError, text: str, copied: Callable[[Any], Any]) -> None:
    exc.bytes_sent = 7
    got = copied(exc)
    assert str(got) == str(exc) == text
    assert type(got) is type(exc)
    assert (got.bytes_sent, got.response_started, got.safe_to_retry) == (7, False, False)
    assert got.unanswered == ()
    plain = {name: value for name, value in vars(exc).items() if name != "response"}
    assert {name: value for name, value in vars(got).items() if name != "response"} == plain
    if getattr(exc, "response", None) is not None:
        response: Any = vars(got)["response"]
        assert response.status == 404
        assert response.headers == Headers([("A", "b")])


@pytest.mark.parametrize(
    "exc",
    [RedirectError(""), StatusError(503, "", "")],
    ids=range(2),
)
def test_none_of_them_is_transient(exc: DugongError) -> None:
    assert not is_temp_network_error(exc)
