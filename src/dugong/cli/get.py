"""``dugong get``: prints the content of URLs, or stores it in files."""

from __future__ import annotations

import argparse

from .arguments import (
    Document,
    Parser,
    add_fields,
    add_retries,
    add_route,
    check_fields,
    command_parser,
    file_name,
    url,
)
from .fetching import Fetcher
from .files import destination
from .progress import bars
from .ranges import fingerprint
from .receiving import Job

_EXAMPLES = """\
examples:
  dugong get http://localhost:8000/                   print the response body
  dugong get -O https://example.org/a.iso             save it as a.iso
  dugong get -O --continue https://example.org/a.iso  resume an interrupted download
  dugong get -L -o page.html http://example.org/      follow redirects
  dugong get -i -H 'Accept: text/plain' URL           also print the response head
  dugong get --unix-socket /run/app.sock http://app/status

A file gets its name when it is complete. Until then, its data is in NAME.part if the download
can be resumed. Redirects to other servers do not carry Authorization, Cookie and Host.
Redirects from https to http are refused.

A request is retried after a network error, or a status of 429, 502, 503 or 504. If the server
asks for a delay of more than a minute (Retry-After), the command gives up instead.

Certificates are checked against the system's authorities, or those in the file that the
environment variable SSL_CERT_FILE names. The exit status is 0 if every URL was fetched,
1 if one was not, 2 for wrong usage, 130 after Ctrl-C.
"""

#: Fields that authenticate the user. They do not select what the response contains.
_CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization"})


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    parser = command_parser("get", "Fetch URLs, and print them or save them to files.", _EXAMPLES)
    parser.add_argument(
        "documents", nargs="+", metavar="URL", type=url, help="an http or https URL"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "-o", dest="output", metavar="FILE", type=file_name, help="save the response body to FILE"
    )
    where.add_argument(
        "-O", dest="remote_name", action="store_true", help="save it under the file name in the URL"
    )
    parser.add_argument(
        "--continue", dest="resume", action="store_true",
        help="resume interrupted downloads, unless the file on the server has changed",
    )  # fmt: skip
    parser.add_argument("-L", dest="follow", action="store_true", help="follow redirects")
    parser.add_argument("-i", dest="head", action="store_true", help="also write the response head")
    add_fields(parser)
    add_route(parser)
    add_retries(parser)
    return parser


def run(args: argparse.Namespace, parser: Parser) -> int:
    """Fetch the documents in order."""
    jobs = [_job(document, name, args) for document, name in _named(args, parser)]
    to_files = args.remote_name or args.output not in (None, "-")
    with bars(to_files) as shown, Fetcher(args, shown) as fetcher:
        return fetcher.fetch_all(jobs)


def _named(args: argparse.Namespace, parser: Parser) -> list[tuple[Document, str | None]]:
    """Return the documents, each with the name of its file, or ``None`` to print it."""
    _check(args, parser)
    documents: list[Document] = args.documents
    if not args.remote_name:
        if args.output is not None and len(documents) > 1:
            parser.error("-o FILE takes one URL: use -O for several")
        return [(document, None if args.output == "-" else args.output) for document in documents]
    names: set[str] = set()
    for document in documents:
        if document.name in ("", ".", ".."):
            parser.error(f"{document.url} has no file name: use -o FILE")
        if document.name in names:
            parser.error(f"two URLs would be saved as {document.name}: use -o FILE")
        names.add(document.name)
    return [(document, document.name) for document in documents]


def _check(args: argparse.Namespace, parser: Parser) -> None:
    check_fields(args, parser)
    if not args.resume:
        return
    if not args.remote_name and args.output in (None, "-"):
        parser.error("--continue needs a file to resume: use -O or -o FILE")
    if args.head:
        parser.error("--continue cannot be combined with -i")
    if any(name.lower() in ("range", "if-range") for name, _ in args.headers):
        parser.error("--continue cannot be combined with -H Range or -H If-Range")


def _job(document: Document, name: str | None, args: argparse.Namespace) -> Job:
    fields = [f"{k.lower()}: {v}" for k, v in args.headers if k.lower() not in _CREDENTIALS]
    request = fingerprint(document.url.partition("#")[0], *sorted(fields))
    return Job(document, name or "", destination(name, request))
