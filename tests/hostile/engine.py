"""A row of the table, run through the protocol engine without sockets.

This is as far as HTTP/1.1 goes: what the bytes mean, in whichever pieces they arrive and however
the caller reads. What a connection does with that (closing, refusing further calls, waiting) is
`tests.hostile.play`, which needs a socket for each run and so runs fewer of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from dugong import BodyFollowing, ConnectionClosed, HTTPResponse, Request, StateError
from dugong.protocol.exchange import Exchange
from dugong.protocol.reader import BUFFERED, ResponseReader
from dugong.protocol.request import NO_DEFAULTS, prepare
from dugong.protocol.state import ConnectionState
from tests.hostile.table import Case, Outcome, Refused, Taken


class Starved(Exception):
    """The engine wants more than the server sends."""


class Arrival:
    """Bytes that arrive in given pieces.

    Args:
        data: all of them.
        boundaries: the offsets where a piece ends, in order.
        end: ``"close"`` to end the stream behind them.
        unit: follows *data* until the reader has had enough.
    """

    def __init__(self, data: bytes, boundaries: Iterable[int], end: str, unit: bytes = b"") -> None:
        self._view = memoryview(data)
        self._at = 0
        self._boundaries = iter(boundaries)
        self._stop = next(self._boundaries, len(data))
        self._closes = end == "close"
        self._unit = unit

    @property
    def rest(self) -> bytes:
        """What has not been received."""
        return bytes(self._view[self._at :])

    def receive(self, room: memoryview) -> int:
        """Put bytes into *room*, of one piece only. Returns how many; 0 at the end."""
        if self._at == len(self._view) and self._unit:
            self._view = memoryview(self._unit * (1 + 16384 // len(self._unit)))
            self._stop -= self._at
            done = self._at
            self._boundaries = (boundary - done for boundary in self._boundaries)
            self._at = 0
        while self._at == self._stop < len(self._view):
            self._stop = next(self._boundaries, len(self._view))
        count = min(self._stop - self._at, len(self._view) - self._at, len(room))
        if count == 0 and not self._closes:
            raise Starved
        room[:count] = self._view[self._at : self._at + count]
        self._at += count
        return count


#: Reads some payload, at most a few bytes; ``b""`` at the end of the body.
Read = Callable[["EnginePlay"], bytes]


def by_view(size: int) -> Read:
    """Read into a view of this many bytes."""

    def read(play: EnginePlay) -> bytes:
        view = memoryview(bytearray(size))
        while (room := play.reader.target(view)) is not None:
            if count := play.reader.received(room, play.arrival.receive(room)):
                return bytes(view[:count])
        return bytes(view[: play.reader.take_into(view)])

    return read


def by_object(size: int) -> Read:
    """Read bytes objects of at most this size."""

    def read(play: EnginePlay) -> bytes:
        while payload := play.reader.direct(size):
            if payload == BUFFERED:
                room = play.reader.room()
                play.reader.received(room, play.arrival.receive(room))
                continue
            block = memoryview(bytearray(min(payload, size)))
            data = bytes(block[: play.arrival.receive(block)])
            play.reader.received_payload(data)
            if data:
                return data
        return play.reader.take(size)

    return read


#: Taken in turn, one for each way in which the bytes may arrive.
READERS: tuple[Read, ...] = (by_view(5000), by_object(3), by_view(7), by_object(5000))


class EnginePlay:
    """One run of a row: the bytes arrive in one way, and are read in one way."""

    def __init__(self, case: Case, turn: int = 0) -> None:
        self.case = case
        self._read = READERS[turn % len(READERS)]
        self.state = ConnectionState()
        self.reader = ResponseReader(self.state)
        self._exchanges: list[Exchange] = []

    def run(
        self,
        boundaries: Iterable[int] = (),
        data: bytes | None = None,
        end: str | None = None,
        outcomes: tuple[Outcome, ...] | None = None,
        unit: bytes = b"",
    ) -> int:
        """Run it, with these in place of the row's own. Returns the number of bytes received."""
        case = self.case
        self._end = end or case.end
        data = case.data if data is None else data
        self.arrival = Arrival(data, boundaries, self._end, unit)
        outcomes = outcomes or case.outcomes
        for number in range(len(outcomes)):
            self._send(number)
        for number, outcome in enumerate(outcomes):
            if isinstance(outcome, Refused):
                self._refused(outcome, number)
                return self.reader.total
            self._taken(outcome)
        assert isinstance(outcome, Taken)
        self._afterwards(outcome)
        return self.reader.total

    def _send(self, number: int) -> None:
        case = self.case
        path = case.path if number == 0 else f"/{number}"
        body = BodyFollowing(5) if case.expect else None
        request = Request(case.method, path, case.headers, body)
        exchange = prepare(request, case.expect, NO_DEFAULTS)
        self.state.accept(exchange)
        exchange.bytes_sent = len(exchange.head)
        self.state.request_sent(exchange)
        self._exchanges.append(exchange)

    def _response(self) -> HTTPResponse:
        exchange = self.state.next()
        while (response := self.reader.next_response(exchange)) is None:
            room = self.reader.room()
            self.reader.received(room, self.arrival.receive(room))
        return response

    def _body(self) -> Iterator[bytes]:
        while piece := self._read(self):
            yield piece

    def _taken(self, expected: Taken) -> None:
        response = self._response()
        if expected.continues:
            assert (response.status, response.length) == (100, 0)
            exchange = self.state.check_write(5)
            exchange.bytes_sent += 5
            self.state.body_sent(exchange, 5)
            response = self._response()
        assert (response.status, response.version) == (expected.status, expected.version)
        if expected.reason is not None:
            assert response.reason == expected.reason
        for name, values in expected.headers.items():
            assert response.headers.get_all(name, []) == values
        assert [early.status for early in response.informational] == expected.interim
        if expected.switched:
            assert response.length == 0
            return
        assert response.will_close is expected.will_close
        body = b"".join(self._body())
        assert body == expected.body
        assert response.length in (None, len(body))
        assert response.trailers.items() == expected.trailers

    def _afterwards(self, expected: Taken) -> None:
        """Whether another request may be sent is known, and right."""
        state = self.state
        assert not state.queue
        if expected.switched:
            with pytest.raises(StateError):
                state.next()
            assert bytes(self.reader.buffer.take(1000)) + self.arrival.rest == expected.body
            return
        has_strays = bool(len(self.reader.buffer) or self.arrival.rest)
        if self.case.expect and not expected.continues:
            assert state.broken
        elif expected.will_close:
            assert state.closing
            assert state.closed
        else:
            assert state.idle
            assert not state.closing
            is_over = has_strays or self.reader.keep_alive == 0
            assert is_over is expected.dropped

    def _refused(self, expected: Refused, number: int) -> None:
        got: list[bytes] = []
        with pytest.raises(expected.errors) as info:
            response = self._response()
            if expected.body is None and not expected.anywhere:
                pytest.fail(f"taken: {response}")
            got += self._body()
            pytest.fail(f"taken: {response} with {got!r}")
        exc: Any = info.value
        assert expected.body is None or b"".join(got) == expected.body
        self.reader.fail(exc)
        if not isinstance(exc, ConnectionClosed):
            assert (exc.response and exc.response.status) == expected.head
            assert getattr(exc, "part", None) == expected.part
        assert exc.bytes_sent == self._exchanges[number].bytes_sent
        assert expected.started is None or exc.response_started is expected.started
        unanswered = [exchange.request for exchange in self._exchanges[number:]]
        assert exc.unanswered == tuple(unanswered)
        for call in (self.state.next, self.state.check_alive):
            with pytest.raises(ConnectionClosed) as again:
                call()
            assert again.value.__cause__ is exc
