"""The command ``dugong``: HTTP from the command line.

Each command has its own module, which is only loaded when the command is called. The module has
``parser()``, which returns the parser of its arguments, and ``run(args, parser)``, which returns
the exit status: 0 for success, 1 if something failed, 2 for wrong use. Ctrl-C raises
``KeyboardInterrupt``. After the cleanup, `main` ends the process with the signal.

Messages to the user are single lines on standard error, written by `output`.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple, Protocol, cast

from .arguments import Formatter, Parser, PrintVersion
from .output import EnvironmentFailure, OutputFailure, complain, flush_stdout, has_extra

_EXTRA_MISSING = "{} needs additional packages: pip install 'dugong[cli]'"


class Command(NamedTuple):
    """An entry of the table of commands.

    Attributes:
        module: the module of this package that implements the command.
        summary: a description in a few words.
        needs_extra: whether the command requires the extra ``cli``.
    """

    module: str
    summary: str
    needs_extra: bool = False


COMMANDS = {
    "get": Command("get", "fetch URLs, and print them or save them to files"),
    "post": Command("post", "send data with POST, and print the response"),
    "request": Command("request", "send a request with any method"),
    "check": Command("check", "report which URLs are missing", needs_extra=True),
    "put": Command("put", "store files on a server"),
    "time": Command("timing", "show how long each phase of a request takes", needs_extra=True),
    "completion": Command("completion", "print a shell completion script"),
}


class Implementation(Protocol):
    """The interface of the module of a command."""

    def parser(self) -> Parser: ...

    def run(self, args: argparse.Namespace, parser: Parser) -> int: ...


def implementation(name: str) -> Implementation:
    """Load the module of a command."""
    module = import_module(f".{COMMANDS[name].module}", __name__)
    return cast("Implementation", module)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    After Ctrl-C, this does not return: the process ends by the signal, as shells expect. A shell
    reports status 130, and also ends the loop or script that called the command.

    Args:
        argv: the arguments, those of the process by default.

    Returns:
        The exit status: 0 for success, 1 if something failed, 2 for wrong use.
    """
    try:
        try:
            name, *rest = _command(sys.argv[1:] if argv is None else argv)
            command = implementation(name)
            parser = command.parser()
            args = parser.parse(rest)
            if COMMANDS[name].needs_extra and not has_extra():
                complain(_EXTRA_MISSING.format(name))
                return 2
            return command.run(args, parser)
        finally:
            if sys.stdout is not None:  # --help and --version print to it
                flush_stdout()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
        raise
    except EnvironmentFailure as exc:
        return complain(str(exc))
    except OutputFailure as exc:
        if isinstance(exc.__cause__, BrokenPipeError):
            return 1  # the reader of our output has closed the pipe: no message
        return complain(f"cannot write to standard output: {exc}")


def _command(words: Sequence[str]) -> Sequence[str]:
    """Return the name of the command and its arguments."""
    if words and words[0] in COMMANDS:
        return words
    parser = main_parser()
    if words and words[0].startswith("-") and words[0] not in ("-h", "--help", "--version", "--"):
        parser.error(f"unknown option {words[0]}")
    command: list[str] = parser.parse_args(words).command
    return command


def main_parser(*, with_command: bool = True) -> Parser:
    """Return the parser of the main options and, if wanted, the name of the command."""
    width = max(map(len, COMMANDS))
    commands = [f"  {name:{width}}  {command.summary}" for name, command in COMMANDS.items()]
    parser = Parser(
        prog="dugong",
        description="An HTTP/1.1 client.",
        epilog="\n".join(
            [
                "commands:",
                *commands,
                "",
                "Run 'dugong COMMAND --help' for the options of a command.",
            ]
        ),
        formatter_class=Formatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=PrintVersion)
    if with_command:
        parser.add_argument(
            "command", nargs=argparse.PARSER, choices=[*COMMANDS], metavar="COMMAND",
            help="one of the commands below, followed by its arguments",
        )  # fmt: skip
    return parser
