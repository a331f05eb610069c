"""`AsyncRequestClient` and `AsyncResponse`, for asyncio and trio."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Self

from ..connection.leased_aio import LeasedAsyncHTTPConnection
from ..drivers.loops import run_in_loop
from ..errors import StateError
from ..pool.aio import AsyncPool
from ..protocol.buffer import writable_view
from ..protocol.content import AsyncIterableContent
from ..protocol.limits import BUFFER_SIZE
from ..transport.within import Unset
from .client import BaseClient
from .lines import LINE_LIMIT, Lines
from .response import BaseResponse, check_n

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator
    from types import TracebackType
    from typing import Unpack

    from _typeshed import WriteableBuffer

    from ..protocol.messages import AsyncBody, WholeBody
    from ..transport.poll import Co, T
    from .call import Call
    from .client import CommonOptions

    class AsyncOptions(CommonOptions, total=False):
        """The keyword arguments of a request. `Client.request` documents them."""

        body: WholeBody | AsyncBody


class AsyncResponse(BaseResponse[LeasedAsyncHTTPConnection]):
    """A response of an `AsyncClient`. The methods are those of `Response`, and are awaited."""

    __slots__ = ()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    async def _run(self, crt: Co[T]) -> T:
        conn = self._conn
        try:
            result = await (run_in_loop(crt) if conn is None else conn.run(crt))
        except BaseException:
            self.end()
            raise
        self._after_reading()
        return result

    async def close(self) -> None:
        """Close the response. As `Response.close`."""
        self.end()

    async def read(self, n: int | None = None) -> bytes:
        """Read some of the body. As `Response.read`."""
        return await self._run(self._co_read(check_n(n)))

    async def readinto(self, buf: WriteableBuffer) -> int:
        """Read some of the body into a buffer. As `Response.readinto`."""
        return await self._run(self._co_readinto(writable_view(buf)))

    async def readall(self, limit: int | None = None) -> bytes:
        """Read the rest of the body. As `Response.readall`."""
        return await self._run(self._co_readall(self._limit(limit)))

    async def discard(self) -> None:
        """Receive the rest of the body and drop it. As `Response.discard`."""
        await self._run(self._co_discard())

    async def text(self, encoding: str | None = None) -> str:
        """Read the rest of the body as text. As `Response.text`."""
        return await self._run(self._co_text(self._encoding(encoding)))

    async def json(self) -> Any:
        """Read the rest of the body as JSON. As `Response.json`."""
        return await self._run(self._co_json())

    def lines(self, limit: int = LINE_LIMIT) -> AsyncResponseLines:
        """Return an async iterator over the lines of the body. As `Response.lines`."""
        return AsyncResponseLines(self, self._splitter(limit))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body in pieces, as they arrive."""
        while piece := await self.read(BUFFER_SIZE):
            yield piece

    async def raise_for_status(self) -> Self:
        """Return this response, unless its status is 4xx or 5xx. As `Response.raise_for_status`."""
        if self.status >= 400:
            await self._run(self._co_error_body())
        return self


class AsyncResponseLines(Lines[AsyncResponse]):
    """The lines of a response."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while (line := self._next_line()) is None and not self._splitter.ended:
            self._splitter.feed(await self._response.read(BUFFER_SIZE))
        if line is None:
            raise StopAsyncIteration
        return line


class PendingResponse(Awaitable[AsyncResponse], AbstractAsyncContextManager[AsyncResponse, None]):
    """A request that begins when it is awaited, or when its ``async with`` block is entered.

    Raises:
        StateError: it has begun before.
    """

    __slots__ = ("_call", "_client", "_response")

    def __init__(
        self, client: AsyncRequestClient, call: Call[LeasedAsyncHTTPConnection, Any]
    ) -> None:
        self._client = client
        self._call: Call[LeasedAsyncHTTPConnection, Any] | None = call
        self._response: AsyncResponse | None = None

    def __await__(self) -> Generator[Any, Any, AsyncResponse]:
        call, self._call = self._call, None
        if call is None:
            raise StateError("this request was awaited before: make another one")
        client = self._client
        perform = client._perform if call.pieces is None else client._perform_and_close
        return perform(call).__await__()

    async def __aenter__(self) -> AsyncResponse:
        self._response = await self
        return self._response

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._response is not None:
            await self._response.close()


class AsyncRequestClient(BaseClient[LeasedAsyncHTTPConnection, AsyncPool, AsyncResponse]):
    """Everything of `AsyncClient` but transfers, which `transfer.aio` adds."""

    _pool_kind = AsyncPool
    _response_kind = AsyncResponse

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    async def close(self) -> None:
        """Close the client, and its pool unless that is shared. As `Client.close`."""
        self._close()

    def _async_body(self, body: Any) -> AsyncIterableContent:
        return AsyncIterableContent(body)

    def request(self, method: str, url: str, **options: Unpack[AsyncOptions]) -> PendingResponse:
        """Send a request. As `Client.request`.

        Returns:
            An awaitable for the response, which is also an async context manager. Nothing is sent
            before that. It can be used once.
        """
        return PendingResponse(self, self.prepare(method, url, options))

    async def _perform_and_close(
        self, call: Call[LeasedAsyncHTTPConnection, AsyncResponse]
    ) -> AsyncResponse:
        """Perform a call whose body is an async iterable, and close that."""
        try:
            return await self._perform(call)
        except GeneratorExit:  # the event loop is gone
            raise
        except BaseException:
            assert call.pieces is not None
            await call.pieces.aclose()  # perhaps no connection has taken any of it
            raise

    async def _perform(self, call: Call[LeasedAsyncHTTPConnection, AsyncResponse]) -> AsyncResponse:
        self._pool.enter_loop()
        steps = call.steps()
        try:
            crt = next(steps)
            while True:
                try:
                    result = await self._run(call, crt)
                except GeneratorExit:
                    raise
                except BaseException as exc:
                    crt = steps.throw(exc)
                else:
                    crt = steps.send(result)
        except StopIteration as stop:
            response: AsyncResponse = stop.value
            return response
        finally:
            steps.close()

    def _run(self, call: Call[LeasedAsyncHTTPConnection, Any], crt: Co[T]) -> Awaitable[T]:
        conn, limits = call.conn, call.limits
        if conn is not None:
            return conn.run(crt, call.pieces)
        timeout = self.settings.timeout if isinstance(call.timeout, Unset) else call.timeout
        return run_in_loop(crt if limits is None else limits.co_keep(crt), timeout)

    def get(self, url: str, **options: Unpack[AsyncOptions]) -> PendingResponse:
        """Send a GET. As `request`."""
        return self.request("GET", url, **options)

    def head(self, url: str, **options: Unpack[AsyncOptions]) -> PendingResponse:
        """Send a HEAD. As `request`."""
        return self.request("HEAD", url, **options)

    def post(self, url: str, **options: Unpack[AsyncOptions]) -> PendingResponse:
        """Send a POST. As `request`."""
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Unpack[AsyncOptions]) -> PendingResponse:
        """Send a PUT. As `request`."""
        return self.request("PUT", url, **options)

    def patch(self, url: str, **options: Unpack[AsyncOptions]) -> PendingResponse:
        """Send a PATCH. As `request`."""
        return self.request("PATCH", url, **options)

    def delete(self, url: str, **options: Unpack[AsyncOptions]) -> PendingResponse:
        """Send a DELETE. As `request`."""
        return self.request("DELETE", url, **options)

    def options(self, url: str, **options: Unpack[AsyncOptions]) -> PendingResponse:
        """Send an OPTIONS. As `request`."""
        return self.request("OPTIONS", url, **options)
