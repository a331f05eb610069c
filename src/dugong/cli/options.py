"""The options of the commands that transfer something: `get`, `post`, `request` and `put`.

They have the names that they have in curl, and the same meaning in each command. The exceptions are
options that curl does not have, and ``-i``, which reads a list of URLs.
"""

from __future__ import annotations

import argparse
import math
import re
from typing import Any

from .arguments import Parser, count, field_to_send, file_name, seconds

#: The factors of the units of `size`, as in curl.
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}

#: The hexadecimal digits of a digest without a name, and what it must be.
_BY_LENGTH = {32: "md5", 40: "sha-1", 64: "sha-256", 128: "sha-512"}

#: In a list of outputs: the file name in the URL.
REMOTE_NAME = object()


def add_lists(parser: Parser) -> None:
    """Add ``-i``."""
    parser.add_argument(
        "-i", "--input", dest="lists", metavar="FILE", type=file_name, action="append", default=[],
        help="also fetch the URLs in FILE, one on each line; - reads standard input",
    )  # fmt: skip


def add_output(parser: Parser) -> None:
    """Add the options for what is written, and where."""
    to = parser.add_argument_group("output")
    to.add_argument(
        "-o", "--output", dest="outputs", metavar="FILE", type=file_name, action="append",
        help="save the response body to FILE; give it once for each URL, in the same order",
    )  # fmt: skip
    to.add_argument(
        "-O", "--remote-name", dest="outputs", action="append_const", const=REMOTE_NAME,
        help="save it under the file name in the URL; given once, this holds for all URLs",
    )  # fmt: skip
    to.add_argument(
        "-J", "--remote-header-name", dest="header_name", action="store_true",
        help="save it under the name in Content-Disposition; overwrites nothing",
    )  # fmt: skip
    to.add_argument("--output-dir", metavar="DIR", help="save files in this directory")
    _flag(to, "--create-dirs", "create missing directories of files")
    _flag(to, "--continue", "resume interrupted downloads, and skip complete files", "resume")
    to.add_argument(
        "--parts", metavar="N", type=positive, default=1,
        help="fetch each file over N connections, if the server supports that",
    )  # fmt: skip
    to.add_argument(
        "--checksum", dest="checksums", metavar="DIGEST", type=checksum, action="append",
        help="the file must have this digest, such as sha-256:9f86…; one for each URL",
    )  # fmt: skip
    _flag(to, "-I --head", "send HEAD, and print the head of the response")
    _flag(to, "--show-headers", "also write the heads of responses")
    _flag(to, "-N --no-buffer", "write data as it arrives, which is always done")
    _flag(to, "-Z --parallel", "fetch several URLs at a time")
    to.add_argument(
        "--parallel-max", metavar="N", type=positive, default=50, help="at most N (default: 50)"
    )


def add_common(parser: Parser) -> None:
    """Add what all of these commands have in common, up to the body."""
    of = parser.add_argument_group("request")
    _flag(of, "-L --location", "follow redirects", "follow")
    of.add_argument("--max-redirs", metavar="N", type=count, default=20, help="at most N")
    of.add_argument(
        "-u", "--user", metavar="USER:PASSWORD", help="authenticate (Basic); asks for the password"
    )
    _flag(of, "-n --netrc", "take user and password from ~/.netrc")
    of.add_argument(
        "-H", "--header", dest="headers", metavar="'NAME: VALUE'", type=field_to_send,
        action="append", default=[],
        help="a field to send; 'NAME:' leaves out a field, 'NAME;' sends it without a value",
    )  # fmt: skip
    of.add_argument("-A", "--user-agent", metavar="TEXT", help="the field User-Agent")
    of.add_argument("-e", "--referer", metavar="URL", help="the field Referer")
    of.add_argument(
        "-b", "--cookie", dest="cookies", metavar="DATA|FILE", action="append", default=[],
        help="cookies: 'name=value; …', or a file in the format of Netscape",
    )  # fmt: skip
    of.add_argument(
        "-c", "--cookie-jar", metavar="FILE", type=file_name, help="write all cookies to FILE"
    )
    _flag(of, "--compressed", "ask for compressed responses, and decode them")
    shown = parser.add_argument_group("messages")
    _flag(shown, "-v --verbose", "show what is sent and received on standard error")
    _flag(shown, "-s --silent", "show neither progress nor errors")
    _flag(shown, "-S --show-error", "with -s, show errors")
    _flag(shown, "-f --fail", "fail if the status is not 2xx, which is always done")
    _flag(shown, "--fail-with-body", "then, also write the response body")
    _add_connection(parser)


def _add_connection(parser: Parser) -> None:
    via = parser.add_argument_group("connection")
    _flag(via, "-k --insecure", "do not verify certificates")
    via.add_argument("--cacert", metavar="FILE", type=file_name, help="trust these authorities")
    via.add_argument(
        "-E", "--cert", metavar="FILE", type=file_name, help="the client's own certificate"
    )
    via.add_argument("--key", metavar="FILE", type=file_name, help="its key, if in another file")
    by = via.add_mutually_exclusive_group()
    by.add_argument(
        "-x", "--proxy", metavar="URL",
        help="connect through this proxy: [http://][user:password@]host:port, or https://, "
        "socks5://, socks5h:// (default: from the environment)",
    )  # fmt: skip
    by.add_argument(
        "--unix-socket", metavar="PATH", type=file_name, help="connect to this Unix socket"
    )
    via.add_argument("--noproxy", metavar="HOSTS", help="use no proxy for these hosts; * is all")
    via.add_argument(
        "--resolve", metavar="HOST:PORT:ADDRESS", type=override, action="append", default=[],
        help="use this address for a host and port",
    )  # fmt: skip
    family = via.add_mutually_exclusive_group()
    family.add_argument(
        "-4", "--ipv4", dest="family", action="store_const", const=4, help="use IPv4 only"
    )
    family.add_argument(
        "-6", "--ipv6", dest="family", action="store_const", const=6, help="use IPv6 only"
    )
    via.add_argument("--interface", metavar="NAME|ADDRESS", help="connect from here")
    via.add_argument(
        "-m", "--max-time", metavar="S", type=seconds, help="each URL may take S seconds in all"
    )
    via.add_argument("--connect-timeout", metavar="S", type=seconds, help="connecting may take S")
    via.add_argument(
        "--timeout", metavar="S", type=seconds, help="give up after S seconds without progress"
    )
    via.add_argument(
        "--limit-rate", metavar="N", type=rate, help="receive at most N bytes per second (k, M, G)"
    )
    via.add_argument(
        "--retry", "--retries", dest="retries", metavar="N", type=count, default=3,
        help="retry up to N times after a network error (default: 3)",
    )  # fmt: skip
    via.add_argument(
        "--retry-delay", metavar="S", type=seconds, default=1.0,
        help="wait S seconds before the first retry, then twice as long each time (default: 1)",
    )  # fmt: skip
    _flag(via, "--retry-connrefused", "also retry if the connection is refused")


def add_body(parser: Parser) -> None:
    """Add ``-X`` and the options for the body. Their values are in ``body``, in order."""
    of = parser.add_argument_group("body")
    of.add_argument("-X", "--request", dest="method", metavar="METHOD", help="the method")
    for names, metavar, text in (
        ("-d --data", "DATA|@FILE", "send this form data (several are joined with &)"),
        ("--data-raw", "DATA", "the same, but @ means nothing"),
        ("--data-binary", "DATA|@FILE", "the same, but files are sent unchanged"),
        ("--data-urlencode", "[NAME]=TEXT", "the same, but TEXT is encoded"),
        ("--json", "DATA|@FILE", "send this JSON"),
        ("-F --form", "NAME=VALUE", "send a multipart form; NAME=@FILE[;type=…] sends a file"),
    ):
        flags = names.split()
        of.add_argument(
            *flags, dest="body", action=_InOrder, default=[], metavar=metavar, help=text
        )
    _flag(of, "-G --get", "append -d to the URL, and send GET", "in_url")


class _InOrder(argparse.Action):
    """Appends the name of an option and its value to a list that several options share."""

    def __call__(
        self, parser: object, args: argparse.Namespace, value: object, option: object = None
    ) -> None:
        name = self.option_strings[-1].removeprefix("--")
        setattr(args, self.dest, [*getattr(args, self.dest), (name, value)])


def _flag(group: Any, names: str, text: str, dest: str = "") -> None:
    flags = names.split()
    dest = dest or flags[-1].removeprefix("--").replace("-", "_")
    group.add_argument(*flags, dest=dest, action="store_true", help=text)


# The types of values.


def positive(text: str) -> int:
    """Parse a positive integer."""
    number = count(text)
    if not number:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def rate(text: str) -> float:
    """Parse a number of bytes, perhaps with a unit."""
    match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]+)?)([kmg]?)b?", text.lower())
    number = math.floor(float(match[1]) * _UNITS[match[2]]) if match else 0
    if not number:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bytes such as 500k or 2M")
    return number


def override(text: str) -> tuple[tuple[str, int], list[str]]:
    """Parse a value of ``--resolve``."""
    match = re.fullmatch(r"\+?(\[[^]]*\]|[^:]+):([0-9]{1,5}):(.+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} does not have the form HOST:PORT:ADDRESS")
    host, port, addresses = match.groups()
    return (host.strip("[]"), int(port)), [each.strip("[]") for each in addresses.split(",")]


def checksum(text: str) -> tuple[str, str]:
    """Parse a digest: the name of an algorithm and hexadecimal digits, empty if there are none."""
    name, _, digits = text.replace("=", ":", 1).rpartition(":")
    if not re.fullmatch("[0-9a-fA-F]*", digits) or (not name and len(digits) not in _BY_LENGTH):
        name, digits = text, ""
    name = re.sub(r"^sha-?(1|224|256|384|512)$", r"sha-\1", name.lower()) or _BY_LENGTH[len(digits)]
    import hashlib

    try:
        size = hashlib.new(name.replace("-", "", 1), usedforsecurity=False).digest_size
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} does not have the form ALGORITHM:DIGITS, such as sha-256:9f86…"
        ) from None
    if digits and len(digits) != 2 * size:
        raise argparse.ArgumentTypeError(f"a {name} digest has {2 * size} digits")
    return name, digits.lower()
