"""Fifty connections in one thread, with blocking calls that yield to each other, by gevent.

    python examples/gevent_blocking.py HOST PORT PATH [PATH ...]

Each connection has a greenlet and fetches all paths. dugong blocks only in `select` and `socket`,
which gevent replaces, so the calls need no changes. Patch these modules before you import anything
else. The program prints each kind of response, and how often it arrived.

It needs gevent (`pip install gevent`).
The server must keep connections open, as `python -m http.server -p HTTP/1.1` on port 8000 does.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402
from collections import Counter  # noqa: E402
from hashlib import sha256  # noqa: E402

import gevent  # noqa: E402

from dugong import HTTPConnection  # noqa: E402

CONNECTIONS = 50

Seen = Counter[tuple[str, int, int, str]]


def fetch_all(host: str, port: int, paths: list[str], seen: Seen) -> None:
    """Fetch all of *paths* over one connection, with a time limit for each wait."""
    with HTTPConnection(host, port, timeout=60) as conn:
        for path in paths:
            conn.send_request("GET", path)
            response = conn.read_response()
            body = conn.readall()
            seen[path, response.status, len(body), sha256(body).hexdigest()] += 1


def main(host: str, port: int, paths: list[str]) -> None:
    seen: Seen = Counter()
    greenlets = [gevent.spawn(fetch_all, host, port, paths, seen) for _ in range(CONNECTIONS)]
    gevent.joinall(greenlets, raise_error=True)
    for (path, status, size, digest), count in sorted(seen.items()):
        print(f"{count} times {path}: {status}, {size} bytes, {digest[:16]}")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit("usage: gevent_blocking.py HOST PORT PATH [PATH ...]")
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
