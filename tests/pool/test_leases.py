"""The state machine of leases: its rules hold after every event, whatever was interrupted."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dugong.pool import leases
from dugong.pool.leases import (
    CONNECTING,
    ENDED,
    GRANTED,
    LEASE,
    LEASED,
    NEW,
    WAITING,
    Action,
    Close,
    Grant,
    Idle,
    Lease,
    Leases,
    Refuse,
    State,
    Stats,
)
from tests.pool.lines import Interrupted, Lines


class Pool:
    """What a pool does with the machine's actions, and checks of them."""

    def __init__(self, *limits: float | None) -> None:
        self.machine = Leases(*limits)  # type: ignore[arg-type]
        self.now = 0.0
        self.wanted: dict[str, list[Lease]] = {}
        self.granted: list[Lease] = []
        self.seen: set[Lease | Idle] = set()  # what was granted or closed
        self.refused: list[Lease] = []
        self.open: list[Idle] = []
        self.closed: list[Idle] = []

    def act(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Grant(lease):
                    assert lease.state is GRANTED
                    if lease not in self.seen:
                        self.seen.add(lease)
                        self.granted.append(lease)
                        waiting = self.wanted[str(lease.host)]
                        assert waiting[0] is lease, "not in the order of want"
                        waiting.remove(lease)
                case Close(idle):
                    assert idle not in self.machine.idle
                    if idle not in self.seen:  # after an interrupt, an action may be repeated
                        self.seen.add(idle)
                        self.closed.append(idle)
                case Refuse(lease):
                    assert lease.state is ENDED
                    if lease not in self.refused:
                        self.refused.append(lease)
                    self.forget(lease)

    def forget(self, lease: Lease) -> None:
        if lease in self.wanted.get(str(lease.host), []):
            self.wanted[str(lease.host)].remove(lease)

    def want(self, host: str = "a", route: str = "") -> Lease:
        lease = Lease(host, host + route)
        self.wanted.setdefault(host, []).append(lease)
        self.act(self.machine.want(lease, self.now))
        return lease

    def use(self, lease: Lease) -> None:
        self.machine.granted(lease)
        self.machine.connected(lease)

    def give_back(self, lease: Lease) -> Idle:
        idle = Idle(lease.host, lease.route, object(), self.now)
        self.act(self.machine.returned(lease, idle, self.now))
        return idle

    def cancel(self, lease: Lease) -> None:
        self.forget(lease)
        self.act(self.machine.cancelled(lease, self.now))

    def check(self) -> None:
        assert list(self.machine.faults()) == []
        for lease in self.machine.leases:  # no lease waits for a grant that was lost
            assert lease.state is not GRANTED or lease in self.seen


# ------------------------------------------------------------------------------- any events


class AnyEvents(RuleBasedStateMachine):
    """Any events in any order, each of which may be interrupted before any line."""

    max_connections: int | None = 4
    per_host: int | None = 2
    max_idle: int | None = 3

    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool(self.max_connections, self.per_host, self.max_idle, 10.0)
        self.interrupt_before = math.inf

    def event(self, step: Callable[[], list[Action]]) -> None:
        """Report an event as the pool does: after an interrupt, repair and repeat."""
        pool, lines = self.pool, Lines(leases.__file__, self.interrupt_before)
        self.interrupt_before = math.inf
        try:
            with lines:
                actions = step()
        except Interrupted:
            pool.act(pool.machine.repair(pool.now))
            actions = step()
        pool.act(actions)

    def some(self, data: st.DataObject, *states: State) -> Lease | None:
        found = [lease for lease in self.pool.machine.leases if lease.state in states]
        return data.draw(st.sampled_from(found)) if found else None

    @rule(line=st.integers(0, 60))
    def interrupt_the_next(self, line: int) -> None:
        self.interrupt_before = line

    @rule(host=st.sampled_from("abc"), route=st.sampled_from(["", "/2"]))
    def want(self, host: str, route: str) -> None:
        pool, lease = self.pool, Lease(host, host + route)
        pool.wanted.setdefault(host, []).append(lease)
        self.event(lambda: pool.machine.want(lease, pool.now))
        assert lease.state is not NEW

    @rule(data=st.data())
    def granted(self, data: st.DataObject) -> None:
        if (lease := self.some(data, GRANTED)) is not None:
            self.event(lambda: self.pool.machine.granted(lease))
            assert lease.state is (CONNECTING if lease.idle is None else LEASED)

    @rule(data=st.data())
    def connected(self, data: st.DataObject) -> None:
        if (lease := self.some(data, *State)) is not None:
            self.event(lambda: self.pool.machine.connected(lease))

    @rule(data=st.data(), keep=st.booleans(), twice=st.booleans())
    def returned(self, data: st.DataObject, keep: bool, twice: bool) -> None:
        pool = self.pool
        if (lease := self.some(data, CONNECTING, LEASED)) is not None:
            idle = Idle(lease.host, lease.route, object(), pool.now) if keep else None
            self.event(lambda: pool.machine.returned(lease, idle, pool.now))
            if twice:
                self.event(lambda: pool.machine.returned(lease, None, pool.now))
            assert lease.state is ENDED

    @rule(data=st.data())
    def cancelled(self, data: st.DataObject) -> None:
        if (lease := self.some(data, *State)) is not None:
            self.pool.forget(lease)
            self.event(lambda: self.pool.machine.cancelled(lease, self.pool.now))
            assert lease.state is ENDED

    @rule(data=st.data())
    def found_dead(self, data: st.DataObject) -> None:
        """An idle connection, or one that was just granted."""
        lease = self.some(data, GRANTED)
        known = [*self.pool.machine.idle]
        if lease is not None and lease.idle is not None:
            known.append(lease.idle)
        if known:
            idle = data.draw(st.sampled_from(known))
            self.event(lambda: self.pool.machine.closed(idle))
            assert idle not in self.pool.machine.idle
            assert idle.lease is None or idle.lease.idle is not idle

    @rule(seconds=st.sampled_from([0.0, 1.0, 10.0]))
    def tick(self, seconds: float) -> None:
        self.pool.now += seconds
        self.event(lambda: self.pool.machine.tick(self.pool.now))
        assert self.pool.machine.next_tick > self.pool.now

    @rule()
    def empty(self) -> None:
        self.event(self.pool.machine.empty)
        assert not self.pool.machine.idle

    @precondition(lambda self: len(self.pool.granted) > 10)
    @rule()
    def close(self) -> None:
        self.event(self.pool.machine.close)
        assert not self.pool.machine.idle
        assert not [lease for lease in self.pool.machine.leases if lease.state is WAITING]

    @invariant()
    def rules_hold(self) -> None:
        self.pool.check()

    def teardown(self) -> None:
        pool = self.pool
        for lease in list(pool.machine.leases):
            pool.forget(lease)
            pool.act(pool.machine.cancelled(lease, pool.now))
            pool.check()
        pool.act(pool.machine.tick(math.inf))
        pool.check()
        assert pool.machine.stats() == {}
        assert pool.machine.next_tick == math.inf


class WithoutLimits(AnyEvents):
    max_connections = per_host = max_idle = None


class OneSlot(AnyEvents):
    max_connections, per_host, max_idle = 1, 1, 0


quick = settings(
    max_examples=25, stateful_step_count=40, deadline=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
deep = settings(quick, max_examples=200, stateful_step_count=60)

TestAnyEvents = AnyEvents.TestCase
TestAnyEvents.settings = quick
TestOneSlot = OneSlot.TestCase
TestOneSlot.settings = settings(quick, max_examples=10)
TestWithoutLimits = WithoutLimits.TestCase
TestWithoutLimits.settings = settings(quick, max_examples=10)


@pytest.mark.slow
@pytest.mark.parametrize("machine", [AnyEvents, OneSlot, WithoutLimits])
def test_any_events_deeply(machine: type[AnyEvents]) -> None:
    run_state_machine_as_test(machine, settings=deep)


# ------------------------------------------------------------------------------- interrupts


def busy_pool() -> Pool:
    """Two leases and an idle connection of "a", a lease and one of "b", and callers that wait."""
    pool = Pool(5, 3, None, 60)
    used = [pool.want("a") for _ in range(3)]
    pool.use(pool.want("b"))
    other = pool.want("b")
    for lease in (*used, other):
        pool.use(lease)
    pool.give_back(used[0])
    pool.give_back(other)
    pool.want("a", "/2")  # granted, by closing one
    for host in "acdcb":
        pool.want(host)
    return pool


def of_state(pool: Pool, state: State) -> Lease:
    return next(lease for lease in pool.machine.leases if lease.state is state)


INTERRUPTED: dict[str, Callable[[Pool], Callable[[], list[Action]]]] = {}


def interrupted(make: Callable[[Pool], Callable[[], list[Action]]]) -> None:
    INTERRUPTED[make.__name__] = make


@interrupted
def want_takes_the_idle_one(pool: Pool) -> Callable[[], list[Action]]:
    pool.machine._max = pool.machine._per_host = 100
    pool.give_back(of_state(pool, LEASED))
    lease = Lease("a", "a")
    pool.wanted["a"].append(lease)
    return lambda: pool.machine.want(lease, 1)


@interrupted
def want_waits(pool: Pool) -> Callable[[], list[Action]]:
    lease = Lease("e", "e")
    pool.wanted["e"] = [lease]
    return lambda: pool.machine.want(lease, 1)


@interrupted
def returned_with_a_connection(pool: Pool) -> Callable[[], list[Action]]:
    lease = of_state(pool, LEASED)
    idle = Idle(lease.host, lease.route, object(), 1)
    return lambda: pool.machine.returned(lease, idle, 1)


@interrupted
def returned_without(pool: Pool) -> Callable[[], list[Action]]:
    lease = of_state(pool, LEASED)
    return lambda: pool.machine.returned(lease, None, 1)


@interrupted
def cancelled_while_it_waits(pool: Pool) -> Callable[[], list[Action]]:
    lease = of_state(pool, WAITING)
    pool.forget(lease)
    return lambda: pool.machine.cancelled(lease, 1)


@interrupted
def cancelled_after_the_grant(pool: Pool) -> Callable[[], list[Action]]:
    lease = of_state(pool, GRANTED)
    return lambda: pool.machine.cancelled(lease, 1)


@interrupted
def a_granted_connection_is_dead(pool: Pool) -> Callable[[], list[Action]]:
    pool.machine._max = pool.machine._per_host = 100
    for lease in [lease for lease in pool.machine.leases if lease.state is LEASED]:
        pool.give_back(lease)
    lease = pool.want("a")
    assert lease.idle is not None
    idle = lease.idle
    return lambda: pool.machine.closed(idle)


@interrupted
def idle_for_too_long(pool: Pool) -> Callable[[], list[Action]]:
    pool.machine._max = pool.machine._per_host = 100
    pool.give_back(of_state(pool, LEASED))
    return lambda: pool.machine.tick(100)


@interrupted
def closing(pool: Pool) -> Callable[[], list[Action]]:
    return pool.machine.close


@pytest.mark.parametrize("name", INTERRUPTED)
def test_interrupted_before_each_line(name: str) -> None:
    """After the repair and the repeated event, as many have a slot as without an interrupt.

    Only whose turn it is may differ.
    """
    expected: tuple[int, ...] | None = None
    line = 0
    while True:
        pool = busy_pool()
        step, done = INTERRUPTED[name](pool), False
        try:
            with Lines(leases.__file__, math.inf if expected is None else line):
                actions = step()
            done = expected is not None
        except Interrupted:
            pool.act(pool.machine.repair(1))
            pool.check()
            actions = step()
        pool.act(actions)
        pool.check()
        stats = pool.machine.stats().values()
        found = (
            sum(each.idle for each in stats), sum(each.leased for each in stats),
            sum(each.connecting for each in stats), sum(each.waiting for each in stats),
            len(pool.granted), len(pool.refused),
        )  # fmt: skip
        if expected is None:
            expected = found
            continue
        assert found == expected, line
        if done:
            assert line > 2
            return
        line += 1


# ------------------------------------------------------------------------------- the rules


def test_first_come_first_served() -> None:
    pool = Pool(None, 1)
    first, *others = [pool.want() for _ in range(4)]
    assert pool.granted == [first]
    for lease in others:
        pool.give_back(pool.granted[-1])
        assert pool.granted[-1] is lease


def test_hosts_take_turns() -> None:
    """The host with many waiting callers gets no more slots than the one with two."""
    pool = Pool(1)
    first = pool.want("a")
    waiting = [pool.want(host) for host in "aaabbc"]
    expected = [waiting[i] for i in (0, 3, 5, 1, 4, 2)]
    for lease in expected:
        pool.give_back(pool.granted[-1])
        assert pool.granted[-1] is lease
        pool.check()
    assert pool.granted == [first, *expected]


def test_a_full_host_delays_no_other() -> None:
    pool = Pool(10, 2)
    stuck = [pool.want("silent") for _ in range(100)]
    other = pool.want("other")
    assert pool.granted == [*stuck[:2], other]


def test_the_slot_of_a_caller_that_has_gone_passes_on() -> None:
    pool = Pool(1)
    first, second, third = (pool.want() for _ in range(3))
    pool.give_back(first)
    assert second.state is GRANTED
    idle = second.idle
    assert idle is not None
    pool.cancel(second)
    assert third.state is GRANTED
    assert third.idle is idle  # it was not used


def test_most_recently_returned_first() -> None:
    pool = Pool()
    returned = [pool.give_back(lease) for lease in [pool.want() for _ in range(3)]]
    assert [pool.want().idle for _ in range(4)] == [*reversed(returned), None]


def test_only_an_equal_route() -> None:
    pool = Pool()
    idle = pool.give_back(pool.want("a", "/1"))
    assert pool.want("a", "/2").idle is None
    assert pool.want("a", "/1").idle is idle


def test_room_is_made_by_closing_what_was_returned_first() -> None:
    pool = Pool(3)
    returned = [pool.give_back(lease) for lease in [pool.want(host) for host in "abc"]]
    pool.want("d")
    assert pool.closed == returned[:1]
    pool.want("b")  # takes its own
    pool.want("e")
    assert pool.closed == [returned[0], returned[2]]


def test_a_full_host_makes_room_itself() -> None:
    """By closing a connection of another route, not one of another host."""
    pool = Pool(None, 2)
    pool.give_back(pool.want("b"))
    one, two = (pool.want("a", route) for route in ("/1", "/2"))
    idle = pool.give_back(one)
    pool.give_back(two)
    pool.want("a", "/3")
    assert pool.closed == [idle]


def test_idle_connections_are_not_too_many() -> None:
    pool = Pool(None, None, 2)
    returned = [pool.give_back(lease) for lease in [pool.want() for _ in range(5)]]
    assert pool.closed == returned[:3]


def test_without_idle_connections_a_waiting_caller_still_gets_one() -> None:
    pool = Pool(1, None, 0)
    first, second = pool.want(), pool.want()
    assert pool.give_back(first) is second.idle
    idle = pool.give_back(second)
    assert pool.closed == [idle]


def test_idle_for_too_long() -> None:
    pool = Pool(None, None, None, 60)
    leases_ = [pool.want() for _ in range(2)]
    first = pool.give_back(leases_[0])
    pool.now = 30
    second = pool.give_back(leases_[1])
    assert pool.machine.next_tick == 60
    pool.act(pool.machine.tick(59.9))
    assert pool.closed == []
    pool.act(pool.machine.tick(60))
    assert pool.closed == [first]
    pool.act(pool.machine.tick(90))
    assert pool.closed == [first, second]
    assert pool.machine.next_tick == math.inf


def test_dead_connections_are_passed_over() -> None:
    """The lease has its slot, and gets the next connection of its route, or none."""
    pool = Pool(3)
    older, newer = [pool.give_back(lease) for lease in [pool.want() for _ in range(2)]]
    lease = pool.want()
    assert lease.idle is newer
    pool.machine.closed(newer)
    assert lease.idle is older
    pool.machine.closed(older)
    assert lease.idle is None
    assert pool.machine.stats() == {"a": Stats(connecting=1)}


def test_closing() -> None:
    pool = Pool(2)
    idle = pool.give_back(pool.want("b"))
    used, granted, waiting = pool.want(), pool.want(), pool.want()
    assert pool.closed == [idle]
    pool.use(used)
    pool.act(pool.machine.close())
    assert pool.refused == [waiting]
    late = pool.want()
    assert pool.refused == [waiting, late]
    last = pool.give_back(used)
    assert pool.closed == [idle, last]
    pool.cancel(granted)
    assert pool.machine.stats() == {}
    for lease in pool.refused:
        pool.cancel(lease)
    assert not pool.machine.leases
    pool.check()


def test_when_a_slot_was_last_granted() -> None:
    pool = Pool(3, 2)
    pool.now = 1
    one, two, waiting = (pool.want("a") for _ in range(3))
    pool.now = 5
    other = pool.want("b")
    late = pool.want("c")
    # "a" is full: only a slot of "a" would do. For "c", any slot would.
    assert pool.machine.last_grant(waiting) == 1
    assert pool.machine.last_grant(late) == 5
    assert pool.machine.in_the_way(waiting) == ("per_host=2", [one, two])
    assert pool.machine.in_the_way(late) == ("max_connections=3", [one, two, other])


def test_stats() -> None:
    pool = Pool(None, 3)
    used, connecting, granted, *_ = (pool.want("a") for _ in range(5))
    pool.use(used)
    pool.machine.granted(connecting)
    pool.give_back(pool.want("b"))
    assert granted.state is GRANTED
    assert pool.machine.stats() == {
        "a": Stats(leased=1, connecting=2, waiting=2),
        "b": Stats(idle=1),
    }


# ------------------------------------------------------------------------------- cost, remains


def crowded(count: int) -> Leases:
    """A pool with many idle connections, hosts, and waiting callers."""
    machine = Leases(2 * count, count)
    for i in range(count):
        lease = Lease(f"idle{i}", f"idle{i}")
        machine.want(lease, 0)
        machine.returned(lease, Idle(lease.host, lease.route, object(), 0), 0)
    for i in range(2 * count):
        lease = Lease("busy", "busy")
        machine.want(lease, 0)
        if i < count:
            machine.granted(lease)
            machine.connected(lease)
    return machine


def cost(count: int) -> list[int]:
    """Return how many lines each kind of event runs through."""
    machine = crowded(count)
    used = list(machine.leases)
    busy = [lease for lease in used if lease.state is LEASED]
    waiting = [lease for lease in used if lease.state is WAITING]
    assert count == len(busy) == len(waiting)
    lease = Lease("busy", "busy")
    idle = Idle("busy", "busy", object(), 0)
    steps: list[Callable[[], object]] = [
        lambda: machine.want(lease, 0),  # waits
        lambda: machine.cancelled(waiting[count // 2], 0),
        lambda: machine.returned(busy[0], idle, 0),  # and passes it on
        lambda: machine.granted(waiting[0]),
        lambda: machine.returned(busy[1], None, 0),
        lambda: machine.cancelled(waiting[1], 0),
        lambda: machine.want(Lease("new", "new"), 0),  # makes room
        lambda: machine.want(Lease(f"idle{count // 2}", f"idle{count // 2}"), 0),
        lambda: machine.closed(next(reversed(machine.idle))),
        lambda: machine.last_grant(lease),
        lambda: machine.next_tick,
    ]
    counts = []
    for step in steps:
        with Lines(leases.__file__) as lines:
            step()
        counts.append(lines.count)
    return counts


def test_cost_does_not_grow() -> None:
    assert cost(10) == cost(10_000)


def test_many_hosts_leave_nothing_behind() -> None:
    pool = Pool()
    for i in range(10_000):
        lease = pool.want(f"host{i}")
        pool.use(lease)
        if i % 3:
            pool.cancel(lease)
        else:
            pool.give_back(lease)
    pool.act(pool.machine.empty())
    assert pool.machine.stats() == {}
    machine = pool.machine
    for container in (machine._hosts, machine._turns, machine.leases, machine.idle):
        assert len(container) == 0


def test_waiting_callers_in_random_order() -> None:
    """A sweep without hypothesis: thousands of callers, of which most go at some moment."""
    rng = random.Random(1)
    pool = Pool(5, 3)
    present = [pool.want(rng.choice("abcd")) for _ in range(2000)]
    while present:
        lease = present.pop(rng.randrange(len(present)))
        if lease.state is GRANTED and rng.random() < 0.5:
            pool.use(lease)
            pool.give_back(lease)
        else:
            pool.cancel(lease)
        if rng.random() < 0.01:
            pool.check()
    pool.act(pool.machine.empty())
    assert pool.machine.stats() == {}


# ------------------------------------------------------------------------------- the table


def test_every_transition_is_known() -> None:
    assert set(LEASE) == set(State)
    assert {state for events in LEASE.values() for state in events.values()} == set(State) - {NEW}
    assert not LEASE[ENDED]


@pytest.mark.parametrize("state", State)
def test_an_ended_lease_ignores_every_event(state: State) -> None:
    pool = Pool(1)
    if state is WAITING:
        pool.want("b")
    lease = Lease("a", "a")
    if state is not NEW:
        lease = pool.want("a")
    if state in (CONNECTING, LEASED):
        pool.machine.granted(lease)
    if state is LEASED:
        pool.machine.connected(lease)
    if state is not ENDED:
        assert lease.state is state
    pool.cancel(lease)
    before = pool.machine.stats()
    machine, idle = pool.machine, Idle("a", "a", object(), 0)
    assert machine.want(lease, 0) == machine.granted(lease) == machine.connected(lease) == []
    assert machine.cancelled(lease, 0) == machine.returned(lease, None, 0) == []
    assert machine.returned(lease, idle, 0) == [Close(idle)]
    assert lease.state is ENDED
    assert machine.stats() == before
    pool.check()
