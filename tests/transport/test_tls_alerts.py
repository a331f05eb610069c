"""Fatal TLS alerts: which of them a retry may cure, and that the alert is what is reported."""

from __future__ import annotations

import asyncio
import pickle
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trustme

from dugong import (
    AsyncHTTPConnection,
    BodyFollowing,
    ConnectionClosed,
    HTTPConnection,
    InvalidResponse,
    is_temp_network_error,
)
from dugong.errors import tls_alert
from tests.support.drive import drive
from tests.support.exchanges import OK, ask, works
from tests.support.peer import Peer
from tests.support.styles import StyledWire
from tests.support.tapped import Pace
from tests.support.wire import HOST, AnyWire, Wire

#: All fatal alerts of RFC 8446 section 6.2 and their numbers.
REJECTIONS = {
    "handshake_failure": 40, "bad_certificate": 42, "unsupported_certificate": 43,
    "certificate_revoked": 44, "certificate_expired": 45, "certificate_unknown": 46,
    "illegal_parameter": 47, "unknown_ca": 48, "access_denied": 49, "decode_error": 50,
    "decrypt_error": 51, "protocol_version": 70, "insufficient_security": 71,
    "inappropriate_fallback": 86, "missing_extension": 109, "unsupported_extension": 110,
    "unrecognized_name": 112, "bad_certificate_status_response": 113,
    "unknown_psk_identity": 115, "certificate_required": 116, "no_application_protocol": 120,
}  # fmt: skip
FAILURES = {
    "unexpected_message": 10, "bad_record_mac": 20, "record_overflow": 22, "internal_error": 80,
    "user_canceled": 90,
}  # fmt: skip
ALERTS = {**REJECTIONS, **FAILURES}


@pytest.fixture
def alerts() -> dict[str, ssl.SSLError]:
    """What OpenSSL makes of each alert, in the middle of a handshake."""
    made = {}
    for name, number in ALERTS.items():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        incoming = ssl.MemoryBIO()
        client = context.wrap_bio(incoming, ssl.MemoryBIO(), server_hostname=HOST)
        with suppress(ssl.SSLWantReadError):
            client.do_handshake()
        incoming.write(b"\x15\x03\x03\x00\x02\x02" + bytes([number]))
        with pytest.raises(ssl.SSLError) as info:
            client.do_handshake()
        made[name] = info.value
    return made


def test_all_alerts(alerts: dict[str, ssl.SSLError]) -> None:
    for name, exc in alerts.items():
        assert tls_alert(exc) == name
        assert is_temp_network_error(exc) is (name in FAILURES)


@pytest.mark.parametrize(
    ("reason", "alert"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "certificate_required"),
        ("SSLV3_ALERT_BAD_CERTIFICATE", "bad_certificate"),
        ("TLSV1_UNRECOGNIZED_NAME", "unrecognized_name"),
        ("CERTIFICATE_VERIFY_FAILED", None),
        ("WRONG_VERSION_NUMBER", None),
        ("TLSV1_SOMETHING_NEW", None),
        ("UNEXPECTED_EOF_WHILE_READING", None),
    ],
)
def test_reasons(reason: str, alert: str | None) -> None:
    exc = ssl.SSLError(ssl.SSL_ERROR_SSL, "x")
    exc.reason = reason
    assert tls_alert(exc) == alert


@pytest.mark.parametrize(
    "text", ["[SSL] ssl/tls alert unknown ca (_ssl.c:1)", "[SSL] tlsv1 alert unknown ca (_ssl.c:1)"]
)
def test_messages_of_other_versions(text: str) -> None:
    exc = ssl.SSLError(ssl.SSL_ERROR_SSL, text)
    assert tls_alert(exc) == "unknown_ca"
    assert tls_alert(OSError(1, text)) is None


# ----------------------------------------------------------------------- causes of causes


def rejected() -> ConnectionClosed:
    exc = ConnectionClosed("the server ended the TLS connection")
    exc.alert = "unknown_ca"
    return exc


def raised(raise_it: Callable[[], None]) -> Exception:
    with pytest.raises(Exception) as info:
        raise_it()
    return info.value


def from_cause() -> None:
    raise ConnectionClosed("the connection is broken") from rejected()


def from_wrapper() -> None:
    try:
        from_cause()
    except ConnectionClosed as exc:
        raise ConnectionError("upload failed") from exc


def in_a_handler() -> None:
    try:
        raise rejected()
    except ConnectionClosed:
        raise ConnectionError("upload failed")  # noqa: B904 - as callers do


def from_none() -> None:
    try:
        raise rejected()
    except ConnectionClosed:
        raise ConnectionError("upload failed") from None


def second_attempt(exc: Exception) -> Callable[[], None]:
    def attempts() -> None:
        try:
            raise rejected()
        except ConnectionClosed:
            raise exc  # noqa: B904 - its own reason is another one

    return attempts


def of_itself() -> None:
    exc = ConnectionClosed("x")
    exc.__cause__ = ConnectionError("y")
    exc.__cause__.__cause__ = exc
    raise exc


@pytest.mark.parametrize(
    ("raise_it", "temporary"),
    [
        (from_cause, False),
        (from_wrapper, False),
        (in_a_handler, False),
        (from_none, True),
        (second_attempt(ConnectionRefusedError(111, "refused")), True),
        (second_attempt(ConnectionClosed("the connection ended")), True),
        (of_itself, True),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_cause_is_looked_for(raise_it: Callable[[], None], temporary: bool) -> None:
    assert is_temp_network_error(raised(raise_it)) is temporary


def test_alert_outlives_the_cause_in_another_process() -> None:
    exc = raised(from_cause)
    got = pickle.loads(pickle.dumps(exc))  # noqa: S301 (our own bytes)
    assert got.__cause__ is None
    assert got.alert == "unknown_ca"
    assert not is_temp_network_error(got)


# --------------------------------------------------------------- servers that reject clients


def demanding(wire: AnyWire[Any], version: ssl.TLSVersion) -> ssl.SSLContext:
    """A server that wants a certificate of our authority."""
    context = wire.certificates.new_server()
    context.verify_mode = ssl.CERT_REQUIRED
    wire.certificates.authority.configure_trust(context)
    context.maximum_version = version
    return context


def client(wire: AnyWire[Any], certificate: str) -> ssl.SSLContext:
    context = wire.certificates.new_client()
    if certificate != "none":
        authority = trustme.CA() if certificate == "unknown" else wire.certificates.authority
        authority.issue_cert("me@example.org").configure_cert(context)
    return context


def pair(
    tls: StyledWire, certificate: str = "none", version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> tuple[AsyncHTTPConnection, Peer]:
    conn, peer = tls.pair(ssl_context=client(tls, certificate), handshake=False)
    peer.start_tls(demanding(tls, version))
    return conn, peer


def check(exc: Any, alert: str) -> None:
    assert type(exc) is ConnectionClosed
    assert exc.alert == alert
    assert alert in str(exc)
    assert "idle" not in str(exc)
    assert isinstance(exc.__cause__, ssl.SSLError)
    assert not is_temp_network_error(exc)


CERTIFICATES = {"none": "certificate_required", "unknown": "unknown_ca"}
certificates = pytest.mark.parametrize(("certificate", "alert"), CERTIFICATES.items())


async def test_certificate_that_is_accepted(tls: StyledWire) -> None:
    conn, peer = pair(tls, "good")
    await works(conn, peer)


@certificates
async def test_rejected_when_the_response_is_read(
    tls: StyledWire, certificate: str, alert: str
) -> None:
    conn, _ = pair(tls, certificate)
    with pytest.raises(ConnectionClosed) as info:
        await ask(conn)
    check(info.value, alert)
    assert info.value.safe_to_retry
    for call in (conn.read_response, conn.readall, lambda: conn.send_request("GET", "/")):
        with pytest.raises(ConnectionClosed) as again:  # the follow-up of the same cause
            await call()
        assert not is_temp_network_error(again.value)
        assert alert in str(again.value)


@certificates
async def test_rejected_request(tls: StyledWire, certificate: str, alert: str) -> None:
    conn, _ = pair(tls, certificate)
    with pytest.raises(ConnectionClosed) as info:
        await conn.request("POST", "/", body=b"abc")
    check(info.value, alert)


async def test_rejected_pipeline(tls: StyledWire) -> None:
    conn, _ = pair(tls)
    with pytest.raises(ConnectionClosed) as info:
        async for _ in conn.pipeline(["/a", "/b"]):
            pass
    check(info.value, "certificate_required")


@pytest.mark.styles("generator", "asyncio", "trio")  # where the peer moves when it is told to
async def test_rejected_before_the_first_request(tls: StyledWire) -> None:
    """The connection has never been used, so it is not one that became unusable."""
    conn, peer = pair(tls)
    await conn.connect()
    peer.run()
    with pytest.raises(ConnectionClosed) as info:
        await conn.send_request("POST", "/")
    check(info.value, "certificate_required")
    assert (info.value.bytes_sent, info.value.safe_to_retry) == (0, True)


@certificates
@pytest.mark.parametrize("size", [10, 10_000_000])
async def test_rejected_while_a_body_is_sent(
    tls: StyledWire, certificate: str, alert: str, size: int
) -> None:
    """Sending may fail before the alert is read: with a reset, because the server has closed."""
    conn, peer = pair(tls, certificate)
    await conn.connect()
    with pytest.raises(ConnectionClosed) as info:
        await conn.send_request("PUT", "/", body=BodyFollowing(3 * size))
        peer.run()
        for _ in range(3):
            await conn.write(bytes(size))
        await conn.read_response()
    check(info.value, alert)


async def test_rejected_upload(tls: StyledWire) -> None:
    conn, _ = pair(tls)
    with pytest.raises(ConnectionClosed) as info:
        await conn.request("PUT", "/", body=bytes(10_000_000), expect100=False)
    check(info.value, "certificate_required")


@pytest.mark.parametrize("certificate", CERTIFICATES)
async def test_rejected_in_the_handshake_of_tls_1_2(tls: StyledWire, certificate: str) -> None:
    """The system's error passes through, as everywhere while connecting."""
    conn, _ = pair(tls, certificate, ssl.TLSVersion.TLSv1_2)
    with pytest.raises(ssl.SSLError) as info:
        await conn.connect()
    assert tls_alert(info.value) in REJECTIONS
    assert not is_temp_network_error(info.value)


async def test_rejected_version(tls: StyledWire) -> None:
    context = tls.certificates.new_client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    server = tls.certificates.new_server()
    server.minimum_version = ssl.TLSVersion.TLSv1_3
    conn, peer = tls.pair(ssl_context=context, handshake=False)
    peer.start_tls(server)
    with pytest.raises(ssl.SSLError) as info:
        await conn.connect()
    assert tls_alert(info.value) == "protocol_version"
    assert not is_temp_network_error(info.value)


# ----------------------------------------------------------------- which of two is reported


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_after_the_handshake(
    tls: Wire, name: str, alerts: dict[str, ssl.SSLError]
) -> None:
    pace = Pace()
    conn, peer = tls.pair(tap=pace)
    peer.expect_request()
    peer.reply(OK)
    drive(conn.co_send_request("GET", "/"), peer)
    pace.recv_fails = alerts[name]
    with pytest.raises(ConnectionClosed) as info:
        drive(conn.co_read_response(), peer)
    assert info.value.alert == name
    assert name in str(info.value)
    assert is_temp_network_error(info.value) is (name in FAILURES)


def send_fails(conn: HTTPConnection, peer: Peer, pace: Pace) -> ConnectionClosed:
    """A body cannot be sent, because the peer is said to have gone."""
    drive(conn.co_send_request("PUT", "/", body=BodyFollowing(10)), peer)
    peer.run()
    pace.send_fails = BrokenPipeError(32, "Broken pipe")
    with pytest.raises(ConnectionClosed) as info:
        drive(conn.co_write(b"0123456789"), peer)
    return info.value


def test_alert_goes_before_the_broken_pipe(tls: Wire, alerts: dict[str, ssl.SSLError]) -> None:
    pace = Pace()
    conn, peer = tls.pair(tap=pace)
    peer.expect_head()
    pace.recv_fails = alerts["access_denied"]
    exc = send_fails(conn, peer, pace)
    check(exc, "access_denied")
    with pytest.raises(ConnectionClosed) as info:
        drive(conn.co_read_response(), peer)
    check(info.value, "access_denied")


@pytest.mark.parametrize("size", [1, 3, 20_000])
def test_response_that_is_read_in_search_of_an_alert(tls: Wire, size: int) -> None:
    """It is the receiver's, to the last byte and only once."""
    pace = Pace()
    conn, peer = tls.pair(tap=pace)
    body = bytes(range(256)) * 200
    peer.expect_head()
    peer.reply(b"HTTP/1.1 413 Too Large\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    peer.close()
    exc = send_fails(conn, peer, pace)
    assert exc.alert is None
    assert isinstance(exc.__cause__, BrokenPipeError)
    assert drive(conn.co_read_response(), peer).status == 413
    got = b""
    while piece := drive(conn.co_read(size), peer):
        got += piece
    assert got == body


def test_nothing_waits_but_the_end(tls: Wire) -> None:
    pace = Pace()
    conn, peer = tls.pair(tap=pace)
    peer.expect_head()
    peer.close_without_notify()
    assert isinstance(send_fails(conn, peer, pace).__cause__, BrokenPipeError)
    with pytest.raises((ConnectionClosed, InvalidResponse)):
        drive(conn.co_read_response(), peer)


@pytest.mark.parametrize("kind", [socket.AF_UNIX, socket.AF_INET])
def test_real_sockets(tls: Wire, kind: int) -> None:
    """A server in a thread of its own, over each kind of socket."""
    near, far = socket.socketpair()
    if kind == socket.AF_INET:
        near.close()
        far.close()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            near = socket.create_connection(listening.getsockname())
            far, _ = listening.accept()
    conn = HTTPConnection(HOST, sock=near, ssl_context=client(tls, "none"), timeout=10)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        serving = loop.run_in_executor(None, serve, far, demanding(tls, ssl.TLSVersion.TLSv1_3))
        with pytest.raises(ConnectionClosed) as info:
            await loop.run_in_executor(None, conn.request, "PUT", "/", None, bytes(5_000_000))
        await serving
        check(info.value, "certificate_required")

    asyncio.run(main())
    conn.disconnect()


def serve(sock: socket.socket, context: ssl.SSLContext) -> None:
    with pytest.raises(ssl.SSLError):
        context.wrap_socket(sock, server_side=True)
