"""`AsyncClient`: requests and transfers, in asyncio and trio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..client.aio import AsyncRequestClient, AsyncResponse
from ..connection.leased_aio import LeasedAsyncHTTPConnection
from ..drivers.loops import run_in_loop
from ..pool.aio import AsyncPool
from .client import Transfers

if TYPE_CHECKING:
    from typing import BinaryIO, Unpack

    from ..client.client import Options
    from ..protocol.messages import WholeBody
    from .client import DownloadOptions, Path, Progress
    from .digests import Digests
    from .download import Download


class AsyncClient(
    AsyncRequestClient, Transfers[LeasedAsyncHTTPConnection, AsyncPool, AsyncResponse]
):
    """Requests for URLs, for programs that run in asyncio or trio.

    ::

        async with AsyncClient() as client:
            response = await client.get("https://www.example.org/")
            text = await response.text()

            async with client.get("https://www.example.org/large") as response:
                async for piece in response:
                    ...

    The arguments and methods are those of `Client`. *pool* is an `AsyncPool`. *body* may also be an
    async iterable of bytes, as for `AsyncHTTPConnection.request`.

    A client outlives the loop in which it was used. While that loop runs, no other one can use it.
    """

    async def download(
        self,
        url: str,
        target: Path | BinaryIO,
        *,
        resume: bool = True,
        parts: int = 1,
        digest: Digests | None = None,
        progress: Progress | None = None,
        **options: Unpack[DownloadOptions],
    ) -> Download:
        """Download a resource to a file. As `Client.download`."""
        crt = self.co_download(
            url, target, resume=resume, parts=parts, digest=digest, progress=progress, **options
        )
        self.pool.enter_loop()
        return await run_in_loop(crt)

    async def upload(
        self,
        source: Path | WholeBody,
        url: str,
        *,
        method: str = "PUT",
        progress: Progress | None = None,
        **options: Unpack[Options],
    ) -> AsyncResponse:
        """Upload a file. As `Client.upload`."""
        crt = self.co_upload(source, url, method=method, progress=progress, **options)
        self.pool.enter_loop()
        return await run_in_loop(crt)
