"""A session that continues the connection of another one, which has retired."""

from __future__ import annotations

from dugong.session.session import Session
from dugong.transport.connect import Route
from dugong.transport.monitor import Monitor


def test_it_has_every_attribute_of_a_new_session() -> None:
    new = Session(Route(("h", 1)), Monitor())
    monitor = Monitor()
    successor = new.succeed(monitor)
    assert vars(successor).keys() >= vars(Session(Route(("h", 1)), monitor)).keys()
    assert successor.monitor is monitor
    assert new.closed
    assert not successor.closed
