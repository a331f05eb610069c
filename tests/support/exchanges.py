"""What many tests do with a connection, and the shapes a response can have.

The texts here serve the tests of every style, and with an `HTTPConnection` those that drive
generators by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from dugong import AsyncHTTPConnection, HTTPConnection, HTTPResponse, PollNeeded
from tests.support.drive import drive
from tests.support.peer import Peer
from tests.support.received import ReceivedRequest
from tests.support.styles import awaitable, waiting

P = ParamSpec("P")
T = TypeVar("T")

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Text(Generic[P, T]):
    """What is written once, for a connection of any style: it is awaited, or a generator."""

    def __init__(
        self, text: Callable[Concatenate[AsyncHTTPConnection, P], Coroutine[Any, Any, T]]
    ) -> None:
        self._text = text

    @overload
    def __call__(
        self, conn: HTTPConnection, *args: P.args, **kwargs: P.kwargs
    ) -> Generator[PollNeeded, None, T]: ...
    @overload
    def __call__(
        self, conn: AsyncHTTPConnection, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]: ...
    def __call__(self, conn: Any, *args: P.args, **kwargs: P.kwargs) -> Any:
        if isinstance(conn, HTTPConnection):
            return waiting(self._text(awaitable(conn), *args, **kwargs))
        return self._text(conn, *args, **kwargs)


@Text
async def fetch(
    conn: AsyncHTTPConnection, /, method: str = "GET", path: str = "/", **options: Any
) -> tuple[HTTPResponse, bytes]:
    """One whole exchange."""
    await conn.send_request(method, path, **options)
    response = await conn.read_response()
    return response, await conn.readall()


@Text
async def ask(
    conn: AsyncHTTPConnection, /, method: str = "GET", path: str = "/", **options: Any
) -> HTTPResponse:
    """An exchange up to the response head."""
    await conn.send_request(method, path, **options)
    return await conn.read_response()


async def sent(
    conn: AsyncHTTPConnection, peer: Peer, *args: Any, **options: Any
) -> ReceivedRequest:
    """Make one exchange and return the request as the server saw it."""
    peer.expect_request()
    peer.reply(EMPTY)
    await fetch(conn, *args, **options)
    peer.check()
    return peer.requests[-1]


@overload
def works(conn: HTTPConnection, peer: Peer) -> None: ...
@overload
def works(conn: AsyncHTTPConnection, peer: Peer) -> Coroutine[Any, Any, None]: ...
def works(conn: Any, peer: Peer) -> Any:
    """Assert that the connection is in order, and that nothing was sent that nobody expected."""
    if isinstance(conn, HTTPConnection):
        return drive(_works(awaitable(conn), peer), peer)
    return _works(conn, peer)


async def _works(conn: AsyncHTTPConnection, peer: Peer) -> None:
    peer.expect_request(b"GET /works HTTP/1.1\r\n")
    peer.reply(OK)
    response, body = await fetch(conn, path="/works")
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

Reader = Text[[], bytes]


def _by_read(size: int) -> Reader:
    async def read(conn: AsyncHTTPConnection) -> bytes:
        got = b""
        while piece := await conn.read(size):
            assert isinstance(piece, bytes)
            assert len(piece) <= size
            got += piece
        return got

    return Text(read)


def _by_readinto(size: int) -> Reader:
    async def read(conn: AsyncHTTPConnection) -> bytes:
        got, buf = b"", bytearray(b"\xee" * (size + 2))
        window = memoryview(buf)[1:-1]
        while count := await conn.readinto(window):
            got += window[:count]
        assert buf[0] == buf[-1] == 0xEE, "written outside the buffer"
        return got

    return Text(read)


def _by_reading_all(argument: tuple[int | None, ...]) -> Reader:
    async def read(conn: AsyncHTTPConnection) -> bytes:
        got = await conn.read(*argument)
        assert isinstance(got, bytes)
        return got

    return Text(read)


@Text
async def _by_readall(conn: AsyncHTTPConnection) -> bytes:
    got = await conn.readall()
    assert isinstance(got, bytes)
    return got


@Text
async def _by_turns(conn: AsyncHTTPConnection) -> bytes:
    """A little of everything."""
    first = await conn.read(1)
    buf = bytearray(2)
    count = await conn.readinto(buf)
    return first + buf[:count] + await conn.readall()


@Text
async def _by_discard(conn: AsyncHTTPConnection) -> bytes:
    await conn.discard()
    return b""


#: Every way of reading a body, by name: awaited, each returns the body.
READERS: dict[str, Reader] = {
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

#: A few of them, and one that returns nothing, for bodies that end too early.
CUT_READERS: dict[str, Reader] = {
    **{name: READERS[name] for name in ("read(5)", "read()", "readinto(3)", "readall")},
    "discard": _by_discard,
}
