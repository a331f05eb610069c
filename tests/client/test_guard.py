"""The address guard: each range of IANA's registries, wrapped and unwrapped."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dugong import AddressRefused, InvalidRequest, Pool, eval_coroutine
from dugong.client.guard import check_allow, is_public, unwrap
from dugong.pool.place import ConnectionSettings
from tests.support.in_turn import in_turn


def words(text: str) -> list[str]:
    return text.split()


#: iana-ipv4-special-registry (2025), every row.
REGISTRY_4 = words("""
    0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12
    192.0.0.0/24 192.0.0.0/29 192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.171/32
    192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.88.99.2/32 192.168.0.0/16
    192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 255.255.255.255/32
""")

#: iana-ipv6-special-registry (2025), every row except those that are unwrapped.
REGISTRY_6 = words("""
    ::1/128 ::/128 100::/64 100:0:0:1::/64 2001::/23 2001:1::1/128 2001:1::2/128 2001:1::3/128
    2001:2::/48 2001:3::/32 2001:4:112::/48 2001:10::/28 2001:20::/28 2001:30::/28 2001:db8::/32
    2620:4f:8000::/48 3fff::/20 5f00::/16 fc00::/7 fe80::/10
""")

#: Reserved by other registries: multicast, site-local, and what is not assigned as unicast.
OTHERS = words("""
    224.0.0.0/4 ff00::/8 fec0::/10 ::/8 100::/8 200::/7 400::/6 800::/5 1000::/4 4000::/3 6000::/3
    8000::/3 a000::/3 c000::/3 e000::/4 f000::/5 f800::/6 fe00::/9 ::ffff:0:0:0/96
""")

#: Ranges whose addresses are unwrapped.
WRAPPING = words("::ffff:0:0/96 ::/96 64:ff9b::/96 64:ff9b:1::/48 2002::/16 2001::/32")

PUBLIC = words("""
    1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
    169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.3.0
    192.31.195.255 192.31.197.0 192.52.192.255 192.52.194.0 192.88.98.255 192.88.100.0
    192.167.255.255 192.169.0.0 192.175.47.255 192.175.49.0 198.17.255.255 198.20.0.0
    198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255 1.0.0.0
    2000:: 2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2001:200:: 2001:db7:ffff:ffff:ffff:ffff:ffff:ffff
    2001:db9:: 2606:4700::1111 2620:4f:7fff:ffff:ffff:ffff:ffff:ffff 2620:4f:8001:: 2a00:1450::1
    2003:: 3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff 3fff:1000:: 3fff:ffff:ffff:ffff::
""")


def wrapped(address: str) -> dict[str, str]:
    """An IPv4 address in each kind of IPv6 address."""
    number = int(IPv4Address(address))
    high, low = f"{number >> 16:x}", f"{number & 0xFFFF:x}"
    inverted = number ^ 0xFFFFFFFF
    one, two, three, four = number.to_bytes(4, "big")
    return {
        "mapped": f"::ffff:{address}",
        "compatible": f"::{address}",
        "nat64": f"64:ff9b::{address}",
        "local-96": f"64:ff9b:1::{address}",
        "local-96-subnet": f"64:ff9b:1:ffff::{address}",
        "local-48": f"64:ff9b:1:{high}:{three:x}:{four << 8:x}::",
        "local-56": f"64:ff9b:1:{one:x}:{two:x}:{three << 8 | four:x}::",
        "local-64": f"64:ff9b:1:0:{one:x}:{two << 8 | three:x}:{four << 8:x}:0",
        "local-48-suffix": f"64:ff9b:1:{high}:{three:x}:{four << 8:x}:808:808",
        "6to4": f"2002:{high}:{low}::1",
        "teredo-client": f"2001:0:808:808::{inverted >> 16:x}:{inverted & 0xFFFF:x}",
        "teredo-server": f"2001:0:{high}:{low}::f7f7:f7f7",
    }


def samples(network: str) -> list[Any]:
    parsed = ip_network(network)
    middle = parsed.num_addresses // 2
    return [parsed[0], parsed[-1], parsed[middle], parsed[middle // 3]]


@in_turn("network", [*REGISTRY_4, *REGISTRY_6, *OTHERS])
def test_special_purpose(network: str) -> None:
    for address in samples(network):
        if not any(address in ip_network(other) for other in WRAPPING if address.version == 6):
            assert not is_public(address), address


@in_turn("network", [*REGISTRY_4, "224.0.0.0/4"])
def test_special_purpose_wrapped(network: str) -> None:
    for address in samples(network):
        for kind, wrapping in wrapped(str(address)).items():
            if kind.startswith("local") and network.startswith("0.0.0.0/"):
                continue  # it may be the padding of another, public address
            assert not is_public(IPv6Address(wrapping)), (address, kind)
            assert not is_public(IPv6Address(f"{wrapping}%eth0"))


@in_turn("address", PUBLIC)
def test_public(address: str) -> None:
    assert is_public(ip_address(address))


@in_turn("kind", [kind for kind in wrapped("8.8.8.8") if "subnet" not in kind])
def test_public_wrapped(kind: str) -> None:
    address = IPv6Address(wrapped("8.8.8.8")[kind])
    assert is_public(address)
    assert IPv4Address("8.8.8.8") in (unwrap(address) or [])


def test_nothing_inside() -> None:
    for address in ("64:ff9b:1::", "::", "::ffff:0:0", "64:ff9b::", "2002::", "2001::"):
        assert not is_public(IPv6Address(address))
    assert unwrap(IPv6Address("2606:4700::1111")) is None


@given(st.ip_addresses(v=4), st.sampled_from([*wrapped("0.0.0.0")]))  # noqa: S104
def test_wrapping_makes_nothing_public(address: IPv4Address, kind: str) -> None:
    inside = IPv6Address(wrapped(str(address))[kind])
    is_padding = kind.startswith("local") and address in ip_network("0.0.0.0/8")
    if is_public(inside):
        assert is_public(address) or is_padding


@given(st.ip_addresses())
def test_agreement_with_the_standard_library(address: IPv4Address | IPv6Address) -> None:
    """What this Python calls private, reserved or multicast is never public."""
    if is_public(address) and not (address.version == 6 and unwrap(address)):
        special = address.is_private or address.is_multicast or address.is_loopback
        assert not special


# ------------------------------------------------------------------------------- argument


def test_allow() -> None:
    def allow(_: Any) -> bool:
        return True

    assert check_allow("public") is check_allow("public") is is_public
    assert check_allow(allow) is allow


@pytest.mark.parametrize(
    ("allow", "kind"), [("private", InvalidRequest), (None, TypeError), (True, TypeError)]
)
def test_neither(allow: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="allow must be 'public' or a callable"):
        check_allow(allow)


class Asynchronous:
    async def __call__(self, address: Any) -> bool:
        return False


async def refuse(_: Any) -> bool:
    return False


@pytest.mark.parametrize("allow", [refuse, Asynchronous()], ids=["function", "object"])
def test_an_async_callable_would_approve_everything(allow: Any) -> None:
    with pytest.raises(TypeError, match="async"):
        check_allow(allow)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"])
def test_a_pool_with_this_guard_connects_to_nothing(host: str) -> None:
    settings = ConnectionSettings(allow=check_allow("public"))
    with socket.create_server(("127.0.0.1", 0)) as server, Pool() as pool:
        server.settimeout(0)
        origin = f"http://{host}:{server.getsockname()[1]}"
        conn = eval_coroutine(pool.co_acquire(origin, settings=settings))
        with pytest.raises(AddressRefused):
            conn.request("GET", "/")
        with pytest.raises(BlockingIOError):
            server.accept()
