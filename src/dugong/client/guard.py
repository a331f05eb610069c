"""The address guard: which addresses may be connected to.

It protects programs that request URLs from others: such a URL must not reach a service inside the
program's network. The name in the URL proves nothing, because its owner can point it to
``127.0.0.1``, and to another address a moment later. So every candidate address is checked after
every resolution, and the approved address itself is connected to.

What is public
==============

1. In IPv4, every address is global unicast unless it is listed in `_SPECIAL_4`. In IPv6, only
   ``2000::/3`` is (RFC 4291 section 2.4, and IANA's registry of address space), except for what is
   listed in `_SPECIAL_6`.
2. The lists contain everything in IANA's registries of special-purpose addresses (RFC 6890), also
   what these call globally reachable: relays, anycast addresses of the local network's services,
   and name servers for reverse lookups (AS112). None of them is a public HTTP server. The
   lists are our own, because `ipaddress` differs between patch releases of Python.
3. An IPv6 address that contains an IPv4 address is *unwrapped*: it is public if that address is.
   A host or a relay on the way would translate it. This applies to IPv4-mapped (RFC 4291 section
   2.5.5.2) and IPv4-compatible addresses (2.5.5.1), NAT64 (RFC 6052), 6to4 (RFC 3056) and Teredo
   (RFC 4380), where the addresses of both client and server count.
4. The prefix ``64:ff9b:1::/48`` is for NAT64 in the local network (RFC 8215), and only that knows
   where it puts the IPv4 address: after 48, 56, 64 or 96 bits (RFC 6052 section 2.2). All four
   readings must be public. Those in ``0.0.0.0/8``, which are padding, are ignored, but not all.
5. The zone of an address (RFC 4007) counts for nothing.
"""

from __future__ import annotations

from inspect import iscoroutinefunction
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Any

from ..errors import InvalidRequest
from ..protocol.arguments import shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal, TypeAlias

    Address: TypeAlias = IPv4Address | IPv6Address
    Allow: TypeAlias = Callable[[Address], object] | Literal["public"]

#: https://www.iana.org/assignments/iana-ipv4-special-registry, and multicast.
_SPECIAL_4 = [
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",        # this network (RFC 791 section 3.2)
        "10.0.0.0/8",       # private use (RFC 1918)
        "100.64.0.0/10",    # shared address space (RFC 6598)
        "127.0.0.0/8",      # loopback (RFC 1122 section 3.2.1.3)
        "169.254.0.0/16",   # link local (RFC 3927): metadata services of clouds
        "172.16.0.0/12",    # private use (RFC 1918)
        "192.0.0.0/24",     # IETF protocol assignments (RFC 6890 section 2.1)
        "192.0.2.0/24",     # documentation (RFC 5737)
        "192.31.196.0/24",  # AS112-v4 (RFC 7535)
        "192.52.193.0/24",  # AMT (RFC 7450)
        "192.88.99.0/24",   # 6to4 relay anycast, deprecated (RFC 7526)
        "192.168.0.0/16",   # private use (RFC 1918)
        "192.175.48.0/24",  # direct delegation AS112 service (RFC 7534)
        "198.18.0.0/15",    # benchmarking (RFC 2544)
        "198.51.100.0/24",  # documentation (RFC 5737)
        "203.0.113.0/24",   # documentation (RFC 5737)
        "224.0.0.0/4",      # multicast (RFC 5771)
        "240.0.0.0/4",      # reserved (RFC 1112 section 4), and limited broadcast (RFC 919)
    )
]  # fmt: skip

#: https://www.iana.org/assignments/iana-ipv6-special-registry, as far as it is in 2000::/3. The
#: others, such as fc00::/7 and fe80::/10, are not global unicast anyway.
_SPECIAL_6 = [
    IPv6Network(network)
    for network in (
        "2001::/23",          # IETF protocol assignments (RFC 2928), all but Teredo
        "2001:db8::/32",      # documentation (RFC 3849)
        "2620:4f:8000::/48",  # direct delegation AS112 service (RFC 7534)
        "3fff::/20",          # documentation (RFC 9637)
    )
]  # fmt: skip

_GLOBAL_UNICAST_6 = IPv6Network("2000::/3")
_MAPPED = IPv6Network("::ffff:0:0/96")
_COMPATIBLE = IPv6Network("::/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
_6TO4 = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")

_THIS_NETWORK = IPv4Network("0.0.0.0/8")


def is_public(address: Address) -> bool:
    """Return whether an address is global unicast, after unwrapping (rules 1 to 5)."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_4)
    inside = unwrap(address)
    if inside is not None:
        return bool(inside) and all(map(is_public, inside))
    if address not in _GLOBAL_UNICAST_6:
        return False
    return not any(address in network for network in _SPECIAL_6)


def unwrap(address: IPv6Address) -> list[IPv4Address] | None:
    """Return the IPv4 addresses that an IPv6 address contains; ``None`` if it is of no such kind.

    The list may be empty (rule 4).
    """
    number = int(address)
    if address in _MAPPED or address in _COMPATIBLE or address in _NAT64:
        return [IPv4Address(number & 0xFFFFFFFF)]
    if address in _6TO4:
        return [IPv4Address(number >> 80 & 0xFFFFFFFF)]
    if address in _TEREDO:  # the client's address is inverted (RFC 4380 section 4)
        return [IPv4Address(number >> 64 & 0xFFFFFFFF), IPv4Address(~number & 0xFFFFFFFF)]
    if address not in _LOCAL_NAT64:
        return None
    # Bits 64 to 71 are not part of the IPv4 address, except after 96 bits (RFC 6052 section 2.2).
    without = (number >> 64 << 56) | (number & (1 << 56) - 1)
    readings = [without >> shift & 0xFFFFFFFF for shift in (40, 32, 24)] + [number & 0xFFFFFFFF]
    return [reading for reading in map(IPv4Address, readings) if reading not in _THIS_NETWORK]


def check_allow(allow: Any) -> Callable[[Address], object]:
    """Return the argument *allow* as a callable that approves addresses.

    The result is the same object each time, because connections are shared only by callers with the
    same guard.

    Args:
        allow: a callable that gets an address of the module `ipaddress` and returns whether it may
            be connected to, or ``'public'``.

    Raises:
        TypeError: *allow* is neither, or an async function, which would approve everything.
        InvalidRequest: it is another `str`.
    """
    if isinstance(allow, str):
        if allow != "public":
            raise InvalidRequest(f"allow must be 'public' or a callable, not {shown(allow)}")
        return is_public
    if not callable(allow):
        raise TypeError(f"allow must be 'public' or a callable, not {type(allow).__name__}")
    if iscoroutinefunction(allow) or iscoroutinefunction(getattr(allow, "__call__", None)):  # noqa: B004
        raise TypeError("allow must be a function that returns a bool, not an async function")
    checked: Callable[[Address], object] = allow
    return checked
