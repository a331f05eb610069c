"""``dugong put``: stores a file on a server."""

from __future__ import annotations

import argparse
import mimetypes
import os
import sys
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Self
from urllib.parse import quote

from ..connection.blocking import HTTPConnection
from ..errors import DugongError, is_temp_network_error
from ..protocol.content import content_of
from ..protocol.messages import BodyFollowing, HTTPResponse, Request
from ..protocol.references import split
from ..protocol.request import NO_DEFAULTS, prepare
from ..transport.poll import POLLIN, PollNeeded
from .arguments import (
    Document,
    Parser,
    add_fields,
    add_retries,
    add_route,
    command_parser,
    file_name,
    url,
)
from .output import Failure, complain, is_terminal, print_line
from .progress import Bar, bars
from .refusals import Refusal, what_is_said
from .servers import attempts, connection, is_temporary, why

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
  dugong put -H 'Authorization: Bearer x' a.iso URL   send an additional field
  tar c docs | dugong put - https://example.org/docs.tar

Data from a pipe is sent in chunks. The body of a large file is sent when the server accepts it
(100-continue), or after one second without a response. A request is retried after a network
error, or a status of 429, 502, 503 or 504, but not once data from a pipe has been read. If the
server asks for a delay of more than a minute (Retry-After), the command gives up instead.

The exit status is 0 if the server accepted the file (a status of 2xx), 1 if not, 2 for wrong
usage, 130 after Ctrl-C.
"""


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    parser = command_parser("put", "Store a file on a server.", _EXAMPLES)
    parser.add_argument(
        "file", metavar="FILE", type=file_name, help="the file to store; - reads standard input"
    )
    parser.add_argument(
        "document", metavar="URL", type=url,
        help="the URL to store it under; if it ends in a slash, the file name is added",
    )  # fmt: skip
    parser.add_argument(
        "--content-type", metavar="TYPE",
        help="the media type of the file (default: guessed from its name)",
    )  # fmt: skip
    add_fields(parser)
    add_retries(parser)
    add_route(parser)
    return parser


def run(args: argparse.Namespace, parser: Parser) -> int:
    document = _destination(args, parser)
    fields = _fields(args, parser, document)
    try:
        with Source(args.file) as source:
            try:
                prepare(
                    Request("PUT", "/", fields, BodyFollowing(source.length)), None, NO_DEFAULTS
                )
            except ValueError as exc:
                parser.error(str(exc))
            response = _put(document, fields, source, args)
            stored = source.name
    except (Failure, DugongError) as exc:
        return complain(f"{document.url}: {exc}")
    if is_terminal(1):
        said = f"{response.status} {response.reason}".rstrip()
        print_line(f"{stored} is stored as {document.url} ({said})")
    return 0


def _destination(args: argparse.Namespace, parser: Parser) -> Document:
    """Return the URL to store the file under. If the given one ends in a slash, adds the name."""
    document: Document = args.document
    if document.name:
        return document
    if args.file == "-":
        parser.error(f"standard input has no name to add to {document.url}: give the whole URL")
    name = quote(os.fsencode(Path(args.file).name), safe="")
    given = split(document.url)
    return url(str(given._replace(path=(given.path or "/") + name)))


def _fields(args: argparse.Namespace, parser: Parser, document: Document) -> list[tuple[str, str]]:
    """Return the fields to send."""
    fields: list[tuple[str, str]] = args.headers
    is_said = any(name.lower() == "content-type" for name, _ in fields)
    given = args.content_type
    if is_said and given is not None:
        parser.error("argument --content-type: not allowed with -H Content-Type")
    if given is None and not is_said:
        given = _guessed_type(document.name if args.file == "-" else args.file)
    return [("Content-Type", given), *fields] if given else fields


def _guessed_type(name: str) -> str | None:
    guess = getattr(mimetypes, "guess_file_type", mimetypes.guess_type)
    kind: str | None
    encoding: str | None
    kind, encoding = guess(name)
    return kind if encoding is None else _COMPRESSED.get(encoding)


class Source:
    """The file to be stored.

    Args:
        name: the name of the file, ``-`` for standard input.

    Raises:
        Failure: the file cannot be read.

    Attributes:
        name: the name of the file in messages.
        length: the number of bytes to send, ``None`` if it is unknown.
        replayable: whether the file can be sent more than once.
        taken: whether some of a file that is not replayable has been read.
    """

    def __init__(self, name: str) -> None:
        self.name = "standard input" if name == "-" else name
        self.taken = False
        try:
            self._file = self._open(name)
            try:
                content = content_of(self._file)
                self.length = content.length
                self.replayable = content.replayable
                self._start = self._file.tell() if self.replayable else 0
            except BaseException:
                self._file.close()
                raise
        except OSError as exc:
            raise Failure(f"cannot read {self.name}: {exc.strerror}") from None

    def _open(self, name: str) -> FileIO:
        if name != "-":
            return FileIO(name)
        if sys.stdin is None:
            raise Failure("cannot read standard input: it is closed")
        return FileIO(0, closefd=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()

    def body(self, bar: Bar, conn: HTTPConnection) -> FileIO | Iterator[bytes]:
        """Return the body to send on *conn*, and make *bar* show the progress."""
        if not self.replayable:
            return self._blocks(bar)
        self._file.seek(self._start)
        before = conn.bytes_sent

        def done() -> int:
            sent = conn.bytes_sent - before  # includes the head
            return sent if self.length is None else min(sent, self.length)

        bar.watch = done
        return self._file

    def _blocks(self, bar: Bar) -> Iterator[bytes]:
        while True:
            try:
                block = self._file.read(_BLOCK_SIZE)
            except OSError as exc:
                raise Failure(f"cannot read {self.name}: {exc.strerror}") from None
            if block is None:  # another process has made the file non-blocking
                PollNeeded(self._file.fileno(), POLLIN).poll()
                continue
            if not block:
                return
            self.taken = True
            yield block
            bar.done += len(block)


def _put(
    document: Document, fields: list[tuple[str, str]], source: Source, args: argparse.Namespace
) -> HTTPResponse:
    """Store a file, with several attempts if necessary. Returns the response."""
    upload = Upload(document, fields, source, args)
    label = Path(source.name).name
    with bars() as shown, connection(document, args) as conn:
        for attempt in attempts(args, document.url, upload.may_retry):
            with attempt, shown.bar(label, source.length) as bar:
                try:
                    return upload.run(conn, bar)
                except BaseException:
                    conn.disconnect()
                    raise
    raise AssertionError("the last attempt raises its own error")


class Upload:
    """Attempts to store a file."""

    def __init__(
        self,
        document: Document,
        fields: list[tuple[str, str]],
        source: Source,
        args: argparse.Namespace,
    ) -> None:
        self._document = document
        self._fields = fields
        self._source = source
        self._args = args
        self._is_connected = False

    def run(self, conn: HTTPConnection, bar: Bar) -> HTTPResponse:
        """Make one attempt. Returns the successful response.

        Raises:
            Failure, DugongError: the attempt failed.
        """
        self._is_connected = False
        conn.on_event = self._on_event
        try:
            body = self._source.body(bar, conn)
            response = conn.request("PUT", self._document.target, self._fields, body)
        except DugongError as exc:
            if is_temp_network_error(exc) and self._source.taken:
                raise Failure(f"{exc}; {self._source.name} cannot be sent a second time") from None
            raise
        except ValueError as exc:  # a body of unknown length, and a server that speaks HTTP/1.0
            raise Failure(str(exc)) from None
        except OSError as exc:
            if self._is_connected:
                raise Failure(f"cannot read {self._source.name}: {exc.strerror}") from None
            raise Failure(why(exc, conn, self._args)) from exc
        if not 200 <= response.status < 300:
            raise self._refused(conn, response)
        return response

    def _on_event(self, name: str) -> None:
        if name == ("secured" if self._document.tls else "connected"):
            self._is_connected = True
        elif name == "resolved":
            self._is_connected = False

    def _refused(self, conn: HTTPConnection, response: HTTPResponse) -> Refusal:
        message = f"the server responded with {response.status} {response.reason}".rstrip()
        location, allowed = response.headers["Location"], response.headers["Allow"]
        if location:
            message += f" (see {location})"
        elif response.status == 405 and allowed:
            message += f" (it allows {allowed})"
        elif words := what_is_said(conn, response):
            message += f": {words}"
        return Refusal(message, response)

    def may_retry(self, exc: Exception) -> bool:
        """Return whether another attempt makes sense, and cannot store anything twice."""
        if isinstance(exc, Refusal):
            return exc.not_before is not None and self._source.replayable
        cause = exc.__cause__ if isinstance(exc, Failure) else exc
        may: bool = getattr(cause, "safe_to_retry", False)
        return may and is_temporary(exc)
