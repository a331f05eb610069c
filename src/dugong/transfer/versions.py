"""Versions of a resource, and the parts of them that responses contain (RFC 9110 sections 13, 14).

A file must never contain bytes of two versions. Hence these rules:

1. A *version* is identified by a strong validator, and by its length if that is known. Without a
   strong validator, a download starts again from its first byte.
2. A range is only requested with a condition on the version: ``If-Range`` if the whole resource is
   as good, ``If-Match`` if not, because several connections fetch its parts.
3. The response is only accepted if its own fields show that it is the requested part of the same
   version, because some servers support ranges and ignore the conditions.
4. A response with a content coding is decoded, and is never resumed: the validator of a coding that
   a server applies on the fly does not identify the encoded bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..protocol.headers import Headers

#: Seconds. If a resource is at least that much older than its response, its date is a strong
#: validator (RFC 9110 section 8.8.2.2). The margin covers the difference of two unknown clocks.
OLD_ENOUGH = 60

# Content-Range = range-unit SP ( range-resp / unsatisfied-range )   (RFC 9110 section 14.4)
_CONTENT_RANGE = re.compile(
    r"bytes ([0-9]{1,18})-([0-9]{1,18})/(?:([0-9]{1,18})|\*)", re.IGNORECASE
)
_UNSATISFIED_RANGE = re.compile(r"bytes \*/([0-9]{1,18})", re.IGNORECASE)

# entity-tag = [ weak ] opaque-tag   (RFC 9110 section 8.8.3), only the strong ones
_STRONG_ETAG = re.compile(r'"[!#-~\x80-\xff]*"')


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a resource that can be resumed.

    Attributes:
        field: the name of the validator's field, ``ETag`` or ``Last-Modified``.
        validator: its value.
        length: the number of bytes of the whole resource, ``None`` if it is unknown.
    """

    field: str
    validator: str
    length: int | None

    @property
    def condition(self) -> str:
        """The field that makes a request fail unless the version is the same."""
        return "If-Match" if self.field == "ETag" else "If-Unmodified-Since"


def version_of(headers: Headers, length: int | None) -> Version | None:
    """Return the version in a response with the whole resource.

    Args:
        headers: the fields of the response.
        length: the number of bytes of its body, ``None`` if it is unknown.

    Returns:
        The version. ``None`` if the download cannot be resumed (rules 1 and 4).
    """
    if has_coding(headers):
        return None
    etag = headers["ETag"] or ""
    if _STRONG_ETAG.fullmatch(etag):
        return Version("ETag", etag, length)
    date = headers["Last-Modified"]
    if date and _is_strong(date, headers["Date"]):
        return Version("Last-Modified", date, length)
    return None


def has_coding(headers: Headers) -> bool:
    """Return whether the body has a content coding."""
    codings = headers.get("Content-Encoding", "")
    return any(name.strip(" \t").lower() not in ("", "identity") for name in codings.split(","))


def _is_strong(last_modified: str, date: str | None) -> bool:
    try:
        age = parsedate_to_datetime(date or "") - parsedate_to_datetime(last_modified)
    except (TypeError, ValueError):  # no date, or one with a time zone and one without
        return False
    return age.total_seconds() >= OLD_ENOUGH


class Kind(Enum):
    """The kinds of response to a request for a range of a known version."""

    PART = "the requested range, or its beginning"
    WHOLE = "the whole resource, perhaps of another version"
    COMPLETE = "the resource has no more bytes than are there"
    OTHER_VERSION = "the resource has changed"
    USELESS = "the request has to be repeated without a range"
    REFUSAL = "an error"


def kind_of(
    status: int, headers: Headers, length: int | None, version: Version, first: int
) -> Kind:
    """Return the kind of a response to a request for the bytes from *first* on (rule 3).

    Args:
        status: its status.
        headers: its fields.
        length: the number of bytes of its body, ``None`` if it is unknown.
        version: the version of which some bytes are there.
        first: the first requested byte.
    """
    if status == 206:
        return _kind_of_part(headers, length, version, first)
    if status == 416:
        match = _UNSATISFIED_RANGE.fullmatch(headers["Content-Range"] or "")
        complete = match is not None and int(match[1]) == version.length == first
        return Kind.COMPLETE if complete else Kind.USELESS
    if status == 412:
        return Kind.OTHER_VERSION
    # A 200 with Content-Range is a contradiction (RFC 9110 section 14.4).
    if status == 200 and "Content-Range" in headers:
        return Kind.USELESS
    return Kind.WHOLE if 200 <= status < 300 else Kind.REFUSAL


def _kind_of_part(headers: Headers, length: int | None, version: Version, first: int) -> Kind:
    validators = headers.get_all(version.field, [])
    if validators != [version.validator] and (validators or version.field == "ETag"):
        # A 206 may leave out Last-Modified, but not ETag (RFC 9110 section 15.3.7).
        return Kind.OTHER_VERSION if validators else Kind.USELESS
    found = content_range(headers)
    if found is None or has_coding(headers):
        return Kind.USELESS
    start, end, complete = found
    if start != first:
        return Kind.USELESS
    if None not in (version.length, complete) and version.length != complete:
        return Kind.OTHER_VERSION
    return Kind.PART if length in (None, end - start) else Kind.USELESS


def content_range(headers: Headers) -> tuple[int, int, int | None] | None:
    """Return what ``Content-Range`` says, ``None`` if it is not valid.

    Returns:
        The first byte, the byte after the last one, and the length of the whole resource, which may
        be unknown.
    """
    ranges: list[Any] = headers.get_all("Content-Range", [])
    match = _CONTENT_RANGE.fullmatch(ranges[0]) if len(ranges) == 1 else None
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    complete = None if match[3] is None else int(match[3])
    if not first <= last or (complete is not None and last >= complete):
        return None
    return first, last + 1, complete
