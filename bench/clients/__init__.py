"""The clients: one module each.

A module has some of these classes, all made from a `Target`:

- ``Client``, blocking, one connection;
- ``AsyncioClient`` and ``TrioClient``, made from a target and a number of connections, with
  ``await get(worker, path)``.

and perhaps ``pipeline(target, path, count, depth, check)``. A client that works with and without a
pool also has ``PoolClient``, as ``Client``, and ``AsyncioPoolClient``, as ``AsyncioClient`` but
with `POOL_SIZE` connections, regardless of the number of tasks.

The operations of ``Client``, of which a module has those that `bench.peers` says:

- ``get(path)`` returns the status, the value of `bench.content.FIELD` and the body;
- ``get_anew(path)`` does so by a connection of its own, closed afterwards;
- ``read(path, take)`` calls *take* with each piece of the body;
- ``readinto(path, buffer, take)`` too, with parts of the buffer;
- ``upload_file(path, file, size)`` and ``upload_memory(path, data)`` return status and body.

A client that is also a command has functions that return a `Command` for a list of URLs:

- ``get(urls)`` writes the bodies to standard output, in the order of the URLs;
- ``save(urls)`` writes each to a file in the current folder, named as in the URL;
- ``download(urls, connections)`` does the same over several connections, on a disk;
- ``check(urls)`` makes HEAD requests and writes a line for each URL, in any order: the URL, a
  colon, a space and the status, perhaps with more around them.

A module whose client is not a Python distribution has ``version()``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

#: Connections of a pool that more tasks share.
POOL_SIZE = 50


@dataclass(frozen=True)
class Target:
    """Where the server is.

    Attributes:
        cafile: path of the certificate of the authority to trust; None without TLS.
        resume: whether new connections are to resume the TLS session of the one before.
    """

    host: str
    port: int
    cafile: str | None = None
    resume: bool = False

    def url(self, path: str = "") -> str:
        """Return an absolute URL."""
        scheme = "https" if self.cafile else "http"
        return f"{scheme}://{self.host}:{self.port}{path}"

    def context(self) -> Any:
        """Return an `ssl.SSLContext` that trusts the authority, or ``None`` without TLS."""
        if self.cafile is None:
            return None
        import ssl

        if self.resume:
            from .resuming import ResumingContext

            context: ssl.SSLContext = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)
        else:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.cafile)
        return context


class Command(NamedTuple):
    """A command that is run as a process, and what it reads from standard input."""

    arguments: list[str]
    stdin: str = ""


class Closing:
    """Something to be closed at the end of a ``with`` block."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open."""


class AsyncClosing:
    """Something to be closed at the end of an ``async with`` block."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close what is open."""
