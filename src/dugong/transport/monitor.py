"""What has happened on a user's connection object: counters, events, and the clock."""

from __future__ import annotations

import time
from collections.abc import Callable


class Monitor:
    """What the user is told, over all the connections that one object makes in its life.

    Attributes:
        bytes_sent: bytes given to the system, before encryption.
        bytes_received: bytes received, after decryption.
        on_event: called with the name of whatever has just happened, or ``None``.
        clock: what time it is, in seconds.
    """

    def __init__(self) -> None:
        self.bytes_sent = 0
        self.bytes_received = 0
        self.on_event: Callable[[str], object] | None = None
        self.clock: Callable[[], float] = time.monotonic

    def bytes_moved(self) -> int:
        """Return how many bytes went either way."""
        return self.bytes_sent + self.bytes_received

    def event(self, name: str) -> None:
        if self.on_event is not None:
            self.on_event(name)
