"""Several `AioFuture` that wait for the same descriptor, and one that the loop cannot watch."""

from __future__ import annotations

import asyncio
import tempfile

import pytest

from dugong import POLLIN, POLLOUT, AioFuture, HTTPConnection, PollNeeded
from tests.drivers.watched import Crt, Ends, registered, run, turns
from tests.support.wire import HOST, tcp_pair

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


# ------------------------------------------------------------------- several on one descriptor


def test_one_sends_and_one_reads() -> None:
    """Both directions of one descriptor are waited for at once, and end in either order."""

    async def main() -> None:
        near, far = tcp_pair(small=True)
        conn = HTTPConnection(HOST, sock=near)
        body = bytes(1 << 20)
        sending = AioFuture(conn.co_send_request("PUT", "/", body=body))
        await turns()
        reading = AioFuture(conn.co_read_response())
        await turns()
        assert not sending.done()
        reader, writer = await asyncio.open_connection(sock=far)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"PUT / ")
        assert await reader.readexactly(len(body)) == body
        await sending
        writer.write(OK)
        assert (await reading).status == 200
        conn.disconnect()
        writer.close()
        await writer.wait_closed()

    run(main)


def test_two_wait_for_the_same(ends: Ends) -> None:
    async def main() -> None:
        futures = [AioFuture(ends.reader()) for _ in range(3)]
        await turns()
        ends.far.send(b"abc")
        assert sorted([await future for future in futures]) == [b"a", b"b", b"c"]
        assert not registered(ends.fd)

    run(main)


def test_one_of_two_is_cancelled(ends: Ends) -> None:
    """The other goes on waiting, and is woken."""

    async def main() -> None:
        for number in (0, 1):
            futures = [AioFuture(ends.reader()) for _ in range(2)]
            await turns()
            futures.pop(number).cancel()
            await turns()
            ends.far.send(b"x")
            assert await futures[0] == b"x"
        assert not registered(ends.fd)

    run(main)


def test_a_reader_stays_when_the_writer_is_done(ends: Ends) -> None:
    def writer() -> Crt:
        yield PollNeeded(ends.fd, POLLOUT)
        return "wrote"

    async def main() -> None:
        ends.fill()
        reading, writing = AioFuture(ends.reader()), AioFuture(writer())
        await turns()
        assert not writing.done()
        ends.drain()
        assert await writing == "wrote"
        assert not reading.done()
        ends.far.send(b"x")
        assert await reading == b"x"
        assert not registered(ends.fd)

    run(main)


# ----------------------------------------------------------------- what the loop cannot watch


@pytest.mark.parametrize("mask", [POLLIN, POLLOUT, POLLIN | POLLOUT])
def test_descriptor_that_the_loop_refuses(mask: int) -> None:
    """An ordinary file is none that epoll knows: the future fails, and nothing is left waiting."""

    async def main() -> None:
        log: list[str] = []

        def step(fd: int) -> Crt:
            try:
                yield PollNeeded(fd, mask)
            finally:
                log.append("closed")

        with tempfile.TemporaryFile() as file:
            future = AioFuture(step(file.fileno()))
            with pytest.raises(OSError):
                await future
            assert log == ["closed"]
            assert not registered(file.fileno())

    run(main)
