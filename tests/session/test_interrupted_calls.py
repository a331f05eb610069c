"""`KeyboardInterrupt` in each call of an operation: `tests.support.interrupts` says where.

The exception arrives as it is. Then the next call answers or raises, whichever it is; no response
is taken for another's; after `disconnect` the object works; and no descriptor is left open.

Each visit to a place takes two or three connections, so not all places are visited everywhere:

- Generators are interrupted at every place, also within what the package calls. So are blocking
  calls over TCP.
- In asyncio and trio, only the package itself is interrupted: an event loop does not survive an
  interrupt in the middle of its own functions. Every third place is visited, because the engine
  is the one of the generators.
- Over TLS, every fifth place is visited in other styles than generators. What drives these does the
  same with TLS as without.
- Over TLS, operations that consist of others, or hardly differ from one, are interrupted at a fifth
  of these places.
- A cold `send_request` visits every place of connecting. Other operations that connect visit every
  fifth of these, to see what they do with an exception from there.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from dugong import AsyncHTTPConnection, DugongError
from tests.conftest import STYLES
from tests.support.interrupts import Interrupt
from tests.support.pipeline_server import Server
from tests.support.styles import BlockingWire, GeneratorWire, StyledWire
from tests.support.styles_in_loops import AsyncioWire, TrioWire

#: For a busy machine: all places of one operation take a few seconds on an idle one.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Client:
    """What an operation is done with.

    Attributes:
        conn: the connection.
        pipeline: its pipeline, if one was made.
        steps: how many steps of that were begun.
    """

    def __init__(self, conn: AsyncHTTPConnection) -> None:
        self.conn = conn
        self.pipeline: Any = None
        self.steps = 0


Act = Callable[[Client], Awaitable[Any]]

#: What pipelines ask for.
PATHS = [f"/piped/{i}" for i in range(4)]


async def nothing(client: Client) -> None:
    pass


async def connect(client: Client) -> None:
    await client.conn.connect()


async def ask(client: Client) -> None:
    await client.conn.send_request("GET", "/asked")


async def upload(client: Client) -> None:
    await client.conn.send_request("PUT", "/sent", body=b"body")


async def read_response(client: Client) -> None:
    await client.conn.read_response()


async def readall(client: Client) -> None:
    await client.conn.readall()


async def read(client: Client) -> None:
    await client.conn.read(5)


async def ask_and_read(client: Client) -> None:
    await ask(client)
    await read_response(client)


async def request(client: Client) -> None:
    response = await client.conn.request("GET", "/next")
    assert response.path == "/next"
    assert await client.conn.readall() == b"GET /next"


async def request_head(client: Client) -> None:
    await client.conn.request("GET", "/requested")


async def request_with_body(client: Client) -> None:
    await client.conn.request("PUT", "/requested", body=b"body", expect100=False)


async def begin_pipeline(client: Client) -> None:
    client.pipeline = client.conn.pipeline(PATHS)


async def begin_async_pipeline(client: Client) -> None:
    async def paths() -> AsyncIterator[str]:
        for path in PATHS:
            yield path

    client.pipeline = client.conn.pipeline(paths())


async def step(client: Client) -> None:
    client.steps += 1
    response = await anext(client.pipeline)
    assert response.path in PATHS


async def take_first_step(client: Client) -> None:
    await begin_pipeline(client)
    await step(client)


async def disconnect(client: Client) -> None:
    client.conn.disconnect()


@dataclass(frozen=True)
class Operation:
    """What is interrupted.

    Attributes:
        act: the operation.
        before: what is done before it, undisturbed.
        in_body: whether it reads a body.
        piped: whether it is a step of a pipeline.
        sparse: of the places within connecting, each of this many is visited.
        variant: whether it consists of other operations here, or hardly differs from one.
    """

    act: Act
    before: Act = nothing
    in_body: bool = False
    piped: bool = False
    sparse: int = 5
    variant: bool = False


#: With a name that says whether the connection has been used before: `warm` or `cold`.
OPERATIONS = {
    "connect-cold": Operation(connect, variant=True),
    "connect-warm": Operation(connect, variant=True),
    "send_request-cold": Operation(ask, sparse=1),
    "send_request-warm": Operation(ask),
    "send_request with a body-warm": Operation(upload, variant=True),
    "read_response-cold": Operation(read_response, ask),
    "read_response-warm": Operation(read_response, ask),
    "readall-cold": Operation(readall, ask_and_read, in_body=True),
    "readall-warm": Operation(readall, ask_and_read, in_body=True),
    "read-warm": Operation(read, ask_and_read, in_body=True, variant=True),
    "request-cold": Operation(request_head, variant=True),
    "request-warm": Operation(request_head, variant=True),
    "request with a body-warm": Operation(request_with_body, variant=True),
    "first step of a pipeline-cold": Operation(step, begin_pipeline, piped=True),
    "first step of a pipeline-warm": Operation(step, begin_pipeline, piped=True),
    "next step of a pipeline-warm": Operation(step, take_first_step, piped=True),
    "disconnect-cold": Operation(disconnect, ask),
    "disconnect-warm": Operation(disconnect, ask),
}


async def read_on(client: Client) -> None:
    """Read all that is outstanding."""
    while True:
        response = await client.conn.read_response()
        assert await client.conn.readall() == name(response)
        if not client.conn.response_pending():
            return


async def read_again(client: Client) -> None:
    """It is all of the body or an error, never only the rest of it."""
    assert await client.conn.readall() == b"GET /asked"


async def send_on(client: Client) -> None:
    await client.conn.send_request("GET", "/next")
    response = None
    while response is None or response.path != "/next":
        response = await client.conn.read_response()
        assert await client.conn.readall() == name(response)


async def go_on(client: Client) -> None:
    """Go through the rest of the pipeline.

    One response is lost with the step that was interrupted, at most.
    """
    came: list[str] = []
    failures = 0
    while True:
        try:
            response = await anext(client.pipeline)
        except StopAsyncIteration:
            break
        except (DugongError, OSError) as exc:
            if "the async iterable was interrupted" in str(exc):
                return  # before anything was taken from it
            failures += 1
            assert failures < 5
            continue
        with suppress(DugongError, OSError):  # of reading, which was interrupted
            assert await client.conn.readall() == name(response)
        came.append(response.path)
    expected = PATHS[client.steps - 1 :]
    assert came in (expected, expected[1:])


def name(response: Any) -> bytes:
    """What the body of a response says: see `tests.support.pipeline_server`."""
    return f"{response.method} {response.path}".encode()


AFTERWARDS: list[Act] = [read_on, send_on, request, disconnect]


class Walk:
    """Interrupts an operation at one place after another."""

    def __init__(
        self, wire: StyledWire, operation: Operation, *, warm: bool, stride: int | None = None
    ) -> None:
        self.wire = wire
        self.operation = operation
        self.warm = warm
        self.listener = wire.listen()
        self.inner = isinstance(wire, AsyncioWire | TrioWire)
        self.stride = stride or self._usual_stride()
        #: One thread for all calls of a visit, instead of one each.
        self.playing = wire.playing if isinstance(wire, BlockingWire) else nullcontext

    def _usual_stride(self) -> int:
        stride = 3 if self.inner else 1
        if self.wire.tls:
            stride = 1 if isinstance(self.wire, GeneratorWire) else 5
            if self.operation.variant:
                stride *= 5
        return stride

    async def visit(self) -> int:
        """Go through all places. Returns how many there are.

        What is done afterwards takes turns, which are others in each style and over TLS.
        """
        await self.at(sys.maxsize, disconnect)
        before = descriptors()
        operation = self.operation
        turns = AFTERWARDS + [read_again] * operation.in_body + [go_on] * operation.piped
        shift = 2 * [*STYLES.values()].index(type(self.wire)) + self.wire.tls
        for turn, place in enumerate(count(0, self.stride)):
            interrupt = await self.at(place, turns[(turn + shift) % len(turns)])
            if interrupt.raised is None:
                return place
            if len(descriptors()) > len(before):
                gc.collect()
            left = descriptors()
            assert len(left) <= len(before), f"left open by {interrupt}: {left}, not {before}"
        raise AssertionError("endless")

    async def at(self, place: int, afterwards: Act) -> Interrupt:
        server = Server(self.wire, listener=self.listener)
        client = Client(self.wire.dial(self.listener))
        # An interrupted client does not take all that it is sent.
        with server.in_company(), self.playing():
            if self.warm:
                await request(client)
            await self.operation.before(client)
            with Interrupt(place, inner=self.inner, sparse=self.operation.sparse) as interrupt:
                await self.operation.act(client)
            try:
                if interrupt.raised is not None:
                    await self.judge(client, afterwards, interrupt)
                client.conn.disconnect()
                await request(client)
            except BaseException as exc:
                exc.add_note(f"interrupted in {interrupt}, and then {afterwards.__name__}")
                raise
            client.conn.disconnect()
        with server.in_company():
            while self.wire.step():
                pass
        server.abandon()
        self.wire.peers.remove(server)
        return interrupt

    async def judge(self, client: Client, afterwards: Act, interrupt: Interrupt) -> None:
        try:
            await afterwards(client)
        except (DugongError, OSError):
            pass
        interrupt.forget()


def descriptors() -> dict[str, str]:
    """Those that are open, and what they are."""
    found = {}
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # that of the folder itself
            found[link.name] = str(link.readlink())
    return found


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # of sockets half made by Python
@pytest.mark.parametrize("what", OPERATIONS)
async def test_at_any_call(wire: StyledWire, what: str) -> None:
    walk = Walk(wire, OPERATIONS[what], warm=what.endswith("-warm"))
    assert await walk.visit() > 2


@pytest.mark.styles("asyncio")  # in trio, the task of the iterable would be interrupted too
async def test_in_a_pipeline_of_an_async_iterable(plain: StyledWire) -> None:
    operation = Operation(step, begin_async_pipeline, piped=True)
    assert await Walk(plain, operation, warm=True, stride=1).visit() > 2
