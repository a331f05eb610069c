"""`pipeline` and the bodies of responses: read, partly read, left alone, wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dugong import ConnectionClosed, DigestMismatch, InvalidResponse, UnsupportedResponse
from tests.support.exchanges import (
    CHUNKED,
    CLOSED,
    DECORATED,
    PAYLOAD,
    READERS,
    SAMPLES,
    SELF_DELIMITED,
    Sample,
)
from tests.support.in_turn import in_turn
from tests.support.pipeline_server import Last, Server, answer
from tests.support.pipeline_walk import bodies, expected, paths, walk
from tests.support.received import ReceivedRequest
from tests.support.styles import StyledWire
from tests.support.uploads import HINTS

Special = dict[str, bytes]


def answering(special: Special) -> Callable[[ReceivedRequest], bytes]:
    """Answer these targets so, and others with their name."""
    return lambda request: special.get(request.target) or answer(request)


def on_the_wire(sample: Sample) -> bytes:
    return Last(sample.wire) if sample.closes else sample.wire


#: Large enough not to come in one piece.
LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + bytes(300_000)


@in_turn("reader", READERS)
@in_turn("sample", SAMPLES, ids=str)
async def test_every_body_by_every_way_of_reading(
    plain: StyledWire, sample: Sample, reader: str
) -> None:
    server = Server(plain, answer=lambda request: on_the_wire(sample))
    conn = plain.dial(server.listener)
    count = 0
    async for response in conn.pipeline(paths(6), depth=4):
        assert response.length == sample.length
        assert await READERS[reader](conn) == sample.payload
        count += 1
    assert count == 6
    assert len(server.connections) == (6 if sample.closes else 1)


@in_turn("taken", [None, 0, 1, 10, len(PAYLOAD)])
@in_turn("sample", SAMPLES, ids=str)
async def test_what_is_left_is_discarded(
    wire: StyledWire, sample: Sample, taken: int | None
) -> None:
    """By the next step, wherever reading stopped."""
    special = {path: on_the_wire(sample) for path in ("/0", "/2", "/3", "/7")}
    server = Server(wire, answer=answering(special))
    conn = wire.dial(server.listener)
    async for response in conn.pipeline(paths(8), depth=4):
        if response.path in special:
            if taken is not None:
                assert PAYLOAD.startswith(await conn.read(taken))
        else:
            assert await conn.readall() == f"GET {response.path}".encode()
    assert set(server.times()) == set(paths(8))
    assert len(server.connections) == (4 if sample.closes else 1)


@pytest.mark.parametrize("depth", [1, 4])
async def test_large_bodies_are_discarded(wire: StyledWire, depth: int) -> None:
    server = Server(wire, answer=answering({"/1": LARGE, "/2": LARGE, "/5": LARGE}))
    conn = wire.dial(server.listener)
    got = [response.path async for response in conn.pipeline(paths(6), depth=depth)]
    assert got == paths(6)
    assert not conn.response_pending()
    assert len(server.connections) == 1


@pytest.mark.parametrize("chunk", [None, 1])
async def test_trailers(plain: StyledWire, chunk: int | None) -> None:
    conn, peer = plain.pair(chunk=chunk)
    for path in paths(3):
        peer.expect_request(b"GET %b " % path.encode())
        peer.reply(DECORATED.wire)
    async for response in conn.pipeline(paths(3)):
        assert len(response.trailers) == 0
        assert await conn.readall() == PAYLOAD
        assert response.trailers["X-Sum"] == "7"
    peer.check()


async def test_trailers_of_what_is_discarded(plain: StyledWire) -> None:
    server = Server(plain, answer=lambda request: DECORATED.wire)
    conn = plain.dial(server.listener)
    got = [response async for response in conn.pipeline(paths(4))]
    assert [response.trailers["X-Sum"] for response in got] == ["7"] * 4


async def test_responses_without_a_body(wire: StyledWire) -> None:
    """Whatever length they announce."""
    special = {
        "/1": b"HTTP/1.1 204 No Content\r\n\r\n",
        "/2": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n",
        "/4": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "/5": CHUNKED.head,
    }
    server = Server(wire, answer=answering(special))
    conn = wire.dial(server.listener)
    requests = ["/0", "/1", "/2", ("HEAD", "/3"), "/4", ("HEAD", "/5"), "/6"]
    steps = await walk(conn, requests)
    assert bodies(steps) == [b"GET /0", b"", b"", b"", b"", b"", b"GET /6"]
    assert len(server.connections) == 1


async def test_interim_responses(wire: StyledWire) -> None:
    server = Server(wire, answer=lambda request: HINTS * 2 + answer(request))
    conn = wire.dial(server.listener)
    steps = await walk(conn, paths(5))
    assert bodies(steps) == expected(paths(5))
    for step in steps:
        assert step.response is not None
        assert [interim.status for interim in step.response.informational] == [103, 103]


# ------------------------------------------------------------------------------ truncated


@in_turn("reads", [True, False])
@in_turn("sample", SELF_DELIMITED, ids=str)
async def test_a_truncated_body(wire: StyledWire, sample: Sample, reads: bool) -> None:
    """Whoever reads it is told; the rest goes on, and is asked for again."""
    server = Server(wire, answer=answering({"/2": Last(sample.wire[:-9])}))
    conn = wire.dial(server.listener)
    async for response in conn.pipeline(paths(7), depth=3):
        if response.path != "/2":
            assert await conn.readall() == f"GET {response.path}".encode()
        elif reads:
            with pytest.raises(ConnectionClosed):
                await conn.readall()
            with pytest.raises(ConnectionClosed):
                await conn.readall()
    assert [seen.target for seen in server.log] == paths(7)
    assert server.times()["/2"] == 1


# ---------------------------------------------------------------------------------- wrong


async def test_a_digest_that_does_not_match(plain: StyledWire) -> None:
    """Nobody may take the body for checked because nobody read it."""
    wrong = b"Content-Digest: sha-256=:" + b"A" * 43 + b"=:"
    server = Server(plain, answer=lambda request: answer(request, wrong))
    for reads in (True, False):
        conn = plain.dial(server.listener)
        pipeline = conn.pipeline(paths(6), depth=4)
        assert (await anext(pipeline)).path == "/0"
        assert (await anext(pipeline)).path == "/1"
        conn.hash_body(check=True)
        with pytest.raises(DigestMismatch):
            await (conn.readall() if reads else anext(pipeline))
        got = []
        async for response in pipeline:
            got.append(response.path)
            assert await conn.readall() == f"GET {response.path}".encode()
        assert got == paths(4, 2)


BAD_HEADS = {
    "garbage": b"garbage\r\n\r\n",
    "bad length": b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: gzip\r\n\r\n",
    "unasked switch": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\n\r\n",
}


@in_turn("kind", BAD_HEADS)
@in_turn("place", [0, 1, 3])
async def test_one_wrong_head(plain: StyledWire, kind: str, place: int) -> None:
    """It is raised in its place, once; what comes behind it on that connection is not believed."""
    server = Server(plain, answer=answering({f"/{place}": BAD_HEADS[kind]}))
    conn = plain.dial(server.listener)
    steps = await walk(conn, paths(7), depth=4)
    want: list[Any] = expected(paths(7))
    want[place] = None
    assert bodies(steps) == want
    error = steps[place].error
    assert isinstance(error, InvalidResponse | UnsupportedResponse)
    assert error.unanswered[0].path == f"/{place}"
    assert error.response_started
    assert len(server.connections) == 2
    assert all(server.times()[path] == 1 for path in paths(place + 1))


BAD_BODIES = {
    "chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "chunk end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhixx",
    "trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nbad trailer\r\n\r\n",
}


@in_turn("kind", BAD_BODIES)
@in_turn("reads", [True, False])
async def test_one_wrong_body(plain: StyledWire, kind: str, reads: bool) -> None:
    server = Server(plain, answer=answering({"/2": BAD_BODIES[kind]}))
    conn = plain.dial(server.listener)
    async for response in conn.pipeline(paths(7), depth=4):
        if response.path != "/2":
            assert await conn.readall() == f"GET {response.path}".encode()
        elif reads:
            with pytest.raises(InvalidResponse):
                await conn.readall()
    assert server.targets[-4:] == paths(4, 3)
    assert len(server.connections) == 2


async def test_a_body_beyond_the_limit(plain: StyledWire) -> None:
    """The rest of it is discarded like any other, or given up with the connection."""
    server = Server(plain, answer=answering({"/2": LARGE}))
    conn = plain.dial(server.listener)
    async for response in conn.pipeline(paths(6), depth=3):
        if response.path == "/2":
            with pytest.raises(InvalidResponse):
                await conn.readall(limit=1000)
        else:
            assert await conn.readall() == f"GET {response.path}".encode()
    assert set(server.times()) == set(paths(6))


async def test_until_close_and_unread(wire: StyledWire) -> None:
    """The end of the connection is waited for like the end of any other body."""
    server = Server(wire, answer=lambda request: Last(CLOSED.wire))
    conn = wire.dial(server.listener)
    got = [response.path async for response in conn.pipeline(paths(5), depth=3)]
    assert got == paths(5)
    assert len(server.connections) == 5
