"""One exchange with a hostile server, and all that has to hold during it and after it.

After an error, no call delivers anything from this connection any more, whatever it has sent;
after a response that was delivered, the connection is either used again, or given up before any
byte of another request is written. Which of the two follows from the row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from dugong import BodyFollowing, ConnectionClosed, HTTPConnection, HTTPResponse, StateError
from tests.hostile.arrival import Source
from tests.hostile.table import Case, Outcome, Refused, Taken

#: Makes one call of a connection in some style: the connection, the name, the arguments.
Call = Callable[..., Any]

#: What must deliver nothing after an error. In most ways of arriving the last two have to do.
AFTERWARDS: tuple[tuple[Any, ...], ...] = (
    ("read_response",),
    ("read", 5),
    ("readall",),
    ("readinto", bytearray(5)),
    ("discard",),
    ("send_request", "POST", "/again", None, b"body"),
    ("read_response",),
)

AGAIN = b"HTTP/1.1 203 Again\r\nContent-Length: 5\r\n\r\nagain"


def blocking(conn: HTTPConnection, name: str, *args: Any, **options: Any) -> Any:
    """Make the call as blocking method. Time is up at once, where nothing is to come."""
    return getattr(conn, name)(*args, **options)


def coroutine(conn: HTTPConnection, name: str, *args: Any, **options: Any) -> Any:
    """Make the call as coroutine."""
    crt = getattr(conn, f"co_{name}")(*args, **options)
    while True:
        try:
            need = next(crt)
        except StopIteration as stop:
            return stop.value
        assert need.poll(0), f"{name} waits for more than the server sends"


STYLES: dict[str, Call] = {"blocking": blocking, "coroutine": coroutine}


# ------------------------------------------------------------------------------- readers


def _read_all(call: Call, conn: HTTPConnection, got: bytearray) -> None:
    got += call(conn, "readall")


def _read_a_little(call: Call, conn: HTTPConnection, got: bytearray) -> None:
    while piece := call(conn, "read", 3):
        got += piece


def _read_into(call: Call, conn: HTTPConnection, got: bytearray) -> None:
    buf = bytearray(7)
    while count := call(conn, "readinto", buf):
        got += buf[:count]


#: Taken in turn, one for each way in which the bytes may arrive.
READERS = (_read_all, _read_a_little, _read_into)


# ----------------------------------------------------------------------------- one exchange


class Play:
    """One run of a row: the bytes arrive in one way, and are read in one way."""

    def __init__(self, case: Case, call: Call, turn: int = 0) -> None:
        self.case = case
        self._style = call
        self._reader = READERS[turn % len(READERS)]
        self._calls = AFTERWARDS if turn < 2 or turn % 8 == 0 else AFTERWARDS[-2:]
        self._sizes: list[int] = []
        self._paths: list[str] = []

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
        source = Source(case.data if data is None else data, boundaries, end or case.end, unit=unit)
        self.source, self.end = source, end or case.end
        self.conn = HTTPConnection("localhost", sock=source.near, timeout=0)
        try:
            self._play(outcomes or case.outcomes)
            return self.conn.bytes_received
        finally:
            self.conn.disconnect()
            source.close()

    def _call(self, name: str, *args: Any, **options: Any) -> Any:
        return self._style(self.conn, name, *args, **options)

    def _play(self, outcomes: tuple[Outcome, ...]) -> None:
        for number in range(len(outcomes)):
            self._send(number)
        for number, outcome in enumerate(outcomes):
            if isinstance(outcome, Refused):
                exc = self._refused(outcome)
                self._check_attributes(exc, number, outcome)
                self._nothing_comes_any_more(exc)
                return
            self._taken(number, outcome)
        assert isinstance(outcome, Taken)
        self._afterwards(outcome)

    def _send(self, number: int) -> None:
        case = self.case
        path = case.path if number == 0 else f"/{number}"
        before = self.conn.bytes_sent
        if case.expect:
            body = BodyFollowing(5)
            self._call("send_request", case.method, path, case.headers, body, expect100=True)
        else:
            self._call("send_request", case.method, path, case.headers)
        self._paths.append(path)
        self._sizes.append(self.conn.bytes_sent - before)

    def _read_response(self, continues: bool) -> HTTPResponse:
        response: HTTPResponse = self._call("read_response")
        if continues:
            assert (response.status, response.length) == (100, 0)
            self._call("write", b"hello")
            self._sizes[0] += 5
            response = self._call("read_response")
        return response

    # A response that is delivered.

    def _taken(self, number: int, expected: Taken) -> None:
        response = self._read_response(expected.continues)
        assert (response.status, response.version) == (expected.status, expected.version)
        assert (response.method, response.path) == (self.case.method, self._paths[number])
        if expected.reason is not None:
            assert response.reason == expected.reason
        for name, values in expected.headers.items():
            assert response.headers.get_all(name, []) == values
        assert [early.status for early in response.informational] == expected.interim
        assert all(early.length == 0 for early in response.informational)
        if expected.switched:
            assert response.length == 0
            return
        assert response.will_close is expected.will_close
        got = bytearray()
        self._reader(self._style, self.conn, got)
        assert bytes(got) == expected.body
        assert response.length in (None, len(expected.body))
        assert response.trailers.items() == expected.trailers

    def _afterwards(self, expected: Taken) -> None:
        conn = self.conn
        self.source.near.release()
        assert not conn.response_pending()
        with pytest.raises(StateError):
            self._call("read_response")
        if expected.switched:
            with pytest.raises(StateError):
                self._call("send_request", "GET", "/again")
            self._given_away(expected.body)
            return
        assert self._call("read", 1) == b""
        self.source.look()
        assert len(self.source.received) == sum(self._sizes)
        if self.case.expect and not expected.continues:
            with pytest.raises(StateError):  # it would connect afresh, had it not been given this
                self._call("send_request", "GET", "/again")
            self._is_given_up()
        elif expected.dropped or expected.will_close or self.end == "close":
            self._not_used_again()
        else:
            self._used_again()

    def _given_away(self, expected: bytes) -> None:
        sock, rest = self.conn.detach()
        sock.setblocking(False)
        while len(rest) < len(expected):
            rest += sock.recv(100)
        assert rest == expected

    def _used_again(self) -> None:
        self._call("send_request", "GET", "/again")
        self.source.reply(AGAIN)
        response = self._call("read_response")
        assert (response.status, response.path) == (203, "/again")
        assert self._call("readall") == b"again"

    def _not_used_again(self) -> None:
        with pytest.raises(ConnectionClosed) as info:
            self._call("send_request", "POST", "/again", None, b"body")
        exc = info.value
        assert (exc.bytes_sent, exc.response_started, exc.safe_to_retry) == (0, False, True)
        assert exc.unanswered == ()
        self._is_given_up()

    def _is_given_up(self) -> None:
        self.source.look()
        assert len(self.source.received) == sum(self._sizes), "more was sent"
        assert self.source.ended
        assert not self.conn.response_pending()

    # A response that is not.

    def _refused(self, expected: Refused) -> Exception:
        got = bytearray()
        with pytest.raises(expected.errors) as info:
            response = self._read_response(False)
            if expected.body is None and not expected.anywhere:
                pytest.fail(f"taken: {response}")
            self._reader(self._style, self.conn, got)
            pytest.fail(f"taken: {response} with {bytes(got)!r}")
        exc: Exception = info.value
        if expected.body is not None or expected.anywhere:
            if self._reader is _read_all:
                got += self._gathered()
            assert expected.body is None or bytes(got) == expected.body
        if not isinstance(exc, ConnectionClosed):
            head = info.value.response  # type: ignore[attr-defined]
            assert (head and head.status) == expected.head
            assert getattr(exc, "part", None) == expected.part
        return exc

    def _gathered(self) -> bytes:
        """What an interrupted readall leaves to the reads that follow."""
        got = b""
        with pytest.raises(ConnectionClosed):
            while piece := self._call("read", 2):
                got += piece
        return got

    def _check_attributes(self, exc: Any, number: int, expected: Refused) -> None:
        assert exc.bytes_sent == self._sizes[number]
        assert expected.started is None or exc.response_started is expected.started
        assert exc.safe_to_retry is (self.case.method not in ("POST", "PATCH", "CONNECT"))
        assert [request.path for request in exc.unanswered] == self._paths[number:]
        assert all(request.method == self.case.method for request in exc.unanswered)

    def _nothing_comes_any_more(self, first: Exception) -> None:
        self.source.near.release()
        self.source.look()
        for name, *args in self._calls:
            with pytest.raises(ConnectionClosed) as info:
                self._call(name, *args)
            assert info.value.__cause__ is first
            if name == "send_request":
                assert (info.value.bytes_sent, info.value.safe_to_retry) == (0, True)
        self.conn.disconnect()
        self._is_given_up()
