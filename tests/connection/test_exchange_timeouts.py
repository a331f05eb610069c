"""`timeout` of one exchange, both limits in loops of other kinds, and what they may be."""

from __future__ import annotations

import asyncio
import select
from typing import Any

import pytest

from dugong import (
    POLLIN,
    POLLOUT,
    AioFuture,
    ConnectionTimedOut,
    InvalidRequest,
    Timeouts,
    eval_coroutine,
)
from tests.connection.test_deadlines import SHORT, timed
from tests.support.drive import drive
from tests.support.exchanges import LENGTH, OK, PAYLOAD, works
from tests.support.in_turn import in_turn
from tests.support.styles import StyledWire
from tests.support.wire import Wire

# -------------------------------------------------------------------------- timeout of one


async def test_timeout_replaces_the_attribute(wire: StyledWire) -> None:
    """Up to the last byte of the body. The next exchange has the attribute again."""
    conn, peer = wire.pair()
    await conn.connect()
    conn.timeout = 0
    for timeout in (None, 60, Timeouts(), Timeouts(send=None, receive=None)):
        peer.expect_request()
        peer.reply(LENGTH.wire, chunk=30)
        assert (await conn.request("GET", "/", timeout=timeout)).status == 200
        assert await conn.readall() == PAYLOAD


@pytest.mark.styles("blocking", "asyncio", "trio")  # a generator knows no attribute
async def test_the_attribute_is_for_all_others(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    await conn.connect()
    peer.expect_request()
    peer.reply(LENGTH.wire)
    await conn.request("GET", "/", timeout=60)
    assert await conn.readall() == PAYLOAD
    conn.timeout = SHORT
    with pytest.raises(ConnectionTimedOut, match=r"timeout=0\.02"):
        await conn.request("GET", "/", deadline=3600)


@pytest.mark.parametrize("limit", [SHORT, Timeouts(receive=SHORT)])
async def test_a_shorter_timeout(wire: StyledWire, limit: Any) -> None:
    conn, peer = wire.pair()
    await conn.connect()
    with pytest.raises(ConnectionTimedOut, match=r"no data transferred for 0\.02 seconds") as info:
        await conn.request("GET", "/", timeout=limit)
    assert info.value.phase == "response"
    peer.expect_request()
    peer.reply(OK)
    peer.run()
    assert (await conn.read_response()).status == 200
    assert await conn.readall() == b"hi"


async def test_bytes_that_move_begin_the_time_anew(wire: StyledWire) -> None:
    conn, peer, clock = timed(wire)
    peer.expect_request()
    peer.reply(LENGTH.head)
    for i in range(len(PAYLOAD)):
        peer.call(lambda: clock.turn(0.1))
        peer.reply(PAYLOAD[i : i + 1])
    await conn.request("GET", "/", timeout=4)
    assert await conn.readall() == PAYLOAD


# ----------------------------------------------------------------------------- other loops


def by_select(crt: Any) -> Any:
    """The loop of a program that does its own waiting."""
    while True:
        try:
            need = next(crt)
        except StopIteration as stop:
            return stop.value
        readers = [need.fd] if need.mask & POLLIN else []
        writers = [need.fd] if need.mask & POLLOUT else []
        select.select(readers, writers, [], need.timeout)


def by_aio_future(crt: Any) -> Any:
    async def main() -> Any:
        return await AioFuture(crt)

    return asyncio.run(main())


def impatiently(crt: Any) -> Any:
    """Resume it early, again and again."""
    while True:
        try:
            next(crt)
        except StopIteration as stop:
            return stop.value


LOOPS = {
    "select": by_select,
    "AioFuture": by_aio_future,
    "eval_coroutine": eval_coroutine,
    "impatient": impatiently,
}


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_in_any_loop(wire: Wire, loop: Any) -> None:
    """It only has to honour `PollNeeded.timeout`."""
    conn, peer = wire.pair()
    drive(conn.co_connect(), peer)
    with pytest.raises(ConnectionTimedOut, match="deadline"):
        # Long enough to send the request, also on a busy machine.
        loop(conn.co_request("GET", "/", deadline=10 * SHORT))
    with pytest.raises(ConnectionTimedOut, match="deadline"):
        loop(conn.co_read_response())
    conn.disconnect()
    conn, peer = wire.pair()
    drive(conn.co_connect(), peer)
    with pytest.raises(ConnectionTimedOut, match="timeout"):
        loop(conn.co_request("GET", "/", timeout=SHORT))
    peer.expect_request()
    peer.reply(OK)
    peer.run()
    assert loop(conn.co_read_response()).status == 200
    assert loop(conn.co_readall()) == b"hi"
    works(conn, peer)


# ------------------------------------------------------------------------------- arguments


@in_turn("name", ["timeout", "deadline"])
@in_turn(
    ("value", "error"),
    [(-1, InvalidRequest), (float("nan"), InvalidRequest), ("5", TypeError), ((1, 5), TypeError)],
)
async def test_arguments(plain: StyledWire, name: str, value: Any, error: type[Exception]) -> None:
    conn, _ = plain.pair()
    arguments: dict[str, Any] = {name: value}
    with pytest.raises(error, match=name):
        await conn.request("GET", "/", **arguments)
    if name == "deadline":
        with pytest.raises(error, match=name):
            await conn.send_request("GET", "/", deadline=value)
        with pytest.raises(error, match=name):
            conn.pipeline(["/"], deadline=value)
    assert not conn.response_pending()
    assert conn.bytes_sent == 0
