"""The clients: one module each.

A module has some of these classes, all made from a `Target`:

- ``Client``, blocking, one connection;
- ``AsyncioClient`` and ``TrioClient``, made from a target and a number of connections, with
  ``await get(worker, path)``.

and perhaps ``pipeline(target, path, count, depth, check)``.

The operations of ``Client``, of which a module has those that `bench.peers` says:

- ``get(path)`` returns the status, the value of `bench.content.FIELD` and the body;
- ``get_anew(path)`` does so by a connection of its own, closed afterwards;
- ``read(path, take)`` calls *take* with each piece of the body;
- ``readinto(path, buffer, take)`` too, with parts of the buffer;
- ``upload_file(path, file, size)`` and ``upload_memory(path, data)`` return status and body.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self


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
