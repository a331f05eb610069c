"""``dugong time``: shows where the time of an exchange goes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ..connection.blocking import HTTPConnection
from ..errors import DugongError
from .arguments import (
    Document,
    Parser,
    add_fields,
    add_route,
    check_fields,
    command_parser,
    file_name,
    url,
)
from .files import store
from .measure import PHASES, Exchange, Stopwatch, fetch_one, fetch_pipelined
from .output import Failure, complain, is_terminal, print_bytes, print_line, printable, size
from .servers import connection

if TYPE_CHECKING:
    from rich.console import RenderableType

_EXAMPLES = """\
examples:
  dugong time https://example.org/                    one bar for each phase
  dugong time URL URL URL                             URLs of one host share a connection
  dugong time --har times.har URL URL                 a file for a browser's developer tools
  dugong time --svg times.svg URL URL URL             a picture, with and without pipelining
  dugong time URL URL | awk '{print $10, $NF}'       in a pipe: a table, times in milliseconds

The phases are those of HTTP/1.1: resolving the name, connecting, the TLS handshake (with a proxy,
also the tunnel), sending the request, waiting for the response, transferring its body. The rate is
the size of the body divided by the total time. Redirects are not followed, and any status counts
as success.

An archive (--har) contains all measurements, but no bodies, and no values of the fields
Authorization, Cookie and Set-Cookie. A picture (--svg) shows URLs of one server: they are fetched
one after the other, and then again in a pipeline on a new connection.

The exit status is 0 if every URL could be fetched, 1 if one could not, 2 for wrong usage,
130 after Ctrl-C.
"""

#: The colours of the phases in a terminal.
_COLOURS = {
    "resolving": "green",
    "connecting": "yellow",
    "TLS": "magenta",
    "sending": "cyan",
    "waiting": "red",
    "transfer": "blue",
}

#: The minimum length of a bar, as a fraction of the whole, so that it is visible.
_SLIVER = 0.005

#: The columns of the table that is printed if standard output is not a terminal.
_COLUMNS = ["status", f"{'bytes':>11}", f"{'bytes/s':>11}"]
_COLUMNS += [f"{name + '/ms':>9}" for name in (*PHASES, "total")]


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    parser = command_parser("time", "Show how long each phase of a request takes.", _EXAMPLES)
    parser.add_argument("urls", nargs="*", metavar="URL", help="an http or https URL")
    parser.add_argument(
        "--har", metavar="FILE", type=file_name, help="write an HTTP Archive (HAR 1.2) to FILE"
    )
    parser.add_argument(
        "--svg", metavar="FILE", type=file_name, help="write a picture (SVG) to FILE"
    )
    add_fields(parser)
    add_route(parser)
    return parser


def run(args: argparse.Namespace, parser: Parser) -> int:
    check_fields(args, parser)
    if not args.urls:
        parser.error("give at least one URL")
    if args.har == args.svg == "-":
        parser.error("only one of --har and --svg can be written to standard output")
    try:
        documents: list[Document] = [url(text) for text in args.urls]
    except argparse.ArgumentTypeError as exc:
        parser.error(f"argument URL: {exc}")
    if args.svg is not None and len({document.server for document in documents}) > 1:
        parser.error("--svg requires URLs of a single server")
    show = _show_bars if is_terminal(1) else _table()
    if "-" in (args.har, args.svg):
        show = _show_nothing
    status = 0
    exchanges: list[Exchange] = []
    with ExitStack() as stack:
        watches: dict[object, tuple[HTTPConnection, Stopwatch]] = {}
        for document in documents:
            if document.server not in watches:
                conn = stack.enter_context(connection(document, args))
                watches[document.server] = conn, Stopwatch(conn, args)
            try:
                exchange = fetch_one(*watches[document.server], document, args)
            except (Failure, DugongError) as exc:
                status = complain(f"{document.url}: {exc}")
                continue
            exchanges.append(exchange)
            show(exchange)
        if show is _show_bars and len(exchanges) > 1:
            print_line(_total(exchanges))
        if exchanges:
            conn, _ = watches[exchanges[0].document.server]
            status = max(status, _write_down(exchanges, conn, args))
    return status


def _write_down(exchanges: list[Exchange], conn: HTTPConnection, args: argparse.Namespace) -> int:
    """Write the requested files. Returns the exit status."""
    status = 0
    for name, make in ((args.har, _archive), (args.svg, _picture)):
        if name is not None:
            try:
                store(name, make(exchanges, conn, args))
            except (Failure, DugongError) as exc:
                status = complain(str(exc))
    return status


def _archive(exchanges: list[Exchange], conn: HTTPConnection, args: argparse.Namespace) -> bytes:
    from .har import har

    return har(exchanges)


def _picture(exchanges: list[Exchange], conn: HTTPConnection, args: argparse.Namespace) -> bytes:
    from .waterfall import waterfall

    if len(exchanges) == 1:
        return waterfall(exchanges, [])
    try:
        pipelined = fetch_pipelined(conn, [exchange.document for exchange in exchanges], args)
    except (Failure, DugongError) as exc:
        raise Failure(f"no picture: fetching the URLs in a pipeline failed: {exc}") from exc
    return waterfall(exchanges, pipelined)


# Output.


def _show_nothing(exchange: Exchange) -> None:
    """Print nothing, because standard output receives an archive or a picture."""


def _table() -> Callable[[Exchange], None]:
    """Return a function that prints an exchange as the next row of a table."""
    is_first = True

    def show(exchange: Exchange) -> None:
        nonlocal is_first
        if is_first:
            print_line("  ".join([*_COLUMNS, "URL"]))
            is_first = False
        took = {phase: end - begin for phase, (begin, end) in exchange.phases().items()}
        cells = [
            str(exchange.response.status),
            str(exchange.body_size),
            f"{_rate(exchange.body_size, exchange.duration):.0f}",
            *(f"{1000 * took[phase]:.2f}" if phase in took else "-" for phase in PHASES),
            f"{1000 * exchange.duration:.2f}",
        ]
        row = [f"{cell:>{len(name)}}" for cell, name in zip(cells, _COLUMNS, strict=True)]
        print_line("  ".join([*row, exchange.document.url]))

    return show


def _show_bars(exchange: Exchange) -> None:
    """Show an exchange in a terminal: one bar for each phase."""
    from rich.bar import Bar
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    whole = exchange.duration or 1e-9
    sliver = _SLIVER * whole
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(ratio=1)
    for phase, (begin, end) in exchange.phases().items():
        left = min(begin - exchange.start, whole - sliver)
        right = max(end - exchange.start, left + sliver)
        bar = Bar(whole, left, right, color=_COLOURS[phase])
        table.add_row(phase, _milliseconds(end - begin), bar)
    lines: list[RenderableType] = [
        Text(printable(exchange.document.url), style="bold"),
        Text(printable(_summary(exchange))),
        Padding(table, (0, 2, 1, 2)),
    ]
    console = Console()
    with console.capture() as capture:
        for line in lines:
            console.print(line)
    print_bytes(capture.get().encode())


def _summary(exchange: Exchange) -> str:
    response = exchange.response
    said = f"{response.status} {response.reason}".rstrip()
    where = f", from {exchange.address}" if exchange.address else ""
    return (
        f"{said}, {size(exchange.body_size)} in {_milliseconds(exchange.duration)}"
        f" ({size(_rate(exchange.body_size, exchange.duration))}/s){where},"
        f" connection {exchange.connection}"
    )


def _total(exchanges: list[Exchange]) -> str:
    seconds = sum(exchange.duration for exchange in exchanges)
    count = sum(exchange.body_size for exchange in exchanges)
    connections = {(one.document.server, one.connection) for one in exchanges}
    over = "1 connection" if len(connections) == 1 else f"{len(connections)} connections"
    return (
        f"{len(exchanges)} URLs, {size(count)} in {_milliseconds(seconds)}"
        f" ({size(_rate(count, seconds))}/s) over {over}"
    )


def _rate(count: int, seconds: float) -> int:
    return round(count / seconds) if seconds else 0


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.2f} ms"
