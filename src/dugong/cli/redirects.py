"""Following redirects (RFC 9110 section 15.4): where to, and what is not to be told there."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from urllib.parse import urldefrag, urljoin

from ..protocol.messages import HTTPResponse
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
    """Return where the response redirects to, as it says; ``None`` if it does not."""
    if response.status not in _REDIRECTS:
        return None
    given = response.headers["Location"]
    # On the wire it is bytes, and those that should not be there are UTF-8 as a rule.
    return None if given is None else given.encode("latin-1").decode("utf-8", "surrogateescape")


def followed(trail: Trail, target: str) -> Trail:
    """Return the trail that leads on to *target*.

    Raises:
        Failure: it leads nowhere.
    """
    old = trail.document
    try:
        new = url(urljoin(old.url, target))
    except (argparse.ArgumentTypeError, ValueError) as exc:
        raise Failure(f"the server redirects to something else: {exc}") from None
    been = trail.been | {urldefrag(old.url).url}
    if urldefrag(new.url).url in been:
        raise Failure(f"the server redirects in a circle, to {new.url} again")
    if len(been) > _MOST:
        raise Failure(f"the server redirects more than {_MOST} times, last to {new.url}")
    if old.tls and not new.tls:
        raise Failure(f"the server redirects from https to http: if that is right, get {new.url}")
    fields = trail.fields
    if not _same_owner(old, new):
        fields = [field for field in fields if field[0].lower() not in _CONFIDENTIAL]
    return Trail(new, fields, been)


def _same_owner(old: Document, new: Document) -> bool:
    """Tell whether what one was told is the other's business, too."""
    if old.host != new.host:
        return False
    ports = [document.port or (443 if document.tls else 80) for document in (old, new)]
    return ports[0] == ports[1] or ports == [80, 443]
