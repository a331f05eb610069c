"""Tunnels through a proxy, in every style: refusals with their bodies, and fields for the proxy."""

from __future__ import annotations

from typing import Any

import pytest

from dugong import (
    AsyncHTTPConnection,
    ConnectionClosed,
    ConnectionTimedOut,
    HTTPConnection,
    InvalidRequest,
    TunnelRefused,
    UnsupportedResponse,
)
from dugong.protocol.limits import REFUSAL_TIMEOUT
from dugong.session import tunnel
from tests.support.drive import advance
from tests.support.exchanges import works
from tests.support.in_turn import in_turn
from tests.support.peer import Peer
from tests.support.styles import StyledWire
from tests.support.wire import HOST, Wire

REFUSAL = b"HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic realm=x\r\n"


def through_a_proxy(tls: StyledWire, **options: Any) -> tuple[AsyncHTTPConnection, Peer]:
    """A connection to a server behind a proxy, which is the peer at first."""
    listener = tls.listen()
    peer = listener.peer(handshake=False)
    options.setdefault("proxy", listener.address)
    conn = tls.connection(HOST, ssl_context=tls.client_context, **options)
    return conn, peer


@in_turn(
    ("rest", "body"),
    [
        (b"Content-Length: 11\r\n\r\nTry harder.", b"Try harder."),
        (b"Transfer-Encoding: chunked\r\n\r\n3\r\nTry\r\n1\r\n.\r\n0\r\n\r\n", b"Try."),
        (b"Content-Length: x\r\n\r\nTry harder.", b""),
    ],
)  # fmt: skip
@in_turn("chunk", [None, 1])
async def test_body_of_a_refusal(
    tls: StyledWire, rest: bytes, body: bytes, chunk: int | None
) -> None:
    conn, peer = through_a_proxy(tls)
    peer.expect_request(b"CONNECT")
    peer.reply(REFUSAL + rest, chunk=chunk)
    with pytest.raises(TunnelRefused) as info:
        await conn.request("GET", "/")
    exc = info.value
    assert (exc.status, exc.headers["Proxy-Authenticate"], exc.body) == (407, "Basic realm=x", body)
    assert (exc.bytes_sent, exc.safe_to_retry) == (0, True)


async def test_body_of_a_refusal_until_the_end(tls: StyledWire) -> None:
    conn, peer = through_a_proxy(tls)
    peer.expect_request(b"CONNECT")
    peer.reply(REFUSAL + b"\r\nTry ")
    peer.reply(b"harder.")
    peer.close()
    with pytest.raises(TunnelRefused) as info:
        await conn.connect()
    assert info.value.body == b"Try harder."


def test_time_limit_in_the_body_of_a_refusal(tls: Wire) -> None:
    """Drivers throw it into the coroutine. The refusal has arrived, so that is what is raised."""
    listener = tls.listen()
    conn = HTTPConnection(HOST, ssl_context=tls.client_context, proxy=listener.address)
    tls.adopt(conn.disconnect)
    peer = listener.peer(handshake=False)
    peer.expect_request(b"CONNECT")
    peer.reply(REFUSAL + b"Content-Length: 100\r\n\r\nTry")
    crt = conn.co_request("GET", "/")
    need = advance(crt, peer)
    assert 0 < (need.timeout or 0) <= REFUSAL_TIMEOUT
    with pytest.raises(TunnelRefused) as info:
        crt.throw(ConnectionTimedOut("too late"))
    assert info.value.body == b"Try"


async def test_body_that_never_comes(tls: StyledWire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any limit of the caller's."""
    monkeypatch.setattr(tunnel, "REFUSAL_TIMEOUT", 0.01)
    conn, peer = through_a_proxy(tls)
    peer.expect_request(b"CONNECT")
    peer.reply(REFUSAL + b"Content-Length: 100\r\n\r\nTry")
    with pytest.raises(TunnelRefused) as info:
        await conn.connect()
    assert b"Try".startswith(info.value.body)


@pytest.mark.styles("generator")  # others would need a second thread or task
async def test_disconnect_in_the_body_of_a_refusal(tls: StyledWire) -> None:
    conn, peer = through_a_proxy(tls)
    peer.expect_request(b"CONNECT")
    peer.reply(REFUSAL + b"Content-Length: 100\r\n\r\nTry")
    peer.call(conn.disconnect)
    with pytest.raises(ConnectionClosed, match="disconnect"):
        await conn.connect()


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_proxy_that_switches_protocols(tls: StyledWire, before: bytes) -> None:
    conn, peer = through_a_proxy(tls)
    peer.expect_request(b"CONNECT")
    peer.reply(before + b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: TLS/1.2\r\n\r\n")
    with pytest.raises(UnsupportedResponse) as info:
        await conn.request("GET", "/")
    response = info.value.response
    assert response is not None
    assert (response.status, response.length) == (101, 0)


async def test_fields_for_the_proxy(tls: StyledWire) -> None:
    """They are in CONNECT, each time, and nowhere else."""
    listener = tls.listen()
    headers = {"Proxy-Authorization": "Bearer secret", "X-Trace": 7}
    conn = tls.connection(
        HOST, ssl_context=tls.client_context, proxy=listener.address, proxy_headers=headers
    )
    headers["X-Late"] = "1"
    for _ in range(2):
        peer = listener.peer(handshake=False)
        peer.expect_request(b"CONNECT localhost:443 HTTP/1.1\r\n")
        peer.reply(b"HTTP/1.1 200 OK\r\n\r\n")
        peer.start_tls(tls.certificates.server)
        await works(conn, peer)
        connect, get = peer.requests
        assert connect.get("Proxy-Authorization") == "Bearer secret"
        assert (connect.get("X-Trace"), connect.get("X-Late")) == ("7", None)
        assert get.get("Proxy-Authorization") is get.get("X-Trace") is None
        conn.disconnect()


async def test_fields_replace_the_credentials_of_the_url(tls: StyledWire) -> None:
    listener = tls.listen()
    url = "http://user:pass@{}:{}".format(*listener.address)
    peer = listener.peer(handshake=False)
    headers = {"proxy-authorization": "Bearer x"}
    conn = tls.connection(HOST, ssl_context=tls.client_context, proxy=url, proxy_headers=headers)
    peer.expect_request(b"CONNECT")
    peer.reply(b"HTTP/1.1 200 OK\r\n\r\n")
    peer.start_tls(tls.certificates.server)
    await works(conn, peer)
    head = peer.requests[0].head.lower()
    assert head.count(b"proxy-authorization") == head.count(b"proxy-authorization: bearer x") == 1


@pytest.mark.parametrize("kind", [HTTPConnection, AsyncHTTPConnection])
@pytest.mark.parametrize("headers", [{"X": "secret\r\n"}, {"Content-Length": 5}, {"X Y": "secret"}])
def test_fields_are_checked_at_once(kind: Any, headers: Any) -> None:
    with pytest.raises(InvalidRequest, match="proxy_headers") as info:
        kind("h", proxy=("p", 1), proxy_headers=headers)
    assert "secret" not in str(info.value)
