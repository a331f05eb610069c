"""What the tests of request bodies share: responses that come early, and things to send."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from dugong import AsyncHTTPConnection, HTTPConnection, HTTPResponse
from tests.support.exchanges import Text
from tests.support.peer import Peer, Progress
from tests.support.received import parse_request
from tests.support.wire import SMALL, AnyWire, Listener

MIB = 1 << 20

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nnope"
TOO_LARGE_CLOSE = TOO_LARGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
OK_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
FAILED = b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 4\r\n\r\nnope"

#: More than small buffers hold, both sides' together, and no two places alike.
DATA = b"".join(b"%07d\n" % i for i in range(40_000))

#: More than the buffers of a connection that is dialled hold, when those of the peer are small.
HUGE = 12 * MIB


@Text
async def requested(
    conn: AsyncHTTPConnection, /, method: str = "GET", path: str = "/", **options: Any
) -> tuple[HTTPResponse, bytes]:
    """One whole exchange by way of `request`."""
    response = await conn.request(method, path, **options)
    return response, await conn.readall()


@Text
async def sent_and_read(
    conn: AsyncHTTPConnection, /, method: str = "GET", path: str = "/", **options: Any
) -> tuple[HTTPResponse, bytes]:
    """One whole exchange by way of `send_request`, to which *expect100* means nothing here."""
    options.pop("expect100", None)
    await conn.send_request(method, path, **options)
    response = await conn.read_response()
    return response, await conn.readall()


#: Both ways in which a body can be given at once.
WAYS: dict[str, Text[Any, tuple[HTTPResponse, bytes]]] = {
    "request": requested,
    "send_request": sent_and_read,
}


def small_listener(wire: AnyWire[Any]) -> Listener:
    """A port whose connections take little before their peer reads."""
    listener = wire.listen()
    listener._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    return listener


def at_once(peer: Peer, count: int) -> None:
    """Make the last *count* steps of the script, each done in one go, a single step."""
    steps = [peer._steps.pop() for _ in range(count)][::-1]

    def act() -> None:
        for step in steps:
            while step.act() is not Progress.DONE:
                pass

    peer.call(act)


def drain(peer: Peer) -> None:
    """Read whatever the client sends, to its end."""

    def act() -> Progress:
        if peer.saw_eof:
            return Progress.DONE
        return Progress.MOVED if peer._receive() else Progress.WAITING

    peer._add("drain()", act)


def swallow(peer: Peer, count: int) -> None:
    """Read so many bytes, whatever they are."""

    def act() -> Progress:
        if len(peer._unread) >= count:
            return Progress.DONE
        return peer._receive_more(f"{count} bytes were to come")

    peer._add(f"swallow({count})", act)


def complete(peer: Peer) -> bool:
    """Whether the peer was sent a whole request, read by the script or not."""
    while peer._sock is not None and peer._sock.fileno() >= 0 and peer._receive():
        pass
    return parse_request(bytes(peer.received)) is not None


def head_size(peer: Peer) -> int:
    """The size of the first request's head, with the empty line."""
    return peer.received.index(b"\r\n\r\n") + 4


class Taken:
    """An iterator of blocks that counts how many were taken."""

    def __init__(self, *blocks: Any) -> None:
        self.count = 0
        self._blocks = iter(blocks)

    @classmethod
    def of(cls, blocks: Iterable[Any]) -> Taken:
        return cls(*blocks)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        block = next(self._blocks)
        self.count += 1
        return block


class Turning:
    """A clock that the test turns."""

    def __init__(self, conn: HTTPConnection | AsyncHTTPConnection) -> None:
        self.now = 1000.0
        conn._monitor.clock = self

    def __call__(self) -> float:
        return self.now


def raising(blocks: list[bytes], error: BaseException) -> Iterator[bytes]:
    yield from blocks
    raise error


def setter(target: Any, name: str, value: object) -> Callable[[], None]:
    return lambda: setattr(target, name, value)
