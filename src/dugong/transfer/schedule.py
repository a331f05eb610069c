"""Which request of many is sent next, and when. A pure state machine: no I/O, and no clock.

Theory of operation
===================

1. Each host has a queue. Requests leave it in order. Across hosts it is round robin, among those
   that may send. A host that may not costs nothing until it may: it is in a heap by time, or is
   listed again when one of its requests ends.
2. For each host, two *levels* are limited: how many requests are in flight, and how many begin per
   second. Nothing is known of a new host. Its number in flight begins at `FIRST_IN_FLIGHT` and
   grows by one with each answer, and its rate has no limit.
3. A *refusal* is a 429, a 503, a timeout, or a connection that is reset. It reduces both levels by
   a quarter. Refusals of requests that began before the last reduction are a part of the same
   event, and change nothing.
4. From then on, a level follows a curve (`Curve`), as in TCP CUBIC (RFC 9438): it returns to its
   *plateau*, just below what was refused, and stays near that; then it grows beyond, slowly at
   first. A refusal beyond the plateau means that the limit is between the two. One below it means
   that the limit has changed, or that a burst was mistaken for a rate: the plateau was wrong.
5. If the new plateau is about as high as that which held before, probing costs more than it finds.
   So the curve becomes twice as long with each such refusal. At a constant limit, a curve costs a
   few refusals and has hundreds of answers.
6. A level is probed only while it is what limits the host. Otherwise its curve stops at the plateau
   until that is the case. And if only one of the two levels was beyond its plateau, the refusal is
   about that one, and the other keeps its plateau.
7. ``Retry-After`` stops the host for that time.
8. A host is *shut* for a while if its server does not answer (`SILENT` requests in a row had a
   timeout or an unknown host name), refuses everything (`BUSY` requests in a row), or asks to wait
   longer than `max_pause`. Its queue then fails without requests: waiting for each would fill the
   window with this host, and delay all others.
9. *limit* is a number of requests in flight, of all hosts. Requests that are `STALLED` seconds
   without an answer do not count, up to a share of it: a few silent hosts would take all places.
10. Hosts without requests are remembered, with what is known of them, up to `REMEMBERED`.
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict, deque
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

T = TypeVar("T")

#: Requests in flight to a host of which nothing is known. Browsers open 6 connections, curl
#: --parallel as many as it may.
FIRST_IN_FLIGHT = 2

#: What remains of a level after a refusal.
REDUCED = 0.75

#: A plateau, relative to a rate that was refused: beyond the previous plateau, and below it. A rate
#: that is refused while it recovers is further from the limit.
_BELOW_PROBED = 0.95
_BELOW_PLATEAU = 0.9

#: The fewest requests per second. nginx's ``limit_req`` can express less (``r/m``), but a list
#: would take days.
LOWEST_RATE = 0.5

#: Seconds for which answers are counted, at least, before that is taken for a rate.
_SHORTEST_COUNT = 0.2

#: Seconds from a refusal until the plateau is reached: at first, and at most.
_FIRST_PERIOD = 2.0
_LONGEST_PERIOD = 30.0

#: Requests in the longest period, which is longer than `_LONGEST_PERIOD` at a low rate. A curve has
#: at least two periods, and ends with a few refusals.
_LONGEST_REQUESTS = 150

#: A plateau that differs from the previous one by less than this share is at the same level.
_SAME_LEVEL = 0.25

#: Requests in a row without an answer after which a host is shut, and for how many seconds.
SILENT = 3
SILENT_FOR = 300.0

#: Refusals in a row after which a host is shut, and for how many seconds. At a low limit, there is
#: an answer between a few refusals.
BUSY = 20
BUSY_FOR = 60.0

#: The longest ``Retry-After`` in seconds for which a host is only stopped. As `Retry.max_wait`.
MAX_PAUSE = 60.0

#: Seconds without an answer after which a request does not count towards *limit*, and how many such
#: requests there may be for each one that counts.
STALLED = 2.0
STALLED_SHARE = 8

#: Hosts that are remembered.
REMEMBERED = 20_000


class Answer(Enum):
    """What has come of a request."""

    ACCEPTED = "the host has answered"
    REFUSED = "the host wants fewer requests"
    SILENT = "the host has not answered in time: also a refusal"
    UNKNOWN = "the host cannot be found"
    NEUTRAL = "something that does not depend on the number of requests"


class Curve:
    """A level after a refusal: rules 4 and 5.

    Attributes:
        plateau: the level that is believed to be allowed.
        since: when the refusal was. Later if the curve stood still (rule 6).
        period: seconds from there to the plateau.
    """

    __slots__ = ("_held", "period", "plateau", "since")

    def __init__(self, plateau: float, now: float) -> None:
        self.plateau = plateau
        self.since = now
        self.period = _FIRST_PERIOD
        self._held: float | None = None  # the last plateau that was reached

    def value(self, now: float) -> float:
        """Return the level."""
        x = (now - self.since) / self.period - 1
        return self.plateau * (1 + (1 - REDUCED) * x**3)

    def is_beyond(self, now: float) -> bool:
        """Whether the level is higher than the plateau."""
        return now - self.since > self.period

    def refused(self, plateau: float, longest: float, now: float) -> None:
        """Begin again, with another plateau."""
        if self.is_beyond(now):
            self._held = self.plateau
        held = self._held
        if held is not None and abs(plateau - held) <= max(1.0, _SAME_LEVEL * held):
            self.period = min(2 * self.period, longest)
        else:
            self.period = _FIRST_PERIOD
        self.plateau = plateau
        self.since = now

    def reduce(self, allowed: float, now: float) -> None:
        """Begin again, with a plateau of at least *allowed*, as it was not to blame."""
        self.plateau = max(self.plateau, allowed)
        self.since = now

    def stand_still(self, seconds: float, now: float) -> None:
        """Leave the last *seconds* out, as far as they were beyond the plateau."""
        beyond = now - self.since - self.period
        if beyond > 0:
            self.since += min(seconds, beyond)


class Ticket(Generic[T]):
    """A request of a schedule.

    Attributes:
        item: what was added.
        reason: why it must not be sent, because its host is shut; ``None`` if it was begun.
    """

    __slots__ = ("answered", "began", "beside", "host", "item", "reason")

    def __init__(self, host: _Host[T], item: T) -> None:
        self.host = host
        self.item = item
        self.began = -math.inf
        self.beside = 0  # requests in flight to the host when it began, itself included
        self.answered = False
        self.reason: BaseException | None = None


class _Where(Enum):
    """Where a host waits."""

    NOWHERE = "it has no requests, or waits for one in flight"
    READY = "in the queue of hosts that may perhaps send"
    TIMED = "in the heap"


class _Bound(Enum):
    """What prevented the last request of a host that could not begin."""

    NOTHING = "nothing, or a pause"
    IN_FLIGHT = "the number in flight"
    RATE = "the rate"


class _Host(Generic[T]):
    """A host."""

    __slots__ = (
        "_counted", "_counted_since", "_last_count", "_last_look", "bound", "busy", "event",
        "first", "flying", "in_flight", "key", "most", "next_start", "paused_until", "queue",
        "rate", "reason", "shut_until", "silent", "where",
    )  # fmt: skip

    def __init__(self, key: Hashable, most: int, now: float) -> None:
        self.key = key
        self.queue: deque[Ticket[T]] = deque()
        self.where = _Where.NOWHERE
        self.in_flight = 0
        self.most = most
        self.first = float(min(FIRST_IN_FLIGHT, most))  # the number in flight before any refusal
        self.flying: Curve | None = None
        self.rate: Curve | None = None
        self.next_start = -math.inf
        self.paused_until = -math.inf
        self.shut_until = -math.inf
        self.reason: BaseException | None = None
        self.silent = 0
        self.busy = 0
        self.bound = _Bound.NOTHING
        self.event = -math.inf  # when the levels were last reduced
        self._counted_since = now
        self._counted = 0
        self._last_count = 0.0
        self._last_look = now

    def allowed(self, now: float) -> int:
        """Return how many requests may be in flight."""
        level = self.first if self.flying is None else self.flying.value(now)
        return max(1, min(self.most, round(level)))

    def rate_now(self, now: float) -> float:
        """Return how many requests may begin per second."""
        return math.inf if self.rate is None else max(LOWEST_RATE, self.rate.value(now))

    def may_start(self, now: float) -> float:
        """Return when the next request may begin; infinity if one has to end before that."""
        if self.in_flight >= self.allowed(now):
            self.bound = _Bound.IN_FLIGHT
            return math.inf
        self.bound = _Bound.RATE if self.next_start > self.paused_until else _Bound.NOTHING
        return max(self.next_start, self.paused_until)

    def start(self, now: float) -> None:
        self.in_flight += 1
        self.bound = _Bound.NOTHING
        if self.rate is not None:
            self.next_start = now + 1 / self.rate_now(now)

    def accepted(self, has_room: bool, now: float) -> None:
        """Note an answer. *has_room*: whether only the levels prevent another request."""
        self._count(now)
        seconds, self._last_look = now - self._last_look, now
        bound = self.bound if has_room else _Bound.NOTHING
        if self.flying is None:
            if bound is _Bound.IN_FLIGHT and self.first < self.most:
                self.first += 1
        elif bound is not _Bound.IN_FLIGHT or self.flying.value(now) > self.most:
            self.flying.stand_still(seconds, now)
        if self.rate is not None and bound is not _Bound.RATE:
            self.rate.stand_still(seconds, now)

    def _count(self, now: float) -> None:
        passed = now - self._counted_since
        if passed >= 1:
            self._last_count = self._counted / passed
            self._counted, self._counted_since = 0, now
        self._counted += 1

    def _measured(self, now: float) -> float:
        """Return how many answers have come per second."""
        passed = now - self._counted_since
        current = max(1, self._counted) / max(_SHORTEST_COUNT, passed)
        return max(current, self._last_count if passed < 2 else 0.0)

    def refused(self, ticket: Ticket[T], now: float) -> None:
        """Reduce the levels because of the refusal of *ticket* (rules 3 to 6)."""
        if ticket.began < self.event:
            return
        self.event = now
        self._last_look = now
        flying, rate = self.flying, self.rate
        rate_probed = rate is None or rate.is_beyond(now)
        beside = max(1.0, ticket.beside - 1.0)
        if flying is None:
            self.flying = Curve(beside, now)
            neither = not rate_probed
        else:
            flight_probed = ticket.beside > flying.plateau and flying.is_beyond(now)
            neither = not flight_probed and not rate_probed
            if (flight_probed or neither) and self.bound is not _Bound.RATE:
                flying.refused(beside, _LONGEST_PERIOD, now)
            else:
                flying.reduce(self.allowed(now), now)
        if rate is None:
            self.rate = Curve(max(LOWEST_RATE, _BELOW_PLATEAU * self._measured(now)), now)
        elif rate_probed or neither:
            share = _BELOW_PROBED if rate_probed else _BELOW_PLATEAU
            plateau = max(LOWEST_RATE, share * rate.value(now))
            rate.refused(plateau, max(_LONGEST_PERIOD, _LONGEST_REQUESTS / plateau), now)
        else:
            rate.reduce(0.0, now)
        self.next_start = now + 1 / self.rate_now(now)


class Schedule(Generic[T]):
    """Decides which request begins, and when.

    Args:
        limit: the most requests in flight (rule 9).
        per_host: the most requests in flight for one host.
        max_pause: see rule 8.
    """

    def __init__(self, limit: int, per_host: int, max_pause: float = MAX_PAUSE) -> None:
        self._limit = limit
        self._per_host = per_host
        self._max_pause = max_pause
        self._places = limit * (1 + STALLED_SHARE)
        #: Hosts, the one that was used last at the end.
        self._hosts: OrderedDict[Hashable, _Host[T]] = OrderedDict()
        self._ready: deque[_Host[T]] = deque()
        self._timed: list[tuple[float, int, _Host[T]]] = []
        self._later: list[tuple[float, int, Ticket[T]]] = []
        self._number = 0  # makes entries of the heaps comparable
        self._fresh: OrderedDict[Ticket[T], None] = OrderedDict()  # unanswered, the oldest first
        self._stalled = 0
        self._reduced_at = -math.inf
        self.waiting = 0
        self.in_flight = 0

    def add(self, key: Hashable, item: T, now: float) -> None:
        """Queue a request to the host *key*."""
        host = self._hosts.get(key)
        if host is None:
            host = self._hosts[key] = _Host(key, self._per_host, now)
            self._forget()
        self.waiting += 1
        host.queue.append(Ticket(host, item))
        if host.where is _Where.NOWHERE:
            self._list(host)

    def take(self, now: float) -> Ticket[T] | None:
        """Return the next request to begin, ``None`` if none may begin now.

        A request of a host that is shut (`Ticket.reason`) does not begin, and must not be ended.
        """
        while self._timed and self._timed[0][0] <= now:
            self._list(heapq.heappop(self._timed)[2])
        while self._later and self._later[0][0] <= now:
            self._put_first(heapq.heappop(self._later)[2])
        if not self.has_room(now):
            return None
        while self._ready:
            host = self._ready.popleft()
            host.where = _Where.NOWHERE
            if not host.queue:
                continue
            if now < host.shut_until:
                ticket = host.queue.popleft()
                self.waiting -= 1
                self._list(host)
                ticket.reason = host.reason
                return ticket
            when = host.may_start(now)
            if when <= now:
                return self._begin(host, now)
            if when < math.inf:
                host.where = _Where.TIMED
                self._push(self._timed, when, host)
        return None

    def has_room(self, now: float) -> bool:
        """Whether the limit for all hosts allows another request (rule 9)."""
        while self._fresh:
            ticket = next(iter(self._fresh))
            if ticket.began + STALLED > now:
                break
            del self._fresh[ticket]
            self._stalled += 1
        return self.in_flight - self._stalled < self._limit and self.in_flight < self._places

    def next_time(self, now: float) -> float:
        """Return when `take` may return a request although none has ended; infinity if never."""
        times = [heap[0][0] for heap in (self._timed, self._later) if heap]
        if self._fresh and not self.has_room(now):
            times = [next(iter(self._fresh)).began + STALLED]
        return min(times, default=math.inf)

    def answered(self, ticket: Ticket[T]) -> None:
        """Note that the head of a response has come."""
        ticket.host.silent = 0
        self._unstall(ticket)

    def _unstall(self, ticket: Ticket[T]) -> None:
        if not ticket.answered:
            ticket.answered = True
            if ticket in self._fresh:
                del self._fresh[ticket]
            else:
                self._stalled -= 1

    def ended(
        self,
        ticket: Ticket[T],
        answer: Answer,
        now: float,
        retry_after: float | None = None,
        reason: BaseException | None = None,
    ) -> None:
        """Note that a request has ended.

        Args:
            ticket: the request.
            answer: what has come of it.
            now: the time.
            retry_after: the seconds in ``Retry-After``.
            reason: the exception for requests that fail because of this one (rule 8).
        """
        host = ticket.host
        self._unstall(ticket)
        self.in_flight -= 1
        host.in_flight -= 1
        if answer is Answer.ACCEPTED:
            host.silent = host.busy = 0
            host.accepted(self.has_room(now), now)
        elif answer in (Answer.REFUSED, Answer.SILENT):
            host.refused(ticket, now)
        if answer in (Answer.SILENT, Answer.UNKNOWN):
            host.silent += 1
            if host.silent >= SILENT:
                self._shut(host, now + SILENT_FOR, reason)
        elif answer is Answer.REFUSED:
            host.silent = 0
            host.busy += 1
            if host.busy >= BUSY:
                self._shut(host, now + BUSY_FOR, reason)
        if retry_after is not None:
            if retry_after > self._max_pause:
                self._shut(host, now + retry_after, reason)
            else:
                host.paused_until = max(host.paused_until, now + retry_after)
        if host.queue and host.where is _Where.NOWHERE:
            self._list(host)

    def put_back(self, ticket: Ticket[T], when: float) -> None:
        """Queue a request again, which has ended, as the first of its host, not before *when*."""
        self._push(self._later, when, ticket)
        self.waiting += 1

    def have_fewer(self, ticket: Ticket[T], idle: int, now: float) -> bool:
        """Reduce the limit for all hosts: the process has no descriptor for *ticket*.

        Args:
            ticket: a request that has ended because of that.
            idle: how many connections were idle.
            now: the time.

        Returns:
            Whether to send the request again. If not, there was no other connection.
        """
        if ticket.began < self._reduced_at:
            return True  # as in rule 3
        was_alone = self._places == 1 and not idle
        self._reduced_at = now
        self._places = max(1, min(self._places - 1, self.in_flight + idle))
        self._limit = min(self._limit, self._places)
        return not was_alone

    def drain(self) -> Iterator[Ticket[T]]:
        """Remove and yield all requests that have not begun."""
        for host in self._hosts.values():
            yield from host.queue
            host.queue.clear()
        while self._later:
            yield heapq.heappop(self._later)[2]
        self.waiting = 0

    def _begin(self, host: _Host[T], now: float) -> Ticket[T]:
        ticket = host.queue.popleft()
        host.start(now)
        ticket.began, ticket.beside = now, host.in_flight
        ticket.answered = False
        self.waiting -= 1
        self.in_flight += 1
        self._fresh[ticket] = None
        self._hosts.move_to_end(host.key)
        if host.queue:
            self._list(host)
        return ticket

    def _put_first(self, ticket: Ticket[T]) -> None:
        host = ticket.host
        self._hosts[host.key] = host  # it may have been forgotten
        host.queue.appendleft(ticket)
        if host.where is _Where.NOWHERE:
            self._list(host)

    def _shut(self, host: _Host[T], until: float, reason: BaseException | None) -> None:
        if until > host.shut_until:
            host.shut_until, host.reason = until, reason

    def _list(self, host: _Host[T]) -> None:
        host.where = _Where.READY
        self._ready.append(host)

    def _push(self, heap: list[tuple[float, int, Any]], when: float, what: Any) -> None:
        self._number += 1
        heapq.heappush(heap, (when, self._number, what))

    def _forget(self) -> None:
        """Forget the host that was used first, if there are too many (rule 10)."""
        if len(self._hosts) <= REMEMBERED:
            return
        key, host = self._hosts.popitem(last=False)
        if host.queue or host.in_flight or host.where is not _Where.NOWHERE:
            self._hosts[key] = host
