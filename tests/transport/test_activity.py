"""What the user is told."""

from __future__ import annotations

import time

from dugong.transport.monitor import Monitor


def test_events() -> None:
    activity = Monitor()
    activity.event("connected")  # nobody listens
    heard: list[str] = []
    activity.on_event = heard.append
    activity.event("sent")
    activity.on_event = None
    activity.event("done")
    assert heard == ["sent"]


def test_counts_from_zero_by_a_clock_that_is_never_set_back() -> None:
    activity = Monitor()
    assert (activity.bytes_sent, activity.bytes_received) == (0, 0)
    assert activity.clock is time.monotonic
