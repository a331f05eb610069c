"""The links of an HTML page: those that its readers follow, and those that browsers load.

Lexbor parses the page, and Ada its URLs, both as the WHATWG standards say. So this module sees the
same elements, attributes and URLs as a browser, also in pages that are not valid.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Any

#: The attributes of each element that hold a URL.
_ATTRIBUTES = {
    "a": ("href", "xlink:href"),  # the second one in SVG
    "area": ("href",),
    "audio": ("src",),
    "embed": ("src",),
    "frame": ("src",),
    "iframe": ("src",),
    "image": ("href", "xlink:href"),  # of SVG
    "img": ("src",),
    "input": ("src",),
    "link": ("href",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src",),
    "track": ("src",),
    "use": ("href", "xlink:href"),  # of SVG
    "video": ("src", "poster"),
}

#: The attributes that hold several URLs, each followed by a description.
_SETS = {"img": "srcset", "source": "srcset", "link": "imagesrcset"}

#: With one of these values of ``rel``, a ``link`` element names a server and not a document.
_SERVERS_ONLY = frozenset({"preconnect", "dns-prefetch"})

#: White space and control characters, which browsers remove at both ends of a URL.
_BLANKS = "".join(map(chr, range(33)))

#: Schemes of a base URL that browsers ignore.
_NO_BASE = ("data:", "javascript:")

#: The content of a ``meta`` element that redirects to another page.
_REFRESH = re.compile(
    r"\s*[\d.]+\s*[;,\s]\s*(?:url\s*=\s*)?(?P<quote>['\"]?)(?P<url>.*)", re.IGNORECASE | re.DOTALL
)

_SRCSET_URL = re.compile(r"[\s,]*(\S+)")
_SRCSET_DESCRIPTION = re.compile(r"(?:\([^)]*\)?|[^,(])*")

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def joined(base: str | None, link: str) -> str | None:
    """Return the absolute URL of a link, as a browser does; ``None`` if it has none.

    Args:
        base: the URL that it is relative to; ``None`` if that is unknown.
        link: the link.
    """
    import ada_url

    try:
        return ada_url.URL(link).href if base is None else ada_url.join_url(base, link)
    except (ValueError, UnicodeError):
        return None


class Links:
    """The links of a page.

    Attributes:
        relative: how many relative links cannot be resolved, because there is no base.
    """

    def __init__(self, page: str, base: str | None = None) -> None:
        """
        Args:
            page: the text of the page.
            base: the URL of the page, ``None`` if it is unknown. Without it, only absolute links
                can be resolved.
        """
        self._page = page
        self._base = base
        self.relative = 0

    def __iter__(self) -> Iterator[str]:
        """Yield each http and https URL once, in the order of the page."""
        from selectolax.lexbor import LexborHTMLParser

        root = LexborHTMLParser(self._page).root
        elements = [] if root is None else list(root.traverse(include_text=False))
        base = self._base_of(elements)
        self.relative = 0
        known: set[str] = set()
        relative: set[str] = set()
        for element in elements:
            for link in _links_of(element):
                url = joined(base, link)
                if url is None and _SCHEME.match(link):
                    url = link  # it is reported as invalid
                elif url is None:
                    self.relative += link not in relative
                    relative.add(link)
                    continue
                url = url.partition("#")[0]
                if url not in known and url.lower().startswith(("http:", "https:")):
                    known.add(url)
                    yield url

    def _base_of(self, elements: list[Any]) -> str | None:
        for element in elements:
            if element.tag == "base" and "href" in element.attributes:  # only the first one counts
                url = joined(self._base, element.attributes["href"] or "")
                return self._base if url is None or url.startswith(_NO_BASE) else url
        return self._base


def _links_of(element: Any) -> Iterator[str]:
    """Yield the links of an element, without their fragments."""
    tag = element.tag
    attributes = {name: value or "" for name, value in element.attributes.items()}
    if tag == "meta":
        found = _refresh(attributes)
    elif tag == "link" and not _SERVERS_ONLY.isdisjoint(attributes.get("rel", "").lower().split()):
        return
    else:
        found = [attributes[name] for name in _ATTRIBUTES.get(tag, ()) if name in attributes][:1]
        if tag == "video" and "src" in attributes and "poster" in attributes:
            found = [attributes["src"], attributes["poster"]]
        found += from_srcset(attributes.get(_SETS.get(tag, ""), ""))
    for text in found:
        link = text.strip(_BLANKS)
        if link and not link.startswith("#"):
            yield link


def _refresh(attributes: dict[str, str]) -> list[str]:
    if attributes.get("http-equiv", "").lower() != "refresh":
        return []
    match = _REFRESH.match(attributes.get("content", ""))
    if match is None:
        return []
    link, quote = match["url"], match["quote"]
    return [link.partition(quote)[0] if quote else link]


def from_srcset(value: str) -> Iterator[str]:
    """Yield the URLs of a ``srcset``. Each ends at white space, or at a comma before that."""
    position = 0
    while match := _SRCSET_URL.match(value, position):
        position = match.end()
        link = match[1]
        if link.endswith(","):
            yield link.rstrip(",")
        else:
            yield link
            described = _SRCSET_DESCRIPTION.match(value, position)
            assert described  # the pattern also matches the empty string
            position = described.end()


# The text of a page.

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

#: The number of bytes at the start of a page that may declare its encoding.
_PRESCANNED = 1024

_META = re.compile(
    rb"<meta\s[^>]*?charset\s*=\s*[\"']?\s*([a-z0-9._:-]{1,40})", re.IGNORECASE
)  # fmt: skip

#: Python's names of the encodings that pages may use. Python also has codecs of other kinds.
_CODECS = re.compile(
    "utf-8|utf-16(-[lb]e)?|ascii|iso8859-[0-9]+|cp[0-9]+|koi8-[ru]|mac-.*"
    "|gbk|gb2312|gb18030|big5|euc_.*|iso2022_jp|shift_jis"
)

#: Encodings that HTML substitutes for others (https://encoding.spec.whatwg.org/).
_MEANT = {"ascii": "cp1252", "iso8859-1": "cp1252", "gb2312": "gbk"}


def decode(page: bytes, charset: str | None = None) -> str:
    """Return the text of a page.

    The encoding is determined as in HTML, in this order: a byte order mark, the declaration of the
    server, the declaration in the page, a guess.

    Args:
        page: the content of the page.
        charset: the encoding that the server declares, if any.
    """
    for mark, codec in _MARKS:
        if page.startswith(mark):
            return page[len(mark) :].decode(codec, "replace")
    if charset and (known := _codec(charset)):
        return page.decode(known, "replace")
    if match := _META.search(page[:_PRESCANNED]):
        known = _codec(match[1].decode("ascii"))
        if known and not known.startswith("utf-16"):  # the declaration itself is in ASCII
            return page.decode(known, "replace")
    try:
        return page.decode("utf-8")
    except UnicodeDecodeError:
        return page.decode("cp1252", "replace")


def _codec(label: str) -> str | None:
    """Return Python's name of an encoding, ``None`` if Python does not support it."""
    try:
        name = codecs.lookup(label).name
    except LookupError:
        return None
    return _MEANT.get(name, name) if _CODECS.fullmatch(name) else None
