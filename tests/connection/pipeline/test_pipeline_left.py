"""Leaving a pipeline early, and using its connection for something else in the middle.

Nobody but the pipeline knows which response comes next. So whoever comes to do anything but read
the current body disconnects first, and the pipeline, if it is gone on with, asks again.
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dugong import AsyncHTTPConnection, BodyFollowing, ConnectionClosed, Request, StateError
from tests.support.drive import Outcome
from tests.support.exchanges import fetch
from tests.support.in_turn import in_turn
from tests.support.pipeline_server import Server, answer, closing
from tests.support.pipeline_walk import bodies, expected, paths, walk
from tests.support.received import ReceivedRequest
from tests.support.styles import StyledWire, outcome_of

Operation = Callable[[AsyncHTTPConnection], Awaitable[Any]]


class Left(Exception):
    """By which a loop is left."""


async def by_break(conn: AsyncHTTPConnection, depth: int) -> Any:
    async for response in conn.pipeline(paths(20), depth=depth):
        if response.path == "/3":
            break
    return None


async def by_exception(conn: AsyncHTTPConnection, depth: int) -> Any:
    with pytest.raises(Left):
        async for response in conn.pipeline(paths(20), depth=depth):
            if response.path == "/3":
                raise Left
    return None


async def by_garbage_collection(conn: AsyncHTTPConnection, depth: int) -> Any:
    pipeline = conn.pipeline(paths(20), depth=depth)
    async for response in pipeline:
        if response.path == "/3":
            break
    del pipeline
    gc.collect()
    return None


async def kept(conn: AsyncHTTPConnection, depth: int) -> Any:
    """It still exists."""
    pipeline = conn.pipeline(paths(20), depth=depth)
    async for response in pipeline:
        if response.path == "/3":
            break
    return pipeline


WAYS = {"break": by_break, "exception": by_exception, "gc": by_garbage_collection, "kept": kept}


# ---------------------------------------------------------------------- and then: what works


async def send_request(conn: AsyncHTTPConnection) -> None:
    response, body = await fetch(conn, path="/else")
    assert (response.path, body) == ("/else", b"GET /else")


async def request(conn: AsyncHTTPConnection) -> None:
    response = await conn.request("POST", "/else", body=b"x")
    assert (response.path, await conn.readall()) == ("/else", b"POST /else")


async def with_a_body_that_follows(conn: AsyncHTTPConnection) -> None:
    await conn.send_request("PUT", "/else", body=BodyFollowing(2))
    await conn.write(b"hi")
    assert (await conn.read_response()).path == "/else"
    assert await conn.readall() == b"PUT /else"


async def another_pipeline(conn: AsyncHTTPConnection) -> None:
    steps = await walk(conn, ["/else", "/more"])
    assert bodies(steps) == expected(["/else", "/more"])


async def connect(conn: AsyncHTTPConnection) -> None:
    await conn.connect()
    await send_request(conn)


async def certificate(conn: AsyncHTTPConnection) -> None:
    await conn.get_ssl_peercert()
    await conn.get_ssl_cipher()
    await send_request(conn)


OPERATIONS: dict[str, Operation] = {
    "send_request": send_request,
    "request": request,
    "write": with_a_body_that_follows,
    "pipeline": another_pipeline,
    "connect": connect,
    "certificate": certificate,
}


@in_turn("way", WAYS)
@in_turn("operation", OPERATIONS)
async def test_what_comes_next(plain: StyledWire, way: str, operation: str) -> None:
    """It disconnects first, and so it gets its own response."""
    server = Server(plain)
    conn = plain.dial(server.listener)
    pipeline = await WAYS[way](conn, 5)
    await OPERATIONS[operation](conn)
    assert len(server.connections) == 2
    assert [seen.connection for seen in server.log if seen.target == "/else"] == [1]
    del pipeline


@in_turn("operation", OPERATIONS)
async def test_nothing_was_in_flight(wire: StyledWire, operation: str) -> None:
    """Then there is no reason to disconnect."""
    server = Server(wire)
    conn = wire.dial(server.listener)
    async for response in conn.pipeline(paths(20), depth=1):
        assert await conn.readall() == f"GET {response.path}".encode()
        if response.path == "/3":
            break
    await OPERATIONS[operation](conn)
    assert len(server.connections) == 1


async def test_the_end_of_a_pipeline_leaves_the_connection_in_order(wire: StyledWire) -> None:
    server = Server(wire)
    conn = wire.dial(server.listener)
    async for _ in conn.pipeline(paths(5)):
        pass  # the last body is discarded by the step that finds the end
    assert not conn.response_pending()
    for operation in OPERATIONS.values():
        await operation(conn)
    assert len(server.connections) == 1


@in_turn("way", WAYS)
async def test_there_is_nothing_to_receive_or_to_write(plain: StyledWire, way: str) -> None:
    """The responses in flight are nobody's. Nor is any of them taken for the next one's."""
    calls: list[Operation] = [
        lambda conn: conn.read_response(),
        lambda conn: conn.write(b"x"),
        lambda conn: conn.end_body(),
    ]
    for call in calls:
        server = Server(plain)
        conn = plain.dial(server.listener)
        await WAYS[way](conn, 5)
        for _ in range(2):
            with pytest.raises(StateError):
                await call(conn)
        await send_request(conn)
        assert len(server.connections) == 2


async def test_two_steps_left_alone(plain: StyledWire) -> None:
    """A body that is begun and then left is no hindrance to what comes next."""
    server = Server(plain)
    conn = plain.dial(server.listener)
    async for response in conn.pipeline(paths(9)):
        if response.path == "/4":
            assert await conn.read(2) == b"GE"
            break
    await send_request(conn)
    assert len(server.connections) == 2


READING: dict[str, Callable[[AsyncHTTPConnection], Awaitable[Any]]] = {
    "readall": lambda conn: conn.readall(),
    "read": lambda conn: conn.read(),
    "read(100)": lambda conn: conn.read(100),
    "discard": lambda conn: conn.discard(),
    "readinto": lambda conn: conn.readinto(bytearray(100)),
}


@in_turn("reading", READING)
@in_turn("way", WAYS)
async def test_reading_goes_on(wire: StyledWire, way: str, reading: str) -> None:
    """The body of the response at which the loop was left can be read, and no other one."""
    server = Server(wire)
    conn = wire.dial(server.listener)
    await WAYS[way](conn, 5)
    assert await conn.read(4) == b"GET "
    got = await READING[reading](conn)
    assert got == {"discard": None, "readinto": 2}.get(reading, b"/3")
    if reading in ("read(100)", "readinto"):
        assert await conn.readall() == b""
    with pytest.raises(StateError):  # the end was reported, and others were asked for
        await conn.readall()
    assert len(server.connections) == 1
    await send_request(conn)
    assert len(server.connections) == 2


async def test_a_body_is_lost_with_the_connection(plain: StyledWire) -> None:
    """What has disconnected makes an unread body unreadable, and not another's."""
    server = Server(plain)
    conn = plain.dial(server.listener)
    await by_break(conn, 5)
    await conn.connect()
    with pytest.raises(ConnectionClosed):
        await conn.readall()


# ------------------------------------------------------------------ in the middle of the loop


@in_turn("operation", OPERATIONS)
@in_turn("depth", [1, 5])
async def test_in_the_middle(plain: StyledWire, operation: str, depth: int) -> None:
    """Each time, what was in flight is asked for again; each body is its own request's."""
    server = Server(plain)
    conn = plain.dial(server.listener)
    got = []
    async for response in conn.pipeline(paths(12), depth=depth):
        got.append(await conn.readall())
        if response.path in ("/0", "/3", "/4", "/11"):
            await OPERATIONS[operation](conn)
    assert got == expected(paths(12))
    assert len(server.connections) == 1 if depth == 1 else len(server.connections) > 2


async def test_something_outstanding_in_the_middle(plain: StyledWire) -> None:
    """The pipeline does not take the response of somebody else, nor wait for it."""
    server = Server(plain)
    conn = plain.dial(server.listener)
    pipeline = conn.pipeline(paths(8), depth=4)
    for path in paths(4):
        assert (await anext(pipeline)).path == path
    await conn.readall()
    await conn.send_request("GET", "/else")
    for _ in range(2):
        with pytest.raises(StateError):
            await anext(pipeline)
    assert (await conn.read_response()).path == "/else"
    with pytest.raises(StateError):
        await anext(pipeline)
    assert await conn.readall() == b"GET /else"
    assert [response.path async for response in pipeline] == paths(4, 4)


async def test_two_pipelines_by_turns(plain: StyledWire) -> None:
    """Neither gets a response of the other's."""
    server = Server(plain)
    conn = plain.dial(server.listener)
    one, two = conn.pipeline(paths(6), depth=3), conn.pipeline(paths(6, 6), depth=3)
    for i in range(6):
        for pipeline, path in ((one, f"/{i}"), (two, f"/{i + 6}")):
            assert (await anext(pipeline)).path == path
            assert await conn.readall() == f"GET {path}".encode()
    assert await anext(one, None) is await anext(two, None) is None


# ---------------------------------------------------------------------------- disconnect()


async def test_disconnect_in_the_middle(wire: StyledWire) -> None:
    """It is an error once, and then the pipeline goes on."""
    server = Server(wire)
    conn = wire.dial(server.listener)
    pipeline = conn.pipeline(paths(9), depth=4)
    for path in paths(3):
        assert (await anext(pipeline)).path == path
    conn.disconnect()
    with pytest.raises(ConnectionClosed) as caught:
        await anext(pipeline)
    assert [request.path for request in caught.value.unanswered][:2] == ["/3", "/4"]
    got = [(response.path, await conn.readall()) async for response in pipeline]
    assert [path for path, _ in got] == paths(6, 3)
    assert [body for _, body in got] == expected(paths(6, 3))
    assert len(server.connections) == 2


async def test_disconnect_with_nothing_in_flight(wire: StyledWire) -> None:
    server = Server(wire)
    conn = wire.dial(server.listener)
    got = []
    async for response in conn.pipeline(paths(5), depth=1):
        got.append(response.path)
        await conn.discard()
        conn.disconnect()
    assert got == paths(5)
    assert len(server.connections) == 5


@pytest.mark.styles("generator", "blocking", "trio")  # in asyncio, no task runs while it sleeps
async def test_disconnect_by_somebody_else(wire: StyledWire) -> None:
    """A step that waits is woken; the request that goes alone is not repeated blindly."""
    listener = wire.listen()
    first, second = listener.peer(), listener.peer()
    conn = wire.dial(listener)
    first.expect_request(b"GET /0")
    first.reply(answer_to("GET /0"))
    first.expect_request(b"POST /1")
    first.call(conn.disconnect)
    pipeline = conn.pipeline(["/0", Request("POST", "/1", body=b"x"), "/2"])
    assert (await anext(pipeline)).path == "/0"
    with pytest.raises(ConnectionClosed) as caught:
        await anext(pipeline)
    assert caught.value.unanswered[0].path == "/1"
    assert not caught.value.safe_to_retry
    second.expect_request(b"GET /2")
    second.reply(answer_to("GET /2"))
    # The POST fails for good, whether the step that was woken was about it or the next one is.
    got: list[Outcome[Any]] = []
    failed: list[Outcome[Any]] = []
    for _ in range(3):
        outcome = await outcome_of(anext(pipeline, None))
        (got if outcome.error is None else failed).append(outcome)
    assert [outcome.value.path for outcome in got if outcome.value] == ["/2"]
    assert len(failed) <= 1
    for outcome in failed:
        assert isinstance(outcome.error, ConnectionClosed)
        assert outcome.error.unanswered[0].path == "/1"
        assert not outcome.error.safe_to_retry
    assert first.received.count(b"POST /1") == 1
    assert b"POST" not in second.received


def answer_to(name: str) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name.encode())


# ------------------------------------------------------------------------------ detach()


SWITCHES = {
    "101": (
        Request("GET", "/ws", {"Connection": "upgrade", "Upgrade": "echo"}),
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
    ),
    "CONNECT": (Request("CONNECT", "example.org:443"), b"HTTP/1.1 200 OK\r\n\r\n"),
}


@in_turn("switch", SWITCHES)
@in_turn("detaches", [True, False])
async def test_the_connection_leaves_http(plain: StyledWire, switch: str, detaches: bool) -> None:
    """It can be detached; in any case the rest goes over another one."""
    switching, response_bytes = SWITCHES[switch]

    def switch_or_answer(request: ReceivedRequest) -> bytes:
        return response_bytes + b"early" if request.target == switching.path else answer(request)

    server = Server(plain, answer=switch_or_answer)
    conn = plain.dial(server.listener)
    got = []
    async for response in conn.pipeline([*paths(3), switching, *paths(3, 3)]):
        got.append(response.path)
        if response.request is switching:
            assert response.status in (101, 200)
            if detaches:
                sock, early = conn.detach()
                plain.adopt(sock.close)
                assert early == b"early"
        else:
            assert await conn.readall() == f"GET {response.path}".encode()
    assert got == [*paths(3), switching.path, *paths(3, 3)]
    assert [seen.connection for seen in server.log] == [0, 0, 0, 0, 1, 1, 1]


async def test_an_announced_close_in_the_middle_of_a_left_loop(plain: StyledWire) -> None:
    """What was left on a connection that has ended is no hindrance either."""
    server = Server(plain, answer=lambda request: closing(answer(request)))
    conn = plain.dial(server.listener)
    async for response in conn.pipeline(paths(5)):
        if response.path == "/1":
            break
    await send_request(conn)
    assert server.targets == ["/0", "/1", "/else"]
