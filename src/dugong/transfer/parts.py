"""Many URLs in parts, for several processes or machines.

Theory of operation
===================

1. What `Client.many` finds out about a host, such as the rate that it allows, is known in one
   process only. So no two processes may send requests to one host at a time.
2. `partition` assigns each host to one of `LANES` *lanes*, and each lane's URLs to parts. A part
   has the URLs of one lane, or of several if these have few.
3. `run_parts` has an executor run the parts. No two parts that share a lane run at a time, and
   they run in the order in which they came.
4. A part is a list of URLs, and its result a list of tuples. Both are pickled, and so is the name
   of the function between them. If a worker dies, its executor may run the part again elsewhere:
   the result of a part counts when it is complete.
"""

from __future__ import annotations

import re
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from zlib import crc32

from ..errors import InvalidRequest
from ..protocol.arguments import check_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ..protocol.headers import Headers

T = TypeVar("T")

#: Into how many groups the hosts are divided. Many more than there are workers, because some groups
#: have more URLs than others. Few enough that the parts that are being filled fit into memory.
LANES = 256

#: The most parts that wait for another one with the same lane.
_MOST_WAITING = 1000

#: The settings that are for `Client.many`. All others are for `Client`.
_FOR_MANY = frozenset({"limit", "per_host", "max_body", "sink", "window"})

_AUTHORITY = re.compile(r"[a-z][a-z0-9+.-]*://(?:[^/?#]*@)?([^/?#]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a list of URLs.

    Attributes:
        urls: the URLs.
        lanes: what other parts must not share with it while it runs.
    """

    urls: list[str]
    lanes: frozenset[int]


class Fetched(NamedTuple):
    """The result for one URL. It can be pickled.

    Attributes:
        url: the URL, as it was passed.
        status: the status code, ``None`` without a response.
        headers: the fields of the response, ``None`` without one.
        body: the decoded body. It is empty if a *sink* got it.
        error: the exception, ``None`` after a response.
    """

    url: str
    status: int | None
    headers: Headers | None
    body: bytes
    error: Exception | None


def partition(urls: Iterable[str], size: int) -> Iterator[Part]:
    """Divide URLs into parts, in constant memory.

    The URLs of a host have their order, within a part and from part to part. Parts with the same
    host share a lane.

    Args:
        urls: absolute URLs. The iterable may be endless.
        size: how many URLs a part has. The last ones have fewer.

    Returns:
        An iterator, which yields each `Part` as soon as it is full.

    Raises:
        TypeError, InvalidRequest: *size* is not a positive number.
    """
    return _partition(iter(urls), check_size(size, "size", 1))


def _partition(urls: Iterator[str], size: int) -> Iterator[Part]:
    filling: list[list[str]] = [[] for _ in range(LANES)]
    for url in urls:
        lane = _lane_of(url)
        part = filling[lane]
        part.append(url)
        if len(part) == size:
            filling[lane] = []
            yield Part(part, frozenset({lane}))
    rest: list[str] = []
    lanes: set[int] = set()
    for lane, part in enumerate(filling):
        if rest and len(rest) + len(part) > size:
            yield Part(rest, frozenset(lanes))
            rest, lanes = [], set()
        if part:
            rest = rest + part
            lanes.add(lane)
    if rest:
        yield Part(rest, frozenset(lanes))


def _lane_of(url: str) -> int:
    found = _AUTHORITY.match(url)
    return crc32((found[1] if found else url).lower().encode("utf-8", "replace")) % LANES


def run_parts(
    executor: Executor,
    function: Callable[[Sequence[str], Mapping[str, Any]], T],
    parts: Iterable[Part],
    settings: Mapping[str, Any] | None = None,
    *,
    limit: int = 8,
) -> Iterator[tuple[Part, T]]:
    """Call a function with each part, in other processes or on other machines.

    Args:
        executor: an executor of `concurrent.futures`, such as ``ProcessPoolExecutor()``, or the
            one that ``get_executor()`` of a Dask client returns.
        function: `fetch_part`, or another function that can be pickled.
        parts: what `partition` returns.
        settings: the second argument of *function*.
        limit: how many parts run at a time: at least as many as there are workers.

    Yields:
        Each part and its result, in order of completion.

    Raises:
        Exception: the function has raised it, or the executor has given up. The other parts that
            were running are cancelled, if possible.
    """
    limit = check_size(limit, "limit", 1)
    lines = _Lines(iter(parts))
    running: dict[Future[T], Part] = {}
    try:
        while True:
            while len(running) < limit and (part := lines.take()) is not None:
                running[executor.submit(function, part.urls, dict(settings or {}))] = part
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                part = running.pop(future)
                lines.busy -= part.lanes
                yield part, future.result()
    finally:
        for future in running:
            future.cancel()


class _Lines:
    """The parts that have not begun (rule 3)."""

    def __init__(self, parts: Iterator[Part]) -> None:
        self._parts = parts
        self._waiting: deque[Part] = deque()
        self.busy: set[int] = set()  # the lanes of the parts that run

    def take(self) -> Part | None:
        """Return the first part that may begin; ``None`` if there is none now."""
        blocked = set(self.busy)
        for part in self._waiting:
            if part.lanes.isdisjoint(blocked):
                self._waiting.remove(part)
                self.busy |= part.lanes
                return part
            blocked |= part.lanes
        while len(self._waiting) < _MOST_WAITING:
            found = next(self._parts, None)
            if found is None:
                break
            if found.lanes.isdisjoint(blocked):
                self.busy |= found.lanes
                return found
            self._waiting.append(found)
            blocked |= found.lanes
        return None


def fetch_part(urls: Sequence[str], settings: Mapping[str, Any] | None = None) -> list[Fetched]:
    """Fetch the URLs of one part with `Client.many`. This function can be pickled.

    Args:
        urls: absolute URLs.
        settings: keyword arguments of `Client` and of `Client.many`. They are pickled, too. A
            *sink* writes to the disk of the worker.

    Returns:
        A result for each URL, in order of completion.

    Raises:
        TypeError, InvalidRequest: a setting is not valid.
    """
    from .client import Client

    settings = dict(settings or {})
    for_many = {name: settings.pop(name) for name in _FOR_MANY & settings.keys()}
    if "base_url" in settings:
        raise InvalidRequest("a part has absolute URLs: leave base_url out")
    results: list[Fetched] = []
    with Client(**settings) as client, client.many(urls, **for_many) as found:
        for result in found:
            url: str = result.request.given  # type: ignore[union-attr]
            if isinstance(result, Exception):
                results.append(Fetched(url, None, None, b"", result))
            else:
                body = result.readall()
                results.append(Fetched(url, result.status, result.headers, body, None))
    return results
