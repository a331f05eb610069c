"""Network streams of the transports for httpx and httpx2."""

from __future__ import annotations

import functools
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import httpx2
import pytest
from websockets.sync.server import serve

from dugong.errors import StateError
from tests.adapters.httpx_kits import Kit, each_kit, kits
from tests.adapters.raw import read_head, serving
from tests.support.site import Site
from tests.support.wire import HOST, Certificates

T = TypeVar("T")

UPGRADE = {"Connection": "Upgrade", "Upgrade": "echo"}


def _echo(sock: socket.socket) -> None:
    while data := sock.recv(100_000):
        sock.sendall(data)


def _switching(sock: socket.socket) -> None:
    head = read_head(sock)
    early = b"early" if b"/early" in head else b""
    sock.sendall(b"HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n" + early)
    if b"/reset" in head:
        sock.recv(1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    elif b"/end" not in head:
        _echo(sock)


def _tunnel_in_tls(sock: socket.socket, context: ssl.SSLContext) -> None:
    """A tunnel of an https proxy, to a server that also speaks TLS."""
    with context.wrap_socket(sock, server_side=True) as outer:
        read_head(outer)
        outer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        inner = context.wrap_bio(incoming, outgoing, server_side=True)

        def run(step: Callable[[], T]) -> T:
            while True:
                try:
                    result = step()
                except ssl.SSLWantReadError:
                    outer.sendall(outgoing.read())
                    incoming.write(outer.recv(100_000))
                else:
                    outer.sendall(outgoing.read())
                    return result

        run(inner.do_handshake)
        data = run(lambda: inner.read(100))
        run(lambda: inner.write(data))
        outer.recv(1)


def _tunnel(sock: socket.socket, context: ssl.SSLContext) -> None:
    read_head(sock)
    sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    with suppress(OSError), context.wrap_socket(sock, server_side=True) as secure:
        _echo(secure)


@contextmanager
def switching() -> Iterator[str]:
    with serving(_switching) as port:
        yield f"http://127.0.0.1:{port}"


@each_kit
async def test_switched_protocol(kit: Kit) -> None:
    with switching() as url:
        async with kit.client() as client:
            async with client.stream("GET", f"{url}/early", headers=UPGRADE) as response:
                assert response.bare.status_code == 101
                network = response.network
                base = kit.core.AsyncNetworkStream if kit.is_async else kit.core.NetworkStream
                assert isinstance(network.bare, base)
                assert await network.read(3) == b"ear"
                assert await network.read(100) == b"ly"
                await network.write(b"")
                await network.write(b"hello")
                assert await network.read(100, timeout=5) == b"hello"
                with pytest.raises(kit.core.ReadTimeout, match="timed out"):
                    await network.read(100, timeout=0.01)
                await network.write(b"again", timeout=5)
                assert await network.read(100) == b"again"
                assert client.transport._pool.stats().leased == 1
            assert client.transport._pool.stats().leased == 0
            with pytest.raises(kit.core.ReadError):
                await network.read(100)
            with pytest.raises(kit.core.WriteError):
                await network.write(b"x")


@each_kit
async def test_closing_a_network_stream_ends_the_lease(kit: Kit) -> None:
    with switching() as url:
        async with kit.client() as client:
            async with client.stream("GET", url, headers=UPGRADE) as response:
                await response.network.close()
                await response.network.close()
                stats = client.transport._pool.stats()
                assert (stats.idle, stats.leased) == (0, 0)


@each_kit
async def test_end_of_a_switched_protocol(kit: Kit) -> None:
    with switching() as url:
        async with kit.client() as client:
            async with client.stream("GET", f"{url}/end", headers=UPGRADE) as response:
                assert await response.network.read(100) == b""
            async with client.stream("GET", f"{url}/reset", headers=UPGRADE) as response:
                await response.network.write(b"x")
                with pytest.raises(kit.core.ReadError, match="reset"):
                    await response.network.read(100)


@each_kit
async def test_write_timeout(kit: Kit) -> None:
    with switching() as url:
        async with kit.client() as client:
            async with client.stream("GET", url, headers=UPGRADE) as response:
                with pytest.raises(kit.core.WriteTimeout, match="timed out"):
                    await response.network.write(bytes(100_000_000), timeout=0.01)


@each_kit
async def test_information(kit: Kit, certificates: Certificates, site: Site) -> None:
    """That of an ordinary response, also after its body was read."""
    async with kit.client() as client:
        async with client.stream("GET", site.url) as response:
            network = response.network
            get = network.bare.get_extra_info
            for _ in range(2):
                assert get("server_addr") == ("127.0.0.1", site.port)
                assert get("client_addr") == ("127.0.0.1", site.seen[0].port)
                assert get("ssl_object") is None
                assert get("unknown") is None
                await response.read()
            assert get("is_readable") is False
            for use in (network.read(1), network.write(b"x")):
                with pytest.raises(StateError, match="speaks HTTP"):
                    await use


@each_kit
async def test_tls_in_a_tunnel_of_the_callers(kit: Kit, certificates: Certificates) -> None:
    target = {"target": b"origin.test:443"}
    with serving(functools.partial(_tunnel, context=certificates.server)) as port:
        async with kit.client() as client:
            url = f"http://127.0.0.1:{port}/"
            async with client.stream("CONNECT", url, extensions=target) as response:
                context = certificates.new_client()
                plain = response.network
                network = await plain.start_tls(context, server_hostname=HOST, timeout=5)
                assert network.bare.get_extra_info("ssl_object").version().startswith("TLS")
                await network.write(b"hello")
                assert await network.read(100) == b"hello"
                with pytest.raises(NotImplementedError):
                    await network.start_tls(context, server_hostname=HOST)
                await network.close()
                with pytest.raises(kit.core.ReadError):
                    await network.read(1)
            async with client.stream("CONNECT", url, extensions=target) as response:
                with pytest.raises(kit.core.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                    await response.network.start_tls(ssl.create_default_context(), HOST)
            assert client.transport._pool.stats().leased == 0


@each_kit
async def test_tls_in_tls(kit: Kit, certificates: Certificates) -> None:
    target = {"target": b"origin.test:443"}
    context = certificates.new_client()
    with serving(functools.partial(_tunnel_in_tls, context=certificates.server)) as port:
        async with kit.client(kit.transport(verify=context)) as client:
            url = f"https://{HOST}:{port}/"
            async with client.stream("CONNECT", url, extensions=target) as response:
                network = await response.network.start_tls(context, HOST)
                await network.write(b"hello")
                assert await network.read(100) == b"hello"
                await network.close()


@kits("blocking", "asyncio")
async def test_websockets_of_httpx2(kit: Kit) -> None:
    """A client that reads in one thread or task, and writes in another."""
    if kit.library is not httpx2:
        return

    def echo(conn: Any) -> None:
        for message in conn:
            conn.send(message)

    with serve(echo, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = "ws://{}:{}".format(*server.socket.getsockname())
            async with kit.client() as client:
                if kit.is_async:
                    async with client.bare.websocket(url) as ws:
                        await ws.send_text("hello")
                        assert await ws.receive_text() == "hello"
                else:
                    with client.bare.websocket(url) as ws:
                        ws.send_text("hello")
                        assert ws.receive_text() == "hello"
        finally:
            server.shutdown()
            thread.join()


@each_kit
async def test_handshake_that_takes_too_long(kit: Kit) -> None:
    def silent(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while sock.recv(1000):
            pass

    target = {"target": b"origin.test:443"}
    with serving(silent) as port:
        async with kit.client() as client:
            url = f"http://127.0.0.1:{port}/"
            async with client.stream("CONNECT", url, extensions=target) as response:
                with pytest.raises(kit.core.ConnectTimeout, match="timed out"):
                    context = ssl.create_default_context()
                    await response.network.start_tls(context, HOST, timeout=0.01)
