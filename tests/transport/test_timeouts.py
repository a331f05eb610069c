"""`Timeouts`: the value."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from dugong import HTTPConnection, InvalidRequest, Timeouts
from tests.support.in_turn import in_turn

NAMES = ["pool", "connect", "send", "receive"]


def test_what_is_not_given_is_30_seconds() -> None:
    assert Timeouts() == Timeouts(pool=30, connect=30, send=30, receive=30)
    some = Timeouts(connect=None, receive=0.5)
    assert (some.pool, some.connect, some.send, some.receive) == (30, None, 30, 0.5)


def test_repr() -> None:
    text = "Timeouts(pool=30, connect=None, send=1, receive=0.5)"
    assert repr(Timeouts(connect=None, send=1, receive=0.5)) == text


def test_is_a_value() -> None:
    one, same, other = Timeouts(send=1), Timeouts(send=1.0), Timeouts(receive=1)
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != (30, 30, 1, 30)
    assert {one: "x"}[same] == "x"


@pytest.mark.parametrize("name", [*NAMES, "connnect"])
def test_cannot_be_changed(name: str) -> None:
    limits = Timeouts()
    with pytest.raises(AttributeError):
        setattr(limits, name, 5)
    with pytest.raises(AttributeError):
        delattr(limits, name)
    assert limits == Timeouts()


def test_copies() -> None:
    limits = Timeouts(send=None, receive=7)
    sent = pickle.loads(pickle.dumps(limits))  # noqa: S301 - our own
    assert [copy.copy(limits), copy.deepcopy(limits), sent] == [limits] * 3


@in_turn("name", NAMES)
@in_turn(
    ("value", "error"),
    [
        (-1, InvalidRequest),
        (float("nan"), InvalidRequest),
        ("5", TypeError),
        ((1, 5), TypeError),
        (True, TypeError),
    ],
)
def test_values_are_checked(name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        Timeouts(**{name: value})


def test_names_are_checked() -> None:
    with pytest.raises(TypeError):
        Timeouts(read=5)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Timeouts(1, 5)  # type: ignore[call-arg]


def test_as_an_attribute() -> None:
    conn = HTTPConnection("h", timeout=Timeouts(receive=5))
    assert conn.timeout == Timeouts(receive=5)
    conn.timeout = Timeouts(receive=6)
    assert conn.timeout == Timeouts(receive=6)
    with pytest.raises(TypeError, match="deadline"):
        conn.deadline = Timeouts()  # type: ignore[assignment]
    with pytest.raises(TypeError, match=r"Timeouts\(\.\.\.\)"):
        conn.timeout = (1, 5)  # type: ignore[assignment]
    assert conn.timeout == Timeouts(receive=6)
