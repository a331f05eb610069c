"""Against real servers of three makes, and through a real proxy.

The scripted peer of the other tests does what a server may do; this is what servers do.
"""

from __future__ import annotations

import hashlib
import json
import queue
import random
import select
import ssl
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import pytest

from dugong import (
    POLLIN,
    POLLOUT,
    BodyFollowing,
    ConnectionClosed,
    HTTPConnection,
    HTTPResponse,
    PollNeeded,
    TunnelRefused,
    is_temp_network_error,
)
from tests.support.apps import HUGE_SIZE, LARGE_SIZE, MIB, document
from tests.support.servers import (
    HOST,
    ROOT,
    Documents,
    Endpoint,
    Endpoints,
    NginxEndpoints,
    Proxies,
)

Coroutine: TypeAlias = Generator[PollNeeded, None, None]


def get(conn: HTTPConnection, path: str) -> tuple[HTTPResponse, bytes]:
    """Do a whole GET that must succeed."""
    conn.send_request("GET", path)
    resp = conn.read_response()
    assert resp.status == 200
    return (resp, conn.readall())


def report(conn: HTTPConnection) -> dict[str, Any]:
    """Return what ``/upload`` says about what it was sent."""
    resp = conn.read_response()
    assert resp.status == 200
    found: dict[str, Any] = json.loads(conn.readall())
    return found


def arrived(body: bytes, *, framed: str) -> dict[str, Any]:
    """Return what ``/upload`` must say about a PUT of *body*."""
    chunked = framed == "chunked"
    return {
        "method": "PUT",
        "length": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "content_length": None if chunked else str(len(body)),
        "transfer_encoding": "chunked" if chunked else None,
    }


def pieces(body: bytes) -> Iterator[bytes]:
    """Cut *body* into parts of sizes from 1 byte to 100 kB."""
    sizes = random.Random(len(body))
    at = 0
    while at < len(body):
        size = sizes.choice((1, 17, 4096, 100_000))
        yield body[at : at + size]
        at += size


BODY = random.Random("an upload").randbytes(3 * MIB + 1)


# --------------------------------------------------------------------- downloads


def test_get(endpoint: Endpoint) -> None:
    conn = endpoint.connection()
    conn.send_request("GET", "/doc/7.txt")
    resp = conn.read_response()
    body = conn.readall()
    assert body == document(7)
    assert (resp.method, resp.path, resp.status, resp.reason) == ("GET", "/doc/7.txt", 200, "OK")
    assert resp.length == len(body)
    assert resp.headers["content-length"] == str(len(body))
    conn.disconnect()


def test_head(endpoint: Endpoint) -> None:
    with endpoint.connection() as conn:
        for n in range(3):
            conn.send_request("HEAD", f"/doc/{n}.txt")
            resp = conn.read_response()
            assert resp.status == 200
            assert resp.headers["Content-Length"] == str(len(document(n)))
            assert resp.length == 0
            assert not conn.response_pending()
        assert conn.read(10) == b""


def test_no_content(endpoint: Endpoint) -> None:
    with endpoint.connection() as conn:
        conn.send_request("GET", "/no-content")
        resp = conn.read_response()
        assert (resp.status, resp.length) == (204, 0)
        assert get(conn, "/doc/3.txt")[1] == document(3)


def test_redirect_is_an_answer_like_any_other(endpoint: Endpoint) -> None:
    with endpoint.connection() as conn:
        conn.send_request("GET", "/redirect")
        resp = conn.read_response()
        assert resp.status == 302
        location = resp.headers["Location"]
        assert location is not None
        assert location.endswith("/doc/1.txt")
        conn.discard()
        assert get(conn, "/doc/1.txt")[1] == document(1)


def test_many_requests_one_by_one(endpoint: Endpoint) -> None:
    with endpoint.connection() as conn:
        for n in range(200):
            assert get(conn, f"/doc/{n}.txt")[1] == document(n)


def test_announced_close(nginx: NginxEndpoints, scheme: str) -> None:
    """nginx answers so many requests on a connection; the last answer announces the end."""
    endpoint: Endpoint = getattr(nginx, scheme)
    refused: dict[int, ConnectionClosed] = {}
    announced = []
    with endpoint.connection() as conn:
        for n in range(nginx.keepalive_requests + 100):
            path = f"/doc/{n}.txt"
            try:
                conn.send_request("GET", path)
            except ConnectionClosed as exc:
                refused[n] = exc
                conn.send_request("GET", path)
            resp = conn.read_response()
            if resp.will_close:
                announced.append(n)
            assert conn.readall() == document(n)
    assert announced == [nginx.keepalive_requests - 1]
    assert list(refused) == [nginx.keepalive_requests]
    (error,) = refused.values()
    assert error.bytes_sent == 0
    assert error.safe_to_retry
    assert not error.response_started
    assert is_temp_network_error(error)


def by_read(conn: HTTPConnection, size: int) -> Iterator[bytes]:
    while data := conn.read(size):
        assert type(data) is bytes
        assert len(data) <= size
        yield data


def by_readinto(conn: HTTPConnection, size: int) -> Iterator[bytes]:
    buf = bytearray(size)
    while count := conn.readinto(buf):
        yield bytes(buf[:count])


def by_readall(conn: HTTPConnection, size: int) -> Iterator[bytes]:
    yield conn.readall()


@pytest.mark.parametrize("way", [by_read, by_readinto, by_readall])
@pytest.mark.parametrize("room", ["doc", "chunked"])
def test_large_download(
    endpoint: Endpoint,
    documents: Documents,
    room: str,
    way: Callable[[HTTPConnection, int], Iterable[bytes]],
) -> None:
    with endpoint.connection() as conn:
        conn.send_request("GET", f"/{room}/large.bin")
        resp = conn.read_response()
        assert resp.status == 200
        assert resp.length == (None if room == "chunked" else LARGE_SIZE)
        digest = hashlib.sha256()
        size = 0
        for part in way(conn, 128 * 1024):
            digest.update(part)
            size += len(part)
        assert size == LARGE_SIZE
        assert digest.hexdigest() == documents.sha256("large.bin")
        # The end was found where it is, so the connection is good for more.
        assert get(conn, "/doc/2.txt")[1] == document(2)


def test_small_chunked(endpoint: Endpoint) -> None:
    with endpoint.connection() as conn:
        for n in range(50):
            (resp, body) = get(conn, f"/chunked/{n}.txt")
            assert body == document(n)
            # An application server knows the length of what fits one part, an empty body say.
            assert resp.length in (None, len(body))


def test_trailers(nginx: NginxEndpoints) -> None:
    with nginx.plain.connection() as conn:
        for n in (4, 5):
            (resp, body) = get(conn, f"/trailers/{n}.txt")
            assert body == document(n)
            assert resp.trailers is not None
            assert resp.trailers["X-Served"] == f"/trailers/{n}.txt"


def test_body_that_ends_with_the_connection(nginx: NginxEndpoints, scheme: str) -> None:
    endpoint: Endpoint = getattr(nginx, scheme)
    with endpoint.connection() as conn:
        (resp, body) = get(conn, "/until-close/9.txt")
        assert body == document(9)
        assert resp.length is None
        assert resp.will_close
        with pytest.raises(ConnectionClosed) as caught:
            conn.send_request("GET", "/doc/10.txt")
        assert caught.value.safe_to_retry
        assert get(conn, "/doc/10.txt")[1] == document(10)


def test_unix_socket(nginx: NginxEndpoints) -> None:
    with HTTPConnection("localhost", unix_socket=nginx.unix_socket) as conn:
        for n in range(20):
            assert get(conn, f"/doc/{n}.txt")[1] == document(n)
        conn.send_request("PUT", "/upload", body=BODY)
        assert report(conn) == arrived(BODY, framed="length")


# --------------------------------------------------------------------- uploads


def test_upload_in_one_piece(endpoint: Endpoint) -> None:
    with endpoint.connection() as conn:
        for body in (BODY, bytearray(BODY), memoryview(BODY)):
            conn.send_request("PUT", "/upload", body=body)
            assert report(conn) == arrived(BODY, framed="length")
        conn.send_request("PUT", "/upload", body=b"")
        assert report(conn) == arrived(b"", framed="length")


def test_upload_in_parts_of_announced_length(endpoint: Endpoint) -> None:
    with endpoint.connection() as conn:
        for _ in range(2):
            conn.send_request("PUT", "/upload", body=BodyFollowing(len(BODY)))
            for piece in pieces(BODY):
                conn.write(piece)
            assert not conn.body_pending
            assert report(conn) == arrived(BODY, framed="length")


def test_upload_chunked(endpoint: Endpoint) -> None:
    with endpoint.connection() as conn:
        for _ in range(2):
            conn.send_request("PUT", "/upload", body=BodyFollowing())
            for piece in pieces(BODY):
                conn.write(piece)
                conn.write(b"")
            assert conn.body_pending
            conn.end_body()
            assert report(conn) == arrived(BODY, framed="chunked")


@pytest.mark.parametrize("framed", ["length", "chunked"])
def test_continue(endpoint: Endpoint, framed: str) -> None:
    with endpoint.connection() as conn:
        for _ in range(2):
            following = BodyFollowing(len(BODY)) if framed == "length" else BodyFollowing()
            conn.send_request("PUT", "/upload", body=following, expect100=True)
            resp = conn.read_response()
            assert resp.status == 100
            for piece in pieces(BODY):
                conn.write(piece)
            if framed == "chunked":
                conn.end_body()
            assert report(conn) == arrived(BODY, framed=framed)


def test_continue_refused(endpoint: Endpoint) -> None:
    """The body was announced and will not be sent, so the next request needs a new connection."""
    with endpoint.connection() as conn:
        for n in range(3):
            conn.send_request("PUT", "/denied", body=BodyFollowing(len(BODY)), expect100=True)
            assert conn.read_response().status == 403
            conn.discard()
            assert get(conn, f"/doc/{n}.txt")[1] == document(n)


def test_too_large_a_body_refused(nginx: NginxEndpoints, scheme: str) -> None:
    endpoint: Endpoint = getattr(nginx, scheme)
    with endpoint.connection() as conn:
        conn.send_request("PUT", "/small", body=BodyFollowing(len(BODY)), expect100=True)
        assert conn.read_response().status == 413
        conn.discard()
        assert get(conn, "/doc/1.txt")[1] == document(1)


def test_too_large_a_body_sent_all_the_same(nginx: NginxEndpoints, scheme: str) -> None:
    """nginx answers at once, announces the close, and takes the rest of the body to throw away."""
    endpoint: Endpoint = getattr(nginx, scheme)
    with endpoint.connection() as conn:
        conn.send_request("PUT", "/small", body=BODY)
        resp = conn.read_response()
        assert resp.status == 413
        assert resp.will_close
        assert b"413" in conn.readall()
        with pytest.raises(ConnectionClosed) as caught:
            conn.send_request("GET", "/doc/1.txt")
        assert caught.value.safe_to_retry
        assert get(conn, "/doc/1.txt")[1] == document(1)


# --------------------------------------------------------------------- TLS


def test_certificate(endpoint: Endpoint) -> None:
    with endpoint.connection() as conn:
        peer = conn.get_ssl_peercert()
        der = conn.get_ssl_peercert(binary_form=True)
        cipher = conn.get_ssl_cipher()
        if endpoint.context is None:
            assert (peer, der, cipher) == (None, None, None)
        else:
            assert isinstance(peer, dict)
            assert ("DNS", "localhost") in peer["subjectAltName"]
            assert isinstance(der, bytes)
            assert cipher is not None
        assert get(conn, "/doc/1.txt")[1] == document(1)


def test_name_to_dial_and_name_to_check(nginx: NginxEndpoints) -> None:
    with nginx.tls.connection(hostname="localhost", address=(HOST, nginx.tls.port)) as conn:
        assert get(conn, "/doc/1.txt")[1] == document(1)


@pytest.mark.parametrize("tunnelled", [False, True])
def test_certificate_not_trusted(
    nginx: NginxEndpoints, request: pytest.FixtureRequest, tunnelled: bool
) -> None:
    proxy = request.getfixturevalue("tinyproxy").open if tunnelled else None
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with nginx.tls.connection(ssl_context=nobody, proxy=proxy) as conn:
        with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local") as caught:
            conn.send_request("GET", "/doc/1.txt")
    assert type(caught.value) is ssl.SSLCertVerificationError
    assert not is_temp_network_error(caught.value)


def test_certificate_of_another_host(nginx: NginxEndpoints) -> None:
    with nginx.tls.connection(hostname="walrus.test", address=(HOST, nginx.tls.port)) as conn:
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch") as caught:
            conn.connect()
    assert type(caught.value) is ssl.SSLCertVerificationError
    assert not is_temp_network_error(caught.value)


# --------------------------------------------------------------------- through a proxy


def test_proxy(server: Endpoints, tinyproxy: Proxies) -> None:
    """Without TLS the proxy is asked for the absolute form of the target."""
    with server.plain.connection(proxy=tinyproxy.open) as conn:
        (resp, body) = get(conn, "/doc/11.txt")
        assert body == document(11)
        assert "tinyproxy" in (resp.headers["Via"] or "")


def test_upload_through_proxy(server: Endpoints, tinyproxy: Proxies) -> None:
    with server.plain.connection(proxy=tinyproxy.open) as conn:
        conn.send_request("PUT", "/upload", body=BODY)
        assert report(conn) == arrived(BODY, framed="length")


def test_tunnel(server: Endpoints, tinyproxy: Proxies) -> None:
    with server.tls.connection(proxy=tinyproxy.open) as conn:
        for n in range(20):
            (resp, body) = get(conn, f"/doc/{n}.txt")
            assert body == document(n)
            assert "Via" not in resp.headers


def test_large_download_through_tunnel(
    nginx: NginxEndpoints, tinyproxy: Proxies, documents: Documents
) -> None:
    with nginx.tls.connection(proxy=tinyproxy.open) as conn:
        (_, body) = get(conn, "/doc/large.bin")
        assert hashlib.sha256(body).hexdigest() == documents.sha256("large.bin")


def test_proxy_credentials(server: Endpoints, scheme: str, tinyproxy: Proxies) -> None:
    endpoint: Endpoint = getattr(server, scheme)
    with endpoint.connection(proxy=tinyproxy.guarded_url()) as conn:
        assert get(conn, "/doc/12.txt")[1] == document(12)


# tinyproxy answers a wrong password like an origin server would, with 401.
REFUSALS = [(None, 407, "Proxy Authentication Required"), ("wrong", 401, "Unauthorized")]


@pytest.mark.parametrize(("password", "status", "reason"), REFUSALS)
def test_proxy_credentials_missing_or_wrong(
    nginx: NginxEndpoints, tinyproxy: Proxies, password: str | None, status: int, reason: str
) -> None:
    proxy = tinyproxy.guarded_url(password=password) if password else tinyproxy.guarded
    with nginx.plain.connection(proxy=proxy) as conn:
        conn.send_request("GET", "/doc/1.txt")
        resp = conn.read_response()
        assert (resp.status, resp.reason) == (status, reason)
        assert conn.readall()
    with nginx.tls.connection(proxy=proxy) as conn:
        with pytest.raises(TunnelRefused) as caught:
            conn.send_request("GET", "/doc/1.txt")
    assert (caught.value.status, caught.value.reason) == (status, reason)
    assert caught.value.headers["Server"]
    assert not is_temp_network_error(caught.value)


def test_tunnel_refused(nginx: NginxEndpoints, tinyproxy: Proxies) -> None:
    """The proxy does not open tunnels to the port that speaks plain HTTP."""
    context = nginx.tls.context
    with nginx.plain.connection(proxy=tinyproxy.open, ssl_context=context) as conn:
        with pytest.raises(TunnelRefused) as caught:
            conn.connect()
    assert (caught.value.status, caught.value.reason) == (403, "Access violation")
    assert isinstance(caught.value, ConnectionError)
    assert not is_temp_network_error(caught.value)


# --------------------------------------------------------------------- pipelining

PIPELINED = 1000

#: Together far more than the buffers of both sockets and of the server hold, in both directions.
ECHOES = [random.Random(f"echo {n}").randbytes(300_000 + n) for n in range(40)]


def in_two_threads(
    conn: HTTPConnection,
    count: int,
    send: Callable[[int], None],
    receive: Callable[[int], None],
) -> None:
    """Send in one thread and receive in another, at the same time."""
    sent: queue.Queue[int | None] = queue.Queue()

    def send_all() -> None:
        try:
            for n in range(count):
                send(n)
                sent.put(n)
        finally:
            sent.put(None)

    with ThreadPoolExecutor(1) as executor:
        sending = executor.submit(send_all)
        try:
            for n in iter(sent.get, None):
                receive(n)
        finally:
            if not sending.done():
                conn.disconnect()  # wakes a sender that waits for room that nobody makes
        sending.result()


def in_select_loop(*coroutines: Coroutine) -> None:
    """Run coroutines to their ends in one thread, by nothing but what they yield."""
    running = list(coroutines)
    while running:
        waits: list[PollNeeded] = []
        for coroutine in running.copy():
            try:
                waits.append(next(coroutine))
            except StopIteration:
                running.remove(coroutine)
        limits = [wait.timeout for wait in waits if wait.timeout is not None]
        if waits:
            select.select(
                [wait.fd for wait in waits if wait.mask & POLLIN],
                [wait.fd for wait in waits if wait.mask & POLLOUT],
                [],
                min(limits, default=None),
            )


def test_pipelining_with_two_threads(endpoint: Endpoint) -> None:
    received = 0

    def send(n: int) -> None:
        conn.send_request("GET", f"/doc/{n}.txt")

    def receive(n: int) -> None:
        nonlocal received
        resp = conn.read_response()
        assert (resp.path, resp.status) == (f"/doc/{n}.txt", 200)
        assert conn.readall() == document(n)
        received += 1

    with endpoint.connection() as conn:
        in_two_threads(conn, PIPELINED, send, receive)
        assert not conn.response_pending()
    assert received == PIPELINED


def test_pipelining_with_two_coroutines(endpoint: Endpoint) -> None:
    received = 0

    def send() -> Coroutine:
        for n in range(PIPELINED):
            yield from conn.co_send_request("GET", f"/doc/{n}.txt")

    def receive() -> Coroutine:
        nonlocal received
        for n in range(PIPELINED):
            resp = yield from conn.co_read_response()
            assert (resp.path, resp.status) == (f"/doc/{n}.txt", 200)
            body = yield from conn.co_readall()
            assert body == document(n)
            received += 1

    with endpoint.connection() as conn:
        in_select_loop(send(), receive())
        assert not conn.response_pending()
    assert received == PIPELINED


def test_pipelined_uploads_with_two_threads(endpoint: Endpoint) -> None:
    """What is sent comes back, so a client that stops either to do the other comes to a halt."""
    received: list[bool] = []

    def send(n: int) -> None:
        conn.send_request("PUT", "/echo", body=ECHOES[n])

    def receive(n: int) -> None:
        assert conn.read_response().status == 200
        received.append(conn.readall() == ECHOES[n])

    with endpoint.connection() as conn:
        in_two_threads(conn, len(ECHOES), send, receive)
    assert received == [True] * len(ECHOES)


def test_pipelined_uploads_with_two_coroutines(endpoint: Endpoint) -> None:
    received: list[bool] = []

    def send() -> Coroutine:
        for body in ECHOES:
            yield from conn.co_send_request("PUT", "/echo", body=body)

    def receive() -> Coroutine:
        for body in ECHOES:
            resp = yield from conn.co_read_response()
            assert resp.status == 200
            received.append((yield from conn.co_readall()) == body)

    with endpoint.connection() as conn:
        in_select_loop(send(), receive())
    assert received == [True] * len(ECHOES)


# --------------------------------------------------------------------- memory


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize(
    ("way", "room", "allowed"),
    [
        ("readall", "doc", HUGE_SIZE * 11 // 10),
        ("readall", "chunked", HUGE_SIZE * 11 // 10),
        ("readinto", "doc", 4 * MIB),
        ("readinto", "chunked", 4 * MIB),
    ],
)
def test_peak_memory(
    nginx: NginxEndpoints, documents: Documents, way: str, room: str, allowed: int
) -> None:
    """A body is held once, or not at all when it is streamed."""
    arguments = [str(nginx.plain.port), f"/{room}/huge.bin", way]
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.peak_memory", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["size"], found["sha256"]) == (HUGE_SIZE, documents.sha256("huge.bin"))
    assert found["growth"] <= allowed
