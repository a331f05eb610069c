"""The sources of the URLs of ``dugong check``: arguments, lists, and the links of pages."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import DugongError
from .arguments import url as parse_url
from .asking import address, connection
from .checking import LONGEST_URL
from .codings import codings, decoded
from .links import Links, decode
from .output import Failure, complain
from .redirects import Trail, followed, location
from .servers import retry_context, why

#: Bytes of a list that are read in one call. Small, so that the first requests start immediately.
_BLOCK_SIZE = 8192

#: The maximum length of a line in bytes. Longer than any valid URL.
_LONGEST_LINE = 8 * LONGEST_URL

#: The maximum size of a page in bytes, as received and as decoded.
_LONGEST_PAGE = 64 * 1024 * 1024

#: The media types of pages with links. A response without a Content-Type is also accepted.
_HTML = frozenset({"text/html", "application/xhtml+xml"})


class Sources:
    """The URLs to check.

    Attributes:
        failed: whether a source could not be read. A message has then been printed.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self.failed = False

    async def urls(self) -> AsyncIterator[str]:
        """Yield the URLs: first the arguments, then the links of pages, and last the lists.

        Lists are last, because a list may be a slow pipe.
        """
        args = self._args
        for url in args.urls:
            if url != "-":
                yield url
        for page in args.pages:
            for url in await self._links(page):
                yield url
        for name in [*args.lists, *(url for url in args.urls if url == "-")]:
            with self._telling(name), _opened(name) as fd:
                async for line in lines(fd):
                    yield line

    @contextmanager
    def _telling(self, name: str) -> Iterator[None]:
        """Report a source that cannot be read, and set `failed`."""
        try:
            yield
        except Failure as exc:
            complain(f"{name}: {exc}")
            self.failed = True

    async def _links(self, page: str) -> list[str]:
        """Return the links of a page. *page* is the name of a file or a URL."""
        links: list[str] = []
        with self._telling(page):
            base: str | None = None
            if page.lower().startswith(("http://", "https://")):
                text, base = await self._fetched(page)
            else:
                text = _read(page)
            if self._args.base is not None:
                base = self._args.base.url
            found = Links(text, base)
            links = list(found)
            if found.relative:
                self.failed = True
                complain(f"{page}: {found.relative} relative links left out: use --base URL")
        return links

    async def _fetched(self, page: str) -> tuple[str, str]:
        """Return the text of a page, and its URL after redirects."""
        try:
            trail = Trail(parse_url(page), self._args.headers)
        except argparse.ArgumentTypeError as exc:
            raise Failure(str(exc).removeprefix(f"{page!r}: ")) from None
        async for attempt in retry_context(self._args, None):
            with attempt:
                return await self._fetch(trail)
        raise AssertionError  # the last attempt returns or raises

    async def _fetch(self, trail: Trail) -> tuple[str, str]:
        document = trail.document
        conn = connection(address(document), self._args)
        try:
            response = await conn.request("GET", document.target, trail.fields)
            target = location(response)
            if target is None:
                if not 200 <= response.status < 300:
                    raise Failure(
                        f"the server responded with {response.status} {response.reason}".rstrip()
                    )
                kind = response.headers.get_content_type()
                if "Content-Type" in response.headers and kind not in _HTML:
                    raise Failure(f"it is {kind}, not HTML")
                applied = codings(response)
                body = decoded(await conn.readall(_LONGEST_PAGE), applied, _LONGEST_PAGE)
                return decode(body, response.headers.get_content_charset()), document.url
        except (DugongError, OSError) as exc:
            raise Failure(why(exc, conn, self._args)) from exc
        finally:
            conn.disconnect()
        return await self._fetch(followed(trail, target))


def _read(name: str) -> str:
    try:
        return decode(Path(name).read_bytes())
    except OSError as exc:
        raise Failure(f"cannot read it: {exc.strerror}") from exc


@contextmanager
def _opened(name: str) -> Iterator[int]:
    """Open a list.

    Raises:
        Failure: the list cannot be opened or read.
    """
    try:
        if name == "-":
            if sys.stdin is None:
                raise Failure("standard input is closed")
            yield 0
            return
        fd = os.open(name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # it may be a pipe
        try:
            yield fd
        finally:
            os.close(fd)
    except OSError as exc:
        raise Failure(f"cannot read it: {exc.strerror}") from exc


async def lines(fd: int) -> AsyncIterator[str]:
    """Yield the non-empty lines, without white space at either end."""
    rest = b""
    too_long = False
    while True:
        await _readable(fd)
        try:
            block = os.read(fd, _BLOCK_SIZE)
        except BlockingIOError:
            continue
        *complete, rest = (rest + block).split(b"\n")
        if not block and rest:
            complete, rest = [rest], b""
        for line in complete:
            if not too_long and (text := _text(line)):
                yield text
            too_long = False
        if len(rest) > _LONGEST_LINE:
            if not too_long:
                yield _text(rest)  # longer than any valid URL, so it is reported as invalid
            rest, too_long = b"", True
        if not block:
            return


def _text(line: bytes) -> str:
    return line.decode("utf-8", "surrogateescape").removeprefix("\ufeff").strip()


async def _readable(fd: int) -> None:
    """Wait until *fd* is readable. Always lets other tasks run."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(fd, ready.set)
    except PermissionError:  # a regular file, which is always readable
        await asyncio.sleep(0)
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)
