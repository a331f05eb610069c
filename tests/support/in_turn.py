"""`in_turn`: rows that share one test, where each of them is cheap."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from _pytest.mark import ParameterSet

from tests.support.wire import AnyWire

F = TypeVar("F", bound=Callable[..., Any])


def in_turn(
    names: str | tuple[str, ...],
    values: Iterable[Any],
    ids: Iterable[object] | Callable[[Any], object] | None = None,
) -> Callable[[F], F]:
    """Go through all rows in one test; a failure names the row. Arguments as for ``parametrize``.

    Each test costs some 10 ms of computing, in all processes together, besides what it does: to be
    collected, set up and reported. That is more than one exchange with a scripted peer.

    Between two rows, a wire closes everything that it has made. Other fixtures stay as they are: a
    test that changes what a fixture gives it is parametrised instead.
    """
    arguments = (names,) if isinstance(names, str) else names
    rows = [_row(arguments, value) for value in values]
    if ids is None:
        labels = [", ".join(f"{name}={row[name]!r}" for name in arguments) for row in rows]
    elif callable(ids):
        labels = [", ".join(str(ids(value)) for value in row.values()) for row in rows]
    else:
        labels = [f"{', '.join(arguments)}: {label}" for label in ids]
    assert len(labels) == len(rows)

    def decorate(test: F) -> F:
        if inspect.iscoroutinefunction(test):

            @functools.wraps(test)
            async def run(**fixtures: Any) -> None:
                for row, label in _each(rows, labels, fixtures):
                    with _noting(label):
                        await test(**fixtures, **row)
        else:

            @functools.wraps(test)
            def run(**fixtures: Any) -> None:
                for row, label in _each(rows, labels, fixtures):
                    with _noting(label):
                        test(**fixtures, **row)

        signature = inspect.signature(test)
        left = [value for name, value in signature.parameters.items() if name not in arguments]
        assert len(left) + len(arguments) == len(signature.parameters)
        run.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
        return run  # type: ignore[return-value]

    return decorate


def _row(names: tuple[str, ...], value: Any) -> dict[str, Any]:
    if isinstance(value, ParameterSet):
        assert not value.marks, "a row that shares its test cannot have its own marks"
        value = value.values if len(names) > 1 else value.values[0]
    return dict(zip(names, value if len(names) > 1 else (value,), strict=True))


@contextmanager
def _noting(label: str) -> Iterator[None]:
    try:
        yield
    except BaseException as exc:
        exc.add_note(f"in the row {label}")
        raise


def _each(
    rows: list[dict[str, Any]], labels: list[str], fixtures: dict[str, Any]
) -> Iterator[tuple[dict[str, Any], str]]:
    wires = [value for value in fixtures.values() if isinstance(value, AnyWire)]
    for row, label in zip(rows, labels, strict=True):
        yield row, label
        for wire in wires:
            wire.renew()
