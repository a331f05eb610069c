"""Callables that a client calls. Their exceptions end the exchange and pass through unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, TypeVar

from ..errors import mark_as_callers

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
            mark_as_callers(exc)
            raise

    return call
