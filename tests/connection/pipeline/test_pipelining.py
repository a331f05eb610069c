"""Several requests in flight, and how sending and receiving fail separately."""

from __future__ import annotations

from collections import deque

import pytest

from dugong import BodyFollowing, ConnectionClosed, InvalidResponse, StateError
from tests.support.exchanges import (
    CHUNKED,
    EMPTY,
    LENGTH,
    OK,
    PAYLOAD,
    SELF_DELIMITED,
    Sample,
    ask,
    fetch,
    works,
)
from tests.support.in_turn import in_turn
from tests.support.styles import StyledWire

LAST = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"


def paths(error: ConnectionClosed) -> list[str]:
    return [request.path for request in error.unanswered]


@pytest.mark.parametrize("chunk", [None, 1])
async def test_responses_come_in_order(wire: StyledWire, chunk: int | None) -> None:
    conn, peer = wire.pair(chunk=chunk)
    bodies = [b"first", b"", b"third" * 5]
    for i in range(3):
        await conn.send_request("GET", f"/{i}")
        peer.expect_request(b"GET /%d " % i)
    peer.reply(
        b"".join(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(b), b) for b in bodies)
    )
    for i, body in enumerate(bodies):
        response = await conn.read_response()
        assert (response.path, response.method) == (f"/{i}", "GET")
        assert await conn.readall() == body
    await works(conn, peer)


async def test_each_response_is_framed_for_its_own_request(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    for method in ("HEAD", "GET", "HEAD", "PUT"):
        await conn.send_request(method, "/")
        peer.expect_request(method.encode())
    peer.reply(LENGTH.head + CHUNKED.wire + CHUNKED.head + LENGTH.wire)
    bodies = []
    for _ in range(4):
        response = await conn.read_response()
        bodies.append((response.method, await conn.readall()))
    assert bodies == [("HEAD", b""), ("GET", PAYLOAD), ("HEAD", b""), ("PUT", PAYLOAD)]
    await works(conn, peer)


async def test_many_requests_by_two_coroutines(wire: StyledWire) -> None:
    conn, peer = wire.pair(small=True)
    count = 300
    body = bytes(500)
    for i in range(count):
        peer.expect_request(b"GET /%d " % i)
        peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + body)

    async def send() -> None:
        for i in range(1, count):
            await conn.send_request("GET", f"/{i}", headers={"X-Pad": "x" * 100})
            sent.append(i)

    async def read() -> None:
        while sent:
            response = await conn.read_response()
            assert response.path == f"/{sent.popleft()}"
            assert await conn.readall() == body

    sent = deque([0])
    await conn.send_request("GET", "/0")
    sending, reading = await wire.together(send(), read())
    sending.get()
    reading.get()
    await read()
    await works(conn, peer)


# --------------------------------------------------------------------------- announced close


@in_turn(
    "last",
    [
        LAST,
        b"HTTP/1.1 200 OK\r\nconnection: foo , CLOSE\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    ],
    ids=["close", "close in a list", "HTTP/1.0"],
)
@in_turn("closes", [True, False], ids=["and closes", "and stays"])
async def test_announced_close_with_requests_in_flight(
    wire: StyledWire, last: bytes, closes: bool
) -> None:
    conn, peer = wire.pair()
    for i in range(4):
        await conn.send_request("POST" if i == 3 else "GET", f"/{i}")
        peer.expect_request()
    peer.reply(OK + last)
    if closes:
        peer.close()
    assert not (await conn.read_response()).will_close
    await conn.readall()
    response = await conn.read_response()
    assert response.will_close
    assert await conn.readall() == b"hi"
    with pytest.raises(ConnectionClosed) as info:
        await conn.read_response()
    assert paths(info.value) == ["/2", "/3"]
    assert not info.value.response_started


async def test_announced_close_before_the_next_request(wire: StyledWire) -> None:
    """Nothing of the next request is written, and the call after it connects afresh."""
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    first.expect_request(b"GET /last")
    first.reply(LAST)
    response, _ = await fetch(conn, path="/last")
    assert response.will_close
    before = conn.bytes_sent
    with pytest.raises(ConnectionClosed) as info:
        await conn.send_request("POST", "/more", body=b"abc")
    assert (info.value.bytes_sent, info.value.safe_to_retry) == (0, True)
    assert conn.bytes_sent in (0, before)
    assert not conn.response_pending()
    await works(conn, second)
    assert len(first.requests) == 1


async def test_keep_alive_of_http_1_0(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nhi")
    response, body = await fetch(conn)
    assert (response.will_close, body) == (False, b"hi")
    await works(conn, peer)


# ------------------------------------------------------------------- sending and receiving


@in_turn("sample", SELF_DELIMITED, ids=str)
async def test_responses_are_delivered_after_sending_broke(
    wire: StyledWire, sample: Sample
) -> None:
    """The peer answers what it got and closes while a large request is being sent."""
    conn, peer = wire.pair(small=True)
    for i in range(2):
        peer.expect_request(b"GET /%d" % i)
        await conn.send_request("GET", f"/{i}")
    await wire.stop(conn.send_request("PUT", "/big", body=bytes(1_000_000)))
    peer.reply(sample.wire * 2)
    for i in range(2):
        assert (await conn.read_response()).path == f"/{i}"
        assert await conn.readall() == sample.payload
    peer.close()
    with pytest.raises(ConnectionClosed) as info:
        await conn.read_response()
    assert paths(info.value) == ["/big"]
    assert 0 < info.value.bytes_sent < 1_000_000
    with pytest.raises(ConnectionClosed):
        await conn.send_request("GET", "/")


async def test_final_response_to_the_request_that_was_cut_off(wire: StyledWire) -> None:
    """Say a 413 while the body is on its way; then there is nothing more."""
    conn, peer = wire.pair(small=True)
    peer.expect_head(b"PUT /big")
    await conn.connect()
    await wire.stop(conn.send_request("PUT", "/big", body=bytes(1_000_000)))
    peer.reply(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
    peer.run()
    response = await conn.read_response()
    assert (response.status, response.path) == (413, "/big")
    assert await conn.readall() == b"no"
    with pytest.raises((ConnectionClosed, StateError)):
        await conn.read_response()
    with pytest.raises(ConnectionClosed):
        await conn.send_request("GET", "/")


async def test_peer_that_answers_and_hangs_up_while_a_body_is_sent(wire: StyledWire) -> None:
    """Sending fails; the response that arrived before can still be read."""
    conn, peer = wire.pair()
    peer.expect_head(b"PUT /big")
    await conn.send_request("PUT", "/big", body=BodyFollowing(100_000_000))
    peer.run()
    peer.reply(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
    peer.close()
    peer.run()

    async def write_all() -> None:
        for _ in range(1000):
            await conn.write(bytes(100_000))

    with pytest.raises(ConnectionClosed) as info:
        await write_all()
    assert info.value.bytes_sent > 0
    response = await conn.read_response()
    assert response.status == 413
    assert await conn.readall() == b"no"


async def test_sending_fails_while_reading_goes_on(wire: StyledWire) -> None:
    conn, peer = wire.pair(small=True)
    peer.expect_request(b"GET /one")
    peer.reply(LENGTH.wire)
    await conn.send_request("GET", "/one")
    await conn.read_response()
    await wire.stop(conn.send_request("PUT", "/two", body=bytes(1_000_000)))
    assert await conn.readall() == PAYLOAD


async def test_protocol_error_leaves_later_requests_unanswered(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    for i in range(3):
        await conn.send_request("GET", f"/{i}")
        peer.expect_request()
    peer.reply(OK + b"what is this?\r\n\r\n" + OK)
    await conn.read_response()
    await conn.readall()
    with pytest.raises(InvalidResponse) as info:
        await conn.read_response()
    assert [request.path for request in info.value.unanswered] == ["/1", "/2"]
    with pytest.raises(ConnectionClosed):
        await conn.read_response()


async def test_unanswered_requests_describe_themselves(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    await conn.send_request("PUT", "/a", {"X-One": "1"}, body=b"abc")
    await conn.send_request("GET", "/b")
    peer.expect_request()
    peer.expect_request()
    peer.close()
    with pytest.raises(ConnectionClosed) as info:
        await conn.read_response()
    assert [(request.method, request.path) for request in info.value.unanswered] == [
        ("PUT", "/a"),
        ("GET", "/b"),
    ]


async def test_close_between_two_responses(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    for i in range(2):
        await conn.send_request("GET", f"/{i}")
        peer.expect_request()
    peer.reply(OK)
    peer.close()
    assert (await conn.read_response()).path == "/0"
    assert await conn.readall() == b"hi"
    with pytest.raises(ConnectionClosed) as info:
        await conn.read_response()
    assert paths(info.value) == ["/1"]
    assert not info.value.response_started


async def test_response_nobody_asked_for_is_never_taken_for_the_next_one(wire: StyledWire) -> None:
    """Two responses to one request: what came too much must not answer what is sent later."""
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    await ask(conn)
    assert await conn.readall() == b"hi"
    with pytest.raises(ConnectionClosed) as info:
        await conn.send_request("GET", "/next")
    assert (info.value.bytes_sent, info.value.safe_to_retry) == (0, True)
    assert EMPTY not in peer.received


async def test_announced_close_while_the_body_is_still_being_read(wire: StyledWire) -> None:
    """The next request is refused; the response that announced it can be read to its end."""
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(LAST)
    await ask(conn)
    with pytest.raises(ConnectionClosed):
        await conn.send_request("GET", "/next")
    assert await conn.readall() == b"hi"
    assert len(peer.requests) == 1


@pytest.mark.parametrize("expect100", [True, False])
async def test_earlier_response_while_a_later_body_is_unfinished(
    wire: StyledWire, expect100: bool
) -> None:
    conn, peer = wire.pair()
    peer.expect_request(b"GET /one")
    peer.expect_head(b"PUT /two")
    peer.reply(OK)
    await conn.send_request("GET", "/one")
    body = BodyFollowing(5)
    await conn.send_request("PUT", "/two", body=body, expect100=expect100)
    assert (await conn.read_response()).path == "/one"
    assert await conn.readall() == b"hi"
    if expect100:
        peer.reply(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert (await conn.read_response()).status == 100
    with pytest.raises(StateError):
        await conn.read_response()
    peer.expect(b"hello")
    peer.reply(EMPTY)
    await conn.write(b"hello")
    assert (await conn.read_response()).path == "/two"
    await works(conn, peer)


async def test_what_came_before_a_request_is_not_its_response(wire: StyledWire) -> None:
    """RFC 9112 section 9.2. With others in flight too, where the connection is never idle."""
    conn, peer = wire.pair()
    for path in (b"/1", b"/2"):
        await conn.send_request("GET", path.decode())
        peer.expect_request(b"GET %b " % path)
    poison = OK
    peer.reply(LENGTH.wire + LENGTH.wire + poison)
    await conn.read_response()
    assert await conn.readall() == PAYLOAD
    await conn.send_request("GET", "/3")
    await conn.read_response()
    assert await conn.readall() == PAYLOAD
    with pytest.raises(InvalidResponse):
        await conn.read_response()
    with pytest.raises(ConnectionClosed):
        await conn.send_request("GET", "/4")
