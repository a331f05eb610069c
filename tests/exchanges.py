"""What many tests do with a connection, and the shapes a response can have."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from dugong import HTTPConnection, HTTPResponse, PollNeeded
from tests.drive import drive
from tests.peer import Peer
from tests.received import ReceivedRequest

Bytes = Generator[PollNeeded, None, bytes]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def fetch(
    conn: HTTPConnection, method: str = "GET", path: str = "/", **options: Any
) -> Generator[PollNeeded, None, tuple[HTTPResponse, bytes]]:
    """One whole exchange."""
    yield from conn.co_send_request(method, path, **options)
    response = yield from conn.co_read_response()
    body = yield from conn.co_readall()
    return response, body


def ask(
    conn: HTTPConnection, method: str = "GET", path: str = "/", **options: Any
) -> Generator[PollNeeded, None, HTTPResponse]:
    """An exchange up to the response head."""
    yield from conn.co_send_request(method, path, **options)
    return (yield from conn.co_read_response())


def sent(conn: HTTPConnection, peer: Peer, *args: Any, **options: Any) -> ReceivedRequest:
    """Make one exchange and return the request as the server saw it."""
    peer.expect_request()
    peer.reply(EMPTY)
    drive(fetch(conn, *args, **options), peer)
    peer.check()
    return peer.requests[-1]


def works(conn: HTTPConnection, peer: Peer) -> None:
    """Assert that the connection is in order, and that nothing was sent that nobody expected."""
    peer.expect_request(b"GET /works HTTP/1.1\r\n")
    peer.reply(OK)
    response, body = drive(fetch(conn, path="/works"), peer)
    assert (response.status, response.path, body) == (200, "/works", b"hi")
    peer.check()


# ------------------------------------------------------------------------------ responses


@dataclass(frozen=True)
class Sample:
    """A response with a body, framed in one of the ways there are."""

    name: str
    head: bytes
    body: bytes  # on the wire
    payload: bytes
    length: int | None
    closes: bool = False  # the end of the connection is the end of the body

    @property
    def wire(self) -> bytes:
        return self.head + self.body

    def __str__(self) -> str:
        return self.name


def _sample(name: str, field: bytes, body: bytes, payload: bytes, **rest: Any) -> Sample:
    return Sample(name, b"HTTP/1.1 200 OK\r\n" + field + b"\r\n", body, payload, **rest)


PAYLOAD = b"swim\r\nlike a sea cow\r\n\r\n0\r\n"

LENGTH = _sample("length", b"Content-Length: 27\r\n", PAYLOAD, PAYLOAD, length=27)
CHUNKED = _sample(
    "chunked",
    b"Transfer-Encoding: chunked\r\n",
    b"5\r\n" + PAYLOAD[:5] + b"\r\n016\r\n" + PAYLOAD[5:] + b"\r\n0\r\n\r\n",
    PAYLOAD,
    length=None,
)
DECORATED = _sample(
    "chunked-decorated",
    b"Transfer-Encoding: Chunked\r\nTrailer: X-Sum\r\n",
    b'1B;a="b;\\"c";d=e;f\r\n' + PAYLOAD + b"\r\n000;z\r\nX-Sum: 7\r\nX-Two: a, b\r\n\r\n",
    PAYLOAD,
    length=None,
)
CLOSED = _sample("until-close", b"Server: x\r\n", PAYLOAD, PAYLOAD, length=None, closes=True)

SAMPLES = [LENGTH, CHUNKED, DECORATED, CLOSED]
SELF_DELIMITED = [LENGTH, CHUNKED, DECORATED]


# ------------------------------------------------------------------------------- readers


def _by_read(size: int) -> Callable[[HTTPConnection], Bytes]:
    def read(conn: HTTPConnection) -> Bytes:
        got = b""
        while piece := (yield from conn.co_read(size)):
            assert isinstance(piece, bytes)
            assert len(piece) <= size
            got += piece
        return got

    return read


def _by_readinto(size: int) -> Callable[[HTTPConnection], Bytes]:
    def read(conn: HTTPConnection) -> Bytes:
        got, buf = b"", bytearray(b"\xee" * (size + 2))
        window = memoryview(buf)[1:-1]
        while count := (yield from conn.co_readinto(window)):
            got += window[:count]
        assert buf[0] == buf[-1] == 0xEE, "written outside the buffer"
        return got

    return read


def _by_reading_all(argument: tuple[int | None, ...]) -> Callable[[HTTPConnection], Bytes]:
    def read(conn: HTTPConnection) -> Bytes:
        got = yield from conn.co_read(*argument)
        assert isinstance(got, bytes)
        return got

    return read


def _by_readall(conn: HTTPConnection) -> Bytes:
    got = yield from conn.co_readall()
    assert isinstance(got, bytes)
    return got


def _by_turns(conn: HTTPConnection) -> Bytes:
    """A little of everything."""
    first = yield from conn.co_read(1)
    buf = bytearray(2)
    count = yield from conn.co_readinto(buf)
    return first + buf[:count] + (yield from conn.co_readall())


#: Every way of reading a body, by name: the function returns the body.
READERS: dict[str, Callable[[HTTPConnection], Bytes]] = {
    "read(1)": _by_read(1),
    "read(5)": _by_read(5),
    "read(big)": _by_read(1 << 20),
    "read()": _by_reading_all(()),
    "read(None)": _by_reading_all((None,)),
    "read(-1)": _by_reading_all((-1,)),
    "readinto(3)": _by_readinto(3),
    "readinto(big)": _by_readinto(1 << 16),
    "readall": _by_readall,
    "turns": _by_turns,
}
