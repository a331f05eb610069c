"""`AsyncClient`: requests and transfers, in asyncio and trio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from ..client.aio import AsyncRequestClient, AsyncResponse
from ..connection.async_source import AsyncSource
from ..connection.leased_aio import LeasedAsyncHTTPConnection
from ..drivers.loops import run_in_loop
from ..pool.aio import AsyncPool
from .client import Transfers
from .limits import LIMIT, MAX_BODY, PER_HOST, WINDOW
from .many import BaseMany

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable, Iterator
    from types import TracebackType
    from typing import BinaryIO, Unpack

    from ..client.client import Options
    from ..protocol.messages import WholeBody
    from .client import DownloadOptions, Path, Progress
    from .digests import Digests
    from .download import Download
    from .many import Sink, Wanted


class AsyncMany(BaseMany[AsyncResponse]):
    """The async iterator that `AsyncClient.many` returns. Also an async context manager."""

    def _iterator(self, requests: Any) -> Iterator[Any] | AsyncSource:
        if not hasattr(type(requests), "__aiter__"):
            found: Iterator[Any] = iter(requests)
            return found
        source = AsyncSource(requests)
        self._runner.can_wake()
        source.join(_Alarm(self._runner.wake))
        return source

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AsyncResponse | Exception:
        self._client.pool.enter_loop()
        self._pool.enter_loop()
        source = self._source
        if isinstance(source, AsyncSource) and not source.started:
            await source.start()
        result = await run_in_loop(self.co_next())
        if result is None:
            raise StopAsyncIteration
        return result

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Cancel what is in flight, and close the iterable of requests. May be called again."""
        source = self._source
        self.end()
        if isinstance(source, AsyncSource):
            await source.close()


class _Alarm:
    """Waits for an item of an `AsyncSource`, for as long as there are any."""

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake

    def done(self) -> bool:
        return False

    def set_result(self, result: None) -> None:
        self._wake()


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

    def many(
        self,
        requests: Iterable[Wanted] | AsyncIterable[Wanted],
        *,
        limit: int = LIMIT,
        per_host: int = PER_HOST,
        max_body: int | None = MAX_BODY,
        sink: Sink | None = None,
        window: int = WINDOW,
    ) -> AsyncMany:
        """Send many requests at a time, and iterate over their results as they arrive.

        ::

            async with client.many(urls) as results:
                async for result in results:
                    ...

        As `Client.many`. *requests* may also be an async iterable, which runs in a separate task.
        """
        return AsyncMany(
            self,
            requests,
            limit=limit,
            per_host=per_host,
            max_body=max_body,
            sink=sink,
            window=window,
        )
