"""Following redirects (RFC 9110 section 15.4) without leaking confidential fields."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from ..protocol.messages import HTTPResponse
from ..protocol.references import redirect_target
from .arguments import Document, url
from .output import Failure

#: The statuses after which the same request goes to another URL. A 303 changes the method to GET,
#: but our requests are GET requests anyway.
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

#: The maximum number of redirects for one document. Other clients have the same limit.
_MOST = 20

#: Fields that must not go to another server.
_CONFIDENTIAL = frozenset({"authorization", "cookie", "proxy-authorization", "host"})


@dataclass(frozen=True)
class Trail:
    """The redirects that have been followed.

    Attributes:
        document: the document to request now.
        fields: the fields to send.
        been: the URLs that have been requested, without fragments.
    """

    document: Document
    fields: list[tuple[str, str]]
    been: frozenset[str] = frozenset()


def location(response: HTTPResponse) -> str | None:
    """Return the reference that the response redirects to; ``None`` if it does not redirect.

    Raises:
        Failure: it redirects to several places.
    """
    if response.status not in _REDIRECTS:
        return None
    given: list[str] = response.headers.get_all("Location", [])
    if len(set(given)) > 1:
        raise Failure(f"the server redirects to several places: {', '.join(given)}")
    # Like browsers and curl, percent-encode non-ASCII bytes without conversion. Most are UTF-8. The
    # others become surrogates, from which `arguments.url` restores the bytes.
    return given[0].encode("latin-1").decode("utf-8", "surrogateescape") if given else None


def followed(trail: Trail, target: str) -> Trail:
    """Return the trail that continues to *target*.

    Raises:
        Failure: *target* is not a valid URL, a loop, one redirect too many, or a step from https to
            http.
    """
    old = trail.document
    try:
        new = url(redirect_target(old.url, target))
    except argparse.ArgumentTypeError as exc:
        raise Failure(f"the server redirects to an unsupported URL: {exc}") from None
    been = trail.been | {_without_fragment(old)}
    if _without_fragment(new) in been:
        raise Failure(f"the server redirects in a loop, back to {new.url}")
    if len(been) > _MOST:
        raise Failure(f"the server redirects more than {_MOST} times, last to {new.url}")
    if old.tls and not new.tls:
        raise Failure(f"the server redirects from https to http: to allow that, fetch {new.url}")
    fields = trail.fields
    if not _same_owner(old, new):
        fields = [field for field in fields if field[0].lower() not in _CONFIDENTIAL]
    return Trail(new, fields, been)


def _without_fragment(document: Document) -> str:
    return document.url.partition("#")[0]


def _same_owner(old: Document, new: Document) -> bool:
    """Return whether the server of *new* may see the confidential fields for the one of *old*.

    That is so if host and port are the same, or if the redirect leads from http to https on the
    same host.
    """
    if old.host != new.host:
        return False
    ports = [document.port or (443 if document.tls else 80) for document in (old, new)]
    return ports[0] == ports[1] or ports == [80, 443]
