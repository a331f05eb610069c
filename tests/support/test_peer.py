"""The scripted peer and the drivers, tried out with a coroutine that knows no HTTP."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import pytest

from tests.support.drive import Need, advance, drive, drive_both
from tests.support.peer import Peer
from tests.support.ways import in_every_way, ways
from tests.support.wire import Certificates, tcp_pair


@dataclass
class Wait:
    fd: int
    mask: int
    timeout: float | None = None


class Pair:
    def __init__(self, certificates: Certificates | None, chunk: int | None = None) -> None:
        near, far = tcp_pair(small=True)
        context = None if certificates is None else certificates.server
        self.peer = Peer(far, client_fd=near.fileno(), context=context, chunk=chunk)
        near.setblocking(False)
        self.sock = near
        if certificates is not None:
            self.sock = certificates.client.wrap_socket(
                near,
                server_hostname="localhost",
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,
            )

    def receive(self) -> Generator[Need, None, bytes]:
        while True:
            try:
                return self.sock.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError):
                yield Wait(self.sock.fileno(), select.POLLIN)

    def receive_pieces(self) -> Generator[Need, None, list[bytes]]:
        pieces = []
        while piece := (yield from self.receive()):
            pieces.append(piece)
        return pieces

    def send(self, data: bytes) -> Generator[Need, None, None]:
        while data:
            try:
                data = data[self.sock.send(data) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                yield Wait(self.sock.fileno(), select.POLLOUT)

    def shake(self) -> Generator[Need, None, None]:
        while isinstance(self.sock, ssl.SSLSocket):
            try:
                return self.sock.do_handshake()
            except ssl.SSLWantReadError:
                yield Wait(self.sock.fileno(), select.POLLIN)

    def close(self) -> None:
        self.sock.close()
        self.peer.abandon()


@pytest.fixture(params=["plain", "tls"])
def pair(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[Pair]:
    pair = Pair(certificates if request.param == "tls" else None)
    drive(pair.shake(), pair.peer)
    yield pair
    pair.close()


def test_dialogue(pair: Pair) -> None:
    def client() -> Generator[Need, None, list[bytes]]:
        yield from pair.send(b"ping")
        return (yield from pair.receive_pieces())

    pair.peer.expect(b"ping")
    pair.peer.reply(b"pong", chunk=1)
    pair.peer.reply(b"!!")
    pair.peer.close()
    assert drive(client(), pair.peer) == [b"p", b"o", b"n", b"g", b"!!"]
    pair.peer.check()


def test_requests_are_taken_apart(pair: Pair) -> None:
    data = b"PUT /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\n"
    pair.peer.expect_request(b"PUT ", body=b"abc")
    pair.peer.expect_request(b"GET ")
    pair.peer.reply(b".")

    def client() -> Generator[Need, None, bytes]:
        yield from pair.send(data)
        yield from pair.send(b"GET / HTTP/1.1\r\nA: b\r\n\r\n")
        return (yield from pair.receive())

    drive(client(), pair.peer)
    put, get = pair.peer.requests
    assert (put.chunks, put.trailers, get.get("a")) == ((b"abc",), b"T: 1\r\n", "b")


def test_a_reset_is_one(pair: Pair) -> None:
    pair.peer.reset()
    with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):  # some Pythons' TLS calls it EOF
        drive(pair.receive(), pair.peer)


def test_end_without_close_notify(pair: Pair) -> None:
    pair.peer.close_without_notify()
    if isinstance(pair.sock, ssl.SSLSocket):
        with pytest.raises(ssl.SSLEOFError):
            drive(pair.receive(), pair.peer)
    else:
        assert drive(pair.receive(), pair.peer) == b""


def test_peer_notices_the_wrong_words(pair: Pair) -> None:
    def client() -> Generator[Need, None, bytes]:
        yield from pair.send(b"pint")
        return (yield from pair.receive())

    pair.peer.expect(b"ping")
    with pytest.raises(AssertionError, match=r"expected b'ping', got b'pint'"):
        drive(client(), pair.peer)


def test_stuck_is_an_error_that_says_where(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.drive.GUARD", 0.01)
    pair.peer.expect(b"ping")
    with pytest.raises(AssertionError) as info:
        drive(pair.receive_pieces(), pair.peer)
    for word in ("stuck", "Pair.receive_pieces", "Pair.receive,", "readable", "expect(b'ping')"):
        assert word in str(info.value)


def test_full_buffers_block_the_sender_until_the_reader_helps(pair: Pair) -> None:
    blob = bytes(3_000_000)
    assert advance(pair.send(blob), pair.peer).mask == select.POLLOUT


def test_two_coroutines_side_by_side(pair: Pair) -> None:
    blob = bytes(300_000)
    pair.peer.expect(blob)
    pair.peer.reply(b"thanks")
    pair.peer.close()
    sent, got = drive_both(pair.send(blob), pair.receive_pieces(), pair.peer)
    sent.get()
    assert b"".join(got.get()) == b"thanks"


def test_client_that_leaves(pair: Pair) -> None:
    pair.peer.expect_eof()
    pair.sock.close()
    pair.peer.run()
    assert pair.peer.saw_eof


def test_script_in_a_thread(pair: Pair) -> None:
    pair.peer.expect(b"ping")
    pair.peer.reply(b"pong")
    pair.sock.setblocking(True)
    with pair.peer.in_thread():
        pair.sock.sendall(b"ping")
        assert pair.sock.recv(10) == b"pong"


def test_ways() -> None:
    assert list(ways(b"abc")) == [[b"abc"], [b"a", b"b", b"c"], [b"a", b"bc"], [b"ab", b"c"]]


def test_in_every_way_notices_a_difference() -> None:
    assert in_every_way(b"abc", lambda pieces: b"".join(pieces)[:3], trailing=b"x") == b"abc"
    with pytest.raises(AssertionError, match="when it comes as"):
        in_every_way(b"abc", len)


def test_sockets_are_really_connected() -> None:
    near, far = tcp_pair(small=False)
    with near, far:
        assert near.family == socket.AF_INET
        assert near.getpeername() == far.getsockname()
