"""Draws a table of transitions as SVG: states as boxes in a grid, transitions as arrows.

States that share an event with the same outcome are framed, and the event leaves the frame once.
So a diagram stays legible where every state can fail. Nothing but the standard library is used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from html import escape
from textwrap import wrap
from typing import TypeAlias

Table: TypeAlias = Mapping[str, Mapping[str, str]]
Places: TypeAlias = Mapping[str, tuple[int, int]]

COLUMN, ROW = 230, 110  # distances between the centres of boxes
BOX_WIDTH, BOX_HEIGHT = 130, 38
LEFT, TOP = 120, 32  # of the first box's centre
LINE = 17  # from one line of a label to the next

STYLE = """
text { font: 14px sans-serif; fill: #1f2937; }
text.state { font-size: 15px; font-weight: bold; text-anchor: middle; }
.line { fill: none; stroke: #5b6678; stroke-width: 1.5; }
.head { fill: #5b6678; }
rect.page { fill: #fff; }
rect.state { fill: #eef3fb; stroke: #2f5fae; stroke-width: 1.5; }
rect.frame { fill: none; stroke: #b6bfcc; stroke-dasharray: 5 4; }
"""
APART = 24  # between the arrows of a pair that leads both ways


def draw(table: Table, places: Places, title: str) -> str:
    """Return the SVG.

    Args:
        table: for each state, what events lead to which state.
        places: for each state, its column and row. The rows of the states in a frame have to be
            above those of the states that the frame leads to.
        title: what it is a diagram of, for those who cannot see it.

    Raises:
        ValueError: a state has no place, or a place no state.
    """
    if (missing := set(table) ^ set(places)) or len(set(places.values())) != len(places):
        raise ValueError(f"each state needs a place of its own: look at {sorted(missing)}")
    return _Drawing(table, places).svg(title)


def shared(table: Table) -> dict[tuple[str, str], list[str]]:
    """Return the pairs of event and outcome that several states have, with these states."""
    sources = defaultdict(list)
    for state, events in table.items():
        for event, target in events.items():
            sources[event, target].append(state)
    most = max((len(states) for states in sources.values()), default=0)
    frame = next((states for states in sources.values() if len(states) == most > 1), [])
    return {pair: states for pair, states in sources.items() if frame and states == frame}


class _Drawing:
    def __init__(self, table: Table, places: Places) -> None:
        self.places = places
        self.shared = shared(table)
        self.framed = next(iter(self.shared.values()), [])
        self.labels: dict[tuple[str, str], list[str]] = defaultdict(list)
        for state, events in table.items():
            for event, target in events.items():
                if (event, target) not in self.shared:
                    self.labels[state, target].append(event)
        self.parts: list[str] = []

    def svg(self, title: str) -> str:
        columns = max(column for column, _ in self.places.values())
        rows = max(row for _, row in self.places.values())
        width = LEFT + columns * COLUMN + BOX_WIDTH // 2 + 110
        height = 2 * TOP + rows * ROW + LINE
        self._frame()
        for source, target in self.labels:
            self._arrow(source, target)
        for state in self.places:
            self._box(state)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
            f' height="{height}" role="img"><title>{escape(title)}</title><style>{STYLE}</style>'
            f'<rect class="page" width="{width}" height="{height}" rx="8"/>'
            '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8"'
            ' markerHeight="8" orient="auto"><path class="head" d="M0,1 L10,5 L0,9 z"/></marker>'
            f"</defs>{''.join(self.parts)}</svg>"
        )

    def _centre(self, state: str) -> tuple[int, int]:
        column, row = self.places[state]
        return LEFT + column * COLUMN, TOP + row * ROW

    def _box(self, state: str) -> None:
        x, y = self._centre(state)
        left, top = x - BOX_WIDTH // 2, y - BOX_HEIGHT // 2
        self.parts.append(
            f'<rect class="state" x="{left}" y="{top}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}"'
            f' rx="10"/><text class="state" x="{x}" y="{y + 5}">{escape(state)}</text>'
        )

    def _frame(self) -> None:
        """Draw the frame, and what leaves it."""
        if not self.framed:
            return
        centres = [self._centre(state) for state in self.framed]
        left = min(x for x, _ in centres) - BOX_WIDTH // 2 - 20
        right = max(x for x, _ in centres) + BOX_WIDTH // 2 + 92
        top = min(y for _, y in centres) - BOX_HEIGHT // 2 - 12
        bottom = max(y for _, y in centres) + BOX_HEIGHT // 2 + 14
        self.parts.append(
            f'<rect class="frame" x="{left}" y="{top}" width="{right - left}"'
            f' height="{bottom - top}" rx="14"/>'
        )
        for event, target in self.shared:
            x, y = self._centre(target)
            y -= BOX_HEIGHT // 2
            self._line([(x, bottom), (x, y)])
            self._label([event], x + 8, (bottom + y) // 2)

    def _arrow(self, source: str, target: str) -> None:
        (x, y), (to_x, to_y) = self._centre(source), self._centre(target)
        (column, row), (to_column, to_row) = self.places[source], self.places[target]
        label = self.labels[source, target]
        down = 1 if to_y > y else -1
        if row == to_row:
            step = 1 if to_x > x else -1
            self._line([(x + step * BOX_WIDTH // 2, y), (to_x - step * BOX_WIDTH // 2, y)])
            lines = [line for event in label for line in wrap(event, 12)]
            self._label(lines, (x + to_x) // 2, y + LINE * (len(lines) + 1) // 2, "middle")
        elif column == to_column and abs(row - to_row) == 1 + self._between(column, row, to_row):
            side = -down if (target, source) in self.labels else 0  # one on each side
            half, at = down * BOX_HEIGHT // 2, x + side * APART
            self._line([(at, y + half), (at, to_y - half)])
            if side > 0:
                self._label(label, at + 8, (y + to_y) // 2)
            else:
                self._label(label, at - 8, (y + to_y) // 2, "end")
        elif column == to_column:  # past the boxes in between
            aside = x + BOX_WIDTH // 2 + 48
            self._line([(x + BOX_WIDTH // 2, y), (aside, y), (aside, to_y),
                        (to_x + BOX_WIDTH // 2, to_y)])  # fmt: skip
            self._label(label, aside + 8, (y + to_y) // 2)
        elif to_column < column:  # away from the main column: first aside, then down
            self._line([(x - BOX_WIDTH // 2, y), (to_x, y), (to_x, to_y - down * BOX_HEIGHT // 2)])
            self._label(label, to_x + 8, (y + to_y) // 2)
        else:
            self._line([(x, y + down * BOX_HEIGHT // 2), (x, to_y), (to_x - BOX_WIDTH // 2, to_y)])
            self._label(label, x + 8, (y + to_y) // 2 + 6)

    def _between(self, column: int, row: int, to_row: int) -> int:
        """Return how many rows without a box of this column lie between two."""
        taken = {r for c, r in self.places.values() if c == column}
        low, high = sorted((row, to_row))
        between = set(range(low + 1, high))
        return len(between) if not between & taken else -1

    def _line(self, points: list[tuple[int, int]]) -> None:
        path = " L".join(f"{x},{y}" for x, y in points)
        self.parts.append(f'<path class="line" d="M{path}" marker-end="url(#arrow)"/>')

    def _label(self, lines: list[str], x: int, y: int, anchor: str = "start") -> None:
        y += 5 - LINE * (len(lines) - 1) // 2
        for number, line in enumerate(lines):
            self.parts.append(
                f'<text class="event" x="{x}" y="{y + number * LINE}"'
                f' text-anchor="{anchor}">{escape(line)}</text>'
            )
