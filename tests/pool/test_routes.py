"""A connection made with one route is never given to another one; TLS sessions are resumed."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import trustme

from dugong import AddressRefused, HTTPConnection, Origin, Pool, eval_coroutine
from dugong.connection.settings import Settings
from dugong.pool.place import ConnectionSettings
from dugong.transport.connect import Route
from tests.support.in_turn import in_turn
from tests.support.pooled import StyledPool, answering, ask, origin_of
from tests.support.servers import Certificate, NginxEndpoints, Proxies, serving_by_nginx
from tests.support.styles import StyledWire

# ------------------------------------------------------------------------------- keys

CONTEXT, OTHER_CONTEXT = (ssl.create_default_context() for _ in range(2))

#: Settings of which no two may share a connection.
DIFFERENT: list[dict[str, Any]] = [
    {},
    {"ssl_context": CONTEXT},
    {"ssl_context": OTHER_CONTEXT},
    {"proxy": ("p.example", 80)},
    {"proxy": ("p.example", 81)},
    {"proxy": "http://user:one@p.example"},
    {"proxy": "http://user:two@p.example"},
    {"proxy": ("p.example", 80), "ssl_context": CONTEXT},
    {"proxy": "https://p.example:80"},
    {"proxy": "https://p.example:80", "proxy_ssl_context": CONTEXT},
    {"proxy": "https://p.example:80", "proxy_ssl_context": OTHER_CONTEXT},
    {"proxy": "https://p.example:80", "ssl_context": CONTEXT, "proxy_ssl_context": CONTEXT},
    {"proxy": "socks5://p.example:80"},
    {"proxy": "socks5h://p.example:80"},
    {"proxy": "socks5h://user:one@p.example:80"},
    {"proxy": "socks5h://user:two@p.example:80"},
    {"proxy": "socks5h://p.example:80", "ssl_context": CONTEXT},
    {"proxy": ("p.example", 80), "proxy_headers": {"X": "1"}},
    {"proxy": ("p.example", 80), "proxy_headers": {"X": "2"}},
    {"unix_socket": "/one"},
    {"unix_socket": "/two"},
    {"source_address": ("127.0.0.1", 0)},
    {"source_address": ("127.0.0.2", 0)},
    {"address": ("c.example", 80)},
    {"address": ("d.example", 80)},
    {"socket_options": [(1, 2, 3)]},
]

ORIGINS = [("a.example", 80), ("a.example", 8080), ("b.example", 80)]


def route(host: str, port: int, settings: dict[str, Any]) -> Route:
    return Settings(host, port, **settings)._route()


def test_keys_differ() -> None:
    keys = [route(*origin, settings).key for origin in ORIGINS for settings in DIFFERENT]
    routes = [route(*origin, settings) for origin in ORIGINS for settings in DIFFERENT]
    assert len({each.key for each in routes}) == len(routes) == len(keys)


@in_turn("settings", DIFFERENT, ids=range(len(DIFFERENT)))
def test_keys_of_equal_routes(settings: dict[str, Any]) -> None:
    assert route("a.example", 80, settings).key == route("a.example", 80, settings).key


def test_every_argument_is_part_of_the_key() -> None:
    """Whoever adds something to a route has to decide whether it is."""
    assert set(Route.__slots__) - {"_key", "defaults", "resumption"} == {
        "address", "allow", "authority", "proxy", "proxy_context", "resolve", "server_hostname",
        "sock", "socket_options", "source_address", "ssl_context", "tunnel", "tunnel_fields",
        "unix_socket",
    }  # fmt: skip


# ------------------------------------------------------------------------------- sharing a pool


class Got(NamedTuple):
    """A response.

    Attributes:
        address: the local address of its connection.
        used: whether the connection was used before.
        body: the body.
    """

    address: Any
    used: bool
    body: bytes


class Sharing:
    """Callers with different settings that share one pool."""

    def __init__(self, **limits: Any) -> None:
        self.pool = Pool(timeout=20, **limits)

    def get(self, origin: str, path: str, settings: ConnectionSettings) -> Got:
        conn = eval_coroutine(self.pool.co_acquire(origin, settings), 20)
        try:
            used = conn.connected
            assert conn.request("GET", path).status == 200
            body = conn.readall()
            return Got(conn.local_address, used, body)
        finally:
            self.pool.release(conn)


@pytest.fixture
def sharing() -> Iterator[Sharing]:
    found = Sharing()
    yield found
    found.pool.close()


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def test_a_verifying_caller_gets_no_unverified_connection(
    sharing: Sharing, nginx: NginxEndpoints, trusting_context: ssl.SSLContext
) -> None:
    origin = f"https://127.0.0.1:{nginx.tls.port}"
    lax = ConnectionSettings(ssl_context=unverified())
    sharing.get(origin, "/doc/1.txt", lax)
    assert sharing.pool.stats().idle == 1
    distrusting = ConnectionSettings(ssl_context=ssl.create_default_context())
    with pytest.raises(ssl.SSLCertVerificationError):
        sharing.get(origin, "/doc/1.txt", distrusting)
    trusting = ConnectionSettings(ssl_context=trusting_context)
    assert sharing.get(origin, "/doc/1.txt", trusting)[1] is False
    assert sharing.get(origin, "/doc/1.txt", lax)[1] is True
    # Equal routes share: these settings are equal, and not identical.
    assert sharing.get(origin, "/doc/1.txt", ConnectionSettings(ssl_context=trusting_context))[1]
    assert sharing.pool.stats().idle == 2


def test_proxy_and_direct(
    sharing: Sharing, nginx: NginxEndpoints, tinyproxy: Proxies, trusting_context: ssl.SSLContext
) -> None:
    origin = f"https://127.0.0.1:{nginx.tls.port}"
    direct = ConnectionSettings(ssl_context=trusting_context)
    through = ConnectionSettings(ssl_context=trusting_context, proxy=tinyproxy.open)
    guarded = ConnectionSettings(ssl_context=trusting_context, proxy=tinyproxy.guarded_url())
    for settings in (direct, through, guarded):
        assert sharing.get(origin, "/doc/1.txt", settings)[1] is False
    for settings in (direct, through, guarded):
        assert sharing.get(origin, "/doc/1.txt", settings)[1] is True
    wrong = ConnectionSettings(
        ssl_context=trusting_context, proxy=tinyproxy.guarded_url(password="wrong")
    )
    with pytest.raises(ConnectionError):
        sharing.get(origin, "/doc/1.txt", wrong)


def test_unix_socket_and_tcp(sharing: Sharing, nginx: NginxEndpoints) -> None:
    origin = f"http://127.0.0.1:{nginx.plain.port}"
    unix = ConnectionSettings(unix_socket=nginx.unix_socket)
    tcp = ConnectionSettings()
    for _ in range(2):
        assert isinstance(sharing.get(origin, "/doc/1.txt", tcp)[0], tuple)
        assert not isinstance(sharing.get(origin, "/doc/1.txt", unix)[0], tuple)


def test_guards_and_resolvers(sharing: Sharing, nginx: NginxEndpoints) -> None:
    origin = f"http://name.example:{nginx.plain.port}"
    asked: list[Any] = []

    def resolve(host: str, port: int) -> list[Any]:
        asked.append(host)
        return socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM)

    def allow(address: Any) -> bool:
        asked.append(str(address))
        return True

    resolving = ConnectionSettings(resolve=resolve)
    guarded = ConnectionSettings(resolve=resolve, allow=allow)
    refusing = ConnectionSettings(resolve=resolve, allow=lambda address: False)
    assert sharing.get(origin, "/doc/1.txt", resolving)[1] is False
    assert sharing.get(origin, "/doc/1.txt", guarded)[1] is False
    assert asked == ["name.example", "name.example", "127.0.0.1"]
    with pytest.raises(AddressRefused, match=r"127\.0\.0\.1 of name\.example is not allowed"):
        sharing.get(origin, "/doc/1.txt", refusing)
    assert sharing.get(origin, "/doc/1.txt", resolving)[1] is True
    assert sharing.get(origin, "/doc/1.txt", guarded)[1] is True


# ------------------------------------------------------------------------------- certificates

ASKING_CONF = """
    server {{
        listen 127.0.0.1:{ports[0]} ssl;
        ssl_certificate {certificate.chain};
        ssl_certificate_key {certificate.key};
        ssl_client_certificate {authority};
        ssl_verify_client optional;
        ssl_session_cache shared:sessions:1m;
        location / {{ return 200 "$ssl_session_reused $ssl_client_verify $ssl_client_s_dn"; }}
    }}
"""

#: What the server says of callers with and without a certificate.
CLIENTS = {"walrus": "SUCCESS CN=walrus", "manatee": "SUCCESS CN=manatee", "": "NONE "}


@pytest.fixture(scope="module")
def asking(
    authority: trustme.CA, certificate: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The origin of a server that asks for client certificates."""
    path = tmp_path_factory.mktemp("authority") / "authority.pem"
    authority.cert_pem.write_to_path(path)
    values: dict[str, Any] = {"authority": path, "certificate": certificate}
    with serving_by_nginx("nginx that asks", ASKING_CONF, **values) as (server, _):
        yield f"https://127.0.0.1:{server.ports[0]}"


def client_settings(authority: trustme.CA) -> dict[str, ConnectionSettings]:
    """Return the settings of each of `CLIENTS`, which differ in the certificate alone."""
    found = {}
    for name in CLIENTS:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(context)
        if name:
            issued = authority.issue_cert(f"{name}@sea.example", common_name=name)
            issued.configure_cert(context)
        found[name] = ConnectionSettings(ssl_context=context)
    return found


def test_client_certificates(sharing: Sharing, asking: str, authority: trustme.CA) -> None:
    """Each caller is known to the server by its own certificate, also in a resumed session."""
    clients = client_settings(authority)
    addresses = set()
    for used, resumed in ((False, "."), (True, "."), (False, "r"), (True, "r")):
        for name, settings in clients.items():
            got = sharing.get(asking, "/", settings)
            assert got.body.decode().split(",")[0] == f"{resumed} {CLIENTS[name]}"
            assert got.used is used
            addresses.add(got.address)
        assert sharing.pool.stats().idle == len(clients)
        if used:
            sharing.pool.close_idle()
    assert len(addresses) == 2 * len(clients)


def test_client_certificates_under_load(asking: str, authority: trustme.CA) -> None:
    """There are fewer slots than routes, so the callers take over each other's slots."""
    sharing = Sharing(per_host=len(CLIENTS) - 1)
    seen: dict[str, set[str]] = {name: set() for name in CLIENTS}

    def work(name: str, settings: ConnectionSettings) -> None:
        for _ in range(30):
            body = sharing.get(asking, "/", settings).body
            seen[name].add(body.decode().split(",")[0][2:])

    threads = [
        threading.Thread(target=work, args=client)
        for client in client_settings(authority).items()
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {name: {known} for name, known in CLIENTS.items()}
    sharing.pool.close()


# ------------------------------------------------------------------------------- TLS sessions


@in_turn("version", ["TLSv1_2", "TLSv1_3"])
async def test_sessions_are_resumed(tls: StyledWire, version: str) -> None:
    listener = tls.listen()
    context = tls.certificates.new_client()
    context.maximum_version = context.minimum_version = ssl.TLSVersion[version]
    pool = StyledPool(tls, ssl_context=context)
    origin = origin_of(listener, tls)
    resumed: list[bool] = []
    for _ in range(3):
        peer = listener.peer()
        peer.expect_request()
        peer.reply(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi")

        def note(event: str) -> None:
            if event == "sent":
                session: Any = vars(conn).get("_conn", conn)._session
                resumed.append(session.stream.sock.session_reused)

        async with pool.lease(origin) as conn:
            conn.on_event = note
            await ask(conn)
    assert resumed == [False, True, True]


async def test_sessions_of_different_contexts(tls: StyledWire) -> None:
    """A session may only be used with its own context. Each route has its own."""
    listener = tls.listen()
    origin = origin_of(listener, tls)
    pools = [StyledPool(tls, ssl_context=tls.certificates.new_client()) for _ in range(2)]
    for pool in pools:
        for _ in range(2):
            answering(listener)
            async with pool.lease(origin) as conn:
                await ask(conn)
            pool.pool.close_idle()


def test_no_session_without_a_pool(tls: Any) -> None:
    assert HTTPConnection("localhost", ssl_context=CONTEXT)._route().resumption is None


def test_default_context() -> None:
    """One for all connections of a pool, made when the first https origin is used."""
    pool = Pool()
    conns = [pool.acquire(f"https://{name}.example") for name in "ab"]
    context = conns[0].ssl_context
    assert context is not None
    assert context is conns[1].ssl_context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert pool.acquire(Origin("http", "a.example")).ssl_context is None
