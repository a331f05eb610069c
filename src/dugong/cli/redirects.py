"""Following redirects (RFC 9110 section 15.4): where to, and what is not to be told there."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from ..protocol.messages import HTTPResponse
from ..protocol.references import redirect_target
from .arguments import Document, url
from .output import Failure

#: Those that mean: the same request, elsewhere. (303 means GET, which is what ours are.)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

#: More than anybody needs, and what others allow.
_MOST = 20

#: Fields that are meant for one server alone.
_CONFIDENTIAL = frozenset({"authorization", "cookie", "proxy-authorization", "host"})


@dataclass(frozen=True)
class Trail:
    """Where redirects have led.

    Attributes:
        document: what is to be asked for now.
        fields: with which fields.
        been: the URLs on the way, without fragments.
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
    # Browsers and curl percent-encode the bytes that are not ASCII as they are. Most are UTF-8;
    # the others survive as surrogates until `arguments.url` encodes them.
    return given[0].encode("latin-1").decode("utf-8", "surrogateescape") if given else None


def followed(trail: Trail, target: str) -> Trail:
    """Return the trail that leads on to *target*.

    Raises:
        Failure: it leads nowhere.
    """
    old = trail.document
    try:
        new = url(redirect_target(old.url, target))
    except argparse.ArgumentTypeError as exc:
        raise Failure(f"the server redirects to something else: {exc}") from None
    been = trail.been | {_without_fragment(old)}
    if _without_fragment(new) in been:
        raise Failure(f"the server redirects in a circle, to {new.url} again")
    if len(been) > _MOST:
        raise Failure(f"the server redirects more than {_MOST} times, last to {new.url}")
    if old.tls and not new.tls:
        raise Failure(f"the server redirects from https to http: if that is right, get {new.url}")
    fields = trail.fields
    if not _same_owner(old, new):
        fields = [field for field in fields if field[0].lower() not in _CONFIDENTIAL]
    return Trail(new, fields, been)


def _without_fragment(document: Document) -> str:
    return document.url.partition("#")[0]


def _same_owner(old: Document, new: Document) -> bool:
    """Tell whether what one was told is the other's business, too."""
    if old.host != new.host:
        return False
    ports = [document.port or (443 if document.tls else 80) for document in (old, new)]
    return ports[0] == ports[1] or ports == [80, 443]
