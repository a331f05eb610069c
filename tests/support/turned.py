"""A clock that stands still unless the test turns it, or lets it run."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass
class Turned:
    now: float = 100.0
    _started: float | None = None

    def __call__(self) -> float:
        return self.now if self._started is None else self.now + time.monotonic() - self._started

    def turn(self, seconds: float) -> None:
        self.now += seconds

    def run(self) -> None:
        """Go on from here as time does."""
        self._started = time.monotonic()
