"""Giving up while connecting: cancelled from another thread, or closed at any of the waits."""

from __future__ import annotations

import gc
import socket
import struct
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from dugong import POLLIN, ConnectionClosed, InvalidResponse, PollNeeded, eval_coroutine
from dugong.session.tunnel import tunnel_of
from dugong.transport.connect import Dialer, Route
from dugong.transport.monitor import Monitor
from dugong.transport.resolve import AddressInfo
from dugong.transport.stream import Stream
from tests.support.drive import drive
from tests.support.peer import Peer
from tests.support.wire import HOST, Certificates, tcp_pair
from tests.transport.tools import (
    DESCRIPTORS,
    busy_server,
    end_resolver_threads,
    open_descriptors,
    tunnelled,
    tunnelling_peer,
)

Dial = Generator[PollNeeded, Any, Stream]


def dial(route: Route) -> Dial:
    return Dialer(route, Monitor(), tunnel_of(route, Monitor())).co_dial()


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Route]:
    """A route whose name is looked up until the end of the test."""
    gate = threading.Event()

    def getaddrinfo(host: str, port: int, **options: Any) -> list[AddressInfo]:
        if options["flags"]:
            raise socket.gaierror(socket.EAI_NONAME, "not numeric")
        assert gate.wait(10)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield Route(("slow.example", 80))
    gate.set()
    end_resolver_threads()


@pytest.mark.parametrize("stage", ["resolving", "connecting", "tunnel", "handshake"])
def test_cancel(stage: str, hanging: Route, certificates: Certificates) -> None:
    """From another thread, while a driver blocks in whatever wait there is."""
    near, far = tcp_pair(small=False)
    with busy_server() as server, near, far:
        route = {
            "resolving": hanging,
            "connecting": Route(server.getsockname()),
            "tunnel": tunnelled(near, certificates),
            "handshake": Route(
                ("", 0), sock=near, ssl_context=certificates.client, server_hostname=HOST
            ),
        }[stage]
        dialer = Dialer(route, Monitor(), tunnel_of(route, Monitor()))
        waits = threading.Event()

        def announced() -> Generator[PollNeeded, Any, Stream]:
            crt = dialer.co_dial()
            while True:
                try:
                    need = next(crt)
                except StopIteration as exc:
                    stream: Stream = exc.value
                    return stream
                waits.set()
                yield need

        raised: list[BaseException] = []

        def run() -> None:
            try:
                eval_coroutine(announced(), 10)
            except BaseException as exc:
                raised.append(exc)

        thread = threading.Thread(target=run)
        thread.start()
        assert waits.wait(10)
        dialer.cancel()
        thread.join()
        assert [type(exc) for exc in raised] == [ConnectionClosed]
        assert "disconnect" in str(raised[0])


@pytest.mark.parametrize("kind", ["name", "address", "unix socket"])
def test_cancel_before(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Then nothing is looked up, and nothing is connected to."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, **options: Any) -> list[AddressInfo]:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with socket.socket(socket.AF_UNIX) as server, busy_server() as busy:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        route = {
            "name": Route(("name.example", 80)),
            "address": Route(busy.getsockname()),
            "unix socket": Route(("", 0), unix_socket=str(tmp_path / "socket")),
        }[kind]
        dialer = Dialer(route, Monitor(), tunnel_of(route, Monitor()))
        dialer.cancel()
        with pytest.raises(ConnectionClosed):
            next(dialer.co_dial())
    end_resolver_threads()
    assert asked == []


def test_cancel_between() -> None:
    with busy_server() as busy:
        dialer = Dialer(Route(busy.getsockname()), Monitor())
        crt = dialer.co_dial()
        next(crt)
        dialer.cancel()
        dialer.cancel()
        with pytest.raises(ConnectionClosed):
            next(crt)


# ------------------------------------------------------------------------------------ leaks

needs_proc = pytest.mark.skipif(not DESCRIPTORS.exists(), reason="no list of descriptors")


def abandon(peers: list[Peer]) -> None:
    for peer in peers:
        peer.abandon()


def abandoned_at_every_wait(make: Callable[[], tuple[Dial, list[Peer]]]) -> int:
    """Close the coroutine at its first wait, at its second, ...; return how many there were."""
    count = 0
    while True:
        gc.collect()
        before = open_descriptors()
        crt, peers = make()
        for _ in range(count + 1):
            try:
                need = next(crt)
            except StopIteration as exc:
                exc.value.close()
                abandon(peers)
                return count
            while not need.poll(0) and any(peer.step() for peer in peers):
                pass
        crt.close()
        abandon(peers)
        assert open_descriptors() == before, f"closed at wait {count + 1}"
        count += 1
        if not peers:
            return count  # it would wait for ever


@needs_proc
def test_no_leak_while_resolving(hanging: Route) -> None:
    before = open_descriptors()
    crt = dial(hanging)
    assert next(crt).mask == POLLIN
    crt.close()
    # one end is the thread's, which closes it in its own time
    assert len(open_descriptors() - before) <= 1


@needs_proc
def test_no_leak_while_connecting() -> None:
    with busy_server() as server:
        assert abandoned_at_every_wait(lambda: (dial(Route(server.getsockname())), [])) == 1


@needs_proc
def test_no_leak_in_tunnel_and_handshake(certificates: Certificates) -> None:
    def make() -> tuple[Dial, list[Peer]]:
        near, far = tcp_pair(small=False)
        peer = tunnelling_peer(far, near, certificates)
        return dial(tunnelled(near, certificates)), [peer]

    assert abandoned_at_every_wait(make) >= 4  # of the answer's three pieces, and the handshake


@needs_proc
@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 403 No\r\n\r\n", b"garbage", b"HTTP/1.1 200 OK\r\n\r\nx"]
)
def test_no_leak_when_it_fails(certificates: Certificates, answer: bytes) -> None:
    gc.collect()
    before = open_descriptors()
    near, far = tcp_pair(small=False)
    peer = Peer(far, client_fd=near.fileno())
    peer.expect_request()
    peer.reply(answer)
    with pytest.raises((ConnectionError, InvalidResponse)):
        drive(dial(tunnelled(near, certificates)), peer)
    del near
    peer.abandon()
    assert open_descriptors() == before


@needs_proc
def test_no_leak_when_the_peer_resets_before_the_handshake(certificates: Certificates) -> None:
    before = open_descriptors()
    near, far = tcp_pair(small=False)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()
    route = Route(("", 0), sock=near, ssl_context=certificates.client, server_hostname=HOST)
    with pytest.raises(ConnectionResetError) as info:
        eval_coroutine(dial(route), 10)
    assert open_descriptors() == before
    assert info.value.errno  # and all the while the exception is alive
