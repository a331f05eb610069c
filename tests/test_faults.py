"""ConnectionState with a real server, broken at every byte in both directions, in every way.

Whatever happens, the outcome is the right bytes or the right error: never wrong bytes, never a
hang. What is right is worked out in `tests.faults.outcomes`, case by case.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dugong import ConnectionClosed, ConnectionTimedOut, eval_coroutine
from tests.faults.outcomes import Story, records
from tests.faults.proxy import Direction, Fault, Kind
from tests.faults.sweeps import EXCHANGES, Bench, Exchange, judge_of, masks, sweep
from tests.support.servers import NginxEndpoints

pytestmark = pytest.mark.slow


@pytest.fixture
def clear(nginx: NginxEndpoints) -> Iterator[Bench]:
    bench = Bench(nginx, tls=False)
    yield bench
    bench.close()


@pytest.fixture
def secure(nginx: NginxEndpoints) -> Iterator[Bench]:
    bench = Bench(nginx, tls=True)
    yield bench
    bench.close()


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("exchange", EXCHANGES, ids=str)
def test_in_the_clear(clear: Bench, exchange: Exchange, direction: Direction, kind: Kind) -> None:
    layout = clear.layout(exchange)
    size = len(layout.up if direction is Direction.UP else layout.down)
    faults = [
        Fault(kind, direction, offset, mask)
        for offset in range(size)
        for mask in masks(kind, offset)
    ]
    sweep(clear, exchange, judge_of(exchange, layout, tls=False), faults)


def offsets(stream: bytes, edges: list[int]) -> list[int]:
    """Where to break a stream of TLS from the first edge on: all about the edges and at both ends
    of each record, and here and there between them.
    """
    chosen = set(range(edges[0], len(stream), STRIDE))
    for edge in edges:
        chosen.update(range(edge - 64, edge + 64))
    for _, start, end in records(stream):
        chosen.update(range(start, start + 8))
        chosen.update(range(end - 4, end))
    return sorted(offset for offset in chosen if edges[0] <= offset < len(stream))


#: Odd, so that every bit has its turn.
STRIDE = 11

#: Under TLS these differ in who waits for whom, and in what ends a body.
OVER_TLS = ("length", "chunked", "until-close", "pipelined", "expect", "request-expect")


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("exchange", [e for e in EXCHANGES if e.name in OVER_TLS], ids=str)
def test_over_tls(
    secure: Bench, clear: Bench, exchange: Exchange, direction: Direction, kind: Kind
) -> None:
    """The handshake, which is the same for all exchanges, is broken before one of them."""
    layout = clear.layout(exchange)
    stream, secured = secure.stream(exchange, direction)
    edges = [secured, len(stream)]
    if exchange is EXCHANGES[0]:
        edges = [0, *edges]
    faults = [
        Fault(kind, direction, offset, 1 << offset % 8 if kind is Kind.FLIP else 0)
        for offset in offsets(stream, edges)
    ]
    sweep(secure, exchange, judge_of(exchange, layout, tls=True), faults)


#: Seconds. What a client of these tests waits in earnest.
SOON = 0.02


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
@pytest.mark.parametrize("offset", [0, 20, 260])
def test_stall_ends_by_the_time_limit(clear: Bench, limit: str, offset: int) -> None:
    """The driver that blocks ends what the sweeps call quiet."""
    layout = clear.layout(EXCHANGES[0])
    fault = Fault(Kind.STALL, Direction.DOWN, offset)
    clear.proxy.begin(fault)
    with clear.connection() as conn:
        story = Story(conn)
        moving = clear.proxy.co_move(story.co_tell(EXCHANGES[0].steps))
        eval_coroutine(moving, **{limit: SOON})
        judge_of(EXCHANGES[0], layout, tls=False).judge(fault, clear.proxy.lines, story)


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
def test_stalled_handshake_ends_by_the_time_limit(secure: Bench, limit: str) -> None:
    secure.proxy.begin(Fault(Kind.STALL, Direction.DOWN, 100))
    with secure.connection() as conn:
        with pytest.raises(ConnectionTimedOut) as info:
            eval_coroutine(secure.proxy.co_move(conn.co_connect()), **{limit: SOON})
        assert info.value.bytes_sent == 0


LARGE = bytes(16 << 20)  # more than lies between two sockets


@pytest.mark.parametrize("operation", ["send_request", "request"])
@pytest.mark.parametrize("kind", [Kind.CLOSE, Kind.RESET, Kind.STALL])
def test_while_sending(clear: Bench, kind: Kind, operation: str) -> None:
    """The client is still sending when the connection breaks."""
    right = ConnectionTimedOut if kind is Kind.STALL else ConnectionClosed
    for offset in (0, 1, 50, 500, 5000, 50_000):
        clear.proxy.begin(Fault(kind, Direction.UP, offset))
        with clear.connection() as conn:
            send = getattr(conn, f"co_{operation}")
            with pytest.raises(right) as info:
                clear.proxy.drive(send("POST", "/upload", body=LARGE))
            assert offset <= info.value.bytes_sent < len(LARGE)
            assert info.value.bytes_sent == conn.bytes_sent
            assert info.value.safe_to_retry is (info.value.bytes_sent == 0)
            assert not info.value.response_started
            assert [request.path for request in info.value.unanswered] == ["/upload"]
