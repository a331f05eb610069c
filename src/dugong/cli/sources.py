"""The sources of the URLs of ``dugong check``: arguments, lists, and the links of pages."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import DugongError, Redirects, is_temp_network_error
from .explaining import as_text, explained
from .links import Links, decode
from .output import EnvironmentFailure, Failure, complain
from .verdicts import LONGEST_URL, new_client

#: Bytes of a list that are read in one call. Small, so that the first requests start immediately.
_BLOCK_SIZE = 8192

#: The maximum length of a line in bytes. Longer than any valid URL.
_LONGEST_LINE = 8 * LONGEST_URL

#: The maximum size of a page in bytes, as received and as decoded.
_LONGEST_PAGE = 64 * 1024 * 1024

# A comment in a list: a line that begins with "#", or what follows white space and "#". Elsewhere,
# "#" begins the fragment of a URL.
_COMMENT = re.compile(r"(?:^|\s)#.*", re.DOTALL)

#: The most redirects to a page.
_MAX_REDIRECTS = 20

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
                text, base = await self._fetched(page, self._args.retries)
            else:
                text = _read(page)
            if self._args.base is not None:
                base = self._args.base
            found = Links(text, base)
            links = list(found)
            if found.relative:
                self.failed = True
                complain(f"{page}: {found.relative} relative links left out: use --base URL")
        return links

    async def _fetched(self, page: str, retries: int) -> tuple[str, str]:
        """Return the text of a page, and its URL after redirects."""
        try:
            async with new_client(self._args) as client:
                response = await client.get(
                    page,
                    headers=self._args.headers,
                    redirects=Redirects(_MAX_REDIRECTS),
                    decode=True,
                )
                if not 200 <= response.status < 300:
                    reason = as_text(response.reason)
                    message = f"the server responded with {response.status} {reason}".rstrip()
                    await response.close()
                    raise Failure(message)
                headers = response.headers
                kind = headers.get_content_type()
                if "Content-Type" in headers and kind not in _HTML:
                    await response.close()
                    raise Failure(f"it is {kind}, not HTML")
                accepted = response.request.headers.get("Accept-Encoding", "")
                if unknown := _unknown_coding(headers.get_all("Content-Encoding", []), accepted):
                    await response.close()
                    raise Failure(f"its content coding {unknown!r} is not supported")
                try:
                    body = await response.readall(_LONGEST_PAGE)
                except (DugongError, OSError) as exc:
                    # The client only retries until the head has arrived.
                    if not retries or not is_temp_network_error(exc):
                        raise
                    await asyncio.sleep(self._args.retry_delay)
                    return await self._fetched(page, retries - 1)
                return decode(body, headers.get_content_charset()), response.url
        except EnvironmentFailure:
            raise
        except (DugongError, OSError) as exc:
            raise Failure(explained(exc)) from exc


def _unknown_coding(fields: list[str], accepted: str) -> str | None:
    """Return the first content coding that was not asked for, and so cannot be decoded."""
    known = {each.partition(";")[0].strip().lower() for each in accepted.split(",")}
    for name in ",".join(fields).lower().split(","):
        if (coding := name.strip().removeprefix("x-")) not in known | {"", "identity"}:
            return coding
    return None


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
    """Yield the non-empty lines, without comments and white space at either end."""
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
    text = line.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    return _COMMENT.sub("", text).strip()


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
