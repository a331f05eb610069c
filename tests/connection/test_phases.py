"""What a `ConnectionTimedOut` says of the wait that took too long, and which limit it was."""

from __future__ import annotations

import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from dugong import AsyncHTTPConnection, ConnectionTimedOut, HTTPConnection, Timeouts, eval_coroutine
from tests.support.drive import drive
from tests.support.exchanges import LENGTH
from tests.support.styles import StyledWire
from tests.support.wire import HOST, Wire

SHORT = 0.02

BIG = bytes(3_000_000)

#: By what is waited for: the phase, and the limit of `Timeouts`.
STAGES = {
    "resolve": ("resolve", "connect"),
    "connect": ("connect", "connect"),
    "tunnel": ("connect", "connect"),
    "tls": ("tls", "connect"),
    "send": ("send", "send"),
    "response": ("response", "receive"),
    "body": ("body", "receive"),
}

CONNECTING = ["resolve", "connect", "tunnel", "tls"]

#: What waits without an end.
Stuck = Callable[[], Awaitable[Any]]


@pytest.fixture
def lookups_hang(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No name is resolved before the end of the test."""
    done = threading.Event()

    def getaddrinfo(*args: object, **kwargs: object) -> list[Any]:
        if kwargs.get("flags") != socket.AI_NUMERICHOST:
            done.wait()
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield
    done.set()


@pytest.fixture
def full_address() -> Iterator[tuple[str, int]]:
    """Where a connection is neither made nor refused: the queue of the socket is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        fillers = [socket.socket() for _ in range(5)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        yield server.getsockname()
        for filler in fillers:
            filler.close()


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "resolve":
        request.getfixturevalue("lookups_hang")
    return name


def connecting(wire: Any, stage: str, full_address: tuple[str, int]) -> Any:
    """Return a connection that will not get further in connecting."""
    if stage == "resolve":
        return wire.connection("slow.example")
    if stage == "connect":
        return wire.connection(HOST, address=full_address)
    if stage == "tunnel":
        listener = wire.listen()
        listener.peer(handshake=False).expect_head()
        context = wire.certificates.client
        return wire.connection(HOST, proxy=listener.address, ssl_context=context)
    return wire.pair(handshake=False, ssl_context=wire.certificates.client)[0]


async def stuck(
    wire: StyledWire, stage: str, full_address: tuple[str, int]
) -> tuple[AsyncHTTPConnection, Stuck]:
    """Return a connection, and what gets stuck in this stage."""
    conn: AsyncHTTPConnection
    if stage in CONNECTING:
        conn = connecting(wire, stage, full_address)
        return conn, lambda: conn.request("GET", "/")
    conn, peer = wire.pair(small=stage == "send")
    if stage == "send":
        await conn.connect()
        return conn, lambda: conn.send_request("PUT", "/", body=BIG)
    await conn.send_request("GET", "/")
    if stage == "body":
        peer.expect_request()
        peer.reply(LENGTH.wire[:-1])
        await conn.read_response()
        return conn, conn.readall
    return conn, conn.read_response


@pytest.mark.styles("blocking", "asyncio", "trio")  # a generator knows no attribute
@pytest.mark.parametrize("limit", ["timeout", "deadline", "Timeouts"])
async def test_attributes(
    wire: StyledWire, stage: str, limit: str, full_address: tuple[str, int]
) -> None:
    conn, call = await stuck(wire, stage, full_address)
    phase, name = STAGES[stage]
    words = "not done within" if limit == "deadline" else "no data transferred for"
    if limit == "Timeouts":
        limits: dict[str, float | None] = dict.fromkeys(("pool", "connect", "send", "receive"))
        conn.timeout = Timeouts(**{**limits, name: SHORT})
        shown = f"timeout=Timeouts({name}=0.02)"
        words = "not connected within" if name == "connect" else words
    else:
        setattr(conn, limit, SHORT)
        shown = f"{limit}=0.02"
    with pytest.raises(ConnectionTimedOut) as info:
        await call()
    assert info.value.phase == phase
    message, _, where = str(info.value).partition(" (connecting to ")
    assert message == f"{words} 0.02 seconds (phase {phase!r}, {shown})"
    assert bool(where) == (stage in CONNECTING)


@pytest.mark.parametrize("stage", CONNECTING, indirect=True)
@pytest.mark.parametrize("limit", ["timeout", "deadline", "Timeouts"])
async def test_arguments(
    wire: StyledWire, stage: str, limit: str, full_address: tuple[str, int]
) -> None:
    """In every style. What comes after connecting is in `tests.connection.test_deadlines`."""
    conn = connecting(wire, stage, full_address)
    arguments: dict[str, Any] = {limit: SHORT}
    if limit == "Timeouts":
        arguments = {"timeout": Timeouts(connect=SHORT)}
    with pytest.raises(ConnectionTimedOut) as info:
        await conn.request("GET", "/", **arguments)
    assert info.value.phase == STAGES[stage][0]
    assert info.value.safe_to_retry
    assert not conn.connected


@pytest.mark.parametrize("how", ["timeout", "deadline", "Timeouts", "thrown"])
def test_other_drivers(wire: Wire, stage: str, how: str, full_address: tuple[str, int]) -> None:
    """`eval_coroutine`, and a loop that throws an exception of its own into the coroutine."""
    conn: HTTPConnection
    crt: Any
    if stage in CONNECTING:
        conn = connecting(wire, stage, full_address)
        crt = conn.co_request("GET", "/")
    else:
        conn, peer = wire.pair(small=stage == "send")
        drive(conn.co_connect(), peer)
        crt = conn.co_send_request("PUT", "/", body=BIG)
        if stage != "send":
            drive(conn.co_send_request("GET", "/"), peer)
            crt = conn.co_read_response()
        if stage == "body":
            peer.expect_request()
            peer.reply(LENGTH.wire[:-1])
            drive(crt, peer)
            crt = conn.co_readall()
    phase, name = STAGES[stage]
    with pytest.raises(ConnectionTimedOut) as info:
        if how == "thrown":
            next(crt)
            crt.throw(ConnectionTimedOut("enough"))
        elif how == "Timeouts":
            eval_coroutine(crt, Timeouts(**{name: SHORT}))
        else:
            eval_coroutine(crt, **{how: SHORT})
    assert info.value.phase == phase
