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
  dugong check https://example.org/ https://example.org/a      check two URLs
  dugong check -f urls.txt                                     check a list, one URL on each line
  grep -o 'https://[^ ]*' *.txt | dugong check --json -        read a pipe, write JSON
  dugong check --from-html https://example.org/                check all links of a page
  dugong check --from-html a.html --base https://example.org/  check a page before you publish it

Each URL is requested with HEAD. If that fails in any way, GET decides. A URL that is not ok gets
a line as soon as its result is known, in any order:
  missing       404 or 410
  redirected    the URL has moved; its new location is not checked
  denied        401, 402, 403, 407 or 451: the URL may exist, but you have no access
  failed        another status, such as 500; 429 and 503 are retried first
  unresolvable  the host name does not exist
  broken        no connection, or a lost one; untrusted certificate; not an HTTP response
  invalid       not a valid http or https URL

The exit status is 0 if all URLs are ok, redirected or denied (--strict: if all are ok), 1 if not,
2 for wrong usage, 130 after Ctrl-C. If a server cannot be reached, it is not contacted again for
five minutes. A URL that is given several times is checked several times, but the links of a page
are checked once.
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
        "-f", dest="lists", metavar="FILE", action="append", default=[],
        help="also check the URLs in FILE, one on each line",
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
        "--servers", metavar="N", type=count, default=_SERVERS,
        help=f"contact at most N servers at a time (default: {_SERVERS})",
    )  # fmt: skip
    add_fields(parser)
    add_route(parser, _TIMEOUT)
    add_retries(parser, _RETRIES)
    return parser


def run(args: argparse.Namespace, parser: Parser) -> int:
    check_fields(args, parser, "HEAD")
    if args.servers == 0:
        parser.error("argument --servers: must be at least 1")
    if not (args.urls or args.lists or args.pages):
        parser.error("give URLs, -f FILE, --from-html FILE|URL, or - for a list on standard input")
    if args.base is not None and not args.pages:
        parser.error("--base requires --from-html")
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
