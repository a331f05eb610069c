"""A server in simulated time, which limits its clients as nginx does, and a client of it."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from dugong.transfer.schedule import Answer, Schedule, Ticket

#: Requests that a simulated client keeps in its queues.
QUEUED = 30


@dataclass
class Server:
    """One host.

    Attributes:
        rate: requests per second that it allows, as ``limit_req``; ``None`` for no limit.
        burst: how many may come earlier, as ``limit_req … burst=… nodelay``.
        connections: requests at a time that it allows, as ``limit_conn``.
        latency: seconds from a request to its response.
        jitter: the share of the latency that varies.
    """

    rate: float | None = None
    burst: int = 0
    connections: int | None = None
    latency: float = 0.02
    jitter: float = 0.2
    active: int = 0
    _excess: float = 0.0
    _last: float = 0.0

    def allows(self, now: float) -> bool:
        """Whether a request that arrives now is allowed."""
        if self.connections is not None and self.active >= self.connections:
            return False
        if self.rate is None:
            return True
        excess = max(0.0, self._excess - (now - self._last) * self.rate) + 1
        if excess > self.burst + 1:
            return False
        self._excess, self._last = excess, now
        return True


@dataclass
class Tally:
    """What came of the requests to a host."""

    accepted: int = 0
    refused: int = 0

    @property
    def share_refused(self) -> float:
        return self.refused / (self.accepted + self.refused)


@dataclass
class Simulation:
    """Requests to servers, by a schedule, from time 0."""

    servers: dict[str, Server]
    schedule: Schedule[str]
    seed: int = 0
    now: float = 0.0
    tallies: dict[str, Tally] = field(default_factory=dict)
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _number: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._queued = dict.fromkeys(self.servers, 0)
        self.count()

    def count(self) -> None:
        """Count from now on."""
        self.tallies = {name: Tally() for name in self.servers}

    def run(self, until: float) -> None:
        """Run to a point in time."""
        while True:
            self._begin()
            when = min(self.schedule.next_time(self.now), until)
            if self._events and self._events[0][0] <= when:
                self.now, _, event = heapq.heappop(self._events)
                event()
            else:
                self.now = max(self.now, when)
                if self.now >= until:
                    return

    def _begin(self) -> None:
        for name in self.servers:
            while self._queued[name] < QUEUED:
                self._queued[name] += 1
                self.schedule.add(name, name, self.now)
        while (ticket := self.schedule.take(self.now)) is not None:
            self._queued[ticket.item] -= 1
            self._send(ticket, self.servers[ticket.item])

    def _send(self, ticket: Ticket[str], server: Server) -> None:
        latency = server.latency * (1 + server.jitter * (self._random.random() - 0.5))

        def arrive() -> None:
            if not server.allows(self.now):
                self._at(0.1 * latency, lambda: self._end(ticket, Answer.REFUSED))
                return
            server.active += 1
            self._at(0.8 * latency, leave)

        def leave() -> None:
            server.active -= 1
            self._at(0.1 * latency, lambda: self._end(ticket, Answer.ACCEPTED))

        self._at(0.1 * latency, arrive)

    def _end(self, ticket: Ticket[str], answer: Answer) -> None:
        tally = self.tallies[ticket.item]
        if answer is Answer.ACCEPTED:
            tally.accepted += 1
        else:
            tally.refused += 1
        self.schedule.answered(ticket)
        self.schedule.ended(ticket, answer, self.now)

    def _at(self, seconds: float, event: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (self.now + seconds, self._number, event))
