"""One thread sends, one reads, and a third disconnects at any moment: plain and over TLS."""

from __future__ import annotations

import queue
import random
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from zlib import crc32

import pytest

from dugong import ConnectionClosed, HTTPConnection, StateError
from tests.support.wire import Certificates

ROUNDS = 60
REQUESTS = 40
GUARD = 30.0  # seconds after which a thread that has not ended is taken for hanging


def body_of(path: str) -> bytes:
    return path.encode() * 50


def answer(sock: socket.socket, context: ssl.SSLContext | None) -> None:
    """Answer each request with its own path, by turns with a length and in chunks."""
    try:
        if context is not None:
            sock = context.wrap_socket(sock, server_side=True)
        with sock, sock.makefile("rb") as file:
            while line := file.readline():
                path = line.split()[1].decode()
                while file.readline() not in (b"\r\n", b""):
                    pass
                body = body_of(path)
                if crc32(body) % 2:
                    sock.sendall(
                        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
                    )
                else:
                    sock.sendall(
                        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                        b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
                    )
    except OSError:
        sock.close()  # the client has left


@pytest.fixture(params=["plain", "tls"])
def connect(
    request: pytest.FixtureRequest, certificates: Certificates
) -> Iterator[Callable[[], HTTPConnection]]:
    """Makes connections to a server with a thread for each."""
    tls = request.param == "tls"
    threads: list[threading.Thread] = []

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            context = certificates.server if tls else None
            threads.append(threading.Thread(target=answer, args=(sock, context)))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        acceptor = threading.Thread(target=accept)
        acceptor.start()
        context = certificates.client if tls else None
        address = listener.getsockname()
        yield lambda: HTTPConnection("localhost", 443, context, address=address, timeout=GUARD)
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join(GUARD)
    for thread in threads:
        thread.join(GUARD)


def test_disconnecting_at_any_moment(connect: Callable[[], HTTPConnection]) -> None:
    chance = random.Random(2)
    for _ in range(ROUNDS):
        conn = connect()
        sent: queue.Queue[str | None] = queue.Queue()
        now = threading.Event()
        moment = chance.randrange(REQUESTS)
        wrong: list[object] = []

        def send(conn: HTTPConnection = conn, sent: queue.Queue[str | None] = sent) -> None:
            try:
                for number in range(REQUESTS):
                    conn.send_request("GET", f"/{number}")
                    sent.put(f"/{number}")
            except (ConnectionClosed, StateError):
                pass
            finally:
                sent.put(None)

        def read(
            conn: HTTPConnection = conn,
            sent: queue.Queue[str | None] = sent,
            now: threading.Event = now,
            moment: int = moment,
            wrong: list[object] = wrong,
        ) -> None:
            try:
                while (path := sent.get()) is not None:
                    if path == f"/{moment}":
                        now.set()
                    response = conn.read_response()
                    body = conn.readall()
                    # The sender may be on a new connection by now, so this need not be *path*.
                    if body != body_of(response.path):
                        wrong.append((response.path, body))
            except (ConnectionClosed, StateError):
                pass
            finally:
                now.set()

        threads = [threading.Thread(target=send), threading.Thread(target=read)]
        for thread in threads:
            thread.start()
        assert now.wait(GUARD)
        conn.disconnect()
        for thread in threads:
            thread.join(GUARD)
            assert not thread.is_alive(), "a thread was not woken"
        conn.disconnect()
        assert wrong == []


def test_a_body_is_not_looked_for_on_another_connection(
    connect: Callable[[], HTTPConnection],
) -> None:
    """Here one thread does what two do when a third disconnects between them."""
    with connect() as conn:
        conn.send_request("GET", "/lost")
        conn.read_response()
        conn.disconnect()
        conn.send_request("GET", "/next")
        for read in (conn.readall, conn.read, lambda: conn.readinto(bytearray(9)), conn.discard):
            with pytest.raises(ConnectionClosed):
                read()
        assert conn.read_response().path == "/next"
        assert conn.readall() == body_of("/next")
