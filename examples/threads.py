"""Two threads on one connection: one sends requests, the other reads the responses.

    python examples/threads.py HOST PORT PATH [PATH ...]

No request waits for the response to the previous one (pipelining). There is no deadlock, because
one thread always reads. The queue notifies the reader of each request. The program prints each kind
of response, and how often it arrived.

The server must keep connections open, as `python -m http.server -p HTTP/1.1` on port 8000 does.
"""

from __future__ import annotations

import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from queue import SimpleQueue
from threading import Event

from dugong import HTTPConnection


def ask(
    conn: HTTPConnection, paths: list[str], asked: SimpleQueue[str | None], stop: Event
) -> None:
    """Send a request for each of *paths*, and notify the reader of each, and of the end."""
    try:
        for path in paths:
            if stop.is_set():
                break
            conn.send_request("GET", path)
            asked.put(path)
    finally:
        asked.put(None)


def main(host: str, port: int, paths: list[str]) -> None:
    asked: SimpleQueue[str | None] = SimpleQueue()
    stop = Event()
    seen: Counter[tuple[str, int, int, str]] = Counter()
    with ThreadPoolExecutor(1) as pool, HTTPConnection(host, port, timeout=60) as conn:
        asking = pool.submit(ask, conn, paths, asked, stop)
        try:
            while (path := asked.get()) is not None:
                response = conn.read_response()
                body = conn.readall()
                seen[path, response.status, len(body), sha256(body).hexdigest()] += 1
        finally:
            # After an error, disconnecting wakes the sender. A later request would
            # reconnect, so there must not be one.
            stop.set()
        asking.result()  # raises the exception of the sender, if there was one
    for (path, status, size, digest), count in sorted(seen.items()):
        print(f"{count} times {path}: {status}, {size} bytes, {digest[:16]}")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit("usage: threads.py HOST PORT PATH [PATH ...]")
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
