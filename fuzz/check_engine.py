"""What must be true of any bytes from a server, in any pieces: the protocol engine alone.

An input has the form that `fuzz.check` describes. No socket is involved, so this runs many times as
many inputs. `fuzz.check` runs whole connections.
"""

from __future__ import annotations

from itertools import starmap
from zlib import crc32

from dugong import ConnectionClosed, HTTPResponse, InvalidResponse, Request, UnsupportedResponse
from dugong.protocol.exchange import Exchange
from dugong.protocol.reader import BUFFERED, ResponseReader
from dugong.protocol.request import NO_DEFAULTS, prepare
from dugong.protocol.state import ConnectionState
from dugong.protocol.states import RESPONSE_BODY, SWITCHED
from fuzz.check import HEADER, REFUSALS, SCENARIOS, Outcome, described

_DOCUMENTED = (ConnectionClosed, InvalidResponse, UnsupportedResponse)


def _prepared(method: str, arguments: dict[str, object]) -> Exchange:
    target = "h:443" if method == "CONNECT" else "/"
    expect100 = bool(arguments.get("expect100"))
    request = Request(method, target, arguments.get("headers"), arguments.get("body"))  # type: ignore[arg-type]
    return prepare(request, expect100, NO_DEFAULTS)


_PREPARED = [[*starmap(_prepared, scenario)] for scenario in SCENARIOS]

#: How many bytes the caller wants at once, and whether into its own view.
WANTED = [(64, False), (5000, False), (64, True), (5000, True)]


class _Starved(Exception):
    """The engine wants more bytes, and the server stays silent."""


class _Run:
    """One conversation, in which the bytes arrive in two pieces, or in one.

    Args:
        data: the input.
        first: the size of the first piece.
        compared: whether `outcome` is compared with another one. Otherwise it has no responses: to
            describe them would take a tenth of the time.
    """

    def __init__(self, data: bytes, first: int, compared: bool) -> None:
        self._compared = compared
        self._view = memoryview(data)[HEADER:]
        self._at = 0
        self._left = first
        self._silent = data[3] % 3 == 2
        self._wanted, self._into = WANTED[data[1] % len(WANTED)]
        self._state = ConnectionState()
        self._reader = ResponseReader(self._state)
        self._prepared = _PREPARED[data[0] % len(_PREPARED)]

    def _receive(self, room: memoryview) -> int:
        count = min(len(room), self._left, len(self._view) - self._at)
        if count:
            room[:count] = self._view[self._at : self._at + count]
            self._at += count
            self._left -= count
            if not self._left:
                self._left = len(self._view)
        elif self._silent:
            raise _Starved
        return count

    def outcome(self) -> Outcome:
        got: Outcome = []
        try:
            self._converse(got)
        except _Starved:
            got.append("starved")
        except _DOCUMENTED as exc:
            got.append(type(exc).__name__)
            self._reader.fail(exc)
            if not exc.unanswered or self._state.failure is None:
                raise AssertionError("the failure is not final") from exc
        return got

    def _converse(self, got: Outcome) -> None:
        state = self._state
        for prepared in self._prepared:
            if state.closing:
                return
            exchange = Exchange.__new__(Exchange)  # quicker than `copy`
            vars(exchange).update(vars(prepared))
            state.accept(exchange)
            exchange.bytes_sent = len(exchange.head)
            state.request_sent(exchange)
            response = self._response()
            if response.status == 100:
                if self._compared:
                    got.append(described(response))
                state.body_sent(state.check_write(2), 2)
                response = self._response()
            if self._compared:
                got.append(described(response))
            if state.receiving is SWITCHED or state.broken:
                return
            body = bytearray()
            while piece := (self._read_into() if self._into else self._read()):
                body += piece
            assert state.receiving is not RESPONSE_BODY
            assert response.length in (None, len(body))
            if self._compared:
                got += [bytes(body), response.trailers.items()]

    def _response(self) -> HTTPResponse:
        reader, exchange = self._reader, self._state.next()
        while (response := reader.next_response(exchange)) is None:
            room = reader.room()
            reader.received(room, self._receive(room))
        return response

    def _read_into(self) -> bytes:
        reader, view = self._reader, memoryview(bytearray(self._wanted))
        while (room := reader.target(view)) is not None:
            if count := reader.received(room, self._receive(room)):
                return bytes(view[:count])
        return bytes(view[: reader.take_into(view)])

    def _read(self) -> bytes:
        reader = self._reader
        while payload := reader.direct(self._wanted):
            if payload == BUFFERED:
                room = reader.room()
                reader.received(room, self._receive(room))
                continue
            block = memoryview(bytearray(min(payload, self._wanted)))
            data = bytes(block[: self._receive(block)])
            reader.received_payload(data)
            if data:
                return data
        return reader.take(self._wanted)


def check(data: bytes, compare: bool = True) -> None:
    """Run one input, split in two. Whatever is wrong is an exception.

    Args:
        data: the input.
        compare: whether to run it whole as well. Both must have the same outcome.
    """
    if len(data) < HEADER:
        return
    size = len(data) - HEADER
    split = _Run(data, max(1, size * data[2] >> 8), compare).outcome()
    if not compare:
        return
    whole = _Run(data, max(1, size), compare).outcome()
    if whole[-1:] in REFUSALS and split[-1:] in REFUSALS:
        whole[-1] = split[-1] = "refused"
    assert whole == split, f"whole: {whole}\nsplit: {split}"


def check_quickly(data: bytes) -> None:
    """Run one input, and compare it if `is_compared`.

    Comparing all of them would halve the number of inputs. The tests compare every split of each
    hostile case.
    """
    check(data, is_compared(data))


def is_compared(data: bytes) -> bool:
    """Choose one input of four, always the same ones.

    A checksum chooses. A byte of the input would not choose one of four: what the fuzzer mutates
    keeps most bytes of the corpus.
    """
    return crc32(data) & 3 == 0
