"""What a pool does for its callers, in every style."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from dugong import (
    BodyFollowing,
    ConnectionClosed,
    ConnectionTimedOut,
    HTTPConnection,
    InvalidRequest,
    Origin,
    Pool,
    StateError,
    Timeouts,
)
from tests.support.pooled import OK, OPERATIONS, StyledPool, answering, ask, bare, origin_of
from tests.support.styles import BlockingWire, StyledWire, awaitable, waiting
from tests.support.styles_in_loops import TrioWire

# ------------------------------------------------------------------------------- reuse


async def test_a_connection_is_used_again(wire: StyledWire) -> None:
    listener, pool = wire.listen(), StyledPool(wire)
    origin, peer = origin_of(listener, wire), answering(listener, 3)
    addresses = set()
    for _ in range(3):
        async with pool.lease(origin) as conn:
            await ask(conn)
            addresses.add(conn.local_address)
            assert pool.counts == (0, 1, 0, 0)
        assert pool.counts == (1, 0, 0, 0)
    assert len(addresses) == 1
    assert not peer.saw_eof
    pool.check()


async def test_the_most_recently_used_first(plain: StyledWire) -> None:
    listener, pool = plain.listen(), StyledPool(plain)
    origin = origin_of(listener, plain)
    conns = []
    for _ in range(3):
        answering(listener, 2)
        conns.append(await pool.acquire(origin))
        await ask(conns[-1])
    addresses = [conn.local_address for conn in conns]
    for conn in conns:
        pool.release(conn)
    again = [await pool.acquire(origin) for _ in range(2)]
    assert [conn.local_address for conn in again] == [addresses[2], addresses[1]]
    pool.check()


async def test_the_object_belongs_to_the_lease(plain: StyledWire) -> None:
    listener, pool = plain.listen(), StyledPool(plain)
    answering(listener)
    conn = await pool.acquire(origin_of(listener, plain))
    await ask(conn)
    pool.release(conn)
    ended = bare(conn)
    assert isinstance(ended, HTTPConnection) or pool.is_async
    for name in OPERATIONS:
        if hasattr(type(ended), name):
            with pytest.raises(StateError, match="lease of this connection has ended"):
                getattr(ended, name)
    with pytest.raises(StateError):
        ended.timeout = 5
    with pytest.raises(StateError):
        del ended.timeout
    with pytest.raises(StateError):
        ended.__enter__()
    # File objects that wrap it ask for these when they are finalized.
    assert ended.closed is True
    ended.flush()
    ended.close()
    pool.release(conn)  # to no effect
    assert pool.counts == (1, 0, 0, 0)


def test_no_operation_is_forgotten() -> None:
    public = {name for name, _ in inspect.getmembers(HTTPConnection) if not name.startswith("_")}
    missing = {name.removeprefix("co_") for name in public} - set(OPERATIONS) - {
        "address", "close", "closed", "continue_timeout", "deadline", "discard", "end_body",
        "fileno", "flush", "get_ssl_cipher", "get_ssl_peercert", "hash_body", "isatty",
        "local_address", "name", "peer_address", "port", "read_raw", "read_response", "readable",
        "seekable", "ssl_context", "tls_version", "truncate", "writable",
    }  # fmt: skip
    assert missing == set()  # all are refused in the same way; the test above tries some


async def test_each_lease_has_the_settings_of_the_pool(plain: StyledWire) -> None:
    listener = plain.listen()
    pool = StyledPool(plain, timeout=7, continue_timeout=3)
    origin = origin_of(listener, plain)
    answering(listener, 2)
    events: list[str] = []
    async with pool.lease(origin) as conn:
        conn.timeout, conn.continue_timeout, conn.on_event = 1, 2, events.append
        await ask(conn)
        assert conn.bytes_sent > 0
    seen = len(events)
    async with pool.lease(origin) as conn:
        assert (conn.timeout, conn.continue_timeout, conn.on_event) == (7, 3, None)
        assert (conn.bytes_sent, conn.bytes_received) == (0, 0)
        await ask(conn)
    assert len(events) == seen


async def test_a_connection_to_somewhere_else_is_not_kept(plain: StyledWire) -> None:
    listener, other, pool = plain.listen(), plain.listen(), StyledPool(plain)
    answering(other)
    async with pool.lease(origin_of(listener, plain)) as conn:
        conn.port = other.address[1]
        await ask(conn)
    assert pool.counts == (0, 0, 0, 0)


async def test_what_was_learned_is_kept(plain: StyledWire) -> None:
    """An HTTP/1.0 server understands no chunks, and closes each connection."""
    listener, pool = plain.listen(), StyledPool(plain)
    peer = listener.peer()
    peer.expect_request()
    peer.reply(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    origin = origin_of(listener, plain)
    async with pool.lease(origin) as conn:
        await ask(conn)
    async with pool.lease(origin) as conn:
        with pytest.raises(InvalidRequest, match=r"HTTP/1\.0"):
            await conn.request("PUT", "/", body=iter([b"data"]))
    pool.check()


# ------------------------------------------------------------------------------- not used again


async def end_unread(conn: Any) -> None:
    await conn.request("GET", "/")


async def end_half_read(conn: Any) -> None:
    await conn.request("GET", "/")
    await conn.read(1)


async def end_unanswered(conn: Any) -> None:
    await conn.send_request("GET", "/")


async def end_unfinished(conn: Any) -> None:
    await conn.send_request("PUT", "/", body=BodyFollowing(10))


@pytest.mark.parametrize("use", [end_unread, end_half_read, end_unanswered, end_unfinished])
async def test_unfinished_business(plain: StyledWire, use: Any) -> None:
    listener, pool = plain.listen(), StyledPool(plain)
    peer = listener.peer()
    peer.expect_head()
    peer.reply(OK)
    peer.expect_eof()
    async with pool.lease(origin_of(listener, plain)) as conn:
        await use(conn)
    assert pool.counts == (0, 0, 0, 0)
    pool.check()


async def test_announced_close(wire: StyledWire) -> None:
    listener, pool = wire.listen(), StyledPool(wire)
    origin = origin_of(listener, wire)
    for _ in range(2):
        peer = listener.peer()
        peer.expect_request()
        peer.reply(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi")
        async with pool.lease(origin) as conn:
            await ask(conn)
        assert pool.counts == (0, 0, 0, 0)


async def test_closed_by_the_server(wire: StyledWire) -> None:
    """It is examined when it is taken, also for `send_request`, which does not reconnect."""
    listener, pool = wire.listen(), StyledPool(wire)
    origin, peer = origin_of(listener, wire), answering(listener)
    peer.close()
    async with pool.lease(origin) as conn:
        await ask(conn)
    answering(listener)
    while not peer.done:
        assert wire.step()
    async with pool.lease(origin) as conn:
        await conn.send_request("GET", "/")
        assert (await conn.read_response()).status == 200
        assert await conn.readall() == b"hi"
    assert pool.counts == (1, 0, 0, 0)
    pool.check()


async def test_stray_bytes(plain: StyledWire) -> None:
    listener, pool = plain.listen(), StyledPool(plain)
    origin, peer = origin_of(listener, plain), answering(listener)
    async with pool.lease(origin) as conn:
        await ask(conn)
    peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    while not peer.done:
        assert plain.step()
    answering(listener)
    async with pool.lease(origin) as conn:
        await ask(conn)


async def test_dead_ones_are_passed_over(plain: StyledWire) -> None:
    """The most recently used one is closed; the next one is not."""
    listener, pool = plain.listen(), StyledPool(plain)
    origin = origin_of(listener, plain)
    peers, conns = [answering(listener, 2), answering(listener)], []
    for _ in peers:
        conns.append(await pool.acquire(origin))
        await ask(conns[-1])
    address = conns[0].local_address
    for conn in conns:
        pool.release(conn)
    assert pool.counts == (2, 0, 0, 0)  # which carries out what was posted
    peers[1].close()
    while not peers[1].done:
        assert plain.step()
    async with pool.lease(origin) as conn:
        assert conn.local_address == address
        await conn.send_request("GET", "/")
        while not peers[0].done:
            assert plain.step()
        pool.pool.close_idle()  # the response has arrived: the pool does not look at it
        assert (await conn.read_response()).status == 200
        assert await conn.readall() == b"hi"
    assert pool.counts == (1, 0, 0, 0)
    pool.check()


async def test_detach(plain: StyledWire) -> None:
    listener, pool = plain.listen(), StyledPool(plain)
    peer = listener.peer()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nmore")
    conn = await pool.acquire(origin_of(listener, plain))
    response = await conn.request("GET", "/", {"Upgrade": "x", "Connection": "Upgrade"})
    assert response.status == 101
    sock, received = conn.detach()
    with sock:
        assert received == b"more"
        assert pool.counts == (0, 0, 0, 0)
        with pytest.raises(StateError):
            bare(conn).connected  # noqa: B018 - a property
    pool.release(conn)
    assert pool.counts == (0, 0, 0, 0)


# ------------------------------------------------------------------------------- waiting


async def test_waiting_for_a_slot(wire: StyledWire) -> None:
    listener, pool = wire.listen(), StyledPool(wire, per_host=1)
    origin = origin_of(listener, wire)
    answering(listener, 4)
    order: list[int] = []

    async def use(number: int) -> None:
        async with pool.lease(origin) as conn:
            await ask(conn, f"/{number}")
            order.append(number)

    for outcome in await wire.together(*map(use, range(4))):
        outcome.get()
    assert sorted(order) == [0, 1, 2, 3]
    if not isinstance(wire, (BlockingWire, TrioWire)):  # where threads and tasks begin in any order
        assert order == [0, 1, 2, 3]
    assert pool.counts == (1, 0, 0, 0)
    pool.check()


@pytest.mark.styles("generator", "asyncio", "trio")
async def test_a_caller_that_gives_up(plain: StyledWire) -> None:
    """It leaves nothing, and no slot that is granted to it is lost."""
    listener, pool = plain.listen(), StyledPool(plain, per_host=1)
    origin, peer = origin_of(listener, plain), answering(listener)
    first = await pool.acquire(origin)
    await ask(first)
    await plain.stop(pool.acquire(origin))
    assert pool.counts == (0, 1, 0, 0)
    pool.release(first)
    peer.expect_request()
    peer.reply(OK)
    async with pool.lease(origin) as conn:
        await ask(conn)
    pool.check()


@pytest.mark.parametrize("limit", [0.05, Timeouts(pool=0.05)], ids=["number", "Timeouts"])
@pytest.mark.styles("blocking", "asyncio", "trio")
async def test_no_slot_in_time(plain: StyledWire, limit: Any) -> None:
    listener, pool = plain.listen(), StyledPool(plain, per_host=2, timeout=limit)
    origin = origin_of(listener, plain)
    peer = listener.peer()
    peer.expect_request()
    conns = [await pool.acquire(origin) for _ in range(2)]
    await conns[0].send_request("GET", "/slow?token=secret")
    with pytest.raises(ConnectionTimedOut) as info:
        await pool.acquire(origin)
    assert (info.value.phase, info.value.safe_to_retry) == ("pool", True)
    text = str(info.value)
    assert "no connection of the pool became free for 0.05 seconds" in text
    assert "per_host=2 slots are leased to" in text
    assert f"{origin} (GET /slow, " in text
    assert f"{origin} (connecting, " in text
    assert "secret" not in text
    assert pool.counts == (0, 1, 1, 0)
    pool.check()


@pytest.mark.styles("generator")
async def test_event_of_waiting(plain: StyledWire) -> None:
    listener, pool = plain.listen(), StyledPool(plain, per_host=1)
    origin = origin_of(listener, plain)
    events: list[str] = []
    conn = await waiting(pool.pool.co_acquire(origin, on_event=events.append))
    assert events == []
    waits = pool.pool.co_acquire(origin, on_event=events.append)
    next(waits)
    assert events == ["waiting"]
    pool.pool.release(conn)
    conn = await waiting(waits)
    answering(listener)
    await ask(awaitable(conn))
    assert events[:3] == ["waiting", "resolved", "connecting"]
    assert events[-1] == "done"


@pytest.mark.styles("generator")
async def test_closing_fails_waiting_callers(plain: StyledWire) -> None:
    listener, pool = plain.listen(), StyledPool(plain, per_host=1)
    origin = origin_of(listener, plain)
    peer = answering(listener)
    leased = await pool.acquire(origin)
    await ask(leased)
    waits = pool.pool.co_acquire(origin)
    need = next(waits)
    assert not need.poll(0)
    pool.pool.close()
    assert need.poll(0)
    with pytest.raises(StateError, match="the pool is closed"):
        next(waits)
    with pytest.raises(StateError):
        bare(leased).connected  # noqa: B018 - a property
    with pytest.raises(StateError, match="make a new one"):
        await pool.acquire(origin)
    peer.expect_eof()
    while not peer.done:
        assert plain.step()
    pool.pool.close()
    assert pool.counts == (0, 0, 0, 0)
    pool.release(leased)
    pool.check()
    assert not pool.pool._machine.leases


async def test_closing_ends_a_call(plain: StyledWire) -> None:
    """Of another thread or task, which is using a connection of the pool."""
    listener, pool = plain.listen(), StyledPool(plain)
    peer = listener.peer()
    peer.expect_request()
    peer.call(pool.pool.close)

    async def use() -> None:
        async with pool.lease(origin_of(listener, plain)) as conn:
            await conn.request("GET", "/")

    (outcome,) = await plain.together(use())
    assert isinstance(outcome.error, (ConnectionClosed, StateError))
    assert pool.counts == (0, 0, 0, 0)


async def test_releasing_under_a_call(plain: StyledWire) -> None:
    """The connection is in use, so it is closed, and the call ends."""
    listener, pool = plain.listen(), StyledPool(plain)
    conn = await pool.acquire(origin_of(listener, plain))
    peer = listener.peer()
    peer.expect_request()
    peer.call(lambda: pool.release(conn))
    (outcome,) = await plain.together(conn.request("GET", "/"))
    assert isinstance(outcome.error, (ConnectionClosed, StateError))
    assert pool.counts == (0, 0, 0, 0)


# ------------------------------------------------------------------------------- time


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_idle_for_too_long(plain: StyledWire) -> None:
    """Closed by the next call, whatever that is."""
    listener, pool = plain.listen(), StyledPool(plain, idle_timeout=60)
    pool.pool._clock = clock = Clock()
    peer = answering(listener)
    peer.expect_eof()
    async with pool.lease(origin_of(listener, plain)) as conn:
        await ask(conn)
    clock.now += 59.9
    assert pool.counts == (1, 0, 0, 0)
    clock.now += 0.1
    assert pool.counts == (0, 0, 0, 0)
    while not peer.done:
        assert plain.step()


@pytest.mark.parametrize("looked", [False, True], ids=["short way", "full way"])
async def test_idle_for_too_long_when_it_is_taken(plain: StyledWire, looked: bool) -> None:
    """It is closed, and not used: the server may be about to close it."""
    listener, pool = plain.listen(), StyledPool(plain, idle_timeout=60)
    pool.pool._clock = clock = Clock()
    origin = origin_of(listener, plain)
    peer = answering(listener, 2)
    peer.expect_eof()
    for seconds in (59.9, 60):
        async with pool.lease(origin) as conn:
            await ask(conn)
        if looked:
            assert pool.counts == (1, 0, 0, 0)  # which carries out what was posted
        clock.now += seconds
    async with pool.lease(origin) as conn:
        assert not conn.connected
    assert pool.counts == (0, 0, 0, 0)
    while not peer.done:
        assert plain.step()
    pool.check()


async def test_a_connection_that_is_too_old(plain: StyledWire) -> None:
    listener, pool = plain.listen(), StyledPool(plain, max_age=100, idle_timeout=None)
    origin = origin_of(listener, plain)
    pool.pool._clock = clock = Clock()
    answering(listener, 2)
    async with pool.lease(origin) as conn:
        await ask(conn)
    clock.now += 89
    async with pool.lease(origin) as conn:
        assert conn.connected
        await ask(conn)
    assert pool.counts == (1, 0, 0, 0)
    clock.now += 11
    async with pool.lease(origin) as conn:  # too old when it is taken
        assert not conn.connected
        answering(listener)
        await ask(conn)
        clock.now += 100
    assert pool.counts == (0, 0, 0, 0)  # too old when it is returned
    pool.check()


@pytest.mark.styles("generator")
async def test_connections_made_together_expire_at_different_times(plain: StyledWire) -> None:
    listener, pool = plain.listen(), StyledPool(plain, max_age=100)
    pool.pool._clock = clock = Clock()
    conns = []
    for _ in range(10):
        listener.peer()
        conns.append(await pool.acquire(origin_of(listener, plain)))
        await conns[-1].connect()
    expiries = {vars(bare(conn))["_lease"].expires - clock.now for conn in conns}
    assert 90 <= min(expiries) < max(expiries) <= 100


async def test_close_idle(plain: StyledWire) -> None:
    listener, pool = plain.listen(), StyledPool(plain)
    answering(listener, 2)
    for _ in range(2):
        async with pool.lease(origin_of(listener, plain)) as conn:
            await ask(conn)
    pool.pool.close_idle()
    assert pool.counts == (0, 0, 0, 0)


@pytest.mark.parametrize("limits", [{"max_connections": 1}, {"max_idle": 1}], ids=str)
async def test_room_for_another_host(plain: StyledWire, limits: dict[str, int]) -> None:
    one, two, pool = plain.listen(), plain.listen(), StyledPool(plain, **limits)
    peer = answering(one)
    peer.expect_eof()
    answering(two)
    for listener in (one, two):
        async with pool.lease(origin_of(listener, plain)) as conn:
            await ask(conn)
    assert pool.counts == (1, 0, 0, 0)
    (origin,) = pool.stats.hosts
    assert origin.port == two.address[1]
    while not peer.done:
        assert plain.step()
    pool.check()


# ------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"max_connections": 0}, InvalidRequest),
        ({"per_host": 0}, InvalidRequest),
        ({"per_host": 1.5}, TypeError),
        ({"max_idle": -1}, InvalidRequest),
        ({"idle_timeout": -1}, InvalidRequest),
        ({"max_age": "x"}, TypeError),
        ({"timeout": "x"}, TypeError),
        ({"proxy": "ftp://x"}, InvalidRequest),
        ({"ssl_context": True}, TypeError),
        ({"hostname": "x"}, TypeError),
        ({"address": ("x", 1)}, TypeError),
    ],
    ids=str,
)
def test_arguments(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Pool(**arguments)


def test_origin_is_checked_immediately() -> None:
    pool = Pool()
    for call in (pool.acquire, pool.co_acquire, pool.connection):
        with pytest.raises(InvalidRequest, match="must be a URL"):
            call("www.example.org")
        with pytest.raises(TypeError, match="origin must be a URL or an Origin"):
            call(None)  # type: ignore[arg-type]
    assert pool.stats().hosts == {}


def test_release_of_something_else() -> None:
    pool, other = Pool(), Pool()
    with pytest.raises(TypeError, match="a connection of this pool, not HTTPConnection"):
        pool.release(HTTPConnection("localhost"))
    conn = other.acquire("http://localhost")
    with pytest.raises(TypeError, match="belongs to another pool"):
        pool.release(conn)
    other.release(conn)
    pool.release(conn)  # it has ended, so it belongs to none
    assert other.stats().hosts == {}


def test_stats_of_each_host() -> None:
    pool = Pool()
    conns = [pool.acquire(f"http://{host}.example") for host in "aab"]
    stats = pool.stats()
    assert {str(origin): each.connecting for origin, each in stats.hosts.items()} == {
        "http://a.example": 2,
        "http://b.example": 1,
    }
    assert stats.connecting == 3
    for conn in conns:
        pool.release(conn)
    assert pool.stats().hosts == {}
    assert Origin("http", "a.example") not in pool.stats().hosts


async def test_no_attribute_of_a_session_is_forgotten(plain: StyledWire) -> None:
    """When it is continued by another one."""
    listener, pool = plain.listen(), StyledPool(plain)
    origin, seen = origin_of(listener, plain), []
    answering(listener, 2)
    for _ in range(2):
        async with pool.lease(origin) as conn:
            await ask(conn)
            seen.append({*vars(bare(conn)._session)} - {"fresh_until"})
    assert seen[0] == seen[1]
