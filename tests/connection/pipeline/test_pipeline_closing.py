"""`pipeline` and servers that close: after every so many responses, and in the middle of anything.

Whatever the server does, each response is its own request's, none is missing but those that are
raised, and what must not be repeated comes to the server once.
"""

from __future__ import annotations

import io
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dugong import ConnectionClosed, Request
from tests.support.drive import drive
from tests.support.exchanges import OK
from tests.support.pipeline_server import HOWS, Ending, How, Server, closing
from tests.support.pipeline_walk import Step, bodies, expected, paths, walk
from tests.support.styles import StyledWire
from tests.support.tapped import Tap, TappedSocket, tap_tls
from tests.support.wire import Wire

pytestmark = pytest.mark.slow

DEPTH = 4

LAST = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast"


def blocks() -> Iterator[bytes]:
    yield b"one"
    yield b"shot"


#: An exclamation mark stands for a body that can be given once only.
METHODS = [
    "GET", "POST", "GET", "HEAD", "PUT!", "PUT", "DELETE", "PUT!", "PATCH", "POST", "GET",
    "OPTIONS", "PUT!", "GET",
]  # fmt: skip
BODIES = {f"/{i}": b"oneshot" for i, method in enumerate(METHODS) if method == "PUT!"}
BODIES |= {"/1": b"form", "/5": b"again"}


def mixture() -> list[Request]:
    """What can be repeated, and what can not, next to each other in every order."""
    requests = [
        Request(method.strip("!"), f"/{i}",
                body=blocks() if "!" in method else BODIES.get(f"/{i}"))
        for i, method in enumerate(METHODS)
    ]  # fmt: skip
    file = requests[5].body = io.BytesIO(b"not again")
    file.seek(len(b"not "))
    return requests


def is_repeatable(request: Request) -> bool:
    return request.method not in ("POST", "PATCH") and request.replayable


def right_or_raised(requests: list[Request], steps: list[Step], server: Server) -> list[Step]:
    """Assert that nothing is lost, mixed up or sent twice. Returns the steps that failed."""
    assert [id(step.request) for step in steps] == [id(request) for request in requests]
    times = server.times()
    for request, step in zip(requests, steps, strict=True):
        if step.body is not None:
            name = "" if request.method == "HEAD" else f"{request.method} {request.path}"
            assert step.body == name.encode()
        elif not step.reading:
            assert isinstance(step.error, ConnectionClosed)
            assert not is_repeatable(request)
            check_failure(requests, step.error)
        whole = server.whole(request.path)
        if whole and request.body == b"form" and isinstance(step.error, ConnectionClosed):
            assert step.error.bytes_sent == len(whole[0].head) + len("\r\n\r\nform")
        if request.method in ("POST", "PATCH"):
            assert times[request.path] <= 1, f"{request} was sent {times[request.path]} times"
        elif not is_repeatable(request):
            assert len(whole) <= 1  # nothing of its body was sent if it has begun twice
        assert step.response is None or whole
        assert all(received.body == (BODIES.get(request.path) or b"") for received in whole)
    for seen in server.log:
        if seen.request.method in ("POST", "PATCH"):
            assert seen.alone
    return [step for step in steps if step.error is not None]


def check_failure(requests: list[Request], error: ConnectionClosed) -> None:
    assert not error.safe_to_retry
    assert error.bytes_sent > 0
    first = requests.index(error.unanswered[0])
    assert list(error.unanswered) == requests[first : first + len(error.unanswered)]


# ------------------------------------------------------------------------------- sweeps

CLOSING = [Ending(after, how) for after in range(1, DEPTH + 3) for how in HOWS]


@pytest.mark.parametrize("ending", CLOSING, ids=str)
async def test_after_every_so_many_responses(wire: StyledWire, ending: Ending) -> None:
    for burst in (False, True):
        server = Server(wire, ending, burst=burst)
        conn = wire.dial(server.listener)
        requests = mixture()
        steps = await walk(conn, requests, depth=DEPTH)
        failed = right_or_raised(requests, steps, server)
        if ending.how == "announced":
            # What was in flight behind the last response may be lost with the connection, but
            # what goes alone was never sent there.
            assert all(step.request.method == "PUT" for step in failed)


@pytest.mark.parametrize("cut", [1, 12, 30, -1, -5])
@pytest.mark.parametrize("after", range(DEPTH + 2))
@pytest.mark.parametrize("how", ["close", "reset"])
def test_in_the_middle_of_a_response(wire: Wire, how: How, after: int, cut: int) -> None:
    """The head is cut, or the body: then it is reading that fails, and the rest is as it was."""
    server = Server(wire, Ending(after, how, cut), again=after > 0)
    conn = wire.dial(server.listener)
    requests = mixture()
    steps = drive(walk(conn, requests, depth=DEPTH), server)
    if after == 0 and not steps[0].reading:
        # A new connection has brought nothing: that is raised, and then tried again.
        first = steps.pop(0)
        assert isinstance(first.error, ConnectionClosed)
        assert first.error.safe_to_retry
        assert first.error.unanswered[0] is requests[0]
    for step in right_or_raised(requests, steps, server):
        assert step.reading or not is_repeatable(step.request)


class Cut(Tap):
    """Has the server act, once, when the client has sent so many bytes."""

    def __init__(self, left: int, act: Callable[[], object]) -> None:
        self._left = left
        self._act = act

    def before(self, name: str, wanted: int) -> int:
        return min(wanted, self._left) if self._left and name.startswith("send") else wanted

    def behind(self, name: str, count: int) -> None:
        if self._left and name.startswith("send"):
            self._left -= count
            if not self._left:
                self._act()


class ConnectingSocket(TappedSocket):
    """Is tapped if it connects: the server's own sockets are of this class, too."""

    cut: Tap

    def connect_ex(self, address: Any, /) -> int:
        self.tap = self.cut
        return super().connect_ex(address)


def cutting(wire: Wire, monkeypatch: pytest.MonkeyPatch, cut: Cut) -> dict[str, Any]:
    """Tap the connections to come; returns options to dial with."""
    if not wire.tls:
        kind = type("Socket", (ConnectingSocket,), {"cut": cut})
        monkeypatch.setattr(socket, "socket", kind)
        return {}
    context = wire.certificates.new_client()
    tap_tls(context, cut)
    return {"ssl_context": context}


@pytest.mark.parametrize("how", ["close", "reset"])
def test_while_requests_are_being_sent(
    wire: Wire, how: How, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends the first connection when it has read so many bytes of the requests."""
    listener = wire.listen()
    offset, size = 1, 2
    while offset < size:
        size = sent_with_a_cut(wire, Server(wire, listener=listener), how, offset, monkeypatch)
        offset += 13 if wire.tls else 5
    assert offset > 1000


def sent_with_a_cut(
    wire: Wire, server: Server, how: How, offset: int, monkeypatch: pytest.MonkeyPatch
) -> int:
    """Returns how many bytes the client has sent in all."""
    with monkeypatch.context() as patches:
        cut = Cut(offset, lambda: server.end_now(how))
        conn = wire.dial(server.listener, **cutting(wire, patches, cut))
        requests = mixture()
        steps = drive(walk(conn, requests, depth=DEPTH), server)
    if steps[0].response is None:
        # Nothing was answered on this new connection: that is raised, and then tried again.
        first = steps.pop(0)
        assert isinstance(first.error, ConnectionClosed)
        assert first.error.safe_to_retry
        assert first.error.unanswered[0] is requests[0]
    failed = right_or_raised(requests, steps, server)
    assert len(server.connections) <= 2 + len(failed)
    sent = conn.bytes_sent
    conn.disconnect()
    server.abandon()
    wire.peers.remove(server)
    return sent


# ------------------------------------------------------------------- what the server has seen


async def test_the_first_repeated_one_goes_alone(wire: StyledWire) -> None:
    """It may be what the server fails at; unless the server had said that it would close."""
    for how in HOWS:
        server = Server(wire, Ending(3, how), again=False)
        conn = wire.dial(server.listener)
        steps = await walk(conn, paths(12), depth=5)
        assert bodies(steps) == expected(paths(12))
        repeated = next(seen for seen in server.log if seen.connection == 1)
        assert repeated.target == "/3"
        assert repeated.alone == (how != "announced")


@pytest.mark.styles("generator")  # what was in flight is a matter of luck where threads play
async def test_what_follows_goes_together_again(wire: StyledWire) -> None:
    server = Server(wire, Ending(3), again=False)
    conn = wire.dial(server.listener)
    await walk(conn, paths(12), depth=5)
    assert server.most_in_flight(connection=1) == 5


def asked(server: Server) -> list[int]:
    """How many requests came on each connection, answered or not."""
    return [bytes(connection.received).count(b" HTTP/1.1\r\n") for connection in server.connections]


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_one_response_per_connection_is_found_out(wire: StyledWire, how: How) -> None:
    """Then it is asked for one at a time. A request may still meet the end on its way."""
    server = Server(wire, Ending(1, how))
    conn = wire.dial(server.listener)
    steps = await walk(conn, paths(30), depth=8)
    assert bodies(steps) == expected(paths(30))
    assert len(server.connections) == 30
    assert max(asked(server)[10:]) <= 2
    assert sum(asked(server)) < 2 * 30 + 4 * 8


async def test_one_that_has_found_its_way_back_is_believed(wire: StyledWire) -> None:
    """What was found out holds until a connection gives a second response."""
    server = Server(wire, *[Ending(1)] * 4, again=False)
    conn = wire.dial(server.listener)
    steps = await walk(conn, paths(40), depth=8)
    assert bodies(steps) == expected(paths(40))
    on_the_last = [seen for seen in server.log if seen.connection == len(server.connections) - 1]
    assert len(on_the_last) > 30
    assert [seen.before for seen in on_the_last[:2]] == [0, 0]
    assert max(seen.before + bool(seen.behind) for seen in on_the_last[2:]) > 1


async def test_so_is_one_that_says_so_each_time(wire: StyledWire) -> None:
    server = Server(wire, Ending(1, "announced"))
    conn = wire.dial(server.listener)
    steps = await walk(conn, paths(20), depth=8)
    assert bodies(steps) == expected(paths(20))
    assert all(seen.alone for seen in server.log)
    assert set(server.times().values()) == {1}


async def test_two_responses_per_connection_are_not(wire: StyledWire) -> None:
    server = Server(wire, Ending(2))
    conn = wire.dial(server.listener)
    steps = await walk(conn, paths(20), depth=8)
    assert bodies(steps) == expected(paths(20))
    assert len(server.connections) == 10


@pytest.mark.styles("generator")  # as above
async def test_they_are_still_asked_for_together(wire: StyledWire) -> None:
    server = Server(wire, Ending(2))
    conn = wire.dial(server.listener)
    await walk(conn, paths(40), depth=8)
    assert min(asked(server)[:15]) > 8


async def test_a_second_pipeline_knows_the_server(wire: StyledWire) -> None:
    """On the same connection its first request need not go alone."""
    server = Server(wire)
    conn = wire.dial(server.listener)
    for start in (0, 10):
        assert bodies(await walk(conn, paths(10, start))) == expected(paths(10, start))
    assert len(server.connections) == 1
    assert [seen.target for seen in server.log if seen.alone] == ["/0"]


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_an_idle_connection_is_replaced(wire: StyledWire, how: How) -> None:
    """It was closed while nothing was outstanding: that costs no failure, not even a POST's."""
    server = Server(wire)
    conn = wire.dial(server.listener)
    for start, method in ((0, "GET"), (3, "POST"), (6, "GET")):
        requests = [(method, path) for path in paths(3, start)]
        steps = await walk(conn, requests)
        assert [step.body for step in steps] == [b"%b %b" % (m.encode(), p.encode())
                                                 for m, p in requests]  # fmt: skip
        server.end_now(how)
    assert len(server.connections) == 3
    assert set(server.times().values()) == {1}


async def test_a_server_that_never_answers(wire: StyledWire) -> None:
    """A new connection that brings nothing is an error each time; trying again is the caller's."""
    server = Server(wire, Ending(0), Ending(0), Ending(0), None)
    conn = wire.dial(server.listener)
    steps = await walk(conn, paths(5))
    for step in steps[:3]:
        error = step.error
        assert isinstance(error, ConnectionClosed)
        assert error.safe_to_retry
        assert error.unanswered[0].path == "/0"
    assert bodies(steps[3:]) == expected(paths(5))


async def test_no_progress_after_some(wire: StyledWire) -> None:
    """Connections that bring nothing are not made for ever, whatever came before."""
    server = Server(wire, Ending(3), Ending(0))
    conn = wire.dial(server.listener)
    pipeline = conn.pipeline(paths(6))
    for path in paths(3):
        assert (await anext(pipeline)).path == path
        assert await conn.readall() == f"GET {path}".encode()
    for _ in range(3):
        before = len(server.connections)
        with pytest.raises(ConnectionClosed) as caught:
            await anext(pipeline)
        assert [request.path for request in caught.value.unanswered] == paths(3, 3)
        assert len(server.connections) == before + 1


@pytest.mark.parametrize("behind", [b"", OK, b"garbage"])
async def test_an_announced_end_is_not_waited_for(wire: StyledWire, behind: bytes) -> None:
    """Nor is anything that comes behind it looked at (RFC 9112 section 9.6)."""
    listener = wire.listen()
    first, second = listener.peer(), listener.peer()
    conn = wire.dial(listener)
    first.expect_request(b"GET /0 ")
    first.reply(OK)
    for path in paths(4, 1):
        first.expect_request(f"GET {path} ".encode())
    first.reply(closing(OK) + behind)
    for path in paths(3, 2):
        second.expect_request(f"GET {path} ".encode())
        second.reply(LAST)
    steps = await walk(conn, paths(5))
    assert bodies(steps) == [b"hi", b"hi", b"last", b"last", b"last"]
    second.check()
