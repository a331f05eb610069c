"""``dugong get``: prints the content of URLs, or stores it in files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .. import InvalidRequest
from . import output
from .arguments import Parser, command_parser
from .clients import new_client, save_cookies, shown, with_scheme
from .explaining import explained
from .fetching import Fetcher, Job
from .names import name_in_url
from .options import REMOTE_NAME, add_body, add_common, add_lists, add_output
from .output import Failure, complain
from .progress import bars

_EXAMPLES = """\
examples:
  dugong get http://localhost:8000/                   print the response body
  dugong get -O https://example.org/a.iso             save it as a.iso
  dugong get -O --continue https://example.org/a.iso  resume an interrupted download
  dugong get -L -o page.html example.org              follow redirects
  dugong get -H 'Accept: text/plain' --show-headers URL
  dugong get -Z -O -i urls.txt                        many files at a time
  dugong get --unix-socket /run/app.sock http://app/status

A file gets its name when it is complete. Until then, its data is in NAME.part if the download
can be resumed. Redirects to other servers do not carry Authorization, Cookie and Host.
Redirects from https to http are refused.

A request is retried after a network error, or a status of 429, 502, 503 or 504, except after a
refused connection. If the server asks for a delay of more than a minute (Retry-After), the
command gives up instead.

Certificates are checked against the system's authorities, or those in the file that --cacert or
the environment variable SSL_CERT_FILE names. The exit status is 0 if every URL was fetched,
1 if one was not, 2 for wrong usage, 130 after Ctrl-C.
"""


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    parser = command_parser(
        "get",
        "Fetch URLs, and print them or save them to files.",
        _EXAMPLES,
        "dugong get [OPTION…] URL…",
    )
    add_arguments(parser)
    return parser


def add_arguments(parser: Parser) -> None:
    """Add the URLs and all options."""
    parser.add_argument(
        "urls", nargs="*", metavar="URL", help="an http or https URL; the default is http"
    )
    add_lists(parser)
    add_common(parser)
    add_body(parser)
    add_output(parser)


def run(args: argparse.Namespace, parser: Parser, method: str | None = None) -> int:
    """Fetch the URLs.

    Args:
        args: the arguments.
        parser: their parser.
        method: the method unless ``-X`` or ``-I`` determines it; by default GET, or POST if there
            is a body, as in curl.
    """
    output.is_silent = args.silent and not args.show_error
    try:
        with ExitStack() as files:
            return _run(args, parser, method, files)
    except InvalidRequest as exc:
        parser.error(explained(exc))
    except Failure as exc:
        return complain(str(exc))


def _run(args: argparse.Namespace, parser: Parser, method: str | None, files: ExitStack) -> int:
    urls = [with_scheme(url) for url in args.urls]
    _check(args, parser, urls)
    body: dict[str, Any] = {}
    fields: list[tuple[str, Any]] = []
    if args.body:
        from .bodies import body_for

        body, fields = body_for(args.body, args.headers, files)
    if args.in_url:
        data = body.pop("body", b"").decode("utf-8", "surrogateescape")
        urls = [f"{url}{'&' if '?' in url else '?'}{data}" if data else url for url in urls]
        fields = []
    method = args.method or ("HEAD" if args.head else method or ("POST" if body else "GET"))
    with_bars = not args.silent and bool(args.outputs or args.header_name)
    connections = args.parts * (args.parallel_max if args.parallel else 1)
    with new_client(args, connections) as client, client.pool, bars(with_bars) as shown_bars:
        fetcher = Fetcher(args, client, shown_bars, method, body, fields)
        jobs = list(_jobs(args, parser, urls))
        for job in jobs:  # before anything is sent
            client.co_request(method, job.url, **fetcher.options_for(job)).close()
        status = fetcher.fetch_all(_and_listed(jobs, args, fetcher))
        if args.cookie_jar is not None:
            save_cookies(client, args.cookie_jar)
        return status


def _check(args: argparse.Namespace, parser: Parser, urls: list[str]) -> None:
    outputs = args.outputs or []
    if not urls and not args.lists:
        parser.error("give at least one URL, or -i FILE")
    is_for_all = outputs == [REMOTE_NAME] or args.header_name
    if outputs and not is_for_all and (args.lists or len(outputs) != len(urls)):
        parser.error("give -o FILE or -O once for each URL, or a single -O for all")
    if args.header_name and any(name is not REMOTE_NAME for name in outputs):
        parser.error("-J cannot be combined with -o")
    if args.checksums and (args.lists or len(args.checksums) != len(urls)):
        parser.error("give --checksum once for each URL")
    if not args.resume:
        return
    if args.header_name or not outputs or "-" in outputs:
        parser.error("--continue needs a file to resume: use -O or -o FILE")
    if args.show_headers or args.head or args.body or args.method or args.compressed:
        parser.error("--continue is for the plain content of files: leave out other options")
    if any(name.lower() in ("range", "if-range") for name, _ in args.headers):
        parser.error("--continue cannot be combined with -H Range or -H If-Range")


def _jobs(args: argparse.Namespace, parser: Parser, urls: list[str]) -> Iterator[Job]:
    """Yield the jobs for the URLs of the command line."""
    outputs = args.outputs or [None]
    names: set[Path] = set()
    for number, url in enumerate(urls):
        wanted = outputs[number if len(outputs) > 1 else 0]
        job = _job(args, url, wanted)
        if args.checksums:
            name, digits = args.checksums[number]
            if not digits:
                parser.error(f"--checksum {name} needs the digits of the digest")
            job.checksum = {name: digits}
        if wanted is REMOTE_NAME and job.path is None and not args.header_name:
            parser.error(f"{shown(url)} has no file name: use -o FILE")
        if job.path is not None and job.path in names:
            parser.error(f"two URLs would be saved as {job.path}: use -o FILE")
        if job.path is not None:
            names.add(job.path)
        yield job


def _job(args: argparse.Namespace, url: str, wanted: object) -> Job:
    directory = Path(args.output_dir or "")
    if args.header_name or wanted in (None, "-"):
        return Job(url)
    if wanted is REMOTE_NAME:
        name = name_in_url(url)
        return Job(url, None if name is None else directory / name, True)
    return Job(url, directory / str(wanted))


def _and_listed(jobs: list[Job], args: argparse.Namespace, fetcher: Fetcher) -> Iterable[Job]:
    """Yield *jobs*, and then those for the URLs of ``-i``, as they are read."""
    yield from jobs
    wanted = args.outputs[0] if args.outputs else None
    names = {job.path for job in jobs}
    for url in listed(args.lists):
        job = _job(args, url, wanted)
        if wanted is REMOTE_NAME and not args.header_name and (
            job.path is None or job.path in names
        ):  # fmt: skip
            why = "has no file name" if job.path is None else f"would be saved as {job.path}, too"
            fetcher.fail(f"{job.label} {why}: use -o FILE")
            continue
        names.add(job.path)
        yield job


def listed(files: list[str]) -> Iterator[str]:
    """Yield the URLs in files: one on each line, without empty lines and comments.

    Raises:
        Failure: a file cannot be read.
    """
    for name in files:
        try:
            if name == "-" and sys.stdin is None:
                raise Failure("cannot read standard input: it is closed")
            source = sys.stdin.fileno() if name == "-" else name
            with open(
                source, encoding="utf-8", errors="surrogateescape", closefd=name != "-"
            ) as lines:
                for line in lines:
                    text = line.strip()
                    if text and not text.startswith("#"):
                        yield with_scheme(text)
        except OSError as exc:
            raise Failure(f"cannot read {name}: {exc.strerror}") from exc
