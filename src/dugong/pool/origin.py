"""`Origin`: scheme, host and port of a server (RFC 9110 section 4.3.1)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NoReturn

from ..connection.settings import HTTP_PORT, HTTPS_PORT
from ..errors import InvalidRequest
from ..protocol.arguments import check_port, exactly_str, shown
from ..protocol.authority import authority, check_host

_PORTS = {"http": HTTP_PORT, "https": HTTPS_PORT}

# URI = scheme ":" "//" authority path-abempty [ "?" query ] [ "#" fragment ]   (RFC 3986 section 3)
# authority = host [ ":" port ], without user information. The host is validated after conversion.
# Use with match: the rest of the URL plays no role.
_URL = re.compile(
    r"(https?)://(?:\[([0-9A-Fa-f:.]+)\]|([^\x00-\x20\x7f/?#@:\[\]\\%]+))(?::([0-9]{0,5}))?(?=[/?#]|\Z)",
    re.IGNORECASE,
)


class Origin:
    """The scheme, host and port of a server. Immutable; equal if all three are.

    Args:
        scheme: ``'http'`` or ``'https'``.
        host: a name or address, IPv6 without brackets. It is converted to ASCII and lower case.
        port: the port. The default is 80 for http, 443 for https.

    Raises:
        TypeError: an argument has the wrong type.
        InvalidRequest: an argument is not valid.
    """

    __slots__ = ("_hash", "host", "port", "scheme")

    scheme: str
    host: str
    port: int

    def __init__(self, scheme: str, host: str, port: int | None = None) -> None:
        scheme = exactly_str(scheme, "scheme").lower()
        if scheme not in _PORTS:
            raise InvalidRequest(f"scheme must be 'http' or 'https', not {shown(scheme)}")
        host = check_host(host, "host").lower()
        if "%" in host:
            raise InvalidRequest(f"host must be without a zone, not {shown(host)}")
        if ":" in host:
            from ipaddress import IPv6Address  # imported only for such an address

            host = str(IPv6Address(host))
        port = _PORTS[scheme] if port is None else check_port(port)
        values = {"scheme": scheme, "host": host, "port": port, "_hash": hash((scheme, host, port))}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("an Origin cannot be changed: make a new one")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("an Origin cannot be changed")

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Origin):
            return NotImplemented
        return (self.host, self.port, self.scheme) == (other.host, other.port, other.scheme)

    def __hash__(self) -> int:
        value: int = self._hash  # type: ignore[attr-defined]
        return value

    def __str__(self) -> str:
        """Return the origin as a URL without a path, and without the default port."""
        port = None if self.port == _PORTS[self.scheme] else self.port
        return f"{self.scheme}://{authority(self.host, port)}"

    def __repr__(self) -> str:
        return f"Origin({self.scheme!r}, {self.host!r}, {self.port})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Origin, (self.scheme, self.host, self.port)


def check_origin(origin: Any) -> Origin:
    """Return the argument *origin*, which is an `Origin` or a URL.

    Raises:
        TypeError: it is neither.
        InvalidRequest: the URL is not valid. The message does not show user information.
    """
    if isinstance(origin, Origin):
        return origin
    if not isinstance(origin, str):
        raise TypeError(
            f"origin must be a URL or an Origin(scheme, host, port), not {type(origin).__name__}"
        )
    return _parse(exactly_str(origin, "origin"))


@lru_cache(maxsize=256)  # parsing takes longer than the rest of a lease
def _parse(url: str) -> Origin:
    match = _URL.match(url)
    if match is None:
        raise InvalidRequest(f"origin {_fault(url)}")
    scheme, address, name, digits = match.groups()
    if address is not None and ":" not in address:
        raise InvalidRequest(f"origin {shown(url)} has brackets without an IPv6 address")
    port = check_port(int(digits), "the port of origin") if digits else None
    return Origin(scheme, address or name, port)


def _fault(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator:
        return f"must be a URL such as 'https://www.example.org', not {shown(url)}"
    if scheme.lower() not in _PORTS:
        return f"must be a URL with the scheme http or https, not {shown(url)}"
    if "@" in re.split(r"[/?#]", rest, maxsplit=1)[0]:
        return f"{shown(url)} has user information, which is not part of an origin: leave it out"
    return f"{shown(url)} has no valid host and port"
