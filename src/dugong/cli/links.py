"""The links of an HTML page: where its readers may go from it, and what browsers load for it.

`html.parser` sees a page as browsers do in all that matters here: character references, quotes
that are missing, scripts and comments that only look like elements.
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

#: Those that hold several, each with a description behind it.
_SETS = {"img": "srcset", "source": "srcset", "link": "imagesrcset"}

#: With these values of its ``rel`` a ``link`` names a server, not a document.
_SERVERS_ONLY = frozenset({"preconnect", "dns-prefetch"})

#: HTML's white space, and those of them that browsers leave out of a URL wherever they stand.
_BLANKS = " \t\n\f\r"
_LEFT_OUT = str.maketrans("", "", "\t\n\r")

#: The content of a ``meta`` element that has a page give way to another.
_REFRESH = re.compile(
    r"\s*[\d.]+\s*[;,\s]\s*(?:url\s*=\s*)?(?P<quote>['\"]?)(?P<url>.*)", re.IGNORECASE | re.DOTALL
)

_SRCSET_URL = re.compile(r"[\s,]*(\S+)")
_SRCSET_DESCRIPTION = re.compile(r"(?:\([^)]*\)?|[^,(])*")


class Links:
    """The links of a page.

    Attributes:
        relative: how many there are of which nobody knows where they go, for want of a base.
    """

    def __init__(self, page: str, base: str | None = None) -> None:
        """
        Args:
            page: the text of the page.
            base: its URL; without, only links that are absolute can be told.
        """
        self._parser = _Parser()
        self._parser.feed(page)
        self._parser.close()
        self._base = base
        self.relative = 0

    def __iter__(self) -> Iterator[str]:
        """Yield the http and https URLs, each once, in the order of the page."""
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
    """Gathers links as they stand in the page, without their fragments.

    Attributes:
        base: what ``<base href>`` says.
        found: the links, as the keys of a dictionary: each once, in their order.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.base: str | None = None
        self.found: dict[str, None] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values: dict[str, str] = {}
        for name, value in attrs:
            values.setdefault(name, value or "")  # of two, the first counts
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
    """Yield the URLs of a ``srcset``: each ends at white space, or at a comma before that."""
    position = 0
    while match := _SRCSET_URL.match(value, position):
        position = match.end()
        link = match[1]
        if link.endswith(","):
            yield link.rstrip(",")
        else:
            yield link
            described = _SRCSET_DESCRIPTION.match(value, position)
            assert described  # if only by nothing
            position = described.end()


# The text of a page.

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

#: Within so many bytes a page has to say what its encoding is.
_PRESCANNED = 1024

_META = re.compile(
    rb"<meta\s[^>]*?charset\s*=\s*[\"']?\s*([a-z0-9._:-]{1,40})", re.IGNORECASE
)  # fmt: skip

#: What Python calls the encodings that pages may be in. It has others that are no encodings.
_CODECS = re.compile(
    "utf-8|utf-16(-[lb]e)?|ascii|iso8859-[0-9]+|cp[0-9]+|koi8-[ru]|mac-.*"
    "|gbk|gb2312|gb18030|big5|euc_.*|iso2022_jp|shift_jis"
)

#: HTML takes these names for those (https://encoding.spec.whatwg.org/).
_MEANT = {"ascii": "cp1252", "iso8859-1": "cp1252", "gb2312": "gbk"}


def decode(page: bytes, charset: str | None = None) -> str:
    """Return the text of a page.

    The order is HTML's: a byte order mark, what the server says, what the page says, a guess.

    Args:
        page: its bytes.
        charset: what the server says.
    """
    for mark, codec in _MARKS:
        if page.startswith(mark):
            return page[len(mark) :].decode(codec, "replace")
    if charset and (known := _codec(charset)):
        return page.decode(known, "replace")
    if match := _META.search(page[:_PRESCANNED]):
        known = _codec(match[1].decode("ascii"))
        if known and not known.startswith("utf-16"):  # which could not have said so
            return page.decode(known, "replace")
    try:
        return page.decode("utf-8")
    except UnicodeDecodeError:
        return page.decode("cp1252", "replace")


def _codec(label: str) -> str | None:
    """Return Python's name of an encoding, ``None`` if it has none for it."""
    try:
        name = codecs.lookup(label).name
    except LookupError:
        return None
    return _MEANT.get(name, name) if _CODECS.fullmatch(name) else None
