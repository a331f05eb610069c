"""Callables that a client calls. Their exceptions end the exchange and pass through unchanged.

An exception that a callable raises looks like any other error by the time it reaches the client. If
it is a `ConnectionError`, for example, the request must not be sent again because of it. So such
exceptions are marked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


def marked(callback: Callable[P, T]) -> Callable[P, T]:
    """Return a callable that calls *callback*, and marks the exceptions that it raises."""

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return callback(*args, **kwargs)
        except Exception as exc:
            exc._from_callback = True  # type: ignore[attr-defined]
            raise

    return call


def is_marked(exc: BaseException) -> bool:
    """Return whether a callable has raised *exc*."""
    return getattr(exc, "_from_callback", False) is True
