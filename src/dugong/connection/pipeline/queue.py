"""The requests of a pipeline: taken from the caller's iterable, sent, and answered in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import Any, Final

from ...errors import ConnectionClosed, ConnectionTimedOut, StateError
from ...protocol.exchange import Exchange
from ...protocol.limits import BUFFER_SIZE
from ...protocol.messages import BodyFollowing, Request

#: Seconds within which a quick iterable yields one request.
_QUICK = 0.001

#: The same limit before it is known whether the server answers requests that arrive together. Two
#: are sent together to find out, and the system does not hold the first one back for long.
_QUICK_ENOUGH = 0.1

#: How many times in a row an iterable has to be quick before `is_quick` assumes that it is.
_OFTEN = 16


#: Stands for no item, because ``None`` may be an item of the caller's iterable.
_NOTHING: Final = object()


class NotYet(Exception):
    """The iterable has no item now, but may have more later."""


class QueuedRequest:
    """One request, from when it is taken from the caller's iterable until it is answered.

    Attributes:
        request: the caller's object, or one made from the caller's path or pair.
        is_request: whether the item is a request. Otherwise it only stands for its failure.
        prepared: the exchange to send; ``None`` until it has been prepared.
        alone: whether no other request may be in flight with it. Set together with *prepared*.
        exchange: the exchange in the session in which it was sent; ``None`` if it is to be sent
            (again).
        failure: the exception to raise in place of a response.
    """

    __slots__ = ("alone", "exchange", "failure", "is_request", "prepared", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.is_request = True
        self.prepared: Exchange | None = None
        self.alone = False
        self.exchange: Exchange | None = None
        self.failure: BaseException | None = None

    def send_again(self, exc: Exception | None) -> None:
        """Mark the request for sending again after its connection has ended, or set its failure.

        Args:
            exc: the exception that has ended the connection, ``None`` if it is unknown.
        """
        exchange = self.exchange
        if exchange is None:
            return
        self.exchange = None
        safe_to_retry = exchange.restore()
        if self.failure is not None:
            return
        if safe_to_retry:
            self.prepared = None
            return
        kind = ConnectionTimedOut if isinstance(exc, ConnectionTimedOut) else ConnectionClosed
        failure = kind(f"{exc or 'the connection was abandoned'}; the request cannot be repeated")
        failure.__cause__ = exc
        failure.bytes_sent = exchange.bytes_sent
        failure.response_started = exchange.response_started
        self.failure = failure


class RequestQueue:
    """The requests that have been taken and not answered, oldest first.

    Args:
        requests: the caller's iterable.

    Attributes:
        queue: these requests.
        in_flight: how many requests, the oldest ones, have been sent or are being sent.
        ended: whether the iterable has no more items.
        at_hand: whether the iterable knows its length, as a list does, and so never waits. From any
            other iterable, each request is sent before the next is taken.
        is_quick: whether the iterable is at hand, or has yielded its recent items quickly.
    """

    def __init__(self, requests: Iterable[Any]) -> None:
        self._source: Iterator[Any] = iter(requests)
        self._given: Any = _NOTHING  # what it has given, until that is an item
        self.queue: deque[QueuedRequest] = deque()
        self.in_flight = 0
        self.ended = False
        kind = type(requests)
        self.at_hand = hasattr(kind, "__len__") or hasattr(kind, "__length_hint__")
        self._quick_enough = _QUICK_ENOUGH
        self._quick = 0  # how often in a row

    @property
    def is_quick(self) -> bool:
        return self.at_hand or self._quick >= _OFTEN

    def server_pipelines(self) -> None:
        """Note that the server answers requests that arrive together.

        Sending two together is then no longer needed as a proof, so an iterable only counts as
        quick if it meets `_QUICK`.
        """
        self._quick_enough = _QUICK
        self._quick = 0

    def last_sent(self) -> QueuedRequest:
        """Return the newest request in flight."""
        return self.queue[self.in_flight - 1]

    def restore(self) -> None:
        """Restore the bodies of all requests in flight that are safe to retry."""
        for item in self.queue:
            if item.exchange is not None:
                item.exchange.restore()

    def has(self, item: QueuedRequest) -> bool:
        """Whether *item* has neither been answered nor failed."""
        return item in self.queue

    def requests(self) -> tuple[Request, ...]:
        """Return all requests that have been taken and not answered."""
        return tuple([item.request for item in self.queue if item.is_request])

    def forget_first(self) -> None:
        """Remove the oldest request, because it has been answered or has failed."""
        if self.in_flight:
            self.in_flight -= 1
        self.queue.popleft()

    def back_from_flight(self, exc: Exception | None) -> None:
        """Handle the end of the connection for all requests in flight.

        Args:
            exc: the exception that has ended the connection, ``None`` if it is unknown.
        """
        for item in self.queue:
            item.send_again(exc)
        self.in_flight = 0

    def has_more(self) -> bool:
        """Whether there is a request to send after those in flight. Takes one if necessary."""
        if self.in_flight < len(self.queue):
            item: QueuedRequest | None = self.queue[self.in_flight]
        else:
            item = self._take()
        return item is not None and item.failure is None

    def next_to_send(
        self, limit: int, prepare: Callable[[QueuedRequest], bool]
    ) -> list[QueuedRequest]:
        """Return the requests that may be sent now in one piece.

        Args:
            limit: how many requests may be in flight afterwards, at least 1.
            prepare: sets `prepared` and `alone` of a request. Returns whether it is valid.
        """
        batch: list[QueuedRequest] = []
        size, count = 0, self.in_flight
        before = self.last_sent() if count else None
        while count < limit and size < BUFFER_SIZE:
            if count < len(self.queue):
                item: QueuedRequest | None = self.queue[count]
            elif batch and not self.at_hand:
                break
            else:
                item = self._take()
            if item is None or item.failure is not None:
                break
            if item.prepared is None and not prepare(item):
                break
            assert item.prepared is not None
            has_content = item.prepared.content is not None
            if before is not None and (item.alone or before.alone or (batch and has_content)):
                break
            batch.append(item)
            if has_content:
                break
            before = item
            count += 1
            size += len(item.prepared.head)
        return batch

    def _take(self) -> QueuedRequest | None:
        """Take the next request from the caller. An invalid item becomes a failure in its place."""
        if self.ended:
            return None
        begin = 0.0 if self.at_hand else monotonic()
        try:
            if self._given is _NOTHING:
                # Not `next`: after a call, a signal handler may raise, and the request would be
                # lost without a word. After a step of ``for``, none can.
                for given in self._source:
                    self._given = given
                    break
                else:
                    self.ended = True
                    return None
            given = self._given
            item = QueuedRequest(Request("GET", given)) if type(given) is str else as_item(given)
        except NotYet:
            return None
        except Exception as exc:
            self.ended = True
            item = _failed(exc)
        if not self.at_hand:
            self._quick = self._quick + 1 if monotonic() - begin < self._quick_enough else 0
        self.queue += [item]  # no call either: it would be taken twice
        self._given = _NOTHING
        return item


def as_item(given: Any) -> QueuedRequest:
    """Return a `QueuedRequest` for what the caller's iterable gave, with a failure if invalid."""
    if isinstance(given, str):
        return QueuedRequest(Request("GET", given))
    if isinstance(given, tuple) and len(given) == 2:
        return QueuedRequest(Request(*given))
    if not isinstance(given, Request):
        return _failed(TypeError(
            "an item of requests must be a path, a pair (method, path) or a Request, not "
            + (f"a tuple of {len(given)}" if isinstance(given, tuple) else type(given).__name__)
        ))  # fmt: skip
    if given.incomplete:
        return _failed(
            StateError("the body or the fields of this request were left out when it was pickled"),
            given,
        )
    if isinstance(given.body, BodyFollowing):
        return _failed(
            TypeError("pipeline() sends whole bodies: pass the body itself, not BodyFollowing"),
            given,
        )
    return QueuedRequest(given)


def _failed(exc: BaseException, request: Request | None = None) -> QueuedRequest:
    item = QueuedRequest(request or Request("", ""))
    item.is_request = request is not None
    item.failure = exc
    return item
