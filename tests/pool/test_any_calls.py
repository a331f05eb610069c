"""Any calls of a real pool, in any order, by several callers and over real sockets.

`test_leases` does the same with the state machine alone. Here a model predicts what the pool does:
which caller gets a slot and over which connection, and which connections are closed. It leaves only
one thing open, and looks at `stats` for that: which host is the next to get a slot.
"""

from __future__ import annotations

import math
import select
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dugong import StateError
from dugong.pool.leases import Stats
from dugong.pool.place import ConnectionSettings
from tests.pool.callers import STYLES, Call, Callers, Cancelled, Part
from tests.pool.numbered import GUARD, NumberedServer
from tests.support.concurrency import nothing_left
from tests.support.pooled import bare

F = TypeVar("F", bound=Callable[..., Any])

CALLERS = 6
HOSTS = 2
IDLE_TIMEOUT = 60.0

#: The limits of a pool: `max_connections`, `per_host` and `max_idle`.
LIMITS = [(3, 2, None), (2, None, None), (None, 1, None), (1, 1, 0), (4, 2, 2)]

#: The settings of the two routes to each host, by the address that the server sees.
ROUTES = {"127.0.0.1": None, "127.0.0.2": ConnectionSettings(source_address=("127.0.0.2", 0))}

#: A host and a route.
Place = tuple[int, str]

places = st.tuples(st.integers(0, HOSTS - 1), st.sampled_from([*ROUTES]))


class Clock:
    """The time, as the pool sees it."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Connection:
    """A connection, as the model knows it."""

    def __init__(self, number: int, place: Place) -> None:
        self.number = number
        self.place = place
        self.since = 0.0
        self.is_dead = False  # the server has closed it

    def cannot_be_used(self, now: float) -> bool:
        return self.is_dead or now >= self.since + IDLE_TIMEOUT


class Caller:
    """A caller, as the model knows it.

    Attributes:
        place: what it waits for or has leased.
        call: its call, while it waits.
        conn: the connection object of its lease.
        ended: that of an earlier lease.
        connection: the connection of its lease, ``None`` while it has none.
        was_connected: whether the lease has had one.
        is_clean: whether that can be used, or kept.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.conn: Any = None
        self.ended: Any = None
        self.forget()

    def forget(self) -> None:
        self.place: Place | None = None
        self.call: Call | None = None
        self.connection: Connection | None = None
        self.was_connected = False
        self.is_clean = True
        self.is_patient = False

    @property
    def host(self) -> int | None:
        return None if self.place is None else self.place[0]

    @property
    def is_leased(self) -> bool:
        return self.place is not None and self.call is None


class Model:
    """What a pool should do."""

    def __init__(self, *limits: int | None) -> None:
        self.max, self.per_host, self.max_idle = (
            math.inf if limit is None else limit for limit in limits
        )
        self.now = 0.0
        self.callers = [Caller(number) for number in range(CALLERS)]
        self.waiting: list[Caller] = []  # in the order of their calls
        self.idle: list[Connection] = []  # in the order of their return
        self.closed: list[Connection] = []  # that the pool should have closed, until looked at

    @property
    def free(self) -> list[Caller]:
        return [caller for caller in self.callers if caller.place is None]

    @property
    def leased(self) -> list[Caller]:
        return [caller for caller in self.callers if caller.is_leased]

    @property
    def usable(self) -> list[Caller]:
        return [caller for caller in self.leased if caller.is_clean]

    @property
    def ended(self) -> list[Caller]:
        return [caller for caller in self.callers if caller.ended is not None]

    def leases(self, host: int | None = None) -> int:
        return sum(each.is_leased and host in (None, each.host) for each in self.callers)

    def has_room(self, host: int | None) -> bool:
        """Whether a caller for *host* gets a slot."""
        return self.leases(host) < self.per_host and self.leases() < self.max

    @property
    def next_is_known(self) -> bool:
        """Whether only the first caller that waits can be the next to get a slot."""
        return len({caller.host for caller in self.waiting}) == 1

    def hosts_to_serve(self) -> set[int | None]:
        return {caller.host for caller in self.waiting if self.has_room(caller.host)}

    def first_waiting(self, host: int | None) -> Caller:
        return next(caller for caller in self.waiting if caller.host == host)

    def grant(self, caller: Caller) -> None:
        """Give a slot to *caller*, and a connection if there is one. Makes room."""
        caller.call = None
        if caller in self.waiting:
            self.waiting.remove(caller)
        caller.connection = self.newest(caller.place)
        if caller.connection is None:
            mine = [each for each in self.idle if each.place[0] == caller.host]
            if self.leases(caller.host) + len(mine) > self.per_host:
                self.close(mine[0])
            elif self.leases() + len(self.idle) > self.max:
                self.close(self.idle[0])

    def taken(self, caller: Caller) -> None:
        """The caller has noticed. It gets another connection if the one granted cannot be used."""
        found = caller.connection
        while found is not None and found.cannot_be_used(self.now):
            self.closed.append(found)
            found = self.newest(caller.place)
        caller.connection = found
        caller.was_connected = found is not None

    def newest(self, place: Place | None) -> Connection | None:
        found = [each for each in self.idle if each.place == place]
        if found:
            self.idle.remove(found[-1])
            return found[-1]
        return None

    def end(self, caller: Caller) -> None:
        """The lease of *caller* ends."""
        connection = caller.connection
        if connection is not None and caller.is_clean:
            connection.since = self.now
            self.idle.append(connection)
        elif connection is not None:
            self.closed.append(connection)
        caller.forget()

    def close(self, *connections: Connection) -> None:
        for connection in connections:
            self.idle.remove(connection)
            self.closed.append(connection)

    def close_surplus(self) -> None:
        while len(self.idle) > self.max_idle:
            self.close(self.idle[0])

    def look_at_idle(self) -> None:
        """What follows each event."""
        while self.idle and self.now >= self.idle[0].since + IDLE_TIMEOUT:
            self.close(self.idle[0])
        self.close(*[each for each in self.idle if each.is_dead])

    def stats(self) -> dict[int, Stats]:
        counts: Counter[tuple[int | None, str]] = Counter()
        counts.update((each.place[0], "idle") for each in self.idle)
        counts.update((each.host, "waiting") for each in self.waiting)
        for each in self.callers:
            if each.is_leased:
                counts[each.host, "leased" if each.was_connected else "connecting"] += 1
        names = ("idle", "leased", "connecting", "waiting")
        return {host: Stats(*(counts[host, name] for name in names)) for host in range(HOSTS)}


def if_any(name: str) -> Callable[[F], F]:
    """Have a rule apply while the model has any of these."""
    return precondition(lambda self: bool(getattr(self.model, name)))


class AnyCalls(RuleBasedStateMachine):
    """Each rule calls the pool, and has the model do the same."""

    def __init__(self, style: type[Callers]) -> None:
        super().__init__()
        self.style = style
        self.stack = ExitStack()

    @initialize(limits=st.sampled_from(LIMITS))
    def make(self, limits: tuple[int | None, int | None, int | None]) -> None:
        self.stack.enter_context(nothing_left())
        self.server = NumberedServer(HOSTS)
        self.stack.callback(self.server.close)
        self.callers = self.style(
            max_connections=limits[0],
            per_host=limits[1],
            max_idle=limits[2],
            idle_timeout=IDLE_TIMEOUT,
        )
        self.pool = self.callers.pool
        self.stack.callback(self.callers.close)
        self.stack.callback(lambda: self.callers.run(self.pool.close))
        self.pool._clock = self.clock = Clock()
        self.model = Model(*limits)
        self.model.now = self.clock.now
        self.numbers: set[int] = set()

    # Steps.

    def cancellable(self) -> list[Caller]:
        are_tasks = self.callers.are_tasks
        return [caller for caller in self.model.waiting if are_tasks or not caller.is_patient]

    def do(self, caller: Caller, part: Part) -> None:
        self.callers.begin(caller.number, part).wait()

    async def co_acquire(self, caller: Caller, place: Place) -> None:
        origin = f"http://127.0.0.1:{self.server.ports[place[0]]}"
        caller.conn = await self.callers.acquire(origin, ROUTES[place[1]], caller.is_patient)

    def stats(self) -> dict[int, Stats]:
        hosts = self.callers.run(self.pool.stats).hosts
        by_port = {origin.port: stats for origin, stats in hosts.items()}
        assert by_port.keys() <= set(self.server.ports)
        return {host: by_port.get(port, Stats()) for host, port in enumerate(self.server.ports)}

    def begin_acquire(self, caller: Caller, place: Place) -> None:
        model = self.model
        waits = not model.has_room(place[0])
        call = self.callers.begin(caller.number, lambda: self.co_acquire(caller, place))
        caller.place, caller.call = place, call
        if not waits:
            model.grant(caller)
            model.look_at_idle()
            call.wait()
            self.check_taken(caller)
            return
        model.waiting.append(caller)
        give_up = time.monotonic() + GUARD
        while sum(each.waiting for each in self.stats().values()) != len(model.waiting):
            assert time.monotonic() < give_up
            time.sleep(0.0002)  # between two attempts

    def check_taken(self, caller: Caller) -> None:
        self.model.taken(caller)
        connected = self.callers.run(lambda: caller.conn.connected)
        assert connected == (caller.connection is not None)

    def serve(self) -> None:
        """A lease has ended, so its slot passes to a caller that waits."""
        model = self.model
        hosts = model.hosts_to_serve()
        if len(hosts) > 1:
            left, waiting = self.stats(), Counter(each.host for each in model.waiting)
            hosts = {
                host for host in hosts if host is not None and left[host].waiting < waiting[host]
            }
            assert len(hosts) == 1
        for host in hosts:
            caller = model.first_waiting(host)
            call = caller.call
            model.grant(caller)
            model.close_surplus()
            model.look_at_idle()
            assert call is not None
            call.wait()
            self.check_taken(caller)
        model.close_surplus()
        model.look_at_idle()

    def end(self, caller: Caller) -> None:
        self.model.end(caller)
        self.serve()

    # Rules.

    @if_any("free")
    @rule(data=st.data(), place=places, is_patient=st.booleans())
    def acquire(self, data: st.DataObject, place: Place, is_patient: bool) -> None:
        caller = data.draw(st.sampled_from(self.model.free))
        caller.is_patient = is_patient
        self.begin_acquire(caller, place)

    @if_any("usable")
    @rule(data=st.data(), how=st.sampled_from(["all", "all", "half", "none", "/close"]))
    def use(self, data: st.DataObject, how: str) -> None:
        self.use_by(data.draw(st.sampled_from(self.model.usable)), how)

    @precondition(lambda self: bool(self.model.free) and not self.model.waiting)
    @rule(place=places, count=st.integers(1, 3))
    def use_several(self, place: Place, count: int) -> None:
        """At the same time. Afterwards, there are idle connections."""
        callers = self.model.free[:count]
        for caller in callers:
            self.begin_acquire(caller, place)
            if caller.is_leased:
                self.use_by(caller, "all")
        for caller in callers:
            if caller.is_leased:
                self.release_by(caller)

    def use_by(self, caller: Caller, how: str) -> None:
        async def use() -> None:
            response = await caller.conn.request("GET", how if how == "/close" else "/")
            assert response.status == 200
            self.check_route(caller, response)
            if how in ("all", "/close"):
                assert await caller.conn.readall() == b"hello"
            elif how == "half":
                assert await caller.conn.read(2) == b"he"

        self.do(caller, use)
        if how == "/close":
            assert caller.connection is not None
            self.model.closed.append(caller.connection)
            caller.connection = None
        elif how != "all":
            caller.is_clean = False

    def check_route(self, caller: Caller, response: Any) -> None:
        """The response came on the connection that the model knows, and to the right place."""
        number, port, address = response.headers["X-Connection"].split()
        assert caller.place is not None
        assert (self.server.ports.index(int(port)), address) == caller.place
        if caller.connection is None:
            assert int(number) not in self.numbers
            self.numbers.add(int(number))
            caller.connection, caller.was_connected = Connection(int(number), caller.place), True
        assert int(number) == caller.connection.number

    @if_any("leased")
    @rule(data=st.data(), twice=st.booleans())
    def release(self, data: st.DataObject, twice: bool) -> None:
        self.release_by(data.draw(st.sampled_from(self.model.leased)), twice)

    def release_by(self, caller: Caller, twice: bool = False) -> None:
        async def release() -> None:
            conn = caller.ended = bare(caller.conn)
            self.pool.release(conn)
            if twice:
                self.pool.release(conn)
            with pytest.raises(StateError):
                conn.connected  # noqa: B018 - a property

        self.do(caller, release)
        self.end(caller)

    @if_any("ended")
    @rule(data=st.data())
    def release_late(self, data: st.DataObject) -> None:
        """Once more, perhaps while the connection belongs to another caller."""
        caller = data.draw(st.sampled_from(self.model.ended))
        self.callers.run(lambda: self.pool.release(caller.ended))

    @precondition(lambda self: bool(self.model.leased) and not self.model.waiting)
    @rule(data=st.data(), place=st.none() | places)
    def release_and_acquire(self, data: st.DataObject, place: Place | None) -> None:
        """At once. To the same place, this is the short way (rule 9 of `pool`)."""
        model = self.model
        caller = data.draw(st.sampled_from(model.leased))
        assert caller.place is not None
        target = caller.place
        if place is not None and model.leases(place[0]) < model.per_host:
            target = place

        async def change() -> None:
            self.pool.release(bare(caller.conn))
            await self.co_acquire(caller, target)

        call = self.callers.begin(caller.number, change)
        model.end(caller)
        model.close_surplus()
        caller.place = target
        model.grant(caller)
        model.look_at_idle()
        call.wait()
        self.check_taken(caller)

    @if_any("leased")
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        """Without an end of the lease: then the connection is not kept."""
        caller = data.draw(st.sampled_from(self.model.leased))

        async def drop() -> None:
            caller.conn = None

        self.do(caller, drop)
        caller.is_clean = False
        self.end(caller)

    @if_any("usable")
    @rule(data=st.data())
    def detach(self, data: st.DataObject) -> None:
        caller = data.draw(st.sampled_from(self.model.usable))

        async def detach() -> None:
            headers = {"Upgrade": "x", "Connection": "Upgrade"}
            response = await caller.conn.request("GET", "/upgrade", headers)
            assert response.status == 101
            self.check_route(caller, response)
            sock, received = caller.conn.detach()
            sock.close()
            assert received == b""
            caller.ended = bare(caller.conn)

        self.do(caller, detach)
        caller.is_clean = False
        self.end(caller)

    @precondition(lambda self: bool(self.cancellable()))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        caller = data.draw(st.sampled_from(self.cancellable()))
        call = caller.call
        assert call is not None
        self.callers.run(call.cancel)
        with pytest.raises(Cancelled):
            call.wait()
        self.model.waiting.remove(caller)
        caller.forget()

    @precondition(lambda self: self.callers.are_tasks and self.model.next_is_known)
    @rule(data=st.data())
    def cancel_after_the_grant(self, data: st.DataObject) -> None:
        """The caller has a slot, and has gone before it noticed. The slot passes on."""
        model = self.model
        holder = data.draw(st.sampled_from(model.leased))
        caller = model.waiting[0]
        call = caller.call
        assert call is not None

        def act() -> None:
            self.pool.release(bare(holder.conn))
            call.cancel()

        self.callers.run(act)
        with pytest.raises(Cancelled):
            call.wait()
        model.end(holder)
        if not model.has_room(caller.host):  # it was not granted
            model.waiting.remove(caller)
            caller.forget()
        else:
            model.grant(caller)
            model.close_surplus()
            model.look_at_idle()
            if caller.connection is not None:
                model.idle.append(caller.connection)
            caller.forget()
        self.serve()

    @if_any("idle")
    @rule(data=st.data())
    def server_closes(self, data: st.DataObject) -> None:
        """An idle connection. The next call closes it, too."""
        self.hang_up(data)
        self.stats()
        self.model.look_at_idle()

    @precondition(lambda self: bool(self.model.idle and self.model.free))
    @rule(data=st.data())
    def server_closes_the_next(self, data: st.DataObject) -> None:
        """An idle connection that the next call takes. That finds out."""
        place = self.hang_up(data)
        self.begin_acquire(self.model.free[0], place)
        self.stats()
        self.model.look_at_idle()

    def hang_up(self, data: st.DataObject) -> Place:
        connection = data.draw(st.sampled_from(self.model.idle))
        address = self.server.hang_up(connection.number)
        (session,) = [
            idle.session
            for idle in self.pool._machine.idle
            if idle.session.stream.sock.getsockname() == address
        ]
        assert session.stream.want_read.poll(GUARD)  # the end has arrived
        connection.is_dead = True
        return connection.place

    @if_any("idle")
    @rule()
    def close_idle(self) -> None:
        self.callers.run(self.pool.close_idle)
        self.model.close(*self.model.idle)

    @if_any("idle")
    @rule(data=st.data(), seconds=st.sampled_from([30.0, 60.0]), acquires=st.booleans())
    def time_passes(self, data: st.DataObject, seconds: float, acquires: bool) -> None:
        """Then the next call closes what has been idle for too long, and does not use it."""
        self.clock.now += seconds
        self.model.now = self.clock.now
        if acquires and self.model.free:
            place = data.draw(st.sampled_from(self.model.idle)).place
            self.begin_acquire(self.model.free[0], place)
        self.stats()
        self.model.look_at_idle()

    # What holds after each rule.

    @invariant()
    def agrees_with_the_model(self) -> None:
        # In another thread, a call may still be carrying out what this one has posted.
        end = time.monotonic() + GUARD
        while self.stats() != self.model.stats() and time.monotonic() < end:
            time.sleep(0.001)
        assert self.stats() == self.model.stats()

    @invariant()
    def limits_hold(self) -> None:
        model = self.model
        found = self.stats()
        slots = {host: each.idle + each.leased + each.connecting for host, each in found.items()}
        assert sum(slots.values()) <= model.max
        assert max(slots.values()) <= model.per_host
        assert sum(each.idle for each in found.values()) <= model.max_idle
        leases = {host: each.leased + each.connecting for host, each in found.items()}
        for host, each in found.items():
            if each.waiting:
                assert leases[host] == model.per_host or sum(leases.values()) == model.max
        assert list(self.callers.run(lambda: [*self.pool._machine.faults()])) == []

    @invariant()
    def idle_connections_are_watched(self) -> None:
        """And no others are."""
        if hasattr(select, "epoll"):
            watched = self.pool._idle_watch._watched.values()
            assert {*watched} == {*self.pool._machine.idle}

    @invariant()
    def closed_connections_are_closed(self) -> None:
        for connection in self.model.closed:
            self.server.await_end(connection.number)
        self.model.closed.clear()

    # The end.

    def teardown(self) -> None:
        with self.stack:
            if sys.exc_info()[0] is not None:  # a rule has failed
                return
            if len(self.numbers) % 2:
                self.close_at_once()
            else:
                self.end_all_leases()
            assert not self.pool._machine.leases
            for number in self.numbers:
                self.server.await_end(number)

    def close_at_once(self) -> None:
        """While callers wait, and others have leases."""
        self.callers.run(self.pool.close)
        for caller in self.model.callers:
            if caller.call is not None:
                with pytest.raises(StateError, match="the pool is closed"):
                    caller.call.wait()
            elif caller.is_leased:
                conn = bare(caller.conn)
                with pytest.raises(StateError):
                    self.callers.run(partial(getattr, conn, "connected"))
                self.callers.run(partial(self.pool.release, conn))
        assert self.stats() == {host: Stats() for host in range(HOSTS)}

    def end_all_leases(self) -> None:
        model = self.model
        while leased := [caller for caller in model.callers if caller.is_leased]:
            self.callers.run(partial(self.pool.release, bare(leased[0].conn)))
            self.end(leased[0])
            self.agrees_with_the_model()
        assert not model.waiting
        self.callers.run(self.pool.close)


EXAMPLES = [
    pytest.param(15, id=""),
    pytest.param(40, id="many", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("style", STYLES)
def test_any_calls(style: str, examples: int) -> None:
    make: Any = partial(AnyCalls, STYLES[style])
    run_state_machine_as_test(
        make,
        settings=settings(
            max_examples=examples,
            stateful_step_count=60,
            deadline=None,
            phases=[Phase.generate],  # in failures, there are waits: shrinking takes long
            suppress_health_check=list(HealthCheck),
        ),
    )
