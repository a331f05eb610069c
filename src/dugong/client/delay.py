"""Waiting for time to pass: before a retry, and to keep to a rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..pool.waiting import AnswerNeeded, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..transport.poll import Co


class _Never(Waiter):
    """Waits for an answer that never comes, so only the timeout ends the wait."""

    pending = True


def co_delay(seconds: float, clock: Callable[[], float]) -> Co[None]:
    """Wait.

    Args:
        seconds: how long. 0 gives the driver a turn.
        clock: returns the time in seconds.
    """
    end = clock() + seconds
    waiter = _Never()
    try:
        while True:
            yield AnswerNeeded(waiter, max(0.0, end - clock()))
            if clock() >= end:
                return
    finally:
        waiter.stop_waiting()
