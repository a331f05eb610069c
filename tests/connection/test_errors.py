"""Errors: what each tells about a retry, what a broken connection still does, what is temporary."""

from __future__ import annotations

import ast
import errno
import gc
import pickle
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import dugong
from dugong import (
    AsyncHTTPConnection,
    BodyFollowing,
    ConnectionClosed,
    ConnectionTimedOut,
    DNSUnavailable,
    DugongError,
    ExcessBodyData,
    Headers,
    HostnameNotResolvable,
    HTTPConnection,
    InvalidResponse,
    StateError,
    TunnelRefused,
    UnsupportedResponse,
    is_temp_network_error,
)
from dugong.errors import is_callers
from tests.support.drive import drive
from tests.support.exchanges import CHUNKED, LENGTH, READERS, ask, fetch, works
from tests.support.in_turn import in_turn
from tests.support.peer import Peer
from tests.support.servers import HOST, NginxEndpoints, Proxies
from tests.support.styles import StyledWire
from tests.support.wire import Wire

# ---------------------------------------------------------------------------- the classes


@pytest.mark.parametrize(
    ("name", "bases"),
    [
        ("ConnectionClosed", (ConnectionError,)),
        ("ConnectionTimedOut", (TimeoutError,)),
        ("TunnelRefused", (ConnectionError,)),
        ("HostnameNotResolvable", ()),
        ("DNSUnavailable", ()),
        ("AddressRefused", ()),
        ("InvalidResponse", ()),
        ("UnsupportedResponse", ()),
        ("StateError", ()),
        ("ExcessBodyData", ()),
        ("BodyChanged", (ValueError,)),
        ("DigestMismatch", (ValueError,)),
    ],
)
def test_every_exception_is_a_dugong_error(name: str, bases: tuple[type, ...]) -> None:
    for base in (DugongError, *bases):
        assert issubclass(getattr(dugong, name), base)


def _tunnel_refused(status: int) -> TunnelRefused:
    return TunnelRefused(status, "No", Headers())


TEMPORARY = [
    (ConnectionClosed("x"), True),
    (ConnectionTimedOut("x"), True),
    (ConnectionRefusedError(errno.ECONNREFUSED, "x"), True),
    (ConnectionResetError(errno.ECONNRESET, "x"), True),
    (ConnectionAbortedError(errno.ECONNABORTED, "x"), True),
    (BrokenPipeError(errno.EPIPE, "x"), True),
    (ConnectionError("x"), True),
    (TimeoutError("x"), True),
    (InterruptedError(errno.EINTR, "x"), True),
    (DNSUnavailable("host.example"), True),
    (HostnameNotResolvable("host.example"), False),
    (OSError(errno.EHOSTUNREACH, "x"), True),
    (OSError(errno.ENETUNREACH, "x"), True),
    (OSError(errno.ENETDOWN, "x"), True),
    (OSError(errno.ETIMEDOUT, "x"), True),
    (OSError(errno.ENOENT, "x"), False),
    (OSError(errno.EMFILE, "x"), False),
    (OSError("x"), False),
    (ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "x"), True),
    (ssl.SSLZeroReturnError(ssl.SSL_ERROR_ZERO_RETURN, "x"), True),
    (ssl.SSLCertVerificationError(1, "x"), False),
    (ssl.SSLError(ssl.SSL_ERROR_SSL, "x"), False),
    (_tunnel_refused(502), True),
    (_tunnel_refused(503), True),
    (_tunnel_refused(504), True),
    (_tunnel_refused(403), False),
    (_tunnel_refused(407), False),
    (_tunnel_refused(500), False),
    (InvalidResponse("x"), False),
    (UnsupportedResponse("x"), False),
    (StateError("x"), False),
    (ExcessBodyData("x"), False),
    (ValueError("x"), False),
    (KeyError("x"), False),
    (KeyboardInterrupt(), False),
]


@in_turn(("exc", "temporary"), TEMPORARY, ids=repr)
def test_is_temp_network_error(exc: BaseException, temporary: bool) -> None:
    assert is_temp_network_error(exc) is temporary


def test_every_invalid_response_says_which_part() -> None:
    """Nothing in the package relies on the default of that argument."""
    package = Path(dugong.__file__).parent
    found = 0
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and "InvalidResponse" in ast.unparse(node.func):
                found += 1
                assert "part" in [keyword.arg for keyword in node.keywords], ast.unparse(node)
    assert found > 10


def test_refused_tunnel_says_why() -> None:
    exc = _tunnel_refused(407)
    assert (exc.status, exc.reason) == (407, "No")
    assert "407" in str(exc)


@pytest.mark.parametrize("kind", [HostnameNotResolvable, DNSUnavailable])
def test_name_errors_say_the_name(kind: Any) -> None:
    exc = kind("host.example")
    assert exc.name == "host.example"
    assert "host.example" in str(exc)
    assert pickle.loads(pickle.dumps(exc)).name == "host.example"  # noqa: S301 (our own bytes)


# ------------------------------------------------------------------- what a retry may do


ENDS: dict[str, Callable[[Peer], None]] = {"close": Peer.close, "reset": Peer.reset}


@in_turn("end", ENDS.values(), ids=ENDS)
@in_turn(
    ("method", "body", "safe"),
    [
        ("GET", None, True),
        ("HEAD", None, True),
        ("OPTIONS", None, True),
        ("TRACE", None, True),
        ("DELETE", None, True),
        ("PUT", b"abc", True),
        ("PUT", BodyFollowing(3), False),
        ("POST", None, False),
        ("POST", b"abc", False),
        ("PATCH", b"abc", False),
        ("get", None, False),
        ("PURGE", None, False),
    ],
)
async def test_connection_lost_before_the_response(
    wire: StyledWire, end: Callable[[Peer], None], method: str, body: Any, safe: bool
) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    end(peer)
    await conn.send_request(method, "/", body=body)
    if isinstance(body, BodyFollowing):
        await conn.write(b"abc")
    with pytest.raises(ConnectionClosed) as info:
        await conn.read_response()
    exc = info.value
    assert exc.bytes_sent == conn.bytes_sent == len(peer.received) > 0
    assert not exc.response_started
    assert exc.safe_to_retry is safe
    (request,) = exc.unanswered
    assert (request.method, request.path) == (method, "/")


async def test_cause_is_the_systems_error(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reset()
    await conn.send_request("GET", "/")
    with pytest.raises(ConnectionClosed) as info:
        await conn.read_response()
    assert isinstance(info.value.__cause__, OSError)


@in_turn("offset", [1, 9, len(LENGTH.head), len(LENGTH.wire) - 1])
async def test_connection_lost_in_the_response(wire: StyledWire, offset: int) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(LENGTH.wire[:offset])
    peer.close()
    with pytest.raises(ConnectionClosed) as info:
        await fetch(conn)
    assert info.value.response_started
    assert info.value.safe_to_retry
    assert [request.path for request in info.value.unanswered] == ["/"]


async def test_bytes_sent_is_of_the_failed_request_alone(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    await works(conn, peer)
    before = len(peer.received)
    peer.expect_request()
    peer.close()
    await conn.send_request("PUT", "/", body=b"0123456789")
    with pytest.raises(ConnectionClosed) as info:
        await conn.read_response()
    assert info.value.bytes_sent == len(peer.received) - before


async def test_bytes_sent_of_a_body_in_parts(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    await conn.send_request("PUT", "/", body=BodyFollowing(10_000_000))
    peer.expect_head()
    peer.run()
    peer.reset()
    peer.run()

    async def write_all() -> None:
        for _ in range(100):
            await conn.write(bytes(100_000))

    with pytest.raises(ConnectionClosed) as info:
        await write_all()
    exc = info.value
    assert len(peer.requests[0].head) < exc.bytes_sent < 10_000_000
    assert not exc.safe_to_retry
    assert [request.path for request in exc.unanswered] == ["/"]


async def test_first_of_several_pipelined_requests_fails(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    await conn.send_request("GET", "/get")
    await conn.send_request("POST", "/post", body=b"x")
    peer.expect_request()
    peer.expect_request()
    peer.close()
    with pytest.raises(ConnectionClosed) as info:
        await conn.read_response()
    assert info.value.safe_to_retry, "the request that failed is the GET"
    assert info.value.bytes_sent == len(peer.requests[0].head) + 4
    assert [request.path for request in info.value.unanswered] == ["/get", "/post"]


async def test_protocol_error_carries_them_too(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
    await conn.send_request("GET", "/")
    with pytest.raises(InvalidResponse) as info:
        await conn.read_response()
    assert info.value.bytes_sent == len(peer.received)
    assert info.value.response_started
    assert len(info.value.unanswered) == 1


# ----------------------------------------------------------------------- once it is broken


AFTERWARDS: dict[str, Callable[[AsyncHTTPConnection], Awaitable[object]]] = {
    "send_request": lambda conn: conn.send_request("GET", "/"),
    "read_response": lambda conn: conn.read_response(),
    "read": lambda conn: conn.read(10),
    "readinto": lambda conn: conn.readinto(bytearray(10)),
    "readall": lambda conn: conn.readall(),
    "discard": lambda conn: conn.discard(),
}


BROKEN = {
    "head": b"HTTP/1.1 200 OK\r\nBad Field: x\r\n\r\n",
    "framing": b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    "chunk": CHUNKED.head + b"2\r\nab\r\nnonsense\r\n",
    "cut": LENGTH.wire[:-3],
}


@in_turn("case", BROKEN)
@in_turn("call", AFTERWARDS.values(), ids=AFTERWARDS)
async def test_further_calls_raise_connection_closed_from_the_first_error(
    wire: StyledWire,
    case: str,
    call: Callable[[AsyncHTTPConnection], Awaitable[object]],
) -> None:
    listener = wire.listen()
    conn, first, second = wire.dial(listener), listener.peer(), listener.peer()
    first.expect_request()
    first.reply(BROKEN[case])
    if case == "cut":
        first.close()
    with pytest.raises(DugongError) as original:
        await ask(conn)
        await READERS["read(5)"](conn)
    for _ in range(2):
        with pytest.raises(ConnectionClosed) as info:
            await call(conn)
        assert info.value is original.value or info.value.__cause__ is original.value
    conn.disconnect()
    await works(conn, second)


async def test_first_error_that_the_caller_has_let_go_of(plain: StyledWire) -> None:
    """A copy takes its place: it says the same, and keeps nothing alive."""
    conn, peer = plain.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n")
    with suppress(InvalidResponse):
        await ask(conn)
        raise AssertionError("no error")
    gc.collect()  # a loop may refer to it for a while
    with pytest.raises(ConnectionClosed) as later:
        await conn.read_response()
    cause = later.value.__cause__
    assert isinstance(cause, InvalidResponse)
    assert (cause.part, cause.__traceback__) == ("framing", None)


@pytest.mark.parametrize("chunk", [None, 1])
def test_read_raw_after_an_invalid_response(wire: Wire, chunk: int | None) -> None:
    data = b"220 mail.example.com ESMTP\r\nmore of that"
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(data, chunk=chunk)
    with pytest.raises(InvalidResponse):
        drive(ask(conn), peer)
    peer.close()
    peer.run()
    raw = b""
    while piece := conn.read_raw(5):
        assert len(piece) <= 5
        raw += piece
    assert raw == data


def test_read_raw_after_a_bad_chunk(wire: Wire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(CHUNKED.head + b"2\r\nab\r\nnonsense\r\nrest")
    drive(ask(conn), peer)
    assert drive(conn.co_read(2), peer) == b"ab"
    with pytest.raises(InvalidResponse):
        drive(conn.co_read(2), peer)
    assert conn.read_raw(100).endswith(b"nonsense\r\nrest")


# ----------------------------------------------------------------------- how connecting ends


async def test_refused_connection_passes_through(wire: StyledWire) -> None:
    listener = wire.listen()
    conn = wire.dial(listener)
    listener.close()
    for call in (conn.connect, lambda: conn.send_request("POST", "/")):
        with pytest.raises(ConnectionRefusedError):
            await call()


async def test_refused_request_is_no_longer_outstanding(wire: StyledWire) -> None:
    listener = wire.listen()
    conn = wire.dial(listener)
    listener.close()
    with pytest.raises(ConnectionRefusedError) as info:
        await conn.send_request("POST", "/", body=b"abc")
    assert is_temp_network_error(info.value)
    assert info.value.bytes_sent == 0  # type: ignore[attr-defined]
    assert info.value.safe_to_retry is True  # type: ignore[attr-defined]


async def test_certificate_nobody_trusts(tls: StyledWire) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    conn, _ = tls.pair(ssl_context=context)
    with pytest.raises(ssl.SSLCertVerificationError) as info:
        await conn.connect()
    assert not is_temp_network_error(info.value)


async def test_certificate_of_another_name(tls: StyledWire) -> None:
    conn, _ = tls.pair(host="example.com")
    with pytest.raises(ssl.SSLCertVerificationError):
        await conn.connect()


async def test_tls_peer_that_speaks_plain(tls: StyledWire) -> None:
    conn, peer = tls.pair(handshake=False)
    peer.reply(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(ssl.SSLError):
        await conn.connect()


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_peer_that_leaves_during_the_handshake(
    tls: StyledWire, end: Callable[[Peer], None]
) -> None:
    conn, peer = tls.pair(handshake=False)
    peer.expect(b"\x16\x03")  # it has begun
    end(peer)
    with pytest.raises(OSError) as info:
        await conn.send_request("POST", "/")
    assert is_temp_network_error(info.value)


def test_end_of_a_body_that_comes_after_it_was_given_up() -> None:
    """The rest of a body that was longer than acceptable is no concern of the next request."""
    near, far = socket.socketpair()
    with HTTPConnection("localhost", sock=near) as conn, far:
        conn.send_request("GET", "/")
        far.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello")
        conn.read_response()
        with pytest.raises(InvalidResponse):
            conn.readall(3)
        with pytest.raises(ConnectionClosed):
            conn.discard()
        far.sendall(b"\r\n0\r\n\r\n")
        with pytest.raises(ConnectionClosed) as info:
            conn.send_request("GET", "/")
        assert isinstance(info.value.__cause__, InvalidResponse)


def test_errors_while_connecting_are_marked() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        with HTTPConnection(host, port) as conn:
            conn.connect()
            server.accept()[0].close()
            with pytest.raises(ConnectionClosed) as closed:
                conn.send_request("GET", "/")
            assert closed.value.while_connecting is False
    with HTTPConnection(host, port) as conn, pytest.raises(ConnectionRefusedError) as refused:
        conn.request("GET", "/")
    assert vars(refused.value)["while_connecting"] is True
    assert vars(refused.value)["at_proxy"] is False


def test_errors_at_a_proxy_are_marked(nginx: NginxEndpoints, tinyproxy: Proxies) -> None:
    """They say nothing about the server."""
    context = ssl.create_default_context()  # it does not trust the server
    for proxy, port, at_proxy in (
        ((HOST, 1), nginx.tls.port, True),
        (tinyproxy.open, 1, True),  # to which it opens no tunnel
        (tinyproxy.open, nginx.tls.port, False),
    ):
        with HTTPConnection(HOST, port, ssl_context=context, proxy=proxy) as conn:
            with pytest.raises(OSError) as failed:
                conn.connect()
        assert vars(failed.value)["at_proxy"] is at_proxy


@pytest.mark.parametrize("method", ["__iter__", "read"])
def test_exceptions_of_a_body_are_marked(method: str, wire: Wire) -> None:
    """So they are not taken for errors of the network, whatever they are."""
    failure = ConnectionResetError("of the body")

    def fail(*args: object) -> Any:
        raise failure

    body: Any = type("Body", (), {method: fail})()
    conn, peer = wire.pair()
    with pytest.raises(ConnectionResetError) as caught:
        drive(conn.co_request("PUT", "/", body=body, expect100=False), peer)
    assert caught.value is failure
    assert is_callers(failure)
