"""Leads links to pages outside of this folder, as code hosts follow them, to pages of the site."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from sphinx.application import Sphinx

#: Files of the repository, and the page of the site with the same contents.
_PAGES = {
    "bench/probes/results.md": "probes.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "index.md",
    "SECURITY.md": "security.md",
}
_LINK = re.compile(r"(\]\(|^\[[^]]+\]: )((?:\.\./)+)([\w./-]+\.md)(?:(#[\w-]+))?", re.MULTILINE)


def lead_inside(app: Sphinx, docname: str, source: list[str]) -> None:
    depth = len(PurePosixPath(docname).parts)

    def replace(match: re.Match[str]) -> str:
        before, up, path, anchor = match.groups()
        if up.count("/") < depth or path not in _PAGES:
            return match[0]
        anchor = "" if _PAGES[path] == "index.md" else anchor or ""
        return f"{before}{'../' * (depth - 1)}{_PAGES[path]}{anchor}"

    source[0] = _LINK.sub(replace, source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", lead_inside)
    return {"parallel_read_safe": True}
