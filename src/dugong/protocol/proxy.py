"""HTTP proxies: the argument *proxy*, and the fields for requests to a proxy."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from ..errors import InvalidRequest
from . import grammar
from .arguments import check_port
from .authority import check_address, check_host
from .messages import Request
from .request import NO_DEFAULTS, prepare

if TYPE_CHECKING:
    from .messages import HeadersArgument


class Proxy:
    """An HTTP proxy.

    Attributes:
        host: its host name or address.
        port: its port.
        authorization: the value of Proxy-Authorization, ``None`` if it needs none.
    """

    __slots__ = ("authorization", "host", "port")

    def __init__(self, host: str, port: int, authorization: str | None = None) -> None:
        self.host = host
        self.port = port
        self.authorization = authorization

    @property
    def fields(self) -> dict[str, str]:
        """The field lines for requests that the proxy itself reads, by lower-case name."""
        if self.authorization is None:
            return {}
        return {"proxy-authorization": f"Proxy-Authorization: {self.authorization}"}


def parse_proxy(proxy: Any) -> Proxy:
    """Parse the argument *proxy*.

    Args:
        proxy: ``(host, port)`` or ``'http://[user:password@]host[:port]'``.

    Raises:
        TypeError: *proxy* is neither, or a part of it has the wrong type.
        InvalidRequest: a part of it is not valid. The message never shows a URL that could not be
            parsed, because any part of it may be a secret.
    """
    if isinstance(proxy, (tuple, list)):
        return Proxy(*check_address(proxy, "proxy"))
    if not isinstance(proxy, str):
        raise TypeError(
            "proxy must be a pair (host, port) or a URL http://[user:password@]host:port, "
            f"not {type(proxy).__name__}"
        )
    url = grammar.PROXY_URL.fullmatch(proxy)
    if url is None:
        form = "proxy must be a URL http://[user:password@]host:port"
        scheme = grammar.SCHEME.match(proxy)
        if scheme is None:
            raise InvalidRequest(f"{form}, not this value")
        if scheme[1].lower() != "http":
            raise InvalidRequest(f"{form}, not a URL with the scheme {scheme[1]!r}")
        raise InvalidRequest(f"{form}: what follows http:// is not valid in this one")
    credentials, address, name, digits = url.groups()
    host = check_host(address.replace("%25", "%") if address else name.lower(), "the host of proxy")
    port = check_port(int(digits), "the port of proxy") if digits else 80
    return Proxy(host, port, None if credentials is None else _basic(credentials))


def _basic(credentials: str) -> str:
    """Return the basic credentials for the user information of a URL (RFC 7617 section 2)."""
    from urllib.parse import unquote_to_bytes  # imported only for such a URL

    try:
        user, password = (unquote_to_bytes(part) for part in credentials.partition(":")[::2])
    except UnicodeEncodeError:
        user = password = b"\0"  # a surrogate: refuse it like a control character
    if b":" in user or grammar.CONTROL.search((user + password).decode("latin-1")):
        raise InvalidRequest(
            "proxy cannot have a colon in its user name, or control characters in its "
            "user name or password"
        )
    return "Basic " + b64encode(user + b":" + password).decode("ascii")


def tunnel_fields(headers: HeadersArgument | None) -> list[tuple[str, str | int]]:
    """Return a copy of the caller's fields for a CONNECT request, checked.

    Raises:
        TypeError, InvalidRequest: a field is not valid in a CONNECT request.
    """
    if headers is None:
        return []
    request = Request("CONNECT", "host:443", headers)
    try:
        prepare(request, False, NO_DEFAULTS)
    except (TypeError, ValueError) as exc:
        kind = TypeError if isinstance(exc, TypeError) else InvalidRequest
        text = str(exc)
        if not text.startswith("headers "):
            text = f"headers: {text}"
        raise kind(f"proxy_{text}") from None
    given = request.headers or ()
    return list(given.items() if hasattr(given, "items") else given)
