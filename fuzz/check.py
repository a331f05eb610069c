"""What must be true of any bytes from a server, in any pieces.

An input is four bytes that choose a scenario, a way of reading, two sizes of pieces and how the
connection ends; the rest is what the server sends. It is sent whole and in pieces, and

* only documented exceptions are raised,
* the outcome is the same, up to the name of a refusal,
* after a failure nothing more is delivered, and
* the bodies delivered have the length that was announced.
"""

from __future__ import annotations

import atexit
import socket
from collections.abc import Callable, Iterator
from typing import Any

from dugong import (
    BodyFollowing,
    ConnectionClosed,
    ConnectionTimedOut,
    HTTPConnection,
    HTTPResponse,
    InvalidResponse,
    UnsupportedResponse,
)
from tests.support.scripted import Co, End, ScriptedSocket, run

#: What a server can bring about, and nothing else.
DOCUMENTED = (ConnectionClosed, ConnectionTimedOut, InvalidResponse, UnsupportedResponse)

Request = tuple[str, dict[str, Any]]

UPGRADE: Request = ("GET", {"headers": {"Upgrade": "x", "Connection": "upgrade"}})
EXPECT: Request = ("PUT", {"body": BodyFollowing(2), "expect100": True})

#: What is asked, all of it before anything is read.
SCENARIOS: list[list[Request]] = [
    [("GET", {}), ("GET", {}), ("GET", {})],
    [("HEAD", {}), ("GET", {})],
    [("POST", {"body": b"hello"}), ("GET", {})],
    [EXPECT],
    [("CONNECT", {})],
    [UPGRADE],
    [("GET", {"headers": {"Connection": "close"}})],
    [("GET", {}), EXPECT],
]


def by_read(size: int) -> Callable[[HTTPConnection], Co[bytes]]:
    return lambda conn: conn.co_read(size)


def by_readinto(size: int) -> Callable[[HTTPConnection], Co[bytes]]:
    def read(conn: HTTPConnection) -> Co[bytes]:
        buf = bytearray(size)
        count = yield from conn.co_readinto(buf)
        return bytes(buf[:count])

    return read


def by_discard(conn: HTTPConnection) -> Co[bytes]:
    yield from conn.co_discard()
    return b""


def by_read_all(conn: HTTPConnection) -> Co[bytes]:
    return conn.co_read(None)


#: Ways of reading a body that end with its end.
AT_ONCE: list[Callable[[HTTPConnection], Co[bytes]]] = [
    HTTPConnection.co_readall,
    by_discard,
    by_read_all,
]

#: How bodies are read. All others are called until there is nothing more.
READERS: list[Callable[[HTTPConnection], Co[bytes]]] = [
    by_read(1),
    by_read(7),
    by_read(1 << 20),
    by_readinto(3),
    by_readinto(5000),
    *AT_ONCE,
]

#: Sizes of pieces. Most are big: each piece takes time, and the small ones are small enough.
SIZES = [1, 2, 3, 4, 5, 7, 10, 14, 20, 28, 40, 60, 80, 110, 160, 230]

#: So many bytes choose; the rest is what the server sends.
HEADER = 4

ENDS: list[End] = ["close", "reset", "silence"]

#: The outcome: heads, bodies as far as received, and last the class of an exception, if any.
Outcome = list[object]


class ReusedSocket(ScriptedSocket):
    """One descriptor for thousands of connections, none of which closes it."""

    def close(self) -> None:
        pass


_SOCKET = ReusedSocket()
atexit.register(socket.socket.close, _SOCKET)


#: A head can be both; which of the two it is called may depend on how much of it is there.
REFUSALS = (["InvalidResponse"], ["UnsupportedResponse"])


def check(data: bytes) -> None:
    """Run one input. Whatever is wrong is an exception."""
    if len(data) < HEADER:
        return
    whole = outcome(data, [data[HEADER:]])
    split = outcome(data, [*pieces(data[HEADER:], SIZES[data[2] // 16], SIZES[data[2] % 16])])
    if whole[-1:] in REFUSALS and split[-1:] in REFUSALS:
        whole[-1] = split[-1] = "refused"
    assert whole == split, f"whole: {whole}\nsplit: {split}"


def pieces(wire: bytes, *sizes: int) -> Iterator[bytes]:
    """Cut *wire* in pieces of these sizes in turn."""
    at = turn = 0
    while at < len(wire):
        size = sizes[turn % len(sizes)]
        yield wire[at : at + size]
        at, turn = at + size, turn + 1


def outcome(data: bytes, wire: list[bytes]) -> Outcome:
    """Return the outcome of *wire* in the scenario, way of reading and end that *data* chooses."""
    scenario = SCENARIOS[data[0] % len(SCENARIOS)]
    reader = READERS[data[1] % len(READERS)]
    end = ENDS[data[3] % len(ENDS)]
    sock = _SOCKET
    sock.script(wire, end)
    conn = HTTPConnection("h", sock=sock)
    got: Outcome = []
    failure = None
    try:
        run(co_converse(conn, scenario, reader, got), sock)
    except DOCUMENTED as exc:
        failure = exc
    if failure is not None:
        got.append(type(failure).__name__)
        assert failure.unanswered
        if isinstance(failure, ConnectionTimedOut):
            assert end == "silence"
        else:
            assert_over(conn, sock)
    conn.disconnect()
    return got


def co_converse(
    conn: HTTPConnection,
    scenario: list[Request],
    reader: Callable[[HTTPConnection], Co[bytes]],
    got: Outcome,
) -> Co[None]:
    for method, arguments in scenario:
        target = "h:443" if method == "CONNECT" else "/"
        yield from conn.co_send_request(method, target, **arguments)
    for request in scenario:
        response = yield from conn.co_read_response()
        if response.status == 100:
            assert request is EXPECT
            got.append(described(response))
            yield from conn.co_write(b"hi")
            response = yield from conn.co_read_response()
        got.append(described(response))
        if response.status == 101 or (request[0] == "CONNECT" and response.status < 300):
            assert request[0] == "CONNECT" or request is UPGRADE
            conn.detach()
            return
        body = bytearray()
        at = len(got)
        got.append(body)
        while data := (yield from reader(conn)):
            body += data
            if reader in AT_ONCE:
                break
        if response.length is not None and reader is not by_discard:
            assert len(body) == response.length
        got[at:] = [bytes(body), response.trailers.items()]


def described(response: HTTPResponse) -> tuple[object, ...]:
    return (
        response.status,
        response.reason,
        response.version,
        response.headers.items(),
        response.length,
        response.will_close,
        [described(interim) for interim in response.informational],
    )


def assert_over(conn: HTTPConnection, sock: ScriptedSocket) -> None:
    """Whatever arrives now is not delivered."""
    sock.arrive(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    for call in (conn.co_read_response, conn.co_discard, conn.co_readall, co_ask_again(conn)):
        try:
            run(call(), sock)
        except ConnectionClosed:
            continue
        raise AssertionError("something was delivered after a failure")


def co_ask_again(conn: HTTPConnection) -> Callable[[], Co[None]]:
    return lambda: conn.co_send_request("GET", "/again")
