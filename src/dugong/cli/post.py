"""``dugong post``: sends data to a URL, and prints the response."""

from __future__ import annotations

import argparse

from . import get
from .arguments import Parser, command_parser

_EXAMPLES = """\
examples:
  dugong post -d name=walrus -d kind=sea https://example.org/animals
  dugong post --json '{"name": "walrus"}' https://example.org/animals
  dugong post -F photo=@walrus.jpg -F name=walrus https://example.org/photos
  dugong post --data-binary @data.bin -H 'Content-Type: application/x-data' URL

The exit status is 0 if the server accepted the request (a status of 2xx), 1 if not, 2 for wrong
usage, 130 after Ctrl-C.
"""


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    parser = command_parser(
        "post",
        "Send data with POST, and print the response.",
        _EXAMPLES,
        "dugong post [OPTION…] URL…",
    )
    get.add_arguments(parser)
    return parser


def run(args: argparse.Namespace, parser: Parser) -> int:
    """Send the requests."""
    return get.run(args, parser, "POST")
