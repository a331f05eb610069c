"""The ``trace`` extension: httpcore's names for what happens during a request.

Theory of operation
===================

1. A request goes through phases, in the order of `_PHASES`. Each is reported as ``started``, and
   then as ``complete`` or ``failed``. A connection that was used before begins with the headers.
2. The events of a connection say that a phase has ended (`_ENDS`). If one is skipped, because a
   response came before its request was sent, it is reported as complete as well.
3. The callback of an async transport has to be awaited, and an event is reported in the middle of
   a coroutine. So a `Stepwise` runs a coroutine from one event to the next. In between, it runs
   on for no longer than to the next wait.
4. `Tracing` only decides what to report. The transports call the callback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

from ...transport.poll import Co, T

if TYPE_CHECKING:
    from typing import TypeAlias

    Reports: TypeAlias = list[tuple[str, dict[str, Any]]]

_TCP = "connection.connect_tcp"
_UNIX = "connection.connect_unix_socket"
_TLS = "connection.start_tls"
_HEADERS = "http11.send_request_headers"
_BODY = "http11.send_request_body"
_RESPONSE = "http11.receive_response_headers"

_PHASES = (_TCP, _TLS, _HEADERS, _BODY, _RESPONSE)

#: Which phase an event of the connection ends.
_ENDS = {"connected": _TCP, "secured": _TLS, "sent": _BODY}


class Tracing:
    """What to report about one request.

    Args:
        request: the request of the host library.
        connecting: the information about ``connect_tcp``, without a ``path``, or about
            ``connect_unix_socket``.
        tls: the information about ``start_tls``, ``None`` without TLS.
    """

    def __init__(
        self, request: Any, connecting: dict[str, Any], tls: dict[str, Any] | None
    ) -> None:
        about_request = {"request": request}
        self._names = {_TCP: _UNIX if "path" in connecting else _TCP}
        self._started: dict[str, dict[str, Any]] = {
            _TCP: connecting,
            _HEADERS: about_request,
            _BODY: about_request,
            _RESPONSE: about_request,
        }
        if tls is not None:
            self._started[_TLS] = tls
        self._phases = [phase for phase in _PHASES if phase in self._started]
        self._at = 0

    def begin(self, connected: bool) -> Reports:
        """Return the reports before the request."""
        self._at = self._phases.index(_HEADERS) if connected else 0
        return self._start()

    def event(self, name: str, network_stream: Any) -> Reports:
        """Return the reports for an event of the connection."""
        if name == "connecting" and self._at:  # the idle connection was closed: it makes another
            return self.begin(connected=False)
        if name not in _ENDS:
            return []
        return self._complete_to(_ENDS[name], network_stream)

    def response(self, *head: Any) -> Reports:
        """Return the reports for the head of the response: version, status, reason, fields."""
        reports = self._complete_to(_BODY, None)
        return [*reports, (f"{_RESPONSE}.complete", {"return_value": head})]

    def failure(self, exc: BaseException) -> Reports:
        """Return the reports for an exception."""
        phase = self._phases[self._at]
        reports: Reports = [(f"{self._name(phase)}.failed", {"exception": exc})]
        return reports + CLOSED if phase in (_HEADERS, _BODY, _RESPONSE) else reports

    def _complete_to(self, last: str, network_stream: Any) -> Reports:
        reports: Reports = []
        end = self._phases.index(last)
        while self._at <= end:
            phase = self._phases[self._at]
            value = network_stream if phase in (_TCP, _TLS) else None
            reports.append((f"{self._name(phase)}.complete", {"return_value": value}))
            self._at += 1
            reports += self._start()
        return reports

    def _start(self) -> Reports:
        phase = self._phases[self._at]
        return [(f"{self._name(phase)}.started", self._started[phase])]

    def _name(self, phase: str) -> str:
        return self._names.get(phase, phase)


#: The reports for the end of a response.
CLOSED: Reports = [
    ("http11.response_closed.started", {}),
    ("http11.response_closed.complete", {"return_value": None}),
]

_READ = "http11.receive_response_body"


def retry() -> Reports:
    """Return the reports for another attempt to connect."""
    return [
        ("connection.retry.started", {}),
        ("connection.retry.complete", {"return_value": None}),
    ]


def reading(request: Any) -> Reports:
    """Return the report when the body of a response begins."""
    return [(f"{_READ}.started", {"request": request})]


def read() -> Reports:
    """Return the reports when the body of a response has ended."""
    return [(f"{_READ}.complete", {"return_value": None}), *CLOSED]


def not_read(exc: BaseException) -> Reports:
    """Return the reports when reading the body of a response has failed."""
    return [(f"{_READ}.failed", {"exception": exc}), *CLOSED]


class Stepwise(Generic[T]):
    """Runs a coroutine from one event to the next.

    Args:
        crt: the coroutine. Resuming it early does no harm, as with all coroutines of ours.

    Attributes:
        result: the result of the coroutine, once it has ended.
    """

    def __init__(self, crt: Co[T]) -> None:
        self._crt = crt
        self._events: list[str] = []
        self._stops = True
        self.result: T

    def note(self, event: str) -> None:
        """Note an event. For `on_event` of the connection."""
        self._events.append(event)

    def events(self) -> list[str]:
        """Return the events since the last call."""
        events, self._events = self._events, []
        return events

    def co_next(self) -> Co[bool]:
        """Run the coroutine to the next event. Returns whether it has ended."""
        try:
            need = next(self._crt)
            while not (self._events and self._stops):
                if need.body is not None:
                    # The driver closes an async iterable when the coroutine that sends it stops.
                    self._stops = False
                try:
                    yield need
                except GeneratorExit:
                    raise
                except BaseException as exc:
                    need = self._crt.throw(exc)
                else:
                    need = next(self._crt)
        except StopIteration as stop:
            self.result = stop.value
            return True
        return False

    def close(self) -> None:
        """Close the coroutine."""
        self._crt.close()
