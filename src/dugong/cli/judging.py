"""The results of `dugong check`: whether a URL works, and if not, why."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from ..errors import DNSUnavailable, HostnameNotResolvable
from ..protocol.messages import HTTPResponse
from ..protocol.references import redirect_target
from .output import Failure
from .redirects import location


class Outcome(StrEnum):
    """The result of checking a URL."""

    OK = "ok"
    REDIRECTED = "redirected"
    DENIED = "denied"
    MISSING = "missing"
    FAILED = "failed"
    UNRESOLVABLE = "unresolvable"
    BROKEN = "broken"
    INVALID = "invalid"


#: The results for which the reader of the URL gets the document, or may get it.
HARMLESS = frozenset({Outcome.OK, Outcome.REDIRECTED, Outcome.DENIED})

#: The results for status codes outside 2xx that are not redirects. All others are failures.
_MEANINGS = {
    300: Outcome.OK,  # the document has several representations
    304: Outcome.OK,  # a conditional field of the user's: the document is the one that it names
    401: Outcome.DENIED,
    402: Outcome.DENIED,
    403: Outcome.DENIED,
    404: Outcome.MISSING,
    407: Outcome.DENIED,
    410: Outcome.MISSING,
    451: Outcome.DENIED,
}


class Result(NamedTuple):
    """The result for a URL.

    Attributes:
        url: the URL as given.
        result: the kind of the result.
        status: the status code, ``None`` without a response.
        location: the target of a redirect, or ``None``.
        message: the reason phrase of the response, or a description of the error.
    """

    url: str
    result: Outcome
    status: int | None = None
    location: str | None = None
    message: str = ""


def judged(url: str, response: HTTPResponse) -> Result:
    """Return the result for *url* after a response."""
    status = response.status
    try:
        target = location(response)
    except Failure as exc:
        return Result(url, Outcome.FAILED, status, message=str(exc))
    if target is not None:
        target = redirect_target(url, target)
        result = Outcome.REDIRECTED
    elif 200 <= status < 300:
        result = Outcome.OK
    else:
        result = _MEANINGS.get(status, Outcome.FAILED)
    return Result(url, result, status, target, response.reason)


def kind_of_trouble(exc: Exception) -> Outcome:
    """Return the result for a URL whose request has failed with *exc*."""
    if isinstance(exc, HostnameNotResolvable | DNSUnavailable):
        return Outcome.UNRESOLVABLE
    return Outcome.BROKEN
