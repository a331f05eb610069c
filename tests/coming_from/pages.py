"""Reads the tables of a page: rows of two cells, "you wrote" and "you write", of code each."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

PAGES = Path(__file__).parent.parent.parent / "docs" / "coming-from"

_TABLE = re.compile(r"<table class=\"before-after\">")
_FENCE = re.compile(r"```(\w+)$")


@dataclass
class Row:
    """A row of a table.

    Attributes:
        title: the heading that the table stands under, and the row's number below it.
        wrote: language and code of the first cell; ``None`` if it has none.
        write: the same of the second cell.
    """

    title: str
    cells: list[tuple[str, str] | None] = field(default_factory=list)

    @property
    def wrote(self) -> tuple[str, str] | None:
        return self.cells[0]

    @property
    def write(self) -> tuple[str, str] | None:
        return self.cells[1]


def rows_of(page: Path) -> list[Row]:
    """Return all rows of code in a page."""
    rows: list[Row] = []
    heading, in_table, count = "", False, 0
    lines = iter(page.read_text().splitlines())
    for line in lines:
        if line.startswith("#"):
            heading, count = line.strip("# "), 0
        elif line.startswith(("<table", "</table>")):
            in_table = _TABLE.fullmatch(line) is not None
        elif in_table and line == "<tr><td>":
            count += 1
            rows.append(Row(f"{heading} {count}", [None]))
        elif in_table and line == "</td><td>":
            rows[-1].cells.append(None)
        elif in_table and (match := _FENCE.fullmatch(line)):
            code = list(iter(lines.__next__, "```"))
            rows[-1].cells[-1] = (match[1], "\n".join(code) + "\n")
    return [row for row in rows if len(row.cells) == 2 and row.wrote and row.write]
