"""`dugong completion`: what the shells make of the scripts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dugong.cli import COMMANDS, implementation
from tests.cli.command import PATIENCE, Done, run, without_extra
from tests.cli.terminal import Terminal

#: How each shell is started with none of its user's settings.
SHELLS = {
    "bash": ["--noprofile", "--norc", "-i"],
    "zsh": ["-f", "-i"],
    "fish": ["--no-config", "-i"],
}

#: Has the script read, and says when that is done in words that do not stand in the command.
READ = {
    "fish": '{dugong} completion fish | source; echo re""ady\r',
    "bash": 'PS1="> "; eval "$({dugong} completion bash)"; echo re""ady\r',
    "zsh": (
        'PS1="> "; autoload -U compinit; compinit -D -u; eval "$({dugong} completion zsh)"; '
        'echo re""ady\r'
    ),
}


@pytest.fixture(params=[*SHELLS])
def shell(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Terminal]:
    """A shell in which the script has been read, in a directory with one file."""
    name: str = request.param
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    (tmp_path / "walrus.txt").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with Terminal(program, *SHELLS[name], columns=200) as terminal:
        dugong = f"{sys.executable} -m dugong"
        terminal.type(READ[name].format(dugong=dugong).encode())
        terminal.await_words("ready")
        yield terminal


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("dugong compl", "dugong completion"),
        ("dugong --ver", "dugong --version"),
        ("dugong get --cont", "dugong get --continue"),
        ("dugong get -o wal", "dugong get -o walrus.txt"),
        ("dugong put wal", "dugong put walrus.txt"),
        ("dugong put --content-t", "dugong put --content-type"),
        ("dugong completion zs", "dugong completion zsh"),
        ("dugong check --from-html wal", "dugong check --from-html walrus.txt"),
    ],
)
def test_completes(shell: Terminal, typed: str, completed: str) -> None:
    shell.type(f"{typed}\t".encode())
    shell.await_screen(lambda lines: any(completed in line for line in lines))


@pytest.mark.parametrize("name", [*SHELLS])
def test_all_options_are_there(name: str) -> None:
    done = run("completion", name)
    assert (done.status, done.err) == (0, "")
    script = done.out.decode()
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", script)
        for action in implementation(command).parser()._actions:
            for option in action.option_strings:
                written = option if name != "fish" else option.lstrip("-")
                assert re.search(rf"(?<![-\w]){re.escape(written)}\b", script), (command, option)


def test_without_extra() -> None:
    done = run("completion", "bash", command=without_extra())
    message = "dugong: completion needs additional packages: pip install 'dugong[cli]'\n"
    assert done == Done(2, b"", message)


@pytest.mark.parametrize("name", [*SHELLS])
def test_is_a_script(name: str) -> None:
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    script = run("completion", name).out
    done = subprocess.run(
        [program, "-n", "/dev/stdin"], input=script, capture_output=True,
        timeout=PATIENCE, check=False, env={**os.environ, "HOME": "/"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")


def test_misuse() -> None:
    done = run("completion", "tcsh")
    assert done.status == 2
    assert done.err.startswith("dugong: argument SHELL: invalid choice: 'tcsh'")
