"""What TLS adds to a stream: records, readiness of the other kind, and ends that lie."""

from __future__ import annotations

import gc
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dugong import POLLIN, POLLOUT, ConnectionClosed, PollNeeded
from dugong.protocol.proxy import Proxy
from dugong.transport.connect import Dialer, Route
from dugong.transport.monitor import Monitor
from dugong.transport.stream import Stream
from dugong.transport.tls import TLSStream, wanted
from tests.support.drive import advance, drive
from tests.support.peer import Peer
from tests.support.wire import HOST, Certificates, tcp_pair
from tests.transport.tools import Ends, tunnel_without_a_word

RECORD = 16 * 1024  # RFC 8446 section 5.1


@pytest.fixture(params=["tls", "inside that of a proxy"])
def ends(certificates: Certificates, request: pytest.FixtureRequest) -> Iterator[Ends]:
    ends = Ends(certificates, nested=request.param != "tls")
    yield ends
    ends.close()


def views(*pieces: bytes) -> list[memoryview]:
    return [memoryview(piece) for piece in pieces]


class Recording(ssl.SSLSocket):
    """Notes what is given to OpenSSL in one call, and lets calls lack what the test says."""

    writes: list[int]
    lacking: list[type[Exception]]

    def _lack(self) -> None:
        if self.lacking:
            raise self.lacking.pop(0)

    def send(self, data: Any, flags: int = 0) -> int:
        self.writes.append(len(data))
        self._lack()
        return super().send(data, flags)

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        self._lack()
        return super().recv(buflen, flags)


@pytest.fixture
def recorded(certificates: Certificates) -> Iterator[tuple[Stream, Peer, Recording]]:
    near, far = tcp_pair(small=False)
    context = certificates.new_client()
    context.sslsocket_class = Recording
    peer = Peer(far, client_fd=near.fileno(), context=certificates.server)
    route = Route(("", 0), sock=near, ssl_context=context, server_hostname=HOST)
    stream = drive(Dialer(route, Monitor()).co_dial(), peer)
    assert isinstance(stream.sock, Recording)
    stream.sock.writes, stream.sock.lacking = [], []
    yield stream, peer, stream.sock
    stream.close()
    peer.abandon()


# -------------------------------------------------------------------------------- records


@pytest.mark.parametrize(
    ("sizes", "writes"),
    [
        ([10], [10]),
        ([10, 5], [15]),
        ([10, 5, 1], [16]),
        ([10, RECORD - 10], [RECORD]),
        ([10, RECORD - 9], [RECORD, 1]),
        ([RECORD, 5], [RECORD, 5]),
        ([RECORD + 1, 5], [RECORD, 1, 5]),
        ([1] * 40, [40]),
    ],
    ids=str,
)
def test_pieces_are_joined_up_to_a_record(
    recorded: tuple[Stream, Peer, Recording], sizes: list[int], writes: list[int]
) -> None:
    stream, peer, sock = recorded
    pieces = [bytes([i + 1]) * size for i, size in enumerate(sizes)]
    peer.expect(b"".join(pieces))
    drive(stream.co_send_all(views(*pieces)), peer)
    assert sock.writes == writes
    peer.run()


def test_large_piece_goes_record_by_record(recorded: tuple[Stream, Peer, Recording]) -> None:
    stream, peer, sock = recorded
    data = bytes(10 * RECORD)
    peer.expect(data)
    drive(stream.co_send_all(views(data)), peer)
    assert sock.writes == [RECORD] * 10


@pytest.mark.parametrize("nested", [False, True])
def test_everything_arrives_through_small_buffers(certificates: Certificates, nested: bool) -> None:
    """OpenSSL wants the bytes of an unfinished record again, and gets them."""
    ends = Ends(certificates, small=True, nested=nested)
    pieces = [bytes([i % 251]) * 3001 for i in range(200)]
    ends.peer.expect(b"".join(pieces))
    drive(ends.stream.co_send_all(views(*pieces)), ends.peer)
    ends.peer.run()
    assert ends.activity.bytes_sent == 200 * 3001
    ends.close()


def test_mid_write(recorded: tuple[Stream, Peer, Recording]) -> None:
    """From a record's beginning to its end, bytes may be on the wire that were not counted."""
    stream, peer, sock = recorded
    assert not stream.mid_write
    sock.lacking = [ssl.SSLWantWriteError]
    assert stream.send(views(b"abc")) == PollNeeded(sock.fileno(), POLLOUT)
    assert stream.mid_write
    assert stream.send(views(b"abc")) == 3
    assert not stream.mid_write
    peer.expect(b"abc")
    peer.run()


@pytest.mark.parametrize("nested", [False, True])
def test_mid_write_of_openssls_own(certificates: Certificates, nested: bool) -> None:
    ends = Ends(certificates, small=True, nested=nested)
    sender = ends.stream.co_send_all(views(bytes(10_000_000)))
    need = advance(sender)
    assert need.mask == POLLOUT
    assert ends.stream.mid_write
    ends.close()


# ------------------------------------------------------------------------------- readiness


@pytest.mark.parametrize(
    ("exc", "mask"),
    [
        (ssl.SSLWantReadError(), POLLIN),
        (ssl.SSLWantWriteError(), POLLOUT),
        (ssl.SSLError(), None),
        (ssl.SSLEOFError(), None),
        (ConnectionResetError(), None),
    ],
    ids=repr,
)
def test_wanted(exc: OSError, mask: int | None) -> None:
    need = wanted(exc, PollNeeded(3, POLLIN), PollNeeded(3, POLLOUT))
    assert (None if need is None else need.mask) == mask


def test_mask_is_what_openssl_asks_for(recorded: tuple[Stream, Peer, Recording]) -> None:
    """Not what the operation is called: a read may have to write, and the other way round."""
    stream, _, sock = recorded
    for operation in (lambda: stream.recv(1), lambda: stream.send(views(b"x"))):
        for lacking, mask in ((ssl.SSLWantReadError, POLLIN), (ssl.SSLWantWriteError, POLLOUT)):
            sock.lacking = [lacking]
            assert operation() == PollNeeded(sock.fileno(), mask)


def test_one_lock_for_both_directions(ends: Ends) -> None:
    """An SSLSocket is not safe for two threads at a time."""
    assert isinstance(ends.stream, TLSStream)
    assert not ends.stream.peeks
    assert ends.stream._send_lock is ends.stream._recv_lock


def test_receiving(ends: Ends) -> None:
    ends.peer.reply(b"0123456789")
    assert drive(ends.receive(4), ends.peer) == b"0123"
    assert ends.stream.recv(4) == b"4567", "decrypted already: nothing to wait for"
    target = bytearray(4)
    assert ends.stream.recv_into(memoryview(target)) == 2
    assert target == b"89\0\0"
    assert ends.activity.bytes_received == 10
    assert ends.stream.recv(4) == ends.stream.want_read


# ------------------------------------------------------------------------------------ ends


def test_end_with_close_notify(ends: Ends) -> None:
    ends.peer.reply(b"abc")
    ends.peer.close()
    assert drive(ends.receive(), ends.peer) == b"abc"
    assert [drive(ends.receive(), ends.peer) for _ in range(2)] == [b"", b""]


@pytest.mark.parametrize("how", ["close_without_notify", "reset"])
def test_end_without_close_notify_is_no_end(ends: Ends, how: str) -> None:
    """RFC 9112 section 9.8: it may be an attacker's. And it is told again and again."""
    ends.peer.reply(b"abc")
    getattr(ends.peer, how)()
    assert drive(ends.receive(), ends.peer) == b"abc"
    for _ in range(3):
        with pytest.raises(ConnectionClosed) as info:
            drive(ends.receive(), ends.peer)
        assert isinstance(info.value.__cause__, OSError)


def test_our_own_close_notify(ends: Ends) -> None:
    ends.stream.close()
    ends.peer.expect_eof()
    ends.peer.run()
    assert ends.peer.saw_close_notify
    assert ends.stream.sock.fileno() == -1


@pytest.mark.parametrize("how", ["close", "close_without_notify", "reset"])
def test_closing_what_has_ended(ends: Ends, how: str) -> None:
    getattr(ends.peer, how)()
    ends.peer.run()
    ends.stream.close()
    assert ends.stream.sock.fileno() == -1


def test_closing_under_a_reader_does_not_uncover_the_plain_bytes(ends: Ends) -> None:
    """`SSLSocket.shutdown` would: it drops the TLS layer, and the next read is of ciphertext."""
    reader = ends.receive()
    next(reader)
    ends.stream.close()
    with pytest.raises(ConnectionClosed):
        next(reader)
    assert ends.stream.sock.fileno() == -1


IDLE: dict[str, tuple[Callable[[Peer], None], str | None]] = {
    "quiet": (lambda peer: None, None),
    "stray": (lambda peer: peer.reply(b"x"), "data"),
    "closed": (Peer.close, "closed"),
    "cut": (Peer.close_without_notify, "EOF"),
    "reset": (Peer.reset, "broke"),
}


@pytest.mark.parametrize(("happens", "fault"), IDLE.values(), ids=IDLE)
def test_idle_connection(ends: Ends, happens: Callable[[Peer], None], fault: str | None) -> None:
    """The session tickets of TLS 1.3 lie there all the time, and are no fault."""
    assert isinstance(ends.stream.sock, ssl.SSLSocket)
    assert ends.stream.sock.version() == "TLSv1.3"
    assert ends.stream.want_read.poll(10), "the tickets"
    happens(ends.peer)
    ends.peer.run()
    found = ends.stream.idle_fault()
    assert found is None if fault is None else fault in str(found)


def test_stray_data_that_openssl_has_already(ends: Ends) -> None:
    """The socket is not readable any more, the connection is."""
    ends.peer.reply(b"ab")
    assert drive(ends.receive(1), ends.peer) == b"a"
    assert not ends.stream.want_read.poll(0)
    assert "data" in str(ends.stream.idle_fault())


def test_detachable(certificates: Certificates) -> None:
    for nested in (False, True):
        ends = Ends(certificates, nested=nested)
        assert ends.stream.detachable is not nested
        ends.close()


def test_given_away_with_its_tls(certificates: Certificates) -> None:
    ends = Ends(certificates)
    sock = ends.stream.detach()
    assert isinstance(sock, ssl.SSLSocket)
    ends.peer.reply(b"abc")
    ends.peer.run()
    sock.setblocking(True)
    assert sock.recv(10) == b"abc"
    socket.socket.close(sock)
    ends.close()


# ------------------------------------------------------------------------- inside that of a proxy


def test_end_of_the_proxy_is_no_end(certificates: Certificates) -> None:
    """Its close_notify proves nothing about the server."""
    ends = Ends(certificates, nested=True)
    ends.peer.reply(b"abc")
    ends.peer.end_outer_tls()
    assert drive(ends.receive(), ends.peer) == b"abc"
    for _ in range(2):
        with pytest.raises(ConnectionClosed, match="EOF"):
            drive(ends.receive(), ends.peer)
    ends.close()


def test_both_layers_are_ended(certificates: Certificates) -> None:
    ends = Ends(certificates, nested=True)
    ends.stream.close()
    ends.peer.expect_eof()
    ends.peer.run()
    assert ends.peer.saw_close_notify
    assert ends.peer._outer is not None
    assert ends.peer._outer.saw_close_notify
    ends.close()


def test_stream_that_is_dropped(certificates: Certificates) -> None:
    """It closes its socket with the last reference to it. There is no cycle."""
    ends = Ends(certificates, nested=True)
    gc.disable()
    try:
        del ends.stream
        ends.peer.expect_eof()
        ends.peer.run()
    finally:
        gc.enable()
        ends.peer.abandon()


def test_receiving_while_a_record_is_half_sent(certificates: Certificates) -> None:
    """The receiver may have to send as well, and must not send anything else in between."""
    ends = Ends(certificates, small=True, nested=True)
    data = bytes(range(256)) * 4000
    sender = ends.stream.co_send_all(views(data))
    next(sender)
    assert ends.stream.mid_write
    ends.peer.reply(b"abc")
    ends.peer.expect(data)
    assert drive(ends.receive(), ends.peer) == b"abc"
    drive(sender, ends.peer)
    ends.peer.run()
    ends.close()


def test_alert_of_our_own(certificates: Certificates) -> None:
    """The server is told why the handshake was broken off."""
    near, far = tcp_pair(small=False)
    peer = Peer(far, client_fd=near.fileno(), context=certificates.server)
    peer.start_tls(certificates.server)
    route = Route(
        ("", 0),
        sock=near,
        proxy=Proxy(HOST, 1, scheme="https"),
        proxy_context=certificates.client,
        tunnel=("other.example", 443),
        ssl_context=certificates.client,
        server_hostname="other.example",
    )
    with pytest.raises(ssl.SSLCertVerificationError, match=r"other\.example"):
        drive(Dialer(route, Monitor(), tunnel_without_a_word).co_dial(), peer)
    peer.run()
    assert "certificate" in str(peer.handshake_failure)
    peer.abandon()
