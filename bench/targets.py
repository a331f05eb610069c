"""Targets: bounds for the figures.

A target is a figure that can be computed from the results, and the bound that it is held against.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.peers import DUGONG, LIMIT, ON_DUGONG
from bench.results import Results

#: By how much the cost of one unit may seem to grow before it counts as growing.
FLAT = 1.15


@dataclass(frozen=True)
class Target:
    """One thing wanted.

    Attributes:
        text: what is compared.
        wanted: the bound.
        at_least: whether it is the lower or the upper one.
        compute: returns the figure, and a word about it; raises `LookupError` or `ValueError` if
            what it needs was not measured.
    """

    text: str
    wanted: float
    at_least: bool
    compute: Callable[[Results], tuple[float, str]]

    def met(self, value: float) -> bool:
        return value >= self.wanted if self.at_least else value <= self.wanted


def times(case: str, client: str, wanted: float, key: str = "wall") -> Target:
    """dugong is at least *wanted* times as fast as *client*."""
    return Target(
        f"{case}: {'memory' if key == 'memory' else 'time'} of {client} / of dugong",
        wanted,
        True,
        lambda results: (results.ratio(case, client, key), ""),
    )


def cost(case: str, wanted: float) -> Target:
    """dugong takes at most *wanted* times as long as the limit."""
    return Target(
        f"{case}: time of dugong / of the limit",
        wanted,
        False,
        lambda results: (1 / results.ratio(case, LIMIT), ""),
    )


def share(case: str, wanted: float) -> Target:
    """dugong reaches the share *wanted* of the limit's speed."""
    return Target(
        f"{case}: speed of dugong / of the limit",
        wanted,
        True,
        lambda results: (results.ratio(case, LIMIT), ""),
    )


def ahead(case: str) -> Target:
    """dugong is ahead of every peer."""

    def compute(results: Results) -> tuple[float, str]:
        peer, ratio = results.best_peer(case)
        return ratio, peer

    return Target(f"{case}: time of the fastest peer / of dugong", 1.0, True, compute)


def pipelining() -> Target:
    def compute(results: Results) -> tuple[float, str]:
        peer, _ = results.best_peer("sequential")
        rates = results.rate("pipelined", "dugong"), results.rate("sequential", peer)
        return rates[0] / rates[1], peer

    return Target(
        "pipelined: rate of dugong / of the fastest peer's sequential", 5.0, True, compute
    )


def flat(group: str, small: int, large: int) -> Target:
    """The cost of one unit does not grow with their number."""

    def compute(results: Results) -> tuple[float, str]:
        first, last = (
            results.unit_cost(f"growth/{group}/{size}", DUGONG) for size in (small, large)
        )
        return last / first, ""

    text = f"growth/{group}: cost of one at {large:,} / at {small:,}"
    return Target(text, FLAT, False, compute)


def flat_slope(group: str, small: int, middle: int, large: int) -> Target:
    """What is added by one more does not grow with their number, fixed costs left aside."""

    def compute(results: Results) -> tuple[float, str]:
        a, b, c = (
            results.unit_cost(f"growth/{group}/{size}", DUGONG) * size
            for size in (small, middle, large)
        )
        return ((c - b) / (large - middle)) / ((b - a) / (middle - small)), ""

    text = f"growth/{group}: cost of one more up to {large:,} / up to {middle:,}"
    return Target(text, FLAT, False, compute)


def beside(case: str, other: str, wanted: float) -> Target:
    """A request of *case* takes dugong at most *wanted* times as long as one of *other*."""
    return Target(
        f"{case}: time of a request / of one in {other}",
        wanted,
        False,
        lambda results: (results.rate(other, DUGONG) / results.rate(case, DUGONG), ""),
    )


def crowd(small: int, large: int) -> Target:
    """The cost of a request does not grow with the number of tasks that wait."""

    def compute(results: Results) -> tuple[float, str]:
        first, last = (
            results.unit_cost(f"pool/asyncio/{tasks}", DUGONG) for tasks in (small, large)
        )
        return last / first, ""

    text = f"pool/asyncio: cost of a request with {large:,} tasks / with {small:,}"
    return Target(text, FLAT, False, compute)


def adapted(case: str, library: str, wanted: float = 1.0, key: str = "wall") -> Target:
    """A library is at least *wanted* times as fast with our adapter as without it."""

    def compute(results: Results) -> tuple[float, str]:
        return results.ratio(case, library, key, to=library + ON_DUGONG), ""

    of = "processor time" if key == "cpu" else "time"
    return Target(f"{case}: {of} of {library} without / with the adapter", wanted, True, compute)


TARGETS = [
    times("sequential", "pycurl", 1.0),
    times("sequential", "pyreqwest", 1.0),
    times("sequential", "http.client", 1.4),
    times("sequential", "requests", 5.0),
    cost("sequential", 1.4),
    times("pipelined", "dugong 3.8", 10.0),
    pipelining(),
    share("pipelined", 0.8),
    *(
        share(f"download/{form}/{way}", 0.95)
        for form in ("plain", "tls", "chunked-1m")
        for way in ("readinto", "read")
    ),
    *(
        ahead(f"download/{form}/{way}")
        for form in ("plain", "tls", "chunked-8k", "chunked-1m")
        for way in ("readinto", "read")
    ),
    share("upload/file/plain", 0.95),
    share("upload/file/tls", 0.95),
    *(
        ahead(f"upload/{source}/{form}")
        for source in ("file", "memory")
        for form in ("plain", "tls")
    ),
    times("asyncio/50", "aiohttp", 2.5),
    cost("asyncio/50", 1.6),
    times("trio/50", "httpx", 5.0),
    beside("pool/sequential", "sequential", 1.2),
    beside("pool/connect/tls", "connect/resumed", 1.2),
    crowd(50, 5000),
    beside("client/sequential", "sequential", 1.6),
    times("client/sequential", "requests", 5.5),
    times("client/sequential", "httpx", 4.5),
    times("client/sequential", "urllib3", 1.9),
    times("client/asyncio/50", "aiohttp", 1.6),
    adapted("client/sequential", "requests", 1.4),
    adapted("client/sequential", "httpx", 1.9),
    adapted("client/sequential", "httpx2", 1.9),
    adapted("client/asyncio/50", "httpx", 9.0, "cpu"),
    adapted("client/asyncio/50", "httpx2", 2.4, "cpu"),
    *(
        adapted(f"adapter/{way}/{size}", library)
        for way in ("get", "put")
        for size in ("1k", "64m")
        for library in ("requests", "httpx", "httpx2", "boto3")
    ),
    times("import", "http.client", 1.0),
    times("import", "http.client", 1.0, "memory"),
    flat("requests", 1, 10_000),
    flat("requests", 100, 10_000),
    flat_slope("fields", 5, 50, 500),
    flat("drip", 10_000, 1_000_000),
]


def judged(results: Results) -> Iterator[tuple[Target, float, str]]:
    """Yield each target that can be judged by these results, its figure, and a word about it."""
    for target in TARGETS:
        try:
            yield target, *target.compute(results)
        except (LookupError, ValueError):
            continue
