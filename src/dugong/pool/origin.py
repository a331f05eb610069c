"""`Origin`: scheme, host and port of a server (RFC 9110 section 4.3.1).

`split_origin` reads an origin from the beginning of a URL. It refuses each beginning that browsers
(the URL Standard of WHATWG) and `urllib.parse` understand differently, because two programs that
disagree about the host of a URL can be played off against each other:

* The scheme is http or https, followed by ``://``. Browsers take ``http:h``, ``http:///h`` and
  ``http:\\\\h`` for ``http://h``.
* Neither ``@`` nor brackets nor a backslash occur in user information. It has no white space and
  no control characters, which browsers and `urllib.parse` remove or keep, each in its own way.
  It has no character that compatibility normalisation turns into a delimiter, such as a full-width
  ``@``: `urllib.parse` refuses that.
* A host is a name or an address according to `authority.check_host`. So it has no percent-encoded
  characters, which only browsers decode.
* A name whose last label is a number must be an IPv4 address. Browsers accept no other.
* A name beyond ASCII must not become an address.
* A port has at most five ASCII digits. `int` accepts signs, underscores and other scripts' digits.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any, NoReturn

from ..connection.settings import HTTP_PORT, HTTPS_PORT
from ..errors import InvalidRequest
from ..protocol import grammar
from ..protocol.arguments import check_port, exactly_str, shown
from ..protocol.authority import authority, check_host

_PORTS = {"http": HTTP_PORT, "https": HTTPS_PORT}

# URI = scheme ":" "//" authority path-abempty [ "?" query ] [ "#" fragment ]   (RFC 3986 section 3)
# authority = [ userinfo "@" ] host [ ":" port ]   (section 3.2). The host is validated after
# conversion. Use with match: the rest of the URL plays no role.
_URL = re.compile(
    r"(https?)://(?:([^\x00-\x20\x7f/?#@\[\]\\]*)@)?"
    r"(?:\[([0-9A-Fa-f:.]+)\]|([^\x00-\x20\x7f/?#@:\[\]\\%]+))(?::([0-9]{0,5}))?(?=[/?#]|\Z)",
    re.IGNORECASE,
)

# The last label of a name is a number, so browsers take the name for an IPv4 address ("ends in a
# number", URL Standard section 3.5). Use with search.
_ENDS_IN_NUMBER = re.compile(r"(?:\A|\.)(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.?\Z")

#: What separates the parts of an authority from each other and from the rest of a URL.
_DELIMITERS = frozenset("/?#@:[]\\")


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
            host = _shortest(host)
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


def _shortest(address: str) -> str:
    """Return an IPv6 address in its shortest form, with hexadecimal numbers only.

    That is the form of browsers. Since Python 3.13, `ipaddress` writes ``::ffff:1.2.3.4``.
    """
    from ipaddress import IPv6Address  # imported only for such an address

    parsed = IPv6Address(address)
    if parsed.ipv4_mapped is None:
        return str(parsed)
    number = int(parsed.ipv4_mapped)
    return f"::ffff:{number >> 16:x}:{number & 0xFFFF:x}"


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


def split_origin(url: str, what: str) -> tuple[Origin, str | None, str]:
    """Split a URL after its authority.

    Args:
        url: the URL.
        what: the name of the argument, for messages.

    Returns:
        The origin, the user information as it is written (``None`` if there is none), and the rest:
        path, query and fragment, not checked.

    Raises:
        InvalidRequest: the URL has no valid origin. The message does not show user information.
    """
    match = _URL.match(url)
    if match is None:
        raise InvalidRequest(f"{what} {_fault(url)}")
    scheme, userinfo, address, name, digits = match.groups()
    if userinfo and not userinfo.isascii() and _hides_delimiter(userinfo):
        raise InvalidRequest(f"{what} {shown(url)} has user information that is not valid")
    return _origin(scheme, address, name, digits, what), userinfo, url[match.end() :]


@lru_cache(maxsize=256)  # parsing takes longer than the rest of a lease
def _parse(url: str) -> Origin:
    origin, userinfo, _ = split_origin(url, "origin")
    if userinfo is not None:
        raise InvalidRequest(
            f"origin {shown(url)} has user information, which is not part of an origin: "
            "leave it out"
        )
    return origin


def _hides_delimiter(userinfo: str) -> bool:
    others = "".join(char for char in userinfo if not char.isascii())
    return not _DELIMITERS.isdisjoint(unicodedata.normalize("NFKC", others))


@lru_cache(maxsize=256)
def _origin(
    scheme: str, address: str | None, name: str | None, digits: str | None, what: str
) -> Origin:
    port = check_port(int(digits), f"the port of {what}") if digits else None
    if address is not None:
        if ":" not in address:
            raise InvalidRequest(f"{what} has brackets without an IPv6 address")
        return Origin(scheme, address, port)
    assert name is not None
    host = check_host(name, f"the host of {what}")
    is_address = grammar.IPV4.fullmatch(host)
    if is_address and not name.isascii():
        raise InvalidRequest(f"the host of {what} {shown(name)} becomes an address: write {host}")
    if not is_address and _ENDS_IN_NUMBER.search(host):
        raise InvalidRequest(
            f"the host of {what} {shown(name)} ends in a number, but is not an IPv4 address"
        )
    return Origin(scheme, host, port)


def _fault(url: str) -> str:
    scheme, separator, _ = url.partition("://")
    if not separator:
        return f"must be a URL such as 'https://www.example.org', not {shown(url)}"
    if scheme.lower() not in _PORTS:
        return f"must be a URL with the scheme http or https, not {shown(url)}"
    return f"{shown(url)} has no valid host and port"
