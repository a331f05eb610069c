"""Cancelled and dropped requests of the transports for httpx and httpx2."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio

from tests.adapters.httpx_kits import Kit, each_kit, kits
from tests.adapters.raw import read_head, serving
from tests.support.site import Reply, Site


class Stages:
    """A server that stops at a given stage, and reports when it has come there."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._loop: Any = None

    def serve(self, sock: socket.socket) -> None:
        read_head(sock)
        if self._stage == "body":
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        self.report()
        while sock.recv(1000):
            pass

    def report(self) -> None:
        self._reached()

    def prepare(self, kit: Kit) -> Callable[[], Any]:
        """Return a function that waits for the stage, for another task."""
        if kit.style == "trio":
            trio_event, token = trio.Event(), trio.lowlevel.current_trio_token()
            self._reached: Callable[[], Any] = lambda: token.run_sync_soon(trio_event.set)
            return trio_event.wait
        event, loop = asyncio.Event(), asyncio.get_running_loop()
        self._reached = lambda: loop.call_soon_threadsafe(event.set)
        return event.wait


async def _cancel_when(kit: Kit, wait: Any, call: Callable[[], Any]) -> None:
    """Run *call* in a task that is cancelled once *wait* has returned."""
    if kit.style == "trio":
        async with trio.open_nursery() as nursery:

            async def cancelled() -> None:
                with trio.CancelScope() as scope:
                    nursery.start_soon(cancel, scope)
                    await call()
                assert scope.cancelled_caught

            async def cancel(scope: trio.CancelScope) -> None:
                await wait()
                scope.cancel()

            nursery.start_soon(cancelled)
        return
    task = asyncio.ensure_future(call())
    await wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.filterwarnings("ignore:Exception ignored in.*async_generator")  # of httpx itself
@pytest.mark.parametrize("stage", ["response", "body"])
@kits("asyncio", "trio")
async def test_cancelled_request_frees_its_slot(kit: Kit, stage: str) -> None:
    stages = Stages(stage)
    wait = stages.prepare(kit)
    limits = kit.library.Limits(max_connections=1)
    with serving(stages.serve) as port:
        async with kit.client(kit.transport(limits=limits), timeout=None) as client:
            url = f"http://127.0.0.1:{port}/"
            await _cancel_when(kit, wait, lambda: client.request("GET", url))
            stats = client.transport._pool.stats()
            assert (stats.idle, stats.leased, stats.waiting) == (0, 0, 0)


@kits("asyncio", "trio")
async def test_cancelled_while_waiting_for_a_slot(kit: Kit, site: Site) -> None:
    site.on("/long", Reply(body=bytes(10_000_000)))
    stages = Stages("")
    wait = stages.prepare(kit)
    limits = kit.library.Limits(max_connections=1)
    async with kit.client(kit.transport(limits=limits), timeout=None) as client:
        async with client.stream("GET", f"{site.url}/long"):

            async def waiting() -> None:
                stages.report()
                await client.request("GET", site.url)

            await _cancel_when(kit, wait, waiting)
            assert client.transport._pool.stats().waiting == 0
        assert (await client.request("GET", site.url)).text == "ok"


@kits("asyncio", "trio")
async def test_cancelled_in_the_body_of_a_request(kit: Kit, site: Site) -> None:
    """The iterable is closed, and its own clean-up runs."""
    stages = Stages("")
    wait = stages.prepare(kit)
    closed: list[str] = []

    async def body() -> AsyncIterator[bytes]:
        try:
            yield b"abc"
            stages.report()
            if kit.style == "trio":
                await trio.sleep_forever()
            await asyncio.Event().wait()
        finally:
            closed.append("yes")

    async with kit.client(timeout=None) as client:
        for trace in (None, kit.trace(lambda name, info: None)):
            extensions = {} if trace is None else {"trace": trace}
            wait = stages.prepare(kit)
            await _cancel_when(
                kit,
                wait,
                lambda extensions=extensions: client.request(  # type: ignore[misc]
                    "POST", site.url, content=body(), extensions=extensions
                ),
            )
            assert client.transport._pool.stats().leased == 0
    assert closed == ["yes", "yes"]


@pytest.mark.filterwarnings("ignore:Exception ignored in.*async_generator")
@each_kit
async def test_dropped_response_frees_its_slot(kit: Kit, site: Site) -> None:
    site.on("/", Reply(body=bytes(10_000_000)))
    async with kit.client() as client:
        request = client.bare.build_request("GET", site.url)
        response = client.bare.send(request, stream=True)
        if kit.is_async:
            response = await response
        assert client.transport._pool.stats().leased == 1
        del response, request
        gc.collect()
        assert client.transport._pool.stats().leased == 0
