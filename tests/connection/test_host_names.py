"""One name: what is looked up, verified, sent in SNI, Host and CONNECT, and shown is the same."""

from __future__ import annotations

import socket
import ssl
from dataclasses import replace
from typing import Any

import pytest

from dugong import DNSUnavailable
from tests.support.exchanges import EMPTY, works
from tests.support.styles import StyledWire

#: As given, in ASCII, and as TLS is told.
NAMES = [
    ("localhost", "localhost", "localhost"),
    ("LocalHost.", "LocalHost.", "LocalHost"),
    ("b\xfccher.example", "xn--bcher-kva.example", "xn--bcher-kva.example"),
    ("B\xdcCHER\u3002example", "xn--bcher-kva.example", "xn--bcher-kva.example"),
    ("\uff45xample.com\uff61", "example.com.", "example.com"),
    ("stra\xdfe.example", "xn--strae-oqa.example", "xn--strae-oqa.example"),
]

names = pytest.mark.parametrize(("given", "name", "told"), NAMES, ids=[row[1] for row in NAMES])


class Server:
    """A TLS server with a certificate for one name; notes the name that it is asked for."""

    def __init__(self, wire: StyledWire, certified: str) -> None:
        self.asked_for: list[str | None] = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        wire.certificates.authority.issue_cert(certified).configure_cert(self.context)
        self.context.sni_callback = lambda sock, name, context: self.asked_for.append(name)
        wire.certificates = replace(wire.certificates, server=self.context)


@names
async def test_host_field(wire: StyledWire, given: str, name: str, told: str) -> None:
    """Over TLS, the certificate must be for the same name."""
    server = Server(wire, told)
    conn, peer = wire.pair(host=given)
    await works(conn, peer)
    assert conn.hostname == name
    assert peer.requests[0].get("Host") == name
    assert [asked and asked.lower() for asked in server.asked_for] == [told.lower()] * wire.tls


@names
async def test_certificate_for_another_name(
    tls: StyledWire, given: str, name: str, told: str
) -> None:
    """For the name as others would write it, or for a part of it."""
    Server(tls, "strasse.example" if "xn--" in name else "other.example")
    conn, _ = tls.pair(host=given)
    with pytest.raises(ssl.SSLCertVerificationError):
        await conn.connect()


@names
async def test_tunnel(tls: StyledWire, given: str, name: str, told: str) -> None:
    server = Server(tls, told)
    listener = tls.listen()
    proxy = listener.peer(handshake=False)
    proxy.expect_request(f"CONNECT {name}:443 HTTP/1.1\r\n".encode())
    proxy.reply(b"HTTP/1.1 200 OK\r\n\r\n")
    proxy.start_tls(server.context)
    conn = tls.connection(given, proxy=listener.address, ssl_context=tls.client_context)
    await works(conn, proxy)
    connect, get = proxy.requests
    assert (connect.get("Host"), get.get("Host")) == (f"{name}:443", name)


@names
async def test_plain_proxy(plain: StyledWire, given: str, name: str, told: str) -> None:
    listener = plain.listen()
    proxy = listener.peer()
    proxy.expect_request(f"GET http://{name}/a HTTP/1.1\r\n".encode())
    proxy.reply(EMPTY)
    conn = plain.connection(given, proxy=listener.address)
    await conn.request("GET", "/a")
    assert proxy.requests[0].get("Host") == name


@names
@pytest.mark.parametrize("where", ["hostname", "proxy", "proxy URL", "address"])
async def test_lookup(
    plain: StyledWire, monkeypatch: pytest.MonkeyPatch, given: str, name: str, told: str, where: str
) -> None:
    """The system is asked for the same name, and messages have it."""
    asked = []

    def getaddrinfo(host: Any, *args: Any, flags: int = 0, **options: Any) -> list[Any]:
        if not flags & socket.AI_NUMERICHOST:
            asked.append(host)
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    options: dict[str, dict[str, Any]] = {
        "hostname": {},
        "proxy": {"proxy": (given, 81)},
        "proxy URL": {"proxy": f"http://user:secret@{given}:81"},
        "address": {"address": (given, 81)},
    }
    expected = name.lower() if where == "proxy URL" else name
    conn = plain.connection(given if where == "hostname" else "other", **options[where])
    with pytest.raises(DNSUnavailable) as info:
        await conn.connect()
    assert asked == [expected]
    assert info.value.name == expected
    assert "secret" not in f"{info.value!r} {info.value}"


@pytest.mark.parametrize("zone", ["lo", "1"])
async def test_zone_is_for_the_system_alone(wire: StyledWire, zone: str) -> None:
    server = Server(wire, "::1")
    conn, peer = wire.pair(host=f"::1%{zone}")
    await works(conn, peer)
    assert conn.hostname == f"::1%{zone}"
    assert peer.requests[0].get("Host") == "[::1]"
    assert server.asked_for == [None] * wire.tls
