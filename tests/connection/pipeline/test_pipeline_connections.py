"""`pipeline` and connections: handed over, refused, by way of a proxy, to servers of HTTP/1.0."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from dugong import ConnectionClosed, InvalidResponse, Request, StateError
from tests.support.exchanges import EMPTY, OK
from tests.support.in_turn import in_turn
from tests.support.pipeline_server import HOWS, Ending, How, Last, Server, answer
from tests.support.pipeline_walk import bodies, expected, paths, walk
from tests.support.received import ReceivedRequest
from tests.support.styles import StyledWire
from tests.support.uploads import drain
from tests.support.wire import HOST

# ------------------------------------------------------------------------ a socket handed over


async def test_a_socket_handed_over(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    for path in paths(5):
        peer.expect_request(f"GET {path} ".encode())
        peer.reply(OK)
    assert bodies(await walk(conn, paths(5))) == [b"hi"] * 5
    peer.check()


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_there_is_no_other(wire: StyledWire, how: str) -> None:
    """When it is closed, whatever is unanswered fails, and can be sent elsewhere."""
    conn, peer = wire.pair()
    for path in paths(3):
        peer.expect_request(f"GET {path} ".encode())
        peer.reply(OK)
    (peer.close if how == "close" else peer.reset)()
    requests = [Request("GET", path) for path in paths(6)]
    pipeline = conn.pipeline(requests, depth=3)
    for path in paths(3):
        assert (await anext(pipeline)).path == path
        assert await conn.readall() == b"hi"
    with pytest.raises((ConnectionClosed, StateError)) as caught:
        await anext(pipeline)
    if isinstance(caught.value, ConnectionClosed):
        assert caught.value.unanswered == tuple(requests[3:])
        assert caught.value.safe_to_retry
    with pytest.raises(StateError):
        await anext(pipeline)
    with pytest.raises(StateError):
        await anext(pipeline)


# ----------------------------------------------------------------------------------- refused


def refusing() -> tuple[str, int]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        host, port = sock.getsockname()
        return host, port


async def test_refused_at_first(wire: StyledWire) -> None:
    """Each step tries again, and loses nothing."""
    conn = wire.connection(HOST, address=refusing(), ssl_context=wire.client_context)
    server = Server(wire)
    requests = [Request("GET", path) for path in paths(5)]
    pipeline = conn.pipeline(requests, depth=3)
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError) as caught:
            await anext(pipeline)
        unanswered = vars(caught.value)["unanswered"]
        assert unanswered == tuple(requests[: len(unanswered)])
        assert unanswered
        assert vars(caught.value)["safe_to_retry"] is True
        assert vars(caught.value)["bytes_sent"] == 0
    conn._address = server.listener.address
    got = [response.request async for response in pipeline]
    assert got == requests


@in_turn("how", HOWS)
async def test_refused_at_a_reconnect(wire: StyledWire, how: How) -> None:
    """A POST that has not been sent is none that failed."""
    server = Server(wire, Ending(2, how), again=False)
    conn = wire.dial(server.listener)
    requests = [Request("POST" if i == 3 else "GET", path) for i, path in enumerate(paths(6))]
    pipeline = conn.pipeline(requests, depth=3)
    for path in paths(2):
        assert (await anext(pipeline)).path == path
        assert await conn.readall()
        conn._address = refusing()
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError) as caught:
            await anext(pipeline)
        assert vars(caught.value)["unanswered"][0] is requests[2]
        assert vars(caught.value)["safe_to_retry"] is True
    conn._address = server.listener.address
    assert [response.request async for response in pipeline] == requests[2:]
    assert server.times()["/3"] == 1


async def test_a_handshake_that_fails(tls: StyledWire) -> None:
    """The TLS library's own error, each time."""
    listener = tls.listen()
    for _ in range(2):
        peer = listener.peer(handshake=False)
        peer.reply(b"this is no TLS\r\n")
        peer.close()
    conn = tls.dial(listener)
    pipeline = conn.pipeline(paths(3))
    for _ in range(2):
        with pytest.raises(OSError):
            await anext(pipeline)
    last = listener.peer()
    for path in paths(3):
        last.expect_request(f"GET {path} ".encode())
        last.reply(EMPTY)
    assert [response.path async for response in pipeline] == paths(3)


# ------------------------------------------------------------------------------------ proxies


async def test_a_plain_proxy(plain: StyledWire) -> None:
    """Targets are in absolute form, and pipelined like any others."""
    server = Server(plain, Ending(4, "announced"))
    conn = plain.connection("example.org", proxy=server.listener.address)
    steps = await walk(conn, paths(9), depth=3)
    assert bodies(steps) == expected(f"http://example.org{path}" for path in paths(9))
    assert [step.request.path for step in steps] == paths(9)
    assert len(server.connections) == 3


async def test_a_tunnel_that_is_refused(tls: StyledWire) -> None:
    """That is raised like any failure to connect; the next step asks the proxy again."""
    listener = tls.listen()
    conn = tls.connection("example.org", proxy=listener.address, ssl_context=tls.client_context)
    pipeline = conn.pipeline(paths(2))
    for _ in range(2):
        proxy = listener.peer(handshake=False)
        proxy.expect_request(b"CONNECT example.org:443 ")
        proxy.reply(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        proxy.close()
        with pytest.raises(ConnectionError) as caught:
            await anext(pipeline)
        assert vars(caught.value)["status"] == 503


async def test_tunnels(tls: StyledWire) -> None:
    """Each new connection goes through one of its own."""
    listener = tls.listen()
    for start in (0, 3):
        proxy = listener.peer(handshake=False)
        proxy.expect_request(f"CONNECT {HOST}:443 ".encode())
        proxy.reply(b"HTTP/1.1 200 OK\r\n\r\n")
        proxy.start_tls(tls.certificates.server)
        for path in paths(3, start):
            proxy.expect_request(f"GET {path} ".encode())
            proxy.reply(OK)
        proxy.close()
    conn = tls.connection(HOST, proxy=listener.address, ssl_context=tls.client_context)
    steps = await walk(conn, paths(6), depth=2)
    assert [step.request.path for step in steps] == paths(6)
    assert bodies(steps) == [b"hi"] * 6


# ----------------------------------------------------------------------------------- HTTP/1.0


def of_1_0(request: ReceivedRequest, *fields: bytes) -> bytes:
    return answer(request, *fields).replace(b"HTTP/1.1", b"HTTP/1.0", 1)


@pytest.mark.parametrize("keeps", [True, False])
async def test_a_server_of_http_1_0(wire: StyledWire, keeps: bool) -> None:
    """It is asked for one thing at a time, on one connection if it keeps that."""
    server = Server(
        wire,
        answer=lambda request: (
            of_1_0(request, b"Connection: keep-alive") if keeps else Last(of_1_0(request))
        ),
    )
    conn = wire.dial(server.listener)
    steps = await walk(conn, paths(8), depth=4)
    assert bodies(steps) == expected(paths(8))
    assert all(seen.alone for seen in server.log)
    assert set(server.times().values()) == {1}
    assert len(server.connections) == (1 if keeps else 8)


async def test_a_server_that_falls_back_to_http_1_0(wire: StyledWire) -> None:
    """What is in flight then is answered or asked for again; nothing is pipelined any more."""
    server = Server(
        wire,
        answer=lambda request: Last(of_1_0(request)) if request.target == "/4" else answer(request),
    )
    conn = wire.dial(server.listener)
    steps = await walk(conn, paths(12), depth=3)
    assert bodies(steps) == expected(paths(12))
    assert all(seen.alone for seen in server.log if seen.connection == 1)


# ------------------------------------------------------- answers to what has not been asked for


async def test_a_response_that_comes_too_early(wire: StyledWire) -> None:
    """It is nobody's: who asks next must not take it for the answer."""
    conn, peer = wire.pair()
    peer.expect_request(b"GET /0 ")
    peer.reply(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
    pipeline = conn.pipeline(["/0", ("POST", "/1"), "/2"])
    assert (await anext(pipeline)).path == "/0"
    assert await conn.readall() == b"hi"
    with pytest.raises((ConnectionClosed, InvalidResponse, StateError)):
        await anext(pipeline)
    assert b"poison" not in await nothing_or_bytes(conn)


async def nothing_or_bytes(conn: Any) -> bytes:
    try:
        got: bytes = await conn.readall()
    except ConnectionClosed:
        return b""
    return got


POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"


@in_turn("later", [True, False])
@in_turn("place", [0, 1, 4])
@in_turn("method", ["GET", "POST"])
async def test_stray_responses(wire: StyledWire, method: str, place: int, later: bool) -> None:
    """A response more than was asked for, when nothing is in flight: another connection is made."""
    server = Server(
        wire,
        answer=lambda request: answer(request) + (POISON if request.target == f"/{place}" else b""),
    )
    conn = wire.dial(server.listener)
    got = []
    async for _ in conn.pipeline([(method, path) for path in paths(6)], depth=1):
        got.append(await conn.readall())
        if later:
            await conn.read(1)
    assert got == [f"{method} {path}".encode() for path in paths(6)]
    assert len(server.connections) == 2
    assert set(server.times().values()) == {1}


@in_turn("cut", [1, 10, len(POISON)])
async def test_beginnings_of_stray_responses(plain: StyledWire, cut: int) -> None:
    """As soon as any byte is there that nobody asked for, the connection is of no more use."""
    listener = plain.listen()
    first, second = listener.peer(), listener.peer()
    conn = plain.dial(listener)
    first.expect_request(b"GET /0 ")
    first.reply(OK + POISON[:cut])
    second.expect_request(b"GET /1 ")
    second.reply(EMPTY)
    assert bodies(await walk(conn, ["/0", "/1"])) == [b"hi", b""]
    second.check()
    assert b"GET /1 " not in first.received


async def test_a_response_before_any_request(plain: StyledWire) -> None:
    """The server talks first: that is no answer."""
    listener = plain.listen()
    first, second = listener.peer(), listener.peer()
    conn = plain.dial(listener)
    await conn.connect()
    while plain.step():
        pass
    first.reply(POISON)
    first.run()
    second.expect_request(b"GET /0 ")
    second.reply(OK)
    assert bodies(await walk(conn, ["/0"])) == [b"hi"]
    assert not first.received


async def test_while_a_large_body_is_sent(wire: StyledWire) -> None:
    """A second response, on the heels of that to a PUT whose body is still being sent, is not
    the answer to the next request, of which no byte was sent."""
    conn, peer = wire.pair(small=True)
    peer.expect_request(b"GET /hello ")
    peer.reply(OK)
    peer.expect_head(b"PUT /0 ")
    peer.reply(OK + POISON)
    requests: list[str | Request] = ["/hello", Request("PUT", "/0", body=bytes(1_000_000)), "/1"]
    pipeline = conn.pipeline(requests)
    assert (await anext(pipeline)).path == "/hello"
    assert (await anext(pipeline)).path == "/0"
    assert await conn.readall() == b"hi"
    drain(peer)
    with pytest.raises((ConnectionClosed, InvalidResponse, StateError)):
        response = await anext(pipeline)
        raise AssertionError(f"{response.request} is answered by {await conn.readall()!r}")


@pytest.mark.styles("generator")  # it has to be there before the request is sent
async def test_behind_what_is_in_flight(wire: StyledWire) -> None:
    """One response too many, received together with those that are due, and so before the next
    request was sent."""
    conn, peer = wire.pair()
    peer.expect_request(b"GET /0 ")
    peer.reply(OK)
    peer.expect_request(b"GET /1 ")
    peer.expect_request(b"GET /2 ")
    peer.reply(OK + OK + POISON)
    pipeline = conn.pipeline(paths(5), depth=2)
    for path in paths(3):
        assert (await anext(pipeline)).path == path
        assert await conn.readall() == b"hi"
    with pytest.raises((ConnectionClosed, InvalidResponse, StateError)):
        response = await anext(pipeline)
        raise AssertionError(f"{response.request} is answered by {await conn.readall()!r}")
