"""Finds what docstrings call by its short name from anywhere in the package: `request`, `timeout`,
`HTTPConnection.pipeline`. The first place in `_PLACES` that has the name is meant.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

_PLACES = ("dugong.", "dugong.HTTPConnection.", "dugong.HTTPResponse.")


def find(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Element | None:
    if node.get("refdomain") != "py" or app.builder is None:
        return None
    for place in _PLACES:
        name = place + node["reftarget"]
        found = env.domains.python_domain.objects.get(name)
        if found is not None:
            uri = app.builder.get_relative_uri(node["refdoc"], found.docname)
            return nodes.reference(
                "", "", content, internal=True, refuri=f"{uri}#{found.node_id}", reftitle=name
            )
    return None


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("missing-reference", find)
    return {"parallel_read_safe": True}
