"""``dugong completion``: scripts with which a shell completes the command's arguments.

The scripts are generated from the parsers, so they contain all options.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from . import COMMANDS, implementation, main_parser
from .arguments import Parser, command_parser
from .output import print_bytes

_EXAMPLES = """\
To enable completion, add one of these lines to the configuration of your shell:
  bash  eval "$(dugong completion bash)"     in ~/.bashrc
  zsh   eval "$(dugong completion zsh)"      in ~/.zshrc, after compinit
  fish  dugong completion fish | source      in ~/.config/fish/config.fish
"""

#: The metavars of arguments that are completed with file names.
_FILES = frozenset({"FILE", "PATH", "DIRECTORY"})


@dataclass(frozen=True)
class Option:
    """An option of a command.

    Attributes:
        names: all names of the option.
        help: its description.
        takes: the metavar of its value, ``""`` if it has none.
        choices: the possible values, if they are limited.
    """

    names: tuple[str, ...]
    help: str
    takes: str
    choices: tuple[str, ...] = ()

    @property
    def takes_file(self) -> bool:
        return _is_file(self.takes)


@dataclass(frozen=True)
class Words:
    """The words that can follow the name of a command.

    Attributes:
        options: the options of the command.
        choices: possible positional arguments.
        files: whether positional arguments may be file names.
    """

    options: tuple[Option, ...]
    choices: tuple[str, ...]
    files: bool


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    parser = command_parser("completion", "Print a shell completion script.", _EXAMPLES)
    parser.add_argument("shell", choices=[*_SCRIPTS], metavar="SHELL", help=" or ".join(_SCRIPTS))
    return parser


def run(args: argparse.Namespace, parser: Parser) -> int:
    """Print the script."""
    commands = {name: words_of(implementation(name).parser()) for name in COMMANDS}
    script = _SCRIPTS[args.shell](words_of(main_parser()), commands)
    print_bytes(script.encode())
    return 0


def _is_file(takes: str) -> bool:
    return not _FILES.isdisjoint(takes.split("|"))


def words_of(parser: Parser) -> Words:
    """Return the words that a parser accepts."""
    options: list[Option] = []
    choices: list[str] = []
    files = False
    formatter = parser._get_formatter()
    for action in parser._actions:
        values = tuple(map(str, action.choices or ()))
        takes = "" if action.nargs == 0 else str(action.metavar or action.dest)
        if action.option_strings:
            text = formatter._expand_help(action) if action.help else ""
            options.append(Option(tuple(action.option_strings), text, takes, values))
        elif action.nargs != argparse.PARSER:
            choices += values
            files = files or _is_file(takes)
    return Words(tuple(options), tuple(choices), files)


def _quoted(text: str) -> str:
    """Return *text* in single quotes, in a form that all three shells accept."""
    return "'{}'".format(text.replace("'", "'\\''"))


# bash: a function that examines the words before the one to complete.

_BASH = """\
_dugong() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
    COMPREPLY=()
    if (( COMP_CWORD == 1 )); then
        COMPREPLY=($(compgen -W {first} -- "$word"))
        return
    fi
    case ${{COMP_WORDS[1]}} in
{commands}
    esac
}}
complete -o bashdefault -F _dugong dugong
"""

_BASH_COMMAND = """\
    {name})
        case $before in
{values}
        esac
        if [[ $word == -* ]]; then
            COMPREPLY=($(compgen -W {options} -- "$word"))
        else
{words}
        fi
        ;;"""


def _bash(main: Words, commands: dict[str, Words]) -> str:
    first = [*commands, *_names(main)]
    cases = [
        _BASH_COMMAND.format(
            name=name,
            values="\n".join(_bash_values(words)),
            options=_quoted(" ".join(_names(words))),
            words="\n".join(_bash_words(words)),
        )
        for name, words in commands.items()
    ]
    return _BASH.format(first=_quoted(" ".join(first)), commands="\n".join(cases))


def _bash_values(words: Words) -> Iterator[str]:
    for option in words.options:
        if not option.takes:
            continue
        if option.choices:
            action = f'COMPREPLY=($(compgen -W {_quoted(" ".join(option.choices))} -- "$word"))'
        elif option.takes_file:
            action = 'compopt -o filenames; COMPREPLY=($(compgen -f -- "$word"))'
        else:
            action = ":"  # the possible values are unknown
        yield f"        {'|'.join(option.names)}) {action}; return ;;"


def _bash_words(words: Words) -> Iterator[str]:
    indent = " " * 12
    if words.choices:
        yield f'{indent}COMPREPLY=($(compgen -W {_quoted(" ".join(words.choices))} -- "$word"))'
    elif words.files:
        yield f'{indent}compopt -o filenames; COMPREPLY=($(compgen -f -- "$word"))'
    else:
        yield f"{indent}:"


# zsh: a call of _arguments with a specification of each option.

_ZSH = """\
_dugong() {{
    if (( CURRENT == 2 )); then
        _values command {commands}
        return
    fi
    local command=$words[2]
    shift words
    (( CURRENT-- ))
    case $command in
{cases}
    esac
}}
compdef _dugong dugong
"""


def _zsh(main: Words, commands: dict[str, Words]) -> str:
    named = [_quoted(f"{name}[{_zsh_text(COMMANDS[name].summary)}]") for name in commands]
    named += [_quoted(f"{name}[{_zsh_text(o.help)}]") for o in main.options for name in o.names]
    cases = [
        f"    {name}) _arguments {' '.join(_zsh_arguments(words))} ;;"
        for name, words in commands.items()
    ]
    return _ZSH.format(commands=" ".join(named), cases="\n".join(cases))


def _zsh_arguments(words: Words) -> Iterator[str]:
    for option in words.options:
        for name in option.names:
            value = ""
            if option.takes:
                value = f":{_zsh_text(option.takes)}:"
                if option.choices:
                    value += f"({' '.join(option.choices)})"
                elif option.takes_file:
                    value += "_files"
            yield _quoted(f"*{name}[{_zsh_text(option.help)}]{value}")
    if words.choices:
        yield _quoted(f"*:word:({' '.join(words.choices)})")
    else:
        yield _quoted("*:word:_files" if words.files else "*:URL:_urls")


def _zsh_text(text: str) -> str:
    return re.sub(r"([][:\\])", r"\\\1", text)


# fish: one line for each option.


def _fish(main: Words, commands: dict[str, Words]) -> str:
    lines = ["complete -c dugong -f"]
    first = "-n __fish_use_subcommand"
    lines += [
        f"complete -c dugong {first} -a {name} -d {_quoted(COMMANDS[name].summary)}"
        for name in commands
    ]
    lines += [f"complete -c dugong {first} {_fish_option(option)}" for option in main.options]
    for name, words in commands.items():
        here = f"-n '__fish_seen_subcommand_from {name}'"
        lines += [f"complete -c dugong {here} {_fish_option(option)}" for option in words.options]
        if words.choices:
            lines.append(f"complete -c dugong {here} -a {_quoted(' '.join(words.choices))}")
        elif words.files:
            lines.append(f"complete -c dugong {here} -F")
    return "\n".join(lines) + "\n"


def _fish_option(option: Option) -> str:
    parts = []
    for name in option.names:
        if name.startswith("--"):
            parts.append(f"-l {name[2:]}")
        else:
            parts.append(f"-{'s' if len(name) == 2 else 'o'} {name[1:]}")
    if option.takes:
        parts.append("-r")
    if option.choices:
        parts.append(f"-a {_quoted(' '.join(option.choices))}")
    elif option.takes_file:
        parts.append("-F")
    parts.append(f"-d {_quoted(option.help)}")
    return " ".join(parts)


def _names(words: Words) -> list[str]:
    return [name for option in words.options for name in option.names]


_SCRIPTS: dict[str, Callable[[Words, dict[str, Words]], str]] = {
    "bash": _bash,
    "zsh": _zsh,
    "fish": _fish,
}
