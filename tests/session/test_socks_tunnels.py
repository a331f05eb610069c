"""Tunnels through a SOCKS proxy, in every style: addresses and names, credentials, and ends."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

import dugong
from dugong import (
    AddressRefused,
    AsyncHTTPConnection,
    ConnectionClosed,
    ConnectionTimedOut,
    HTTPConnection,
    InvalidRequest,
    InvalidResponse,
    Pool,
    TunnelRefused,
    eval_coroutine,
)
from dugong.pool.place import ConnectionSettings
from tests.support.drive import advance, drive
from tests.support.exchanges import works
from tests.support.in_turn import in_turn
from tests.support.peer import Peer
from tests.support.styles import StyledWire
from tests.support.wire import HOST, Listener, Wire

OPENED = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"

#: A request for a tunnel, without the port.
BY_NAME = b"\x05\x01\x00\x03\x09localhost"


def by_address(*address: int) -> bytes:
    return b"\x05\x01\x00" + bytes([1 if len(address) == 4 else 4, *address])


def url(listener: Listener, scheme: str, credentials: str = "") -> str:
    return "{}://{}{}:{}".format(scheme, credentials, *listener.address)


def port(wire: Any) -> bytes:
    return (443 if wire.tls else 80).to_bytes(2, "big")


def opens(wire: Any, peer: Peer, request: bytes) -> None:
    """Have the proxy open this tunnel, and the server behind it speak TLS if the wire does."""
    peer.expect(b"\x05\x01\x00")
    peer.reply(b"\x05\x00")
    peer.expect(request + port(wire))
    peer.reply(OPENED)
    if wire.tls:
        peer.start_tls(wire.certificates.server)


def through(wire: Any, listener: Listener, scheme: str = "socks5h", **options: Any) -> Any:
    options = {"ssl_context": wire.client_context, "proxy": url(listener, scheme), **options}
    return wire.connection(options.pop("host", HOST), **options)


async def test_tunnel(wire: StyledWire) -> None:
    """Also for a plain connection. The server is asked as if there was no proxy, each time."""
    listener = wire.listen()
    conn = through(wire, listener)
    for _ in range(2):
        peer = listener.peer(handshake=False)
        opens(wire, peer, BY_NAME)
        await works(conn, peer)
        (request,) = peer.requests
        assert request.target.startswith("/")
        assert request.get("Host") == HOST
        assert conn.peer_address == listener.address
        conn.disconnect()


@in_turn("chosen", [b"\x05\x00", b"\x05\x02"])
@in_turn("chunk", [None, 1])
async def test_credentials(wire: StyledWire, chosen: bytes, chunk: int | None) -> None:
    """They are sent if the proxy wants them, and only there."""
    listener = wire.listen()
    peer = listener.peer(handshake=False, chunk=chunk)
    conn = through(wire, listener, proxy=url(listener, "socks5h", "us%3Aer:s3cret@"))
    peer.expect(b"\x05\x02\x00\x02")
    peer.reply(chosen)
    if chosen == b"\x05\x02":
        peer.expect(b"\x01\x05us:er\x06s3cret")
        peer.reply(b"\x01\x00")
    peer.expect(BY_NAME + port(wire))
    peer.reply(OPENED)
    if wire.tls:
        peer.start_tls(wire.certificates.server)
    await works(conn, peer)
    assert b"roxy-" not in peer.requests[0].head
    assert b"s3cret" not in peer.requests[0].head


@in_turn(
    ("host", "scheme", "request"),
    [
        ("127.0.0.1", "socks5", by_address(127, 0, 0, 1)),
        ("127.0.0.1", "socks5h", by_address(127, 0, 0, 1)),
        ("::1", "socks5", by_address(*bytes(15), 1)),
        ("::1", "socks5h", by_address(*bytes(15), 1)),
    ],
)
async def test_addresses(plain: StyledWire, host: str, scheme: str, request: bytes) -> None:
    listener = plain.listen()
    peer = listener.peer()
    opens(plain, peer, request)
    await works(through(plain, listener, scheme, host=host), peer)


# ------------------------------------------------------------------------------- names


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A DNS with one name, which has two addresses. Returns the names that were looked up."""
    asked: list[str] = []
    getaddrinfo = socket.getaddrinfo

    def look_up(host: Any, at: int, *args: Any, **options: Any) -> list[Any]:
        if options.get("flags") == socket.AI_NUMERICHOST:
            return getaddrinfo(host, at, *args, **options)
        asked.append(host)
        if host != "two.example":
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", at, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", at)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(dugong, "DNS_TEST_HOSTNAMES", (("two.example", 80),))
    return asked


V6 = by_address(*ip_address("2001:db8::1").packed)
V4 = by_address(192, 0, 2, 1)


def refuses(wire: Any, peer: Peer, request: bytes, code: int) -> None:
    peer.expect(b"\x05\x01\x00")
    peer.reply(b"\x05\x00")
    peer.expect(request + port(wire))
    peer.reply(bytes([5, code]) + OPENED[2:])
    peer.expect_eof()


async def test_name_that_we_resolve(plain: StyledWire, names: list[str]) -> None:
    listener = plain.listen()
    peer = listener.peer()
    opens(plain, peer, V6)
    events: list[str] = []
    conn = through(plain, listener, "socks5", host="two.example")
    conn.on_event = events.append
    await works(conn, peer)
    assert names == ["two.example"]
    assert peer.requests[0].get("Host") == "two.example"
    assert events[:3] == ["resolved", "connecting", "connected"]


async def test_name_that_the_proxy_resolves(plain: StyledWire, names: list[str]) -> None:
    listener = plain.listen()
    peer = listener.peer()
    opens(plain, peer, b"\x05\x01\x00\x03\x0btwo.example")
    await works(through(plain, listener, host="two.example"), peer)
    assert names == []


async def test_next_address(plain: StyledWire, names: list[str]) -> None:
    """A proxy without IPv6 refuses the first one."""
    listener = plain.listen()
    first, second = listener.peer(), listener.peer()
    refuses(plain, first, V6, 8)
    opens(plain, second, V4)
    await works(through(plain, listener, "socks5", host="two.example"), second)
    assert names == ["two.example"]


async def test_no_address_is_reached(plain: StyledWire, names: list[str]) -> None:
    listener = plain.listen()
    refuses(plain, listener.peer(), V6, 3)
    refuses(plain, listener.peer(), V4, 5)
    with pytest.raises(TunnelRefused) as info:
        await through(plain, listener, "socks5", host="two.example").connect()
    assert info.value.reply == 5


async def test_wrong_credentials_are_sent_once(plain: StyledWire, names: list[str]) -> None:
    listener = plain.listen()
    peer = listener.peer()
    conn = through(plain, listener, host="two.example", proxy=url(listener, "socks5", "u:s3cret@"))
    peer.expect(b"\x05\x02\x00\x02")
    peer.reply(b"\x05\x02")
    peer.expect(b"\x01\x01u\x06s3cret")
    peer.reply(b"\x01\x01")
    peer.expect_eof()
    with pytest.raises(TunnelRefused, match="rejected") as info:
        await conn.connect()
    assert info.value.status == 407
    assert "s3cret" not in f"{info.value!r} {info.value}"


async def test_name_that_does_not_exist(plain: StyledWire, names: list[str]) -> None:
    """Nothing connects to the proxy."""
    listener = plain.listen()
    with pytest.raises(dugong.HostnameNotResolvable) as info:
        await through(plain, listener, "socks5", host="none.example").connect()
    assert info.value.name == "none.example"


def test_given_socket(plain: Wire, names: list[str]) -> None:
    """There is no second connection, so no second address."""
    conn, peer = plain.pair(proxy="socks5://proxy.example", host="two.example")
    refuses(plain, peer, V6, 8)
    with pytest.raises(TunnelRefused):
        drive(conn.co_connect(), peer)
    peer.run()


@pytest.mark.parametrize(
    ("name", "failure"),
    [("none.example", dugong.HostnameNotResolvable), ("two.example", ConnectionClosed)],
)
def test_given_socket_is_closed_in_any_case(
    plain: Wire, names: list[str], name: str, failure: type[Exception]
) -> None:
    """Also if the name is not known, or the connection is closed before it is."""
    near, far = socket.socketpair()
    with far:
        conn = plain.connection(name, sock=near, proxy="socks5://proxy.example")
        crt = conn.co_connect()
        with pytest.raises(failure):
            next(crt)  # the name may be looked up at once
            if failure is ConnectionClosed:
                conn.disconnect()
            eval_coroutine(crt, timeout=10)
        assert near.fileno() == -1
        while far.recv(10):
            pass  # the name may have been looked up before the connection was closed


# ------------------------------------------------------------------------------- the guard


def connect(origin: str, *peers: Peer, **settings: Any) -> None:
    """Connect by way of a pool, which alone has an address guard."""
    with Pool() as pool:
        conn = drive(pool.co_acquire(origin, ConnectionSettings(**settings)))
        drive(conn.co_connect(), *peers)


@in_turn(
    ("allowed", "requests"),
    [
        ({"2001:db8::1", "192.0.2.1"}, [V6, V4]),
        ({"192.0.2.1"}, [V4]),
        ({"2001:db8::1"}, [V6]),
    ],
)
def test_approved_addresses_only(
    plain: Wire, names: list[str], allowed: set[str], requests: list[bytes]
) -> None:
    """Those of the server. That of the proxy is a setting of the program."""
    listener = plain.listen()
    seen: list[str] = []

    def allow(address: Any) -> bool:
        seen.append(str(address))
        return str(address) in allowed

    peers = [listener.peer() for _ in requests]
    for peer, request in zip(peers, requests, strict=True):
        refuses(plain, peer, request, 4)
    with pytest.raises(TunnelRefused):
        connect("http://two.example", *peers, allow=allow, proxy=url(listener, "socks5"))
    assert seen == ["2001:db8::1", "192.0.2.1"]


@in_turn("host", ["two.example", "192.0.2.1"])
def test_no_address_is_approved(plain: Wire, host: str) -> None:
    listener = plain.listen()

    def resolve(name: str, at: int) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", at))]

    settings: dict[str, Any] = {"allow": lambda address: False, "resolve": resolve}
    with pytest.raises(AddressRefused, match=r"192\.0\.2\.1"):
        connect(f"http://{host}", proxy=url(listener, "socks5"), **settings)
    assert not listener.peer().accept(), "nothing has connected"


def test_resolver_of_the_caller(plain: Wire, names: list[str]) -> None:
    listener = plain.listen()
    peer = listener.peer()
    refuses(plain, peer, by_address(192, 0, 2, 7), 2)

    def resolve(name: str, at: int) -> list[Any]:
        assert (name, at) == ("unknown.example", 80)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", at))]

    with pytest.raises(TunnelRefused):
        connect("http://unknown.example", peer, resolve=resolve, proxy=url(listener, "socks5"))
    assert names == []


@in_turn(
    "setting",
    [
        {"proxy": ("h", 1)},
        {"proxy": "http://h"},
        {"proxy": "https://h"},
        {"proxy": "socks5h://h"},
        {"unix_socket": "/path"},
    ],
)
def test_what_no_guard_can_see(setting: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="allow"):
        ConnectionSettings(allow=lambda address: True, **setting)


def test_guard_of_a_connection_that_is_changed() -> None:
    """A caller may set attributes of a leased connection."""
    settings = ConnectionSettings(allow=lambda address: True, proxy="socks5://h")
    with Pool() as pool:
        conn = drive(pool.co_acquire("http://two.example", settings))
        conn.proxy = "socks5h://h"
        with pytest.raises(InvalidRequest, match="allow cannot be combined"):
            conn.connect()


# ------------------------------------------------------------------------------- refusals and ends


@in_turn(
    ("code", "status", "reason"),
    [(1, 502, "general failure"), (2, 403, "rules"), (200, 500, "unassigned")],
)
async def test_refusals(wire: StyledWire, code: int, status: int, reason: str) -> None:
    listener = wire.listen()
    peer = listener.peer(handshake=False)
    conn = through(wire, listener)
    peer.expect(b"\x05\x01\x00")
    peer.reply(b"\x05\x00")
    peer.expect(BY_NAME + port(wire))
    peer.reply(bytes([5, code]))
    with pytest.raises(TunnelRefused, match=reason) as info:
        await conn.request("GET", "/")
    exc = info.value
    assert (exc.status, exc.reply, exc.bytes_sent, exc.safe_to_retry) == (status, code, 0, True)
    assert "localhost through the proxy {}:{}".format(*listener.address) in str(exc)


#: What a proxy sends, after each thing that it is sent.
DIALOGUE = [(b"\x05\x02\x00\x02", b"\x05\x02"), (b"\x01\x01u\x01p", b"\x01\x00"),
            (BY_NAME + b"\x00\x50", OPENED)]  # fmt: skip


def cuts() -> Iterator[tuple[int, int]]:
    """Each byte of the dialogue: the number of the message, and how much of it is sent."""
    for number, (_, message) in enumerate(DIALOGUE):
        for size in range(len(message)):
            yield number, size


@in_turn(("number", "size"), cuts())
@in_turn("end", ["close", "reset"])
async def test_ends_at_every_byte(plain: StyledWire, number: int, size: int, end: str) -> None:
    listener = plain.listen()
    peer = listener.peer()
    conn = through(plain, listener, proxy=url(listener, "socks5h", "u:p@"))
    for expected, message in DIALOGUE[:number]:
        peer.expect(expected)
        peer.reply(message)
    expected, message = DIALOGUE[number]
    peer.expect(expected)
    if size:
        peer.reply(message[:size])
    getattr(peer, end)()
    text = "instead of opening a tunnel" if end == "close" else "broke"
    with pytest.raises(ConnectionClosed, match=text) as info:
        await conn.connect()
    assert "through the proxy {}:{}".format(*listener.address) in str(info.value)
    assert not conn.connected


@in_turn(
    ("answer", "text"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak SOCKS 5"),
        (b"\x05\x00\x05\x00", "before it was asked"),
    ],
)
async def test_not_a_socks_proxy(wire: StyledWire, answer: bytes, text: str) -> None:
    listener = wire.listen()
    peer = listener.peer(handshake=False)
    conn = through(wire, listener)
    peer.expect(b"\x05\x01\x00")
    peer.reply(answer)
    with pytest.raises(InvalidResponse, match=text):
        await conn.connect()


@in_turn("messages", [0, 1, 2])
def test_time_limits(plain: Wire, messages: int) -> None:
    listener = plain.listen()
    peer = listener.peer()
    conn = through(plain, listener, proxy=url(listener, "socks5h", "u:p@"))
    for expected, message in DIALOGUE[:messages]:
        peer.expect(expected)
        peer.reply(message)
    crt = conn.co_connect()
    advance(crt, peer)
    with pytest.raises(ConnectionTimedOut) as info:
        crt.throw(ConnectionTimedOut("enough"))
    assert info.value.phase == "connect"
    assert "through the proxy {}:{}".format(*listener.address) in str(info.value)


@pytest.mark.styles("generator")  # others would need a second thread or task
async def test_disconnect(wire: StyledWire) -> None:
    listener = wire.listen()
    peer = listener.peer(handshake=False)
    conn = through(wire, listener)
    peer.expect(b"\x05\x01\x00")
    peer.call(conn.disconnect)
    with pytest.raises(ConnectionClosed, match="disconnect"):
        await conn.connect()


@pytest.mark.parametrize("kind", [HTTPConnection, AsyncHTTPConnection])
def test_credentials_are_checked_at_once(kind: Any) -> None:
    with pytest.raises(InvalidRequest, match="255 bytes") as info:
        kind("h", proxy="socks5://user:" + "s3cret" * 50 + "@h")
    assert "s3cret" not in str(info.value)
