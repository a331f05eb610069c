"""Redirects: the next method, URL, body and fields."""

from __future__ import annotations

from typing import Any

import pytest

from dugong import Headers, InvalidRequest
from dugong.client.redirects import LIMIT, Hop, Redirects, check_redirects, follow
from dugong.client.url import parse
from dugong.errors import RedirectError
from tests.support.in_turn import in_turn

FOLLOWED = [301, 302, 303, 307, 308]


def step(
    status: int = 302,
    location: str | list[str] = "/b",
    *,
    policy: Redirects | None = None,
    url: str = "https://h/a",
    method: str = "GET",
    replayable: bool = True,
    **rest: Any,
) -> Hop | None:
    hop = Hop(method, parse(url), **rest)
    locations = [location] if isinstance(location, str) else location
    headers = Headers([("Location", value) for value in locations])
    policy = policy or Redirects()
    return follow(policy, hop, status, headers, replayable=replayable, response="response")


def followed(*args: Any, **kwargs: Any) -> Hop:
    hop = step(*args, **kwargs)
    assert hop is not None
    return hop


@pytest.mark.parametrize("status", FOLLOWED)
def test_followed(status: int) -> None:
    hop = followed(status)
    assert (str(hop.url), hop.method, hop.number, hop.trusted) == ("https://h/b", "GET", 1, True)


@in_turn("status", [200, 201, 204, 300, 304, 305, 306, 309, 399, 400, 404, 500])
def test_not_followed(status: int) -> None:
    assert step(status) is None


@pytest.mark.parametrize("status", FOLLOWED)
def test_without_location(status: int) -> None:
    assert step(status, []) is None


#: The status, the method, the next method, and whether the body is kept.
METHODS = [
    *((status, method, method, True)
      for status in (301, 302) for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "post")),
    (301, "POST", "GET", False), (302, "POST", "GET", False),
    *((303, method, "GET", False) for method in ("GET", "POST", "PUT", "DELETE", "PATCH")),
    (303, "HEAD", "HEAD", False),
    *((status, method, method, True)
      for status in (307, 308) for method in ("GET", "HEAD", "POST", "PUT", "PATCH")),
]  # fmt: skip


@in_turn(("status", "method", "expected", "keeps"), METHODS)
def test_methods_and_bodies(status: int, method: str, expected: str, keeps: bool) -> None:
    fields = (
        ("Content-Type", "x/y"), (b"CONTENT-LENGTH", 3), ("Transfer-Encoding", "chunked"),
        ("Expect", "100-continue"), ("Digest", "x"), ("Repr-Digest", "x"), ("Trailer", "x"),
        ("Accept", "z"), ("X-Content-Type", "kept"),
    )  # fmt: skip
    hop = followed(status, method=method, fields=fields, has_body=True)
    assert (hop.method, hop.has_body) == (expected, keeps)
    assert hop.fields == (fields if keeps else fields[-2:])


def test_fields_without_a_body() -> None:
    fields = (("Content-Type", "x/y"),)
    assert followed(302, fields=fields).fields == fields
    assert followed(303, fields=fields).fields == ()


@pytest.mark.parametrize(("status", "method"), [(307, "POST"), (308, "PUT"), (302, "PUT")])
def test_a_body_that_cannot_be_sent_again(status: int, method: str) -> None:
    with pytest.raises(RedirectError, match="body") as info:
        step(status, method=method, has_body=True, replayable=False)
    assert info.value.response == "response"
    assert followed(status, method=method, has_body=False, replayable=False).method == method
    assert followed(303, method=method, has_body=True, replayable=False).has_body is False


# ----------------------------------------------------------------------------------- targets


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("x?y", "https://h/x?y#f"),
        ("", "https://h/a?q#f"),
        ("#g", "https://h/a?q#g"),
        ("//other/b", "https://other/b#f"),
        ("https://h:443/b", "https://h/b#f"),
        ("https://u:p@h/b", "https://h/b#f"),
    ],
)
def test_targets(location: str, expected: str) -> None:
    hop = followed(location=location, url="https://u:p@h/a?q#f")
    assert str(hop.url) == expected
    assert hop.url.credentials is None


@in_turn(
    "location",
    [
        "ftp://h/",
        "http:b",
        "https://",
        "/\\other",
        "//u:s3cret@h:x/",
        "javascript:alert(1)",
        "//h:0",
    ],
)
@in_turn("status", FOLLOWED)
def test_invalid_location(status: int, location: str) -> None:
    with pytest.raises(RedirectError, match=f"the {status} response has no valid Location") as info:
        step(status, location)
    assert info.value.response == "response"
    assert "s3cret" not in str(info.value)


def test_several_locations() -> None:
    assert str(followed(location=["/b", "/b"]).url) == "https://h/b"
    with pytest.raises(RedirectError, match="several"):
        step(location=["/b", "/c"])


def test_downgrade() -> None:
    with pytest.raises(RedirectError, match="from https to http"):
        step(location="http://h/b")
    hop = followed(location="http://h/b", policy=Redirects(downgrade=True))
    assert not hop.trusted
    assert not followed(url="http://h/a", location="https://h/b").trusted


def test_limit() -> None:
    assert followed(number=LIMIT - 1).number == LIMIT
    with pytest.raises(RedirectError, match="more than 10 redirects"):
        step(number=LIMIT)
    with pytest.raises(RedirectError, match="more than 0"):
        step(policy=Redirects(0))


# ------------------------------------------------------------------------------- credentials

SECRETS = (
    ("Authorization", "Basic x"), (b"COOKIE", "a=b"), ("proxy-authorization", "y"),
    ("Host", "h"),
)  # fmt: skip
HARMLESS = (("Accept", "z"), ("X-Token", "forwarded"), ("User-Agent", None))


@pytest.mark.parametrize(
    "location",
    ["https://other/", "//other/", "https://h:444/", "https://sub.h/", "https://h./", "http://h/"],
)
def test_another_origin_gets_no_credentials(location: str) -> None:
    policy = Redirects(downgrade=True)
    hop = followed(location=location, fields=SECRETS + HARMLESS, policy=policy)
    assert hop.fields == HARMLESS
    assert not hop.trusted


@pytest.mark.parametrize("location", ["/b", "https://h:443/b", "https://H/b", "?q"])
def test_the_same_origin_gets_them(location: str) -> None:
    hop = followed(location=location, fields=SECRETS + HARMLESS)
    assert hop.fields == SECRETS + HARMLESS
    assert hop.trusted


def test_there_and_back() -> None:
    first = Hop("GET", parse("https://a/"), SECRETS)
    policy = Redirects()
    there = follow(policy, first, 302, Headers([("Location", "https://b/")]))
    assert there is not None
    back = follow(policy, there, 302, Headers([("Location", "https://a/")]))
    assert back is not None
    assert (back.url, back.fields, back.trusted) == (first.url, (), False)
    again = follow(policy, back, 302, Headers([("Location", "/x")]))
    assert again is not None
    assert not again.trusted


# --------------------------------------------------------------------------------- arguments


def test_arguments() -> None:
    assert check_redirects(None) is None
    policy = Redirects(limit=3, downgrade=True)
    assert check_redirects(policy) is policy
    number = check_redirects(5)
    assert number is not None
    assert (number.limit, number.downgrade) == (5, False)
    assert repr(policy) == "Redirects(limit=3, downgrade=True)"


@pytest.mark.parametrize("value", [True, False, "10", 1.5, [1]])
def test_arguments_of_the_wrong_kind(value: Any) -> None:
    with pytest.raises(TypeError, match="redirects"):
        check_redirects(value)
    with pytest.raises(TypeError, match="limit"):
        Redirects(value)
    with pytest.raises(TypeError, match="downgrade"):
        Redirects(downgrade=1)  # type: ignore[arg-type]


def test_a_negative_limit() -> None:
    with pytest.raises(InvalidRequest, match="at least 0"):
        check_redirects(-1)
    with pytest.raises(InvalidRequest, match="at least 0"):
        Redirects(-1)
