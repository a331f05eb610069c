"""Through real proxies of every kind: tinyproxy, the same inside TLS, and microsocks."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import trustme

from dugong import (
    AddressRefused,
    AsyncHTTPConnection,
    AsyncPool,
    Client,
    HTTPConnection,
    InvalidRequest,
    Origin,
    Pool,
    TunnelRefused,
    eval_coroutine,
    is_temp_network_error,
)
from dugong.pool.place import ConnectionSettings
from tests.support.apps import document
from tests.support.in_turn import in_turn
from tests.support.servers import (
    HOST,
    PROXY_PASSWORD,
    Documents,
    Endpoint,
    Endpoints,
    NginxEndpoints,
    Proxies,
)
from tests.transport.tools import refusing_address

#: Every kind of proxy: its scheme, and the fixture.
KINDS = {
    "http": "tinyproxy",
    "https": "https_proxies",
    "socks5": "socks_proxies",
    "socks5h": "socks_proxies",
}


class Through:
    """Proxies of one kind, and how to connect through them."""

    def __init__(self, scheme: str, proxies: Proxies, context: ssl.SSLContext) -> None:
        self.scheme = scheme
        self.is_socks = scheme.startswith("socks")
        self.proxies = proxies
        self.options: dict[str, Any] = {"proxy_ssl_context": context, "timeout": 30}

    def open(self, **options: Any) -> dict[str, Any]:
        return {**self.options, "proxy": self.proxies.open_url(self.scheme), **options}

    def guarded(self, password: str = PROXY_PASSWORD) -> dict[str, Any]:
        url = self.proxies.guarded_url(password=password, scheme=self.scheme)
        return {**self.options, "proxy": url}

    def keeps_alive(self, scheme: str) -> bool:
        """Whether one connection serves several requests. tinyproxy closes it after a response."""
        return self.is_socks or scheme == "https"


@pytest.fixture(params=KINDS)
def through(request: pytest.FixtureRequest, trusting_context: ssl.SSLContext) -> Through:
    scheme: str = request.param
    # Another context than that of the servers, so that it is clear which of them is used.
    context = ssl.create_default_context(cadata=_authority(request))
    return Through(scheme, request.getfixturevalue(KINDS[scheme]), context)


def _authority(request: pytest.FixtureRequest) -> str:
    pem: bytes = request.getfixturevalue("authority").cert_pem.bytes()
    return pem.decode()


def get(conn: HTTPConnection, path: str) -> bytes:
    assert conn.request("GET", path).status == 200
    return conn.readall()


def test_documents(server: Endpoints, scheme: str, through: Through) -> None:
    """Several on one connection, and again on the next one."""
    endpoint: Endpoint = getattr(server, scheme)
    with endpoint.connection(**through.open()) as conn:
        for _ in range(2):
            for n in range(5):
                assert get(conn, f"/doc/{n}.txt") == document(n)
                if not through.keeps_alive("https" if scheme == "tls" else "http"):
                    break
            conn.disconnect()


def test_asked_as_if_there_was_no_proxy(nginx: NginxEndpoints, through: Through) -> None:
    """Only an HTTP proxy sees a request, and that only without TLS to the server."""
    for endpoint in (nginx.plain, nginx.tls):
        with endpoint.connection(**through.open()) as conn:
            resp = conn.request("GET", "/doc/1.txt")
            seen = endpoint is nginx.plain and not through.is_socks
            assert ("Via" in resp.headers) is seen
            conn.discard()
            assert (conn.tls_version is not None) is (endpoint is nginx.tls)
            certificate: Any = conn.get_ssl_peercert(True)
            assert (certificate is not None) is (endpoint is nginx.tls)


@pytest.mark.parametrize("style", ["asyncio", "trio"])
def test_other_styles(nginx: NginxEndpoints, through: Through, style: str) -> None:
    async def fetch() -> None:
        for endpoint in (nginx.plain, nginx.tls):
            options = through.open(ssl_context=endpoint.context)
            conn = AsyncHTTPConnection(HOST, endpoint.port, **options)
            for n in range(2):
                assert (await conn.request("GET", f"/doc/{n}.txt")).status == 200
                assert await conn.readall() == document(n)
                conn.disconnect()

    if style == "trio":
        import trio

        trio.run(fetch)
    else:
        import asyncio

        asyncio.run(fetch())


def test_generators(nginx: NginxEndpoints, through: Through) -> None:
    for endpoint in (nginx.plain, nginx.tls):
        with endpoint.connection(**through.open()) as conn:
            resp = eval_coroutine(conn.co_request("GET", "/doc/7.txt"), 30)
            assert resp.status == 200
            assert eval_coroutine(conn.co_readall(), 30) == document(7)


def test_large_bodies(nginx: NginxEndpoints, through: Through, documents: Documents) -> None:
    for endpoint in (nginx.plain, nginx.tls):
        with endpoint.connection(**through.open()) as conn:
            body = get(conn, "/doc/large.bin")
            assert hashlib.sha256(body).hexdigest() == documents.sha256("large.bin")
            conn.disconnect()
            resp = conn.request("PUT", "/echo", body=body[: 1 << 20])
            assert resp.status == 200
            assert conn.readall() == body[: 1 << 20]


def test_pipeline(nginx: NginxEndpoints, through: Through) -> None:
    for scheme, endpoint in (("http", nginx.plain), ("https", nginx.tls)):
        if not through.keeps_alive(scheme):
            continue
        with endpoint.connection(**through.open()) as conn:
            requests = [("GET", f"/doc/{n}.txt") for n in range(30)]
            for n, resp in enumerate(conn.pipeline(requests)):
                assert resp.status == 200
                assert conn.readall() == document(n)


# ------------------------------------------------------------------------------- credentials


def test_credentials(nginx: NginxEndpoints, scheme: str, through: Through) -> None:
    endpoint: Endpoint = getattr(nginx, scheme)
    with endpoint.connection(**through.guarded()) as conn:
        assert get(conn, "/doc/12.txt") == document(12)


@pytest.mark.parametrize("password", [None, "wr0ng"])
def test_refused_credentials(nginx: NginxEndpoints, through: Through, password: str | None) -> None:
    options = through.guarded(password or "")
    if password is None:
        options["proxy"] = "{}://{}:{}".format(through.scheme, *through.proxies.guarded)
    with nginx.tls.connection(**options) as conn:
        with pytest.raises(TunnelRefused) as info:
            conn.request("GET", "/doc/1.txt")
    # tinyproxy answers a wrong password like an origin server would, with 401.
    status = 407 if password is None or through.is_socks else 401
    assert info.value.status == status
    assert (info.value.reply is not None) is through.is_socks
    assert not is_temp_network_error(info.value)
    assert "wr0ng" not in f"{info.value!r} {info.value}"
    assert info.value.safe_to_retry


# ------------------------------------------------------------------------------- SOCKS


@pytest.fixture
def six(nginx: NginxEndpoints) -> Iterator[int]:
    """The port of a server on ::1 that answers every request alike."""
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listener:
        yield listener.getsockname()[1]


@in_turn(("host", "scheme"), [("localhost", "socks5"), ("localhost", "socks5h"),
                              (HOST, "socks5"), (HOST, "socks5h")])  # fmt: skip
def test_names_and_addresses(
    nginx: NginxEndpoints, socks_proxies: Proxies, host: str, scheme: str
) -> None:
    """nginx listens on 127.0.0.1 alone: with socks5, ::1 is refused and the next address taken."""
    proxy = socks_proxies.open_url(scheme)
    for endpoint in (nginx.plain, nginx.tls):
        with endpoint.connection(hostname=host, proxy=proxy, timeout=30) as conn:
            assert get(conn, "/doc/3.txt") == document(3)


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_ipv6(socks_proxies: Proxies, six: int, scheme: str) -> None:
    with HTTPConnection("::1", six, proxy=socks_proxies.open_url(scheme), timeout=30) as conn:
        conn.connect()


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_server_that_refuses(socks_proxies: Proxies, scheme: str) -> None:
    host, port = refusing_address()
    with HTTPConnection(host, port, proxy=socks_proxies.open_url(scheme), timeout=30) as conn:
        with pytest.raises(TunnelRefused, match="connection refused") as info:
            conn.connect()
    assert (info.value.status, info.value.reply) == (502, 5)
    assert is_temp_network_error(info.value)


def test_name_that_the_proxy_cannot_resolve(socks_proxies: Proxies) -> None:
    proxy = socks_proxies.open_url("socks5h")
    with HTTPConnection("no-such-host.invalid", 80, proxy=proxy, timeout=30) as conn:
        with pytest.raises(TunnelRefused) as info:
            conn.connect()
    assert info.value.status == 502


def test_guard(nginx: NginxEndpoints, socks_proxies: Proxies) -> None:
    """The approved address is the one that the proxy is given."""
    seen: list[str] = []

    def allow(address: Any) -> bool:
        seen.append(str(address))
        return isinstance(address, IPv4Address)

    settings = ConnectionSettings(proxy=socks_proxies.open_url("socks5"), allow=allow, timeout=30)
    with Pool(timeout=30) as pool:
        origin = Origin("http", "localhost", nginx.plain.port)
        conn = eval_coroutine(pool.co_acquire(origin, settings), 30)
        assert get(conn, "/doc/3.txt") == document(3)
        pool.release(conn)
    assert "127.0.0.1" in seen


# ------------------------------------------------------------------------------- clients


@pytest.fixture
def authorities(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with the tests' authority, which is also that of the system."""
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(file)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return file


@pytest.mark.parametrize("from_environment", [False, True])
def test_client(
    nginx: NginxEndpoints,
    through: Through,
    authorities: Path,
    from_environment: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy = through.guarded()["proxy"]
    options: dict[str, Any] = {"verify": authorities, "timeout": 30}
    if from_environment:
        monkeypatch.setenv("all_proxy", proxy)
    else:
        options["proxy"] = proxy
    with Client(**options) as client:
        for scheme, endpoint in (("http", nginx.plain), ("https", nginx.tls)):
            for n in range(2):
                resp = client.get(f"{scheme}://{HOST}:{endpoint.port}/doc/{n}.txt")
                assert resp.readall() == document(n)
        with pytest.raises(TunnelRefused):
            client.get(f"https://{HOST}:{refusing_address()[1]}/")


def test_client_within_a_guard(nginx: NginxEndpoints, socks_proxies: Proxies) -> None:
    url = f"http://localhost:{nginx.plain.port}/doc/1.txt"
    proxy = socks_proxies.open_url("socks5")
    with Client(proxy=proxy, allow=lambda address: address.version == 4, timeout=30) as client:
        assert client.get(url).readall() == document(1)
    with Client(proxy=proxy, allow="public", timeout=30) as client:
        with pytest.raises(AddressRefused):
            client.get(url)
    with pytest.raises(InvalidRequest, match="allow cannot be combined"):
        Client(proxy=socks_proxies.open_url("socks5h"), allow="public")


@pytest.mark.usefixtures("authorities")
def test_lax_client(
    nginx: NginxEndpoints, https_proxies: Proxies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """verify=False is about the servers: a proxy is verified nevertheless."""
    with Client(proxy=https_proxies.open_url("https"), verify=False, timeout=30) as client:
        url = f"https://{HOST}:{nginx.tls.port}/doc/1.txt"
        assert client.get(url).readall() == document(1)
    monkeypatch.setenv("SSL_CERT_FILE", os.devnull)
    with Client(proxy=https_proxies.open_url("https"), verify=False, timeout=30) as client:
        with pytest.raises(ssl.SSLCertVerificationError, match="with the proxy"):
            client.get(url)


# ------------------------------------------------------------------------------- pools


def test_pool(nginx: NginxEndpoints, through: Through, trusting_context: ssl.SSLContext) -> None:
    with Pool(**through.open(ssl_context=trusting_context)) as pool:
        for scheme, endpoint in (("http", nginx.plain), ("https", nginx.tls)):
            if not through.keeps_alive(scheme):
                continue
            addresses = set()
            for n in range(3):
                with pool.connection(f"{scheme}://{HOST}:{endpoint.port}") as conn:
                    assert get(conn, f"/doc/{n}.txt") == document(n)
                    addresses.add(conn.local_address)
            assert len(addresses) == 1, "one connection is enough"
        assert pool.stats().idle == 1 + through.is_socks


def test_async_pool(
    nginx: NginxEndpoints, through: Through, trusting_context: ssl.SSLContext
) -> None:
    async def fetch() -> None:
        async with AsyncPool(**through.open(ssl_context=trusting_context)) as pool:
            for n in range(3):
                async with pool.connection(f"https://{HOST}:{nginx.tls.port}") as conn:
                    await conn.request("GET", f"/doc/{n}.txt")
                    assert await conn.readall() == document(n)

    import asyncio

    asyncio.run(fetch())


def test_verifying_and_lax_callers_of_a_pool(
    nginx: NginxEndpoints, https_proxies: Proxies, trusting_context: ssl.SSLContext
) -> None:
    """Connections differ by the context of the proxy, too."""
    lax = ssl.create_default_context()
    lax.check_hostname, lax.verify_mode = False, ssl.CERT_NONE
    origin = f"https://{HOST}:{nginx.tls.port}"
    url = https_proxies.open_url("https")
    with Pool(timeout=30) as pool:

        def fetch(**options: Any) -> None:
            settings = ConnectionSettings(ssl_context=trusting_context, proxy=url, **options)
            conn = eval_coroutine(pool.co_acquire(origin, settings), 30)
            try:
                assert get(conn, "/doc/1.txt") == document(1)
            finally:
                pool.release(conn)

        fetch(proxy_ssl_context=lax)
        assert pool.stats().idle == 1
        with pytest.raises(ssl.SSLCertVerificationError, match="with the proxy"):
            fetch()
        fetch(proxy_ssl_context=trusting_context)
        assert pool.stats().idle == 2


def test_tls_sessions_are_resumed_inside_a_tunnel(
    nginx: NginxEndpoints, through: Through, trusting_context: ssl.SSLContext
) -> None:
    resumed = []
    with Pool(**through.open(ssl_context=trusting_context)) as pool:
        for _ in range(2):
            with pool.connection(f"https://{HOST}:{nginx.tls.port}") as conn:
                get(conn, "/doc/1.txt")
                session: Any = conn._session
                stream = session.stream
                tls = stream._tls
                resumed.append((tls if tls is stream.sock else tls._inner).session_reused)
            pool.close_idle()
    assert resumed == [False, True]
