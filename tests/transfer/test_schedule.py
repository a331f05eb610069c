"""The schedule of `Client.many`: what begins when, in simulated time."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dugong.transfer import schedule as module
from dugong.transfer.schedule import (
    BUSY,
    BUSY_FOR,
    SILENT,
    SILENT_FOR,
    STALLED,
    Answer,
    Schedule,
    Ticket,
)
from tests.support.in_turn import in_turn
from tests.transfer.simulated import Server, Simulation

#: Seconds until the limits are found.
FOUND = 30.0


def simulated(server: Server, per_host: int = 8, seed: int = 0) -> Simulation:
    return Simulation({"host": server}, Schedule(64, per_host), seed)


# Limits that do not change. A long time, because a failed probe costs a few refusals at once.


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    rate=st.sampled_from([1, 2, 5, 10, 30, 60]),
    burst=st.sampled_from([0, 1, 5, 20]),
    latency=st.sampled_from([0.005, 0.02, 0.1, 0.3]),
    seed=st.integers(0, 3),
)
def test_it_finds_a_rate(rate: float, burst: int, latency: float, seed: int) -> None:
    simulation = simulated(Server(rate=rate, burst=burst, latency=latency), seed=seed)
    simulation.run(FOUND)
    simulation.count()
    seconds = max(120.0, 600 / rate)
    simulation.run(FOUND + seconds)
    tally = simulation.tallies["host"]
    allowed = min(rate, 8 / latency)
    assert tally.accepted >= 0.8 * allowed * seconds
    assert tally.share_refused <= 0.02


@settings(derandomize=True, deadline=None, max_examples=12)
@given(
    connections=st.integers(1, 7),
    latency=st.sampled_from([0.05, 0.1, 0.3]),
    seed=st.integers(0, 3),
)
def test_it_finds_a_number_of_connections(connections: int, latency: float, seed: int) -> None:
    simulation = simulated(Server(connections=connections, latency=latency), seed=seed)
    simulation.run(FOUND)
    simulation.count()
    simulation.run(FOUND + 120)
    tally = simulation.tallies["host"]
    assert tally.accepted >= 0.8 * 120 * connections / latency
    assert tally.share_refused <= 0.02


def test_nothing_is_refused_without_limits() -> None:
    simulation = simulated(Server(latency=0.1))
    simulation.run(1)
    simulation.count()
    simulation.run(11)
    assert simulation.tallies["host"].refused == 0
    assert simulation.tallies["host"].accepted >= 0.95 * 10 * 8 / 0.1


# Limits that change.


@in_turn(("before", "after"), [(40, 10), (10, 40), (60, 3), (5, 50)])
def test_it_follows_a_rate(before: float, after: float) -> None:
    server = Server(rate=before, burst=5, latency=0.02)
    simulation = simulated(server)
    simulation.run(120)
    server.rate = after
    simulation.run(180)
    simulation.count()
    simulation.run(300)
    tally = simulation.tallies["host"]
    assert tally.accepted >= 0.8 * after * 120
    assert tally.share_refused <= 0.02


@in_turn(("before", "after"), [(6, 2), (2, 6)])
def test_it_follows_a_number_of_connections(before: int, after: int) -> None:
    server = Server(connections=before, latency=0.1)
    simulation = simulated(server)
    simulation.run(120)
    server.connections = after
    simulation.run(180)
    simulation.count()
    simulation.run(300)
    tally = simulation.tallies["host"]
    assert tally.accepted >= 0.8 * 120 * after / 0.1
    assert tally.share_refused <= 0.02


def test_hosts_have_limits_of_their_own() -> None:
    servers = {f"host {n}": Server(rate=3 * (n + 1), burst=2) for n in range(12)}
    simulation = Simulation(servers, Schedule(64, 8))
    simulation.run(FOUND)
    simulation.count()
    simulation.run(FOUND + 120)
    for name, server in servers.items():
        assert server.rate is not None
        assert simulation.tallies[name].accepted >= 0.8 * 120 * server.rate
        assert simulation.tallies[name].share_refused <= 0.02


# Single steps.


def all_of(schedule: Schedule[str], now: float) -> list[Ticket[str]]:
    """Take what may begin."""
    found = []
    while (ticket := schedule.take(now)) is not None:
        found.append(ticket)
    return found


def take_one(schedule: Schedule[str], now: float) -> tuple[float, Ticket[str]]:
    """Take the next request as soon as it may begin, and return that time, too."""
    ticket = schedule.take(now)
    if ticket is None:
        now = schedule.next_time(now)
        ticket = schedule.take(now)
    assert ticket is not None
    return now, ticket


def test_a_new_host_gets_more_with_each_answer() -> None:
    schedule: Schedule[str] = Schedule(64, 6)
    for n in range(20):
        schedule.add("host", str(n), 0.0)
    flying = all_of(schedule, 0.0)
    assert [ticket.item for ticket in flying] == ["0", "1"]
    counts = []
    for step in range(6):
        schedule.ended(flying.pop(0), Answer.ACCEPTED, 0.1 * step)
        flying += all_of(schedule, 0.1 * step)
        counts.append(len(flying))
    assert counts == [3, 4, 5, 6, 6, 6]


def test_round_robin() -> None:
    schedule: Schedule[str] = Schedule(64, 8)
    for n in range(2):
        for host in "abc":
            schedule.add(host, f"{host}{n}", 0.0)
    assert [ticket.item for ticket in all_of(schedule, 0.0)] == ["a0", "b0", "c0", "a1", "b1", "c1"]


def test_a_refusal_reduces_both_levels_by_a_quarter() -> None:
    schedule: Schedule[str] = Schedule(64, 8)
    for n in range(1000):
        schedule.add("host", str(n), 0.0)
    now, flying = 0.0, all_of(schedule, 0.0)
    for _ in range(500):  # 100 answers per second
        now += 0.01
        schedule.ended(flying.pop(0), Answer.ACCEPTED, now)
        flying += all_of(schedule, now)
    assert len(flying) == 8
    host = flying[0].host
    schedule.ended(flying.pop(), Answer.REFUSED, now)
    assert host.allowed(now) == 5  # three quarters of 7, which were not refused
    assert host.rate_now(now) == pytest.approx(0.75 * 0.9 * 100, rel=0.05)
    schedule.ended(flying.pop(), Answer.REFUSED, now)  # the same event
    assert host.allowed(now) == 5


def test_retry_after_stops_the_host_only() -> None:
    schedule: Schedule[str] = Schedule(64, 1)
    for name in ("a", "a", "b", "b"):
        schedule.add(name, name, 0.0)
    first, second = all_of(schedule, 0.0)
    schedule.ended(first, Answer.REFUSED, 1.0, retry_after=20.0)
    schedule.ended(second, Answer.ACCEPTED, 1.0)
    assert [ticket.item for ticket in all_of(schedule, 1.0)] == ["b"]
    assert schedule.next_time(1.0) == pytest.approx(21.0)
    assert not all_of(schedule, 20.9)
    assert [ticket.item for ticket in all_of(schedule, 21.0)] == ["a"]


def test_a_long_retry_after_shuts_the_host() -> None:
    schedule: Schedule[str] = Schedule(64, 1, max_pause=60.0)
    for name in ("a", "a", "b"):
        schedule.add(name, name, 0.0)
    first, second = all_of(schedule, 0.0)
    reason = OSError()
    schedule.ended(first, Answer.REFUSED, 0.0, retry_after=86400.0, reason=reason)
    (failed,) = all_of(schedule, 0.0)
    assert failed.reason is reason
    assert schedule.in_flight == 1
    schedule.ended(second, Answer.ACCEPTED, 0.0)
    schedule.add("a", "a", 86399.0)
    assert all_of(schedule, 86399.0)[0].reason is reason
    schedule.add("a", "a", 86400.0)
    assert all_of(schedule, 86400.0)[0].reason is None


def test_a_silent_host_is_shut() -> None:
    schedule: Schedule[str] = Schedule(64, 1)
    for n in range(10):
        schedule.add("host", str(n), 0.0)
    now = 0.0
    for _ in range(SILENT):
        now, ticket = take_one(schedule, now)
        assert ticket.reason is None
        now += 30
        schedule.ended(ticket, Answer.SILENT, now, reason=OSError())
    failed = all_of(schedule, now)
    assert len(failed) == 10 - SILENT
    assert all(ticket.reason is not None for ticket in failed)
    assert schedule.waiting == schedule.in_flight == 0
    for n in range(2):
        schedule.add("host", str(n), now + SILENT_FOR)
    now += SILENT_FOR
    (ticket,) = all_of(schedule, now)
    schedule.ended(ticket, Answer.SILENT, now, reason=OSError())  # still silent
    assert all_of(schedule, now)[0].reason is not None


def test_a_host_that_refuses_everything_is_shut() -> None:
    schedule: Schedule[str] = Schedule(64, 1)
    for n in range(100):
        schedule.add("host", str(n), 0.0)
    now, asked = 0.0, 0
    while schedule.waiting:
        now, ticket = take_one(schedule, now)
        if ticket.reason is None:
            asked += 1
            schedule.ended(ticket, Answer.REFUSED, now, reason=OSError())
    assert asked == BUSY
    schedule.add("host", "", now + BUSY_FOR)
    assert take_one(schedule, now + BUSY_FOR)[1].reason is None


def test_an_answer_in_between_keeps_the_host_open() -> None:
    schedule: Schedule[str] = Schedule(64, 1)
    for n in range(20):
        schedule.add("host", str(n), 0.0)
    now = 0.0
    for n in range(20):
        now, ticket = take_one(schedule, now)
        assert ticket.reason is None
        answer = Answer.ACCEPTED if n % 2 else Answer.SILENT
        schedule.ended(ticket, answer, now, reason=OSError())


def test_silent_hosts_do_not_take_the_places_of_others() -> None:
    schedule: Schedule[str] = Schedule(4, 2)
    for n in range(6):
        schedule.add(f"silent {n}", "silent", 0.0)
    assert len(all_of(schedule, 0.0)) == 4
    schedule.add("fast", "fast", 0.0)
    assert schedule.next_time(0.0) == STALLED
    assert [ticket.item for ticket in all_of(schedule, STALLED)] == ["silent", "silent", "fast"]


def test_a_request_that_is_put_back_is_first() -> None:
    schedule: Schedule[str] = Schedule(64, 1)
    for n in range(3):
        schedule.add("host", str(n), 0.0)
    (ticket,) = all_of(schedule, 0.0)
    schedule.ended(ticket, Answer.ACCEPTED, 0.0)
    schedule.put_back(ticket, 5.0)
    (other,) = all_of(schedule, 0.0)
    assert (other.item, schedule.waiting) == ("1", 2)
    schedule.ended(other, Answer.ACCEPTED, 5.0)
    assert [ticket.item for ticket in all_of(schedule, 5.0)] == ["0"]


def test_fewer_descriptors() -> None:
    schedule: Schedule[str] = Schedule(10, 10)
    for n in range(20):
        schedule.add(str(n), "", 0.0)
    flying = all_of(schedule, 0.0)
    for _ in range(3):  # one event
        ticket = flying.pop()
        schedule.ended(ticket, Answer.NEUTRAL, 1.0)
        assert schedule.have_fewer(ticket, 0, 1.0)
    schedule.ended(flying.pop(), Answer.ACCEPTED, 1.0)
    assert len(all_of(schedule, 1.0)) == 3
    assert not all_of(schedule, 100.0)


def test_no_descriptor_at_all() -> None:
    schedule: Schedule[str] = Schedule(10, 10)
    schedule.add("host", "", 0.0)
    (ticket,) = all_of(schedule, 0.0)
    for now in (1.0, 2.0):
        schedule.ended(ticket, Answer.NEUTRAL, now)
        again = schedule.have_fewer(ticket, 0, now)
        assert again is (now == 1.0)
        if again:
            schedule.put_back(ticket, now)
            assert all_of(schedule, now) == [ticket]


def test_hosts_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 10)
    schedule: Schedule[str] = Schedule(1000, 2)
    waiting = all_of(schedule, 0.0)
    for n in range(100):
        schedule.add(n, str(n), 0.0)
        waiting += all_of(schedule, 0.0)
        if n >= 5:
            schedule.ended(waiting.pop(0), Answer.ACCEPTED, 0.0)
    assert len(schedule._hosts) <= 10


@settings(deadline=None)
@given(st.data())
def test_any_events(data: st.DataObject) -> None:
    """The limits hold, nothing is lost or repeated, and a host's requests leave in order."""
    limit, per_host = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 4))
    schedule: Schedule[tuple[str, int]] = Schedule(limit, per_host, max_pause=10.0)
    now, number = 0.0, 0
    flying: list[Ticket[tuple[str, int]]] = []
    waiting: set[tuple[str, int]] = set()
    last = dict.fromkeys("abc", -1)
    put_back: set[tuple[str, int]] = set()  # these overtake others
    for _ in range(data.draw(st.integers(1, 60))):
        now += data.draw(st.sampled_from([0.0, 0.01, 0.5, 3.0, 20.0]))
        what = data.draw(st.sampled_from(["add", "add", "end", "end", "again"]))
        if what == "add":
            item = (data.draw(st.sampled_from("abc")), number)
            number += 1
            waiting.add(item)
            schedule.add(item[0], item, now)
        elif flying:
            ticket = flying.pop(data.draw(st.integers(0, len(flying) - 1)))
            if data.draw(st.booleans()):
                schedule.answered(ticket)
            schedule.ended(
                ticket,
                data.draw(st.sampled_from(Answer)),
                now,
                data.draw(st.sampled_from([None, None, 0.0, 5.0, 100.0])),
                OSError(),
            )
            if what == "again":
                waiting.add(ticket.item)
                put_back.add(ticket.item)
                schedule.put_back(ticket, now + data.draw(st.sampled_from([0.0, 1.0, 30.0])))
        while (found := schedule.take(now)) is not None:
            waiting.remove(found.item)
            host, place = found.item
            if found.item not in put_back:
                assert place > last[host]
                last[host] = place
            if found.reason is None:
                flying.append(found)
        assert schedule.waiting == len(waiting)
        assert schedule.in_flight == len(flying) <= limit * 9
        assert max(Counter(ticket.item[0] for ticket in flying).values(), default=0) <= per_host
        assert schedule.next_time(now) > now
        fresh = [each for each in flying if each.answered or each.began + STALLED > now]
        assert len(fresh) <= limit
    while flying or waiting:  # everything comes to an end
        for ticket in flying:
            schedule.ended(ticket, Answer.ACCEPTED, now)
        flying.clear()
        now = min(max(now, schedule.next_time(now)), now + 1000)
        while (found := schedule.take(now)) is not None:
            waiting.remove(found.item)
            if found.reason is None:
                flying.append(found)
    assert schedule.waiting == schedule.in_flight == 0
