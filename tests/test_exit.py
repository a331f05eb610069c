"""Connections that are used while the program ends, however it ends.

Each program runs with warnings as errors. It says what it is to say, and nothing else.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.answering import Answering

ROOT = Path(__file__).parent.parent

#: Each test is a process; without the slow ones, one of those without a loop and one with it.
STYLES = [
    "blocking", "asyncio",
    *(pytest.param(style, marks=pytest.mark.slow) for style in ("coroutines", "trio")),
]  # fmt: skip

every_style = pytest.mark.parametrize("style", STYLES)


def end(where: str, style: str, server: Answering) -> list[tuple[str, str]]:
    """Run `tests.ending`; return the names of its connections, and what came on them."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-m", "tests.ending", where, style,
         server.argument],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return [(line.split(": ")[0], line.split(": ")[1]) for line in done.stdout.splitlines()]


def names(server: Answering) -> list[str]:
    return [f"{how}, {state}" for how in server.hows for state in ("warm", "cold")]


@every_style
@pytest.mark.parametrize("where", [
    "atexit, registered before", "atexit, registered after", "logging", "the last thread",
])  # fmt: skip
def test_all_is_as_before(where: str, style: str, answering: Answering) -> None:
    """Connections made before are still there, and new ones can be made."""
    said = end(where, style, answering)
    times = 2 if where == "logging" else 1
    assert [name for name, _ in said] == names(answering) * times
    for index, (name, body) in enumerate(said):
        request = 1 + name.endswith("warm") + index // len(names(answering))
        assert re.fullmatch(rf"connection \d+, request {request}", body), (name, body)


@every_style
@pytest.mark.parametrize("where", [
    "__del__ of a global", "__del__ in a cycle", "__del__ in a cycle, let go",
])  # fmt: skip
def test_while_modules_are_cleared(where: str, style: str, answering: Answering) -> None:
    """No thread can be started and no module imported. A socket may have gone before its user."""
    said = end(where, style, answering)
    assert sorted(name for name, _ in said) == sorted(names(answering))
    for name, body in said:
        assert re.fullmatch(r"connection \d+, request [12]", body), (name, body)


@every_style
@pytest.mark.parametrize("where", ["nowhere", "a daemon thread"])
def test_connections_left_open(where: str, style: str, answering: Answering) -> None:
    assert end(where, style, answering) == []
