"""The directive ``module-table``: a package's modules, each with the first line of its docstring.

The argument is the package. Its sub-packages have tables of their own.
"""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx


class ModuleTable(Directive):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        spec = find_spec(self.arguments[0])
        if spec is None or spec.origin is None:
            raise self.error(f"there is no package {self.arguments[0]}")
        items: list[nodes.Node] = []
        for path in sorted(Path(spec.origin).parent.glob("*.py")):
            docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
            first = " ".join(docstring.partition("\n\n")[0].split())
            if not path.stem.startswith("__"):
                items.append(self._item(path.stem, first))
        return [nodes.definition_list("", *items, classes=["modules"])]

    def _item(self, name: str, text: str) -> nodes.Node:
        term = nodes.term("", "", nodes.literal("", name))
        definition = nodes.definition("", nodes.paragraph("", "", *_inline(text)))
        return nodes.definition_list_item("", term, definition)


def _inline(text: str) -> list[nodes.Node]:
    """Render backticks, which are all the markup that first lines have."""
    parts = text.replace("``", "`").split("`")
    return [
        nodes.literal("", part) if number % 2 else nodes.Text(part)
        for number, part in enumerate(parts)
        if part
    ]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("module-table", ModuleTable)
    return {"parallel_read_safe": True}
