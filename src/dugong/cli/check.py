"""``dugong check``: reports which URLs of a list, or which links of a page, are missing."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from . import output
from .arguments import (
    Parser,
    add_fields,
    add_retries,
    add_route,
    check_fields,
    command_parser,
    count,
    url,
)
from .judging import HARMLESS, Outcome, Result
from .output import complain, is_terminal, print_line, printable
from .sources import Sources
from .verdicts import Checker

if TYPE_CHECKING:
    from rich.live import Live

_TIMEOUT = 30.0
_RETRIES = 1

#: Requests in flight, for each server and in total. Browsers have 6 connections to a server.
_PER_HOST = 6
_PARALLEL = 64

#: Seconds between two updates of the counter.
_UPDATE_EVERY = 0.1

_EXAMPLES = """\
examples:
  dugong check https://example.org/ https://example.org/a      check two URLs
  dugong check -i urls.txt                                     check a list, one URL on each line
  grep -o 'https://[^ ]*' *.txt | dugong check --json -        read a pipe, write JSON
  dugong check --from-html https://example.org/                check all links of a page
  dugong check --from-html a.html --base https://example.org/  check a page before you publish it

Each URL is requested with HEAD. If that fails in any way, GET decides. A URL that is not ok gets
a line as soon as its result is known, in any order:
  missing       404 or 410
  redirected    the URL has moved; its new location is only checked with --follow
  denied        401, 402, 403, 407 or 451: the URL may exist, but you have no access
  failed        another status, such as 500; 429 and 503 are retried first
  unresolvable  the host name does not exist
  broken        no connection, or a lost one; untrusted certificate; not an HTTP response
  invalid       not a valid http or https URL

The exit status is 0 if all URLs are ok, redirected or denied (--strict: if all are ok), 1 if not,
2 for wrong usage, 130 after Ctrl-C. The number of requests per second adapts to what a server
allows. If a server does not answer, or asks for a longer pause than a minute, it is not contacted
again for a while. A URL that is given several times is checked several times, but the links of a
page are checked once.
"""


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    parser = command_parser(
        "check", "Report which URLs are missing, have moved, or cannot be reached.", _EXAMPLES
    )
    parser.add_argument(
        "urls",
        nargs="*",
        metavar="URL",
        help="an http or https URL; - reads a list from standard input",
    )
    parser.add_argument(
        "-i", "--input", dest="lists", metavar="FILE", action="append", default=[],
        help="also check the URLs in FILE, one on each line; # begins a comment",
    )  # fmt: skip
    parser.add_argument(
        "--from-html", dest="pages", metavar="FILE|URL", action="append", default=[],
        help="also check the links of an HTML page, a file or a URL",
    )  # fmt: skip
    parser.add_argument("--base", metavar="URL", type=url, help="the base URL for relative links")
    parser.add_argument(
        "--all", "-a", action="store_true", help="also print a line for each URL that is ok"
    )
    parser.add_argument(
        "--json", action="store_true",
        help="print lines of JSON: objects with url, result, status, location and message",
    )  # fmt: skip
    parser.add_argument(
        "--strict",
        action="store_true",
        help="also exit with status 1 if a URL is redirected or denied",
    )
    parser.add_argument(
        "-L", "--follow", action="store_true",
        help="follow redirects: the status of the last response counts",
    )  # fmt: skip
    parser.add_argument(
        "--per-host", metavar="N", type=count, default=_PER_HOST,
        help=f"send each server at most N requests at a time (default: {_PER_HOST})",
    )  # fmt: skip
    parser.add_argument(
        "--parallel-max", metavar="N", type=count, default=_PARALLEL,
        help=f"send at most N requests at a time (default: {_PARALLEL})",
    )  # fmt: skip
    add_fields(parser)
    add_route(parser, _TIMEOUT)
    add_retries(parser, _RETRIES)
    return parser


def run(args: argparse.Namespace, parser: Parser) -> int:
    check_fields(args, parser, "HEAD")
    args.headers = [(name, _encoded(value)) for name, value in args.headers]
    for option in ("per_host", "parallel_max"):
        if getattr(args, option) == 0:
            parser.error(f"argument --{option.replace('_', '-')}: must be at least 1")
    if not (args.urls or args.lists or args.pages):
        parser.error("give URLs, -i FILE, --from-html FILE|URL, or - for a list on standard input")
    if args.base is not None and not args.pages:
        parser.error("--base requires --from-html")
    args.base = None if args.base is None else args.base.url
    sources = Sources(args)
    reporter = Reporter(args)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # for example, not ignored
        # There is nothing to clean up, and a KeyboardInterrupt at an arbitrary point of an event
        # loop is not safe. So Ctrl-C ends the process immediately.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    with reporter.counting():
        asyncio.run(Checker(args, reporter.report).check(sources.urls()), debug=False)
    if is_terminal(2):
        reporter.summarize()
    return 1 if reporter.failed or sources.failed else 0


def _encoded(value: str | bytes | None) -> str | bytes | None:
    """Return a field value as it is sent: beyond ASCII, as UTF-8."""
    if not isinstance(value, str) or value.isascii():
        return value
    return value.encode("utf-8", "surrogateescape")


class Reporter:
    """Prints and counts results.

    Attributes:
        failed: whether any result is a failure.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.failed = False
        self._args = args
        self._harmless = frozenset({Outcome.OK}) if args.strict else HARMLESS
        self._counts: Counter[Outcome] = Counter()
        self._live: Live | None = None
        self._updated = 0.0

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Show a counter while the context lasts, if standard error is a terminal."""
        if not is_terminal(2):
            yield
            return
        from rich.console import Console
        from rich.live import Live

        # It is only drawn in `report`, so that Ctrl-C never finds another thread drawing.
        console = Console(file=sys.stderr)
        self._live = Live(
            console=console, auto_refresh=False, transient=True,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        before = output.print_error
        try:
            output.print_error = self._print_above
            yield
        finally:
            output.print_error = before
            self._live.stop()
            self._live = None

    def report(self, result: Result) -> None:
        self._counts[result.result] += 1
        if result.result not in self._harmless:
            self.failed = True
        if self._args.all or result.result is not Outcome.OK:
            self._print(_as_json(result) if self._args.json else as_text(result))
        live = self._live
        if live is not None and time.monotonic() >= self._updated + _UPDATE_EVERY:
            from rich.text import Text

            self._updated = time.monotonic()
            live.start()
            live.update(Text(self._summary()), refresh=True)

    def _print(self, line: str) -> None:
        if self._live is None or not self._live.is_started or not is_terminal(1):
            print_line(line)
        else:  # the terminal shows both
            self._print_above(printable(line))

    def _print_above(self, line: str) -> None:
        assert self._live is not None
        self._live.console.print(
            line, soft_wrap=True, markup=False, highlight=False, emoji=False
        )  # fmt: skip

    def _summary(self) -> str:
        counts = ", ".join(
            f"{self._counts[outcome]} {outcome}" for outcome in Outcome if self._counts[outcome]
        )
        return f"{self._counts.total()} checked" + (f": {counts}" if counts else "")

    def summarize(self) -> None:
        """Print the number of results of each kind on standard error."""
        complain(self._summary())


def _as_json(result: Result) -> str:
    """Return a result as an object of JSON. Bytes that are not UTF-8 are replaced."""
    text = json.dumps(result._asdict(), ensure_ascii=False)
    return json.dumps(
        json.loads(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    )


def as_text(result: Result) -> str:
    """Return a result as a human-readable line."""
    what = result.message
    if result.status is not None:
        what = f"{result.status} {what}".rstrip()
    if result.location is not None:
        what += f" -> {result.location}"
    return f"{result.result:12}  {result.url}: {what}"
