"""Draws the tables of states that "How it works" shows: ``python docs/_ext/draw_states.py``.

The pictures are files beside the page, because code hosts run no directives. A test compares them
with the tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from drawing import draw

from dugong.protocol.states import RECEIVING, SENDING

FOLDER = Path(__file__).parent.parent

#: For each picture: its table, its title, and the column and row of each state.
PICTURES: dict[str, tuple[Any, str, dict[str, tuple[int, int]]]] = {
    "sending.svg": (SENDING, "The states of sending", {
        "ready": (1, 0), "request": (1, 1), "continue": (0, 2),
        "body": (1, 3), "refused": (0, 4), "cut off": (1, 4),
    }),
    "receiving.svg": (RECEIVING, "The states of receiving", {
        "head": (1, 0), "body": (1, 1), "switched": (0, 2), "failed": (1, 3),
    }),
}  # fmt: skip

if __name__ == "__main__":
    for name, (table, title, places) in PICTURES.items():
        (FOLDER / name).write_text(draw(table, places, title) + "\n")
