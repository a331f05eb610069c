"""Checks of arguments: ports, time limits, sizes. Each error names the argument and the value.

Arguments that describe a request are checked in `request`, and host names in `authority`.
"""

from __future__ import annotations

import re
from operator import index
from typing import Any

from ..errors import InvalidRequest

#: The most characters of a value that a message shows.
_MOST_SHOWN = 80

# Text before an "@" may be user information (RFC 3986 section 3.2.1), unless a path begins before
# it. Compatibility normalisation turns the other two characters into "@".
_USER_INFORMATION = re.compile(r"(?!/(?!/)).*[@\uff20\ufe6b]", re.DOTALL)


def shown(value: object) -> str:
    """Return *value* for a message: in quotes, shortened, and without user information."""
    if isinstance(value, str):
        value = str.__str__(value)
        if secret := _USER_INFORMATION.match(value):
            value = f"***@{value[secret.end() :]}"
    try:
        text = repr(value)
    except ValueError:  # an int with thousands of digits
        text = f"a very large {type(value).__name__}"
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 4]}...{text[-1]}"


def exactly_str(text: Any, what: str) -> str:
    """Return *text* as an exact `str`. A subclass may format differently than it was validated.

    Args:
        text: the argument.
        what: its name, for messages.

    Raises:
        TypeError: *text* is not a `str`.
    """
    if type(text) is str:
        return text
    if not isinstance(text, str):
        raise TypeError(f"{what} must be a str, not {type(text).__name__}")
    return str.__str__(text)


def check_port(port: Any, what: str = "port", lowest: int = 1) -> int:
    """Return *port* as an `int`.

    Args:
        port: the argument.
        what: its name, for messages.
        lowest: the smallest valid port.

    Raises:
        TypeError: *port* is not an integer.
        InvalidRequest: it is not in the range from *lowest* to 65535.
    """
    number = check_int(port, what)
    if not lowest <= number <= 65535:
        raise InvalidRequest(f"{what} must be a number from {lowest} to 65535, not {shown(port)}")
    return number


def check_seconds(seconds: Any, what: str, kind: str = "a number of seconds") -> float | None:
    """Return a time limit in seconds, or ``None`` for no limit.

    Args:
        seconds: the argument.
        what: its name, for messages.
        kind: a description of its valid values other than ``None``, for messages.

    Raises:
        TypeError: *seconds* is neither a number nor ``None``.
        InvalidRequest: it is negative or NaN.
    """
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not (
        hasattr(type(seconds), "__float__") or hasattr(type(seconds), "__index__")
    ):
        raise TypeError(f"{what} must be {kind} or None, not {_with_type(seconds)}")
    number: float = seconds if isinstance(seconds, (int, float)) else float(seconds)
    if not number >= 0:  # false for NaN, too
        raise InvalidRequest(
            f"{what} must be a non-negative number of seconds, or None for no limit, "
            f"not {shown(seconds)}"
        )
    return number


def check_size(size: Any, what: str, lowest: int = 0) -> int:
    """Return a size, such as a number of bytes, as an `int`.

    Args:
        size: the argument.
        what: its name, for messages.
        lowest: the smallest valid size.

    Raises:
        TypeError: *size* is not an integer.
        InvalidRequest: it is less than *lowest*.
    """
    number = check_int(size, what)
    if number < lowest:
        raise InvalidRequest(f"{what} must be at least {lowest}, not {shown(size)}")
    return number


def check_int(value: Any, what: str) -> int:
    """Return an integer as an `int`.

    Args:
        value: the argument.
        what: its name, for messages.

    Raises:
        TypeError: *value* is not an integer. A `bool` is not accepted.
    """
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        raise TypeError(f"{what} must be an int, not {_with_type(value)}")
    return index(value)


def check_generator(crt: Any) -> None:
    """Check that *crt* is a coroutine in the sense of this package, which is a generator.

    Raises:
        TypeError: it is not, for example because a method was passed without calling it.
    """
    if not hasattr(type(crt), "__next__") or not hasattr(crt, "throw"):
        raise TypeError(
            f"crt must be a generator, such as conn.co_read(10), not {type(crt).__name__}"
        )


def _with_type(value: object) -> str:
    """Return a value of the wrong type with its type, for a message."""
    return "None" if value is None else f"{shown(value)} (a {type(value).__name__})"
