"""Waiting for time to pass: before a retry, and to keep to a rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..pool.waiting import SlotNeeded, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..transport.poll import Co


class _Never(Waiter):
    """Waits for an answer that never comes, so only the time limit ends the wait."""

    pending = True

    def _last_progress(self) -> float:
        return -math.inf


class Delay(SlotNeeded):
    """Lets time pass. It is not subject to a limit for the network, only to a deadline."""

    phase = None
    limited = True

    def _shortened(self, seconds: float | None) -> Delay:
        return Delay(self._waiter, seconds)


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
            yield Delay(waiter, max(0.0, end - clock()))
            if clock() >= end:
                return
    finally:
        waiter.stop_waiting()
