"""Ways to the server: addresses, Unix sockets, proxies, TLS."""

from __future__ import annotations

import base64
import select
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from dugong import (
    ConnectionClosed,
    HTTPConnection,
    InvalidResponse,
    TunnelRefused,
    UnsupportedResponse,
    is_temp_network_error,
)
from tests.support.drive import drive
from tests.support.exchanges import OK, fetch, works
from tests.support.peer import Peer
from tests.support.wire import HOST, Wire

# ------------------------------------------------------------------------------ addresses


def test_address_is_dialled_and_the_name_stays(wire: Wire) -> None:
    listener = wire.listen()
    conn, peer = wire.dial(listener), listener.peer()
    works(conn, peer)
    assert peer.requests[0].get("Host") == HOST
    assert conn.hostname == HOST


def test_hostname_and_port_are_dialled(plain: Wire) -> None:
    listener = plain.listen()
    host, port = listener.address
    conn, peer = HTTPConnection(host, port), listener.peer()
    plain.adopt(conn.disconnect)
    works(conn, peer)
    assert peer.requests[0].get("Host") == f"{host}:{port}"


def test_name_is_resolved(wire: Wire) -> None:
    listener = wire.listen()
    peer = listener.peer()
    conn = HTTPConnection(HOST, listener.address[1], wire.client_context)
    wire.adopt(conn.disconnect)
    works(conn, peer)


def test_attributes_that_changed_count_from_the_next_connection_on(plain: Wire) -> None:
    one, two = plain.listen(), plain.listen()
    conn = HTTPConnection(*one.address)
    plain.adopt(conn.disconnect)
    works(conn, one.peer())
    conn.disconnect()
    conn.hostname, conn.port = two.address
    works(conn, two.peer())


def test_source_address(plain: Wire) -> None:
    seen = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        conn = HTTPConnection("127.0.0.1", server.getsockname()[1], source_address=("127.0.0.2", 0))
        plain.adopt(conn.disconnect)
        conn.connect()
        accepted, address = server.accept()
        seen.append(address[0])
        accepted.close()
    assert seen == ["127.0.0.2"]


def test_unix_socket(wire: Wire, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        listening.setblocking(False)
        context = wire.certificates.server if wire.tls else None
        peer = Peer(listener=listening, context=context)
        wire.adopt(peer.abandon)
        conn = HTTPConnection(HOST, ssl_context=wire.client_context, unix_socket=path)
        wire.adopt(conn.disconnect)
        works(conn, peer)
    assert peer.requests[0].get("Host") == HOST


def test_unix_socket_that_is_not_there(plain: Wire, tmp_path: Path) -> None:
    conn = HTTPConnection(HOST, unix_socket=str(tmp_path / "nothing"))
    with pytest.raises(FileNotFoundError):
        conn.connect()


# -------------------------------------------------------------------------------- proxies


def test_plain_requests_go_to_the_proxy_in_absolute_form(plain: Wire) -> None:
    listener = plain.listen()
    peer = listener.peer()
    conn = HTTPConnection("example.com", proxy=listener.address)
    plain.adopt(conn.disconnect)
    peer.expect_request(b"GET http://example.com/a?b HTTP/1.1\r\n")
    peer.reply(OK)
    response, body = drive(fetch(conn, path="/a?b"), peer)
    assert (response.path, body) == ("/a?b", b"hi")
    assert peer.requests[0].get("Host") == "example.com"


def test_proxy_credentials(plain: Wire) -> None:
    listener = plain.listen()
    peer = listener.peer()
    host, port = listener.address
    conn = HTTPConnection("example.com", proxy=f"http://user:p%40ss@{host}:{port}")
    plain.adopt(conn.disconnect)
    peer.expect_request()
    peer.reply(OK)
    drive(fetch(conn), peer)
    expected = base64.b64encode(b"user:p@ss").decode()
    assert peer.requests[0].get("Proxy-Authorization") == f"Basic {expected}"


class Tunnel:
    """A listener whose peers speak plain first: the proxy of a TLS connection."""

    def __init__(self, wire: Wire, **options: Any) -> None:
        listener = wire.listen()
        self.peer = listener.peer(handshake=False)
        host, port = listener.address
        credentials = options.pop("credentials", "")
        self.conn = HTTPConnection(
            HOST,
            ssl_context=wire.client_context,
            proxy=f"http://{credentials}{host}:{port}" if credentials else (host, port),
            **options,
        )
        wire.adopt(self.conn.disconnect)


@pytest.mark.parametrize("port", [None, 8443])
def test_tls_goes_through_a_tunnel(tls: Wire, port: int | None) -> None:
    tunnel = Tunnel(tls, port=port)
    conn, peer = tunnel.conn, tunnel.peer
    peer.expect_request(b"CONNECT localhost:%d HTTP/1.1\r\n" % (port or 443))
    peer.reply(b"HTTP/1.1 200 Connection established\r\n\r\n")
    peer.start_tls(tls.certificates.server)
    works(conn, peer)
    connect, get = peer.requests
    assert connect.get("Host") == f"localhost:{port or 443}"
    assert get.line == "GET /works HTTP/1.1"


def test_tunnel_credentials_are_for_the_proxy_alone(tls: Wire) -> None:
    tunnel = Tunnel(tls, credentials="user:pass@")
    conn, peer = tunnel.conn, tunnel.peer
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\n\r\n", chunk=1)
    peer.start_tls(tls.certificates.server)
    works(conn, peer)
    connect, get = peer.requests
    expected = base64.b64encode(b"user:pass").decode()
    assert connect.get("Proxy-Authorization") == f"Basic {expected}"
    assert get.get("Proxy-Authorization") is None


@pytest.mark.parametrize(
    ("status", "temporary"), [(403, False), (407, False), (502, True), (503, True), (504, True)]
)
def test_refused_tunnel(tls: Wire, status: int, temporary: bool) -> None:
    tunnel = Tunnel(tls)
    tunnel.peer.expect_request()
    tunnel.peer.reply(b"HTTP/1.1 %d No way\r\nVia: x\r\nContent-Length: 2\r\n\r\nno" % status)
    with pytest.raises(TunnelRefused) as info:
        drive(tunnel.conn.co_send_request("POST", "/"), tunnel.peer)
    exc = info.value
    assert (exc.status, exc.reason, exc.headers["Via"]) == (status, "No way", "x")
    assert (exc.bytes_sent, exc.safe_to_retry) == (0, True)
    assert is_temp_network_error(exc) is temporary


def test_proxy_that_speaks_something_else(tls: Wire) -> None:
    tunnel = Tunnel(tls)
    tunnel.peer.expect_request()
    tunnel.peer.reply(b"220 smtp.example.com\r\n")
    with pytest.raises(InvalidResponse):
        drive(tunnel.conn.co_connect(), tunnel.peer)


def test_proxy_that_hangs_up(tls: Wire) -> None:
    tunnel = Tunnel(tls)
    tunnel.peer.expect_request()
    tunnel.peer.close()
    with pytest.raises(ConnectionClosed):
        drive(tunnel.conn.co_connect(), tunnel.peer)


# ------------------------------------------------------------------------------------ TLS


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_versions(tls: Wire, version: ssl.TLSVersion) -> None:
    context = tls.certificates.new_client()
    context.minimum_version = context.maximum_version = version
    conn, peer = tls.pair(ssl_context=context)
    for _ in range(2):
        works(conn, peer)
    cipher = drive(conn.co_get_ssl_cipher(), peer)
    assert cipher is not None


def _alpn_pair(tls: Wire, client: list[str], server: list[str]) -> tuple[HTTPConnection, Peer]:
    near, far = tls.certificates.new_client(), tls.certificates.new_server()
    near.set_alpn_protocols(client)
    far.set_alpn_protocols(server)
    conn, peer = tls.pair(ssl_context=near, handshake=False)
    peer.start_tls(far)
    return conn, peer


def test_alpn_choice_of_another_protocol(tls: Wire) -> None:
    conn, peer = _alpn_pair(tls, ["h2", "http/1.1"], ["h2"])
    with pytest.raises(UnsupportedResponse):
        drive(conn.co_connect(), peer)


def test_alpn_choice_of_this_protocol(tls: Wire) -> None:
    conn, peer = _alpn_pair(tls, ["h2", "http/1.1"], ["http/1.1"])
    works(conn, peer)


def test_handshake_in_small_steps(tls: Wire) -> None:
    """The coroutine waits in the handshake; it does not block there."""
    conn, peer = tls.pair()
    crt = conn.co_connect()
    need = next(crt)
    assert need.mask in (select.POLLIN, select.POLLOUT)
    assert not need.poll(0)
    assert next(crt).fd == need.fd  # resumed early
    drive(crt, peer)
    works(conn, peer)
