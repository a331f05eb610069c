"""Shows the arguments of connections, which a common base class takes, and those of clients."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx
from sphinx.util.inspect import signature, stringify_signature

import dugong
from dugong.connection.connection import Connection
from dugong.connection.settings import Settings
from dugong.transport.within import UNSET


def of_settings(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, args: str, returns: str
) -> tuple[str, str] | None:
    if what == "class" and obj in (dugong.Client, dugong.AsyncClient):
        return args.replace(repr(UNSET), "..."), ""  # that text is about connections
    if what != "class" or not issubclass(obj, Connection):
        return None
    arguments = signature(Settings.__init__, bound_method=True)
    return stringify_signature(arguments, show_return_annotation=False), ""


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-signature", of_settings)
    return {"parallel_read_safe": True}
