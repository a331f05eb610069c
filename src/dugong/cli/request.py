"""``dugong request``: sends a request with any method."""

from __future__ import annotations

import argparse

from . import get
from .arguments import Parser, command_parser

_EXAMPLES = """\
examples:
  dugong request DELETE https://example.org/animals/1
  dugong request PATCH --json '{"name": "walrus"}' https://example.org/animals/1
  dugong request OPTIONS --show-headers https://example.org/

The exit status is 0 if the server accepted the request (a status of 2xx), 1 if not, 2 for wrong
usage, 130 after Ctrl-C.
"""


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    parser = command_parser(
        "request",
        "Send a request with any method, and print the response.",
        _EXAMPLES,
        "dugong request [OPTION…] METHOD URL…",
    )
    get.add_arguments(parser)
    return parser


def run(args: argparse.Namespace, parser: Parser) -> int:
    """Send the requests."""
    if not args.urls:
        parser.error("give a method and at least one URL")
    method, *args.urls = args.urls
    return get.run(args, parser, method)
