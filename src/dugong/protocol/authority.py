"""The server's name as it is written in ``Host`` and in URLs (RFC 3986 section 3.2)."""

from __future__ import annotations

from . import grammar


def authority(hostname: str, port: int | None) -> str:
    """Return host and port as in a URL.

    Args:
        hostname: a name, in Unicode or ASCII, or an address, an IPv6 one without brackets.
        port: the port, ``None`` to leave it out.

    Raises:
        ValueError: *hostname* is neither a name nor an address.
    """
    host = hostname
    if ":" in host:
        host = f"[{_ipv6(host)}]"
    elif not host.isascii():
        host = host.encode("idna").decode("ascii")
    elif any(not 0 < len(label) < 64 for label in host.removesuffix(".").split(".")):
        raise ValueError(f"{hostname!r} is not a host name: a label has 1 to 63 characters")
    if port is not None:
        host = f"{host}:{port}"
    if not grammar.HOST.fullmatch(host):
        raise ValueError(f"{hostname!r} is not a host name")
    return host


def _ipv6(address: str) -> str:
    from ipaddress import IPv6Address  # loaded only by those who have such an address

    address = address.partition("%")[0]  # the zone is this machine's business
    try:
        IPv6Address(address)
    except ValueError:
        raise ValueError(
            f"{address!r} is neither a host name nor an IPv6 address (which has no brackets)"
        ) from None
    return address
