"""The rest of a document whose beginning is there already (RFC 9110 sections 13.1.5 and 14).

Bytes of two versions of a document must never meet in one file. So the rest is asked for only if
something of the first response vouches for the version (a validator), and only with If-Range; and
what comes back is taken only if it says by itself that it is the rest of that very version. Some
servers know Range and ignore If-Range.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from hashlib import sha256

from ..protocol.messages import HTTPResponse
from .arguments import Document

#: Seconds that a document has to be older than its response for its date to be a strong validator
#: (RFC 9110 section 8.8.2.2), the two clocks being who knows whose.
_OLD_ENOUGH = 60

# Content-Range = range-unit SP ( range-resp / unsatisfied-range )   (RFC 9110 section 14.4)
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", re.IGNORECASE)
_UNSATISFIED_RANGE = re.compile(r"bytes \*/([0-9]{1,18})", re.IGNORECASE)

# entity-tag = [ weak ] opaque-tag   (RFC 9110 section 8.8.3), only the strong ones
_STRONG_ETAG = re.compile(r'"[!#-~\x80-\xff]*"')


@dataclass(frozen=True)
class Beginning:
    """What some bytes are the beginning of.

    Attributes:
        source: where they came from: see `source_of`.
        field: the name of the field that the validator is from, ``ETag`` or ``Last-Modified``.
        validator: its value.
        length: bytes of the whole document, if that is known.
    """

    source: str
    field: str
    validator: str
    length: int | None


def fingerprint(*parts: str) -> str:
    """Return what is the same only for the same *parts*, and tells nothing about them."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def source_of(document: Document) -> str:
    """Return a fingerprint of where a document is.

    The query does not count: those who redirect to a storage often sign it anew each time. That
    the same was asked for is for others to check.
    """
    return fingerprint(*map(str, document.server), document.target.partition("?")[0])


def beginning_of(response: HTTPResponse, source: str) -> Beginning | None:
    """Return what to remember of the first response; ``None`` if it cannot be continued."""
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
    """Return the fields that ask for what follows the first *offset* bytes."""
    return [("Range", f"bytes={offset}-"), ("If-Range", beginning.validator)]


class Answer(Enum):
    """What a response to a request with `range_fields` is."""

    REST = auto()  # what was asked for, or the first part of it
    WHOLE = auto()  # the whole document
    NOTHING_MISSING = auto()  # every byte is there already
    USELESS = auto()  # ask again without a range
    REFUSAL = auto()


def answer(response: HTTPResponse, beginning: Beginning, offset: int) -> Answer:
    """Judge the response to a request for what follows the first *offset* bytes."""
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
        return False  # another version. A date may be left out of a 206, an ETag may not
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
    """Return where an `Answer.REST` ends, and where the whole document does."""
    match = _CONTENT_RANGE.fullmatch(response.headers["Content-Range"] or "")
    assert match is not None
    return int(match[2]) + 1, int(match[3])
