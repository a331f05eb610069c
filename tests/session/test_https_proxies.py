"""Proxies that are spoken to in TLS: what is inside it, who verifies whom, and TLS inside it."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dugong import (
    AsyncHTTPConnection,
    ConnectionClosed,
    ConnectionTimedOut,
    HTTPConnection,
    InvalidRequest,
    StateError,
    TunnelRefused,
    UnsupportedResponse,
)
from dugong.transport import connect
from tests.support.drive import advance
from tests.support.exchanges import works
from tests.support.in_turn import in_turn
from tests.support.peer import Peer
from tests.support.styles import StyledWire
from tests.support.wire import HOST, Certificates, Listener, Wire

OPENED = b"HTTP/1.1 200 OK\r\n\r\n"


def through(wire: Any, listener: Listener, credentials: str = "", **options: Any) -> Any:
    """A connection to a server behind an https proxy, whose certificate is trusted."""
    options.setdefault("proxy_ssl_context", wire.certificates.new_client())
    url = f"https://{credentials}{HOST}:{listener.address[1]}"
    return wire.connection(options.pop("host", HOST), proxy=url, **options)


def tunnelled(
    wire: Any, listener: Listener, credentials: str = "", **options: Any
) -> tuple[Any, Peer]:
    """The same with TLS to the server, too, after it has opened the tunnel."""
    options.setdefault("ssl_context", wire.certificates.client)
    peer = listener.peer()
    conn = through(wire, listener, credentials, **options)
    peer.expect_request(b"CONNECT localhost:443 HTTP/1.1\r\n")
    peer.reply(OPENED)
    return conn, peer


async def test_plain_server(tls: StyledWire) -> None:
    """TLS ends at the proxy, so the connection does not pass for a secure one."""
    listener = tls.listen()
    peer = listener.peer()
    conn = through(tls, listener, "user:s3cret@", host="server.example")
    events: list[str] = []
    conn.on_event = events.append
    peer.expect_request(b"GET http://server.example/a HTTP/1.1\r\n")
    peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    assert (await conn.request("GET", "/a")).status == 200
    assert await conn.readall() == b"hi"
    assert peer.requests[0].get("Proxy-Authorization") == "Basic dXNlcjpzM2NyZXQ="
    assert conn.tls_version is None
    assert await conn.get_ssl_peercert() is None
    assert await conn.get_ssl_cipher() is None
    assert events[:4] == ["resolved", "connecting", "connected", "sent"]


async def test_tunnel(tls: StyledWire) -> None:
    """Twice on the same object. The credentials do not get past the proxy."""
    listener = tls.listen()
    for _ in range(2):
        conn, peer = tunnelled(tls, listener, "user:s3cret@")
        events: list[str] = []
        conn.on_event = events.append
        peer.start_tls(tls.certificates.server)
        await works(conn, peer)
        request, inner = peer.requests
        assert request.get("Proxy-Authorization") == "Basic dXNlcjpzM2NyZXQ="
        assert inner.target == "/works"
        assert b"roxy-" not in inner.head
        assert conn.tls_version == "TLSv1.3"
        assert ("DNS", HOST) in (await conn.get_ssl_peercert())["subjectAltName"]
        assert await conn.get_ssl_peercert(True)
        assert await conn.get_ssl_cipher()
        assert events[:4] == ["resolved", "connecting", "connected", "secured"]
        conn.disconnect()


@in_turn("chunk", [1, 100])
async def test_tunnel_in_pieces(tls: StyledWire, chunk: int) -> None:
    listener = tls.listen()
    conn, peer = tunnelled(tls, listener)
    peer.start_tls(tls.certificates.server)
    body = bytes(range(256)) * 10
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2560\r\n\r\n" + body, chunk=chunk)
    await conn.request("GET", "/")
    assert await conn.readall() == body


@in_turn("size", [1, 16 * 1024, 16 * 1024 + 1, 1_000_000])
async def test_upload(tls: StyledWire, size: int) -> None:
    listener = tls.listen()
    conn, peer = tunnelled(tls, listener)
    peer.start_tls(tls.certificates.server)
    body = bytes(index % 251 for index in range(size))
    peer.expect_request(body=body)
    peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    await conn.send_request("PUT", "/", body=body)
    assert (await conn.read_response()).status == 200


# ------------------------------------------------------------------------------- who is verified


def check_not_trusted(exc: ssl.SSLCertVerificationError, listener: Listener) -> None:
    where = f"through the proxy localhost:{listener.address[1]} at 127.0.0.1"
    assert where in str(exc)
    assert str(exc).endswith("in the TLS handshake with the proxy)")


@pytest.mark.parametrize("to_tls", [False, True])
async def test_proxy_is_verified_by_default(tls: StyledWire, to_tls: bool) -> None:
    """Whatever the context for the server accepts."""
    lax = ssl.create_default_context()
    lax.check_hostname, lax.verify_mode = False, ssl.CERT_NONE
    for context in (lax, tls.certificates.client) if to_tls else (None,):
        listener = tls.listen()
        listener.peer()
        conn = through(tls, listener, ssl_context=context, proxy_ssl_context=None)
        with pytest.raises(ssl.SSLCertVerificationError) as info:
            await conn.connect()
        check_not_trusted(info.value, listener)


def test_default_context() -> None:
    """It verifies, and it has no certificate. There is one, so that pools can share connections."""
    context = connect.default_proxy_context()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    first, second = (HTTPConnection("h", proxy="https://p")._route() for _ in range(2))
    assert first.proxy_context is second.proxy_context is context
    assert HTTPConnection("h", proxy="http://p")._route().proxy_context is None


async def test_name_of_the_proxy(tls: StyledWire) -> None:
    """The certificate must be for the proxy, not for the server."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.certificates.authority.issue_cert("server.example").configure_cert(server)
    listener = tls.listen()
    listener.peer(handshake=False).start_tls(server)
    conn = through(tls, listener, host="server.example", ssl_context=tls.certificates.client)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch") as info:
        await conn.connect()
    assert "in the TLS handshake with the proxy" in str(info.value)


async def test_server_is_verified_too(tls: StyledWire) -> None:
    listener = tls.listen()
    conn, peer = tunnelled(tls, listener, ssl_context=ssl.create_default_context())
    peer.start_tls(tls.certificates.server)
    with pytest.raises(ssl.SSLCertVerificationError) as info:
        await conn.connect()
    assert "through the proxy localhost" in str(info.value)
    assert "with the proxy" not in str(info.value)


async def test_client_certificate(tls: StyledWire, tmp_path: Path) -> None:
    """The server gets it. The proxy asks for one, too, and gets none."""
    authority = tls.certificates.authority
    asking = tls.certificates.new_server()
    authority.configure_trust(asking)
    asking.verify_mode = ssl.CERT_OPTIONAL
    with_cert = tls.certificates.new_client()
    authority.issue_cert("client.example").configure_cert(with_cert)
    listener = tls.listen()
    peer = listener.peer(handshake=False)
    peer.start_tls(asking)
    conn = through(tls, listener, ssl_context=with_cert)
    peer.expect_request(b"CONNECT")
    peer.reply(OPENED)
    peer.start_tls(asking)
    await works(conn, peer)
    assert peer._outer is not None
    assert peer._tls is not None
    assert peer._outer._tls.getpeercert() is None
    assert peer._tls.getpeercert()


# ------------------------------------------------------------------------------- refusals and ends


async def test_refusal(tls: StyledWire) -> None:
    listener = tls.listen()
    peer = listener.peer()
    conn = through(tls, listener, "user:s3cret@", ssl_context=tls.certificates.client)
    peer.expect_request(b"CONNECT")
    peer.reply(b"HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nbody")
    with pytest.raises(TunnelRefused) as info:
        await conn.request("GET", "/")
    assert (info.value.status, info.value.body) == (403, b"body")
    assert "s3cret" not in str(info.value)


async def test_proxy_without_tls(tls: StyledWire) -> None:
    listener = tls.listen()
    peer = listener.peer(handshake=False)
    peer.reply(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(ssl.SSLError, match="in the TLS handshake with the proxy"):
        await through(tls, listener).connect()


def test_other_protocol(tls: Wire) -> None:
    listener = tls.listen()
    server, client = tls.certificates.new_server(), tls.certificates.new_client()
    server.set_alpn_protocols(["h2"])
    client.set_alpn_protocols(["h2", "http/1.1"])
    peer = listener.peer(handshake=False)
    peer.start_tls(server)
    conn = through(tls, listener, proxy_ssl_context=client)
    with peer.in_thread(), pytest.raises(UnsupportedResponse, match="the proxy chose h2"):
        conn.connect()


ENDS: dict[str, Callable[[Peer], None]] = {
    "the inner layer": Peer.end_outer_tls,
    "both layers": Peer.close_without_notify,
    "reset": Peer.reset,
}


@in_turn("end", ENDS)
async def test_truncation(tls: StyledWire, end: str) -> None:
    """Also if the proxy ends its own TLS properly: only the server can end a body."""
    listener = tls.listen()
    conn, peer = tunnelled(tls, listener)
    peer.start_tls(tls.certificates.server)
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\n\r\nhal")
    ENDS[end](peer)
    await conn.request("GET", "/")
    with pytest.raises(ConnectionClosed):
        await conn.readall()


async def test_proper_end(tls: StyledWire) -> None:
    listener = tls.listen()
    conn, peer = tunnelled(tls, listener)
    peer.start_tls(tls.certificates.server)
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\n\r\nwhole")
    peer.close()
    await conn.request("GET", "/")
    assert await conn.readall() == b"whole"


@pytest.mark.styles("generator")  # the socket is the same in all of them
async def test_detach(tls: StyledWire) -> None:
    """No socket speaks TLS inside TLS. The connection is as it was."""
    listener = tls.listen()
    conn, peer = tunnelled(tls, listener)
    peer.start_tls(tls.certificates.server)
    peer.expect_request()
    peer.reply(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")
    await conn.request("GET", "/", {"Upgrade": "x"})
    with pytest.raises(StateError, match="TLS inside the TLS of the proxy"):
        conn.detach()
    assert conn.connected


@pytest.mark.parametrize("stage", ["tls", "connect", "inner"])
def test_time_limits(tls: Wire, stage: str) -> None:
    listener = tls.listen()
    peer = listener.peer(handshake=stage != "tls")
    context = tls.certificates.client
    url = "https://{}:{}".format(*listener.address)
    conn = tls.connection(HOST, ssl_context=context, proxy=url, proxy_ssl_context=context)
    if stage != "tls":
        peer.expect_request(b"CONNECT")
    if stage == "inner":
        peer.reply(OPENED)
    crt = conn.co_connect()
    advance(crt, peer)
    with pytest.raises(ConnectionTimedOut) as info:
        crt.throw(ConnectionTimedOut("enough"))
    assert info.value.phase == {"inner": "tls"}.get(stage, stage)
    assert ("with the proxy" in str(info.value)) is (stage == "tls")


@pytest.mark.parametrize("kind", [HTTPConnection, AsyncHTTPConnection])
def test_context_is_checked_at_once(kind: Any, certificates: Certificates) -> None:
    for context in (True, "/etc/ssl", ssl.SSLContext):
        with pytest.raises(TypeError, match="proxy_ssl_context must be"):
            kind("h", proxy_ssl_context=context)
    with pytest.raises(InvalidRequest, match="proxy_ssl_context is for servers"):
        kind("h", proxy_ssl_context=certificates.server)
