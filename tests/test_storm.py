"""A storm of cancellations: what was cut short leaves nothing behind and mixes nothing up.

Two hundred tasks, each with a connection of its own, exchange requests and responses with a
server that does everything in small pieces. Each call is cancelled after a random number of
turns of the loop, wherever it then is, and what the contract says must hold afterwards.
"""

from __future__ import annotations

import random
import ssl
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from dugong import AsyncHTTPConnection, BodyFollowing, ConnectionClosed, HTTPResponse
from tests.support.concurrency import Done, Library, both, nothing_left
from tests.support.piecemeal import answer
from tests.support.servers import Certificate, Server, serving

pytestmark = pytest.mark.slow

T = TypeVar("T")

TASKS = 200

#: ConnectionState that each task begins.
EXCHANGES = 4

#: A request body that does not fit between client and server.
LARGE = 150_000


@pytest.fixture(scope="module")
def server(certificate: Certificate) -> Iterator[Server]:
    def command(ports: Sequence[int]) -> list[str | Path]:
        files = [certificate.chain, certificate.key]
        return [sys.executable, "-m", "tests.support.piecemeal", *map(str, ports), *files]

    with serving("piecemeal", command, ports=2) as running:
        yield running


class Client:
    """One task's connection, and what it does there."""

    def __init__(
        self, library: Library, conn: AsyncHTTPConnection, number: int, cuts: Counter[str]
    ) -> None:
        self.library = library
        self.conn = conn
        self.random = random.Random(number)
        self.cuts = cuts  # how often which stage was cut short
        self.name = f"task{number}"
        self.stage = "connecting"
        self.bodies: dict[str, bytes] = {}  # what was sent with which path
        self.order: list[str] = []  # paths whose response is outstanding
        conn.on_event = self.happened

    def happened(self, event: str) -> None:
        if event == "connected" and self.conn.ssl_context is not None:
            self.stage = "handshake"
        elif event in ("connected", "secured"):
            self.stage = "sending"

    async def cut(self, stage: str, call: Callable[[], Awaitable[T]], most: int) -> Done[T] | None:
        """Let *call* have a random number of turns, *most* of them at most."""
        turns = int(most * self.random.random() ** 2)
        done = await self.library.cut_short(call, turns)
        if done is None:
            self.cuts[stage] += 1
        return done

    def path(self) -> str:
        framing = self.random.choice(["length", "chunked"])
        size = self.random.choice([0, 10, 3000, 40_000])
        return f"/{framing}/{size}/{self.name}-{len(self.bodies)}"

    # ---------------------------------------------------------------- connecting, sending

    async def connect(self) -> None:
        """Connect, again and again until that is not cut short."""
        while await self.cut_short_connect() is None:
            self.cuts[self.stage] += 1
            self.stage = "connecting"

    async def cut_short_connect(self) -> Done[None] | None:
        # Every other time the handshake is to be met, however long it takes to get there. It is
        # over soon: a turn of the loop is long, with so many tasks.
        late = self.conn.ssl_context is not None and self.random.random() < 0.5
        return await self.library.cut_short(
            self.conn.connect,
            1 + self.random.randrange(2) if late else self.random.randrange(20),
            lambda: not late or self.stage == "handshake",
        )

    async def send(self, body: bytes) -> bool:
        """Send a request that may be cut short; whether it was sent whole."""
        path = self.path()
        self.bodies[path] = body
        call = partial(self.conn.send_request, "PUT" if body else "GET", path, body=body or None)
        turns = int((40 if body else 20) * self.random.random() ** 2)
        if await self.library.cut_short(call, turns) is not None:
            self.order.append(path)
            return True
        self.cuts[self.stage] += 1
        if self.stage != "sending":
            self.stage = "connecting"
        return False

    async def send_following(self, body: bytes) -> bool:
        """The same with a body in parts, any of which may be cut short."""
        path = self.path()
        self.bodies[path] = body
        chunked = self.random.random() < 0.5
        expect100 = self.random.random() < 0.5
        following = BodyFollowing() if chunked else BodyFollowing(len(body))
        await self.conn.send_request("PUT", path, body=following, expect100=expect100)
        if expect100:
            while self.order:
                await self.read_one()
            assert (await self.read_response()).status == 100
        view = memoryview(body)
        for start in range(0, len(body), 40_000):
            part = view[start : start + 40_000]
            if not await self.insist(partial(self.conn.write, part), 12):
                return False
        if chunked and not await self.insist(self.conn.end_body, 3):
            return False
        self.order.append(path)
        return True

    async def insist(self, call: Callable[[], Awaitable[None]], most: int) -> bool:
        """Send a part of a body, again if it was cut short before it began; whether that went."""
        while True:
            before = self.conn.bytes_sent
            if await self.cut("body", call, most) is not None:
                return True
            try:
                await self.conn.write(b"")
            except ConnectionClosed:
                with pytest.raises(ConnectionClosed):
                    await self.conn.send_request("GET", "/never")
                return False
            assert self.conn.bytes_sent == before

    async def after_cut(self) -> bool:
        """A request was cut short: either sending has ended, or it is as if it had never been.

        Returns whether the connection is of further use.
        """
        outstanding = self.conn.response_pending()
        path = self.path()
        self.bodies[path] = b""
        try:
            await self.conn.send_request("GET", path)
        except ConnectionClosed:
            assert outstanding, "a request that left no trace ended sending"
            return False
        self.order.append(path)
        return True

    # ------------------------------------------------------------------------- reading

    async def read_response(self) -> HTTPResponse:
        while (done := await self.cut("head", self.conn.read_response, 16)) is None:
            pass
        return done.value

    async def read_body(self) -> bytes:
        body = bytearray()
        block = bytearray(5000)
        while True:
            match self.random.randrange(4):
                case 0:
                    got = await self.cut("reading", self.conn.readall, 16)
                    if got is not None:
                        return bytes(body) + got.value
                case 1:
                    got = await self.cut("reading", partial(self.conn.read, 10_000), 16)
                    if got is not None:
                        body += got.value
                        if not got.value:
                            return bytes(body)
                case 2:
                    count = await self.cut("reading", partial(self.conn.readinto, block), 16)
                    if count is not None:
                        body += block[: count.value]
                        if not count.value:
                            return bytes(body)
                case 3:
                    await self.library.checkpoint()

    async def read_one(self) -> None:
        path = self.order.pop(0)
        response = await self.read_response()
        assert (response.status, response.path, response.headers["X-Path"]) == (200, path, path)
        assert await self.read_body() == answer(path, self.bodies[path])
        self.cuts["delivered"] += 1

    # ------------------------------------------------------------------------ exchanges

    async def exchange(self) -> None:
        usable = True
        if self.stage == "connecting" and self.random.random() < 0.5:
            await self.connect()
        match self.random.randrange(4):
            case 0:
                usable = await self.send(b"") or await self.after_cut()
            case 1:
                usable = await self.send(self.random.randbytes(LARGE)) or await self.after_cut()
            case 2:
                usable = await self.send_following(self.random.randbytes(LARGE))
            case 3:
                await self.both_at_once()
        if usable and self.random.random() < 0.3:
            return  # the next request goes out before this response is read
        while self.order:
            await self.read_one()
        if not usable:
            with pytest.raises(ConnectionClosed):
                await self.conn.read_response()
            self.drop()
        return

    async def both_at_once(self) -> None:
        """Read what is outstanding while a further request is being sent."""

        async def send() -> None:
            path = self.path()
            self.bodies[path] = self.random.randbytes(LARGE)
            self.order.append(path)
            await self.conn.send_request("PUT", path, body=self.bodies[path])

        async def read() -> None:
            while not self.order:
                await self.library.checkpoint()
            while self.order:
                await self.read_one()

        await self.library.together(send, read)

    def drop(self) -> None:
        self.order.clear()
        self.conn.disconnect()
        self.stage = "connecting"

    async def live(self) -> None:
        for _ in range(EXCHANGES):
            await self.exchange()
        self.drop()


@both
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_storm(
    library: Library, secure: bool, server: Server, trusting_context: ssl.SSLContext
) -> None:
    cuts: Counter[str] = Counter()

    async def storm() -> None:
        clients = []
        for number in range(TASKS):
            conn = AsyncHTTPConnection(
                "localhost", server.ports[secure], trusting_context if secure else None
            )
            clients.append(Client(library, conn, number, cuts))
        await library.together(*(client.live for client in clients))

    with nothing_left():
        library.run(storm)
    stages = {"connecting", "sending", "body", "head", "reading"} | (
        {"handshake"} if secure else set()
    )
    assert {stage for stage in stages if cuts[stage] >= 10} == stages
    assert cuts.total() - cuts["delivered"] >= 1000
