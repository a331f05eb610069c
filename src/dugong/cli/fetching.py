"""Requests whose bodies go to files or to standard output: what `get`, `post` and `request` do.

A *job* is one URL. A GET into a regular file, with nothing special about it, is a download of the
library: it is resumed after a cut, and a partial file may be continued by a later run. Everything
else is a plain request, whose body is written as it arrives. Jobs are coroutines, of which
`run_all` performs one at a time, or several.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from .. import POLLIN, DugongError, InvalidRequest, PollNeeded, run_all
from . import environment
from .clients import request_options, shown
from .explaining import as_text, co_beginning, explained, refusal
from .files import Sink, cannot_write, is_special, writing
from .names import check_inside, name_in_header, name_in_url
from .output import Failure, complain, print_note, size

if TYPE_CHECKING:
    from .. import Client, Response
    from .progress import Bar, Bars

    Co: TypeAlias = Generator[PollNeeded, None, None]

_BLOCK_SIZE = 256 * 1024

#: Fields that a download sets itself, or that make a response something else than the whole file.
_NOT_FOR_DOWNLOADS = frozenset(
    {"range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since",
     "accept-encoding"}
)  # fmt: skip


class Job:
    """A URL to request.

    Args:
        url: the URL.
        path: the file to write; ``None`` for standard output, or if the response names it.
        chosen: whether the URL has chosen the name of the file.

    Attributes:
        checksum: the expected digest, as a mapping for the library.
    """

    def __init__(self, url: str, path: Path | None = None, chosen: bool = False) -> None:
        self.url = url
        self.path = path
        self.chosen = chosen
        self.checksum: dict[str, str] | None = None

    @property
    def label(self) -> str:
        return shown(self.url)


class Fetcher:
    """Performs jobs, and reports failures on standard error.

    Args:
        args: the options of the command.
        client: the client.
        bars: shows the progress.
        method: the method of the requests.
        body: the arguments of a request for its body.
        fields: the fields for that body.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        client: Client,
        bars: Bars,
        method: str,
        body: dict[str, Any],
        fields: list[tuple[str, Any]],
    ) -> None:
        self._args = args
        self._client = client
        self._bars = bars
        self._method = method
        self._body = body
        self._fields = fields
        self._status = 0
        self._turn = _Turn() if args.parallel else None
        names = {name.lower() for name, _ in args.headers}
        self._may_download = (
            method == "GET"
            and not body
            and not (args.show_headers or args.compressed or args.header_name)
            and _NOT_FOR_DOWNLOADS.isdisjoint(names)
        )

    def options_for(self, job: Job) -> dict[str, Any]:
        """Return the arguments of a request."""
        options = request_options(self._args, job.label)
        options["headers"] += self._fields
        return {**options, **self._body}

    def fetch_all(self, jobs: Iterable[Job]) -> int:
        """Perform the jobs. Returns the exit status.

        Raises:
            EnvironmentFailure, OutputFailure: nothing can be fetched, or written.
        """
        limit = self._args.parallel_max if self._args.parallel else 1
        with run_all(map(self._co_fetch, jobs), limit=limit) as results:
            for _, result in results:
                if isinstance(result, Exception):
                    raise result
        return self._status

    def fail(self, message: str, status: int = 1) -> None:
        """Report a failure, with its exit status."""
        self._status = max(self._status, status)
        complain(message)

    def _co_fetch(self, job: Job) -> Co:
        is_file = job.path is not None and not is_special(job.path)
        try:
            if job.path is not None:
                self._prepare(job)
            if (is_file and self._may_download) or job.checksum:
                yield from self._co_download(job)
            else:
                yield from self._co_request(job)
        except (Failure, DugongError, OSError) as exc:
            environment.check_error(exc)
            message = f"{job.label}: {self._why(exc, job)}{self._rest(job)}"
            self.fail(message, 2 if isinstance(exc, InvalidRequest) else 1)
        except (GeneratorExit, KeyboardInterrupt):  # `run_all` closes its coroutines
            if rest := self._rest(job):
                complain(f"{job.label}: interrupted{rest}")
            raise

    def _why(self, exc: Exception, job: Job) -> str:
        is_of_file = isinstance(exc, OSError) and not hasattr(exc, "while_connecting")
        if is_of_file and job.path is not None and not isinstance(exc, DugongError):
            assert isinstance(exc, OSError)
            return str(cannot_write(job.path, exc))
        return explained(exc)

    def _prepare(self, job: Job) -> None:
        assert job.path is not None
        if self._args.create_dirs:
            job.path.parent.mkdir(parents=True, exist_ok=True)
        if job.path.is_dir():
            raise Failure(f"cannot write {job.path}: Is a directory")
        if job.chosen:
            check_inside(job.path)

    # Downloads.

    def _co_download(self, job: Job) -> Co:
        options = self.options_for(job)
        options["headers"] = [
            pair for pair in options["headers"] if pair[0].lower() != "accept-encoding"
        ]
        target: Any = _Writer() if job.path is None else job.path
        with self._bar(job.path) as bar:
            done = yield from self._client.co_download(
                job.url,
                target,
                resume=self._args.resume,
                parts=self._args.parts,
                digest=job.checksum,
                progress=bar.show,
                **options,
            )
        if self._args.verbose and done.response is not None:
            self._tell(done.response)

    def _rest(self, job: Job) -> str:
        """Return what a message says about the part of a file, if that can be continued."""
        if job.path is None or not self._may_download:
            return ""
        part = f"{os.path.realpath(job.path)}.part"
        if not (os.path.isfile(part) and os.path.isfile(f"{part}.json")):  # noqa: PTH113
            return ""  # unlike those of `Path`, these accept any name
        count = Path(part).stat().st_size
        amount = "" if self._args.parts > 1 or not count else f" ({size(count)})"
        return f"; --continue resumes {job.path}.part{amount}"

    def _bar(self, path: Path | None) -> AbstractContextManager[Bar]:
        return self._bars.bar("" if path is None or is_special(path) else str(path))

    # Requests.

    def _co_request(self, job: Job) -> Co:
        response = yield from self._client.co_request(
            self._method, job.url, **self.options_for(job)
        )
        try:
            yield from self._co_take(response, job)
        finally:
            response.close()

    def _co_take(self, response: Response, job: Job) -> Co:
        args = self._args
        if args.verbose:
            self._tell(response)
        heads = b""
        if args.show_headers or args.head:
            heads = b"".join(map(head_of, [*response.history, response]))
        is_success = 200 <= response.status < 300
        body = b""
        if not is_success and not args.fail_with_body:
            if job.path is None and not args.header_name:
                with writing(None) as sink:
                    sink.write(heads)
            if response.status >= 200:  # a 101: the server has switched to another protocol
                body = yield from co_beginning(response)
            raise Failure(refusal(response, body))
        path, replace = job.path, True
        if args.header_name and is_success:
            path, replace = self._named(response, job), False
        turn = self._turn if path is None else None
        if turn is not None:
            yield from turn.co_take()
        try:
            with self._bar(path) as bar, writing(path, replace=replace) as sink:
                if heads:
                    sink.write(heads)
                if not args.head:
                    yield from self._co_copy(response, sink, bar)
        finally:
            if turn is not None:
                turn.give()
        if not is_success:
            raise Failure(refusal(response, b""))

    def _co_copy(self, response: Response, sink: Sink, bar: Bar) -> Co:
        buffer = memoryview(bytearray(_BLOCK_SIZE))
        done = 0
        while count := (yield from response.co_readinto(buffer)):
            sink.write(buffer[:count])
            done += count
            bar.show(done, None if response.headers.get("Content-Encoding") else response.length)

    def _named(self, response: Response, job: Job) -> Path:
        name = name_in_header(response.headers.get("Content-Disposition")) or name_in_url(job.url)
        if name is None:
            raise Failure("neither the response nor the URL has a file name: use -o FILE")
        path = Path(self._args.output_dir or "", name)
        if os.path.lexists(path):
            raise Failure(f"{path} exists: it is not overwritten")
        if self._args.create_dirs:
            path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _tell(self, response: Response) -> None:
        for each in [*response.history, response]:
            for line in head_of(each).decode("latin-1").split("\r\n")[:-2]:
                print_note(f"< {as_text(line)}")


class _Turn:
    """The right to write to standard output: of several parallel bodies, one at a time is written.

    It is a byte in a pipe, so that a coroutine can wait for it.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        self.give()

    def co_take(self) -> Co:
        while True:
            try:
                os.read(self._reader, 1)
            except BlockingIOError:
                yield PollNeeded(self._reader, POLLIN)
            else:
                return

    def give(self) -> None:
        os.write(self._writer, b"x")


class _Writer:
    """Standard output, as a binary file."""

    def write(self, data: bytes | memoryview) -> int:
        with writing(None) as sink:
            sink.write(data)
        return len(data)


def head_of(response: Response) -> bytes:
    """Return the head of a response, as it was received."""
    lines = [f"HTTP/{response.http_version} {response.status} {response.reason}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")
