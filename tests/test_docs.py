"""The documentation is complete: the reference has all public names, the diagrams all transitions.

The examples in the pages are run by `docs/conftest.py`; ``make docs`` builds the pages.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import dugong

DOCS = Path(__file__).parent.parent / "docs"


def load(name: str) -> ModuleType:
    """Import a module of the documentation's extensions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS / "_ext")
        return importlib.import_module(name)


drawing, draw_states = load("drawing"), load("draw_states")
PICTURES: dict[str, Any] = draw_states.PICTURES


@pytest.mark.parametrize("name", [*dugong.__all__, "BlockingPipeline", "AsyncPipeline"])
def test_reference_has_name(name: str) -> None:
    pages = [path.read_text("utf-8") for path in (DOCS / "api").glob("*.rst")]
    entry = re.compile(rf"^\.\. (auto|py:)\w+:: (dugong\.(\w+\.)*)?{name}(\(\))?$", re.MULTILINE)
    assert sum(len(entry.findall(page)) for page in pages) == 1


@pytest.mark.parametrize("name", PICTURES)
def test_diagram_has_every_transition(name: str) -> None:
    table, title, places = PICTURES[name]
    svg = drawing.draw(table, places, title)
    assert (DOCS / name).read_text("utf-8") == svg + "\n", "run `make docs`"
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


@pytest.mark.parametrize("name", PICTURES)
def test_labels_and_boxes_keep_apart(name: str) -> None:
    """Nothing is written across a box, nor across another label."""
    table, title, places = PICTURES[name]
    svg = drawing.draw(table, places, title)
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
    table, title, places = PICTURES["sending.svg"]
    incomplete = {state: place for state, place in places.items() if state != "refused"}
    with pytest.raises(ValueError, match="refused"):
        drawing.draw(table, incomplete, title)
