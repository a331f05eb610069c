"""From a name to a connected stream: every way, and giving up on every step of it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from dugong import POLLIN, POLLOUT, PollNeeded, UnsupportedResponse, eval_coroutine
from dugong.session.tunnel import tunnel_of
from dugong.transport.connect import Dialer, Route
from dugong.transport.monitor import Monitor
from dugong.transport.resolve import AddressInfo
from dugong.transport.stream import Stream
from dugong.transport.tls import TLSStream
from tests.support.drive import advance, drive
from tests.support.peer import Peer
from tests.support.wire import HOST, Certificates, tcp_pair
from tests.transport.tools import busy_server, refusing_address, tunnelled, tunnelling_peer

Dial = Generator[PollNeeded, Any, Stream]


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def dial(route: Route, events: list[str] | None = None) -> Dial:
    activity = Monitor()
    activity.on_event = None if events is None else events.append
    return Dialer(route, activity, tunnel_of(route, activity)).co_dial()


def connect(*args: Any, **options: Any) -> Stream:
    """Connect to something that needs no peer's help."""
    return eval_coroutine(dial(Route(*args, **options)), 10)


def resolves_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    def getaddrinfo(host: str, port: int, **options: Any) -> list[AddressInfo]:
        if options["flags"]:
            raise socket.gaierror(socket.EAI_NONAME, "not numeric")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


# -------------------------------------------------------------------------------- addresses


def test_numeric_address_needs_no_thread(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(thread: threading.Thread) -> None:
        raise AssertionError("a thread for nothing")

    monkeypatch.setattr(threading.Thread, "start", start)
    events: list[str] = []
    stream = eval_coroutine(dial(Route(server.getsockname()), events), 10)
    assert stream.sock.getpeername() == server.getsockname()
    assert stream.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert not stream.sock.getblocking()
    assert events == ["resolved", "connecting", "connected"]
    stream.close()


def test_second_address_when_the_first_refuses(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolves_to(monkeypatch, refusing_address(), server.getsockname())
    stream = connect(("two.example", 80))
    assert stream.sock.getpeername() == server.getsockname()
    stream.close()


def test_error_is_that_of_the_first_address(monkeypatch: pytest.MonkeyPatch) -> None:
    resolves_to(monkeypatch, refusing_address(), ("255.255.255.255", 1))
    with pytest.raises(ConnectionRefusedError):
        connect(("two.example", 80))
    resolves_to(monkeypatch, ("255.255.255.255", 1), refusing_address())
    with pytest.raises(OSError) as info:
        connect(("two.example", 80))
    assert not isinstance(info.value, ConnectionRefusedError)


def test_source_address(server: socket.socket) -> None:
    stream = connect(server.getsockname(), source_address=("127.0.0.2", 0))
    assert stream.sock.getsockname()[0] == "127.0.0.2"
    stream.close()


def test_source_address_that_is_not_ours(server: socket.socket) -> None:
    with pytest.raises(OSError):
        connect(server.getsockname(), source_address=("192.0.2.1", 0))


def test_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        events: list[str] = []
        route = Route(("unused", 0), unix_socket=path, source_address=("127.0.0.2", 0))
        stream = eval_coroutine(dial(route, events), 10)
        assert stream.sock.getpeername() == path
        assert events == ["connecting", "connected"]
        stream.close()
        server.close()
        with pytest.raises(ConnectionRefusedError):
            connect(("", 0), unix_socket=path)
    with pytest.raises(FileNotFoundError):
        connect(("", 0), unix_socket=path + "x")


@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_socket_that_was_given(family: str) -> None:
    near, far = tcp_pair(small=False) if family == "tcp" else socket.socketpair()
    stream = connect(("unused", 0), sock=near)
    assert stream.sock is near
    assert stream.recv(1) == (near.fileno(), POLLIN)
    stream.close()
    far.close()


# -------------------------------------------------------------------- early and late -------


def test_early_resume_while_connecting() -> None:
    """Whoever resumes it for another reason gets the same answer again, not a half-made socket."""
    with busy_server() as server:
        crt = dial(Route(server.getsockname()))
        need = next(crt)
        assert need.mask == POLLOUT
        assert not need.poll(0)
        assert [next(crt) for _ in range(5)] == [need] * 5
        while need.poll(0) is False:  # the kernel asks again, until there is a place
            try:
                server.accept()[0].close()
            except BlockingIOError:
                need.poll(0.1)
        stream = eval_coroutine(crt, 10)
        assert stream.sock.getpeername() == server.getsockname()
        stream.close()


@pytest.mark.parametrize("early", [True, False])
def test_refusal_that_comes_while_waiting(early: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    crt = dial(Route(refusing_address()))
    with pytest.raises(ConnectionRefusedError):
        need = next(crt)
        assert early or need.poll(10)
        eval_coroutine(crt, 10)


# -------------------------------------------------------------------------------------- TLS


def tls_ends(
    certificates: Certificates,
    name: str = HOST,
    ours: list[str] | None = None,
    theirs: list[str] | None = None,
) -> tuple[Route, Peer]:
    near, far = tcp_pair(small=False)
    client, server = certificates.new_client(), certificates.new_server()
    if ours is not None:
        client.set_alpn_protocols(ours)
    if theirs is not None:
        server.set_alpn_protocols(theirs)
    peer = Peer(far, client_fd=near.fileno(), context=server)
    return Route(("", 0), sock=near, ssl_context=client, server_hostname=name), peer


def test_handshake_waits_for_what_it_needs(certificates: Certificates) -> None:
    route, peer = tls_ends(certificates)
    events: list[str] = []
    crt = dial(route, events)
    need = next(crt)
    assert (need.mask, need.poll(0)) == (POLLIN, False)
    assert next(crt) == need, "resumed early"
    assert events == ["connected"]
    stream = drive(crt, peer)
    assert events == ["connected", "secured"]
    assert isinstance(stream, TLSStream)
    assert stream.sock.server_hostname == HOST
    stream.close()
    peer.abandon()


def test_tunnel_then_handshake(certificates: Certificates) -> None:
    near, far = tcp_pair(small=False)
    peer = tunnelling_peer(far, near, certificates)
    stream = drive(dial(tunnelled(near, certificates)), peer)
    peer.expect(b"inside")
    drive(stream.co_send_all([memoryview(b"inside")]), peer)
    peer.run()
    stream.close()
    peer.abandon()


def test_certificate_of_somebody_else(certificates: Certificates) -> None:
    route, peer = tls_ends(certificates, name="other.example")
    assert route.sock is not None
    with pytest.raises(ssl.SSLCertVerificationError):
        drive(dial(route), peer)
    peer.abandon()


@pytest.mark.parametrize("how", ["close", "reset"])
def test_handshake_that_is_cut(how: str) -> None:
    near, far = tcp_pair(small=False)
    peer = Peer(far, client_fd=near.fileno())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    crt = dial(Route(("", 0), sock=near, ssl_context=context, server_hostname=HOST))
    advance(crt, peer)
    getattr(peer, how)()
    with pytest.raises(OSError):
        drive(crt, peer)
    assert near.fileno() == -1
    peer.abandon()


@pytest.mark.parametrize(
    ("ours", "theirs", "fine"),
    [
        (None, ["h2", "http/1.1"], True),
        (["http/1.1"], None, True),
        (["http/1.1"], ["h2", "http/1.1"], True),
        (["h2", "http/1.1"], ["http/1.1"], True),
        (["http/1.0"], ["http/1.0"], False),
        (["h2", "http/1.1"], ["h2"], False),
        (["h2"], ["h2"], False),
    ],
)
def test_alpn(
    certificates: Certificates, ours: list[str] | None, theirs: list[str] | None, fine: bool
) -> None:
    """RFC 7301: the protocol agreed on, if any, is ours."""
    route, peer = tls_ends(certificates, ours=ours, theirs=theirs)
    if fine:
        drive(dial(route), peer).close()
    else:
        with pytest.raises(UnsupportedResponse, match="ALPN"):
            drive(dial(route), peer)
    peer.abandon()
