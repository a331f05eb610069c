"""Clients in the four styles, for tests that run in each from one text.

As with connections (see `tests.support.styles`), such a test is an ``async def``. Its client and
its responses are used as in `AsyncClient`::

    @styled
    async def test_it_reads(style: Style, site: Site) -> None:
        async with style.client(base_url=site.url) as client:
            response = await client.get("path")
            assert await response.text() == "ok"

It runs once in each style, one after the other in one test, each time with a new `site`.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from types import coroutine
from typing import Any

import trio

from dugong import AsyncClient, Client, eval_coroutine
from tests.support.site import Site, site

#: The methods of a response that are awaited.
_READING = frozenset(
    {"read", "readinto", "readall", "discard", "text", "json", "raise_for_status", "close"}
)


#: The methods of a client that are awaited.
_CALLS = frozenset(
    {"request", "get", "head", "post", "put", "patch", "delete", "options", "download", "upload"}
)


@coroutine
def _waiting(crt: Any) -> Generator[Any, Any, Any]:
    return (yield from crt)


class _Pending:
    def __init__(self, start: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._start = start
        self._response: Any = None

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._start().__await__()

    async def __aenter__(self) -> Any:
        self._response = await self
        return self._response

    async def __aexit__(self, *args: object) -> None:
        await self._response.close()


class _DisguisedResponse:
    def __init__(self, response: Any, blocking: bool) -> None:
        self.bare = response
        self._blocking = blocking

    def __getattr__(self, name: str) -> Any:
        if name not in _READING:
            return getattr(self.bare, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            if self._blocking or name == "close":
                result = getattr(self.bare, name)(*args, **kwargs)
            else:
                result = await _waiting(getattr(self.bare, f"co_{name}")(*args, **kwargs))
            return self if result is self.bare else result

        return call

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *args: object) -> None:
        self.bare.close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._blocking:
            for piece in self.bare:
                yield piece
        else:
            while piece := await self.read(65536):
                yield piece

    async def lines(self, *args: Any) -> AsyncIterator[str]:
        lines = self.bare.lines(*args)
        if self._blocking:
            for line in lines:
                yield line
        else:
            while (line := await _waiting(lines.co_next())) is not None:
                yield line


class _DisguisedMany:
    def __init__(self, many: Any, blocking: bool) -> None:
        self.bare = many
        self._blocking = blocking

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        if self._blocking:
            result = next(self.bare, None)
        else:
            result = await _waiting(self.bare.co_next())
        if result is None:
            raise StopAsyncIteration
        if isinstance(result, Exception):
            return result
        return _DisguisedResponse(result, self._blocking)

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *args: object) -> None:
        self.bare.close()

    async def close(self) -> None:
        self.bare.close()


class _DisguisedClient:
    def __init__(self, client: Client, blocking: bool) -> None:
        self.bare = client
        self._blocking = blocking

    def many(self, *args: Any, **kwargs: Any) -> _DisguisedMany:
        return _DisguisedMany(self.bare.many(*args, **kwargs), self._blocking)

    def __getattr__(self, name: str) -> Any:
        if name not in _CALLS:
            return getattr(self.bare, name)

        def call(*args: Any, **kwargs: Any) -> _Pending:
            if self._blocking:

                async def start() -> Any:
                    result = getattr(self.bare, name)(*args, **kwargs)
                    return result if name == "download" else _DisguisedResponse(result, True)
            else:
                crt = getattr(self.bare, f"co_{name}")(*args, **kwargs)

                async def start() -> Any:
                    result = await _waiting(crt)
                    return result if name == "download" else _DisguisedResponse(result, False)

            return _Pending(start)

        return call

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *args: object) -> None:
        self.bare.close()


class Style:
    """One of the styles."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def is_async(self) -> bool:
        return self.name in ("asyncio", "trio")

    def client(self, **settings: Any) -> Any:
        """Return a client, to be used in ``async with``."""
        if self.is_async:
            return AsyncClient(**settings)
        return _DisguisedClient(Client(**settings), self.name == "blocking")

    def run(self, test: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        if self.name == "asyncio":
            asyncio.run(test(*args))
        elif self.name == "trio":
            trio.run(test, *args)
        else:
            eval_coroutine(_waiting(test(*args)), timeout=60)


STYLES = [Style(name) for name in ("blocking", "generators", "asyncio", "trio")]


def styled(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in each style. It gets `style`, and `site` if it has that argument."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        for style in STYLES:
            try:
                _run(test, style, fixtures)
            except BaseException as exc:
                exc.add_note(f"in the style {style.name}")
                raise

    arguments = inspect.signature(test).parameters
    left = [arguments[name] for name in arguments if name not in ("style", "site")]
    run.__signature__ = inspect.Signature(left)  # type: ignore[attr-defined]
    del run.__wrapped__
    return run


def _run(
    test: Callable[..., Coroutine[Any, Any, None]], style: Style, fixtures: dict[str, Any]
) -> None:
    with site() as server:
        given: dict[str, Site | Style] = {"style": style}
        if "site" in inspect.signature(test).parameters:
            given["site"] = server
        style.run(functools.partial(test, **given, **fixtures))
