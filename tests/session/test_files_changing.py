"""Files that change, or whose connection fails, while they are sent; and one that is very large."""

from __future__ import annotations

import io
import os
import socket
import ssl
import sys
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dugong import BodyChanged, ConnectionClosed, HTTPConnection, StateError
from tests.support.drive import drive
from tests.support.exchanges import OK
from tests.support.peer import Peer
from tests.support.styles import StyledWire
from tests.support.uploads import (
    CONTINUE,
    TOO_LARGE,
    WAYS,
    complete,
    drain,
    head_size,
    requested,
    sent_and_read,
)
from tests.support.wire import HOST, Certificates, Wire, tcp_pair

#: More than two blocks in which a file is read.
DATA = b"".join(b"%07d\n" % i for i in range(320_000))

START = 1000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    return path


class Named(io.BufferedReader):
    """Not one of the classes whose descriptor is trusted, so it is read."""


KINDS: dict[str, Callable[[Path], Any]] = {
    "FileIO": lambda path: path.open("rb", buffering=0),
    "BufferedReader": lambda path: path.open("rb"),
    "BufferedRandom": lambda path: path.open("r+b"),
    "read": lambda path: Named(path.open("rb", buffering=0)),
}


def opened(kind: str, path: Path) -> Any:
    file = KINDS[kind](path)
    file.seek(START)
    return file


# ------------------------------------------------------------- the position after a failure


def stands_behind_what_was_sent(file: Any, conn: Any, peer: Peer) -> None:
    sent = conn.bytes_sent - head_size(peer)
    assert 0 < sent < len(DATA) - START
    assert file.tell() == START + sent
    assert file.read(8) == DATA[START + sent :][:8]


def stands_where_it_should(method: str, file: Any, conn: Any, peer: Peer) -> None:
    """At its start if the request is safe to retry."""
    if method == "PUT":
        assert file.tell() == START
    else:
        stands_behind_what_was_sent(file, conn, peer)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_position_after_a_reset(wire: StyledWire, path: Path, kind: str, method: str) -> None:
    for ask in WAYS.values():
        with opened(kind, path) as file:
            conn, peer = wire.pair(small=True)
            peer.expect_head()
            peer.expect(DATA[START:50_000])
            peer.reset()
            with pytest.raises(ConnectionClosed) as caught:
                await ask(conn, method, body=file, expect100=False)
            assert caught.value.safe_to_retry is (method == "PUT")
            assert caught.value.bytes_sent == conn.bytes_sent
            stands_where_it_should(method, file, conn, peer)


@pytest.mark.parametrize("kind", KINDS)
async def test_position_after_a_refusal(wire: StyledWire, path: Path, kind: str) -> None:
    with opened(kind, path) as file:
        conn, peer = wire.pair(small=True)
        peer.expect_head()
        peer.expect(DATA[START:50_000])
        peer.reply(TOO_LARGE)
        assert (await requested(conn, "PUT", body=file, expect100=False))[0].status == 413
        stands_behind_what_was_sent(file, conn, peer)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_position_after_a_cancellation(
    wire: StyledWire, path: Path, kind: str, method: str
) -> None:
    for way in WAYS:
        with opened(kind, path) as file:
            conn, peer = wire.pair(small=True)
            peer.expect_head()
            peer.expect(DATA[START:50_000])
            await conn.connect()
            while wire.tls and peer.step():
                pass
            if way == "request":
                await wire.stop(conn.request(method, "/", body=file, expect100=False))
            else:
                await wire.stop(conn.send_request(method, "/", body=file))
            stands_where_it_should(method, file, conn, peer)


@pytest.mark.parametrize("kind", KINDS)
async def test_position_where_nothing_was_sent(wire: StyledWire, path: Path, kind: str) -> None:
    with opened(kind, path) as file:
        conn, peer = wire.pair()
        peer.expect_head()
        peer.reply(TOO_LARGE)
        await requested(conn, "PUT", body=file, expect100=True)
        assert file.tell() == START
        conn, peer = wire.pair()
        peer.expect_head()
        peer.close()
        with pytest.raises(ConnectionClosed):
            await conn.request("PUT", "/", body=file, expect100=True)
        assert file.tell() == START


@pytest.mark.parametrize("kind", KINDS)
async def test_it_is_sent_again_from_where_it_was_first(
    wire: StyledWire, path: Path, kind: str
) -> None:
    """What a caller does who retries."""
    listener = wire.listen()
    conn, first = wire.dial(listener), listener.peer()
    with opened(kind, path) as file:
        first.expect_head()
        first.close()
        with pytest.raises(ConnectionClosed) as caught:
            await conn.request("PUT", "/", body=file, expect100=False)
        (request,) = caught.value.unanswered
        assert request.body is file
        conn.disconnect()
        second = listener.peer()
        second.expect_request(body=DATA[START:])
        second.reply(OK)
        await requested(conn, request.method, request.path, body=request.body, expect100=False)
        second.check()


# --------------------------------------------------------------------------------- changes


def to(size: int) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, size)


CHANGES: dict[str, Callable[[Path], None]] = {
    "a byte less": to(len(DATA) - 1),
    "half of it": to(len(DATA) // 2),
    "less than was sent": to(START + 10),
    "empty": to(0),
    "a byte more": to(len(DATA) + 1),
    "much more": to(2 * len(DATA)),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", KINDS)
def test_it_changes_while_it_is_sent(
    wire: Wire, ask: Any, path: Path, kind: str, change: str
) -> None:
    """The server never gets what would pass for a whole request."""
    with opened(kind, path) as file:
        conn, peer = wire.pair(small=True)
        peer.expect_head()
        peer.call(lambda: CHANGES[change](path))
        drain(peer)
        with pytest.raises(BodyChanged) as caught:
            drive(ask(conn, "PUT", body=file, expect100=False), peer)
        assert not complete(peer)
        assert isinstance(caught.value, ValueError)
        assert caught.value.bytes_sent == conn.bytes_sent == len(peer.received)
        assert [request.method for request in caught.value.unanswered] == ["PUT"]
        assert file.tell() == START
        nothing_follows(conn, peer)


def nothing_follows(conn: HTTPConnection, peer: Peer) -> None:
    with pytest.raises((ConnectionClosed, StateError)):
        drive(conn.co_send_request("GET", "/again"), peer)
    complete(peer)
    assert b"/again" not in peer.received


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", KINDS)
def test_it_changes_while_the_100_is_awaited(
    plain: Wire, path: Path, kind: str, change: str
) -> None:
    """When its length has been announced already."""
    with opened(kind, path) as file:
        conn, peer = plain.pair()
        peer.expect_head()
        peer.call(lambda: CHANGES[change](path))
        peer.reply(CONTINUE)
        with pytest.raises(BodyChanged):
            drive(conn.co_request("PUT", "/", body=file, expect100=True), peer)
        assert not complete(peer)
        nothing_follows(conn, peer)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", KINDS)
def test_it_changes_while_connecting(
    tls: Wire, ask: Any, path: Path, kind: str, change: str
) -> None:
    with opened(kind, path) as file:
        conn, peer = tls.pair()
        crt = ask(conn, "PUT", body=file, expect100=False)
        next(crt)  # waits for the handshake
        CHANGES[change](path)
        with pytest.raises(BodyChanged):
            drive(crt, peer)
        assert not complete(peer)


@pytest.mark.parametrize("kind", KINDS)
def test_it_changes_when_all_is_sent(wire: Wire, path: Path, kind: str) -> None:
    """That is no concern of the request any more."""
    with opened(kind, path) as file:
        conn, peer = wire.pair()
        peer.expect_request(body=DATA[START:])
        peer.call(lambda: CHANGES["much more"](path))
        peer.reply(OK)
        assert drive(sent_and_read(conn, "PUT", body=file), peer)[1] == b"hi"
        peer.check()


@pytest.mark.parametrize("kind", KINDS)
def test_closed_while_it_is_sent(wire: Wire, ask: Any, path: Path, kind: str) -> None:
    """An error, and never bytes of whatever has got the descriptor since."""
    file = opened(kind, path)
    conn, peer = wire.pair(small=True)
    peer.expect_head()
    peer.call(file.close)
    drain(peer)
    with pytest.raises((ValueError, OSError)):
        drive(ask(conn, "PUT", body=file, expect100=False), peer)
    assert not complete(peer)
    nothing_follows(conn, peer)


class Changing(io.BytesIO):
    """Measured by seeking; then it is another size than when it was measured."""

    def __init__(self, size: int, then: int) -> None:
        super().__init__(bytes(size))
        self._then = then

    def read(self, size: int | None = -1) -> bytes:
        here = self.tell()
        self.seek(0, os.SEEK_END)
        self.write(bytes(max(0, self._then - self.tell())))
        self.truncate(self._then)
        self.seek(here)
        return super().read(size)


@pytest.mark.parametrize(("size", "then"), [(5, 4), (5, 0), (5, 6), (5, 5000), (1 << 21, 1 << 20)])
def test_another_file_changes(plain: Wire, ask: Any, size: int, then: int) -> None:
    conn, peer = plain.pair()
    drain(peer)
    with pytest.raises(BodyChanged):
        drive(ask(conn, "PUT", body=Changing(size, then), expect100=False), peer)
    assert not complete(peer)
    nothing_follows(conn, peer)


# ------------------------------------------------------------------------------- very large


def count_and_answer(sock: socket.socket, counts: list[int], end: bytes) -> None:
    """Read a request whose body ends in *end*, without keeping it."""
    buf = bytearray(1 << 20)
    total, last = 0, b""
    while not last.endswith(end):
        count = sock.recv_into(buf)
        assert count
        total += count
        last = (last + bytes(buf[max(0, count - 16) : count]))[-16:]
    counts.append(total)
    sock.sendall(OK)


MIB = 1 << 20
SIZE = 5 << 30  # beyond what 32 bits count; a hole but for its end


@pytest.mark.skipif(sys.platform != "linux", reason="sparse files are not everywhere")
@pytest.mark.parametrize(("tls", "count"), [(False, 512 * MIB), (True, 128 * MIB)])
def test_the_end_of_a_very_large_file(
    certificates: Certificates, tmp_path: Path, tls: bool, count: int
) -> None:
    """Its last so many bytes take no more memory than a few."""
    path = tmp_path / "sparse"
    with path.open("wb") as out:
        out.seek(SIZE - 3)
        out.write(b"end")
    near, far = tcp_pair(small=False)
    counts: list[int] = []

    def serve() -> None:
        sock: socket.socket | ssl.SSLSocket = far
        if tls:
            sock = certificates.server.wrap_socket(far, server_side=True)
        with sock:
            count_and_answer(sock, counts, b"end")

    server = threading.Thread(target=serve)
    context = certificates.client if tls else None
    with far, path.open("rb") as file, HTTPConnection(HOST, sock=near, ssl_context=context) as conn:
        file.seek(SIZE - count)
        server.start()
        conn.connect()
        tracemalloc.start()
        try:
            response = conn.request("PUT", "/", body=file, expect100=False)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        server.join()
        assert response.status == 200
        assert file.tell() == SIZE
        assert counts == [conn.bytes_sent]
        assert count < conn.bytes_sent < count + 1000
    assert peak < 8 * MIB
