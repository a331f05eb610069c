"""`DugongAdapter`. What requests does with its own adapter is what it must do with ours."""

from __future__ import annotations

import gzip
import io
import pickle
import socket
import ssl
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests
import responses
import trustme
from requests import exceptions as wrong
from requests.adapters import HTTPAdapter
from requests.auth import HTTPDigestAuth
from urllib3 import HTTPResponse, Retry, Timeout
from urllib3.exceptions import InsecureRequestWarning

from dugong import ConnectionTimedOut, InvalidRequest
from dugong.adapters.requests import DugongAdapter
from dugong.adapters.urllib3.pool import HTTPPool
from tests.adapters.scripted import scripted
from tests.support.in_turn import in_turn
from tests.support.servers import (
    PROXY_PASSWORD,
    PROXY_USER,
    Certificate,
    NginxEndpoints,
    Proxies,
)
from tests.support.site import Reply, Seen, Site, redirect, site

THEIRS, OURS = HTTPAdapter, DugongAdapter


@pytest.fixture(name="site")
def site_fixture() -> Iterator[Site]:
    with site() as server:
        yield server


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with session_with(DugongAdapter()) as made:
        yield made


def session_with(adapter: HTTPAdapter) -> requests.Session:
    made = requests.Session()
    made.trust_env = False
    made.mount("http://", adapter)
    made.mount("https://", adapter)
    return made


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - it is ours


def echo(seen: Seen) -> Reply:
    return Reply(body=seen.body)


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> Reply:
    data = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return Reply(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data + end)


class Gate:
    """An answer that is given when the test opens the gate, if ever."""

    def __init__(self, reply: Reply | None = None) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()
        self._reply = reply

    def __call__(self, seen: Seen) -> Reply | None:
        self.reached.set()
        self.opened.wait(60)
        return self._reply


# ------------------------------------------------------------------------------- requests


def numbered() -> Iterator[bytes]:
    for number in range(3):
        yield b"%d," % number


class Sized:
    """A file without a descriptor, of known length."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)
        self.len = len(data)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


#: Arguments of `Session.request`. Bodies that can be sent once are made for each request.
SENT: dict[str, Callable[[], dict[str, Any]]] = {
    "get": lambda: {"params": {"a": ["1", "ü"], "b": None}, "headers": {b"X-Bytes": b"\xe4"}},
    "without": lambda: {"headers": {"Accept": None, "Connection": None}},
    "head": lambda: {"method": "HEAD"},
    "delete": lambda: {"method": "DELETE"},
    "options": lambda: {"method": "OPTIONS"},
    "own": lambda: {"method": "PURGE", "headers": {"Host": "other.example"}},
    "empty post": lambda: {"method": "POST"},
    "form": lambda: {"method": "POST", "data": {"a": "1 2", "b": ["x", "y"]}},
    "str": lambda: {"method": "PUT", "data": "ü"},
    "bytes": lambda: {"method": "PATCH", "data": b"\0\xff"},
    "json": lambda: {"method": "POST", "json": {"a": [1, None, "ü"]}},
    "generator": lambda: {"method": "POST", "data": numbered()},
    "text generator": lambda: {"method": "POST", "data": (each for each in ["a", "", "ü"])},
    "file": lambda: {"method": "PUT", "data": io.FileIO(__file__)},
    "text file": lambda: {"method": "PUT", "data": io.StringIO("ascii")},
    "memory": lambda: {"method": "PUT", "data": io.BytesIO(b"content")},
    "sized": lambda: {"method": "PUT", "data": Sized(b"content" * 9999)},
    "delete with body": lambda: {"method": "DELETE", "data": b"x"},
    "get with body": lambda: {"method": "GET", "data": b"x"},
}


@in_turn("name", SENT)
def test_what_is_sent(site: Site, name: str) -> None:
    for adapter in (THEIRS(), OURS()):
        with session_with(adapter) as session:
            arguments = {"method": "GET", "url": f"{site.url}/a%2Fb/ü?q=1#x", **SENT[name]()}
            session.request(**arguments)
            if hasattr(arguments.get("data"), "close"):
                arguments["data"].close()
    theirs, ours = site.seen[-2:]
    assert (ours.method, ours.target, ours.body) == (theirs.method, theirs.target, theirs.body)
    expected = dict(theirs.fields)
    got = dict(ours.fields)
    if "transfer-encoding" in expected and "expect" not in expected:
        assert got.pop("expect") == "100-continue"  # asked for bodies of unknown length
    assert got == expected
    assert len(ours.fields) - ("expect" in dict(ours.fields)) == len(theirs.fields)


def test_connections_are_used_again(session: requests.Session, site: Site) -> None:
    for _ in range(3):
        assert session.get(site.url).text == "ok"
        assert session.head(site.url).text == ""
    site.on("/204", Reply(204, headers={"Content-Length": "0"}))
    assert session.get(f"{site.url}/204").status_code == 204
    assert site.connections == 1


def test_redirects_cookies_and_digest(session: requests.Session, site: Site) -> None:
    site.on("/", redirect("/next"))
    cookies = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2; Path=/")]
    site.on("/next", Reply(headers=cookies))
    response = session.get(site.url)
    assert [each.status_code for each in response.history] == [302]
    assert session.cookies.get_dict() == {"a": "1", "b": "2"}
    challenge = {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'}
    site.on("/digest", Reply(401, b"no", challenge), Reply(body=b"yes"))
    response = session.get(f"{site.url}/digest", auth=HTTPDigestAuth("walrus", "tusk"))
    assert response.text == "yes"
    assert site.seen[-1]["cookie"] == "a=1; b=2"
    assert str(site.seen[-1]["authorization"]).startswith("Digest username=")
    assert site.connections == 1


def test_a_used_up_body_is_not_sent_again(session: requests.Session, site: Site) -> None:
    site.on("/", redirect("/next", 307))
    with pytest.raises(Exception, match="used up"):
        session.post(site.url, data=numbered())
    assert site.paths() == ["/"]


def test_early_refusal(session: requests.Session) -> None:
    """The server answers before the body was sent, and does not read it."""
    received = []

    def refuse(sock: socket.socket) -> None:
        received.append(sock.recv(100_000))
        fields = b"Content-Length: 2\r\nConnection: close\r\n"
        sock.sendall(b"HTTP/1.1 403 No\r\n%s\r\nno" % fields)
        received.append(sock.recv(100_000))

    with scripted(refuse) as url:
        response = session.put(url, data=io.BytesIO(bytes(1 << 28)))
        assert (response.status_code, response.text) == (403, "no")
    assert received[0].endswith(b"\r\n\r\n")
    assert b"\r\nExpect: 100-continue\r\n" in received[0]
    assert received[1:] == [b""]  # nothing but the end


def failing(exc: Exception) -> Iterator[bytes]:
    yield b"x"
    raise exc


@in_turn("kind", [OSError, ValueError, wrong.ConnectionError, ConnectionTimedOut])
def test_exceptions_of_the_body(session: requests.Session, site: Site, kind: type) -> None:
    exc = kind("mine")
    with pytest.raises(kind) as caught:
        session.post(site.url, data=failing(exc))
    assert caught.value is exc
    assert session.get(site.url).text == "ok"


# ------------------------------------------------------------------------------- responses

TEXT = b"".join(b"line %d\n" % number for number in range(20_000))
BODIES = {
    "plain": Reply(body=TEXT),
    "gzip": Reply(body=gzip.compress(TEXT), headers={"Content-Encoding": "gzip"}),
    "deflate": Reply(body=zlib.compress(TEXT), headers={"Content-Encoding": "deflate"}),
    "chunked": chunked(TEXT[:10], TEXT[10:70_000], TEXT[70_000:]),
    "chunked gzip": Reply(
        body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(gzip.compress(TEXT)), gzip.compress(TEXT)),
        headers={"Transfer-Encoding": "chunked", "Content-Encoding": "gzip"},
    ),
    "until close": Reply(raw=b"HTTP/1.1 200 OK\r\n\r\n" + TEXT, close=True),
    "empty": Reply(),
    "http/1.0": Reply(raw=b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold", close=True),
}


#: Each gets a response that was not read, and returns what must be the same with both adapters.
READERS: dict[str, Callable[[requests.Response], Any]] = {
    "content": lambda r: r.content,
    "blocks": lambda r: b"".join(r.iter_content(1000)),
    "no size": lambda r: b"".join(r.iter_content(None)),
    "lines": lambda r: list(r.iter_lines()),
    "raw": lambda r: r.raw.read(),
    "raw, decoded": lambda r: r.raw.read(decode_content=True),
    "raw blocks": lambda r: list(iter(lambda: r.raw.read(7), b"")),
    "raw lines": lambda r: list(r.raw),
    "readinto": lambda r: (r.raw.readinto(buffer := bytearray(50)), bytes(buffer)),
    "stream": lambda r: b"".join(r.raw.stream(500, decode_content=False)),
    "twice": lambda r: (next(r.raw.stream(20), b""), r.raw.read()),
    "file": lambda r: io.BufferedReader(r.raw).read(),
    "data": lambda r: r.raw.data,
    "tell": lambda r: (len(r.raw.read(5)), r.raw.tell(), r.raw.length_remaining),
    "after the end": lambda r: (r.raw.read(), r.raw.read(), r.raw.read(5)),
    "attributes": lambda r: (
        r.status_code, r.reason, r.url, r.encoding, dict(r.headers), r.raw.version, r.raw.status,
        r.raw.headers.items(), r.raw.chunked, r.raw.closed, r.content and r.raw.closed,
    ),
}  # fmt: skip


#: With urllib3, data of a chunked body are lost when its stream is read by two calls.
LOST = {("chunked", "twice"), ("chunked gzip", "twice")}


@in_turn(
    ("body", "reader"),
    [(body, reader) for body in BODIES for reader in READERS if (body, reader) not in LOST],
)
def test_reading(site: Site, body: str, reader: str) -> None:
    site.on("/", BODIES[body])
    results = []
    for adapter in (THEIRS(), OURS()):
        with session_with(adapter) as session, session.get(site.url, stream=True) as response:
            assert isinstance(response.raw, HTTPResponse)
            results.append(READERS[reader](response))
    assert results[1] == results[0]


def test_block_sizes(session: requests.Session, site: Site) -> None:
    site.on("/", Reply(body=bytes(300_001)))
    response = session.get(site.url, stream=True)
    sizes = [len(block) for block in response.iter_content(1000)]
    assert sizes == [1000] * 300 + [1]


@in_turn("coding", [b"", b"Content-Encoding: gzip\r\n"])
def test_chunks_are_returned_as_they_arrive(session: requests.Session, coding: bytes) -> None:
    """A program that reads events must not wait until a whole block has arrived."""
    proceed = threading.Semaphore(0)

    def send_events(sock: socket.socket) -> None:
        sock.recv(100_000)
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n%s\r\n" % coding)
        packer = zlib.compressobj(wbits=31)
        for event in (b"one\n", b"two\n"):
            data = packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH) if coding else event
            sock.sendall(b"%x\r\n%s\r\n" % (len(data), data))
            proceed.acquire(timeout=60)
        rest = packer.flush() if coding else b"end"
        sock.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(rest), rest))

    with scripted(send_events) as url:
        blocks = session.get(url, stream=True).iter_content(1000)
        for event in (b"one\n", b"two\n"):
            assert next(blocks) == event
            proceed.release()
        assert b"".join(blocks) == (b"" if coding else b"end")


def test_unread_responses(site: Site) -> None:
    """Connections of responses that are closed or dropped unread are closed, not kept."""
    site.on("/", Reply(body=bytes(500_000)))
    with session_with(DugongAdapter(pool_maxsize=1, pool_block=True)) as session:
        for end in (
            requests.Response.close,
            lambda response: response.raw.release_conn(),
            lambda response: response.raw.close(),
            lambda response: None,
        ):
            response = session.get(site.url, stream=True)
            response.raw.read(10)
            end(response)
            del response
        assert session.get(site.url).content == bytes(500_000)
    assert site.connections == 5


def test_drain_and_shutdown(session: requests.Session, site: Site) -> None:
    response = session.get(site.url, stream=True)
    response.raw.drain_conn()
    session.get(site.url)
    assert site.connections == 1
    site.on("/", Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"))
    response = session.get(site.url, stream=True)
    response.raw.shutdown()
    with pytest.raises(wrong.ChunkedEncodingError):
        response.content  # noqa: B018 - reads it


def test_a_response_outlives_its_session(site: Site) -> None:
    site.on("/", Reply(body=bytes(500_000)))
    with session_with(DugongAdapter()) as session:
        pool = pool_of(session, site)
        response = session.get(site.url, stream=True)
    assert response.content == bytes(500_000)
    assert idle(pool) == 0  # nothing is kept after the end of the session


# ------------------------------------------------------------------------------- errors

HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"

#: From a name to an answer, or a URL. Both adapters must raise the same exception.
FAILURES: dict[str, Any] = {
    "refused": "http://127.0.0.1:1",
    "no such host": "http://nonexistent.invalid",
    "no host": "http://.example.org",
    "silent": Gate(),
    "closed": lambda seen: None,
    "not http": Reply(raw=b"220 ready\r\n", close=True),
    "half a head": Reply(raw=b"HTTP/1.1 200 OK\r\nX: ", close=True),
    "two lengths": Reply(body=b"x", headers=[("Content-Length", "1"), ("Content-Length", "2")]),
    "truncated": Reply(raw=HALF, close=True),
    "stalls": Reply(raw=HALF),
    "truncated chunk": Reply(
        raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", close=True
    ),
    "chunk size": chunked(b"x", end=b"zz\r\n"),
    "gzip": Reply(body=b"not gzip", headers={"Content-Encoding": "gzip"}),
}

#: Where the exception differs, and why. With urllib3, requests takes what follows a status line
#: that is cut off for the end of the head.
DIFFER = {"half a head"}


@in_turn("name", FAILURES)
def test_errors(site: Site, name: str) -> None:
    raised: list[Exception] = []
    answer = FAILURES[name]
    url = answer if isinstance(answer, str) else site.url
    if url is site.url:
        site.on("/", answer)
    for adapter in (THEIRS(), OURS()):
        with session_with(adapter) as session:
            try:
                session.get(url, timeout=(5, 0.2)).content  # noqa: B018 - reads it
            except Exception as exc:
                raised.append(exc)
    if isinstance(answer, Gate):
        answer.opened.set()
    if name not in DIFFER:
        assert type(raised[-1]) is type(raised[0]), raised
    assert isinstance(raised[-1], wrong.RequestException)
    assert type(pickled(raised[-1])) is type(raised[-1])


def test_texts(session: requests.Session, site: Site) -> None:
    with pytest.raises(wrong.ConnectionError, match=(
        r"^HTTPConnectionPool\(host='127.0.0.1', port=1\): Max retries exceeded with url: /x "
        r"\(Caused by NewConnectionError\(.*Failed to establish a new connection: \[Errno \d+\] "
        "Connection refused"
    )):  # fmt: skip
        session.get("http://127.0.0.1:1/x")
    site.on("/", lambda seen: None)
    with pytest.raises(wrong.ConnectionError, match=r"Connection aborted\..*RemoteDisconnected"):
        session.get(site.url)
    site.on("/", Reply(raw=HALF, close=True))
    broken = r"Connection broken: IncompleteRead\(5 bytes read, 5 more expected\)"
    with pytest.raises(wrong.ChunkedEncodingError, match=broken):
        session.get(site.url)


def test_an_error_in_the_body_is_final(session: requests.Session, site: Site) -> None:
    site.on("/", Reply(raw=HALF, close=True))
    response = session.get(site.url, stream=True)
    with pytest.raises(wrong.ChunkedEncodingError):
        list(response.iter_content(20))
    with pytest.raises(Exception, match="Connection broken"):
        response.raw.read1()


# ------------------------------------------------------------------------------- retries


def test_a_stale_connection_is_replaced(session: requests.Session, site: Site) -> None:
    site.on("/", Reply(body=b"1"), lambda seen: None, Reply(body=b"2"))
    assert session.get(site.url).text == "1"
    assert session.get(site.url).text == "2"  # the server has closed instead of answering
    assert (site.connections, len(site.seen)) == (2, 3)


def test_nothing_else_is_retried(session: requests.Session, site: Site) -> None:
    site.on("/", Reply(body=b"1"), lambda seen: None, Reply(body=b"2"))
    session.get(site.url)
    with pytest.raises(wrong.ConnectionError):
        session.post(site.url, data=b"x")  # the server may have acted on it
    assert len(site.seen) == 2
    site.on("/", lambda seen: None)
    with pytest.raises(wrong.ConnectionError):
        session.get(site.url)  # on a new connection
    assert len(site.seen) == 3


@in_turn(("method", "body", "count"), [
    ("GET", None, 3), ("PUT", b"x", 3), ("POST", b"x", 1), ("PUT", numbered, 1),
])  # fmt: skip
def test_retries_after_errors(site: Site, method: str, body: Any, count: int) -> None:
    site.seen.clear()
    site.on("/", lambda seen: None, lambda seen: None, echo)
    body = body() if callable(body) else body
    with session_with(DugongAdapter(max_retries=Retry(2))) as session:
        if count == 3:
            assert session.request(method, site.url, data=body).content == (body or b"")
        else:
            with pytest.raises(wrong.ConnectionError):
                session.request(method, site.url, data=body)
    assert len(site.seen) == count


def test_a_file_is_sent_again_from_its_position(site: Site, tmp_path: Path) -> None:
    site.on("/", lambda seen: None, Reply(503, b"later"), echo)
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    policy = Retry(2, status_forcelist=[503], allowed_methods=None)
    for file in (path.open("rb"), io.BytesIO(b"0123456789")):
        with session_with(DugongAdapter(max_retries=policy)) as session, file:
            file.seek(4)
            assert session.post(site.url, data=file).content == b"456789"


def test_retries_after_statuses(site: Site) -> None:
    site.on("/", Reply(503, b"later"), Reply(503, b"later", {"Retry-After": "0"}), Reply(503))
    policy = Retry(2, status_forcelist=[503])
    with session_with(DugongAdapter(max_retries=policy)) as session:
        with pytest.raises(wrong.RetryError, match="too many 503 error responses"):
            session.get(site.url)
        assert len(site.seen) == 3
        assert site.connections == 1
        assert session.post(site.url).status_code == 503
    policy = Retry(1, status_forcelist=[503], raise_on_status=False)
    with session_with(DugongAdapter(max_retries=policy)) as session:
        assert session.get(site.url).status_code == 503
        response = session.put(site.url, data=numbered())  # which is used up
        assert response.status_code == 503
    assert len(site.seen) == 7


def test_connect_retries(caplog: pytest.LogCaptureFixture) -> None:
    with session_with(DugongAdapter(max_retries=3)) as session:
        with pytest.raises(wrong.ConnectionError, match="Max retries exceeded"):
            session.get("http://127.0.0.1:1")
    assert [record.name for record in caplog.records] == ["urllib3.connectionpool"] * 3


# ------------------------------------------------------------------------------- limits


def test_pool_maxsize_is_no_limit(site: Site) -> None:
    """Otherwise eleven unread responses would block the twelfth request."""
    with session_with(DugongAdapter(pool_maxsize=2)) as session:
        responses = [session.get(site.url, stream=True) for _ in range(12)]
        assert [response.text for response in responses] == ["ok"] * 12
        assert site.connections == 12
        responses = [session.get(site.url, stream=True) for _ in range(3)]
        assert site.connections == 13  # two were kept
        for response in responses:
            response.close()


def test_pool_block(site: Site) -> None:
    results = []
    with session_with(DugongAdapter(pool_maxsize=1, pool_block=True)) as session:
        first = session.get(site.url, stream=True)
        thread = threading.Thread(target=lambda: results.append(session.get(site.url).text))
        thread.start()
        assert len(site.seen) == 1
        first.close()
        thread.join(60)
    assert results == ["ok"]
    with session_with(DugongAdapter(pool_maxsize=1, pool_block=True, deadline=0.1)) as session:
        first = session.get(site.url, stream=True)
        with pytest.raises(wrong.Timeout):
            session.get(site.url)
        first.close()


def test_forgotten_hosts(site: Site) -> None:
    """The connections to a host that is no longer remembered are closed."""
    with site_at("127.0.0.2") as other, session_with(DugongAdapter(1)) as session:
        pool = pool_of(session, site)
        session.get(site.url)
        assert idle(pool) == 1
        session.get(other.url)
        assert idle(pool) == 0
        session.get(site.url)
        assert (site.connections, other.connections) == (2, 1)


def pool_of(session: requests.Session, site: Site) -> HTTPPool:
    """Return the pool for a site."""
    adapter = session.get_adapter(site.url)
    assert isinstance(adapter, DugongAdapter)
    request = session.prepare_request(requests.Request("GET", site.url))
    pool = adapter.get_connection_with_tls_context(request, True)
    assert isinstance(pool, HTTPPool)
    return pool


def idle(pool: HTTPPool) -> int:
    stats = pool._connections.stats()
    assert stats.leased == 0
    return stats.idle


def site_at(host: str) -> Any:
    return site(host=host)


@in_turn("timeout", [0.05, (None, 0.05), Timeout(total=0.05), Timeout(connect=9, read=0.05)])
def test_timeouts(session: requests.Session, site: Site, timeout: Any) -> None:
    gate = Gate()
    site.on("/", gate)
    with pytest.raises(wrong.ReadTimeout, match="Read timed out"):
        session.get(site.url, timeout=timeout)
    gate.opened.set()


def test_connect_timeout(session: requests.Session) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        fill = [socket.socket() for _ in range(3)]  # then the system accepts no more
        for sock in fill:
            sock.setblocking(False)
            sock.connect_ex(address)
        timeouts: list[Any] = [0.05, (0.05, None), Timeout(total=0.05)]
        for timeout in timeouts:
            with pytest.raises(wrong.ConnectTimeout, match=r"Connection to .* timed out\. "):
                session.get("http://{}:{}".format(*address), timeout=timeout)
        for sock in fill:
            sock.close()


@in_turn("timeout", [(1, 2, 3), -1, "x"])
def test_invalid_timeouts(session: requests.Session, site: Site, timeout: Any) -> None:
    with pytest.raises(ValueError):
        session.get(site.url, timeout=timeout)
    assert not site.seen


def test_deadline() -> None:
    ended = threading.Event()

    def drip(sock: socket.socket) -> None:
        sock.recv(10_000)
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with suppress(OSError):
            while not ended.wait(0.01):
                sock.sendall(b"x")

    with scripted(drip) as url, session_with(DugongAdapter(deadline=0.3)) as session:
        # requests has this exception for each timeout in a body.
        with pytest.raises(wrong.ConnectionError, match=r"Read timed out.*deadline=0\.3"):
            session.get(url, timeout=5)
        ended.set()


def test_deadline_and_retries(site: Site) -> None:
    """No delay is begun that would end after the deadline."""
    policy = Retry(5, status_forcelist=[503], backoff_factor=1000)
    site.on("/", Reply(503, headers={"Retry-After": "1000"}))
    with session_with(DugongAdapter(max_retries=policy, deadline=50)) as session:
        assert session.get(site.url).status_code == 503
        site.on("/", lambda seen: None)
        for _ in range(2):
            with pytest.raises(wrong.ConnectionError):
                session.get(site.url)


def test_invalid_deadline() -> None:
    with pytest.raises(InvalidRequest):
        DugongAdapter(deadline=-1)


# ------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def client_pem(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("client") / "client.pem"
    authority.issue_cert("walrus@example.org").private_key_and_cert_chain_pem.write_to_path(path)
    return path


@pytest.fixture(scope="module")
def ca_pem(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def server_context(certificate: Certificate, ca_pem: str | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    if ca_pem is not None:
        context.load_verify_locations(ca_pem)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


@pytest.fixture
def tls_site(certificate: Certificate, ca_pem: str) -> Iterator[Site]:
    with site(server_context(certificate, ca_pem), "0.0.0.0") as server:  # noqa: S104
        server.url = server.at("127.0.0.1")  # the certificate is for this, but not for 127.0.0.2
        yield server


def test_verify(session: requests.Session, tls_site: Site, ca_pem: str) -> None:
    for _ in range(2):
        assert session.get(tls_site.url, verify=ca_pem).text == "ok"
    assert tls_site.connections == 1
    with pytest.raises(wrong.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        session.get(tls_site.url)
    with pytest.warns(InsecureRequestWarning, match=r"host '127\.0\.0\.1'"):
        assert session.get(tls_site.url, verify=False).text == "ok"
    with pytest.raises(wrong.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        session.get(tls_site.url)  # and not on the connection that was not verified
    with pytest.raises(wrong.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        session.get(tls_site.at("127.0.0.2"), verify=ca_pem)  # a name that it does not have
    assert session.get(tls_site.at("localhost"), verify=ca_pem).text == "ok"
    with pytest.raises(OSError, match="invalid path: /nowhere"):
        session.get(tls_site.url, verify="/nowhere")


def test_cert(session: requests.Session, tls_site: Site, ca_pem: str, client_pem: Path) -> None:
    session.get(tls_site.url, verify=ca_pem)
    session.get(tls_site.url, verify=ca_pem, cert=str(client_pem))
    session.get(tls_site.url, verify=ca_pem, cert=(str(client_pem), str(client_pem)))
    session.get(tls_site.url, verify=ca_pem)
    assert [seen.has_certificate for seen in tls_site.seen] == [False, True, True, False]
    with pytest.raises(OSError, match="invalid path: /nowhere"):
        session.get(tls_site.url, verify=ca_pem, cert="/nowhere")
    with pytest.raises(wrong.SSLError):
        session.get(tls_site.url, verify=ca_pem, cert=ca_pem)  # which has no key


class WithOptions(DugongAdapter):
    """As adapters of requests_toolbelt do it."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        super().__init__()

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **options: Any
    ) -> None:
        super().init_poolmanager(connections, maxsize, block, **options, **self._options)


def test_own_context(tls_site: Site, ca_pem: str, trusting_context: ssl.SSLContext) -> None:
    with session_with(WithOptions(ssl_context=trusting_context)) as session:
        assert session.get(tls_site.url).text == "ok"
    # As botocore makes it: the context checks no names, so urllib3 does.
    nameless = ssl.create_default_context(cafile=ca_pem)
    nameless.check_hostname = False
    with session_with(WithOptions(ssl_context=nameless)) as session:
        assert session.get(tls_site.url).text == "ok"
        with pytest.raises(wrong.SSLError, match="doesn't match"):
            session.get(tls_site.at("127.0.0.2"))
    assert len(tls_site.seen) == 2


def test_asserted_names(tls_site: Site, ca_pem: str) -> None:
    other = tls_site.at("127.0.0.2")
    with session_with(WithOptions(assert_hostname="localhost")) as session:
        assert session.get(other, verify=ca_pem).text == "ok"
    with session_with(WithOptions(assert_hostname=False)) as session:
        assert session.get(other, verify=ca_pem).text == "ok"
    with session_with(WithOptions(server_hostname="localhost")) as session:
        assert session.get(other, verify=ca_pem).text == "ok"
    with session_with(WithOptions(assert_hostname="example.org")) as session:
        with pytest.raises(wrong.SSLError, match="doesn't match"):
            session.get(tls_site.url, verify=ca_pem)
    assert len(tls_site.seen) == 3


def test_fingerprints(tls_site: Site, certificate: Certificate, ca_pem: str) -> None:
    from hashlib import sha256

    pem = certificate.chain.read_text().partition("-----END CERTIFICATE-----\n")
    digest = sha256(ssl.PEM_cert_to_DER_cert("".join(pem[:2]))).hexdigest()
    with session_with(WithOptions(assert_fingerprint=digest)) as session:
        assert session.get(tls_site.at("127.0.0.2"), verify=ca_pem).text == "ok"
    with session_with(WithOptions(assert_fingerprint="0" * 64)) as session:
        with pytest.raises(wrong.SSLError, match="Fingerprints did not match"):
            session.get(tls_site.url, verify=ca_pem)
    assert len(tls_site.seen) == 1


def test_source_address(site: Site) -> None:
    with session_with(WithOptions(source_address=("127.0.0.3", 0))) as session:
        assert session.get(site.url).text == "ok"


# ------------------------------------------------------------------------------- proxies


def test_forwarding_proxy(session: requests.Session, site: Site) -> None:
    proxies = {"http": site.url.replace("//", "//walrus:sea-cow%2E2@")}
    for _ in range(2):
        assert session.get("http://host.invalid/a?b#c", proxies=proxies).text == "ok"
    seen = site.seen[-1]
    assert (seen.target, seen["host"]) == ("http://host.invalid/a?b", "host.invalid")
    assert seen["proxy-authorization"] == "Basic d2FscnVzOnNlYS1jb3cuMg=="
    assert site.connections == 1


def test_tunnel(
    session: requests.Session, nginx: NginxEndpoints, tinyproxy: Proxies, ca_pem: str
) -> None:
    url = f"https://127.0.0.1:{nginx.tls.port}/doc/1.txt"
    for proxy in ("http://{}:{}".format(*tinyproxy.open), tinyproxy.guarded_url()):
        for _ in range(2):
            assert session.get(url, proxies={"https": proxy}, verify=ca_pem).status_code == 200
        with pytest.raises(wrong.SSLError):
            session.get(url, proxies={"https": proxy})
    with pytest.raises(wrong.ProxyError, match="Tunnel connection failed: 401"):
        session.get(url, proxies={"https": tinyproxy.guarded_url(password="wrong")}, verify=ca_pem)


def test_https_proxies(
    session: requests.Session, nginx: NginxEndpoints, https_proxies: Proxies, ca_pem: str
) -> None:
    """The proxy is verified as the server is, also for http URLs. requests does not do that."""
    open_, guarded = ("https://{}:{}".format(*each) for each in
                      (https_proxies.open, https_proxies.guarded))  # fmt: skip
    guarded = guarded.replace("//", f"//{PROXY_USER}:{PROXY_PASSWORD}@")
    for url in (f"http://127.0.0.1:{nginx.plain.port}/doc/1.txt",
                f"https://127.0.0.1:{nginx.tls.port}/doc/1.txt"):  # fmt: skip
        for proxy in (open_, guarded):
            proxies = dict.fromkeys(("http", "https"), proxy)
            for _ in range(2):
                assert session.get(url, proxies=proxies, verify=ca_pem).status_code == 200
            with pytest.raises(wrong.ProxyError, match="CERTIFICATE_VERIFY_FAILED"):
                session.get(url, proxies=proxies)
            with pytest.warns(InsecureRequestWarning):
                assert session.get(url, proxies=proxies, verify=False).status_code == 200


def test_names_behind_https_proxies(
    nginx: NginxEndpoints, https_proxies: Proxies, ca_pem: str
) -> None:
    """TLS inside TLS checks what urllib3 checks."""
    url = f"https://127.0.0.1:{nginx.tls.port}/doc/1.txt"
    proxies = {"https": "https://{}:{}".format(*https_proxies.open)}
    for name, works in (("localhost", True), ("example.org", False)):
        with session_with(DugongAdapter()) as session:
            adapter = session.get_adapter(url)
            assert isinstance(adapter, DugongAdapter)
            manager = adapter.proxy_manager_for(proxies["https"])
            manager.connection_pool_kw["assert_hostname"] = name
            if works:
                assert session.get(url, proxies=proxies, verify=ca_pem).status_code == 200
            else:
                with pytest.raises(wrong.SSLError, match="doesn't match"):
                    session.get(url, proxies=proxies, verify=ca_pem)


@in_turn("scheme", ["socks5", "socks5h"])
def test_socks(
    session: requests.Session,
    nginx: NginxEndpoints,
    socks_proxies: Proxies,
    ca_pem: str,
    scheme: str,
) -> None:
    for url in (f"http://localhost:{nginx.plain.port}/doc/1.txt",
                f"https://localhost:{nginx.tls.port}/doc/1.txt"):  # fmt: skip
        for proxy in (socks_proxies.guarded_url(), "http://{}:{}".format(*socks_proxies.open)):
            proxies = dict.fromkeys(("http", "https"), proxy.replace("http", scheme))
            for _ in range(2):
                assert session.get(url, proxies=proxies, verify=ca_pem).status_code == 200
        proxy = socks_proxies.guarded_url(password="wrong").replace("http", scheme)
        with pytest.raises(wrong.ProxyError):
            session.get(url, proxies=dict.fromkeys(("http", "https"), proxy), verify=ca_pem)
    with pytest.raises(wrong.InvalidSchema, match="socks4"):
        session.get(url, proxies={"all": "socks4://127.0.0.1:1"})


@in_turn("url", ["http://host.invalid", "https://host.invalid"])
def test_proxy_errors(session: requests.Session, site: Site, url: str) -> None:
    proxies = dict.fromkeys(("http", "https"), "http://127.0.0.1:1")
    with pytest.raises(wrong.ProxyError, match="Unable to connect to proxy"):
        session.get(url, proxies=proxies)
    proxies = dict.fromkeys(("http", "https"), "http://nonexistent.invalid:1")
    with pytest.raises(wrong.ProxyError, match="Unable to connect to proxy"):
        session.get(url, proxies=proxies)
    with pytest.raises(wrong.InvalidProxyURL):
        session.get(url, proxies=dict.fromkeys(("http", "https"), "http://"))


def test_truncated_head(site: Site) -> None:
    """Programs catch the one or the other."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
    site.on("/", Reply(raw=head, close=True))
    for retries in (0, Retry(1, backoff_factor=0)):
        with session_with(DugongAdapter(max_retries=retries)) as session:
            for kind in (wrong.ConnectionError, wrong.ChunkedEncodingError):
                with pytest.raises(kind, match="Connection aborted") as info:
                    session.get(site.url)
                assert info.value.request is not None
                assert info.value.request.url == f"{site.url}/"
    site.on("/", Reply(raw=b"", close=True))
    with session_with(DugongAdapter()) as session:
        with pytest.raises(wrong.ConnectionError) as info:
            session.get(site.url)
        assert not isinstance(info.value, wrong.ChunkedEncodingError)


# ------------------------------------------------------------------------------- the adapter


def test_overridden_methods(site: Site) -> None:
    called = []

    class Own(DugongAdapter):
        def __getattribute__(self, name: str) -> Any:
            called.append(name)
            return super().__getattribute__(name)

        def add_headers(self, request: Any, **kwargs: Any) -> None:
            request.headers["X-Added"] = "yes"

        def request_url(self, request: Any, proxies: Any) -> str:
            return "/replaced"

    with session_with(Own()) as session:
        session.get(site.url)
    assert site.seen[0].target == "/replaced"
    assert site.seen[0]["x-added"] == "yes"
    assert {
        "send", "build_response", "cert_verify", "init_poolmanager", "close",
        "get_connection_with_tls_context",
    } < set(called)  # fmt: skip


def test_pickling(site: Site) -> None:
    adapter = DugongAdapter(3, 4, Retry(5), True, deadline=6)
    with session_with(adapter) as session:
        session.get(site.url)
        copied = pickled(session)
    with copied:
        assert copied.get(site.url).text == "ok"
        other = copied.get_adapter(site.url)
        assert isinstance(other, DugongAdapter)
        assert (other.deadline, other.max_retries.total) == (6, 5)
        assert other.poolmanager.connection_pool_kw["maxsize"] == 4
    assert site.connections == 2


def test_intercepted(session: requests.Session, site: Site) -> None:
    """The package responses replaces a method of requests, which the adapter must call."""
    with responses.RequestsMock() as mock:
        mock.get(site.url, body="not from the site")
        assert session.get(site.url).text == "not from the site"
    assert session.get(site.url).text == "ok"


def test_threads(session: requests.Session, site: Site) -> None:
    site.on("/", echo)
    failures = []

    def work(number: int) -> None:
        for count in range(20):
            data = b"%d.%d" % (number, count)
            if session.post(site.url, data=data).content != data:
                failures.append(data)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert len(site.seen) == 160
    assert site.connections <= 8


def test_missing_library() -> None:
    code = (
        "import sys; sys.modules['requests'] = None\n"
        "try:\n    import dugong.adapters.requests\n"
        "except ImportError as exc:\n    print(exc)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (
        done.stdout == "dugong.adapters.requests needs requests: pip install 'dugong[requests]'\n"
    )
