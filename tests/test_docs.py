"""The documentation is complete: the reference has all public names, the diagrams all transitions.

The examples in the pages are run by `docs/conftest.py`; ``make docs`` builds the pages.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import dugong
from dugong.protocol.states import RECEIVING, SENDING

DOCS = Path(__file__).parent.parent / "docs"

TABLES: dict[str, Any] = {"SENDING": SENDING, "RECEIVING": RECEIVING}


def load_drawing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("drawing", DOCS / "_ext" / "drawing.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


drawing = load_drawing()


def places_in_page(table: str) -> dict[str, tuple[int, int]]:
    """Return where the page has put the states of *table*."""
    page = (DOCS / "how-it-works.md").read_text("utf-8")
    block = re.search(
        rf"^```{{state-diagram}} \S+\.{table}\n(.*?)^```", page, re.DOTALL | re.MULTILINE
    )
    assert block is not None
    lines = re.findall(r"^(.+): (\d+) (\d+)$", block[1], re.MULTILINE)
    return {state: (int(column), int(row)) for state, column, row in lines}


@pytest.mark.parametrize("name", [*dugong.__all__, "BlockingPipeline", "AsyncPipeline"])
def test_reference_has_name(name: str) -> None:
    pages = [path.read_text("utf-8") for path in (DOCS / "api").glob("*.rst")]
    entry = re.compile(rf"^\.\. (auto|py:)\w+:: (dugong\.(\w+\.)*)?{name}(\(\))?$", re.MULTILINE)
    assert sum(len(entry.findall(page)) for page in pages) == 1


@pytest.mark.parametrize("name", TABLES)
def test_diagram_has_every_transition(name: str) -> None:
    table, places = TABLES[name], places_in_page(name)
    svg = drawing.draw(table, places, name)
    shared = drawing.shared(table)
    alone = [
        (state, event, target)
        for state, events in table.items()
        for event, target in events.items()
        if (event, target) not in shared
    ]
    assert len(alone) + sum(len(states) for states in shared.values()) == sum(
        map(len, table.values())
    )
    arrows = {(state, target) for state, _, target in alone}
    assert svg.count('<path class="line"') == len(arrows) + len(shared)
    texts = re.findall(r"<text class=\"(\w+)\"[^>]*>([^<]+)</text>", svg)
    assert sorted(text for kind, text in texts if kind == "state") == sorted(map(str, table))
    words = " ".join(text for kind, text in texts if kind == "event").split()
    events = [event for _, event, _ in alone] + [event for event, _ in shared]
    assert sorted(words) == sorted(" ".join(events).split())


@pytest.mark.parametrize("name", TABLES)
def test_labels_and_boxes_keep_apart(name: str) -> None:
    """Nothing is written across a box, nor across another label."""
    svg = drawing.draw(TABLES[name], places_in_page(name), name)
    boxes = [
        tuple(map(int, found))
        for found in re.findall(
            r'<rect class="state" x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)"', svg
        )
    ]
    label = r'<text class="event" x="(\d+)" y="(\d+)" text-anchor="(\w+)">([^<]+)<'
    for x, y, anchor, text in re.findall(label, svg):
        width = 7 * len(text)  # pixels, about
        left = int(x) - {"start": 0, "middle": width // 2, "end": width}[anchor]
        boxes.append((left, int(y) - 11, width, 13))
    for number, (x, y, width, height) in enumerate(boxes):
        for other_x, other_y, other_width, other_height in boxes[:number]:
            beside = x + width <= other_x or other_x + other_width <= x
            assert beside or y + height <= other_y or other_y + other_height <= y


def test_state_without_a_place_is_an_error() -> None:
    places = places_in_page("SENDING")
    del places["refused"]
    with pytest.raises(ValueError, match="refused"):
        drawing.draw(SENDING, places, "")
