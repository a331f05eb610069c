"""The arguments *resolve* and *family*: where the addresses of host names come from.

1. A callable gets the host name in ASCII and the port, in a helper thread, and may block. A mapping
   has host names as keys, or pairs of host name and port. Host names that it does not have are
   looked up as usual.
2. Either returns one address or several: numeric addresses as `str`, or pairs of such an address
   and a port to connect to instead.
3. *family* keeps only the addresses of one family. It does not apply to an address in a URL.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from functools import partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from ..errors import HostnameNotResolvable, InvalidRequest
from ..protocol.arguments import check_port, shown
from ..transport.resolve import numeric
from ..transport.resolve import resolve as ask_system

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from ..transport.connect import Resolve as Resolver
    from ..transport.resolve import AddressInfo

    Address: TypeAlias = str | tuple[str, int]
    Addresses: TypeAlias = Address | Sequence[Address]
    Resolve: TypeAlias = (
        Callable[[str, int], Addresses]
        | Mapping[str, Addresses]
        | Mapping[tuple[str, int], Addresses]
    )

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


def resolver_for(resolve: Any, family: Any) -> Resolver | None:
    """Return what looks host names up, for a `Route`; ``None`` to ask the system.

    Raises:
        TypeError: an argument has the wrong type.
        InvalidRequest: a value is not valid.
    """
    if family is not None and (isinstance(family, bool) or family not in _FAMILIES):
        raise InvalidRequest(f"family must be 4, 6 or None, not {shown(str(family))}")
    look_up: Resolver
    if resolve is None:
        look_up = ask_system
    elif isinstance(resolve, Mapping):
        look_up = partial(_from_mapping, _checked(resolve))
    elif callable(resolve):
        if iscoroutinefunction(resolve):
            raise TypeError("resolve must be a function or a mapping, not an async function")
        look_up = partial(_from_callable, resolve)
    else:
        raise TypeError(
            "resolve must be a callable (host, port) or a mapping of host names to addresses, not "
            f"{type(resolve).__name__}"
        )
    if family is not None:
        return partial(_of_family, look_up, _FAMILIES[family])
    return None if resolve is None else look_up


def _checked(mapping: Mapping[Any, Any]) -> dict[Any, list[AddressInfo]]:
    """Return the addresses for each key. Where a key has no port, that of the addresses is 0."""
    found: dict[Any, list[AddressInfo]] = {}
    for key, addresses in mapping.items():
        host, port = key if isinstance(key, tuple) and len(key) == 2 else (key, 0)
        if not isinstance(host, str):
            raise TypeError(
                "a key of resolve must be a host name or a pair (host name, port), not "
                f"{type(key).__name__}"
            )
        name = host.lower()
        found[name if key is host else (name, check_port(port))] = _infos(addresses, port, host)
    return found


def _from_mapping(found: dict[Any, list[AddressInfo]], host: str, port: int) -> list[AddressInfo]:
    name = host.lower()
    infos = found.get((name, port)) or found.get(name)
    if infos is None:
        return ask_system(host, port)
    return [(*info[:4], (info[4][0], info[4][1] or port, *info[4][2:])) for info in infos]


def _from_callable(resolve: Callable[[str, int], Any], host: str, port: int) -> list[AddressInfo]:
    return _infos(resolve(host, port), port, host)


def _of_family(look_up: Resolver, family: int, host: str, port: int) -> list[AddressInfo]:
    infos = [info for info in look_up(host, port) if info[0] == family]
    if not infos:
        raise HostnameNotResolvable(host)
    return infos


def _infos(addresses: Any, port: int, host: str) -> list[AddressInfo]:
    """Return addresses in the form of `socket.getaddrinfo`."""
    if isinstance(addresses, (str, tuple)):
        addresses = [addresses]
    found: list[AddressInfo] = []
    for given in addresses:
        address = given
        own_port = port
        if isinstance(given, tuple) and len(given) == 2:
            address, own_port = given[0], check_port(given[1])
        if not isinstance(address, str):
            raise TypeError(
                f"resolve must return numeric addresses as str for {host!r}, not "
                f"{type(address).__name__}"
            )
        infos = numeric(address, own_port)
        if infos is None:
            raise InvalidRequest(
                f"resolve must return numeric addresses for {host!r}, not {shown(address)}"
            )
        found += infos
    if not found:
        raise HostnameNotResolvable(host)
    return found
