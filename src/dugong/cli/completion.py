"""``dugong completion``: scripts with which a shell completes the command's arguments.

The package shtab makes them from the parsers, so they contain all options.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec

from . import COMMANDS, implementation, main_parser
from .arguments import Parser, command_parser
from .output import complain, print_bytes

_EXAMPLES = """\
To enable completion, add one of these lines to the configuration of your shell:
  bash  eval "$(dugong completion bash)"     in ~/.bashrc
  zsh   eval "$(dugong completion zsh)"      in ~/.zshrc, after compinit
  fish  dugong completion fish | source      in ~/.config/fish/config.fish
"""

_SHELLS = ("bash", "zsh", "fish")

#: The metavars of arguments that are completed with the names of files or directories.
_FILES = frozenset({"FILE", "PATH"})
_DIRECTORIES = frozenset({"DIR", "DIRECTORY"})


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    parser = command_parser("completion", "Print a shell completion script.", _EXAMPLES)
    parser.add_argument("shell", choices=_SHELLS, metavar="SHELL", help=" or ".join(_SHELLS))
    return parser


def run(args: argparse.Namespace, parser: Parser) -> int:
    """Print the script."""
    if find_spec("shtab") is None:
        complain("completion needs additional packages: pip install 'dugong[cli]'")
        return 2
    import shtab

    print_bytes(shtab.complete(whole_parser(), args.shell).encode())
    return 0


def whole_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line, with hints for shtab."""
    import shtab

    whole = main_parser(with_command=False)
    commands = whole.add_subparsers()
    for name, command in COMMANDS.items():
        own = commands.add_parser(
            name, parents=[implementation(name).parser()], add_help=False, help=command.summary
        )
        for action in own._actions:
            metavars = set(str(action.metavar).split("|"))
            if metavars & _FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
            elif metavars & _DIRECTORIES:
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    return whole
