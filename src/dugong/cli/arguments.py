"""The arguments that commands share, and the types of arguments.

If a type raises `argparse.ArgumentTypeError`, the parser shows its message and exits with 2.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, NoReturn

from .. import __version__
from ..protocol import grammar
from ..protocol.authority import check_host
from ..protocol.messages import Request
from ..protocol.proxy import parse_proxy
from ..protocol.request import NO_DEFAULTS, prepare
from .output import complain, print_bytes

#: The non-alphanumeric characters of a request target. All others are percent-encoded.
_TARGET_CHARACTERS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


class Formatter(argparse.RawDescriptionHelpFormatter):
    """The formatter of help. It knows its width.

    argparse makes one for each argument, and would load `shutil` to determine the width.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_width())


@lru_cache(1)
def _width() -> int:
    try:
        columns = int(os.environ.get("COLUMNS", "")) or 80
    except ValueError:
        try:
            columns = os.get_terminal_size(1).columns or 80
        except OSError:
            columns = 80
    return max(40, min(columns, 100) - 2)


class Parser(argparse.ArgumentParser):
    """A parser whose error messages are one line, and that notices if its help is not printed."""

    def error(self, message: str) -> NoReturn:
        complain(f"{message} (see {self.prog} --help)")
        sys.exit(2)

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse the arguments. An option that does not exist is reported as such."""
        args, unknown = self.parse_known_intermixed_args(words)
        if unknown:
            what = "option" if unknown[0].startswith("-") else "argument"
            self.error(f"unknown {what} {unknown[0]}")
        return args

    def print_help(self, file: object = None) -> None:
        print_bytes(self.format_help().encode())  # argparse would ignore an error


class PrintVersion(argparse.Action):
    """The action of ``--version``. That of argparse ignores errors."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *args: object) -> NoReturn:
        print_bytes(f"dugong {__version__}\n".encode())
        sys.exit(0)


def command_parser(name: str, description: str, epilog: str, usage: str | None = None) -> Parser:
    """Return the parser of a command, still without arguments. The *epilog* is not reformatted."""
    return Parser(
        prog=f"dugong {name}",
        usage=usage,
        description=description,
        epilog=epilog,
        formatter_class=Formatter,
        allow_abbrev=False,
    )


# Options that commands share.


def add_fields(parser: Parser) -> None:
    """Add ``-H``. Its values are in ``headers``: pairs of name and value."""
    parser.add_argument(
        "-H", "--header", dest="headers", metavar="'NAME: VALUE'", type=field,
        action="append", default=[],
        help="a field to send; may be given several times",
    )  # fmt: skip


def check_fields(args: argparse.Namespace, parser: Parser, method: str = "GET") -> None:
    """Exit with an error if a field of ``-H`` cannot be sent in a request without a body."""
    try:
        prepare(Request(method, "/", args.headers), False, NO_DEFAULTS)
    except ValueError as exc:
        parser.error(f"argument -H: {exc}")


def add_route(parser: Parser, timeout: float | None = None) -> None:
    """Add ``--proxy``, ``--unix-socket`` and ``--timeout``, for `servers.connection`."""
    by = parser.add_mutually_exclusive_group()
    by.add_argument(
        "-x", "--proxy", metavar="URL", type=proxy,
        help="connect through this proxy: http://[user:password@]host:port, or https://, "
        "socks5://, socks5h://",
    )  # fmt: skip
    by.add_argument(
        "--unix-socket", metavar="PATH", type=file_name, help="connect to this Unix socket"
    )
    usual = "" if timeout is None else f" (default: {timeout:g})"
    parser.add_argument(
        "--timeout", metavar="S", type=seconds, default=timeout,
        help="give up after S seconds without progress" + usual,
    )  # fmt: skip


def add_retries(parser: Parser, retries: int = 3) -> None:
    """Add ``--retries`` and ``--retry-delay``, for `servers.attempts`."""
    parser.add_argument(
        "--retry", "--retries", dest="retries", metavar="N", type=count, default=retries,
        help=f"retry up to N times after a network error (default: {retries})",
    )  # fmt: skip
    parser.add_argument(
        "--retry-delay", metavar="S", type=seconds, default=1.0,
        help="wait S seconds before the first retry, then twice as long each time (default: 1)",
    )  # fmt: skip


# The types of arguments.


class Document(NamedTuple):
    """A URL and its parts.

    Attributes:
        url: the URL as given.
        tls: whether the scheme is https.
        host: the host name or address.
        port: the port, ``None`` if the URL has none.
        target: the request target.
        name: the part of the path after the last slash.
    """

    url: str
    tls: bool
    host: str
    port: int | None
    target: str
    name: str

    @property
    def server(self) -> tuple[bool, str, int | None]:
        """The server. One connection can fetch all URLs for which this is equal."""
        return self.tls, self.host, self.port


def url(text: str) -> Document:
    """Parse a URL."""
    from urllib.parse import quote, urlsplit  # most commands leave URLs to the client

    def wrong(why: str) -> argparse.ArgumentTypeError:
        return argparse.ArgumentTypeError(f"{text!r}: {why}")

    text = text.strip(" ")
    if re.match("[^/?#]*//[^/?#]*@", text):  # first, because other messages show the URL
        raise argparse.ArgumentTypeError(
            "a user name or password in a URL is not sent: use -H 'Authorization: …'"
        )
    if grammar.CONTROL.search(text):
        raise wrong("a URL cannot contain control characters")
    try:
        parts = urlsplit(text)
    except ValueError as exc:
        raise wrong(str(exc)) from None
    if parts.scheme not in ("http", "https"):
        raise wrong("a URL must begin with http:// or https://")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise wrong("the port is not a number from 1 to 65535")
    host = parts.hostname
    if not host:
        raise wrong("the host name is missing")
    try:
        netloc = re.fullmatch(r"(?:\[([^]]*:[^]]*)\]|([^][:]*))(?::[0-9]*)?", parts.netloc)
        if netloc is None:
            raise ValueError
        address, name = netloc.groups()
        host = _check_host(address.replace("%25", "%") if address else name)  # RFC 6874
    except ValueError:
        raise wrong(f"{host!r} is not a host name or address") from None
    target = text.partition("#")[0].partition("//")[2][len(parts.netloc) :]
    if not target.startswith("/"):
        target = "/" + target
    return Document(
        text,
        parts.scheme == "https",
        host,
        port,
        quote(target.encode("utf-8", "surrogateescape"), safe=_TARGET_CHARACTERS),
        parts.path.rpartition("/")[2],
    )


@lru_cache(1024)  # lists of URLs have few hosts
def _check_host(host: str) -> str:
    return check_host(host).lower()


def file_name(text: str) -> str:
    """Check the name of a file, which need not exist."""
    if not text or text.endswith("/") or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a file name")
    return text


def field(text: str) -> tuple[str, str]:
    """Parse a field line. `check_fields` checks the parts."""
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError("a field must have the form 'Name: value'")
    return name, value.strip(" \t")


def field_to_send(text: str) -> tuple[str, str | bytes | None]:
    """Parse a field as curl does: ``Name:`` leaves out a field, ``Name;`` sends it without value.

    A value beyond ASCII is sent as UTF-8. Bytes that are not UTF-8 are sent as they are.
    """
    if ":" not in text and text.endswith(";"):
        return text[:-1], ""
    name, value = field(text)
    if not value:
        return name, None
    return name, encoded(value)


def encoded(value: str) -> str | bytes:
    """Return a field value as it is sent: beyond ASCII, as UTF-8."""
    return value if value.isascii() else value.encode("utf-8", "surrogateescape")


def proxy(text: str) -> str:
    """Check the URL of a proxy."""
    try:
        if grammar.CONTROL.search(text):
            raise ValueError("a URL cannot contain control characters")
        parse_proxy(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None
    return text


def seconds(text: str) -> float:
    """Parse a number of seconds above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return number


def count(text: str) -> int:
    """Parse a non-negative integer."""
    if not re.fullmatch("[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a non-negative integer")
    return int(text)
