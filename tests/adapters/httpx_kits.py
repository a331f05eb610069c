"""The adapters for httpx and httpx2 in each style, for tests that run in all of them.

Such a test is an ``async def``. It gets a `Kit` and, if it has these arguments, a new `site` and
other fixtures::

    @each_kit
    async def test_it_reads(kit: Kit, site: Site) -> None:
        async with kit.client() as client:
            assert (await client.request("GET", site.url)).text == "ok"

It runs once for each library and style, one after the other in one test. In the blocking style, the
methods of the client are called, and nothing is awaited.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any, Self

import httpcore
import httpcore2
import httpx
import httpx2
import trio

import dugong.adapters.httpx
import dugong.adapters.httpx2
from tests.support.site import site


class Kit:
    """One of the libraries, in one of the styles.

    Attributes:
        library: httpx or httpx2.
        core: httpcore or httpcore2.
        adapter: the module with the transports.
        style: ``blocking``, ``asyncio`` or ``trio``.
    """

    def __init__(
        self, library: ModuleType, core: ModuleType, adapter: ModuleType, style: str
    ) -> None:
        self.library: Any = library
        self.core: Any = core
        self.adapter: Any = adapter
        self.style = style

    @property
    def name(self) -> str:
        return f"{self.library.__name__}-{self.style}"

    @property
    def is_async(self) -> bool:
        return self.style != "blocking"

    def transport(self, **arguments: Any) -> Any:
        kind = "AsyncDugongTransport" if self.is_async else "DugongTransport"
        return getattr(self.adapter, kind)(**arguments)

    def client(self, transport: Any = None, **arguments: Any) -> Client:
        return Client(self, transport or self.transport(), arguments)

    def limits(self, *args: Any, **kwargs: Any) -> Any:
        """Return an ``httpx.Timeout`` with no limit except the given ones."""
        return self.library.Timeout(None, *args, **kwargs)

    def body(self, pieces: Iterable[Any]) -> Any:
        """Return a one-shot body that yields *pieces*; exceptions among them are raised."""

        def blocking() -> Any:
            for piece in pieces:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece

        async def awaited() -> Any:
            for piece in blocking():
                yield piece

        return awaited() if self.is_async else blocking()

    def trace(self, callback: Callable[[str, Any], None]) -> Any:
        """Return a callback for the extension ``trace``."""

        async def awaited(name: str, info: Any) -> None:
            if self.style == "trio":
                await trio.lowlevel.checkpoint()
            else:
                await asyncio.sleep(0)
            callback(name, info)

        return awaited if self.is_async else callback

    def run(self, test: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if self.style == "asyncio":
            asyncio.run(test())
        elif self.style == "trio":
            trio.run(test)
        else:
            crt = test()
            try:
                crt.send(None)
            except StopIteration:
                return
            finally:
                crt.close()
            raise AssertionError("a blocking test has waited")


class Client:
    """A client of the library; all its methods are awaited."""

    def __init__(self, kit: Kit, transport: Any, arguments: dict[str, Any]) -> None:
        self.kit = kit
        self.transport = transport
        kind = kit.library.AsyncClient if kit.is_async else kit.library.Client
        self.bare = kind(transport=transport, **arguments)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *args: object) -> None:
        await self._call(self.bare.aclose if self.kit.is_async else self.bare.close)

    async def _call(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        return await result if self.kit.is_async else result

    async def request(self, method: str, url: str, **arguments: Any) -> Any:
        return await self._call(self.bare.request, method, url, **arguments)

    async def send(self, request: Any) -> Any:
        return await self._call(self.bare.send, request)

    @asynccontextmanager
    async def stream(self, method: str, url: str, **arguments: Any) -> AsyncIterator[Reading]:
        if self.kit.is_async:
            async with self.bare.stream(method, url, **arguments) as response:
                yield Reading(self.kit, response)
        else:
            with self.bare.stream(method, url, **arguments) as response:
                yield Reading(self.kit, response)


class Reading:
    """A response whose body is read by the test."""

    def __init__(self, kit: Kit, response: Any) -> None:
        self.kit = kit
        self.bare = response

    async def pieces(self) -> AsyncIterator[bytes]:
        if self.kit.is_async:
            async for piece in self.bare.aiter_raw():
                yield piece
        else:
            for piece in self.bare.iter_raw():
                yield piece

    async def read(self) -> bytes:
        data: bytes = await self.bare.aread() if self.kit.is_async else self.bare.read()
        return data

    async def close(self) -> None:
        if self.kit.is_async:
            await self.bare.aclose()
        else:
            self.bare.close()

    @property
    def network(self) -> Network:
        return Network(self.kit, self.bare.extensions["network_stream"])


class Network:
    """A network stream; all its methods are awaited."""

    def __init__(self, kit: Kit, stream: Any) -> None:
        self.kit = kit
        self.bare = stream

    async def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        result = getattr(self.bare, name)(*args, **kwargs)
        return await result if self.kit.is_async else result

    async def read(self, *args: Any, **kwargs: Any) -> bytes:
        data: bytes = await self._call("read", *args, **kwargs)
        return data

    async def write(self, *args: Any, **kwargs: Any) -> None:
        await self._call("write", *args, **kwargs)

    async def start_tls(self, *args: Any, **kwargs: Any) -> Network:
        return Network(self.kit, await self._call("start_tls", *args, **kwargs))

    async def close(self) -> None:
        await self._call("aclose" if self.kit.is_async else "close")


KITS = [
    Kit(library, core, adapter, style)
    for library, core, adapter in (
        (httpx, httpcore, dugong.adapters.httpx),
        (httpx2, httpcore2, dugong.adapters.httpx2),
    )
    for style in ("blocking", "asyncio", "trio")
]


def kits(*styles: str) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Run a test for each kit in one of these styles; in all of them if none is named."""

    def decorate(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
        @functools.wraps(test)
        def run(**fixtures: Any) -> None:
            for kit in KITS:
                if styles and kit.style not in styles:
                    continue
                with site() as server:
                    server.continues = True
                    own = {"site": server} if "site" in arguments else {}
                    try:
                        kit.run(functools.partial(test, kit=kit, **own, **fixtures))
                    except BaseException as exc:
                        exc.add_note(f"with {kit.name}")
                        raise

        arguments = inspect.signature(test).parameters
        left = [arguments[name] for name in arguments if name not in ("kit", "site")]
        run.__signature__ = inspect.Signature(left)  # type: ignore[attr-defined]
        del run.__wrapped__
        return run

    return decorate


each_kit = kits()
