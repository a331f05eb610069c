"""``dugong check``: reports which URLs of a list, or which links of a page, are missing."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from collections import Counter

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
from .checking import check
from .judging import HARMLESS, Outcome, Result
from .output import complain, is_terminal, print_line
from .sources import Sources

_TIMEOUT = 30.0
_RETRIES = 1
_SERVERS = 64

_EXAMPLES = """\
examples:
  dugong check https://example.org/ https://example.org/a      which of them are not there
  dugong check -f urls.txt                                     one URL on each line
  grep -o 'https://[^ ]*' *.txt | dugong check --json -        from a pipe, for a program
  dugong check --from-html https://example.org/                all links of a page
  dugong check --from-html a.html --base https://example.org/  a page that is not there yet

It sends HEAD. If that fails, in whatever way, the result is that of GET. Each URL that is not
simply there gets a line as soon as that is known, in whatever order:
  missing       404 or 410
  redirected    it has moved; whether it is there is for another check
  denied        401, 402, 403, 407 or 451: it may well be there, but not for us
  failed        another status, such as 500; 429 and 503 are tried again first
  unresolvable  there is no such host
  broken        no connection, or one that broke; certificate not trusted; no HTTP
  invalid       this is no URL of http or https

The exit status is 0 if all are there, redirected or denied (--strict: if all are there), 1 if
not, 2 if the command was wrong, 130 after Ctrl-C. A server that cannot be reached is not asked
for anything else for five minutes. URLs that occur several times are checked several times, but
the links of a page once.
"""


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    parser = command_parser(
        "check", "Tell which documents are missing, moved, or out of reach.", _EXAMPLES
    )
    parser.add_argument(
        "urls", nargs="*", metavar="URL", help="http or https; - for a list on standard input"
    )
    parser.add_argument(
        "-f", dest="lists", metavar="FILE", action="append", default=[],
        help="the URLs on the lines of FILE, too",
    )  # fmt: skip
    parser.add_argument(
        "--from-html", dest="pages", metavar="FILE|URL", action="append", default=[],
        help="the links of an HTML page, too: a file or a URL",
    )  # fmt: skip
    parser.add_argument(
        "--base", metavar="URL", type=url, help="what the links of the pages are relative to"
    )
    parser.add_argument(
        "--all", "-a", action="store_true", help="a line for each URL that is ok, too"
    )
    parser.add_argument(
        "--json", action="store_true",
        help="lines of JSON: objects with url, result, status, location and message",
    )  # fmt: skip
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 for what is redirected or denied, too"
    )
    parser.add_argument(
        "--servers", metavar="N", type=count, default=_SERVERS,
        help=f"ask at most N servers at a time ({_SERVERS})",
    )  # fmt: skip
    add_fields(parser)
    add_route(parser, _TIMEOUT)
    add_retries(parser, _RETRIES)
    return parser


def run(args: argparse.Namespace, parser: Parser) -> int:
    check_fields(args, parser, "HEAD")
    if args.servers == 0:
        parser.error("argument --servers: nobody can be asked then")
    if not (args.urls or args.lists or args.pages):
        parser.error("give URLs, -f FILE, --from-html FILE|URL, or - for a list on standard input")
    if args.base is not None and not args.pages:
        parser.error("--base is for --from-html")
    sources = Sources(args)
    reporter = Reporter(args)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # for example, not ignored
        # There is nothing to clean up, and a KeyboardInterrupt at an arbitrary point of an event
        # loop is not safe. So Ctrl-C ends the process immediately.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    asyncio.run(check(sources.urls(), args, reporter.report), debug=False)
    if is_terminal(2):
        reporter.summarize()
    return 1 if reporter.failed or sources.failed else 0


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

    def report(self, result: Result) -> None:
        self._counts[result.result] += 1
        if result.result not in self._harmless:
            self.failed = True
        if self._args.all or result.result is not Outcome.OK:
            print_line(json.dumps(result._asdict()) if self._args.json else as_text(result))

    def summarize(self) -> None:
        """Print the number of results of each kind on standard error."""
        counts = ", ".join(
            f"{self._counts[outcome]} {outcome}" for outcome in Outcome if self._counts[outcome]
        )
        complain(f"{self._counts.total()} checked" + (f": {counts}" if counts else ""))


def as_text(result: Result) -> str:
    """Return a result as a human-readable line."""
    what = result.message
    if result.status is not None:
        what = f"{result.status} {what}".rstrip()
    if result.location is not None:
        what += f" -> {result.location}"
    return f"{result.result:12}  {result.url}: {what}"
