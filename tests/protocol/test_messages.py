"""The values users meet."""

from __future__ import annotations

import pytest

from dugong import BodyFollowing, Headers, HTTPResponse, Request
from dugong.protocol.messages import IDEMPOTENT_METHODS


@pytest.mark.parametrize(
    ("body", "length", "shown"),
    [
        (BodyFollowing(), None, "BodyFollowing()"),
        (BodyFollowing(None), None, "BodyFollowing()"),
        (BodyFollowing(0), 0, "BodyFollowing(0)"),
        (BodyFollowing(length=1 << 40), 1 << 40, f"BodyFollowing({1 << 40})"),
    ],
)
def test_body_following(body: BodyFollowing, length: int | None, shown: str) -> None:
    assert body.length == length
    assert repr(body) == shown


@pytest.mark.parametrize(("length", "error"), [(-1, ValueError), ("5", TypeError)])
def test_body_of_no_length(length: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        BodyFollowing(length)


def test_request() -> None:
    request = Request("PUT", "/x", {"A": "b"}, b"body")
    assert (request.method, request.path) == ("PUT", "/x")
    assert (request.headers, request.body) == ({"A": "b"}, b"body")
    assert (Request("GET", "/").headers, Request("GET", "/").body) == (None, None)
    assert repr(request) == "<Request PUT /x>"


def test_response() -> None:
    headers = Headers([("A", "b")])
    response = HTTPResponse("GET", "/x", 404, "Not Found", headers, 7)
    assert (response.method, response.path) == ("GET", "/x")
    assert (response.status, response.reason, response.length) == (404, "Not Found", 7)
    assert response.headers is headers
    assert (response.version, response.will_close) == ("1.1", False)
    assert repr(response) == "<HTTPResponse 404 Not Found>"


def test_responses_share_nothing_that_can_change() -> None:
    one, two = (HTTPResponse("GET", "/", 200, "", Headers()) for _ in range(2))
    one.informational.append(two)
    assert two.informational == []
    assert len(one.trailers) == 0


def test_idempotent_methods() -> None:
    """RFC 9110 section 9.2.2; a method that is not known is not idempotent."""
    assert {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"} == IDEMPOTENT_METHODS
