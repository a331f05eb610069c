"""A client of a storage service: its own origin, ten threads, one pool.

    python examples/storage_client.py URL FILE [FILE ...]

It stores each file under URL, reads it back, and compares the digests. Ten threads do that
concurrently, over at most four connections. The server must support PUT and GET, as WebDAV does, or
S3 with anonymous access.

`Storage` leases a connection for one exchange at a time, so its methods can be called from any
thread. A response that is not read to its end, for example because its status is an error, costs
only a connection. A failed request is repeated if that is safe.
"""

from __future__ import annotations

import hashlib
import ssl
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlsplit

from dugong import ConnectionClosed, Origin, Pool, Timeouts

THREADS = 10
CONNECTIONS = 4
ATTEMPTS = 3

#: Bytes read at a time.
BLOCK = 256 * 1024


class Refused(Exception):
    """The server answered with an error."""


class Storage:
    """The objects below one URL."""

    def __init__(self, url: str, ssl_context: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self._origin = Origin(parts.scheme, parts.hostname or "", parts.port)
        self._path = parts.path.rstrip("/")
        self._pool = Pool(
            per_host=CONNECTIONS,
            timeout=Timeouts(pool=60, connect=10, send=30, receive=30),
            ssl_context=ssl_context,
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    def put(self, name: str, file: Path) -> None:
        """Store *file* as *name*."""
        with file.open("rb") as body:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    with self._pool.connection(self._origin) as conn:
                        response = conn.request("PUT", self._target(name), body=body)
                        conn.discard()
                    break
                except ConnectionClosed as exc:
                    # If the request can be repeated, the file is back at its original position.
                    if not exc.safe_to_retry or attempt == ATTEMPTS:
                        raise
        if response.status not in (200, 201, 204):
            raise Refused(f"PUT {name}: {response.status} {response.reason}")

    def get(self, name: str) -> Iterator[bytes]:
        """Yield the pieces of the object *name*. Leaving the iterator early is fine."""
        with self._pool.connection(self._origin) as conn:
            response = conn.request("GET", self._target(name))
            if response.status != 200:
                raise Refused(f"GET {name}: {response.status} {response.reason}")
            while piece := conn.read(BLOCK):
                yield piece

    def _target(self, name: str) -> str:
        return f"{self._path}/{quote(name)}"

    @property
    def connections(self) -> int:
        """The number of connections."""
        stats = self._pool.stats()
        return stats.idle + stats.leased


def store_and_compare(storage: Storage, file: Path) -> str:
    """Store a file and read it back. Returns what to print."""
    storage.put(file.name, file)
    with file.open("rb") as mine:
        expected = hashlib.file_digest(mine, "sha256").hexdigest()
    found, size = hashlib.sha256(), 0
    for piece in storage.get(file.name):
        found.update(piece)
        size += len(piece)
    if found.hexdigest() != expected:
        raise Refused(f"{file.name}: the server has something else")
    return f"{file.name}: {size} bytes, {expected[:16]}"


def main(url: str, files: list[Path]) -> None:
    storage = Storage(url)
    try:
        with ThreadPoolExecutor(THREADS) as threads:
            for line in threads.map(lambda file: store_and_compare(storage, file), files):
                print(line)
        print(f"{len(files)} files over {storage.connections} connections")
    finally:
        storage.close()


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: storage_client.py URL FILE [FILE ...]")
    main(sys.argv[1], [Path(name) for name in sys.argv[2:]])
