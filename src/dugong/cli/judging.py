"""The results of `dugong check`: whether a URL works, and if not, why."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import (
    DNSUnavailable,
    HostnameNotResolvable,
    InvalidRequest,
    InvalidResponse,
    RedirectError,
    StatusError,
)
from .explaining import as_text, explained
from .links import joined

if TYPE_CHECKING:
    from .. import Headers

#: The statuses of redirects.
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


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


def judged(url: str, found: Any) -> Result:
    """Return the result for *url*.

    Args:
        url: the URL as given.
        found: a `Response`, or an exception.
    """
    if isinstance(found, InvalidResponse) and found.part == "limit" and found.response is not None:
        found = found.response  # its body is long, which does not matter
    if not isinstance(found, Exception):
        return _of_response(url, found)
    if isinstance(found, StatusError):
        message = f"{as_text(found.reason)} (the server asks not to be asked for a while)".lstrip()
        return Result(url, _MEANINGS.get(found.status, Outcome.FAILED), found.status, None, message)
    outcome, status = Outcome.BROKEN, None
    if isinstance(found, RedirectError):
        outcome, status = Outcome.FAILED, found.response.status
    elif isinstance(found, InvalidRequest):
        outcome = Outcome.INVALID
    elif isinstance(found, HostnameNotResolvable | DNSUnavailable):
        outcome = Outcome.UNRESOLVABLE
    return Result(url, outcome, status, None, explained(found).removeprefix("not sent: "))


def _of_response(url: str, response: Any) -> Result:
    status = response.status
    usual = Outcome.OK if 200 <= status < 300 else Outcome.FAILED
    outcome = _MEANINGS.get(status, usual)
    location, message = None, as_text(response.reason)
    history = getattr(response, "history", ())
    if history:  # --follow
        location = response.url
        if outcome is Outcome.OK:
            outcome = Outcome.REDIRECTED
            status, message = history[0].status, as_text(history[0].reason)
    elif status in _REDIRECTS:
        try:
            location = _location(url, response.headers)
        except ValueError as exc:
            return Result(url, Outcome.FAILED, status, message=str(exc))
        outcome = Outcome.FAILED if location is None else Outcome.REDIRECTED
    return Result(url, outcome, status, location, message)


def _location(url: str, headers: Headers) -> str | None:
    """Return the target of a redirect; ``None`` if there is none.

    Raises:
        ValueError: there are several.
    """
    given: list[str] = headers.get_all("Location", [])
    if len(set(given)) > 1:
        raise ValueError(f"the server redirects to several places: {', '.join(given)}")
    if not given:
        return None
    text = as_text(given[0])
    return joined(url, text) or text
