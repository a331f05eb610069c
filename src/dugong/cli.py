"""The command ``dugong``: documents from the command line."""

from __future__ import annotations

import argparse
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import SplitResult, quote, urlsplit

from . import __version__
from .blocking import HTTPConnection
from .errors import ConnectionClosed, DugongError
from .protocol import grammar
from .protocol.messages import HTTPResponse
from .transport.proxy import parse_proxy

_BLOCK_SIZE = 256 * 1024

#: What may stand in a request target as it is; everything else is percent-encoded.
_TARGET_CHARACTERS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

_EXAMPLES = """\
examples:
  dugong get http://localhost:8000/                   print a document
  dugong get -O https://example.org/a.iso             store it as a.iso
  dugong get -i -H 'Accept: text/plain' URL           its head, too
  dugong get --unix-socket /run/app.sock http://app/status
"""


class _Failure(Exception):
    """A message for the user."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns its exit status: 0, 1 if something failed, 2 for wrong use."""
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        status: int = args.run(args, args.parser)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _forget_stdout()  # whoever read our output has had enough
        return 1
    except OSError as exc:
        _forget_stdout()
        return _complain(f"cannot write the output: {exc.strerror}")
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dugong", description="An HTTP/1.1 client.")
    parser.add_argument("--version", action="version", version=f"dugong {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    get = commands.add_parser(
        "get",
        help="print or store documents",
        description="Print documents, or store them in files.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    get.set_defaults(run=_get, parser=get)
    get.add_argument("urls", nargs="+", metavar="URL", type=_url, help="http or https")
    where = get.add_mutually_exclusive_group()
    where.add_argument("-o", dest="output", metavar="FILE", help="store the document in FILE")
    where.add_argument(
        "-O", dest="remote_name", action="store_true", help="store it under its own name"
    )
    get.add_argument("-i", dest="head", action="store_true", help="write the response head, too")
    get.add_argument(
        "-H", dest="headers", metavar="'NAME: VALUE'", type=_field, action="append", default=[],
        help="a field to send; may be given several times",
    )  # fmt: skip
    get.add_argument("--proxy", metavar="URL", type=_proxy, help="http://[user:password@]host:port")
    get.add_argument(
        "--timeout", metavar="S", type=_seconds, help="give up when nothing moves for S seconds"
    )
    get.add_argument("--unix-socket", metavar="PATH", help="connect to this socket")
    return parser


# What the arguments mean. The message of an ArgumentTypeError is shown, and the exit status is 2.


def _url(text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text}: {exc}") from None
    if url.scheme not in ("http", "https") or not url.hostname or port == 0:
        raise argparse.ArgumentTypeError(f"{text}: not an http:// or https:// URL")
    if url.username is not None:
        raise argparse.ArgumentTypeError(
            "a URL with a password is visible to everybody: send it with -H 'Authorization: …'"
        )
    try:
        HTTPConnection(url.hostname, port)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text}: {exc}") from None
    return url


def _field(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    value = value.strip(" \t")
    if not colon or not grammar.TOKEN.fullmatch(name) or not grammar.FIELD_VALUE.fullmatch(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 'Name: value'")
    return name, value


def _proxy(text: str) -> str:
    try:
        parse_proxy(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds


# get


def _get(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    if args.output is not None and len(args.urls) > 1:
        parser.error("-o FILE takes one URL; use -O for several")
    jobs: list[tuple[SplitResult, str | None]] = []
    for url in args.urls:
        name = url.path.rpartition("/")[2] if args.remote_name else args.output
        if args.remote_name and name in ("", ".", ".."):
            parser.error(f"{url.geturl()} has no file name in it: use -o FILE")
        jobs.append((url, name))

    status = 0
    for conn, url, name in _with_connections(jobs, args):
        try:
            _get_one(conn, url, name, args)
        except (_Failure, DugongError, OSError, ValueError) as exc:
            if isinstance(exc, BrokenPipeError) and not isinstance(exc, DugongError):
                raise
            conn.disconnect()
            status = _complain(f"{url.geturl()}: {_describe(exc)}")
    return status


def _with_connections(
    jobs: list[tuple[SplitResult, str | None]], args: argparse.Namespace
) -> Iterator[tuple[HTTPConnection, SplitResult, str | None]]:
    """Give each job a connection: that of the job before if it has the same server."""
    conn: HTTPConnection | None = None
    server = None
    try:
        for url, name in jobs:
            if conn is None or server != (url.scheme, url.netloc):
                if conn is not None:
                    conn.disconnect()
                conn = _connection(url, args)
                server = (url.scheme, url.netloc)
            yield conn, url, name
    finally:
        if conn is not None:
            conn.disconnect()


def _connection(url: SplitResult, args: argparse.Namespace) -> HTTPConnection:
    context = None
    if url.scheme == "https":
        import ssl

        context = ssl.create_default_context()
    assert url.hostname is not None
    return HTTPConnection(
        url.hostname,
        url.port,
        context,
        None if args.unix_socket else args.proxy,
        timeout=args.timeout,
        unix_socket=args.unix_socket,
    )


def _get_one(
    conn: HTTPConnection, url: SplitResult, name: str | None, args: argparse.Namespace
) -> None:
    response = _request(conn, url, args.headers)
    head = _head(response) if args.head else b""
    if not 200 <= response.status < 300:
        if name is None:
            _write(sys.stdout.buffer, head)
        conn.discard()
        location = response.headers["Location"]
        where = f" (see {location})" if location else ""
        raise _Failure(f"the server said {response.status} {response.reason}".rstrip() + where)
    if name is None:
        _copy(conn, sys.stdout.buffer, head)
        return
    with _file(Path(name)) as file:
        _copy(conn, file, head)


def _request(
    conn: HTTPConnection, url: SplitResult, headers: list[tuple[str, str]]
) -> HTTPResponse:
    target = quote(url.path or "/", safe=_TARGET_CHARACTERS)
    if url.query:
        target += "?" + quote(url.query, safe=_TARGET_CHARACTERS)
    before = conn.bytes_received
    try:
        conn.send_request("GET", target, headers)
        return conn.read_response()
    except ConnectionClosed as exc:
        if not before or not exc.safe_to_retry or exc.response_started:
            raise
    # The connection was kept from the last document, and the server has not kept it that long.
    conn.disconnect()
    conn.send_request("GET", target, headers)
    return conn.read_response()


def _head(response: HTTPResponse) -> bytes:
    lines = [f"HTTP/{response.version} {response.status} {response.reason}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


def _copy(conn: HTTPConnection, file: IO[bytes], head: bytes) -> None:
    _write(file, head)
    buffer = memoryview(bytearray(_BLOCK_SIZE))
    while count := conn.readinto(buffer):
        _write(file, buffer[:count])


def _write(file: IO[bytes], data: bytes | memoryview) -> None:
    try:
        file.write(data)
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise _Failure(f"cannot write {file.name}: {exc.strerror}") from exc


@contextmanager
def _file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that gets its name when it is complete; until then it is called ``….part``."""
    try:
        mode = path.stat().st_mode
    except OSError:
        mode = stat.S_IFREG
    part = path if not stat.S_ISREG(mode) else path.with_name(path.name + ".part")
    try:
        file = part.open("wb")
    except OSError as exc:
        raise _Failure(f"cannot write {part}: {exc.strerror}") from exc
    try:
        with file:
            yield file
        if part != path:
            part.replace(path)
    except BaseException:
        if part != path:
            part.unlink(missing_ok=True)
        raise


def _describe(exc: Exception) -> str:
    if isinstance(exc, OSError) and not isinstance(exc, DugongError):
        return getattr(exc, "verify_message", None) or exc.strerror or str(exc)
    return str(exc)


def _complain(message: str) -> int:
    print(f"dugong: {message}", file=sys.stderr)
    return 1


def _forget_stdout() -> None:
    """Keep the interpreter from flushing standard output, and failing, once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
