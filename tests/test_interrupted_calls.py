"""`KeyboardInterrupt` in each call of an operation: `tests.interrupts` says where.

The exception arrives as it is. Then the next call answers or raises, whichever it is; no response
is taken for another's; after `disconnect` the object works; and no descriptor is left open.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from dugong import AsyncHTTPConnection, DugongError
from tests.conftest import STYLES
from tests.interrupts import Interrupt
from tests.pipeline_server import Server
from tests.styles import StyledWire
from tests.styles_in_loops import AsyncioWire, TrioWire

Act = Callable[[AsyncHTTPConnection], Awaitable[Any]]


async def nothing(conn: AsyncHTTPConnection) -> None:
    pass


async def ask(conn: AsyncHTTPConnection) -> None:
    await conn.send_request("GET", "/asked")


async def ask_and_read(conn: AsyncHTTPConnection) -> None:
    await ask(conn)
    await conn.read_response()


async def disconnect(conn: AsyncHTTPConnection) -> None:
    conn.disconnect()


@dataclass(frozen=True)
class Operation:
    """What is interrupted.

    Attributes:
        act: the operation.
        before: what is done before it, undisturbed.
        in_body: whether it reads a body.
        connects: whether it does something else where there is no connection.
    """

    act: Act
    before: Act = nothing
    in_body: bool = False
    connects: bool = True


OPERATIONS = {
    "connect": Operation(lambda conn: conn.connect()),
    "send_request": Operation(lambda conn: conn.send_request("GET", "/sent")),
    "send_request with a body": Operation(
        lambda conn: conn.send_request("PUT", "/sent", body=b"body")
    ),
    "read_response": Operation(lambda conn: conn.read_response(), ask, connects=False),
    "readall": Operation(lambda conn: conn.readall(), ask_and_read, in_body=True, connects=False),
    "read": Operation(lambda conn: conn.read(5), ask_and_read, in_body=True, connects=False),
    "request": Operation(lambda conn: conn.request("GET", "/requested")),
    "request with a body": Operation(
        lambda conn: conn.request("PUT", "/requested", body=b"body", expect100=False)
    ),
    "disconnect": Operation(disconnect, ask, connects=False),
}


async def read_on(conn: AsyncHTTPConnection) -> None:
    """Read all that is outstanding."""
    while True:
        response = await conn.read_response()
        assert await conn.readall() == name(response)
        if not conn.response_pending():
            return


async def read_again(conn: AsyncHTTPConnection) -> None:
    """It is all of the body or an error, never only the rest of it."""
    assert await conn.readall() == b"GET /asked"


async def send_on(conn: AsyncHTTPConnection) -> None:
    await conn.send_request("GET", "/next")
    response = None
    while response is None or response.path != "/next":
        response = await conn.read_response()
        assert await conn.readall() == name(response)


async def request(conn: AsyncHTTPConnection) -> None:
    response = await conn.request("GET", "/next")
    assert response.path == "/next"
    assert await conn.readall() == b"GET /next"


def name(response: Any) -> bytes:
    """What the body of a response says: see `tests.pipeline_server`."""
    return f"{response.method} {response.path}".encode()


AFTERWARDS: dict[str, Act] = {
    "read": read_on,
    "send": send_on,
    "request": request,
    "disconnect": disconnect,
}


class Walk:
    """Interrupts an operation at one place after another."""

    def __init__(self, wire: StyledWire, operation: Operation, *, warm: bool) -> None:
        self.wire = wire
        self.operation = operation
        self.warm = warm
        self.listener = wire.listen()
        # An event loop or trio does not survive an interrupt in the middle of its own functions.
        self.inner = isinstance(wire, AsyncioWire | TrioWire)

    async def visit(self) -> int:
        """Go through all places. Returns how many there are.

        What is done afterwards takes turns, which are others in each style and over TLS.
        """
        await self.at(sys.maxsize, disconnect)
        before = descriptors()
        turns = [*AFTERWARDS.values()] + [read_again] * self.operation.in_body
        shift = 2 * [*STYLES.values()].index(type(self.wire)) + self.wire.tls
        for place in count():
            interrupt = await self.at(place, turns[(place + shift) % len(turns)])
            if interrupt.raised is None:
                return place
            if len(descriptors()) > len(before):
                gc.collect()
            left = descriptors()
            assert len(left) <= len(before), f"left open by {interrupt}: {left}, not {before}"
        raise AssertionError("endless")

    async def at(self, place: int, afterwards: Act) -> Interrupt:
        server = Server(self.wire, listener=self.listener)
        conn = self.wire.dial(self.listener)
        with server.in_company():  # an interrupted client does not take all that it is sent
            if self.warm:
                await request(conn)
            await self.operation.before(conn)
            with Interrupt(place, inner=self.inner) as interrupt:
                await self.operation.act(conn)
            try:
                if interrupt.raised is not None:
                    await self.judge(conn, afterwards, interrupt)
                conn.disconnect()
                await request(conn)
            except BaseException as exc:
                exc.add_note(f"interrupted in {interrupt}")
                raise
            conn.disconnect()
            while self.wire.step():
                pass
        server.abandon()
        self.wire.peers.remove(server)
        return interrupt

    async def judge(self, conn: AsyncHTTPConnection, afterwards: Act, interrupt: Interrupt) -> None:
        try:
            await afterwards(conn)
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


CASES = [
    pytest.param(operation, warm, id=f"{what}-{temperature}")
    for what, operation in OPERATIONS.items()
    for temperature, warm in (("warm", True), ("cold", False))
    if warm or operation.connects
]


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # of sockets half made by Python
@pytest.mark.parametrize(("operation", "warm"), CASES)
async def test_at_any_call(wire: StyledWire, operation: Operation, warm: bool) -> None:
    assert await Walk(wire, operation, warm=warm).visit() > 2
