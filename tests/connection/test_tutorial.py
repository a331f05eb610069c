"""Every example of the tutorial, in its order and its names, against a real server.

Where an example would not run as printed (a misspelt mode, a name that moved), it is written here
as it was meant.
"""

from __future__ import annotations

import os
import queue
import re
import ssl
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from select import POLLIN, POLLOUT, select

import pytest

from dugong import BodyFollowing, HTTPConnection, HTTPResponse, PollNeeded, is_temp_network_error
from tests.connection.tutorial_server import MOVIE, PAGE, Server, document
from tests.support.wire import Certificates

BUFSIZE = 32 * 1024


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def connect(server: Server) -> Iterator[Callable[[], HTTPConnection]]:
    """Make connections to the server; they are closed after the test, before the server."""
    made: list[HTTPConnection] = []

    def make() -> HTTPConnection:
        made.append(HTTPConnection("somehost.com", address=server.address))
        return made[-1]

    yield make
    for conn in made:
        conn.disconnect()


@pytest.fixture
def conn(connect: Callable[[], HTTPConnection]) -> HTTPConnection:
    return connect()


@pytest.fixture
def release(tmp_path: Path) -> Path:
    path = tmp_path / "newest_release.mp4"
    path.write_bytes(MOVIE)
    return path


# -------------------------------------------------------------------------------- Basic Use


def test_four_lines(conn: HTTPConnection) -> None:
    conn.send_request("GET", "/index.html")
    resp = conn.read_response()
    body = conn.readall()
    assert resp.status == 200
    assert body.decode("utf-8") == PAGE


def test_headers(conn: HTTPConnection) -> None:
    conn.send_request("GET", "/index.html")
    resp = conn.read_response()
    conn.discard()
    printed = [f"{resp.status:03d} {resp.reason}"]
    for key, value in resp.headers.items():
        printed.append(f"{key}: {value}")
    assert printed[0] == "200 OK"
    assert "Content-Type: text/html; charset=utf-8" in printed
    assert f"Content-Length: {len(PAGE.encode())}" in printed


@pytest.mark.parametrize("path", ["/index.html", "/plain.html", "/big_movie.mp4"])
def test_charset(conn: HTTPConnection, path: str) -> None:
    conn.send_request("GET", path)
    resp = conn.read_response()
    body = conn.readall()
    hit = re.match(r"^(.+?)(?:; charset=(.+))?$", resp.headers["Content-Type"] or "")
    if not hit:
        raise SystemExit("Can't determine response charset")
    if hit.group(2):
        charset = hit.group(2)
    elif hit.group(1).startswith("text/"):
        charset = "latin1"
    else:
        assert path == "/big_movie.mp4"
        return
    assert body.decode(charset) == PAGE


# ------------------------------------------------------------------------------------- TLS


def test_tls(certificates: Certificates) -> None:
    server = Server(certificates.new_server())
    ssl_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ssl_context.verify_mode = ssl.CERT_REQUIRED
    certificates.authority.configure_trust(ssl_context)
    try:
        with HTTPConnection("localhost", ssl_context=ssl_context, address=server.address) as conn:
            conn.send_request("GET", "/index.html")
            resp = conn.read_response()
            body = conn.readall()
            assert (resp.status, body.decode()) == (200, PAGE)
            peercert = conn.get_ssl_peercert()
            assert peercert is not None
            assert ("DNS", "localhost") in peercert["subjectAltName"]
    finally:
        server.close()


# --------------------------------------------------------------------------- Streaming API


def test_streaming_by_read(conn: HTTPConnection, tmp_path: Path) -> None:
    conn.send_request("GET", "/big_movie.mp4")
    resp = conn.read_response()
    assert resp.status == 200
    with (tmp_path / "big_movie.mp4").open("wb") as fh:
        while True:
            buf = conn.read(BUFSIZE)
            if not buf:
                break
            fh.write(buf)
    assert (tmp_path / "big_movie.mp4").read_bytes() == MOVIE


def test_streaming_by_readinto(conn: HTTPConnection, tmp_path: Path) -> None:
    conn.send_request("GET", "/big_movie.mp4")
    resp = conn.read_response()
    assert resp.status == 200
    buf = bytearray(BUFSIZE)
    with (tmp_path / "big_movie.mp4").open("wb") as fh:
        while True:
            len_ = conn.readinto(buf)
            if not len_:
                break
            fh.write(buf[:len_])
    assert (tmp_path / "big_movie.mp4").read_bytes() == MOVIE


# -------------------------------------------------------------------------- Uploading Data


def test_upload_in_one_piece(conn: HTTPConnection, server: Server) -> None:
    request_body = "'; DELETE FROM passwords;".encode("us-ascii")
    conn.send_request("POST", "/form.php", body=request_body)
    assert conn.read_response().status == 200
    assert server.uploads == {"/form.php": request_body}


def test_upload_in_parts(conn: HTTPConnection, server: Server, release: Path) -> None:
    with release.open("rb") as fh:
        size = os.fstat(fh.fileno()).st_size
        conn.send_request("PUT", "/public/newest_release.mp4", body=BodyFollowing(size))
        while True:
            buf = fh.read(BUFSIZE)
            if not buf:
                break
            conn.write(buf)
    resp = conn.read_response()
    assert resp.status in (200, 204)
    assert server.uploads == {"/public/newest_release.mp4": MOVIE}


# ---------------------------------------------------------------------------- 100-Continue


def _upload_with_100_continue(conn: HTTPConnection, path: str, release: Path) -> HTTPResponse:
    with release.open("rb") as fh:
        size = os.fstat(fh.fileno()).st_size
        conn.send_request("PUT", path, body=BodyFollowing(size), expect100=True)
        resp = conn.read_response()
        if resp.status != 100:
            raise RuntimeError(f"Server said: {resp.reason}")
        while True:
            buf = fh.read(BUFSIZE)
            if not buf:
                break
            conn.write(buf)
    return conn.read_response()


def test_100_continue_accepted(conn: HTTPConnection, server: Server, release: Path) -> None:
    resp = _upload_with_100_continue(conn, "/public/newest_release.mp4", release)
    assert resp.status in (200, 204)
    assert server.uploads == {"/public/newest_release.mp4": MOVIE}


def test_100_continue_refused(conn: HTTPConnection, server: Server, release: Path) -> None:
    with pytest.raises(RuntimeError, match="Server said: Forbidden"):
        _upload_with_100_continue(conn, "/private/newest_release.mp4", release)
    assert conn.readall() == b"not yours"
    assert server.uploads == {}
    conn.send_request("GET", "/index.html")  # on a new connection, by itself
    assert conn.read_response().status == 200


# ------------------------------------------------------------------------ Retrying on Error


def test_retrying_on_error(server: Server) -> None:
    failures: list[Exception] = [ConnectionResetError("once"), TimeoutError("twice")]
    delay, body = 1, b""
    while True:
        try:
            if failures:
                raise failures.pop()
            conn = HTTPConnection("somehost.com", address=server.address)
            conn.send_request("GET", "/index.html")
            conn.read_response()
            body = conn.readall()
            conn.disconnect()
        except Exception as exc:
            if is_temp_network_error(exc):
                delay *= 2  # where a program would sleep
            else:
                raise
        else:
            break
    assert (delay, body.decode()) == (4, PAGE)


# ------------------------------------------------------------------------------- Pipelining

COUNT = 400
PATHS = [f"/doc/{i}" if i % 7 else f"/missing/{i}" for i in range(COUNT)]
MISSING = [path for path in PATHS if path.startswith("/missing")]


def test_pipelining_with_two_threads(conn: HTTPConnection) -> None:
    path_list = [f"/doc/{i}" for i in range(COUNT)]
    sent: queue.Queue[str] = queue.Queue()

    def send_requests() -> None:
        for path in path_list:
            conn.send_request("GET", path)
            sent.put(path)

    thread = threading.Thread(target=send_requests)
    thread.start()
    bodies = []
    for path in path_list:
        assert sent.get() == path
        resp = conn.read_response()
        assert (resp.status, resp.path) == (200, path)
        bodies.append(conn.readall())
    thread.join()
    assert bodies == [document(i) for i in range(COUNT)]


# --------------------------------------------------- Non-blocking, Coroutine based API


def test_coroutine_in_a_busy_loop(conn: HTTPConnection) -> None:
    conn.send_request("GET", "/big_movie.mp4")
    resp = conn.read_response()
    assert resp.status == 200
    body = b""
    crt = conn.co_readall()
    try:
        while True:
            io_req = next(crt)
            assert isinstance(io_req, PollNeeded)
    except StopIteration as exc:
        body = exc.value
    assert body == MOVIE


def test_select_loop_around_one_coroutine(conn: HTTPConnection) -> None:
    conn.send_request("GET", "/big_movie.mp4")
    resp = conn.read_response()
    assert resp.status == 200
    body = b""
    crt = conn.co_readall()
    try:
        while True:
            io_req = next(crt)
            assert io_req.mask == POLLIN
            select((io_req.fd,), (), ())
    except StopIteration as exc:
        body = exc.value
    assert body == MOVIE


# ------------------------------------------------------------- Pipelining with Coroutines


def wait_for(*io_reqs: PollNeeded | None) -> None:
    """Build the lists for `select` from the masks, and wait."""
    needed = [io_req for io_req in io_reqs if io_req is not None]
    readable = [io_req.fd for io_req in needed if io_req.mask & POLLIN]
    writable = [io_req.fd for io_req in needed if io_req.mask & POLLOUT]
    assert readable or writable
    assert any(select(readable, writable, [], 10)), "stuck"


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "not yet connected"])
def test_checking_many_documents(conn: HTTPConnection, connected: bool) -> None:
    """The loop that sends and reads by turns, all by hand."""
    if connected:
        conn.connect()
    path_list = PATHS[::-1]
    send_request_crt: Generator[PollNeeded, None, None] | None = None
    read_response_crt: Generator[PollNeeded, None, HTTPResponse] | None = None
    missing_documents = []
    while path_list or send_request_crt:  # while there are requests to send
        if not send_request_crt:
            send_request_crt = conn.co_send_request("HEAD", path_list.pop())
        try:  # send until we can't send any more without blocking
            io_req_1 = next(send_request_crt)
        except StopIteration:
            send_request_crt = None
            continue
        if not read_response_crt:
            read_response_crt = conn.co_read_response()
        try:  # read until we have to wait for more from the server
            io_req_2 = next(read_response_crt)
        except StopIteration as exc:
            read_response_crt = None
            resp = exc.value
            if resp.status != 200:
                missing_documents.append(resp.path)
            assert conn.read(10) == b""
            continue
        wait_for(io_req_1, io_req_2)

    # All requests have been sent, now we just need to collect the remaining responses.
    while conn.response_pending():
        if not read_response_crt:
            read_response_crt = conn.co_read_response()
        try:
            io_req_2 = next(read_response_crt)
        except StopIteration as exc:
            resp = exc.value
            if resp.status != 200:
                missing_documents.append(resp.path)
            read_response_crt = None
        else:
            assert io_req_2.poll()
    assert missing_documents == MISSING


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "not yet connected"])
def test_saving_many_documents(conn: HTTPConnection, tmp_path: Path, connected: bool) -> None:
    """The same with `yield from`, and the documents' bodies."""
    if connected:
        conn.connect()
    path_list = PATHS
    missing_documents = []

    def send_requests() -> Generator[PollNeeded, None, None]:
        for path in path_list:
            yield from conn.co_send_request("GET", path)

    def read_responses() -> Generator[PollNeeded, None, None]:
        for i in range(len(path_list)):
            resp = yield from conn.co_read_response()
            if resp.status != 200:
                missing_documents.append(resp.path)
            with (tmp_path / f"doc_{i}.dat").open("wb") as fh:
                buf = yield from conn.co_readall()
                fh.write(buf)

    send_request_crt: Generator[PollNeeded, None, None] | None = send_requests()
    read_response_crt = read_responses()
    io_req_1: PollNeeded | None = None
    while True:
        if send_request_crt:  # send requests until we block
            try:
                io_req_1 = next(send_request_crt)
            except StopIteration:
                send_request_crt = None
                io_req_1 = None
        try:  # read responses until we block
            io_req_2 = next(read_response_crt)
        except StopIteration:
            break
        wait_for(io_req_1, io_req_2)

    assert missing_documents == MISSING
    for i, path in enumerate(path_list):
        expected = b"no such document" if path in MISSING else document(i)
        assert (tmp_path / f"doc_{i}.dat").read_bytes() == expected
