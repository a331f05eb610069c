"""`AsyncHTTPConnection`: every operation as an async method.

Each method runs the coroutine of the same name, and waits in asyncio or trio.

`AioFuture` is for programs written for dugong 3: it runs a coroutine in asyncio.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterable
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, Self

from ..drivers.loops import (
    Watch,
    expire,
    park_in_asyncio,
    pause,
    running_task,
    running_trio,
    wait_in_asyncio,
    wait_in_trio,
    wait_parked,
    watches,
)
from ..errors import StateError
from ..protocol.arguments import check_generator
from ..protocol.content import AsyncIterableContent
from ..protocol.exchange import Exchange
from ..protocol.messages import HTTPResponse
from ..transport.connect import Route
from ..transport.poll import Co, Limits, PollNeeded, T, quiet, timed_out
from ..transport.stream import AT_ONCE
from ..transport.timeouts import Timeouts
from ..transport.within import UNSET
from .async_body import BodySteps
from .async_source import AsyncSource
from .connection import Connection
from .pipeline.pipeline import DEFAULT_DEPTH, Pipeline
from .pipeline.queue import QueuedRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from types import TracebackType

    from _typeshed import ReadableBuffer, WriteableBuffer

    from ..protocol.messages import AsyncBody, Body, HeadersArgument, Request, WholeBody
    from ..transport.within import Unset

    Requests = Iterable[str | tuple[str, str] | Request]
    AsyncRequests = AsyncIterable[str | tuple[str, str] | Request]


class AsyncHTTPConnection(Connection):
    """A connection to one HTTP/1.1 server, for programs that run in asyncio or trio.

    The constructor takes the arguments of `HTTPConnection`. The operations are async methods with
    the same arguments, results and errors. Each call detects which library is running.

    One task may send requests while another reads responses. You may cancel any call. A read that
    was cancelled loses nothing: call it again. If a request was partly sent when it was cancelled,
    nothing more can be sent, and the next send raises `ConnectionClosed`. `timeout` and `deadline`
    apply as in `HTTPConnection`.

    Use it in ``async with``, or call `disconnect` when you are done.
    """

    _kept: weakref.ref[Watch] | None = None
    _body_steps: BodySteps | None = None  # of the body that is being sent

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.disconnect()

    def __del__(self) -> None:
        watch = self._kept_watch() if "_kept" in self.__dict__ else None
        if watch is not None:
            watch.close_from_anywhere()  # it holds the descriptor, so the socket would stay open

    def _caller(self) -> object:
        return get_ident(), running_task()

    def _disown(self) -> None:
        super()._disown()
        self._kept = self._body_steps = None

    def _kept_watch(self) -> Watch | None:
        return None if self._kept is None else self._kept()

    def disconnect(self) -> None:
        super().disconnect()
        steps = self._body_steps
        if steps is not None:
            steps.wake()

    disconnect.__doc__ = Connection.disconnect.__doc__

    async def _run(
        self, crt: Co[T], source: AsyncSource | None = None, steps: BodySteps | None = None
    ) -> T:
        result: T
        try:
            trio = running_trio()
            limits = None if steps is None else steps.limits
            if limits is None and (self._deadline is not None or source is not None):
                limits = self._limits()
            if trio is not None:
                await trio.lowlevel.checkpoint_if_cancelled()
            try:
                need = next(crt)
            except StopIteration as stop:  # most calls never wait
                result = stop.value
                if trio is not None:
                    try:
                        await trio.lowlevel.cancel_shielded_checkpoint()
                    except BaseException as exc:
                        # A signal handler has raised this, and the caller never sees the result.
                        # The next read would return the data after the lost result, and the
                        # caller could not notice the gap. So the response fails.
                        if result is not None and self._response_session is not None:
                            self._response_session.state.fail(exc)
                        raise
                return result
            timeout = self._timeout
            if trio is None and not isinstance(timeout, Timeouts):
                while limits is None and need.timeout is None and need.body is None:  # most waits
                    if await self._wait_in_asyncio(need, timeout) or timeout is None:
                        need = next(crt)
                    else:
                        need = crt.throw(timed_out(quiet(timeout, need.phase), need.phase))
            limits = limits or self._limits()
            while True:
                if need.body is not None and steps is None:
                    steps = BodySteps(crt, limits)
                    return await self._run_body(crt, source, steps, need.body)
                seconds, too_long = limits.next_wait(need)
                ready: bool | None = False
                if limits.over:
                    pass
                elif need.body is not None and steps is not None:
                    ready = await steps.fetch(need, seconds)
                    if steps.has_news:
                        need = steps.news()
                        continue
                elif trio is not None:
                    ready = await wait_in_trio(trio, need, seconds, source)
                else:
                    ready = await self._wait_in_asyncio(need, seconds, source)
                if ready:
                    limits.moved()
                if ready is not False or too_long is None:
                    need = next(crt)
                else:
                    need = crt.throw(timed_out(too_long, limits.phase))
        except StopIteration as stop:
            result = stop.value
            return result
        except BaseException:
            crt.close()  # as in `HTTPConnection._run`
            raise

    async def _run_body(
        self, crt: Co[T], source: AsyncSource | None, steps: BodySteps, body: AsyncIterableContent
    ) -> T:
        """Run the rest of *crt*, which is about to fetch *body*, and close *body*."""
        async with steps:
            self._body_steps = steps
            try:
                return await self._and_close(
                    self._run(crt, source, steps), partial(steps.close, body)
                )
            except BaseException:
                if steps.has_news:
                    # The news may be a response that the caller never sees. If the connection
                    # stayed open, the next reading call would return its body.
                    self.disconnect()
                raise
            finally:
                if self._body_steps is steps:
                    self._body_steps = None
        raise AssertionError("a coroutine has waited after it was cut short")

    async def _and_close(self, call: Awaitable[T], close: Callable[[], Awaitable[None]]) -> T:
        """Await *call*, then *close*, even if the call raises.

        There is one exception. A `GeneratorExit` means that the event loop is gone, and that
        nothing can be awaited any more.
        """
        try:
            result = await call
        except GeneratorExit:
            raise
        except BaseException:
            await close()
            raise
        try:
            await close()
        except BaseException:
            self.disconnect()  # the caller never sees the response
            raise
        return result

    def _limits(self) -> Limits:
        return Limits(self._timeout, self._deadline, self._monitor.bytes_moved)

    def _wait_in_asyncio(
        self, need: PollNeeded, seconds: float | None, source: AsyncSource | None = None
    ) -> Awaitable[bool | None]:
        loop = asyncio.get_running_loop()
        if need.parks:
            return wait_parked(loop, need, seconds)
        kept = self._kept_watch()
        if kept is not None and kept.serves(loop, need):
            joined = (kept,) if source is None else (kept, source)
            return wait_in_asyncio(loop, joined, seconds, keep=True)
        watched = watches(loop, need)
        stream = self._session.stream if self._session is not None else None
        # Most waits are for data on the same socket, so that registration is kept. The comparison
        # ignores the timeout of *need*.
        keep = stream is not None and need == stream.want_read
        if keep and stream is not None:
            if kept is not watched[0]:
                if kept is not None:
                    kept.close_from_anywhere()  # it is of another loop
                self._kept = weakref.ref(watched[0])
                watched[0].close_with(self)
            keep = watched[0].hold(stream)
        return wait_in_asyncio(
            loop, watched if source is None else [*watched, source], seconds, keep
        )

    async def connect(self) -> None:
        """Connect, unless already connected. As `HTTPConnection.connect`."""
        await self._run(self.co_connect())

    async def send_request(
        self,
        method: str,
        path: str,
        headers: HeadersArgument | None = None,
        body: Body | AsyncBody = None,
        expect100: bool = False,
        *,
        deadline: float | None = None,
    ) -> None:
        """Send a request. Connects if necessary. As `HTTPConnection.send_request`.

        *body* may also be an async iterable, as for `request`. This does not watch for an early
        response: it sends the whole body even if the server refuses it meanwhile.
        """
        if body is not None and hasattr(type(body), "__aiter__"):
            pieces: Any = AsyncIterableContent(body)
            crt = self.co_send_request(method, path, headers, pieces, expect100, deadline=deadline)
            await self._and_close(self._run(crt), pieces.aclose)
            return
        whole: Any = body
        if running_trio() is not None:
            await self._run(
                self.co_send_request(method, path, headers, whole, expect100, deadline=deadline)
            )
            return
        rest = self._start_request(method, path, headers, whole, expect100, deadline)
        if rest is not None:
            try:
                await self._run(rest)
            finally:
                rest.close()

    async def request(
        self,
        method: str,
        path: str,
        headers: HeadersArgument | None = None,
        body: WholeBody | AsyncBody = None,
        expect100: bool | None = None,
        *,
        timeout: float | Timeouts | Unset | None = UNSET,  # noqa: ASYNC109 - replaces an attribute
        deadline: float | None = None,
    ) -> HTTPResponse:
        """Send a request and read the head of its response. As `HTTPConnection.request`.

        *body* may also be an async iterable of bytes-like objects, such as an async generator. It
        is sent in chunks like an iterable, and is one-shot:

        - The iterable runs in the caller's task. Each item is sent before the next is taken.
          Cancel scopes and task groups may stay open in the iterable from one item to the next.
        - While the iterable waits, *deadline* applies, but `timeout` does not.
        - If the deadline passes while the iterable waits, its step is cancelled. The same happens
          if a response refuses the body or the connection ends.
        - The iterable is closed (``aclose``) before this call returns or raises.
        - Exceptions that the iterable raises pass through unchanged.
        """
        if body is not None and hasattr(type(body), "__aiter__"):
            pieces: Any = AsyncIterableContent(body)
            crt = self.co_request(
                method, path, headers, pieces, expect100, timeout=timeout, deadline=deadline
            )
            return await self._and_close(self._run(crt), pieces.aclose)
        whole: Any = body
        return await self._run(
            self.co_request(
                method, path, headers, whole, expect100, timeout=timeout, deadline=deadline
            )
        )

    async def write(self, buf: ReadableBuffer) -> None:
        """Send a part of a body announced by `BodyFollowing`. As `HTTPConnection.write`."""
        await self._run(self.co_write(buf))

    async def end_body(self, trailers: HeadersArgument | None = None) -> None:
        """End a body of unknown length. As `HTTPConnection.end_body`."""
        await self._run(self.co_end_body(trailers))

    async def read_response(self) -> HTTPResponse:
        """Read the head of the next response. As `HTTPConnection.read_response`."""
        return await self._run(self.co_read_response())

    async def read(self, n: int | None = None) -> bytes:
        """Read at most *n* bytes of the body, all of it by default. As `HTTPConnection.read`."""
        return await self._run(self.co_read(n))

    async def readinto(self, buf: WriteableBuffer) -> int:
        """Read a part of the body directly into *buf*. As `HTTPConnection.readinto`."""
        return await self._run(self.co_readinto(buf))

    async def readall(self, limit: int | None = None) -> bytes:
        """Read the rest of the body. As `HTTPConnection.readall`.

        If this is cancelled, the next reading call returns the data that has been received.
        """
        if self._deadline is None and running_trio() is None:
            match self._try_readall(limit, AT_ONCE):  # as in `HTTPConnection._read`
                case PollNeeded():
                    pass
                case got:
                    return got
        return await self._run(self.co_readall(limit))

    async def discard(self) -> None:
        """Read the rest of the body and drop it. As `HTTPConnection.discard`."""
        await self._run(self.co_discard())

    def pipeline(
        self,
        requests: Requests | AsyncRequests,
        depth: int = DEFAULT_DEPTH,
        *,
        deadline: float | None = None,
    ) -> AsyncPipeline:
        """Send many requests without waiting, and iterate over their responses in order.

        ::

            async for response in conn.pipeline(["/a", "/b", "/c"]):
                body = await conn.readall()

        As `HTTPConnection.pipeline`, with two additions:

        - A request's body may be an async iterable, as for `request`. Such a request is sent while
          no other is in flight. The step that returns its response sends the body and closes the
          iterable.
        - *requests* may be an async iterable. Responses are delivered while it waits, so its items
          may depend on them. While the pipeline waits only for the iterable, *deadline* applies,
          but `timeout` does not.

        An async iterable of requests runs in its own task, in the context of the task that takes
        the first step. Cancel scopes, task groups and time limits may stay open in it from one
        item to the next, and context variables work as in a plain ``async for``. An exception that
        it raises takes the place of the next response. If you leave the pipeline early, the
        iterable is closed in its task. `AsyncPipeline.aclose` waits until that is done; use
        `contextlib.aclosing` to call it.
        """
        return AsyncPipeline(self, requests, depth, deadline)

    async def get_ssl_peercert(self, binary_form: bool = False) -> Any:
        """Return the server's certificate. Connects if necessary.

        As `HTTPConnection.get_ssl_peercert`.
        """
        return await self._run(self.co_get_ssl_peercert(binary_form))

    async def get_ssl_cipher(self) -> tuple[str, str, int] | None:
        """Return the cipher in use. Connects if necessary. As `HTTPConnection.get_ssl_cipher`."""
        return await self._run(self.co_get_ssl_cipher())


#: Waits for no descriptor, only for the async iterable.
_SOURCE_ALONE = PollNeeded(-1, 0, phase="send")


class AsyncPipeline(Pipeline):
    """The async iterator that `AsyncHTTPConnection.pipeline` returns."""

    _connection: AsyncHTTPConnection

    def __init__(
        self,
        connection: AsyncHTTPConnection,
        requests: Requests | AsyncRequests,
        depth: int,
        deadline: float | None,
    ) -> None:
        self._source: AsyncSource | None = None
        self._closed = False
        self._stepping = False
        self._bodies: dict[QueuedRequest, AsyncIterableContent] = {}  # to be closed
        if isinstance(requests, AsyncIterable):
            requests = self._source = AsyncSource(requests)
        super().__init__(connection, requests, depth, deadline)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> HTTPResponse:
        if self._closed:
            raise StopAsyncIteration
        if self._stepping:
            raise StateError("another task is iterating over this pipeline")
        self._stepping = True
        source = self._source
        try:
            if source is not None and not source.started:
                await source.start()
            got = await self._connection._run(super().co_next(), source)
        except GeneratorExit:
            raise
        except BaseException:
            if self._bodies:
                await self._close_bodies()
            raise
        else:
            if self._bodies:
                await self._close_bodies()
        finally:
            self._stepping = False
        if got is None:
            raise StopAsyncIteration
        return got

    def _prepare_async(self, route: Route, item: QueuedRequest) -> Exchange:
        if not self._stepping:  # driven as a coroutine, which cannot await the iterable
            return super()._prepare_async(route, item)
        # `prepare` takes the body from the request, in the form in which it is sent. The request is
        # the caller's object, so it gets its own body back.
        request, body = item.request, item.request.body
        pieces = self._bodies[item] = AsyncIterableContent(body)
        request.body = pieces
        try:
            return super()._prepare_async(route, item)
        finally:
            request.body = body

    async def _close_bodies(self, *, all_of_them: bool = False) -> None:
        """Close the bodies of requests that have been answered or have failed.

        Args:
            all_of_them: close the bodies of all requests, because the pipeline is being left.
        """
        for item, body in list(self._bodies.items()):
            if all_of_them or not self._items.has(item):
                del self._bodies[item]
                try:
                    await body.aclose()
                except BaseException:
                    self._connection.disconnect()  # the caller never sees the response
                    raise

    def co_next(self) -> Co[HTTPResponse | None]:
        """Return one step as a coroutine, as for `HTTPConnection.pipeline`.

        Raises:
            StateError: *requests* is an async iterable, which requires ``async for``.
        """
        if self._source is not None:
            raise StateError("a pipeline of an async iterable has no coroutines: use async for")
        return super().co_next()

    def _try_next(self) -> HTTPResponse | PollNeeded | None:
        got = super()._try_next()
        if self._source is None or isinstance(got, HTTPResponse):
            return got
        self._source.want(self._depth - len(self._items.queue))
        return _SOURCE_ALONE if got is None and not self._items.ended else got

    async def aclose(self) -> None:
        """Leave the pipeline early, and wait until its async iterable is closed, if it has one.

        A step of the iterable that is under way is cancelled. The pipeline returns no further
        responses. Deleting the pipeline also closes the iterable, but no call waits for that.

        Raises:
            StateError: the iterable itself calls this.
            BaseException: any exception that closing the iterable raised.
        """
        self._closed = True
        try:
            await self._close_bodies(all_of_them=True)
        finally:
            if self._source is not None:
                await self._source.close()
            else:
                await pause()

    def __del__(self) -> None:
        source = getattr(self, "_source", None)
        if source is not None:
            source.stop()


class AioFuture(asyncio.Future[T]):
    """Runs a generator coroutine in asyncio. The future has the result of the coroutine.

    Deprecated: `AsyncHTTPConnection` is simpler, and also works in trio.

    Cancelling the future closes the coroutine.

    Args:
        crt: any generator that yields `PollNeeded`.
        loop: the loop to run in. The default is the current one.

    Raises:
        TypeError: *crt* is not a generator.
    """

    def __init__(self, crt: Co[T], loop: asyncio.AbstractEventLoop | None = None) -> None:
        check_generator(crt)
        super().__init__(loop=loop)
        self._crt = crt
        self._watched: list[Watch] = []
        self._ready: asyncio.Future[bool | None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._unpark: Callable[[], object] | None = None
        self.get_loop().call_soon(self._step)

    def _step(self, ready: object = None) -> None:
        self._stop_waiting()
        if self.done():
            return
        try:
            self._wait(next(self._crt))
        except StopIteration as stop:
            self.set_result(stop.value)
        except (KeyboardInterrupt, SystemExit) as exc:
            self.set_exception(exc)
            raise
        except BaseException as exc:  # the task that awaits this future gets it
            self._crt.close()
            self.set_exception(exc)

    def _wait(self, need: PollNeeded) -> None:
        # `cancel` does not close a running coroutine. If the step itself has cancelled the future,
        # that is done here.
        if self.done():
            self._crt.close()
            return
        loop = self.get_loop()
        self._watched = [] if need.parks else watches(loop, need)
        self._ready = loop.create_future()
        self._ready.add_done_callback(self._step)
        if need.parks:
            self._unpark = park_in_asyncio(loop, need, self._ready)
        for watch in self._watched:
            watch.join(self._ready)
        if need.timeout is not None:
            self._timer = loop.call_later(need.timeout, expire, self._ready)

    def _stop_waiting(self) -> None:
        if self._ready is None:
            return
        self._ready.remove_done_callback(self._step)
        for watch in self._watched:
            watch.leave(self._ready, keep=False)
        if self._unpark is not None:
            self._unpark()
            self._unpark = None
        if self._timer is not None:
            self._timer.cancel()
        self._ready, self._watched, self._timer = None, [], None

    def cancel(self, msg: Any = None) -> bool:
        """Cancel the future, and close the coroutine."""
        if self.done():
            return False
        try:
            return super().cancel(msg)
        finally:  # cancelling raises if the loop is closed, because it schedules callbacks there
            self._stop_waiting()
            if not getattr(self._crt, "gi_running", False):
                self._crt.close()
