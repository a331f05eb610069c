"""Keeps habits that editors have corrected out of docs, docstrings, comments and messages.

Each pattern comes with what to write instead. The patterns match no correct sentence that we know
of: if one does, make the pattern more precise.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import ROOT

#: What to avoid, and what to write instead.
HABITS = {
    r"anew|once more|again and again|time and again": "reconnects, retries; or nothing",
    r"by (?:it|them)sel(?:f|ves)|of (?:its|their|your) own accord": "automatically; or nothing",
    r"who waits|whoever|nobody|somebody": "the caller, a waiting call: name the thing",
    r"in vain|to be had|goes without|sees? to|a pity|troubles?": "failure, needs no, handles",
    r"tells?|told": "reports, returns, shows; notifies, if it is a thread",
    r"is to be said|is said by|to say": "to pass, to set, to use",
    r"(?:it|this|that|one|page|function|method|which|who) says": "reports, shows, describes",
    r"documents(?! the| which| what)": "URLs, files, responses",
    r"what is there|what comes|what there is": "the received data, the existing file",
    r"(?:is|are|was|were) (?:looked for|looked at|given up|found closed)": "the active voice",
    r"for ever": "forever",
    r"it is the one that|the one that waits": "name the thing",
    r"is no proof|the other way round": "the plain statement",
    r"need be|as good as new|and be it": "the plain statement",
    r"have come of|comes of it|comes out of it|came of it": "the result",
    r"whatever (?:the|its|their|either|a server)|however many": "regardless of",
}

#: Headings are nouns that a reader would search for.
HEADING = re.compile(
    r"^#+ (?:What|Where|Who|How (?!it works))\b.*"  # Markdown
    r"|^(?:What|Where|Who|How)\b.*\n[=~-]{3,}$",  # reStructuredText
    re.MULTILINE,
)

PROSE = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.rst")]
EXAMPLES = {*(ROOT / "examples").glob("*.py")} - {*(ROOT / "examples").glob("demo*.py")}
FOLDERS = [ROOT / "src" / "dugong", ROOT / "bench", ROOT / "fuzz", ROOT / "docs"]
SOURCES = [*EXAMPLES, *(path for folder in FOLDERS for path in folder.rglob("*.py"))]
FILES = sorted(PROSE + SOURCES)

_CODE = re.compile(r"^(`{3,}).*?^\1|<!--.*?-->|``.*?``|`[^`]*`", re.DOTALL | re.MULTILINE)


def prose_of(path: Path) -> str:
    """Return what a file says in English."""
    text = path.read_text("utf-8")
    return "\n".join([*_strings(text), *_comments(text)]) if path.suffix == ".py" else text


def _strings(source: str) -> Iterator[str]:
    """Yield docstrings and messages: the strings with more than one word."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.value


def _comments(source: str) -> Iterator[str]:
    """Yield the comments, line by line."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string.lstrip("#: ")


def habits_in(text: str) -> list[str]:
    words = " ".join(_CODE.sub("code", text).split())
    found = []
    for pattern, instead in HABITS.items():
        for match in re.finditer(rf"\b(?:{pattern})\b", words, re.IGNORECASE):
            around = words[max(0, match.start() - 40) : match.end() + 20]
            found.append(f"{around!r}: {instead}")
    return found


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=name)
def test_no_habits(path: Path) -> None:
    assert habits_in(prose_of(path)) == []


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix != ".py"], ids=name)
def test_headings_are_nouns(path: Path) -> None:
    assert HEADING.findall(_CODE.sub("", prose_of(path))) == []


def test_habits_are_found() -> None:
    assert len(habits_in("It connects anew,\nand nobody is\nto say it again and again.")) == 4
    assert habits_in("`tell` it to `nobody`:\n\n```\nanew\n```\n") == []
