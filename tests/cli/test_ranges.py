"""Rests of documents: what is taken for one."""

from __future__ import annotations

import pytest

from dugong import Headers, HTTPResponse
from dugong.cli.arguments import url
from dugong.cli.ranges import (
    Answer,
    Beginning,
    answer,
    beginning_of,
    extent,
    fingerprint,
    range_fields,
    source_of,
)
from tests.support.in_turn import in_turn

ETAG = ("ETag", '"a-1"')
OLD = ("Last-Modified", "Tue, 24 Nov 2026 10:00:00 GMT")
LATER = ("Date", "Tue, 24 Nov 2026 10:01:00 GMT")
TOO_SOON = ("Date", "Tue, 24 Nov 2026 10:00:59 GMT")

BY_ETAG = Beginning("here", *ETAG, 100)
BY_DATE = Beginning("here", *OLD, 100)


def response(status: int, *fields: tuple[str, str], length: int | None = None) -> HTTPResponse:
    return HTTPResponse("GET", "/", status, "", Headers(fields), length)


@in_turn(
    ("fields", "validator"),
    [
        ([ETAG], ETAG),
        ([OLD, LATER, ETAG], ETAG),
        ([("ETag", '""')], ("ETag", '""')),
        ([("ETag", 'W/"a-1"')], None),
        ([("ETag", "a-1")], None),
        ([("ETag", '"a"b"')], None),
        ([("ETag", 'W/"a-1"'), OLD, LATER], OLD),
        ([OLD, LATER], OLD),
        ([OLD, TOO_SOON], None),
        ([OLD], None),
        ([OLD, ("Date", "today")], None),
        ([("Last-Modified", "recently"), LATER], None),
        ([OLD, ("Date", "Tue, 24 Nov 2026 10:01:00 -0000")], None),
        ([], None),
    ],
)
def test_beginning(fields: list[tuple[str, str]], validator: tuple[str, str] | None) -> None:
    expected = None if validator is None else Beginning("here", *validator, 7)
    assert beginning_of(response(200, *fields, length=7), "here") == expected


def test_request() -> None:
    assert range_fields(BY_ETAG, 10) == [("Range", "bytes=10-"), ("If-Range", '"a-1"')]


@in_turn(
    ("status", "fields", "length", "expected"),
    [
        (206, [ETAG, ("Content-Range", "bytes 10-99/100")], 90, Answer.REST),
        (206, [ETAG, ("Content-Range", "BYTES 10-99/100")], None, Answer.REST),
        (206, [ETAG, ("Content-Range", "bytes 10-19/100")], 10, Answer.REST),
        (206, [ETAG, ("Content-Range", "bytes 11-99/100")], 89, Answer.USELESS),
        (206, [ETAG, ("Content-Range", "bytes 9-99/100")], 91, Answer.USELESS),
        (206, [ETAG, ("Content-Range", "bytes 10-99/100")], 89, Answer.USELESS),
        (206, [ETAG, ("Content-Range", "bytes 10-99/101")], 90, Answer.USELESS),
        (206, [ETAG, ("Content-Range", "bytes 10-100/100")], 91, Answer.USELESS),
        (206, [ETAG, ("Content-Range", "bytes 10-9/100")], 0, Answer.USELESS),
        (206, [ETAG, ("Content-Range", "bytes 10-99/*")], 90, Answer.USELESS),
        (206, [ETAG, ("Content-Range", "bytes 10-99")], 90, Answer.USELESS),
        (206, [ETAG, ("Content-Range", "bytes=10-99/100")], 90, Answer.USELESS),
        (206, [ETAG, ("Content-Range", "bytes 1\u0660-99/100")], 90, Answer.USELESS),
        (206, [ETAG, *[("Content-Range", "bytes 10-99/100")] * 2], 90, Answer.USELESS),
        (206, [ETAG], 90, Answer.USELESS),
        (206, [("Content-Range", "bytes 10-99/100")], 90, Answer.USELESS),
        (206, [("ETag", '"a-2"'), ("Content-Range", "bytes 10-99/100")], 90, Answer.USELESS),
        (206, [("ETag", 'W/"a-1"'), ("Content-Range", "bytes 10-99/100")], 90, Answer.USELESS),
        (200, [ETAG], 100, Answer.WHOLE),
        (204, [], 0, Answer.WHOLE),
        (416, [("Content-Range", "bytes */100")], 0, Answer.USELESS),
        (416, [], 0, Answer.USELESS),
        (304, [], 0, Answer.REFUSAL),
        (404, [], 0, Answer.REFUSAL),
        (503, [ETAG, ("Content-Range", "bytes 10-99/100")], 90, Answer.REFUSAL),
    ],
)
def test_answer(
    status: int, fields: list[tuple[str, str]], length: int | None, expected: Answer
) -> None:
    assert answer(response(status, *fields, length=length), BY_ETAG, 10) is expected


def test_date_may_be_left_out_but_not_be_another() -> None:
    fields = [("Content-Range", "bytes 10-99/100")]
    assert answer(response(206, *fields), BY_DATE, 10) is Answer.REST
    assert answer(response(206, *fields, OLD), BY_DATE, 10) is Answer.REST
    other = ("Last-Modified", "Tue, 24 Nov 2026 10:00:01 GMT")
    assert answer(response(206, *fields, other), BY_DATE, 10) is Answer.USELESS


@pytest.mark.parametrize(
    ("length", "offset", "said", "expected"),
    [
        (100, 100, "bytes */100", Answer.NOTHING_MISSING),
        (100, 100, "bytes */101", Answer.USELESS),
        (100, 100, "bytes 0-99/100", Answer.USELESS),
        (None, 100, "bytes */100", Answer.USELESS),
        (100, 99, "bytes */99", Answer.USELESS),
    ],
)
def test_nothing_missing(length: int | None, offset: int, said: str, expected: Answer) -> None:
    beginning = Beginning("here", *ETAG, length)
    assert answer(response(416, ("Content-Range", said)), beginning, offset) is expected


def test_unknown_length() -> None:
    beginning = Beginning("here", *ETAG, None)
    rest = response(206, ETAG, ("Content-Range", "bytes 10-19/55"), length=10)
    assert answer(rest, beginning, 10) is Answer.REST
    assert extent(rest) == (20, 55)


def test_source() -> None:
    here = source_of(url("http://a/b/c?signed=1"))
    assert here == source_of(url("http://a/b/c?signed=2#x"))
    others = ["https://a/b/c", "http://b/b/c", "http://a:81/b/c", "http://a/b/d", "http://a/b/"]
    assert len({here, *(source_of(url(other)) for other in others)}) == 1 + len(others)
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
