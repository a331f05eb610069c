"""Checks the built site: ``python docs/_ext/check_site.py build/docs``.

Every link within the site leads to a page and an anchor that exist, and the search knows every
heading.
"""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote


class Page(HTMLParser):
    """The links, anchors and headings of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.headings: list[str] = []
        self._in_heading = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors.add(values.get("id") or "")
        if link := values.get("href") or values.get("src"):
            self.links.append(link)
        if re.fullmatch("h[1-6]", tag):
            self._in_heading = True
            self.headings.append("")
        elif values.get("class") == "headerlink":
            self._in_heading = False

    def handle_endtag(self, tag: str) -> None:
        if re.fullmatch("h[1-6]", tag):
            self._in_heading = False

    def handle_data(self, data: str) -> None:
        if self._in_heading:
            self.headings[-1] += data


def problems(root: Path) -> list[str]:
    """Return a line for each broken link, and for each heading that the search does not know."""
    pages = {path: Page(path.read_text("utf-8")) for path in root.resolve().rglob("*.html")}
    index = (root / "searchindex.js").read_text("utf-8")
    known = json.loads(index.removeprefix("Search.setIndex(").removesuffix(")"))["alltitles"]
    titles = {_plain(title) for title in known}
    found = []
    for path, page in pages.items():
        name = path.relative_to(root.resolve())
        for link in page.links:
            file, _, anchor = unquote(link.split("?")[0]).partition("#")
            target = (path.parent / file).resolve() if file else path
            if re.match(r"[a-z]+:", link):
                continue
            if not target.exists():
                found.append(f"{name}: no page {link}")
            elif anchor and target in pages and anchor not in pages[target].anchors:
                found.append(f"{name}: no anchor {link}")
        if not str(name).startswith(("_modules", "genindex", "py-modindex", "search")):
            found += [
                f"{name}: the search lacks {heading!r}"
                for heading in page.headings
                if _plain(heading) not in titles
            ]
    return found


def _plain(title: str) -> str:
    return re.sub(r"\W+", " ", re.sub("<.*?>", "", title)).strip().lower()


if __name__ == "__main__":
    lines = problems(Path(sys.argv[1]))
    sys.exit("\n".join(lines) if lines else 0)
