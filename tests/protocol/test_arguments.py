"""Ports, time limits and sizes, and what messages show of a value."""

from __future__ import annotations

import enum
import math
from decimal import Decimal
from typing import Any

import pytest

from dugong import InvalidRequest
from dugong.protocol.arguments import check_port, check_seconds, check_size, shown

#: Python refuses to write down a number of so many digits.
ENDLESS = 10**5000


class Port(enum.IntEnum):
    ALTERNATIVE = 8080


class Odd:
    def __index__(self) -> int:
        return 8081


@pytest.mark.parametrize(
    ("given", "port"), [(1, 1), (65535, 65535), (Port.ALTERNATIVE, 8080), (Odd(), 8081)]
)
def test_port(given: Any, port: int) -> None:
    assert check_port(given) == port


@pytest.mark.parametrize("given", ["8102", "", b"80", 80.5, 80.0, None, True, [80], (80,), 80j])
def test_port_of_another_type(given: Any) -> None:
    with pytest.raises(TypeError, match="port must be an int"):
        check_port(given)


def test_no_port() -> None:
    for given in (0, -1, 65536, ENDLESS, -ENDLESS):
        with pytest.raises(InvalidRequest, match="port must be a number from 1 to 65535"):
            check_port(given)


@pytest.mark.parametrize("given", [None, 0, 0.0, 5, 1.5, 10**400, math.inf])
def test_seconds(given: Any) -> None:
    assert check_seconds(given, "timeout") is given


def test_seconds_of_other_number_types() -> None:
    assert check_seconds(Decimal("1.5"), "timeout") == 1.5
    assert type(check_seconds(Decimal("1.5"), "timeout")) is float


@pytest.mark.parametrize("given", ["5", b"5", (1, 5), [5], True, False, {}, 5j, object()])
def test_seconds_of_another_type(given: Any) -> None:
    with pytest.raises(TypeError, match="timeout must be a number of seconds or None, not "):
        check_seconds(given, "timeout")


def test_no_seconds() -> None:
    for given in (-1, -0.001, math.nan, -math.inf, Decimal("NaN"), -ENDLESS):
        with pytest.raises(
            InvalidRequest, match="timeout must be a non-negative number of seconds, or None"
        ):
            check_seconds(given, "timeout")


def test_size() -> None:
    assert check_size(0, "length") == 0
    for given in ("5", 5.0, None, True):
        with pytest.raises(TypeError, match="length must be an int"):
            check_size(given, "length")
    for given in (-1, -ENDLESS):
        with pytest.raises(InvalidRequest, match="length must be at least 0"):
            check_size(given, "length")


class Liar(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return "user:secret"

    __str__ = __repr__


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "'a'"),
        ("/users/@me", "'/users/@me'"),
        ("http://user:secret@h/x", "'***@h/x'"),
        ("user:secret@h", "'***@h'"),
        ("//user:secret@h", "'***@h'"),
        ("http://user:secr@et@h/x", "'***@h/x'"),
        ("user:secret\uff20h", "'***@h'"),
        ("http://user:\nsecret@h", "'***@h'"),
        (Liar("a"), "'a'"),
        (5, "5"),
    ],
)
def test_shown(value: object, text: str) -> None:
    assert shown(value) == text


def test_numbers_too_long_to_show() -> None:
    assert shown(ENDLESS) == "a very large int"


def test_long_values_are_cut() -> None:
    assert shown("a" * 1000) == f"'{'a' * 75}...'"
