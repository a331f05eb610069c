"""Host names, and the authority of URLs and of ``Host`` (RFC 3986 section 3.2).

`check_host` converts a name to ASCII once, and validates it after that. The result is used
everywhere: it is looked up, sent in ``Host`` and in the TLS handshake, compared with the
certificate, and shown in messages. So no later conversion can turn it into another name.

Decisions:

* A name consists of labels of 1 to 63 letters, digits, hyphens and underscores. It may end with a
  dot. Only `tls_name` removes that (RFC 6066 section 3).
* A name that consists only of numbers must be an IPv4 address, with four decimal numbers. The
  system would also accept ``127.1`` and ``0x7f000001`` as addresses, but certificates and other
  programs do not.
* Only IPv6 addresses have a zone (RFC 4007 section 11). It is used only for the system.
* Names beyond ASCII are converted by the package ``idna``, like in browsers (UTS 46,
  nontransitional). If it is not installed, Python's codec converts them. That implements IDNA 2003,
  so a name for which it would lead to another host is refused.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any

from ..errors import InvalidRequest
from . import grammar
from .arguments import check_port, exactly_str, shown

#: The most characters of a name, without a final dot. RFC 1035 section 2.3.4 limits a name to 255
#: octets in the wire format, which has one length octet before each label and one at the end.
_MAX_NAME = 253

#: Characters that IDNA 2003 and UTS 46 convert to different names: the deviations of UTS 46 section
#: 7 (sharp s, final sigma and the joiners), Cherokee capitals, and invisible fillers. A comparison
#: of all code points of Unicode 3.2 found no others.
_DEVIATIONS = re.compile("[\xdf\u03c2\u200c\u200d\u115f\u1160\u13a0-\u13f4\u17b4\u17b5]")

_IPV6_CHARACTERS = frozenset("0123456789ABCDEFabcdef:.%")


def check_host(host: Any, what: str = "hostname") -> str:
    """Return a host name or address, in ASCII and without brackets.

    Args:
        host: a name, in Unicode or ASCII, or an address, IPv6 without brackets.
        what: the name of the argument, for messages.

    Raises:
        TypeError: *host* is not a `str`.
        InvalidRequest: it is neither a name nor an address.
    """
    host = exactly_str(host, what)
    return _check_ascii_host(host, what) if host.isascii() else _check_host(host, what)


@lru_cache(maxsize=256)  # a program connects to the same hosts again
def _check_ascii_host(host: str, what: str) -> str:
    return _check_host(host, what)


def _check_host(host: str, what: str) -> str:
    if grammar.LOOKS_LIKE_URL.match(host):
        raise InvalidRequest(
            f"{what} looks like a URL: pass the host name, and port= and ssl_context= if needed, "
            f"not {shown(host)}"
        )
    if with_port := grammar.HOST_AND_PORT.fullmatch(host):
        address, name, port = with_port.groups()
        raise InvalidRequest(
            f"{what} {shown(host)} includes a port: pass {shown(address or name)} and port={port}"
        )
    if host.startswith("["):
        raise InvalidRequest(f"{what} must be an IPv6 address without brackets, not {shown(host)}")
    if ":" in host:
        return _check_ipv6(host, what)
    name = host if host.isascii() else _to_ascii(host, what)
    if not grammar.HOST_NAME.fullmatch(name) or len(name.removesuffix(".")) > _MAX_NAME:
        raise InvalidRequest(f"{what} {_both(host, name)} is not a host name or address")
    if grammar.NUMBERS.fullmatch(name) and not grammar.IPV4.fullmatch(name):
        raise InvalidRequest(
            f"{what} {_both(host, name)} is not an address: "
            "IPv4 addresses have four decimal numbers"
        )
    return name


def _both(given: str, name: str) -> str:
    return shown(given) if given == name else f"{shown(given)} (in ASCII {shown(name)})"


def _check_ipv6(address: str, what: str) -> str:
    from ipaddress import IPv6Address  # imported only for such an address

    bare, percent, zone = address.partition("%")
    try:
        IPv6Address(bare)
    except ValueError:
        bare = ""
    if not bare or (percent and not grammar.ZONE.fullmatch(zone)):
        # Not shown unless it looks like an address: lists of proxies contain lines such as
        # host:port:user:password.
        given = shown(address) if _IPV6_CHARACTERS.issuperset(address) else "with ':' in it"
        raise InvalidRequest(f"{what} {given} is not a host name or address")
    return address


def _to_ascii(name: str, what: str) -> str:
    """Return a name beyond ASCII in its form for the DNS. The caller validates the result."""
    try:
        import idna
    except ImportError:
        return _to_ascii_2003(name, what)
    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except UnicodeError:
        raise InvalidRequest(f"{what} {shown(name)} is not a valid domain name") from None


def _to_ascii_2003(name: str, what: str) -> str:
    from stringprep import in_table_a1

    # The codec splits at dots before it normalises, and misses dots that normalisation produces.
    normal = unicodedata.normalize("NFKC", name)
    # The codec has no case mappings and equivalences for characters outside Unicode 3.2.
    if _DEVIATIONS.search(normal) or any(map(in_table_a1, name)):
        raise InvalidRequest(
            f"{what} {shown(name)} has characters that need the package idna "
            "(pip install dugong[idna])"
        )
    try:
        return normal.casefold().encode("idna").decode("ascii")
    except UnicodeError:
        raise InvalidRequest(f"{what} {shown(name)} is not a valid domain name") from None


def check_address(address: Any, what: str) -> tuple[str, int]:
    """Return an address to connect to, checked: a pair of host and port.

    Args:
        address: a tuple or a list.
        what: the name of the argument, for messages.

    Raises:
        TypeError: *address*, or a part of it, has the wrong type.
        InvalidRequest: it is not a pair, or a part of it is not valid.
    """
    host, port = pair(address, what)
    return check_host(host, f"the host of {what}"), check_port(port, f"the port of {what}")


def pair(address: Any, what: str) -> tuple[Any, Any]:
    """Return a tuple or list with two items as a tuple. The items are not checked.

    Raises:
        TypeError: *address* is not a tuple or list.
        InvalidRequest: it does not have two items.
    """
    if not isinstance(address, (tuple, list)):
        raise TypeError(f"{what} must be a pair (host, port), not {type(address).__name__}")
    if len(address) != 2:
        raise InvalidRequest(f"{what} must be a pair (host, port), but has {len(address)} items")
    return address[0], address[1]


def tls_name(host: str) -> str:
    """Return the name for the TLS handshake (RFC 6066 section 3).

    Args:
        host: the result of `check_host`.
    """
    return host.partition("%")[0].removesuffix(".")


def authority(host: str, port: int | None) -> str:
    """Return host and port as in a URL.

    Args:
        host: the result of `check_host`.
        port: the port, ``None`` to omit it.
    """
    if ":" in host:
        host = f"[{host.partition('%')[0]}]"
    return host if port is None else f"{host}:{port}"
