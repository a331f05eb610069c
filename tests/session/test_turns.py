"""A call that never has to wait gives its driver a turn now and then.

Otherwise no time limit would end it, and no other task of an event loop would run. The sockets here
are ready whatever the client does, as those of a fast peer on the same machine are.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import anyio.lowlevel
import pytest

from dugong import AsyncHTTPConnection, ConnectionTimedOut, HTTPConnection, PollNeeded
from dugong.transport.poll import TURN_SIZE
from tests.support.exchanges import OK
from tests.support.in_turn import in_turn
from tests.support.styles import StyledWire
from tests.support.wire import HOST, Wire

SHORT = 0.02

#: Bytes that the socket takes in one call.
AT_ONCE = 256 * 1024

HEADS = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000000000\r\n\r\n",
    "until close": b"HTTP/1.1 200 OK\r\n\r\n",
}

head = in_turn("head", HEADS.values(), ids=HEADS)


class EndlessSocket(socket.socket):
    """Takes whatever is sent. Gives what it really received first, and zeros without an end."""

    def send(self, data: Any, flags: int = 0) -> int:
        return min(memoryview(data).nbytes, AT_ONCE)

    def sendmsg(self, buffers: Any, *args: Any) -> int:
        return min(sum(memoryview(buffer).nbytes for buffer in buffers), AT_ONCE)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        try:
            return super().recv_into(buffer, nbytes, flags)
        except BlockingIOError:
            return memoryview(buffer).nbytes

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        try:
            return super().recv(bufsize, flags)
        except BlockingIOError:
            return bytes(bufsize)


def endless(wire: Any, received: bytes) -> Any:
    """A connection, and what it has received."""
    near, far = socket.socketpair()
    wire.adopt(far.close)
    far.send(received)
    return wire.connection(HOST, sock=EndlessSocket(fileno=near.detach()))


def drop(conn: AsyncHTTPConnection) -> None:
    """Forget what a `readall` has gathered."""
    session = conn._session
    assert session is not None
    session._gathered = type(session._gathered)()


def blocks() -> Iterator[bytes]:
    while True:
        yield bytes(1_000_000)


async def read_on(conn: AsyncHTTPConnection, call: str) -> None:
    await (conn.readall() if call == "readall" else conn.discard())


@pytest.mark.styles("blocking", "asyncio", "trio")  # a generator knows no attribute
@in_turn("call", ["readall", "discard"])
@head
async def test_reading(plain: StyledWire, call: str, head: bytes) -> None:
    conn = endless(plain, head)
    await conn.send_request("GET", "/")
    await conn.read_response()
    conn.deadline = SHORT
    for _ in range(2):
        with pytest.raises(ConnectionTimedOut, match="deadline") as info:
            await read_on(conn, call)
        assert info.value.phase == "body"
        drop(conn)


@in_turn("call", ["readall", "discard"])
@head
async def test_reading_within_the_exchange(plain: StyledWire, call: str, head: bytes) -> None:
    """In every style."""
    conn = endless(plain, head)
    await conn.request("GET", "/", deadline=SHORT)
    for _ in range(2):
        with pytest.raises(ConnectionTimedOut, match="deadline"):
            await read_on(conn, call)
        drop(conn)


BODIES: dict[str, Callable[[], Any]] = {
    "bytes": lambda: bytes(10 * TURN_SIZE),
    "iterable": blocks,
}


@pytest.mark.styles("blocking", "asyncio", "trio")  # a generator knows no attribute
async def test_sending(plain: StyledWire) -> None:
    conn = endless(plain, b"")
    await conn.connect()
    conn.deadline = SHORT
    with pytest.raises(ConnectionTimedOut, match="deadline") as info:
        await conn.send_request("PUT", "/", body=blocks())
    assert info.value.phase == "send"


@pytest.mark.parametrize("kind", BODIES)
def test_turns_while_sending(plain: Wire, kind: str) -> None:
    """As many as there have to be, whatever the body is."""
    conn = endless(plain, b"")
    crt = conn.co_send_request("PUT", "/", body=BODIES[kind]())
    for turns in range(1, 9):
        need = next(crt)
        assert need.timeout == 0
        assert turns * TURN_SIZE <= conn.bytes_sent <= (turns + 1) * TURN_SIZE
    crt.close()


def test_turns_while_reading(plain: Wire) -> None:
    conn = endless(plain, HEADS["length"])
    for _ in conn.co_send_request("GET", "/"):
        pass
    for _ in conn.co_read_response():
        pass
    crt = conn.co_discard()
    for turns in range(1, 9):
        need: PollNeeded = next(crt)
        assert need.timeout == 0
        assert turns * TURN_SIZE <= conn.bytes_received <= (turns + 1) * TURN_SIZE
    crt.close()


def test_no_turn_behind_the_end(plain: Wire) -> None:
    """The connection may be closed by then."""
    size = TURN_SIZE
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size
    conn: HTTPConnection = endless(plain, head)
    conn.request("GET", "/")
    assert len(conn.readall()) == size
    assert not conn.connected


@pytest.mark.styles("asyncio", "trio")
async def test_other_tasks_run(plain: StyledWire) -> None:
    conn = endless(plain, HEADS["length"])
    await conn.send_request("GET", "/")
    await conn.read_response()

    async def stop() -> None:
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        conn.disconnect()

    reading, _ = await plain.together(conn.discard(), stop())
    assert isinstance(reading.error, ConnectionError)


async def test_small_exchanges_take_no_turn(plain: StyledWire) -> None:
    conn = endless(plain, OK)
    assert (await conn.request("GET", "/")).status == 200
    assert await conn.readall() == b"hi"
