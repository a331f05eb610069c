"""`Limits`: for how long a driver waits, and what comes then, by a clock that the test turns."""

from __future__ import annotations

import time

import pytest

from dugong import POLLIN, POLLOUT, PollNeeded, Timeouts
from dugong.transport.poll import Limits
from tests.support.turned import Turned


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Turned:
    clock = Turned()
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
        (None, 5, None, 5, "no data transferred for 5 seconds"),
        (None, None, 7, 7, "not done within 7 seconds"),
        (3, 5, 7, 3, ""),
        (6, 5, 7, 5, "no data transferred for 5 seconds"),
        (9, 8, 7, 7, "not done within 7 seconds"),
        (None, 0, None, 0, "no data transferred for 0 seconds"),
        (None, 9, 0, 0, "not done within 0 seconds"),
        (0, 9, 9, 0, ""),
        (5, 5, None, 5, "no data transferred"),
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


def test_timeout_begins_anew_when_something_moved(clock: Turned) -> None:
    limits = Limits(10, None)
    for _ in range(5):
        assert limits.next_wait(need())[0] == 10
        clock.now += 6
        limits.moved()


def test_timeout_goes_on_when_nothing_did(clock: Turned) -> None:
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


def test_timeout_counts_waiting_alone(clock: Turned) -> None:
    """Not what the coroutine does between two waits, nor what comes before the first."""
    limits = Limits(10, None)
    clock.now += 50
    assert limits.next_wait(need())[0] == 10
    limits.moved()
    clock.now += 50
    assert limits.next_wait(need())[0] == 10


def test_deadline_goes_on_whatever_moves(clock: Turned) -> None:
    limits = Limits(None, 10)
    left = []
    for _ in range(4):
        left.append(limits.next_wait(need())[0])
        assert limits.over == (left[-1] == 0)
        clock.now += 4
        limits.moved()
    assert left == [10, 6, 2, 0]


def test_deadline_counts_from_the_beginning_of_the_call(clock: Turned) -> None:
    limits = Limits(None, 10)
    clock.now += 50
    seconds, message = limits.next_wait(need())
    assert (seconds, limits.over) == (0, False), "what is there already is still taken, once"
    assert message is not None
    seconds, message = limits.next_wait(need())
    assert (seconds, limits.over) == (0, True)


def test_over_only_by_the_deadline(clock: Turned) -> None:
    """With a `timeout` of 0, what is ready is still taken."""
    limits = Limits(0, 10)
    assert limits.next_wait(need())[0] == 0
    assert not limits.over
    clock.now += 11
    limits.next_wait(need())
    assert limits.over


def test_never_a_negative_wait(clock: Turned) -> None:
    limits = Limits(1, 2)
    limits.next_wait(need())
    clock.now += 50
    assert limits.next_wait(need())[0] == 0


def test_a_deadline_that_began_before(clock: Turned) -> None:
    limits = Limits(None, 10, clock=clock, end=clock.now + 3)
    seconds, message = limits.next_wait(need())
    assert seconds == 3
    assert message is not None
    assert message.startswith("not done within 10 seconds")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "1 second ("),
        (1.0, "1 second ("),
        (0, "0 seconds ("),
        (0.25, "0.25 seconds ("),
        (90.5, "90.5 seconds ("),
        (2, "2 seconds ("),
    ],
)
@pytest.mark.usefixtures("clock")
def test_words(seconds: float, words: str) -> None:
    waiting = PollNeeded(0, POLLIN, phase="body")
    _, quiet = Limits(seconds, None).next_wait(waiting)
    assert quiet == f"no data transferred for {words}phase 'body', timeout={seconds:g})"
    _, late = Limits(None, seconds).next_wait(waiting)
    assert late == f"not done within {words}phase 'body', deadline={seconds:g})"


# -------------------------------------------------------------------------------- Timeouts

TIMEOUTS = Timeouts(pool=1, connect=2, send=3, receive=4)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("phase", "mask", "seconds", "name"),
    [
        ("resolve", POLLIN, 2, "connect"),
        ("connect", POLLOUT, 2, "connect"),
        ("tls", POLLIN, 2, "connect"),
        ("send", POLLOUT, 3, "send"),
        ("send", POLLIN, 3, "send"),  # TLS may have to receive first
        ("send", POLLIN | POLLOUT, 3, "send"),  # watching for an early response
        ("response", POLLIN, 4, "receive"),
        ("body", POLLIN, 4, "receive"),
        ("body", POLLIN | POLLOUT, 3, "send"),  # a pipeline, which has more to send
        (None, POLLIN, 4, "receive"),
    ],
)
def test_each_wait_has_its_limit(phase: str | None, mask: int, seconds: float, name: str) -> None:
    limits = Limits(TIMEOUTS, None)
    found, message = limits.next_wait(PollNeeded(0, mask, phase=phase))
    assert found == seconds
    assert message is not None
    assert f"timeout=Timeouts({name}={seconds})" in message
    assert limits.phase == ("send" if name == "send" else phase)


@pytest.mark.usefixtures("clock")
def test_no_limit() -> None:
    limits = Limits(Timeouts(connect=None, send=None, receive=None), None)
    for phase in ("resolve", "connect", "tls", "send", "response", "body"):
        for mask in (POLLIN, POLLOUT, POLLIN | POLLOUT):
            assert limits.next_wait(PollNeeded(0, mask, phase=phase)) == (None, None)


def test_one_of_two_is_no_limit(clock: Turned) -> None:
    both = PollNeeded(0, POLLIN | POLLOUT, phase="response")
    assert Limits(Timeouts(send=None, receive=4), None).next_wait(both)[0] == 4
    assert Limits(Timeouts(send=3, receive=None), None).next_wait(both)[0] == 3


def test_connecting_is_limited_as_a_whole(clock: Turned) -> None:
    """Other waits begin anew when something moves; this does not. Each connection has its own."""
    limits = Limits(Timeouts(connect=10, send=None, receive=5), None)
    left = []
    for phase in ("resolve", "connect", "connect", "tls"):
        left.append(limits.next_wait(PollNeeded(0, POLLIN, phase=phase))[0])
        clock.turn(4)
        limits.moved()
    assert left == [10, 6, 2, 0]
    for _ in range(2):
        assert limits.next_wait(PollNeeded(0, POLLIN, phase="response"))[0] == 5
        clock.turn(4)
        limits.moved()
    assert limits.next_wait(PollNeeded(0, POLLIN, phase="resolve"))[0] == 10


def test_a_wait_with_limits_of_its_own(clock: Turned) -> None:
    """The coroutine keeps them. Of the driver's, only the deadline is left."""
    waiting = PollNeeded(0, POLLIN, 7)
    waiting.limited = True
    assert Limits(5, None).next_wait(waiting) == (7, None)
    assert Limits(TIMEOUTS, None).next_wait(waiting) == (7, None)
    assert Limits(5, 6).next_wait(waiting)[0] == 6
