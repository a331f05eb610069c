"""Requests for the rest of a partial download (RFC 9110 sections 13.1.5 and 14).

A file must never contain bytes of two versions of a document. Hence these rules:

1. The rest is only requested if the first response has a strong validator, which identifies the
   version, and only with If-Range.
2. The response is only accepted if its own fields show that it is the rest of the same version,
   because some servers support Range and ignore If-Range.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from hashlib import sha256

from ..protocol.messages import HTTPResponse
from .arguments import Document

#: Seconds. If a document is at least that much older than its response, its date is a strong
#: validator (RFC 9110 section 8.8.2.2). The margin covers the difference of two unknown clocks.
_OLD_ENOUGH = 60

# Content-Range = range-unit SP ( range-resp / unsatisfied-range )   (RFC 9110 section 14.4)
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", re.IGNORECASE)
_UNSATISFIED_RANGE = re.compile(r"bytes \*/([0-9]{1,18})", re.IGNORECASE)

# entity-tag = [ weak ] opaque-tag   (RFC 9110 section 8.8.3), only the strong ones
_STRONG_ETAG = re.compile(r'"[!#-~\x80-\xff]*"')


@dataclass(frozen=True)
class Beginning:
    """Describes the document of which some bytes are the beginning.

    Attributes:
        source: where the bytes came from: see `source_of`.
        field: the name of the validator field, ``ETag`` or ``Last-Modified``.
        validator: the value of that field.
        length: the size of the whole document in bytes, ``None`` if it is unknown.
    """

    source: str
    field: str
    validator: str
    length: int | None


def fingerprint(*parts: str) -> str:
    """Return a hash of *parts*: only equal parts have the same, and it does not reveal them."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def source_of(document: Document) -> str:
    """Return a fingerprint of the location of a document.

    The query does not count, because redirects to storage servers often have a new signature in it
    each time. `PartFile` checks whether the request is the same.
    """
    return fingerprint(*map(str, document.server), document.target.partition("?")[0])


def beginning_of(response: HTTPResponse, source: str) -> Beginning | None:
    """Return the description of a document, ``None`` if its download cannot be resumed."""
    etag = response.headers["ETag"] or ""
    if _STRONG_ETAG.fullmatch(etag):
        return Beginning(source, "ETag", etag, response.length)
    date = response.headers["Last-Modified"]
    if date and _is_strong(date, response.headers["Date"]):
        return Beginning(source, "Last-Modified", date, response.length)
    return None


def _is_strong(last_modified: str, date: str | None) -> bool:
    try:
        age = parsedate_to_datetime(date or "") - parsedate_to_datetime(last_modified)
    except (TypeError, ValueError):  # no date, or one with a time zone and one without
        return False
    return age.total_seconds() >= _OLD_ENOUGH


def range_fields(beginning: Beginning, offset: int) -> list[tuple[str, str]]:
    """Return the fields that request the bytes from *offset* on."""
    return [("Range", f"bytes={offset}-"), ("If-Range", beginning.validator)]


class Answer(Enum):
    """The kinds of response to a request with `range_fields`."""

    REST = auto()  # the requested range, or the first part of it
    WHOLE = auto()  # the whole document
    NOTHING_MISSING = auto()  # all bytes have been received already
    USELESS = auto()  # the request has to be repeated without a range
    REFUSAL = auto()


def answer(response: HTTPResponse, beginning: Beginning, offset: int) -> Answer:
    """Classify the response to a request for the bytes from *offset* on."""
    if response.status == 206:
        return Answer.REST if _is_rest(response, beginning, offset) else Answer.USELESS
    if response.status == 416:
        match = _UNSATISFIED_RANGE.fullmatch(response.headers["Content-Range"] or "")
        all_there = match is not None and int(match[1]) == beginning.length == offset
        return Answer.NOTHING_MISSING if all_there else Answer.USELESS
    return Answer.WHOLE if 200 <= response.status < 300 else Answer.REFUSAL


def _is_rest(response: HTTPResponse, beginning: Beginning, offset: int) -> bool:
    headers = response.headers
    validators = headers.get_all(beginning.field, [])
    if validators != [beginning.validator] and (validators or beginning.field == "ETag"):
        # Another version. A 206 may leave out Last-Modified, but not ETag (RFC 9110, 15.3.7).
        return False
    ranges = headers.get_all("Content-Range", [])
    match = _CONTENT_RANGE.fullmatch(ranges[0]) if len(ranges) == 1 else None
    if match is None:
        return False
    first, last, complete = map(int, match.groups())
    if first != offset or not first <= last < complete:
        return False
    if beginning.length not in (None, complete):
        return False
    return response.length in (None, last - first + 1)


def extent(response: HTTPResponse) -> tuple[int, int]:
    """Return the end of the range in an `Answer.REST`, and the size of the whole document."""
    match = _CONTENT_RANGE.fullmatch(response.headers["Content-Range"] or "")
    assert match is not None
    return int(match[2]) + 1, int(match[3])
