"""How the waits of `AsyncHTTPConnection` are done in asyncio and trio: what the loop is told."""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from collections import Counter
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from dugong import POLLIN, POLLOUT, AioFuture, AsyncHTTPConnection, ConnectionTimedOut, PollNeeded
from dugong.drivers.loops import wait_in_asyncio, wait_in_trio, watches
from tests.support.concurrency import GUARD, LIBRARIES, Library, both, nothing_left
from tests.support.styles import StyledWire
from tests.support.tapped import Pace
from tests.support.wire import HOST, tcp_pair

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

ASYNCIO = LIBRARIES[0]
TRIO = LIBRARIES[1]


class CountingLoop(asyncio.SelectorEventLoop):
    """A loop that notes what it is told about which descriptor."""

    def __init__(self) -> None:
        super().__init__()
        self.told: Counter[tuple[str, int]] = Counter()

    def add_reader(  # type: ignore[override]
        self, fd: int, callback: Callable[..., object], *args: object
    ) -> None:
        self.told["add_reader", fd] += 1
        super().add_reader(fd, callback, *args)

    def remove_reader(self, fd: int) -> bool:  # type: ignore[override]
        self.told["remove_reader", fd] += 1
        return super().remove_reader(fd)

    def add_writer(  # type: ignore[override]
        self, fd: int, callback: Callable[..., object], *args: object
    ) -> None:
        self.told["add_writer", fd] += 1
        super().add_writer(fd, callback, *args)

    def remove_writer(self, fd: int) -> bool:  # type: ignore[override]
        self.told["remove_writer", fd] += 1
        return super().remove_writer(fd)


def run(main: Callable[[CountingLoop], Coroutine[Any, Any, None]]) -> None:
    async def guarded() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, CountingLoop)
        async with asyncio.timeout(GUARD):
            await main(loop)

    with nothing_left(), asyncio.Runner(loop_factory=CountingLoop) as runner:
        runner.run(guarded())


class Ends:
    """A connection object on one end of a socket pair."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.far.setblocking(False)
        self.fd = self.near.fileno()
        self.conn = AsyncHTTPConnection(HOST, sock=self.near)

    async def fetch(self) -> None:
        """One exchange whose response comes when it is waited for."""
        await self.conn.send_request("GET", "/")
        assert self.far.recv(1000).startswith(b"GET ")
        reading = asyncio.create_task(self.conn.read_response())
        await turns()
        self.far.sendall(OK)
        assert (await reading).status == 200
        assert await self.conn.readall() == b"hi"

    def close(self) -> None:
        self.conn.disconnect()
        self.far.close()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


# ------------------------------------------------------------------------ kept registrations


def test_registration_is_kept_between_waits() -> None:
    """One system call for any number of reads, and one to take it back."""

    async def main(loop: CountingLoop) -> None:
        ends = Ends()
        for _ in range(20):
            await ends.fetch()
        assert loop.told == {("add_reader", ends.fd): 1}
        ends.close()
        assert loop.told == {("add_reader", ends.fd): 1, ("remove_reader", ends.fd): 1}

    run(main)


def test_given_up_when_nobody_waits_for_what_comes() -> None:
    """What came is still there for the next call, which registers again when it has to wait."""

    async def main(loop: CountingLoop) -> None:
        ends = Ends()
        await ends.fetch()
        await ends.conn.send_request("GET", "/")
        ends.far.sendall(OK[:10])
        await turns()
        assert loop.told["remove_reader", ends.fd] == 1
        reading = asyncio.create_task(ends.conn.read_response())
        await turns()
        assert loop.told["add_reader", ends.fd] == 2
        ends.far.sendall(OK[10:])
        assert (await reading).status == 200
        ends.close()

    run(main)


def test_a_server_that_closes_while_nobody_waits() -> None:
    """Its end is readable for ever: a registration that stayed would keep the loop busy."""

    async def main(loop: CountingLoop) -> None:
        ends = Ends()
        await ends.fetch()
        ends.far.close()
        await turns()
        assert loop.told["remove_reader", ends.fd] == 1
        assert not loop.remove_reader(ends.fd)
        ends.close()

    run(main)


def test_registration_for_writing_is_not_kept() -> None:
    """There is room most of the time, so it would fire at every turn."""

    async def main(loop: CountingLoop) -> None:
        near, far = tcp_pair(small=True)
        fd = near.fileno()
        conn = AsyncHTTPConnection(HOST, sock=near)
        body = bytes(1 << 20)

        async def receive() -> None:
            reader, writer = await asyncio.open_connection(sock=far)
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(len(body)) == body
            writer.close()
            await writer.wait_closed()

        receiving = asyncio.create_task(receive())
        await conn.send_request("PUT", "/", body=body)
        await receiving
        assert loop.told["add_writer", fd] > 0
        assert loop.told["add_writer", fd] == loop.told["remove_writer", fd]
        conn.disconnect()

    run(main)


def test_cancelled_wait_keeps_it() -> None:
    async def main(loop: CountingLoop) -> None:
        ends = Ends()
        await ends.conn.send_request("GET", "/")
        for _ in range(5):
            assert await ASYNCIO.cut_short(ends.conn.read_response, 5) is None
        assert loop.told == {("add_reader", ends.fd): 1}
        ends.far.sendall(OK)
        assert (await ends.conn.read_response()).status == 200
        ends.close()

    run(main)


def test_timed_out_wait_keeps_it() -> None:
    async def main(loop: CountingLoop) -> None:
        ends = Ends()
        await ends.conn.send_request("GET", "/")
        ends.conn.timeout = 0.001
        for _ in range(5):
            with pytest.raises(TimeoutError):
                await ends.conn.read_response()
        assert loop.told == {("add_reader", ends.fd): 1}
        ends.close()

    run(main)


# -------------------------------------------------------------- two that wait for one direction


@pytest.mark.styles("asyncio", "trio")
async def test_reader_that_has_to_wait_for_what_the_writer_waits_for(tls: StyledWire) -> None:
    """Over TLS a read may need to write, while another task waits to write as well."""
    pace = Pace()
    conn, peer = tls.pair(tap=pace, small=True)
    body = bytes(1 << 20)
    await conn.connect()
    peer.expect_request(b"GET ")
    await conn.send_request("GET", "/")
    while peer.step():
        pass
    pace.recv_wants_write = 5
    peer.expect_request(b"PUT ", body=body)
    peer.reply(OK)
    peer.reply(OK)
    sent, read = await tls.together(conn.send_request("PUT", "/", body=body), conn.read_response())
    sent.get()
    assert read.get().path == "/"
    assert pace.recv_wants_write == 0
    assert await conn.readall() == b"hi"
    assert (await conn.read_response()).method == "PUT"


def test_one_of_two_gives_up() -> None:
    """The registration stays for the other, who is not disturbed."""

    async def main(loop: CountingLoop) -> None:
        near, far = socket.socketpair()
        need = PollNeeded(near.fileno(), POLLIN)

        async def one() -> bool | None:
            return await wait_in_asyncio(loop, watches(loop, need), None, keep=False)

        other = asyncio.create_task(one())
        await turns()
        assert await ASYNCIO.cut_short(one, 5) is None
        assert loop.told == {("add_reader", need.fd): 1}
        assert not other.done()
        far.send(b"x")
        assert await other
        assert loop.told == {("add_reader", need.fd): 1, ("remove_reader", need.fd): 1}
        near.close()
        far.close()

    run(main)


async def wait(library: Library, fd: int, mask: int) -> None:
    """Wait as the operations do, which go on waiting if they were resumed for nothing."""
    need = PollNeeded(fd, mask)
    while not need.poll(0):
        if library is TRIO:
            await wait_in_trio(trio, need, None)
        else:
            loop = asyncio.get_running_loop()
            await wait_in_asyncio(loop, watches(loop, need), None, keep=False)


@both
@pytest.mark.parametrize("mask", [POLLIN, POLLIN | POLLOUT])
@pytest.mark.parametrize("cancelled", [None, 0, 1, 2])
def test_three_wait_for_one_direction(library: Library, mask: int, cancelled: int | None) -> None:
    """All are woken, trio's too, which lets only one task wait; also when one gives up."""

    async def main() -> None:
        near, far = socket.socketpair()
        near.setblocking(False)
        try:
            while near.send(bytes(1 << 16)):
                pass
        except BlockingIOError:
            pass  # now there is no room to write either
        woken = 0

        async def one(number: int) -> None:
            nonlocal woken
            if number == cancelled:
                assert (
                    await library.cut_short(lambda: wait(library, near.fileno(), mask), 5) is None
                )
            else:
                await wait(library, near.fileno(), mask)
                woken += 1

        async def wake() -> None:
            for _ in range(20):
                await library.checkpoint()
            assert woken == 0
            far.send(b"x")

        await library.together(*[partial(one, number) for number in range(3)], wake)
        assert woken == (3 if cancelled is None else 2)
        near.close()
        far.close()

    with nothing_left():
        library.run(main)


def test_timeout_while_another_task_waits_for_the_same() -> None:
    """Having to look again and again is not the movement that `timeout` asks for."""

    async def main() -> None:
        near, far = socket.socketpair()
        async with trio.open_nursery() as nursery, AsyncHTTPConnection(HOST, sock=near) as conn:
            await conn.send_request("GET", "/")
            nursery.start_soon(trio.lowlevel.wait_readable, near.fileno())
            await trio.testing.wait_all_tasks_blocked()
            conn.timeout = 0.1
            with trio.fail_after(GUARD), pytest.raises(ConnectionTimedOut):
                await conn.read_response()
            nursery.cancel_scope.cancel()
        far.close()

    trio.run(main)


def test_ended_loop_with_somebody_waiting_is_let_go() -> None:
    closed = []
    near, far = socket.socketpair()

    def waits() -> Generator[PollNeeded, Any, None]:
        try:
            yield PollNeeded(near.fileno(), POLLIN)
        finally:
            closed.append(True)

    async def main() -> weakref.ref[asyncio.AbstractEventLoop]:
        AioFuture(waits())
        for _ in range(3):
            await asyncio.sleep(0)
        return weakref.ref(asyncio.get_running_loop())

    loop = asyncio.run(main())
    gc.collect()
    assert closed == [True]
    assert loop() is None
    near.close()
    far.close()
