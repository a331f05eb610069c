"""Going through a pipeline to its end, and what comes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from dugong import AsyncHTTPConnection, DugongError, HTTPResponse, Request
from tests.support.exchanges import Text

#: Failures of one pipeline after which it is not gone on with: more than any test brings about.
MOST_FAILURES = 60


@dataclass(frozen=True)
class Step:
    """What one step brought.

    Attributes:
        request: what it was about.
        response: its response, ``None`` if the step failed.
        body: what could be read, ``None`` if the step or reading failed.
        error: what was raised.
        reading: whether it was raised by reading the body.
    """

    request: Request
    response: HTTPResponse | None = None
    body: bytes | None = None
    error: Exception | None = None
    reading: bool = False

    @property
    def name(self) -> str:
        return f"{self.request.method} {self.request.path}"


@Text
async def walk(
    conn: AsyncHTTPConnection, /, requests: Any, errors: Any = DugongError, **options: Any
) -> list[Step]:
    """Go through a pipeline to its end, and on after each of these errors."""
    steps: list[Step] = []
    pipeline = conn.pipeline(requests, **options)
    while len([step for step in steps if step.error]) < MOST_FAILURES:
        try:
            response = await anext(pipeline)
        except StopAsyncIteration:
            return steps
        except errors as exc:
            about = vars(exc).get("unanswered") or (Request("", ""),)
            steps.append(Step(about[0], error=exc))
            continue
        request = response.request
        try:
            steps.append(Step(request, response, await conn.readall()))
        except errors as exc:
            steps.append(Step(request, response, error=exc, reading=True))
    raise AssertionError("it fails again and again") from steps[-1].error


def bodies(steps: list[Step]) -> list[bytes | None]:
    return [step.body for step in steps]


def paths(count: int, start: int = 0) -> list[str]:
    return [f"/{i}" for i in range(start, start + count)]


def expected(requests: Iterable[str]) -> list[bytes]:
    """What `tests.support.pipeline_server.answer` says to GET requests."""
    return [f"GET {path}".encode() for path in requests]


class Lazy:
    """An iterator that counts how many items were taken from it."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = iter(items)
        self.taken = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        item = next(self._items)
        self.taken += 1
        return item


class LazyAsync:
    """The same, as an asynchronous iterator."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._lazy = Lazy(items)

    @property
    def taken(self) -> int:
        return self._lazy.taken

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self._lazy)
        except StopIteration:
            raise StopAsyncIteration from None
