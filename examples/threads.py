"""Two threads on one connection: one asks, the other reads the answers.

    python examples/threads.py HOST PORT PATH [PATH ...]

No request waits for the answer to the one before it (pipelining), and neither thread can hold up
the other for good: while the server waits for somebody to read, somebody reads. The queue tells
the reader how many answers to expect. What it prints is what came, and how often.

The server has to keep connections, as `python -m http.server -p HTTP/1.1` does, on port 8000.
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
    """Send a request for each of *paths*, and say so to the reader; in the end, say that."""
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
            # After an error, disconnecting wakes whoever sends. A request after that would
            # connect anew, so there must not be one.
            stop.set()
        asking.result()  # raises what ended the sending, if it did not end well
    for (path, status, size, digest), count in sorted(seen.items()):
        print(f"{count} times {path}: {status}, {size} bytes, {digest[:16]}")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit("usage: threads.py HOST PORT PATH [PATH ...]")
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
