"""Links code in Markdown pages to the API reference: `Client`, `Client.get`, `readall()`.

The pages contain no roles, because code hosts would show their markup. A name with a class, or a
public name of the package, is linked where it is known. A method without its class, such as
`readall()`, belongs to the first class with this method that the page names.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

import dugong

#: The classes of the package, and the order in which they are tried if the page names none.
_CLASSES = {name: cls for name in dugong.__all__ if inspect.isclass(cls := getattr(dugong, name))}
_USUAL = ("HTTPConnection", "Client", "Response", "Pool")

_DOTTED = re.compile(r"([A-Z]\w+)\.([a-z]\w*)(?:\(.*\))?")
_METHOD = re.compile(r"([a-z]\w*)\(\)")


class LinkNames(SphinxTransform):
    default_priority = 400  # before references are resolved

    def apply(self, **kwargs: Any) -> None:
        if Path(self.document["source"]).suffix != ".md":
            return
        code = [
            node
            for node in self.document.findall(nodes.literal)
            if not isinstance(node.parent, (nodes.reference, nodes.title, pending_xref))
        ]
        named = [name for node in code for name in re.findall(r"\w+", node.astext())]
        order = [name for name in dict.fromkeys([*named, *_USUAL]) if name in _CLASSES]
        for node in code:
            if (target := _target(node.astext(), order)) is not None:
                link = pending_xref(
                    "", node.deepcopy(), refdomain="py", reftype="obj", reftarget=target,
                    refdoc=self.env.docname, refwarn=True, refexplicit=True,
                )  # fmt: skip
                link.source, link.line = node.source, node.line
                node.replace_self(link)


def _target(text: str, order: list[str]) -> str | None:
    """Return the full name of what *text* refers to, or `None`."""
    if text in dugong.__all__:
        return f"dugong.{text}"
    if match := _DOTTED.fullmatch(text):
        name, member = match.groups()
        if name in _CLASSES and not member.startswith("co_"):
            return f"dugong.{name}.{member}"
    if match := _METHOD.fullmatch(text):
        for name in order:
            if callable(getattr(_CLASSES[name], match[1], None)):
                return f"dugong.{name}.{match[1]}"
        function = f"dugong.{match[1]}"
        return function if match[1] in dugong.__all__ else None
    return None


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_transform(LinkNames)
    return {"parallel_read_safe": True}
