"""Proxies from the environment, interpreted as curl does.

Rules
=====

1. The proxy for http is in ``http_proxy``, in lower case only: in a CGI program, a client of the
   server sets ``HTTP_PROXY`` with the field ``Proxy``. The proxy for https is in ``https_proxy`` or
   ``HTTPS_PROXY``. If there is none, ``all_proxy`` or ``ALL_PROXY`` applies to both. An empty
   variable counts as missing. The lower-case name wins.
2. A proxy is ``[scheme://][user:password@]host[:port][/]``. The default scheme is http. The default
   port is 443 for https and otherwise 1080, even for http.
3. ``no_proxy`` or ``NO_PROXY`` lists hosts that need no proxy. If it is ``*``, that is every host.
   Otherwise it is a list, separated by commas, with blanks around the items. The list ends after
   an item that a blank and no comma follows.
4. A name matches the item ``example.org`` if it is equal, or if it ends with ``.example.org``. One
   dot at the beginning of the item and one at the end of item and name count for nothing, and
   neither does case.
5. An address matches an equal address, or a network such as ``10.0.0.0/8``. Bits that do not belong
   to the network count for nothing. ``/0`` means no network, but the address itself. An address
   never matches a name, and a host name never matches an address that it resolves to.
6. Items cannot contain a port, a scheme or brackets. Such an item matches nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..errors import InvalidRequest
from ..protocol import grammar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Network, IPv6Network

    from ..pool.origin import Origin

#: The supported kinds of proxy, and their default ports (CURL_DEFAULT_PROXY_PORT, and
#: CURL_DEFAULT_HTTPS_PROXY_PORT).
_PORTS = {"http": 1080, "https": 443, "socks5": 1080, "socks5h": 1080}

# [ scheme "://" ] [ userinfo "@" ] host [ ":" port ] [ "/" ]. The parts are validated when a
# connection uses the proxy.
_PROXY = re.compile(
    r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?(?:([^/?#@]*)@)?"
    r"(\[[^\[\]@/?#]*\]|[^\[\]@:/?#]+)(?::([0-9]{0,5}))?/?"
)

# A list of items as in rule 3. Use with match, repeatedly.
_ITEM = re.compile(r"[ \t]*+([^ \t,]*+)[ \t]*+(?:,++|\Z)?")

# "/" and the number of bits of a network
_BITS = re.compile(r"[0-9]{1,3}")


class EnvironmentProxies:
    """The proxies that the environment configures.

    Args:
        environ: the environment, such as `os.environ`. Only now is it read.

    Raises:
        InvalidRequest: a variable has a value that is no proxy, or a kind of proxy that is not
            supported. The message names the variable and does not show the value.
    """

    __slots__ = ("_names", "_networks", "_proxies", "_skips_all")

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._proxies = {
            "http": _proxy(environ, ("http_proxy", "all_proxy", "ALL_PROXY")),
            "https": _proxy(environ, ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")),
        }
        without = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
        self._skips_all = without == "*"
        self._names: set[str] = set()
        self._networks: list[IPv4Network | IPv6Network] = []
        for item in _items(without):
            self._names.add(item.removesuffix(".").removeprefix(".").lower())
            if (network := _network(item)) is not None:
                self._networks.append(network)

    def __bool__(self) -> bool:
        """Whether any host may need a proxy."""
        return not self._skips_all and any(self._proxies.values())

    def find(self, origin: Origin) -> str | None:
        """Return the URL of the proxy for an origin; ``None`` if it needs none.

        The URL may contain user information.
        """
        proxy = self._proxies[origin.scheme]
        return None if proxy is None or self._skips(origin.host) else proxy

    def _skips(self, host: str) -> bool:
        if self._skips_all:
            return True
        if ":" in host or grammar.IPV4.fullmatch(host):
            from ipaddress import ip_address  # imported only for an address

            address = ip_address(host)
            return any(address in network for network in self._networks)
        name = host.removesuffix(".")
        if name in self._names:
            return True
        return any(name[at + 1 :] in self._names for at, char in enumerate(name) if char == ".")


def _proxy(environ: Mapping[str, str], variables: tuple[str, ...]) -> str | None:
    """Return the proxy in the first variable that is not empty."""
    for variable in variables:
        if value := environ.get(variable):
            return _url(value, variable)
    return None


def _url(value: str, variable: str) -> str:
    """Return a proxy as a URL with all its parts."""
    match = _PROXY.fullmatch(value)
    if match is None:
        raise InvalidRequest(
            f"the environment variable {variable} must be a proxy such as 'http://host:port', "
            "not its value: correct it, or pass proxy="
        )
    scheme, credentials, host, port = match.groups()
    scheme = (scheme or "http").lower()
    if scheme not in _PORTS:
        raise InvalidRequest(
            f"the environment variable {variable} has a proxy with the scheme {scheme!r}, but only "
            f"{', '.join(_PORTS)} are supported: correct it, or pass proxy="
        )
    userinfo = "" if credentials is None else f"{credentials}@"
    return f"{scheme}://{userinfo}{host}:{port or _PORTS[scheme]}"


def _items(text: str) -> list[str]:
    items: list[str] = []
    at = 0
    while match := _ITEM.match(text, at):
        if match[1]:
            items.append(match[1])
        at = match.end()
        if at == len(text) or not match[0].endswith(","):
            break
    return items


def _network(item: str) -> IPv4Network | IPv6Network | None:
    """Return the addresses that an item of ``no_proxy`` stands for; ``None`` for a name."""
    from ipaddress import IPv4Network, IPv6Network, ip_address  # imported only for ``no_proxy``

    text, slash, bits = item.partition("/")
    if slash and not _BITS.fullmatch(bits):
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if "%" in text:
        return None
    length = (int(bits) if slash else 0) or address.max_prefixlen
    if length > address.max_prefixlen:
        return None
    kind = IPv4Network if address.version == 4 else IPv6Network
    return kind((int(address), length), strict=False)
