"""``dugong put``: stores files on a server."""

from __future__ import annotations

import argparse
import base64
import hashlib
import mimetypes
import os
import stat
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .. import POLLIN, DugongError, InvalidRequest, PollNeeded, run_all
from . import environment, output
from .arguments import Parser, command_parser
from .clients import new_client, request_options, shown, with_scheme
from .explaining import as_text, co_beginning, explained, refusal
from .options import add_common, checksum
from .output import Failure, complain, is_terminal, print_line
from .progress import bars

if TYPE_CHECKING:
    from .. import Client, Response
    from .progress import Bars

#: Bytes that are read from a stream in one call.
_BLOCK_SIZE = 64 * 1024

#: The media types of compressed files. `mimetypes` treats compression as an encoding of another
#: file.
_COMPRESSED = {
    "br": "application/octet-stream",
    "bzip2": "application/x-bzip2",
    "compress": "application/x-compress",
    "gzip": "application/gzip",
    "xz": "application/x-xz",
}

_EXAMPLES = """\
examples:
  dugong put a.iso https://example.org/files/a.iso    store it under that URL
  dugong put a.iso https://example.org/files/         the same: the slash adds the file name
  dugong put *.txt https://example.org/files/         several files
  dugong put -H 'Authorization: Bearer x' a.iso URL   send an additional field
  tar c docs | dugong put - https://example.org/docs.tar

Data from a pipe is sent in chunks. The body of a large file is sent when the server accepts it
(100-continue), or after one second without a response. A request is retried after a network
error, or a status of 429, 502, 503 or 504, but not after a refused connection, and not once data
from a pipe has been read. If the server asks for a delay of more than a minute (Retry-After),
the command gives up instead.

The exit status is 0 if the server accepted each file (a status of 2xx), 1 if not, 2 for wrong
usage, 130 after Ctrl-C.
"""


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    parser = command_parser(
        "put", "Store files on a server.", _EXAMPLES, "dugong put [OPTION…] FILE… URL"
    )
    parser.add_argument(
        "words", nargs="*", metavar="FILE|URL",
        help="the files to store (- reads standard input), and the URL to store them under; if it "
        "ends in a slash, the file name is added",
    )  # fmt: skip
    parser.add_argument(
        "--content-type", metavar="TYPE",
        help="the media type of the files (default: guessed from their names)",
    )  # fmt: skip
    parser.add_argument(
        "--checksum", metavar="DIGEST", type=checksum,
        help="the file must have this digest, such as sha-256:9f86…, which is sent in Repr-Digest; "
        "the name of an algorithm alone computes it",
    )  # fmt: skip
    add_common(parser)
    return parser


def run(args: argparse.Namespace, parser: Parser) -> int:
    """Store the files, one after the other."""
    output.is_silent = args.silent and not args.show_error
    try:
        jobs = _jobs(args, parser)
        with new_client(args) as client, client.pool, bars(not args.silent) as shown_bars:
            for job in jobs:  # before anything is sent
                client.co_request("PUT", job.url, **job.options(args)).close()
            status = 0
            with run_all((_co_put(job, client, args, shown_bars) for job in jobs), limit=1) as done:
                for _, result in done:
                    if isinstance(result, Exception):
                        raise result
                    status = max(status, result)
        if is_terminal(1) and not args.silent:
            for job in jobs:
                if job.answer:
                    print_line(f"{job.name} is stored as {shown(job.url)} ({job.answer})")
        return status
    except InvalidRequest as exc:
        parser.error(explained(exc))


class Job:
    """A file to store.

    Args:
        name: the name of the file, ``-`` for standard input.
        url: where to store it.
    """

    def __init__(self, name: str, url: str) -> None:
        self.file = name
        self.url = url
        self.name = "standard input" if name == "-" else name
        self.taken = False  # whether some of what can be read only once has been read
        self.answer = ""  # the status line of the successful response

    def options(self, args: argparse.Namespace) -> dict[str, Any]:
        """Return the arguments of the request, apart from the body."""
        options = request_options(args, shown(self.url))
        fields: list[tuple[str, Any]] = options["headers"]
        if not any(name.lower() == "content-type" for name, _ in fields):
            given = args.content_type
            if given is None:
                given = _guessed_type(self.url if self.file == "-" else self.file)
            if given:
                fields.append(("Content-Type", given))
        return options

    @contextmanager
    def open(self) -> Iterator[Any]:
        """Provide the body: a file, or an iterator if it can be read only once."""
        if self.file == "-" and sys.stdin is None:
            raise Failure("cannot read standard input: it is closed")
        try:
            file = FileIO(0, closefd=False) if self.file == "-" else FileIO(self.file)
        except OSError as exc:
            raise self.cannot_read(exc) from None
        with file:
            is_regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            yield file if is_regular else self._blocks(file)

    def _blocks(self, file: FileIO) -> Iterator[bytes]:
        while True:
            try:
                block = file.read(_BLOCK_SIZE)
            except OSError as exc:
                raise self.cannot_read(exc) from None
            if block is None:  # another process has made the file non-blocking
                PollNeeded(file.fileno(), POLLIN).poll()
                continue
            if not block:
                return
            self.taken = True
            yield block

    def cannot_read(self, exc: OSError) -> Failure:
        return Failure(f"cannot read {self.name}: {exc.strerror}")


def _jobs(args: argparse.Namespace, parser: Parser) -> list[Job]:
    if len(args.words) < 2:
        parser.error("give a file and a URL")
    *files, url = args.words
    url = with_scheme(url)
    if args.content_type is not None and any(
        name.lower() == "content-type" for name, _ in args.headers
    ):
        parser.error("argument --content-type: not allowed with -H Content-Type")
    if any(not name or name.endswith("/") or "\0" in name for name in files):
        parser.error("a file needs a name that is neither empty nor ends in a slash")
    path, mark, rest = _split(url)
    if not path.partition("://")[2].partition("/")[1]:
        path += "/"
    if not path.endswith("/"):
        if len(files) > 1:
            parser.error("to store several files, give a URL that ends in a slash")
        return [Job(files[0], url)]
    if "-" in files:
        parser.error(f"standard input has no name to add to {shown(url)}: give the whole URL")
    names = [quote(os.fsencode(Path(name).name), safe="") for name in files]
    if len(set(names)) < len(names):
        parser.error("two files have the same name")
    return [Job(file, f"{path}{name}{mark}{rest}") for file, name in zip(files, names, strict=True)]


def _split(url: str) -> tuple[str, str, str]:
    """Return the URL up to its path, ``?`` or ``#``, and what follows that."""
    end = min(url.find(mark) % (len(url) + 1) for mark in "?#")
    return url[:end], url[end : end + 1], url[end + 1 :]


def _guessed_type(name: str) -> str | None:
    guess = getattr(mimetypes, "guess_file_type", mimetypes.guess_type)
    kind: str | None
    encoding: str | None
    kind, encoding = guess(name.rpartition("/")[2].partition("?")[0])
    return kind if encoding is None else _COMPRESSED.get(encoding)


def _co_put(
    job: Job, client: Client, args: argparse.Namespace, shown_bars: Bars
) -> Generator[PollNeeded, None, int]:
    """Store a file. Returns the exit status."""
    try:
        with job.open() as body, shown_bars.bar(Path(job.name).name) as bar:
            options = job.options(args)
            if args.checksum is not None:
                options["headers"].append(_digest(job, body, *args.checksum))
            response = yield from client.co_upload(body, job.url, progress=bar.show, **options)
            try:
                yield from _co_check(response, args)
            finally:
                response.close()
    except InvalidRequest:
        raise
    except (Failure, DugongError, OSError, ValueError) as exc:
        environment.check_error(exc)
        return complain(f"{shown(job.url)}: {_why(exc, job)}")
    job.answer = f"{response.status} {as_text(response.reason)}".rstrip()
    return 0


def _co_check(response: Response, args: argparse.Namespace) -> Generator[PollNeeded, None, None]:
    if not 200 <= response.status < 300:
        body = b"" if response.status < 200 else (yield from co_beginning(response))
        if args.fail_with_body:
            output.print_bytes(body)
        raise Failure(refusal(response, body))


def _digest(job: Job, body: Any, name: str, digits: str) -> tuple[str, str]:
    """Return the field with the digest of a file.

    Raises:
        Failure: it has another one.
    """
    if not isinstance(body, FileIO):
        raise Failure(f"{job.name} is no regular file, so it has no digest in advance")
    computed = hashlib.new(name.replace("-", "", 1), usedforsecurity=False)
    while block := body.read(1 << 20):
        computed.update(block)
    body.seek(0)
    if digits and computed.hexdigest() != digits:
        raise Failure(f"{job.name} has the {name} digest {computed.hexdigest()}, not {digits}")
    return "Repr-Digest", f"{name}=:{base64.b64encode(computed.digest()).decode()}:"


def _why(exc: Exception, job: Job) -> str:
    is_of_file = isinstance(exc, OSError) and not isinstance(exc, DugongError)
    if is_of_file and not hasattr(exc, "while_connecting"):
        assert isinstance(exc, OSError)
        return str(job.cannot_read(exc))
    text = explained(exc)
    is_lost = isinstance(exc, DugongError) and not exc.safe_to_retry
    return f"{text}; {job.name} cannot be sent a second time" if job.taken and is_lost else text
