"""The leases of a pool: the slots in use, the leases that wait for one, and the idle connections.

This is a pure state machine. It does no I/O, reads no clock, takes no lock and calls nothing. The
pool reports events to it, and carries out the *actions* that each event returns.

Theory of operation
===================

A *lease* is the right to use one connection to one host. A lease in progress owns a *slot*, never a
connection: its slot exists before the connection does, and survives it. An idle connection occupies
a slot, too. A lease goes through these states (`LEASE` has all transitions):

========== =======================================================================================
NEW        `want` was not called yet.
WAITING    It waits for a slot.
GRANTED    It has a slot, and perhaps an idle connection. Its caller may not know yet, and may have
           gone.
CONNECTING The caller knows (`granted`). There is no connection yet.
LEASED     There was a connection at some time (`connected`), or an idle one was granted.
ENDED      For good. An ended lease ignores every event.
========== =======================================================================================

1. **Limits.** Slots are leases and idle connections. A host never has more than *per_host*, and the
   pool never more than *max_connections*. To make room for a lease, an idle connection is closed:
   the one that was returned first, of the lease's host if that is full, otherwise of any host. So
   an idle connection is as good as a free slot, and only leases can make another lease wait.
2. **Work is never left undone.** A lease waits only while its host has *per_host* leases, or the
   pool *max_connections*. Each event that ends a lease grants the slot in the same step, also if
   the lease that ends was granted and its caller has gone (`cancelled`).
3. **Order.** Within a host, leases are granted in the order of `want`. Across hosts it is round
   robin, among those that wait only for the pool's own limit (`_turns`). A host with *per_host*
   leases is not among them, so it delays no other.
4. **Reuse.** A lease gets an idle connection only of its host and route. Of those, it gets the
   one that was returned last: the others can then become old enough to be closed.
5. **Cost.** No event takes longer with more connections, hosts or waiting leases. Hence the linked
   dictionaries: each removes any of its items, and its first one, in constant time. (Removing the
   first item of a plain `dict` repeatedly is quadratic.) The exceptions are `repair`, `close`
   and `stats`, which look at everything.
6. **Nothing remains.** A host is forgotten with its last lease and its last idle connection. An
   ended lease is not referred to.
7. **Events may be repeated, late, or interrupted.** A signal handler may raise in the middle of an
   event. The caller then calls `repair`, and repeats the event. For that, each fact that matters is
   one assignment: the members of `leases` and `idle`, `Lease.state`, `Lease.idle` and `Idle.lease`.
   Everything else is derived from them, and `repair` recomputes it, except for the order of
   turns. The order of assignments matters where a comment notes it. An action may then be
   returned twice.

What breaks in other pools without these rules: slots are lost forever (httpcore #1093, aiohttp
#4936, Go #29889: rules 1 and 7); callers wait beside free slots (aiohttp #9670, Jetty #5855, Go
#32336 and #65705: rule 2); each request looks at every connection (httpx #3215, OkHttp #4581: rule
5); one host starves the others (OkHttp, conjure #867: rule 3); memory grows with every host ever
used (Go #33849, aiohttp #3684, Jetty #2860: rule 6).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias


class State(StrEnum):
    """The state of a lease."""

    __hash__ = str.__hash__  # an enum's own hash takes longer than the rest of a transition

    NEW = "new"
    WAITING = "waiting"
    GRANTED = "granted"
    CONNECTING = "connecting"
    LEASED = "leased"
    ENDED = "ended"


LEASE: Final[dict[State, dict[str, State]]] = {
    State.NEW: {"want": State.WAITING, "ended": State.ENDED},
    State.WAITING: {"slot": State.GRANTED, "ended": State.ENDED},
    State.GRANTED: {
        "granted, new": State.CONNECTING,
        "granted, idle": State.LEASED,
        "ended": State.ENDED,
    },
    State.CONNECTING: {"connected": State.LEASED, "ended": State.ENDED},
    State.LEASED: {"connected": State.LEASED, "ended": State.ENDED},
    State.ENDED: {},
}

# Module-level names, because looking up a member in its class takes three times as long.
NEW, WAITING, GRANTED, CONNECTING, LEASED, ENDED = State


class Lease:
    """One lease.

    Args:
        host: identifies the host, for *per_host*.
        route: identifies the way to it. Only connections with an equal route are reused.

    Attributes:
        state: see the module.
        idle: the idle connection that was granted, ``None`` if there was none.
    """

    __slots__ = ("__weakref__", "host", "idle", "route", "state")

    def __init__(self, host: Hashable, route: Hashable) -> None:
        self.host = host
        self.route = route
        self.state = NEW
        self.idle: Idle | None = None


class Idle:
    """One idle connection.

    Args:
        host: as for `Lease`.
        route: as for `Lease`.
        connection: the connection itself, which this module never touches.
        since: when it was returned.

    Attributes:
        lease: the lease that it was granted to, ``None`` while it is idle.
    """

    __slots__ = ("__weakref__", "connection", "host", "lease", "route", "since")

    def __init__(self, host: Hashable, route: Hashable, connection: Any, since: float) -> None:
        self.host = host
        self.route = route
        self.connection = connection
        self.since = since
        self.lease: Lease | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """Wake the caller of this lease: it has a slot."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class Close:
    """Close this connection, which is no longer idle."""

    idle: Idle


@dataclass(frozen=True, slots=True)
class Refuse:
    """Wake the caller of this lease: it has ended, because the pool was closed."""

    lease: Lease


Action: TypeAlias = Grant | Close | Refuse


@dataclass(frozen=True, slots=True)
class Stats:
    """How many connections there are, and how many callers wait.

    Attributes:
        idle: connections that are kept for reuse.
        leased: leases with a connection.
        connecting: leases without a connection so far.
        waiting: callers that wait for a lease.
    """

    idle: int = 0
    leased: int = 0
    connecting: int = 0
    waiting: int = 0


class _Host:
    """The leases and connections of one host. Empty ones are deleted."""

    __slots__ = ("granted_at", "idle", "key", "leases", "routes", "waiting")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.leases = 0
        self.waiting: OrderedDict[Lease, None] = OrderedDict()
        #: The idle connections, in the order of their return: all of them, and those of each route.
        self.idle: OrderedDict[Idle, None] = OrderedDict()
        self.routes: dict[Hashable, dict[Idle, None]] = {}
        self.granted_at = -math.inf


class Leases:
    """The state machine.

    Args:
        max_connections: the limit for leases and idle connections; ``None`` for no limit.
        per_host: the same for one host.
        max_idle: the limit for idle connections.
        idle_timeout: seconds after which an idle connection is closed.

    Attributes:
        leases: all leases that have not ended, or were refused, in the order of `want`.
        idle: all idle connections, in the order of their return.
        waiting: the number of leases that wait.
        is_closed: whether `close` was called.
    """

    def __init__(
        self,
        max_connections: int | None = None,
        per_host: int | None = None,
        max_idle: int | None = None,
        idle_timeout: float | None = None,
    ) -> None:
        self._max = _limit(max_connections)
        self._per_host = _limit(per_host)
        self.max_idle = _limit(max_idle)
        self._idle_timeout = _limit(idle_timeout)
        self.is_closed = False
        self.leases: dict[Lease, None] = {}
        self.idle: OrderedDict[Idle, None] = OrderedDict()
        self._forget_derived()

    def _forget_derived(self) -> None:
        self._hosts: dict[Hashable, _Host] = {}
        self._turns: OrderedDict[_Host, None] = OrderedDict()
        self._held = 0  # leases that have a slot
        self.waiting = 0
        self._granted_at = -math.inf

    # Events.

    def want(self, lease: Lease, now: float) -> list[Action]:
        """A caller wants *lease*. Granted immediately if that is possible."""
        if lease.state is not NEW:
            return [Refuse(lease)] if self.is_closed and lease.state is ENDED else []
        # In this order: after an interrupt in between, the lease is known, and not yet waiting. The
        # repeated event continues.
        self.leases[lease] = None
        if self.is_closed:
            lease.state = ENDED
            return [Refuse(lease)]
        host = self._hosts.get(lease.host)
        if host is None:
            host = self._hosts[lease.host] = _Host(lease.host)
        lease.state = WAITING
        if host.leases < self._per_host:
            if self._held < self._max:  # so no other lease of this host waits
                return self._grant(host, lease, now)
            self._turns.setdefault(host)
        host.waiting[lease] = None
        self.waiting += 1
        return []

    def granted(self, lease: Lease) -> list[Action]:
        """The caller knows that it has the slot, and takes over `Lease.idle` if there is one."""
        if lease.state is GRANTED:
            event = "granted, new" if lease.idle is None else "granted, idle"
            lease.state = LEASE[GRANTED][event]
        return []

    def connected(self, lease: Lease) -> list[Action]:
        """A new connection of *lease* is ready."""
        if lease.state is CONNECTING:
            lease.state = LEASE[CONNECTING]["connected"]
        return []

    def returned(self, lease: Lease, idle: Idle | None, now: float) -> list[Action]:
        """The caller ends *lease*, and returns its connection to be reused, if it can be."""
        if not _has_slot(lease):
            self.cancelled(lease, now)
            # A repeated event may have been interrupted before it kept the connection.
            if idle is not None and idle not in self.idle and idle.lease is None:
                return [Close(idle)]
            return []
        return self._end(lease, idle, now)

    def cancelled(self, lease: Lease, now: float) -> list[Action]:
        """The caller no longer wants *lease*, in any state. Its slot passes on."""
        state = lease.state
        if state is GRANTED:  # an idle connection that was granted remains idle
            return self._end(lease, lease.idle, now)
        if state is CONNECTING or state is LEASED:
            return self._end(lease, None, now)
        if state is WAITING:
            host = self._hosts[lease.host]
            self._forget(lease)
            del host.waiting[lease]
            self.waiting -= 1
            if not host.waiting:
                self._turns.pop(host, None)
                self._forget_unused(host)
            return []
        self._forget(lease)
        return []

    def closed(self, idle: Idle) -> list[Action]:
        """Forget an idle connection that turned out to be closed.

        If it was granted to a lease, that lease gets the next one of its route as `Lease.idle`,
        or ``None``. It has its slot in any case.
        """
        lease = idle.lease
        if lease is None:
            if idle in self.idle:
                self._take_out(idle)
                self._forget_unused(self._hosts[idle.host])
        elif lease.idle is idle and lease.state is GRANTED:
            self._choose(self._hosts[lease.host], lease)
        return []

    def tick(self, now: float) -> list[Action]:
        """Time has passed: close the connections that have been idle for too long."""
        actions: list[Action] = []
        while self.idle and now >= self.next_tick:
            actions.append(self._evict(next(iter(self.idle))))
        return actions

    @property
    def next_tick(self) -> float:
        """When `tick` has something to do; infinity while nothing is idle."""
        return next(iter(self.idle)).since + self._idle_timeout if self.idle else math.inf

    def empty(self) -> list[Action]:
        """Close all idle connections."""
        actions: list[Action] = []
        while self.idle:
            actions.append(self._evict(next(iter(self.idle))))
        return actions

    def close(self) -> list[Action]:
        """The pool was closed. Leases that wait end, and no further one is granted.

        A lease that is refused remains in `leases` until its caller cancels it. So its caller is
        woken in any case: if this is interrupted, the repeated event refuses it again.
        """
        self.is_closed = True
        actions: list[Action] = []
        for lease in self.leases:
            if lease.state is WAITING:
                lease.state = ENDED
            if lease.state is ENDED:
                actions.append(Refuse(lease))
        self._turns.clear()
        self.waiting = 0
        actions += self.empty()
        for host in list(self._hosts.values()):
            host.waiting.clear()
            self._forget_unused(host)
        return actions

    def repair(self, now: float) -> list[Action]:
        """An event was interrupted: derive everything from the facts (rule 7).

        Returns:
            What the interrupted event may have left undone. All leases that have a slot and whose
            caller may not know yet are granted again.
        """
        leases, idle = list(self.leases), list(self.idle)
        self._forget_derived()
        if not self.is_closed:
            self.leases = {lease: None for lease in leases if lease.state is not ENDED}
        self.idle = OrderedDict()
        for each in idle:
            lease = each.lease
            if lease is not None and lease.idle is each and lease.state is not WAITING:
                continue  # the lease has it
            each.lease = None
            self._keep(each)
        actions: list[Action] = []
        for lease in self.leases:
            if lease.state in (NEW, ENDED):
                continue  # `want`, or `close`, is repeated
            host = self._hosts.setdefault(lease.host, _Host(lease.host))
            if lease.state is WAITING:
                lease.idle = None
                host.waiting[lease] = None
                self.waiting += 1
                continue
            host.leases += 1
            self._held += 1
            host.granted_at = self._granted_at = now
            if lease.state is GRANTED:
                actions.append(Grant(lease))
        for host in self._hosts.values():
            if host.waiting and host.leases < self._per_host:
                self._turns[host] = None
        if self.is_closed:
            return actions + self.close()
        return actions + self._serve(now)

    # Queries.

    def last_grant(self, lease: Lease) -> float:
        """Return when a slot that *lease* may use was last granted to any lease."""
        host = self._hosts.get(lease.host)
        if host is not None and host.leases >= self._per_host:
            return host.granted_at
        return self._granted_at

    def in_the_way(self, lease: Lease) -> tuple[str, list[Lease]]:
        """Return which limit a waiting lease waits for, and the leases that use it up."""
        host = self._hosts.get(lease.host)
        if host is not None and host.leases >= self._per_host:
            return f"per_host={self._per_host}", [
                each for each in list(self.leases) if each.host == lease.host and _has_slot(each)
            ]
        return f"max_connections={self._max}", [
            each for each in list(self.leases) if _has_slot(each)
        ]

    def stats(self) -> dict[Hashable, Stats]:
        """Return the numbers of each host."""
        counts: dict[Hashable, dict[State | str, int]] = {}
        for lease in list(self.leases):  # another thread may report an event meanwhile
            if lease.state is ENDED:
                continue
            of_host = counts.setdefault(lease.host, {})
            of_host[lease.state] = of_host.get(lease.state, 0) + 1
        for idle in list(self.idle):
            of_host = counts.setdefault(idle.host, {})
            of_host["idle"] = of_host.get("idle", 0) + 1
        return {
            key: Stats(
                idle=found.get("idle", 0),
                leased=found.get(LEASED, 0),
                connecting=found.get(GRANTED, 0) + found.get(CONNECTING, 0),
                waiting=found.get(WAITING, 0),
            )
            for key, found in counts.items()
        }

    def faults(self) -> Iterator[str]:
        """Yield what contradicts the rules, for tests. Looks at everything."""
        held = [lease for lease in self.leases if _has_slot(lease)]
        if self.waiting != sum(lease.state is WAITING for lease in self.leases):
            yield f"{self.waiting} are said to wait"
        if self._held != len(held):
            yield f"{self._held} slots for {len(held)} leases"
        if len(held) + len(self.idle) > self._max:
            yield "more slots than max_connections"
        if len(self.idle) > self.max_idle:
            yield "more idle connections than max_idle"
        known = {lease.host for lease in self.leases if lease.state not in (NEW, ENDED)}
        keys = known | {idle.host for idle in self.idle}
        if keys != set(self._hosts):
            yield f"{set(self._hosts)} is kept of {keys}"
        for host in self._hosts.values():
            mine = [lease for lease in held if lease.host == host.key]
            idle = [each for each in self.idle if each.host == host.key]
            if host.leases != len(mine):
                yield f"{host.key} counts {host.leases} of {len(mine)} leases"
            if len(mine) + len(idle) > self._per_host:
                yield f"{host.key} has more slots than per_host"
            if list(host.idle) != idle:
                yield f"the idle connections of {host.key} differ"
            by_route = [each for each in idle if each in host.routes.get(each.route, {})]
            if by_route != idle or sum(map(len, host.routes.values())) != len(idle):
                yield f"the routes of {host.key} differ"
            if not all(host.routes.values()):
                yield f"an empty route of {host.key} is kept"
            waiting = [
                each for each in self.leases if each.host == host.key and each.state is WAITING
            ]
            if list(host.waiting) != waiting:
                yield f"the waiting leases of {host.key} differ"
            is_open = bool(waiting) and host.leases < self._per_host
            if is_open != (host in self._turns):
                yield f"the turn of {host.key} is wrong"
            if is_open and self._held < self._max:
                yield f"{host.key} waits while a slot is free"

    # Steps.

    def _grant(self, host: _Host, lease: Lease, now: float) -> list[Action]:
        """Give a slot to *lease*, which is waiting, and make room for it if necessary."""
        self._choose(host, lease)
        host.leases += 1
        self._held += 1
        actions: list[Action] = []
        if lease.idle is None:
            if host.leases + len(host.idle) > self._per_host:
                actions.append(self._evict(next(iter(host.idle))))
            elif self._held + len(self.idle) > self._max:
                actions.append(self._evict(next(iter(self.idle))))
        lease.state = LEASE[lease.state]["slot"]
        host.granted_at = self._granted_at = now
        actions.append(Grant(lease))
        return actions

    def _choose(self, host: _Host, lease: Lease) -> None:
        """Give *lease* the idle connection of its route that was returned last, if there is one."""
        stack = host.routes.get(lease.route)
        if not stack:
            lease.idle = None
            return
        idle = next(reversed(stack))
        # In this order: after an interrupt in between, `repair` takes it from the lease.
        idle.lease = lease
        lease.idle = idle
        self._take_out(idle)

    def _end(self, lease: Lease, idle: Idle | None, now: float) -> list[Action]:
        """End *lease*, which has a slot. The slot passes to *idle*, or to a lease that waits."""
        self._forget(lease)
        host = self._hosts[lease.host]
        host.leases -= 1
        self._held -= 1
        actions: list[Action] = []
        if idle is not None:
            if self.is_closed:
                actions.append(Close(idle))
            else:
                idle.lease = None
                self._keep(idle)
        if host.waiting:
            self._turns.setdefault(host)
        actions += self._serve(now)
        self._forget_unused(host)
        return actions

    def _serve(self, now: float) -> list[Action]:
        """Grant the free slots to leases that wait, then close surplus idle connections."""
        actions: list[Action] = []
        while self._turns and self._held < self._max:
            host = next(iter(self._turns))
            lease = next(iter(host.waiting))
            actions += self._grant(host, lease, now)
            del host.waiting[lease]
            self.waiting -= 1
            if host.waiting and host.leases < self._per_host:
                self._turns.move_to_end(host)
            else:
                del self._turns[host]
        while len(self.idle) > self.max_idle:
            actions.append(self._evict(next(iter(self.idle))))
        return actions

    def _forget(self, lease: Lease) -> None:
        # In this order: `repair` ignores a lease that has ended.
        lease.state = ENDED
        self.leases.pop(lease, None)

    def _keep(self, idle: Idle) -> None:
        self.idle[idle] = None
        host = self._hosts.get(idle.host)
        if host is None:
            host = self._hosts[idle.host] = _Host(idle.host)
        host.idle[idle] = None
        host.routes.setdefault(idle.route, {})[idle] = None

    def _take_out(self, idle: Idle) -> None:
        del self.idle[idle]
        host = self._hosts[idle.host]
        del host.idle[idle]
        stack = host.routes[idle.route]
        del stack[idle]
        if not stack:
            del host.routes[idle.route]

    def _evict(self, idle: Idle) -> Close:
        self._take_out(idle)
        self._forget_unused(self._hosts[idle.host])
        return Close(idle)

    def _forget_unused(self, host: _Host) -> None:
        if not host.leases and not host.waiting and not host.idle:
            self._hosts.pop(host.key, None)


def _limit(limit: float | None) -> float:
    return math.inf if limit is None else limit


def _has_slot(lease: Lease) -> bool:
    return lease.state in (GRANTED, CONNECTING, LEASED)
