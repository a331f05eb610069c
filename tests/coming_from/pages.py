"""Reads the tables of a page: rows of two cells, "you wrote" and "you write", of code each."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

PAGES = Path(__file__).parent.parent.parent / "docs" / "coming-from"

_MARK = re.compile(r"^[* ] - ")
_FENCE = re.compile(r"( *)```(\w*)$")


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
        elif line.startswith("::::"):
            in_table = "{list-table}" in line
        elif in_table and line.startswith("* - "):
            count += 1
            rows.append(Row(f"{heading} {count}"))
        if in_table and line[2:4] == "- ":
            rows[-1].cells.append(None)
        # The first line of an item has its mark where the others are indented.
        if in_table and (match := _FENCE.match(_MARK.sub("    ", line))):
            code = []
            for text in lines:
                if text.strip() == "```":
                    break
                code.append(text.removeprefix(match[1]))
            rows[-1].cells[-1] = (match[2], "\n".join(code) + "\n")
    return [row for row in rows if len(row.cells) == 2 and row.wrote and row.write]
