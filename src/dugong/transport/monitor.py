"""`Monitor`: byte counters, events and the clock of a user's connection object."""

from __future__ import annotations

import time
from collections.abc import Callable


class Monitor:
    """Counters and events for one user's object, across all connections that it makes.

    Attributes:
        bytes_sent: bytes given to the system, before encryption.
        bytes_received: bytes received, after decryption.
        on_event: called with the name of each event, or ``None``.
        clock: returns the time in seconds.
    """

    def __init__(self) -> None:
        self.bytes_sent = 0
        self.bytes_received = 0
        self.on_event: Callable[[str], object] | None = None
        self.clock: Callable[[], float] = time.monotonic

    def bytes_moved(self) -> int:
        """Return the number of bytes sent and received."""
        return self.bytes_sent + self.bytes_received

    def event(self, name: str) -> None:
        """Report an event to the user."""
        if self.on_event is not None:
            self.on_event(name)
