"""The TLS contexts of a client: which files they are made of, and whom they verify."""

from __future__ import annotations

import ssl
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import truststore
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dugong import AsyncHTTPConnection, Client, InvalidRequest, Origin, Pool
from dugong.client.tls import context_for, system_context
from tests.support.exchanges import works
from tests.support.in_turn import in_turn
from tests.support.peer import Peer
from tests.support.pooled import StyledPool, ask, bare, origin_of
from tests.support.servers import NginxEndpoints, installed
from tests.support.styles import StyledWire
from tests.support.wire import HOST, Certificates, Listener


@pytest.fixture
def files(certificates: Certificates, tmp_path: Path) -> Path:
    """A directory with files of every kind."""
    authority = certificates.authority
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name in ("one", "two"):
        issued = authority.issue_cert(f"{name}.example")
        issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / f"{name}.pem")
        issued.private_key_pem.write_to_path(tmp_path / f"{name}-key.pem")
        for blob in issued.cert_chain_pems:
            blob.write_to_path(tmp_path / f"{name}-cert.pem", append=True)
    encrypted = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"s3cret"),
    )
    (tmp_path / "encrypted-key.pem").write_bytes(encrypted)
    garbage = b"-----BEGIN {0}-----\nAAAA\n-----END {0}-----\n"
    for name in ("CERTIFICATE", "PRIVATE KEY"):
        text = garbage.replace(b"{0}", name.encode())
        (tmp_path / f"garbage-{name.lower().replace(' ', '-')}.pem").write_bytes(text)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_text("no PEM at all")
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory" / "ca.pem").write_bytes((tmp_path / "ca.pem").read_bytes())
    return tmp_path


def is_verifying(context: ssl.SSLContext) -> bool:
    return context.check_hostname and context.verify_mode is ssl.CERT_REQUIRED


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "truststore", None)
    for context in (context_for(True, None), system_context()):
        assert type(context) is ssl.SSLContext
        assert is_verifying(context)


def test_nothing_is_verified(files: Path) -> None:
    for cert in (None, files / "one.pem"):
        context = context_for(False, cert)
        assert (context.check_hostname, context.verify_mode) == (False, ssl.CERT_NONE)


def test_given_context() -> None:
    context = ssl.create_default_context()
    assert context_for(context, None) is context


@in_turn("verify", [True, False, "ca.pem", "context"])
def test_proxies_are_always_verified(verify: Any, files: Path) -> None:
    """As with verify=True, and without the client's certificate."""
    cert: Any = str(files / "one.pem")
    if verify == "context":
        verify, cert = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), None
    elif verify == "ca.pem":
        verify = files / verify
    with Client(verify=verify, cert=cert, proxy="https://p.example") as client:
        for destinations in (client.settings.trusted, client.settings.untrusted):
            settings = destinations._connections.settings_for(Origin("https", "h.example", 443))
            arguments = settings.for_origin(Origin("https", "h.example", 443))
            assert is_verifying(arguments["proxy_ssl_context"])
            assert arguments["proxy_ssl_context"] is not arguments["ssl_context"]


def test_one_context_for_each_client() -> None:
    with Client() as client:
        origins = [Origin("https", host, 443) for host in ("a.example", "b.example")]
        connections = client.settings.trusted._connections
        contexts = {
            id(connections.settings_for(origin).for_origin(origin)["ssl_context"])
            for origin in origins * 2
        }
        assert len(contexts) == 1


@in_turn(
    ("verify", "text"),
    [
        ("nothing.pem", "verify: cannot use .*nothing.pem.*No such file"),
        ("empty", "verify: the file .*empty' has no certificate"),
        ("text", "verify: the file .*text' has no certificate"),
        ("one-key.pem", "has no certificate"),
        ("garbage-certificate.pem", "verify: cannot use .*garbage"),
        ("directory", "verify: the directory .* 'openssl rehash'"),
    ],
)
def test_unusable_authorities(verify: str, text: str, files: Path) -> None:
    for path in (files / verify, str(files / verify)):
        with pytest.raises(InvalidRequest, match=text):
            context_for(path, None)


@in_turn(
    ("cert", "text"),
    [
        ("nothing.pem", "cert: cannot use .*nothing.pem.*No such file"),
        (("one-cert.pem", "nothing.pem"), "cert: cannot use .*nothing.pem.*No such file"),
        (("directory", "one-key.pem"), "cert: cannot use .*directory.*directory"),
        ("one-cert.pem", "one-cert.pem' has no private key"),
        ("one-key.pem", "one-key.pem' has no certificate"),
        (("one-cert.pem", "empty"), "empty' has no private key"),
        (("one-cert.pem", "two-key.pem"), "two-key.pem' does not belong to .*one-cert.pem'"),
        (("one-cert.pem", "encrypted-key.pem"), "encrypted-key.pem' is encrypted"),
        (("one-cert.pem", "garbage-private-key.pem"), "cert: cannot use .*garbage-private-key"),
        (("garbage-certificate.pem", "one-key.pem"), "cert: cannot use .*garbage-certificate"),
    ],
)
@in_turn("verify", [True, False])
def test_unusable_certificates(cert: Any, text: str, verify: bool, files: Path) -> None:
    """One error, at once. Nothing asks for a password."""
    paths = files / cert if isinstance(cert, str) else tuple(files / name for name in cert)
    with pytest.raises(InvalidRequest, match=text):
        context_for(verify, paths)


@in_turn(
    ("verify", "cert", "kind", "text"),
    [
        (None, None, TypeError, "verify must be True, False, the path"),
        (1, None, TypeError, "verify must be .* not int"),
        (b"/ca.pem", None, TypeError, "not bytes"),
        (ssl.SSLContext, None, TypeError, "not type"),
        (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), None, InvalidRequest, "verify is for servers"),
        ("", None, InvalidRequest, "verify must be a path"),
        ("a\0b", None, InvalidRequest, "verify must be a path"),
        (True, 5, TypeError, "cert must be a path, or a pair"),
        (True, b"/c.pem", TypeError, "not bytes"),
        (True, ("c", 5), TypeError, "not int"),
        (True, ("c",), InvalidRequest, "a pair"),
        (True, ("c", "k", "password"), InvalidRequest, "has 3 items"),
        (True, "", InvalidRequest, "cert must be a path"),
    ],
)
def test_wrong_arguments(verify: Any, cert: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text) as info:
        context_for(verify, cert)
    assert "password" not in str(info.value)


def test_context_with_certificate(files: Path) -> None:
    context = ssl.create_default_context()
    with pytest.raises(InvalidRequest, match="cannot be combined"):
        context_for(context, files / "one.pem")


# ------------------------------------------------------------------------------- on the wire


async def test_client_certificate(tls: StyledWire, files: Path) -> None:
    """In one file or in two."""
    server = tls.certificates.new_server()
    tls.certificates.authority.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    for cert in (files / "one.pem", (str(files / "two-cert.pem"), files / "two-key.pem")):
        listener = tls.listen()
        peer = listener.peer(handshake=False)
        peer.start_tls(server)
        context = context_for(files / "ca.pem", cert)
        conn = tls.dial(listener, ssl_context=context)
        await works(conn, peer)
        assert peer._tls is not None
        found: Any = peer._tls.getpeercert()
        name = "one" if isinstance(cert, Path) else "two"
        assert found["subjectAltName"] == (("DNS", f"{name}.example"),)
        assert conn.tls_version == "TLSv1.3"


@pytest.fixture
def rehashed(files: Path) -> Path:
    """A directory of authorities as OpenSSL wants it."""
    program = installed("openssl", "openssl")
    subprocess.run([program, "rehash", files / "directory"], check=True)
    return files / "directory"


async def test_authorities_in_a_directory(tls: StyledWire, rehashed: Path) -> None:
    listener = tls.listen()
    peer = listener.peer()
    conn = tls.dial(listener, ssl_context=context_for(rehashed, None))
    await works(conn, peer)


async def test_protocol_is_offered(tls: StyledWire) -> None:
    """Some servers want ALPN (RFC 7301)."""
    server = tls.certificates.new_server()
    server.set_alpn_protocols(["h2", "http/1.1"])
    listener = tls.listen()
    peer = listener.peer(handshake=False)
    peer.start_tls(server)
    await works(tls.dial(listener, ssl_context=context_for(False, None)), peer)
    assert peer._tls is not None
    assert peer._tls.selected_alpn_protocol() == "http/1.1"


def test_clients_that_share_a_pool(nginx: NginxEndpoints, authority: Any, tmp_path: Path) -> None:
    """A connection that was not verified is not given to a client that verifies."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    url = f"https://127.0.0.1:{nginx.tls.port}/doc/1.txt"
    with Pool() as pool:
        lax, trusting, strict = (
            Client(verify=verify, pool=pool, timeout=20, proxy=None)
            for verify in (False, tmp_path / "ca.pem", True)
        )
        for client, idle in ((lax, 1), (lax, 1), (trusting, 2), (trusting, 2)):
            assert client.get(url).readall()
            assert pool.stats().idle == idle
        with pytest.raises(ssl.SSLCertVerificationError):
            strict.get(url)
        assert pool.stats().idle == 2


# ------------------------------------------------------------------------------- truststore


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_environment")
@pytest.mark.parametrize("platform", ["darwin", "linux without a file", "linux"])
def test_truststore_is_used_where_openssl_has_no_authorities(
    platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the environment names some: on some systems, truststore ignores that."""
    paths = ssl.get_default_verify_paths()
    file: Any = "/ca.pem" if platform == "linux" else None
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths._replace(cafile=file))
    monkeypatch.setattr(sys, "platform", platform.partition(" ")[0])
    kind = ssl.SSLContext if platform == "linux" else truststore.SSLContext
    assert type(system_context()) is type(context_for(True, None)) is kind
    assert is_verifying(system_context())
    url = Origin("https", "h.example", 443)
    with Client() as client:
        settings = client.settings.trusted._connections.settings_for(url)
        assert type(settings.for_origin(url)["ssl_context"]) is kind
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.setenv(name, "/nothing")
        assert type(system_context()) is ssl.SSLContext
        monkeypatch.delenv(name)
    monkeypatch.setitem(sys.modules, "truststore", None)
    assert type(system_context()) is ssl.SSLContext


@pytest.fixture
def context(files: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A context of truststore that trusts the tests' authority, as that of the system."""
    monkeypatch.setenv("SSL_CERT_FILE", str(files / "ca.pem"))
    made: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return made


def behind_a_proxy(tls: StyledWire, peer: Peer, listener: Listener, context: Any) -> Any:
    peer.expect_request(b"CONNECT")
    peer.reply(b"HTTP/1.1 200 OK\r\n\r\n")
    peer.start_tls(tls.certificates.server)
    url = f"https://{HOST}:{listener.address[1]}"
    return tls.connection(HOST, ssl_context=context, proxy=url, proxy_ssl_context=context)


@pytest.mark.parametrize("nested", [False, True])
async def test_truststore_on_the_wire(
    tls: StyledWire, nested: bool, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = tls.listen()
    peer = listener.peer()
    conn: AsyncHTTPConnection = tls.dial(listener, ssl_context=context)
    if nested:
        conn = behind_a_proxy(tls, peer, listener, context)
    await works(conn, peer)
    assert ("DNS", HOST) in (await conn.get_ssl_peercert())["subjectAltName"]
    conn.disconnect()
    monkeypatch.delenv("SSL_CERT_FILE")
    listener.peer()
    distrusting = tls.dial(listener, ssl_context=truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        await distrusting.connect()


@pytest.mark.parametrize("nested", [False, True])
async def test_truststore_verifies_after_the_handshake(
    tls: StyledWire, nested: bool, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On macOS and Windows, that is all the verification there is. It must not get lost, although
    the handshake is done in steps, and long after the socket was wrapped.
    """
    seen: list[tuple[bool, str]] = []

    def verify(context: object, chain: list[bytes], server_hostname: str) -> None:
        seen.append((bool(chain), server_hostname))
        if len(seen) > nested:
            raise ssl.SSLCertVerificationError("not trusted")

    monkeypatch.setattr(import_module("truststore._api"), "_verify_peercerts_impl", verify)
    listener = tls.listen()
    peer = listener.peer()
    conn: AsyncHTTPConnection = tls.dial(listener, ssl_context=context)
    if nested:
        conn = behind_a_proxy(tls, peer, listener, context)
    with pytest.raises(ssl.SSLCertVerificationError, match="not trusted"):
        await conn.connect()
    assert seen == [(True, HOST)] * (1 + nested)
    assert not conn.connected


async def test_sessions_of_truststore_are_resumed(tls: StyledWire, context: ssl.SSLContext) -> None:
    listener = tls.listen()
    pool = StyledPool(tls, ssl_context=context)
    resumed: list[bool] = []
    for _ in range(2):
        peer = listener.peer()
        peer.expect_request()
        peer.reply(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi")
        async with pool.lease(origin_of(listener, tls)) as conn:
            await conn.connect()
            session: Any = bare(conn)._session
            resumed.append(session.stream.sock.session_reused)
            await ask(conn)
    assert resumed == [False, True]
