"""Redirects: which are followed, and what the next request is (RFC 9110 section 15.4).

Rules
=====

1. Responses with the statuses 301, 302, 303, 307 and 308 and a ``Location`` are followed. Others
   are returned: those without a ``Location``, and 300, 304 and 305.
2. The target is in ``Location``, resolved as in `url.URL.redirected`. These raise `RedirectError`:
   several different Locations, one that is not valid, another scheme than http or https, a step
   from https to http unless `Redirects` permits it, and one redirect more than the limit.
3. The method, and with it the body:

   ======= ======= ===== ===== =====================
   status  GET     HEAD  POST  others
   ======= ======= ===== ===== =====================
   301/302 same    same  GET   same
   303     GET     HEAD  GET   GET
   307/308 same    same  same  same
   ======= ======= ===== ===== =====================

   After a 303, and where the method changes, the body and all fields that describe it are dropped.
   Otherwise the body is sent again. If that is not possible, it is a `RedirectError`.
4. At the first redirect to another origin, the fields that belong to an origin are dropped:
   `CREDENTIALS` and Host. The hop is then no longer *trusted*, which also holds for `auth` and for
   credentials of the client. Later hops never are, even if the chain comes back to the first
   origin: the other origin has chosen the URL. Other fields are forwarded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InvalidRequest, RedirectError
from ..protocol.arguments import check_size, shown
from .url import URL

if TYPE_CHECKING:
    from ..protocol.headers import Headers

#: How many redirects are followed by default. curl: 50 (with -L), requests: 30, browsers: 20.
LIMIT = 10

#: The most bytes of a redirect's body that are received to keep the connection.
MAX_REDIRECT_BODY = 64 * 1024

_STATUSES = frozenset({301, 302, 303, 307, 308})

#: Fields that belong to the origin for which they were given.
CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization"})

#: Fields about the body, besides those that begin with ``content-`` (RFC 9110 section 15.4).
_ABOUT_BODY = frozenset(
    {"digest", "expect", "last-modified", "repr-digest", "trailer", "transfer-encoding"}
)


class Redirects:
    """How redirects are followed.

    Args:
        limit: the most redirects that one call follows.
        downgrade: whether redirects from https to http are followed.

    Raises:
        TypeError: an argument has the wrong type.
        InvalidRequest: *limit* is negative.
    """

    __slots__ = ("downgrade", "limit")

    def __init__(self, limit: int = LIMIT, downgrade: bool = False) -> None:
        self.limit = check_size(limit, "limit")
        if not isinstance(downgrade, bool):
            raise TypeError(f"downgrade must be a bool, not {type(downgrade).__name__}")
        self.downgrade = downgrade

    def __repr__(self) -> str:
        return f"Redirects(limit={self.limit}, downgrade={self.downgrade})"


def check_redirects(redirects: Any) -> Redirects | None:
    """Return the argument *redirects*: a `Redirects`, a number, or ``None`` to follow none.

    Raises:
        TypeError: it is something else.
        InvalidRequest: the number is negative.
    """
    if redirects is None or isinstance(redirects, Redirects):
        return redirects
    if isinstance(redirects, bool) or not hasattr(type(redirects), "__index__"):
        raise TypeError(
            "redirects must be a Redirects, a number or None, not "
            f"{redirects if isinstance(redirects, bool) else type(redirects).__name__}"
        )
    return Redirects(check_size(redirects, "redirects"))


class Hop(NamedTuple):
    """One request of a chain of redirects.

    Attributes:
        method: its method.
        url: its URL.
        fields: the caller's fields, as pairs of name and value.
        has_body: whether the caller's body is sent.
        trusted: whether all hops so far went to the same origin (rule 4).
        number: how many redirects came before it.
    """

    method: str
    url: URL
    fields: tuple[tuple[Any, Any], ...] = ()
    has_body: bool = False
    trusted: bool = True
    number: int = 0


def follow(
    policy: Redirects,
    hop: Hop,
    status: int,
    headers: Headers,
    *,
    replayable: bool = True,
    response: Any = None,
) -> Hop | None:
    """Return the hop after a response; ``None`` if the response is the final one.

    Args:
        policy: what is followed.
        hop: the hop that the response answers.
        status: the status of the response.
        headers: the fields of the response.
        replayable: whether the body of *hop* can be sent again.
        response: the response, for the exception.

    Raises:
        RedirectError: the redirect is not followed.
    """
    if status not in _STATUSES:
        return None
    locations = headers.get_all("location")
    if locations is None:
        return None
    if len(set(locations)) > 1:
        raise RedirectError(f"the {status} response has several different Locations", response)
    try:
        target = hop.url.redirected(locations[0])
    except InvalidRequest as exc:
        raise RedirectError(
            f"the {status} response has no valid Location: {exc}", response
        ) from None
    if hop.url.is_secure and not target.is_secure and not policy.downgrade:
        raise RedirectError(
            f"the {status} response redirects from https to http, to {shown(str(target))}: pass "
            "redirects=Redirects(downgrade=True) to permit that",
            response,
        )
    if hop.number >= policy.limit:
        raise RedirectError(
            f"more than {policy.limit} redirects, the last to {shown(str(target))}", response
        )
    method, has_body = hop.method, hop.has_body
    if status == 303 or (status in (301, 302) and method == "POST"):
        method, has_body = "HEAD" if method == "HEAD" else "GET", False
    if has_body and not replayable:
        raise RedirectError(
            f"the {status} response asks for the body again at {shown(str(target))}, but it cannot "
            "be sent twice: pass bytes or a file that can seek",
            response,
        )
    moved = target.origin != hop.url.origin
    keeps_fields_about_body = has_body or (status != 303 and method == hop.method)
    fields = tuple(
        (name, value)
        for name, value in hop.fields
        if not (moved and _belongs_to_origin(name))
        and (keeps_fields_about_body or not is_about_body(name))
    )
    return Hop(method, target, fields, has_body, hop.trusted and not moved, hop.number + 1)


def lower_name(name: str | bytes) -> str:
    """Return a field name in lower case."""
    return (name.decode("latin-1") if isinstance(name, bytes) else name).lower()


def _belongs_to_origin(name: str | bytes) -> bool:
    name = lower_name(name)
    return name in CREDENTIALS or name == "host"


def is_about_body(name: str | bytes) -> bool:
    """Return whether a field describes the body (RFC 9110 section 15.4)."""
    name = lower_name(name)
    return name.startswith("content-") or name in _ABOUT_BODY
