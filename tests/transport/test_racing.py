"""Names with several addresses: one that does not answer costs a moment, not the system's minutes.

A server whose queue is full stands for an address that does not answer: the system asks again
and again, for two minutes. `LONG` is far less than that and far more than any honest wait.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from dugong import AsyncHTTPConnection, ConnectionTimedOut
from dugong.transport import race
from dugong.transport.resolve import AddressInfo
from tests.support.concurrency import nothing_left
from tests.support.styles import StyledWire
from tests.support.wire import HOST
from tests.transport.tools import (
    DESCRIPTORS,
    busy_server,
    end_resolver_threads,
    open_descriptors,
    refusing_address,
)

LONG = 30.0


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    with nothing_left():
        yield


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(params=["epoll", "poll"])
def selector(request: pytest.FixtureRequest) -> type[selectors.BaseSelector]:
    """What races are run with: one that is a descriptor, and one that is not, as gevent's."""
    kinds = {"epoll": selectors.DefaultSelector, "poll": selectors.PollSelector}
    return kinds[request.param]


class Name:
    """A name with several addresses, and a server at one of them."""

    def __init__(self, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
        self._stack = stack
        self._addresses: list[AddressInfo] = []
        self.server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        monkeypatch.setattr(socket, "getaddrinfo", self._getaddrinfo)

    def _getaddrinfo(self, *_: Any, flags: int = 0, **__: Any) -> list[AddressInfo]:
        if flags:
            raise socket.gaierror(socket.EAI_NONAME, "not numeric")
        return list(self._addresses)

    def _add(self, address: tuple[str, int]) -> None:
        self._addresses.append((socket.AF_INET, socket.SOCK_STREAM, 6, "", address))

    def silent(self) -> None:
        self._add(self._stack.enter_context(busy_server()).getsockname())

    def refusing(self) -> None:
        self._add(refusing_address())

    def absent(self, path: Path) -> None:
        """An address that fails too, and with another error."""
        self._addresses.append((socket.AF_UNIX, socket.SOCK_STREAM, 0, "", str(path / "absent")))

    def answering(self) -> None:
        self._add(self.server.getsockname())

    def accept(self) -> None:
        self._stack.enter_context(self.server.accept()[0])


@pytest.fixture
def name(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> Name:
    return Name(stack, monkeypatch)


def begin(wire: StyledWire, **options: Any) -> AsyncHTTPConnection:
    """A connection that has to be made long before the system gives an address up."""
    return wire.connection(HOST, port=80, **{"deadline": LONG, **options})


async def test_first_addresses_do_not_answer(
    plain: StyledWire,
    name: Name,
    selector: type[selectors.BaseSelector],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And whatever was begun in vain is closed when one has answered."""
    monkeypatch.setattr(selectors, "DefaultSelector", selector)
    monkeypatch.setattr(race, "STAGGER", 0.1)
    name.silent()
    name.silent()
    name.answering()
    conn = begin(plain)
    before = open_descriptors() if DESCRIPTORS.exists() else set()
    await conn.connect()
    name.accept()
    if before:
        end_resolver_threads()
        opened = [text for text in open_descriptors() - before if "socket" in text]
        assert len(opened) == 2, "the two ends of one connection"
        assert len(open_descriptors()) == len(before) + 2
    conn.disconnect()


async def test_first_address_refuses(
    plain: StyledWire,
    name: Name,
    selector: type[selectors.BaseSelector],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next attempt does not wait for its time, which would never come."""
    monkeypatch.setattr(selectors, "DefaultSelector", selector)
    monkeypatch.setattr(race, "STAGGER", 10 * LONG)
    name.refusing()
    name.refusing()
    name.answering()
    conn = begin(plain)
    await conn.connect()
    name.accept()
    conn.disconnect()


async def test_all_addresses_refuse(plain: StyledWire, name: Name, tmp_path: Path) -> None:
    name.refusing()
    name.absent(tmp_path)
    with pytest.raises(ConnectionRefusedError):
        await begin(plain).connect()


async def test_the_error_is_that_of_the_first(
    plain: StyledWire, name: Name, tmp_path: Path
) -> None:
    name.absent(tmp_path)
    name.refusing()
    name.refusing()
    with pytest.raises(FileNotFoundError):
        await begin(plain).connect()


async def test_one_refuses_and_one_is_silent(plain: StyledWire, name: Name) -> None:
    """As long as an attempt is under way, the others' failures are no result."""
    name.silent()
    name.refusing()
    name.answering()
    conn = begin(plain)
    await conn.connect()
    name.accept()
    conn.disconnect()


@pytest.mark.styles("blocking", "asyncio", "trio")  # generators know no limits
@pytest.mark.parametrize("limit", ["timeout", "deadline"])
async def test_limits_cover_all_attempts_together(
    plain: StyledWire,
    name: Name,
    selector: type[selectors.BaseSelector],
    limit: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However often the attempts are looked at meanwhile, and the next of them is begun."""
    monkeypatch.setattr(selectors, "DefaultSelector", selector)
    monkeypatch.setattr(race, "STAGGER", 0.05)
    for _ in range(3):
        name.silent()
    conn = begin(plain, **{"deadline": None, limit: 0.2})
    message = {"timeout": "no data transferred", "deadline": "not done"}[limit]
    with pytest.raises(ConnectionTimedOut, match=message):
        await conn.connect()


async def test_stopped_in_the_middle(
    plain: StyledWire,
    name: Name,
    selector: type[selectors.BaseSelector],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The fixture sees that nothing stays open."""
    monkeypatch.setattr(selectors, "DefaultSelector", selector)
    name.silent()
    name.silent()
    conn = begin(plain, deadline=None)
    await plain.stop(conn.connect())
