"""Host names: looked up off the coroutine, and what it means when that fails."""

from __future__ import annotations

import encodings.idna  # noqa: F401 - which `getaddrinfo` would import, and fail to do
import errno
import gc
import os
import resource
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import dugong
from dugong import (
    DNSUnavailable,
    HostnameNotResolvable,
    HTTPConnection,
    eval_coroutine,
    is_temp_network_error,
)
from tests.support.drive import drive
from tests.support.exchanges import OK, works
from tests.support.styles import StyledWire
from tests.support.wire import Wire

_system_getaddrinfo = socket.getaddrinfo


#: Names and the address or addresses of each.
Known = dict[str, tuple[str, int] | list[tuple[str, int]]]


class Resolver:
    """Stands for the system's `getaddrinfo`: knows some names, fails for others.

    Args:
        known: the address of each name.
        errors: the code of the failure, for each name whose look-up fails.
        gate: looking up waits until this is set.
    """

    def __init__(
        self,
        known: Known,
        errors: dict[str, int] | None = None,
        gate: threading.Event | None = None,
    ) -> None:
        self.known = known
        self.errors = errors or {}
        self.gate = gate
        self.asked: list[str] = []
        self.threads: set[threading.Thread] = set()

    def __call__(
        self, host: Any, port: Any, *args: Any, flags: int = 0, **options: Any
    ) -> list[Any]:
        if flags & socket.AI_NUMERICHOST:  # asks no DNS and never waits
            return _system_getaddrinfo(host, port, *args, **options, flags=flags)  # type: ignore[misc]
        name = host.decode() if isinstance(host, bytes) else host
        self.asked.append(name)
        self.threads.add(threading.current_thread())
        if self.gate is not None:
            assert self.gate.wait(10)
        if name in self.errors:
            raise socket.gaierror(self.errors[name], "no")
        if name not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        found = self.known[name]
        addresses = found if isinstance(found, list) else [found]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]


@pytest.fixture
def test_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    names = (("up.example", 80), ("also-up.example", 53))
    monkeypatch.setattr(dugong, "DNS_TEST_HOSTNAMES", names)


def _resolve(
    monkeypatch: pytest.MonkeyPatch,
    known: Known,
    errors: dict[str, int] | None = None,
    gate: threading.Event | None = None,
) -> Resolver:
    resolver = Resolver(known, errors, gate)
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    return resolver


UP: Known = {"also-up.example": ("192.0.2.1", 80)}


@pytest.mark.usefixtures("test_hosts")
@pytest.mark.parametrize("code", [socket.EAI_NONAME, socket.EAI_FAIL, socket.EAI_NODATA])
def test_name_that_does_not_exist(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """One test host resolves, so the DNS is up; the name is tried once more, and that is it."""
    resolver = _resolve(monkeypatch, UP, {"gone.example": code})
    conn = HTTPConnection("gone.example")
    with pytest.raises(HostnameNotResolvable) as info:
        eval_coroutine(conn.co_send_request("POST", "/"), 10)
    assert info.value.name == "gone.example"
    assert info.value.safe_to_retry
    assert resolver.asked.count("gone.example") == 2
    assert {"up.example", "also-up.example"} & set(resolver.asked)


@pytest.mark.usefixtures("test_hosts")
def test_dns_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = _resolve(monkeypatch, {})
    with pytest.raises(DNSUnavailable) as info:
        eval_coroutine(HTTPConnection("name.example").co_connect(), 10)
    assert info.value.name == "name.example"
    assert {"up.example", "also-up.example"} <= set(resolver.asked)
    assert is_temp_network_error(info.value)


@pytest.mark.usefixtures("test_hosts")
def test_dns_that_says_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = _resolve(monkeypatch, UP, {"name.example": socket.EAI_AGAIN})
    with pytest.raises(DNSUnavailable):
        eval_coroutine(HTTPConnection("name.example").co_connect(), 10)
    assert resolver.asked == ["name.example"]


@pytest.mark.usefixtures("test_hosts")
def test_name_that_resolves_the_second_time(plain: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = plain.listen()
    peer = listener.peer()

    class Recovering(Resolver):
        def __call__(self, host: Any, *args: Any, **options: Any) -> list[Any]:
            if host in ("up.example", b"up.example"):
                self.errors.clear()
            return super().__call__(host, *args, **options)

    known: Known = {"name.example": listener.address, "up.example": ("192.0.2.1", 80)}
    resolver = Recovering(known, {"name.example": socket.EAI_NONAME})
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    conn = HTTPConnection("name.example")
    plain.adopt(conn.disconnect)
    works(conn, peer)
    assert resolver.asked[0] == resolver.asked[-1] == "name.example"


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """Let this process open so many descriptors, and no more.

    Only low numbers may be used, so it hardly matters what something else closes meanwhile.
    """
    gc.collect()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.open(os.devnull, os.O_RDONLY)]
    held += [os.dup(held[0]) for _ in range(count)]
    for fd in held:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (held[-1], limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.usefixtures("test_hosts")
@pytest.mark.parametrize("left", [0, 1, 2])
async def test_no_descriptors_left_for_a_look_up(plain: StyledWire, left: int) -> None:
    """With two of them, the look-up begins, and the system's resolver finds none.

    The C library may then report another error.
    """
    conn = plain.connection("localhost")

    async def look_up() -> OSError:
        with descriptors_left(left), pytest.raises(OSError) as info:
            await conn.send_request("GET", "/")
        return info.value

    (outcome,) = await plain.together(look_up())
    exc = outcome.get()
    assert exc.errno == errno.EMFILE or (left == 2 and exc.errno == errno.EBUSY)
    assert not isinstance(exc, dugong.DugongError | socket.gaierror)
    assert (exc.bytes_sent, exc.safe_to_retry) == (0, True)
    assert not is_temp_network_error(exc)
    listener = plain.listen()
    conn.port = listener.address[1]
    await works(conn, listener.peer())


@pytest.mark.usefixtures("test_hosts")
@pytest.mark.parametrize(
    ("code", "error"),
    [(socket.EAI_MEMORY, errno.ENOMEM), (socket.EAI_NONAME, errno.ENFILE)],
)
async def test_shortage_of_the_machine(
    plain: StyledWire, monkeypatch: pytest.MonkeyPatch, code: int, error: int
) -> None:
    """The system's resolver says no, because of something that no name server has done."""

    def getaddrinfo(host: Any, *args: Any, flags: int = 0, **options: Any) -> list[Any]:
        if not flags and error == errno.ENFILE:
            monkeypatch.setattr(socket.socket, "__init__", no_socket)
        raise socket.gaierror(code, "no")

    def no_socket(*args: Any, **options: Any) -> None:
        monkeypatch.undo()
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    conn = plain.connection("name.example")
    with pytest.raises(OSError, match=os.strerror(error)) as info:
        await conn.connect()
    assert info.value.errno == error
    assert not isinstance(info.value, socket.gaierror)


def test_resolving_does_not_block_the_coroutine(
    plain: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is looked up elsewhere: the coroutine yields while the look-up hangs."""
    listener = plain.listen()
    peer = listener.peer()
    gate = threading.Event()
    resolver = _resolve(monkeypatch, {"slow.example": listener.address}, gate=gate)
    conn = HTTPConnection("slow.example")
    plain.adopt(conn.disconnect)
    crt = conn.co_connect()
    need = next(crt)
    assert need.mask == select.POLLIN
    assert not need.poll(0)
    gate.set()
    drive(crt, peer)
    works(conn, peer)
    assert threading.current_thread() not in resolver.threads


def test_second_address_when_the_first_refuses(
    plain: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener, dead = plain.listen(), plain.listen()
    _resolve(monkeypatch, {"two.example": [dead.address, listener.address]})
    dead.close()
    conn = HTTPConnection("two.example")
    plain.adopt(conn.disconnect)
    works(conn, listener.peer())


def test_all_addresses_refuse(plain: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = plain.listen()
    address = dead.address
    dead.close()
    _resolve(monkeypatch, {"dead.example": address})
    with pytest.raises(ConnectionRefusedError):
        eval_coroutine(HTTPConnection("dead.example").co_connect(), 10)


def test_read_response_while_the_request_is_being_connected(
    plain: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader waits on a descriptor of its own, never on the sender's, and is woken."""
    listener = plain.listen()
    peer = listener.peer()
    gate = threading.Event()
    _resolve(monkeypatch, {"slow.example": listener.address}, gate=gate)
    conn = HTTPConnection("slow.example")
    plain.adopt(conn.disconnect)
    sender = conn.co_send_request("GET", "/late")
    sending = next(sender)
    assert conn.response_pending()
    reader = conn.co_read_response()
    reading = next(reader)
    assert reading.mask == select.POLLIN
    assert reading.fd != sending.fd
    assert not reading.poll(0)
    gate.set()
    drive(sender, peer)
    assert reading.poll(10)
    peer.expect_request(b"GET /late")
    peer.reply(OK)
    assert drive(reader, peer).path == "/late"


def test_reader_is_told_when_connecting_failed(
    plain: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    dead = plain.listen()
    _resolve(monkeypatch, {"slow.example": dead.address}, gate=gate)
    dead.close()
    conn = HTTPConnection("slow.example")
    sender = conn.co_send_request("GET", "/late")
    next(sender)
    reader = conn.co_read_response()
    reading = next(reader)
    gate.set()
    with pytest.raises(ConnectionRefusedError):
        drive(sender)
    assert reading.poll(10), "the reader was not woken"
    with pytest.raises((dugong.DugongError, OSError)):
        drive(reader)
