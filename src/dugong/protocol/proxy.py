"""Proxies: the argument *proxy*, and the fields for requests to an HTTP proxy.

==============  ======================================================  ========================
scheme          how a request reaches its server                        who resolves its name
==============  ======================================================  ========================
``http``        http: the proxy is sent the request, in absolute-form.  the proxy
                https: through a tunnel, opened with CONNECT.
``https``       the same, inside TLS with the proxy                     the proxy
``socks5``      through a tunnel, opened with SOCKS 5                   this client
``socks5h``     the same                                                the proxy
==============  ======================================================  ========================
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from ..errors import InvalidRequest
from . import grammar
from .arguments import check_port
from .authority import check_address, check_host
from .messages import Request
from .request import NO_DEFAULTS, prepare
from .socks import SOCKS_PORT, check_credentials

if TYPE_CHECKING:
    from .messages import HeadersArgument

#: The supported schemes, and their default ports.
PORTS = {"http": 80, "https": 443, "socks5": SOCKS_PORT, "socks5h": SOCKS_PORT}

_FORM = "proxy must be a URL http://[user:password@]host:port"


class Proxy:
    """A proxy.

    Attributes:
        host: its host name or address.
        port: its port.
        scheme: a key of `PORTS`.
        credentials: user name and password, or ``None``. They are secrets.
    """

    __slots__ = ("credentials", "host", "port", "scheme")

    def __init__(
        self,
        host: str,
        port: int,
        credentials: tuple[bytes, bytes] | None = None,
        scheme: str = "http",
    ) -> None:
        self.host = host
        self.port = port
        self.credentials = credentials
        self.scheme = scheme

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for two proxies if a connection through one may be used for the other."""
        return self.scheme, self.host, self.port, self.credentials

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS, and opens a tunnel for every connection."""
        return self.scheme in ("socks5", "socks5h")

    @property
    def fields(self) -> dict[str, str]:
        """The field lines for requests that the proxy itself reads, by lower-case name."""
        if self.credentials is None or self.is_socks:
            return {}
        basic = b64encode(b":".join(self.credentials)).decode("ascii")  # RFC 7617 section 2
        return {"proxy-authorization": f"Proxy-Authorization: Basic {basic}"}


def parse_proxy(proxy: Any) -> Proxy:
    """Parse the argument *proxy*.

    Args:
        proxy: ``(host, port)`` of an HTTP proxy, or ``'scheme://[user:password@]host[:port]'``. The
            scheme is http, https, socks5 or socks5h.

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
        given = grammar.SCHEME.match(proxy)
        if given is None:
            raise InvalidRequest(f"{_FORM}, not this value")
        if given[1].lower() not in PORTS:
            raise InvalidRequest(f"{_FORM} with the scheme {', '.join(PORTS)}, not {given[1]!r}")
        raise InvalidRequest(f"{_FORM}: what follows {given[0]} is not valid in this one")
    scheme, userinfo, address, name, digits = url.groups()
    scheme = scheme.lower()
    host = check_host(address.replace("%25", "%") if address else name.lower(), "the host of proxy")
    port = check_port(int(digits), "the port of proxy") if digits else PORTS[scheme]
    credentials = None if userinfo is None else _credentials(userinfo, scheme)
    return Proxy(host, port, credentials, scheme)


def _credentials(userinfo: str, scheme: str) -> tuple[bytes, bytes]:
    """Return user name and password from the user information of a URL."""
    from urllib.parse import unquote_to_bytes  # imported only for such a URL

    try:
        user, password = (unquote_to_bytes(part) for part in userinfo.partition(":")[::2])
    except UnicodeEncodeError:
        user = password = b"\0"  # a surrogate: refuse it like a control character
    if grammar.CONTROL.search((user + password).decode("latin-1")):
        raise InvalidRequest("proxy cannot have control characters in its user name or password")
    if scheme.startswith("socks"):
        return check_credentials(user, password)
    if b":" in user:  # the delimiter in Proxy-Authorization (RFC 7617 section 2)
        raise InvalidRequest("proxy cannot have a colon in its user name")
    return user, password


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
