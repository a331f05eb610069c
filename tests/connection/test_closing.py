"""`disconnect` from another task or thread: waiting calls wake up, and nothing stays open."""

from __future__ import annotations

import gc
import io
import socket
import threading
import warnings
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from dugong import AsyncHTTPConnection, ConnectionClosed, HTTPConnection
from tests.support.concurrency import Library, both, nothing_left
from tests.support.stages import GUARD, Stage, at_every_stage, enter, stages
from tests.support.wire import HOST, Certificates


@both
@pytest.mark.parametrize("by", ["task", "thread"])
@at_every_stage
def test_disconnect_wakes_tasks(
    library: Library,
    by: str,
    name: str,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[str] = []

    async def main(stage: Stage) -> None:
        conn = AsyncHTTPConnection(**stage.options)
        for call in enter(conn, stage.before):
            await call()
        calls = enter(conn, stage.calls)

        async def wait(call: Callable[[], Awaitable[object]]) -> None:
            while call is not calls[0] and not conn.response_pending():
                await library.checkpoint()  # the request's turn comes first
            with pytest.raises(ConnectionClosed):
                await call()
            ended.append("closed")

        async def close() -> None:
            while not stage.reached(conn):
                await library.checkpoint()
            for _ in range(3):
                await library.checkpoint()
            assert not ended
            if by == "task":
                conn.disconnect()
            else:
                await library.in_thread(conn.disconnect)

        await library.together(*(partial(wait, call) for call in calls), close)
        assert len(ended) == len(calls)

    with nothing_left():
        with stages(name, certificates, monkeypatch) as stage:
            library.run(partial(main, stage))


@at_every_stage
def test_disconnect_wakes_threads(
    name: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[BaseException | None] = []

    def wait(call: Callable[[], object]) -> None:
        try:
            call()
        except BaseException as exc:
            ended.append(exc)
        else:
            ended.append(None)

    with nothing_left(), stages(name, certificates, monkeypatch) as stage:
        conn = HTTPConnection(**stage.options)
        for call in enter(conn, stage.before):
            call()
        calls = enter(conn, stage.calls)
        threads = []
        for call in calls:
            threads.append(threading.Thread(target=wait, args=[call]))
            threads[-1].start()
            while not (conn.response_pending() and stage.reached(conn)):
                threads[-1].join(0.001)
        for thread in threads:
            thread.join(0.05)
            assert thread.is_alive()  # it waits
        conn.disconnect()
        for thread in threads:
            thread.join(GUARD)
            assert not thread.is_alive()
        assert [type(exc) for exc in ended] == [ConnectionClosed] * len(calls)


def test_let_go_in_a_cycle() -> None:
    """The garbage collector finds the socket together with everything that would close it."""
    with socket.create_server((HOST, 0)) as listener:
        conn = HTTPConnection(*listener.getsockname())
        conn.on_event = partial(print, conn, file=io.StringIO())  # refers to the connection
        conn.connect()
        server, _ = listener.accept()
        with server, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del conn
            gc.collect()
            server.settimeout(GUARD)
            assert server.recv(1) == b""
    assert caught == []
