"""Fifty connections in one thread, with an event loop of forty lines.

    python examples/selectors_loop.py HOST PORT PATH [PATH ...]

Each connection fetches all paths. When a coroutine of dugong has to wait, it yields a `PollNeeded`:
a descriptor, a mask, and possibly a time after which it must be resumed anyway. That is all a loop
needs, so any loop works. This one uses the standard library's `selectors`. The program prints each
kind of response, and how often it arrived.

The server must keep connections open, as `python -m http.server -p HTTP/1.1` on port 8000 does.
"""

from __future__ import annotations

import selectors
import sys
import time
from collections import Counter, deque
from collections.abc import Generator, Iterable
from hashlib import sha256

from dugong import POLLIN, POLLOUT, HTTPConnection, PollNeeded

CONNECTIONS = 50

Coroutine = Generator[PollNeeded, None, None]
Seen = Counter[tuple[str, int, int, str]]


def fetch_all(host: str, port: int, paths: list[str], seen: Seen) -> Coroutine:
    """Fetch all of *paths* over one connection."""
    with HTTPConnection(host, port) as conn:
        for path in paths:
            yield from conn.co_send_request("GET", path)
            response = yield from conn.co_read_response()
            body = yield from conn.co_readall()
            seen[path, response.status, len(body), sha256(body).hexdigest()] += 1


class Loop:
    """Resumes coroutines when they can continue."""

    def __init__(self, coroutines: Iterable[Coroutine]) -> None:
        self._selector = selectors.DefaultSelector()
        self._ready = deque(coroutines)
        self._waiting: dict[Coroutine, tuple[int, float]] = {}  # the descriptor, and the time limit

    def run(self) -> None:
        """Run until all coroutines have ended, or one has failed."""
        with self._selector:
            while self._ready or self._waiting:
                while self._ready:
                    self._resume(self._ready.popleft())
                if self._waiting:
                    self._wait()

    def _resume(self, coroutine: Coroutine) -> None:
        try:
            need = next(coroutine)
        except StopIteration:
            return
        events = selectors.EVENT_READ if need.mask & POLLIN else 0
        if need.mask & POLLOUT:
            events |= selectors.EVENT_WRITE
        # Each coroutine has its own connection, so no two of them wait for the same descriptor.
        self._selector.register(need.fd, events, coroutine)
        limit = float("inf") if need.timeout is None else time.monotonic() + need.timeout
        self._waiting[coroutine] = (need.fd, limit)

    def _wait(self) -> None:
        first = min(limit for _, limit in self._waiting.values())
        timeout = None if first == float("inf") else max(0.0, first - time.monotonic())
        woken = [key.data for key, _ in self._selector.select(timeout)]
        now = time.monotonic()
        late = [crt for crt, (_, limit) in self._waiting.items() if limit <= now]
        for coroutine in dict.fromkeys(woken + late):
            fd, _ = self._waiting.pop(coroutine)
            self._selector.unregister(fd)  # the next wait may be for another descriptor
            self._ready.append(coroutine)


def main(host: str, port: int, paths: list[str]) -> None:
    seen: Seen = Counter()
    Loop(fetch_all(host, port, paths, seen) for _ in range(CONNECTIONS)).run()
    for (path, status, size, digest), count in sorted(seen.items()):
        print(f"{count} times {path}: {status}, {size} bytes, {digest[:16]}")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit("usage: selectors_loop.py HOST PORT PATH [PATH ...]")
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
