"""README and documentation as a code host shows them: without stray markup, without broken links.

The pages are rendered by cmark-gfm, GitHub's renderer. Headings get anchors as they do there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options

from tests.support.servers import ROOT

DOCS = ROOT / "docs"

#: Pages that exist for the website alone.
SITE = {DOCS / name for name in ("index.md", "changelog.md", "contributing.md", "probes.md")}

PAGES = sorted({*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "bench/probes/results.md"} - SITE)

#: Markup that is legible only after another renderer: roles, directives, comments, broken links.
STRAY = re.compile(r"\{[\w:-]+\}|:::|^%|invisible|^```|\]\[|\]\(|^\[[\w-]+\]:|<!--", re.MULTILINE)


@dataclass
class Page(HTMLParser):
    """A rendered page.

    Attributes:
        text: what a reader sees, without code.
        links: the targets of links and images.
        languages: of the blocks of code.
        anchors: of the headings.
    """

    path: Path
    text: str = ""
    links: list[str] = field(default_factory=list)
    languages: set[str] = field(default_factory=set)
    anchors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._code = 0
        self._heading: str | None = None
        options = Options.CMARK_OPT_UNSAFE  # keeps the tables in HTML
        markdown = self.path.read_text("utf-8")
        self.feed(cmarkgfm.github_flavored_markdown_to_html(markdown, options))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self._code += tag == "code"
        if tag == "pre":
            self.languages.add(values.get("lang") or "")
        if link := values.get("href") or values.get("src"):
            self.links.append(link)
        if re.fullmatch("h[1-6]", tag):
            self._heading = ""

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag == "code"
        if re.fullmatch("h[1-6]", tag) and self._heading is not None:
            anchor = re.sub(r"[^\w\- ]", "", self._heading.lower()).replace(" ", "-")
            before = sum(re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", a) is not None
                         for a in self.anchors)  # fmt: skip
            self.anchors.append(f"{anchor}-{before}" if before else anchor)
            self._heading = None

    def handle_data(self, data: str) -> None:
        if self._heading is not None:
            self._heading += data
        if not self._code:
            self.text += data


@cache
def rendered(path: Path) -> Page:
    return Page(path)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_no_stray_markup(path: Path) -> None:
    page = rendered(path)
    assert STRAY.findall(page.text) == []
    assert [language for language in page.languages if "{" in language] == []


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    for link in rendered(path).links:
        if re.match(r"https?://", link):
            continue
        file, _, anchor = unquote(link).partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        if anchor:
            assert anchor in rendered(target).anchors, link


def test_a_page_with_stray_markup_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for markup in ("{obj}`Client`", ":::{note}\nx\n:::", "% comment", "[a][b]", "[a](b c)"):
        page.write_text(f"Text.\n\n{markup}\n")
        assert STRAY.findall(Page(page).text) != [], markup
    page.write_text("```{toctree}\nx\n```\n\n<!-- invisible-code-block: python\nx\n-->\n")
    assert Page(page).languages == {"{toctree}"}
    assert STRAY.findall(Page(page).text) == []


def test_contents_are_those_of_the_site() -> None:
    """The table of contents for code hosts has the pages of the website, in the same order."""
    index = (DOCS / "index.md").read_text("utf-8")
    trees = re.findall(r"^:::\{toctree\}\n(?::\w.*\n)*\n((?:[\w/-]+\n)+):::$", index, re.MULTILINE)
    site = [entry for entries in trees for entry in entries.split()]
    assert index.count("{toctree}") == len(trees)
    links = [link for link in rendered(DOCS / "README.md").links if not link.startswith("#")]
    listed = [re.sub(r"\.(md|rst)$", "", link) for link in links]
    listed = ["changelog" if link == "../CHANGELOG" else link for link in listed]
    assert listed == [entry for entry in site if entry not in ("probes", "contributing")]
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    assert pages - {"index", "README"} <= set(site)
