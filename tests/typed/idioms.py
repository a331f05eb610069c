"""Every documented way to use the library, once.

    python -m tests.typed.idioms PORT

The server is that of the tutorial, on localhost.
"""

from __future__ import annotations

import array
import asyncio
import hashlib
import io
import os
import queue
import select
import socket
import ssl
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Generator, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, assert_type

import trio

import dugong
from dugong import (
    BUFFER_SIZE,
    HTTP_PORT,
    HTTPS_PORT,
    MAX_HEADER_SIZE,
    MAX_LINE_SIZE,
    POLLIN,
    POLLOUT,
    AioFuture,
    AsyncHTTPConnection,
    AsyncPool,
    BodyFollowing,
    CaseInsensitiveDict,
    ConnectionClosed,
    ConnectionTimedOut,
    DigestMismatch,
    DNSUnavailable,
    DugongError,
    Headers,
    HostnameNotResolvable,
    HTTPConnection,
    HTTPResponse,
    InvalidRequest,
    InvalidResponse,
    Origin,
    PollNeeded,
    Pool,
    Request,
    Timeouts,
    TunnelRefused,
    eval_coroutine,
    is_temp_network_error,
    run_all,
)

T = TypeVar("T")

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 0


def note(*values: object) -> None:
    """What a program does with what it learns is its own business."""


def settings() -> None:
    """Arguments of the constructor, and attributes."""
    context = ssl.create_default_context()
    HTTPConnection("localhost")
    HTTPConnection("localhost", None, context, ("proxy.example", 8080))
    HTTPConnection("localhost", proxy="http://user:password@proxy.example:8080", timeout=1.5)
    HTTPConnection("localhost", unix_socket="/run/socket", deadline=60, continue_timeout=None)
    HTTPConnection("localhost", unix_socket=Path("/run/socket"))
    HTTPConnection("localhost", unix_socket=b"/run/socket")
    HTTPConnection("localhost", address=("127.0.0.1", PORT), source_address=("127.0.0.1", 0))
    HTTPConnection("localhost", proxy=("proxy.example", 8080), proxy_headers={"X-A": "b"})
    HTTPConnection("localhost", proxy="https://proxy.example", proxy_ssl_context=context)
    HTTPConnection("localhost", proxy="socks5h://user:password@proxy.example")
    HTTPConnection("localhost", socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)])
    near, far = socket.socketpair()
    far.close()
    HTTPConnection("localhost", sock=near).disconnect()

    conn = HTTPConnection("localhost", port=PORT)
    conn.hostname, conn.port, conn.ssl_context = "localhost", PORT, context
    conn.proxy = ("proxy.example", 8080)
    conn.proxy = "http://proxy.example"
    conn.proxy = conn.ssl_context = None
    conn.timeout, conn.deadline, conn.continue_timeout = 5, 60.0, None
    conn = HTTPConnection("localhost", port=PORT)
    assert_type(conn.hostname, str)
    assert_type(conn.port, int)
    assert_type(conn.ssl_context, ssl.SSLContext | None)
    assert_type(conn.timeout, float | Timeouts | None)
    conn.timeout = Timeouts(pool=30, connect=10.5, send=None, receive=5)
    HTTPConnection("localhost", timeout=Timeouts(connect=10))
    assert (HTTP_PORT, HTTPS_PORT, BUFFER_SIZE > 0) == (80, 443, True)
    assert MAX_LINE_SIZE < MAX_HEADER_SIZE
    assert isinstance(dugong.__version__, str)
    names = dugong.DNS_TEST_HOSTNAMES
    assert_type(names, tuple[tuple[str, int], ...])
    dugong.DNS_TEST_HOSTNAMES = (("localhost", 80),)
    dugong.DNS_TEST_HOSTNAMES = names


def heads(conn: HTTPConnection) -> None:
    """The head of a response."""
    conn.send_request("GET", "/index.html")
    resp = conn.read_response()
    assert_type(resp, HTTPResponse)
    assert_type(resp.status, int)
    assert_type(resp.reason, str)
    assert_type(resp.length, int | None)
    assert_type(resp.headers, Headers)
    assert_type(resp.headers["Content-Type"], str | None)
    assert_type(resp.headers.get("X-Absent"), str | None)
    assert_type(resp.headers.get("X-Absent", ""), str)
    assert_type(resp.headers.get_all("Set-Cookie"), list[str] | None)
    assert_type(resp.headers.get_all("Set-Cookie", []), list[str])
    assert_type(resp.headers.get_content_type(), str)
    assert_type(resp.headers.get_content_charset(), str | None)
    assert_type(resp.headers.get_content_charset("utf-8"), str)
    assert_type(resp.headers.get_param("charset"), str | None)
    assert_type(resp.headers.items(), list[tuple[str, str]])
    assert_type(resp.informational, list[HTTPResponse])
    for name, value in resp.headers.items():
        assert_type((name, value), tuple[str, str])
    for name in resp.headers:
        assert name in resp.headers
    assert (resp.method, resp.path, resp.version) == ("GET", "/index.html", "1.1")
    assert (resp.request.method, resp.will_close) == ("GET", False)
    assert resp.status == HTTPStatus.OK
    sha256 = hashlib.sha256()
    conn.hash_body(sha256)
    body = conn.readall(limit=1_000_000)
    assert_type(body, bytes)
    assert sha256.digest() == hashlib.sha256(body).digest()
    assert len(resp.trailers) == 0


def fields(conn: HTTPConnection) -> None:
    """Each form of the argument *headers*."""
    mapping: dict[str, str] = {"A": "x"}
    numbers: dict[str, int] = {"A": 3}
    of_bytes: dict[bytes, bytes] = {b"A": b"x"}
    mixed: dict[str, str | int] = {"A": "x", "B": 3}
    pairs: list[tuple[str, str]] = [("A", "x"), ("A", "y")]

    def generated() -> Iterator[tuple[str, str]]:
        yield "A", "x"

    conn.send_request("GET", "/doc/1", {"A": "x", "B": 3})
    conn.read_response()
    conn.discard()
    conn.request("GET", "/doc/1", {"A": "x", "B": 3, "C": b"y", "Accept-Encoding": None})
    conn.discard()
    conn.request("GET", "/doc/1", {b"A": b"x", b"B": "y"})
    conn.discard()
    conn.request("GET", "/doc/1", [("A", "x"), ("B", 3), (b"C", b"y")])
    conn.discard()
    conn.request("GET", "/doc/1", (("A", "x"), ("B", 3)))
    conn.discard()
    conn.request("GET", "/doc/1", headers=CaseInsensitiveDict({"A": "x"}))
    conn.discard()
    conn.request("GET", "/doc/1", headers=CaseInsensitiveDict(A="x"))
    conn.discard()
    resp = conn.request("GET", "/doc/1", headers=Headers([("A", "x"), ("A", "y")]))
    conn.discard()
    conn.request("GET", "/doc/1", headers=Headers({"A": "x"}))
    conn.discard()
    forwarded = Headers([pair for pair in resp.headers.items() if pair[0] == "Date"])
    conn.request("GET", "/doc/1", forwarded)
    conn.discard()
    conn.request("GET", "/doc/1", mapping)
    conn.discard()
    conn.request("GET", "/doc/1", numbers)
    conn.discard()
    conn.request("GET", "/doc/1", of_bytes)
    conn.discard()
    conn.request("GET", "/doc/1", mixed)
    conn.discard()
    conn.request("GET", "/doc/1", pairs)
    conn.discard()
    conn.request("GET", "/doc/1", generated())
    conn.discard()
    conn.request("GET", "/doc/1", mapping.items())
    conn.discard()
    conn.request("GET", "/doc/1", os.environ and None)
    conn.discard()


def reading(conn: HTTPConnection) -> None:
    """In parts, into buffers, as text."""
    conn.send_request("GET", "/big_movie.mp4")
    conn.read_response()
    assert_type(conn.read(10), bytes)
    assert_type(conn.readinto(bytearray(10)), int)
    conn.readinto(memoryview(bytearray(10))[2:])
    conn.readinto(array.array("I", [0, 0]))
    with tempfile.TemporaryFile() as file:
        while buf := conn.read(BUFFER_SIZE):
            file.write(buf)
    conn.request("GET", "/index.html")
    text = io.TextIOWrapper(conn, encoding="utf-8")
    for line in text:
        assert_type(line, str)
    text.detach()
    conn.request("GET", "/index.html")
    assert io.TextIOWrapper(conn, "utf-8").read().startswith("<p>")
    conn.request("GET", "/doc/1")
    conn.read()
    assert_type(conn.bytes_sent + conn.bytes_received, int)


def sending(conn: HTTPConnection) -> None:
    """Each kind of body."""

    def parts() -> Iterator[bytes]:
        yield from (b"a", b"b")

    bodies: list[bytes | bytearray | memoryview] = [b"a", bytearray(b"a"), memoryview(b"a")]
    for body in bodies:
        conn.request("PUT", "/public/a", body=body)
        conn.discard()
    conn.request("PUT", "/public/a", body=array.array("I", [1]))
    conn.discard()
    conn.request("PUT", "/public/a", body=parts())
    conn.discard()
    conn.request("PUT", "/public/a", body=[b"a", bytearray(b"b")])
    conn.discard()
    conn.request("PUT", "/public/a", {"Content-Length": 2}, parts(), expect100=False)
    conn.discard()
    conn.request("PUT", "/public/a", body=io.BytesIO(b"a"))
    conn.discard()
    with tempfile.NamedTemporaryFile() as temporary, Path(temporary.name).open("rb") as file:
        conn.request("PUT", "/public/a", body=file)
        conn.discard()
        conn.send_request("PUT", "/public/a", body=file)
        conn.read_response()
        conn.discard()
    with tempfile.SpooledTemporaryFile() as spooled:
        conn.request("PUT", "/public/a", body=spooled)
        conn.discard()
    conn.send_request("PUT", "/public/a", body=BodyFollowing(4), expect100=True)
    if conn.read_response().status == 100:
        conn.write(b"ab")
        conn.write(memoryview(b"cd"))
    assert not conn.body_pending
    conn.read_response()
    conn.discard()
    conn.request("PUT", "/public/a", {"Transfer-Encoding": "chunked"}, b"a", deadline=60)
    conn.discard()
    conn.request("PUT", "/public/a", body=b"a", timeout=Timeouts(receive=30))
    conn.discard()
    conn.send_request("PUT", "/public/a", body=BodyFollowing(), deadline=60.5)
    conn.write(b"ab")
    conn.end_body({"X-Sum": 5})
    conn.read_response()
    conn.discard()


def errors() -> None:
    """Attributes of exceptions."""
    with HTTPConnection("localhost", PORT, timeout=30) as conn:
        try:
            conn.request("GET", "/broken")
        except (ConnectionClosed, ConnectionTimedOut) as exc:
            assert_type(exc.safe_to_retry, bool)
            assert_type(exc.bytes_sent, int)
            if not is_temp_network_error(exc):
                raise
            for request in exc.unanswered:
                assert_type(request, Request)
                note(request.method, request.path, request.replayable)
        except TunnelRefused as exc:
            assert_type(exc.headers, Headers)
            note(exc.status, exc.reason, exc.body)
        except (HostnameNotResolvable, DNSUnavailable) as exc:
            note(exc.name)
        except InvalidResponse as exc:
            assert_type(exc.response, HTTPResponse | None)
            note(exc.part)
        except (DigestMismatch, DugongError) as exc:
            note(exc)
    try:
        HTTPConnection("http://localhost")
    except ValueError as exc:
        note(isinstance(exc, InvalidRequest))


def states(conn: HTTPConnection) -> None:
    """What a connection reports."""
    events: list[str] = []
    conn.on_event = events.append
    conn.connect()
    assert conn.connected
    assert conn.reusable
    note(conn.peer_address, conn.local_address, conn.tls_version)
    assert not conn.response_pending()
    assert_type(conn.get_ssl_cipher(), tuple[str, str, int] | None)
    assert conn.get_ssl_peercert(binary_form=True) is None
    conn.on_event = None
    conn.reset()


def threads() -> None:
    """One thread sends, another reads."""
    sent: queue.Queue[str] = queue.Queue()
    paths = [f"/doc/{number}" for number in range(5)]
    with HTTPConnection("localhost", PORT) as conn:

        def send() -> None:
            for path in paths:
                conn.send_request("GET", path)
                sent.put(path)

        thread = threading.Thread(target=send)
        thread.start()
        for _ in paths:
            assert conn.read_response().path == sent.get()
            conn.readall()
        thread.join()


# ------------------------------------------------------------------------------- coroutines


def wait_for(*needs: PollNeeded) -> None:
    readers = [need.fd for need in needs if need.mask & POLLIN]
    writers = [need.fd for need in needs if need.mask & POLLOUT]
    timeouts = [need.timeout for need in needs if need.timeout is not None]
    select.select(readers, writers, [], min(timeouts, default=None))


def run(crt: Generator[PollNeeded, Any, T]) -> T:
    try:
        while True:
            wait_for(next(crt))
    except StopIteration as stop:
        result: T = stop.value
        return result


def coroutines(conn: HTTPConnection) -> None:
    """In a loop of one's own."""
    run(conn.co_connect())
    run(conn.co_send_request("GET", "/doc/1", {"A": "x", "B": 3}))
    assert_type(run(conn.co_read_response()), HTTPResponse)
    assert_type(run(conn.co_read(5)), bytes)
    assert_type(run(conn.co_readinto(bytearray(1))), int)
    assert_type(run(conn.co_readall()), bytes)
    run(conn.co_request("GET", "/doc/1"))
    run(conn.co_discard())

    def fetch(path: str) -> Generator[PollNeeded, Any, bytes]:
        yield from conn.co_send_request("PUT", path, body=BodyFollowing(2))
        yield from conn.co_write(b"hi")
        resp = yield from conn.co_read_response()
        assert_type(resp, HTTPResponse)
        return (yield from conn.co_readall())

    assert_type(eval_coroutine(fetch("/public/a")), bytes)
    assert_type(eval_coroutine(fetch("/public/a"), timeout=10, deadline=20.5), bytes)
    crt = conn.co_send_request("GET", "/doc/1")
    for need in crt:
        fd, mask = need
        assert (fd, mask) == (need.fd, need.mask)
        need.poll(timeout=10)
    conn.disconnect()


def pipelines(conn: HTTPConnection) -> None:
    requests: list[str | tuple[str, str] | Request] = [
        Request("PUT", "/public/a", headers={"Content-Type": "text/plain"}, body=b"first"),
        Request("PUT", "/public/a", {"A": "x", "B": 3}, [b"first"]),
        ("HEAD", "/doc/8"),
        "/doc/9",
    ]
    for resp in conn.pipeline(requests):
        assert_type(resp, HTTPResponse)
        conn.readall()
    for resp in conn.pipeline(["/doc/1", "/doc/2"], depth=8, deadline=60):
        assert resp.status == 200
    for resp in conn.pipeline(f"/doc/{number}" for number in range(3)):
        assert isinstance(resp.request, Request)
    for _ in conn.pipeline([("HEAD", "/doc/8")]):
        pass
    for _ in conn.pipeline([Request("GET", "/doc/8")]):
        pass
    pipeline = conn.pipeline(["/doc/1"])
    assert_type(next(pipeline), HTTPResponse)
    assert_type(eval_coroutine(pipeline.co_next()), HTTPResponse | None)


async def exchanges() -> bytes:
    """In asyncio and trio."""
    async with AsyncHTTPConnection("localhost", PORT, timeout=60) as conn:
        await conn.connect()
        await conn.send_request("GET", "/doc/1", {"A": "x", "B": 3})
        resp = await conn.read_response()
        assert_type(resp, HTTPResponse)
        assert_type(await conn.read(5), bytes)
        assert_type(await conn.readinto(bytearray(1)), int)
        assert_type(await conn.readall(limit=1000), bytes)
        await conn.request("PUT", "/public/a", [(b"A", b"x")], io.BytesIO(b"a"))
        await conn.discard()

        async def blocks() -> AsyncIterator[bytes | memoryview]:
            yield b"a"
            yield memoryview(b"b")

        await conn.request("PUT", "/public/a", body=blocks())
        await conn.discard()
        await conn.send_request("PUT", "/public/a", {"Content-Length": 2}, blocks())
        await conn.read_response()
        await conn.discard()
        async for resp in conn.pipeline([Request("PUT", "/public/a", body=blocks())]):
            assert resp.status == 200
            await conn.discard()
        await conn.send_request("PUT", "/public/a", body=BodyFollowing())
        await conn.write(b"ab")
        await conn.end_body()
        await conn.read_response()
        await conn.discard()
        assert_type(await conn.get_ssl_cipher(), tuple[str, str, int] | None)
        assert await conn.get_ssl_peercert() is None

        async def paths() -> AsyncIterator[str]:
            for number in range(3):
                yield f"/doc/{number}"

        async for resp in conn.pipeline(paths()):
            assert_type(resp, HTTPResponse)
        async for resp in conn.pipeline(["/doc/1", ("HEAD", "/doc/2"), Request("GET", "/doc/3")]):
            assert resp.status == 200
        async for resp in conn.pipeline(f"/doc/{number}" for number in range(3)):
            assert resp.status == 200
        assert not conn.response_pending()
        conn.on_event = note
        return await conn.readall()


async def futures() -> None:
    """As programs for dugong 3 have it."""
    with HTTPConnection("localhost", PORT) as conn:
        await AioFuture(conn.co_send_request("GET", "/doc/1"))
        resp = await AioFuture(conn.co_read_response())
        assert_type(resp, HTTPResponse)
        future = AioFuture(conn.co_readall(), loop=asyncio.get_running_loop())
        assert_type(future, AioFuture[bytes])
        assert_type(await asyncio.wait_for(future, 10), bytes)


def lazily_loaded() -> None:
    """By way of the module."""
    conn: dugong.AsyncHTTPConnection = dugong.AsyncHTTPConnection("localhost", PORT)
    assert_type(conn, AsyncHTTPConnection)
    conn.disconnect()
    future: type[dugong.AioFuture[bytes]] = dugong.AioFuture
    assert future is AioFuture


def pools() -> None:
    """Threads share a pool; its connections are those of one lease."""
    origin = Origin("http", "localhost", PORT)
    assert_type(origin.port, int)
    with Pool(per_host=2, max_idle=None, idle_timeout=60, timeout=Timeouts(pool=5)) as pool:
        with pool.connection(origin) as conn:
            assert_type(conn, HTTPConnection)
            conn.request("GET", "/")
            conn.discard()
        conn = pool.acquire(f"http://localhost:{PORT}/path")
        pool.release(conn)
        stats = pool.stats()
        assert_type(stats.idle, int)
        assert_type(stats.hosts[origin].leased, int)

        def fetch(path: str) -> Generator[PollNeeded, Any, bytes]:
            conn = yield from pool.co_acquire(origin)
            try:
                yield from conn.co_request("GET", path)
                return (yield from conn.co_readall())
            finally:
                pool.release(conn)

        with run_all((fetch("/") for _ in range(3)), limit=2, deadline=60) as results:
            for crt, result in results:
                assert_type(crt, Generator[PollNeeded, Any, bytes])
                assert_type(result, bytes | Exception)
        pool.close_idle()


async def async_pools() -> None:
    async with AsyncPool(max_connections=None, max_age=300) as pool:
        async with pool.connection(f"http://localhost:{PORT}") as conn:
            assert_type(conn, AsyncHTTPConnection)
            await conn.request("GET", "/")
            await conn.discard()
        conn = await pool.acquire(Origin("http", "localhost", PORT))
        pool.release(conn)


if TYPE_CHECKING:

    def refused(conn: HTTPConnection) -> None:
        """What a type checker must not accept."""

        async def blocks() -> AsyncIterator[bytes]:
            yield b"a"

        async def lines() -> AsyncIterator[str]:
            yield "a"

        dugong.no_such_name  # type: ignore[attr-defined] # noqa: B018
        Pool(hostname="localhost")  # type: ignore[call-arg]
        Pool().acquire(b"http://localhost")  # type: ignore[arg-type]
        HTTPConnection(b"localhost")  # type: ignore[arg-type]
        HTTPConnection("localhost", "80")  # type: ignore[arg-type]
        HTTPConnection("localhost", ssl_context=True)  # type: ignore[arg-type]
        AsyncHTTPConnection("localhost", timeout="5")  # type: ignore[arg-type]
        conn.port = "80"  # type: ignore[assignment]
        conn.request("GET", "/", "X: y")  # type: ignore[arg-type]
        conn.request("GET", "/", ["X: y"])  # type: ignore[list-item]
        conn.request("GET", "/", {"A": 1.5})  # type: ignore[dict-item]
        conn.request("PUT", "/", body="text")  # type: ignore[arg-type]
        conn.request("PUT", "/", body=BodyFollowing(3))  # type: ignore[arg-type]
        conn.request("PUT", "/", body=blocks())  # type: ignore[arg-type]
        conn.send_request("PUT", "/", body=blocks())  # type: ignore[arg-type]
        conn.co_request("PUT", "/", body=blocks())  # type: ignore[arg-type]
        AsyncHTTPConnection("localhost").request("PUT", "/", body=lines())  # type: ignore[arg-type, unused-coroutine]
        conn.send_request("PUT", "/", b"data", {"A": "b"})  # type: ignore[arg-type, dict-item]
        conn.pipeline([("GET", "/", {})])  # type: ignore[list-item]


def main() -> None:
    settings()
    for part in (heads, fields, reading, sending, states, coroutines, pipelines):
        with HTTPConnection("localhost", PORT, timeout=60) as conn:
            part(conn)
    errors()
    threads()
    asyncio.run(exchanges())
    trio.run(exchanges)
    asyncio.run(futures())
    lazily_loaded()
    pools()
    asyncio.run(async_pools())
    trio.run(async_pools)


if __name__ == "__main__":
    main()
