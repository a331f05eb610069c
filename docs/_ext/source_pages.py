"""Removes the links from source pages back to the reference, of which some lead nowhere.

`sphinx.ext.viewcode` builds them from the module in which a class is defined, but the reference has
most classes under the package's own name.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

_BACK = re.compile(r'<a class="viewcode-back"[^>]*>.*?</a>')


def remove_back_links(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    if page.startswith("_modules/"):
        context["body"] = _BACK.sub("", context["body"])


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("html-page-context", remove_back_links)
    return {"parallel_read_safe": True}
