"""The directive ``state-diagram``: draws a table of transitions, as it is in the code.

::

    ```{state-diagram} dugong.protocol.states.SENDING
    ready: 0 0
    request: 0 1
    ```

Each line gives a state its column and row. A state without a place is an error.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from drawing import draw
from sphinx.application import Sphinx


class StateDiagram(Directive):
    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        module, _, name = self.arguments[0].rpartition(".")
        table = getattr(import_module(module), name)
        try:
            places = dict(map(_place, self.content))
            svg = draw(table, places, f"State diagram of {name}")
        except ValueError as exc:
            raise self.error(str(exc)) from None
        return [nodes.raw("", f'<div class="state-diagram">{svg}</div>', format="html")]


def _place(line: str) -> tuple[str, tuple[int, int]]:
    state, _, place = line.partition(":")
    column, row = place.split()
    return state, (int(column), int(row))


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("state-diagram", StateDiagram)
    return {"parallel_read_safe": True}
