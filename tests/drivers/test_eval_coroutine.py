"""The blocking driver for coroutines, the user's own included."""

from __future__ import annotations

import socket
from collections.abc import Generator

import pytest

import dugong
from dugong import ConnectionTimedOut, PollNeeded, eval_coroutine
from tests.support.drive import advance, drive
from tests.support.exchanges import LENGTH, OK, ask, works
from tests.support.wire import Wire


def test_eval_coroutine_returns_the_result(plain: Wire) -> None:
    listener = plain.listen()
    conn, peer = plain.dial(listener), listener.peer()
    eval_coroutine(conn.co_send_request("GET", "/"))
    peer.expect_request()
    peer.reply(OK)
    while not peer.done:
        peer.step()
    assert eval_coroutine(conn.co_read_response()).status == 200
    assert eval_coroutine(conn.co_readall(), timeout=10) == b"hi"


def test_eval_coroutine_drives_generators_of_the_users_own() -> None:
    near, far = socket.socketpair()
    with near, far:

        def crt() -> Generator[PollNeeded, None, bytes]:
            yield dugong.PollNeeded(near.fileno(), dugong.POLLOUT)
            far.send(b"x")
            yield dugong.PollNeeded(near.fileno(), dugong.POLLIN)
            return near.recv(10)

        assert eval_coroutine(crt()) == b"x"


@pytest.mark.parametrize("timeout", [0, 0.001])
def test_eval_coroutine_times_out(timeout: float) -> None:
    near, far = socket.socketpair()
    ended = []

    def crt() -> Generator[PollNeeded, None, None]:
        try:
            yield dugong.PollNeeded(near.fileno(), dugong.POLLIN)
        finally:
            ended.append(True)

    with near, far, pytest.raises(ConnectionTimedOut):
        eval_coroutine(crt(), timeout)
    assert ended


def test_timeout_thrown_into_a_reading_coroutine_loses_nothing(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(LENGTH.wire[:-10])
    drive(ask(conn), peer)
    crt = conn.co_readall()
    advance(crt, peer)
    with pytest.raises(ConnectionTimedOut):
        crt.throw(ConnectionTimedOut("no byte for a while"))
    peer.reply(LENGTH.wire[-10:])
    assert drive(conn.co_readall(), peer) == LENGTH.payload
    works(conn, peer)


@pytest.mark.parametrize("timeout", [None, 60])
def test_eval_coroutine_resumes_after_the_time_the_coroutine_gives(timeout: float | None) -> None:
    near, far = socket.socketpair()

    def crt() -> Generator[PollNeeded, None, str]:
        yield PollNeeded(near.fileno(), dugong.POLLIN, 0.001)
        return "resumed anyway"

    with near, far:
        assert eval_coroutine(crt(), timeout) == "resumed anyway"
