"""The links of an HTML page: those that its readers follow, and those that browsers load.

`html.parser` parses a page as browsers do in all respects that matter here: character references,
missing quotes, and scripts and comments that only look like elements.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from html.parser import HTMLParser

from ..protocol.references import resolve, split

#: The attributes of each element that hold a URL.
_ATTRIBUTES = {
    "a": ("href",),
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
    "video": ("src", "poster"),
}

#: The attributes that hold several URLs, each followed by a description.
_SETS = {"img": "srcset", "source": "srcset", "link": "imagesrcset"}

#: With one of these values of ``rel``, a ``link`` element names a server and not a document.
_SERVERS_ONLY = frozenset({"preconnect", "dns-prefetch"})

#: HTML's white space, and the white space that browsers remove anywhere in a URL.
_BLANKS = " \t\n\f\r"
_LEFT_OUT = str.maketrans("", "", "\t\n\r")

#: The content of a ``meta`` element that redirects to another page.
_REFRESH = re.compile(
    r"\s*[\d.]+\s*[;,\s]\s*(?:url\s*=\s*)?(?P<quote>['\"]?)(?P<url>.*)", re.IGNORECASE | re.DOTALL
)

_SRCSET_URL = re.compile(r"[\s,]*(\S+)")
_SRCSET_DESCRIPTION = re.compile(r"(?:\([^)]*\)?|[^,(])*")


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
        self._parser = _Parser()
        self._parser.feed(page)
        self._parser.close()
        self._base = base
        self.relative = 0

    def __iter__(self) -> Iterator[str]:
        """Yield each http and https URL once, in the order of the page."""
        self.relative = 0
        base = self._base
        if self._parser.base is not None:
            base = _joined(base, self._parser.base)
        known: set[str] = set()
        for link in self._parser.found:
            url = _joined(base, link)
            if url is None:
                self.relative += 1
            elif url not in known and url.lower().startswith(("http:", "https:")):
                known.add(url)
                yield url


def _joined(base: str | None, link: str) -> str | None:
    """Return the target of *link*; ``None`` if it is relative and there is no base."""
    if base is not None:
        return resolve(base, link)
    return link if split(link).scheme is not None else None


class _Parser(HTMLParser):
    """Collects the links of a page, unresolved and without their fragments.

    Attributes:
        base: the value of ``<base href>``.
        found: the links in order, each once, as the keys of a dictionary.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.base: str | None = None
        self.found: dict[str, None] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values: dict[str, str] = {}
        for name, value in attrs:
            values.setdefault(name, value or "")  # if an attribute is repeated, the first counts
        if tag == "base":
            if self.base is None and "href" in values:
                self.base = _clean(values["href"])
        elif tag == "meta":
            if values.get("http-equiv", "").lower() == "refresh":
                self._refresh(values.get("content", ""))
        elif tag != "link" or _SERVERS_ONLY.isdisjoint(values.get("rel", "").lower().split()):
            for name in _ATTRIBUTES.get(tag, ()):
                self._add(values.get(name, ""))
            for link in from_srcset(values.get(_SETS.get(tag, ""), "")):
                self._add(link)

    def _refresh(self, content: str) -> None:
        if match := _REFRESH.match(content):
            link, quote = match["url"], match["quote"]
            self._add(link.partition(quote)[0] if quote else link)

    def _add(self, link: str) -> None:
        if link := _clean(link):
            self.found[link] = None


def _clean(link: str) -> str:
    return link.strip(_BLANKS).translate(_LEFT_OUT).partition("#")[0]


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
