"""What errors say that end connecting: the address, and the proxy; and what they keep."""

from __future__ import annotations

import errno
import os
import pickle
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

import dugong
from dugong import (
    ConnectionClosed,
    ConnectionTimedOut,
    DNSUnavailable,
    HostnameNotResolvable,
    HTTPConnection,
    InvalidResponse,
    TunnelRefused,
    UnsupportedResponse,
    eval_coroutine,
    is_temp_network_error,
)
from dugong.errors import add_address
from tests.support.styles import StyledWire
from tests.support.wire import HOST
from tests.transport.tools import busy_server, refusing_address


def copied(exc: Any) -> Any:
    return pickle.loads(pickle.dumps(exc))  # noqa: S301 (our own bytes)


def check_system_error(exc: Any, kind: type[OSError], code: int) -> None:
    """It is the system's own error, but for its text."""
    assert type(exc) is kind
    assert (exc.errno, exc.strerror) == (code, os.strerror(code))
    assert exc.args == (code, os.strerror(code))
    assert (vars(exc)["bytes_sent"], vars(exc)["safe_to_retry"]) == (0, True)
    again = copied(exc)
    assert (type(again), str(again), again.errno) == (kind, str(exc), code)


async def test_refused(wire: StyledWire) -> None:
    host, port = refusing_address()
    conn = wire.connection(host, port=port, ssl_context=wire.client_context)
    for call in (conn.connect, lambda: conn.request("GET", "/")):
        with pytest.raises(ConnectionRefusedError) as info:
            await call()
        check_system_error(info.value, ConnectionRefusedError, errno.ECONNREFUSED)
        assert f"{host}:{port}" in str(info.value)
        assert str(info.value).count(host) == 1


async def test_refused_under_another_name(wire: StyledWire) -> None:
    """The address is shown beside the name."""
    host, port = refusing_address()
    conn = wire.connection("example.com", address=(host, port), ssl_context=wire.client_context)
    with pytest.raises(ConnectionRefusedError, match=rf"example\.com at {host}:{port}"):
        await conn.connect()


async def test_refused_after_a_look_up(plain: StyledWire) -> None:
    port = refusing_address()[1]
    conn = plain.connection("localhost", port=port)
    with pytest.raises(ConnectionRefusedError) as info:
        await conn.connect()
    assert f"localhost:{port} at " in str(info.value)
    assert f"127.0.0.1:{port}" in str(info.value) or f"[::1]:{port}" in str(info.value)


async def test_refused_by_the_proxy(wire: StyledWire) -> None:
    host, port = refusing_address()
    conn = wire.connection(
        "example.com",
        proxy=f"http://user:secret@{host}:{port}",
        ssl_context=wire.client_context,
        proxy_headers={"Proxy-Authorization": "Bearer secret"},
    )
    with pytest.raises(ConnectionRefusedError) as info:
        await conn.connect()
    check_system_error(info.value, ConnectionRefusedError, errno.ECONNREFUSED)
    assert f"example.com through the proxy {host}:{port}" in str(info.value)
    assert "secret" not in repr(info.value)
    assert "user" not in repr(info.value)


async def test_source_address_that_is_not_ours(wire: StyledWire) -> None:
    host, port = refusing_address()
    conn = wire.connection(
        host, port=port, ssl_context=wire.client_context, source_address=("192.0.2.1", 0)
    )
    with pytest.raises(OSError, match=r"192\.0\.2\.1") as info:
        await conn.connect()
    check_system_error(info.value, OSError, errno.EADDRNOTAVAIL)
    assert f"{host}:{port} from 192.0.2.1:0" in str(info.value)


async def test_unix_socket_that_is_not_there(wire: StyledWire, tmp_path: Path) -> None:
    path = str(tmp_path / "nothing")
    conn = wire.connection(
        "example.com",
        unix_socket=path,
        ssl_context=wire.client_context,
        source_address=("127.0.0.1", 0),
    )
    with pytest.raises(FileNotFoundError) as info:
        await conn.connect()
    check_system_error(info.value, FileNotFoundError, errno.ENOENT)
    assert f"example.com at {path}" in str(info.value)
    assert "127.0.0.1" not in str(info.value)


@pytest.mark.parametrize(
    ("code", "kind"), [("EAI_NONAME", HostnameNotResolvable), ("EAI_AGAIN", DNSUnavailable)]
)
@pytest.mark.parametrize("by_proxy", [False, True])
async def test_names(
    wire: StyledWire,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    kind: type[HostnameNotResolvable | DNSUnavailable],
    by_proxy: bool,
) -> None:
    def getaddrinfo(host: Any, *args: Any, flags: int = 0, **options: Any) -> list[Any]:
        if host in ("up.example", b"up.example"):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))]
        raise socket.gaierror(getattr(socket, code), "no")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(dugong, "DNS_TEST_HOSTNAMES", (("up.example", 80),))
    proxy = ("proxy.example", 3128) if by_proxy else None
    conn = wire.connection("server.example", ssl_context=wire.client_context, proxy=proxy)
    with pytest.raises(kind) as info:
        await conn.connect()
    exc = info.value
    assert exc.name == ("proxy.example" if by_proxy else "server.example")
    assert exc.args == (exc.name,)
    assert "server.example" in str(exc)
    assert ("through the proxy proxy.example:3128" in str(exc)) is by_proxy
    assert str(copied(exc)) == str(exc)


@pytest.mark.parametrize("by_proxy", [False, True])
async def test_certificate_that_is_not_trusted(tls: StyledWire, by_proxy: bool) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    listener = tls.listen()
    peer = listener.peer(handshake=not by_proxy)
    options: dict[str, Any] = {"proxy" if by_proxy else "address": listener.address}
    conn = tls.connection(HOST, ssl_context=context, **options)
    if by_proxy:
        peer.expect_request()
        peer.reply(b"HTTP/1.1 200 OK\r\n\r\n")
        peer.start_tls(tls.certificates.server)
    with pytest.raises(ssl.SSLCertVerificationError) as info:
        await conn.connect()
    exc = info.value
    address = "{}:{}".format(*listener.address)
    where = f"localhost through the proxy {address}" if by_proxy else f"localhost at {address}"
    assert str(exc).endswith(f"(connecting to {where})")
    assert "CERTIFICATE_VERIFY_FAILED" in str(exc)
    assert (exc.errno, exc.reason) == (1, "CERTIFICATE_VERIFY_FAILED")
    assert exc.verify_code
    assert exc.args == (1, exc.strerror)
    assert not is_temp_network_error(exc)
    assert (str(copied(exc)), copied(exc).verify_code) == (str(exc), exc.verify_code)


async def test_server_that_speaks_no_tls(tls: StyledWire) -> None:
    listener = tls.listen()
    conn, peer = tls.dial(listener), listener.peer(handshake=False)
    peer.reply(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(ssl.SSLError, match="localhost at {}:{}".format(*listener.address)) as info:
        await conn.connect()
    assert info.value.reason is not None


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_server_that_leaves_in_the_handshake(tls: StyledWire, end: str) -> None:
    listener = tls.listen()
    conn, peer = tls.dial(listener), listener.peer(handshake=False)
    peer.expect(b"\x16\x03")
    getattr(peer, end)()
    with pytest.raises(OSError, match="localhost at {}:{}".format(*listener.address)) as info:
        await conn.connect()
    assert is_temp_network_error(info.value)


@pytest.mark.styles("blocking", "asyncio", "trio")  # generators have no limits
@pytest.mark.parametrize("limit", ["timeout", "deadline"])
async def test_time_limits(plain: StyledWire, limit: str) -> None:
    with busy_server() as server:
        host, port = server.getsockname()
        conn = plain.connection("example.com", address=(host, port))
        setattr(conn, limit, 0.02)
        with pytest.raises(ConnectionTimedOut, match=rf"example\.com at {host}:{port}"):
            await conn.connect()


ANSWERS = {
    b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n": TunnelRefused,
    b"220 smtp.example\r\n": InvalidResponse,
    b"HTTP/1.1 101 Switching\r\n\r\n": UnsupportedResponse,
    b"": ConnectionClosed,
}


@pytest.mark.parametrize(("answer", "kind"), ANSWERS.items())
async def test_tunnels(tls: StyledWire, answer: bytes, kind: type[Exception]) -> None:
    listener = tls.listen()
    peer = listener.peer(handshake=False)
    conn = tls.connection("example.com", ssl_context=tls.client_context, proxy=listener.address)
    peer.expect_request()
    peer.reply(answer)
    peer.close()
    where = "example.com through the proxy {}:{}".format(*listener.address)
    with pytest.raises(kind, match=where) as info:
        await conn.connect()
    assert str(copied(info.value)) == str(info.value)


def test_reader_sees_it_too() -> None:
    """The call that waits for the response reports why there is no connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        conn = HTTPConnection(host, port, ssl.create_default_context())
        sender = conn.co_send_request("GET", "/")
        need = next(sender)  # for the handshake
        reader = conn.co_read_response()
        next(reader)
        listener.accept()[0].close()
    assert need.poll(10)
    with pytest.raises(OSError, match=f"{host}:{port}"):
        eval_coroutine(sender, timeout=10)
    with pytest.raises(ConnectionClosed, match=f"{host}:{port}"):
        eval_coroutine(reader, timeout=10)


@pytest.mark.parametrize(
    ("exc", "text"),
    [
        (OSError("x"), "x (connecting to h:1)"),
        (OSError(), ""),
        (OSError(2, "x", "file"), "[Errno 2] x: 'file'"),
        (socket.gaierror(-2, "x"), "[Errno -2] x: 'h:1'"),
        (ssl.SSLError(1, "x"), "x (connecting to h:1)"),
        (ConnectionClosed("x"), "x (connecting to h:1)"),
        (ConnectionClosed(), ""),
    ],
)
def test_each_kind_of_message(exc: Any, text: str) -> None:
    code = exc.errno
    add_address(exc, "h:1")
    assert str(exc) == text
    assert exc.errno == code
    assert str(copied(exc)) == text
