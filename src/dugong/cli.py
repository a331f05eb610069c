"""The command ``dugong``: documents from the command line."""

from __future__ import annotations

import argparse
import ipaddress
import math
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import NoReturn, TextIO
from urllib.parse import quote, urlsplit

from . import __version__
from .blocking import HTTPConnection
from .errors import ConnectionClosed, DugongError
from .protocol import grammar
from .protocol.messages import HTTPResponse
from .protocol.request import NO_DEFAULTS, prepare
from .transport.poll import POLLOUT, PollNeeded
from .transport.proxy import parse_proxy

_BLOCK_SIZE = 256 * 1024

#: Bytes of an error's body that are read to keep the connection; a longer one is not worth it.
_MAX_SKIPPED = 1 << 20

#: What may stand in a request target as it is; everything else is percent-encoded.
_TARGET_CHARACTERS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

#: OpenSSL's codes for certificates whose authority is not known (X509_V_ERR_…).
_NO_AUTHORITY = frozenset({18, 19, 20, 21})

_EXAMPLES = """\
examples:
  dugong get http://localhost:8000/                   print a document
  dugong get -O https://example.org/a.iso             store it as a.iso
  dugong get -i -H 'Accept: text/plain' URL           its head, too
  dugong get --unix-socket /run/app.sock http://app/status

Certificates are checked against the system's authorities, or those in the file that the
environment variable SSL_CERT_FILE names. The exit status is 0 if every document was
fetched, 1 if one was not, 2 if the command was wrong.
"""


class _Failure(Exception):
    """A document could not be fetched or stored: a message for the user."""


class _Refusal(_Failure):
    """The server answered, but not with a document. The connection may serve the next request."""


class _OutputFailure(Exception):
    """Standard output takes no more; ``__cause__`` is why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns its exit status: 0, 1 if something failed, 2 for wrong use."""
    try:
        try:
            _command, *rest = _parser().parse_args(argv).command
            parser = _get_parser()
            return _get(parser.parse_intermixed_args(rest), parser)
        finally:
            if sys.stdout is not None:  # --help and --version print to it
                _flush_stdout()
    except KeyboardInterrupt:
        return 130
    except _OutputFailure as exc:
        if isinstance(exc.__cause__, BrokenPipeError):
            return 1  # whoever read our output has had enough
        return _complain(f"cannot write to standard output: {exc}")


# What the arguments are and mean. The message of an ArgumentTypeError is shown; exit status 2.


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        _complain(f"{message} (see {self.prog} --help)")
        sys.exit(2)


def _parser() -> _Parser:
    parser = _Parser(prog="dugong", description="An HTTP/1.1 client.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"dugong {__version__}")
    parser.add_argument(
        "command", nargs=argparse.PARSER, choices=["get"], metavar="COMMAND",
        help="get: print or store documents; see dugong get --help",
    )  # fmt: skip
    return parser


def _get_parser() -> _Parser:
    parser = _Parser(
        prog="dugong get",
        description="Print documents, or store them in files.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("documents", nargs="+", metavar="URL", type=_document, help="http or https")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "-o", dest="output", metavar="FILE", type=_file_name, help="store the document in FILE"
    )
    where.add_argument(
        "-O", dest="remote_name", action="store_true", help="store it under its own name"
    )
    parser.add_argument("-i", dest="head", action="store_true", help="write the response head, too")
    parser.add_argument(
        "-H", dest="headers", metavar="'NAME: VALUE'", type=_field, action="append", default=[],
        help="a field to send; may be given several times",
    )  # fmt: skip
    by = parser.add_mutually_exclusive_group()
    by.add_argument(
        "--proxy",
        metavar="URL",
        type=_proxy,
        help="go through it: http://[user:password@]host:port",
    )
    by.add_argument("--unix-socket", metavar="PATH", type=_file_name, help="connect to this socket")
    parser.add_argument(
        "--timeout", metavar="S", type=_seconds, help="give up when nothing moves for S seconds"
    )
    return parser


@dataclass(frozen=True)
class _Document:
    """What a URL says.

    Attributes:
        url: as given.
        target: the request target.
        name: what comes after the last slash of the path.
    """

    url: str
    tls: bool
    host: str
    port: int | None
    target: str
    name: str


def _document(text: str) -> _Document:
    def wrong(why: str) -> argparse.ArgumentTypeError:
        return argparse.ArgumentTypeError(f"{text!r}: {why}")

    text = text.strip(" ")
    if grammar.CONTROL.search(text):
        raise wrong("a URL has no control characters")
    try:
        url = urlsplit(text)
    except ValueError as exc:
        raise wrong(str(exc)) from None
    if url.scheme not in ("http", "https"):
        raise wrong("a URL begins with http:// or https://")
    if "@" in url.netloc:
        raise argparse.ArgumentTypeError(
            "a user name or password in a URL is not sent: use -H 'Authorization: …'"
        )
    try:
        port = url.port
    except ValueError:
        port = 0
    if port == 0:
        raise wrong("the port is not a number from 1 to 65535")
    host = url.hostname
    if not host:
        raise wrong("there is no host name in it")
    try:
        if "[" in url.netloc:
            host = host.replace("%25", "%")  # RFC 6874
            ipaddress.IPv6Address(host)
        if not re.fullmatch(r"(\[[^]]*\]|[^][:]*)(:[0-9]*)?", url.netloc):
            raise ValueError
        _check_host(host)
    except ValueError:
        raise wrong(f"{host!r} is not a host name or address") from None
    target = text.partition("#")[0].partition("//")[2][len(url.netloc) :]
    if not target.startswith("/"):
        target = "/" + target
    return _Document(
        text,
        url.scheme == "https",
        host,
        port,
        quote(target.encode("utf-8", "surrogateescape"), safe=_TARGET_CHARACTERS),
        url.path.rpartition("/")[2],
    )


def _check_host(host: str) -> None:
    try:
        host.encode("idna")  # its labels are neither empty nor too long
        HTTPConnection(host)
    except ValueError:
        raise ValueError(f"{host!r} is not a host name or address") from None


def _file_name(text: str) -> str:
    if not text or text.endswith("/") or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a file")
    return text


def _field(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 'Name: value'")
    return name, value.strip(" \t")


def _proxy(text: str) -> str:
    try:
        if grammar.CONTROL.search(text):
            raise ValueError("a URL has no control characters")
        _check_host(parse_proxy(text).host)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


# get


def _get(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    jobs = _jobs(args, parser)
    status = 0
    for conn, document, name in _with_connections(jobs, args):
        try:
            _get_one(conn, document, name, args)
        except (_Failure, DugongError) as exc:
            if not isinstance(exc, _Refusal):
                conn.disconnect()
            status = _complain(f"{document.url}: {exc}")
    return status


def _jobs(
    args: argparse.Namespace, parser: argparse.ArgumentParser
) -> list[tuple[_Document, str | None]]:
    """Return what to fetch, and the name of the file to store it in (``None``: print it)."""
    try:
        prepare("GET", "/", args.headers, None, False, NO_DEFAULTS)
    except ValueError as exc:
        parser.error(f"argument -H: {exc}")
    documents: list[_Document] = args.documents
    if not args.remote_name:
        if args.output is not None and len(documents) > 1:
            parser.error("-o FILE takes one URL: use -O for several")
        return [(document, None if args.output == "-" else args.output) for document in documents]
    names: set[str] = set()
    for document in documents:
        if document.name in ("", ".", ".."):
            parser.error(f"{document.url} has no file name in it: use -o FILE")
        if document.name in names:
            parser.error(f"two documents would be stored as {document.name}: use -o FILE")
        names.add(document.name)
    return [(document, document.name) for document in documents]


def _with_connections(
    jobs: list[tuple[_Document, str | None]], args: argparse.Namespace
) -> Iterator[tuple[HTTPConnection, _Document, str | None]]:
    """Give each job a connection: that of the job before if it has the same server."""
    conn: HTTPConnection | None = None
    server = None
    try:
        for document, name in jobs:
            if conn is None or server != (document.tls, document.host, document.port):
                if conn is not None:
                    conn.disconnect()
                conn = _connection(document, args)
                server = (document.tls, document.host, document.port)
            yield conn, document, name
    finally:
        if conn is not None:
            conn.disconnect()


def _connection(document: _Document, args: argparse.Namespace) -> HTTPConnection:
    context = None
    if document.tls:
        import ssl

        context = ssl.create_default_context()
    return HTTPConnection(
        document.host,
        document.port,
        context,
        args.proxy,
        timeout=args.timeout,
        unix_socket=args.unix_socket,
    )


def _get_one(
    conn: HTTPConnection, document: _Document, name: str | None, args: argparse.Namespace
) -> None:
    response = _response(conn, document, args)
    head = _head(response) if args.head else b""
    if not 200 <= response.status < 300:
        if name is None:
            _print(head)
        if response.status < 200:  # it speaks another protocol now
            conn.disconnect()
        location = response.headers["Location"]
        where = f" (see {location})" if location else ""
        raise _Refusal(f"the server said {response.status} {response.reason}".rstrip() + where)
    if name is None:
        _print(head)
        for part in _body(conn):
            _print(part)
        return
    try:
        with _file(name) as file:
            _write(file, head)
            for part in _body(conn):
                _write(file, part)
    except OSError as exc:
        if isinstance(exc, DugongError):
            raise
        raise _Failure(f"cannot write {name}: {exc.strerror}") from exc


def _response(conn: HTTPConnection, document: _Document, args: argparse.Namespace) -> HTTPResponse:
    kept = conn.bytes_received > 0
    try:
        conn.readall(_MAX_SKIPPED)  # what came with a refusal
    except DugongError:
        conn.disconnect()
    _connect(conn, args)
    try:
        conn.send_request("GET", document.target, args.headers)
        return conn.read_response()
    except ConnectionClosed as exc:
        if not kept or not exc.safe_to_retry or exc.response_started:
            raise
    # The connection was kept from the last document, and the server has not kept it that long.
    conn.disconnect()
    _connect(conn, args)
    conn.send_request("GET", document.target, args.headers)
    return conn.read_response()


def _connect(conn: HTTPConnection, args: argparse.Namespace) -> None:
    try:
        conn.connect()
    except DugongError:
        raise
    except OSError as exc:
        raise _Failure(_why(exc, conn, args)) from exc


def _why(exc: OSError, conn: HTTPConnection, args: argparse.Namespace) -> str:
    """Say why connecting failed, and what to do where that is not obvious."""
    server = f"{conn.hostname}:{conn.port}"
    if ":" in conn.hostname:
        server = f"[{conn.hostname}]:{conn.port}"
    reason: str | None = getattr(exc, "reason", None)  # of an ssl.SSLError
    if reason == "CERTIFICATE_VERIFY_FAILED":
        code: int = getattr(exc, "verify_code", 0)
        message: str = getattr(exc, "verify_message", "")
        hint = " (SSL_CERT_FILE may name its authority)" if code in _NO_AUTHORITY else ""
        return f"the certificate of {server} is not trusted: {message}{hint}"
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return f"{server} does not speak TLS: try http:// instead of https://"
    if reason is not None:
        return f"no TLS connection to {server}: {reason.replace('_', ' ').lower()}"
    if args.proxy is not None:
        proxy = parse_proxy(args.proxy)
        server = f"the proxy {proxy.host}:{proxy.port}"
    return f"cannot connect to {args.unix_socket or server}: {exc.strerror or exc}"


def _head(response: HTTPResponse) -> bytes:
    lines = [f"HTTP/{response.version} {response.status} {response.reason}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


def _body(conn: HTTPConnection) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(_BLOCK_SIZE))
    while count := conn.readinto(buffer):
        yield buffer[:count]


# Files and standard output


@contextmanager
def _file(name: str) -> Iterator[FileIO]:
    """Open a file that gets its name when it is complete. What is no regular file is written to."""
    path = Path(os.path.realpath(name))
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None and not stat.S_ISREG(mode):
        with path.open("wb", buffering=0) as file:
            yield file
        return
    if mode is not None:
        path.open("r+b").close()  # raises if it may not be written
    part = path.with_name(f"dugong-{secrets.token_hex(8)}.part")
    file = part.open("xb", buffering=0)
    try:
        with file:
            if mode is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(mode))
            yield file
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _write(file: FileIO, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        count = file.write(view)
        if count is None:  # somebody has made it non-blocking
            PollNeeded(file.fileno(), POLLOUT).poll()
        else:
            view = view[count:]


def _print(data: bytes | memoryview) -> None:
    if sys.stdout is None:
        raise _OutputFailure("it is closed")
    try:
        with FileIO(sys.stdout.fileno(), "wb", closefd=False) as file:
            _write(file, data)
    except OSError as exc:
        raise _OutputFailure(exc.strerror) from exc


def _flush_stdout() -> None:
    try:
        sys.stdout.flush()
    except OSError as exc:
        _forget(sys.stdout)
        raise _OutputFailure(exc.strerror) from exc


def _complain(message: str) -> int:
    """Print one line, whatever a URL or a server has put into it."""
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in f"dugong: {message}")
    if sys.stderr is not None:
        try:
            print(line, file=sys.stderr, flush=True)
        except OSError:
            _forget(sys.stderr)  # nobody to complain to
    return 1


def _forget(stream: TextIO) -> None:
    """Have the interpreter's last flush succeed: what cannot be written goes nowhere."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
