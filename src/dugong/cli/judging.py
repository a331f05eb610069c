"""What is said of a document: whether it is there, and if not, why."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from ..errors import DNSUnavailable, HostnameNotResolvable
from ..protocol.messages import HTTPResponse
from ..protocol.references import redirect_target
from .output import Failure
from .redirects import location


class Outcome(StrEnum):
    """What has become of a URL."""

    OK = "ok"
    REDIRECTED = "redirected"
    DENIED = "denied"
    MISSING = "missing"
    FAILED = "failed"
    UNRESOLVABLE = "unresolvable"
    BROKEN = "broken"
    INVALID = "invalid"


#: Those after which a reader of the URL gets the document, or might.
HARMLESS = frozenset({Outcome.OK, Outcome.REDIRECTED, Outcome.DENIED})

#: What status codes mean that are neither successful nor redirect. Others have failed.
_MEANINGS = {
    300: Outcome.OK,  # there are several forms of it
    304: Outcome.OK,  # it is what a field of the request says
    401: Outcome.DENIED,
    402: Outcome.DENIED,
    403: Outcome.DENIED,
    404: Outcome.MISSING,
    407: Outcome.DENIED,
    410: Outcome.MISSING,
    451: Outcome.DENIED,
}


class Result(NamedTuple):
    """What was found out about a URL.

    Attributes:
        url: as it was given.
        result: what has become of it.
        status: the status code, if there was a response.
        location: where it is redirected to, if it is.
        message: the response's reason phrase, or what has gone wrong.
    """

    url: str
    result: Outcome
    status: int | None = None
    location: str | None = None
    message: str = ""


def judged(url: str, response: HTTPResponse) -> Result:
    """Return what a response says of *url*."""
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
    """Return what *exc*, by which a request has failed, means for its URL."""
    if isinstance(exc, HostnameNotResolvable | DNSUnavailable):
        return Outcome.UNRESOLVABLE
    return Outcome.BROKEN
