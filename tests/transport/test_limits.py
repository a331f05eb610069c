"""`Limits`: for how long a driver waits, and what comes then, by a clock that the test turns."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from dugong import POLLIN, PollNeeded
from dugong.transport.poll import Limits


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def need(timeout: float | None = None) -> PollNeeded:
    return PollNeeded(0, POLLIN, timeout)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("own", "timeout", "deadline", "seconds", "words"),
    [
        (None, None, None, None, ""),
        (3, None, None, 3, ""),
        (None, 5, None, 5, "no byte moved for 5 seconds"),
        (None, None, 7, 7, "not done within 7 seconds"),
        (3, 5, 7, 3, ""),
        (6, 5, 7, 5, "no byte moved for 5 seconds"),
        (9, 8, 7, 7, "not done within 7 seconds"),
        (None, 0, None, 0, "no byte moved for 0 seconds"),
        (None, 9, 0, 0, "not done within 0 seconds"),
        (0, 9, 9, 0, ""),
        (5, 5, None, 5, "no byte moved"),
    ],
)
def test_the_shortest_counts(
    own: float | None,
    timeout: float | None,
    deadline: float | None,
    seconds: float | None,
    words: str,
) -> None:
    found, message = Limits(timeout, deadline).next_wait(need(own))
    assert found == seconds
    assert (message or "").startswith(words)
    assert (message is None) == (not words)


def test_timeout_begins_anew_when_something_moved(clock: Clock) -> None:
    limits = Limits(10, None)
    for _ in range(5):
        assert limits.next_wait(need())[0] == 10
        clock.now += 6
        limits.moved()


def test_timeout_goes_on_when_nothing_did(clock: Clock) -> None:
    """A coroutine that wants to be resumed now and then does not wait longer for that."""
    limits = Limits(10, None)
    waits = []
    while True:
        seconds, message = limits.next_wait(need(4))
        assert seconds is not None
        waits.append(seconds)
        clock.now += seconds
        if message is not None:
            break
    assert waits == [4, 4, 2]


def test_timeout_counts_waiting_alone(clock: Clock) -> None:
    """Not what the coroutine does between two waits, nor what comes before the first."""
    limits = Limits(10, None)
    clock.now += 50
    assert limits.next_wait(need())[0] == 10
    limits.moved()
    clock.now += 50
    assert limits.next_wait(need())[0] == 10


def test_deadline_goes_on_whatever_moves(clock: Clock) -> None:
    limits = Limits(None, 10)
    left = []
    for _ in range(4):
        left.append(limits.next_wait(need())[0])
        assert limits.over == (left[-1] == 0)
        clock.now += 4
        limits.moved()
    assert left == [10, 6, 2, 0]


def test_deadline_counts_from_the_beginning_of_the_call(clock: Clock) -> None:
    limits = Limits(None, 10)
    clock.now += 50
    seconds, message = limits.next_wait(need())
    assert (seconds, limits.over) == (0, False), "what is there already is still taken, once"
    assert message is not None
    seconds, message = limits.next_wait(need())
    assert (seconds, limits.over) == (0, True)


def test_over_only_by_the_deadline(clock: Clock) -> None:
    """With a `timeout` of 0, what is ready is still taken."""
    limits = Limits(0, 10)
    assert limits.next_wait(need())[0] == 0
    assert not limits.over
    clock.now += 11
    limits.next_wait(need())
    assert limits.over


def test_never_a_negative_wait(clock: Clock) -> None:
    limits = Limits(1, 2)
    limits.next_wait(need())
    clock.now += 50
    assert limits.next_wait(need())[0] == 0
