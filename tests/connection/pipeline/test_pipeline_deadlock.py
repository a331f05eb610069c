"""`pipeline` never waits to send while something can be received, whatever the sizes.

Here both directions are larger than all socket buffers together, and the server does what would
stop a client that only sends, or only receives. The scripts are watched over: where nobody moves
any more, the test fails and says who waits for what.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dugong import Request
from tests.support.exchanges import OK
from tests.support.in_turn import in_turn
from tests.support.peer import Peer, Progress
from tests.support.pipeline_server import Server, answer
from tests.support.pipeline_walk import Lazy, Step, walk
from tests.support.received import ReceivedRequest
from tests.support.styles import StyledWire
from tests.support.uploads import DATA, MIB, small_listener

#: As large as small buffers, all of them together, several times over.
LARGE = DATA * 2

BLOCK = 10_000


def in_blocks() -> Iterator[bytes]:
    for i in range(0, len(LARGE), BLOCK):
        yield LARGE[i : i + BLOCK]


#: Large bodies, by the way they are sent.
KINDS: dict[str, Callable[[], Any]] = {
    "bytes": lambda: LARGE,
    "BytesIO": lambda: io.BytesIO(LARGE),
    "generator": in_blocks,
}


def large(request: ReceivedRequest) -> bytes:
    return answer(request, body=LARGE)


def finish(wire: StyledWire, peer: Peer) -> None:
    while wire.step():
        pass
    peer.check()


def check(steps: list[Step], requests: list[Request], body: bytes) -> None:
    assert [step.error for step in steps] == [None] * len(requests)
    assert [step.request for step in steps] == requests
    assert all(step.body == body for step in steps)


@in_turn("kind", KINDS)
async def test_large_requests_and_large_responses(wire: StyledWire, kind: str) -> None:
    server = Server(wire, answer=large, listener=small_listener(wire))
    conn = wire.dial(server.listener)
    requests = [Request("PUT", f"/{i}", body=KINDS[kind]()) for i in range(6)]
    check(await walk(conn, requests, depth=4), requests, LARGE)
    assert [seen.request.body == LARGE for seen in server.log] == [True] * 6


# ------------------------------------------------------- a server that answers before it reads


@in_turn("kind", KINDS)
async def test_a_server_that_reads_nothing_until_its_answer_is_read(
    wire: StyledWire, kind: str
) -> None:
    """The head of a PUT is answered by a large response; only then is the body read."""
    conn, peer = wire.pair(small=True)
    response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LARGE) + LARGE
    chunked = (
        b"".join(b"%x\r\n%b\r\n" % (len(block), block) for block in in_blocks()) + b"0\r\n\r\n"
    )
    count = 4
    peer.expect_request(b"GET /hello ")
    peer.reply(OK)
    for i in range(count):
        peer.expect_head(b"PUT /%d " % i)
        peer.reply(response)
        expect_large(peer, chunked if kind == "generator" else LARGE)
    requests = [Request("PUT", f"/{i}", body=KINDS[kind]()) for i in range(count)]
    steps = await walk(conn, [Request("GET", "/hello"), *requests])
    check(steps[1:], requests, LARGE)
    finish(wire, peer)


def expect_large(peer: Peer, data: bytes) -> None:
    """Read so much; and only where it is due, so that none of it was read before."""

    def act() -> Progress:
        if len(peer._unread) < len(data):
            return peer._receive_more("in a large body")
        assert bytes(peer._unread[: len(data)]) == data
        del peer._unread[: len(data)]
        return Progress.DONE

    peer._add(f"expect_large({len(data)})", act)


@pytest.mark.parametrize("depth", [4, 64])
async def test_many_heads_and_a_server_that_reads_nothing(wire: StyledWire, depth: int) -> None:
    """Large heads, none of which is read until all answers to those before are gone."""
    conn, peer = wire.pair(small=True)
    pad = {"X-Pad": "x" * 7000}
    requests = [Request("GET", f"/{i}", pad) for i in range(60)]
    response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DATA) + DATA
    for i in range(len(requests)):
        peer.expect_head(b"GET /%d " % i)
        peer.reply(response)
    check(await walk(conn, requests, depth=depth), requests, DATA)
    peer.check()


# ----------------------------------------------------------------------------------- echo


class Echo:
    """Streams each request's body back while it reads it, and reads no more than it has sent."""

    def __init__(self, peer: Peer, count: int) -> None:
        for i in range(count):
            peer.expect_head(b"PUT /%d " % i)
            peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LARGE))
            peer._add(f"echo({i})", self._echoing(peer))

    @staticmethod
    def _echoing(peer: Peer) -> Callable[[], Progress]:
        left = len(LARGE)

        def act() -> Progress:
            nonlocal left
            if peer._out:
                return Progress.MOVED if peer._flush() else Progress.WAITING
            if not left:
                return Progress.DONE
            if not peer._unread:
                return peer._receive_more("echoing")
            piece = bytes(peer._unread[:left])
            del peer._unread[: len(piece)]
            left -= len(piece)
            peer._encode(piece)
            return Progress.MOVED

        return act


@in_turn("kind", ["bytes", "BytesIO"])
@in_turn("depth", [1, 2, 8])
async def test_an_echo(wire: StyledWire, kind: str, depth: int) -> None:
    """The response begins, and fills all buffers, while most of the request is to be sent."""
    conn, peer = wire.pair(small=True)
    Echo(peer, 4)
    requests = [Request("PUT", f"/{i}", body=KINDS[kind]()) for i in range(4)]
    check(await walk(conn, requests, depth=depth), requests, LARGE)
    finish(wire, peer)


async def test_an_echo_read_in_small_pieces(wire: StyledWire) -> None:
    """Each way of reading sends on, and so does the discarding of what is not read."""
    conn, peer = wire.pair(small=True)
    Echo(peer, 5)
    buf = bytearray(5000)
    async for response in conn.pipeline(Request("PUT", f"/{i}", body=LARGE) for i in range(5)):
        got = b""
        if response.path == "/0":
            while piece := await conn.read(3000):
                got += piece
        elif response.path == "/1":
            while count := await conn.readinto(buf):
                got += buf[:count]
        elif response.path == "/2":
            await conn.discard()
            continue
        elif response.path == "/3":
            assert await conn.read(10) == LARGE[:10]
            continue
        else:
            got = await conn.readall()
        assert got == LARGE
    finish(wire, peer)


# --------------------------------------------------------------------------------- memory


async def test_no_more_is_held_than_was_asked_for(plain: StyledWire) -> None:
    """Bodies are not taken from the caller before it is their turn to be sent."""
    conn, peer = plain.pair(small=True)
    peer.expect_request(b"GET /hello ")
    peer.reply(OK)
    peer.expect_head(b"PUT /0 ")  # and no more is read
    source = Lazy(LARGE[i : i + BLOCK] for i in range(0, len(LARGE), BLOCK))
    pipeline = conn.pipeline([Request("GET", "/hello"), Request("PUT", "/0", body=source)])
    assert (await anext(pipeline)).path == "/hello"
    await plain.stop(anext(pipeline))
    assert source.taken * BLOCK < MIB // 2
