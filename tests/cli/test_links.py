"""The links of HTML pages."""

from __future__ import annotations

import pytest

from dugong.cli.links import Links, decode
from tests.support.in_turn import in_turn

BASE = "http://host/dir/page"
EURO = "http://host/€"


def links(page: str, base: str | None = BASE) -> list[str]:
    return list(Links(page, base))


@in_turn(
    "element",
    [
        '<a href="{}">',
        "<A HREF='{}'>",
        "<a href={}>",
        "<a\nclass=x href\n=\n{}>",
        '<area href="{}">',
        '<link rel="stylesheet" href="{}">',
        '<link href="{}">',
        '<img src="{}">',
        '<script src="{}"></script>',
        '<iframe src="{}"></iframe>',
        '<frameset><frame src="{}"></frameset>',
        '<embed src="{}">',
        '<object data="{}"></object>',
        '<input type=image src="{}">',
        '<audio src="{}">',
        '<video src="{}">',
        '<video poster="{}">',
        '<track src="{}">',
        '<picture><source srcset="{} 2x"></picture>',
        '<source src="{}">',
        '<svg><image href="{}"/></svg>',
        '<svg><image xlink:href="{}"/></svg>',
        '<link rel=preload as=image imagesrcset="{}">',
        '<meta http-equiv="refresh" content="0; url={}">',
        '<meta http-equiv="Refresh" content="5;URL=\'{}\' ">',
        '<meta http-equiv="refresh" content="0 {}">',
        '<svg><use href="{}"/></svg>',
        '<svg><use xlink:href="{}"/></svg>',
        '<svg><a xlink:href="{}"></a></svg>',
        '<p><div <b><a href="{}">',
        '<noscript><img src="{}"></noscript>',
        '<a href="{}" href=again>',
    ],
)
def test_elements(element: str) -> None:
    page = element.format("x/y") + "</a>"
    assert links(page) == ["http://host/dir/x/y"]


@in_turn(
    "page",
    [
        "",
        "no page at all < > & \0",
        "<a>",
        "<a href>",
        "<a href=''>",
        "<a href='#top'>",
        "<a name=http://host/>",
        "<a href='mailto:walrus@example.org'>",
        "<a href='javascript:x()'>",
        "<a href='JavaScript:x()'>",
        "<a href='tel:+1'><img src='data:image/png;base64,AAAA'>",
        "<!-- <a href=x> -->",
        "<script>'<a href=x>'</script>",
        "<style><a href=x></style>",
        "<textarea><a href=x></textarea>",
        "<title><a href=x></title>",
        "<a href=x",  # the page ends in the middle of it
        "<link rel='preconnect' href=x><link rel='DNS-Prefetch x' href=x>",
        "<meta http-equiv=refresh content=5>",
        "<meta name=refresh content='0; url=x'>",
        "<blockquote cite=x><form action=x>",
        "<img srcset=' , ,'>",
    ],
)
def test_no_links(page: str) -> None:
    assert links(page) == []


@in_turn(
    ("link", "url"),
    [
        ("x", "http://host/dir/x"),
        ("/x", "http://host/x"),
        ("../x", "http://host/x"),
        ("?q", "http://host/dir/page?q"),
        ("//other/x", "http://other/x"),
        ("https://other", "https://other/"),
        ("HTTP://Other/x", "http://other/x"),
        ("x#y", "http://host/dir/x"),
        ("x?a=1&amp;b=2#y", "http://host/dir/x?a=1&b=2"),
        (" \t\n x \f\r", "http://host/dir/x"),
        ("a\nb\tc", "http://host/dir/abc"),
        ("a b", "http://host/dir/a%20b"),
        ("&eacute;", "http://host/dir/%C3%A9"),
        ("?a=1&currency=2", "http://host/dir/page?a=1&currency=2"),
        ("x?a&copy=1&amp", "http://host/dir/x?a&copy=1&"),
        ("//bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://[", "http://["),
        ("x;", "http://host/dir/x;"),
        ("x?", "http://host/dir/x?"),
        ("?", "http://host/dir/page?"),
        ("x;?#y", "http://host/dir/x;?"),
        ("http:///x", "http://x/"),
        ("///x", "http://x/"),
        ("http:x", "http://host/dir/x"),
        ("\\x", "http://host/x"),
        ("\\\\other\\x", "http://other/x"),
    ],
)
def test_url(link: str, url: str) -> None:
    assert links(f'<a href="{link}">') == [url]


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("http://other/d/", "http://other/d/x"),
        ("/d/", "http://host/d/x"),
        ("//other", "http://other/x"),
        ("http://other/d/#y", "http://other/d/x"),
        ("", "http://host/dir/x"),
        ("data:,", "http://host/dir/x"),
        ("javascript:x()", "http://host/dir/x"),
        ("http://[", "http://host/dir/x"),
    ],
)
def test_base_element(base: str, url: str) -> None:
    """It holds for the whole page, and only the first one counts."""
    assert links(f"<a href=x><base href='{base}'><base href=/no/>") == [url]


def test_base_element_alone() -> None:
    page = "<base href=http://host/dir/><a href=x>"
    assert links(page, None) == ["http://host/dir/x"]


def test_no_base() -> None:
    found = Links("<a href=x><a href=http://host/a><a href=//host/b><a href=x>", None)
    assert list(found) == ["http://host/a"]
    assert found.relative == 2


def test_each_once_in_the_order_of_the_page() -> None:
    page = "<a href=b><a href=a><img src=b><a href=http://host/dir/a><a href=a#1><a href=c>"
    assert links(page) == ["http://host/dir/b", "http://host/dir/a", "http://host/dir/c"]


@in_turn(
    ("srcset", "names"),
    [
        ("a", "a"),
        ("a 1x, b 2x", "a b"),
        ("a, b", "a b"),
        ("a,b 2x", "a,b"),  # a comma may stand in a URL
        ("a 1x,b 2x", "a b"),
        (" , a 100w ,\n\tb 200w,", "a b"),
        ("a,,b, c", "a,,b c"),
        ("a (1,2), b", "a b"),
        ("a (1, b", "a"),
        ("data:,x 1x, b 2x", "b"),
    ],
)
def test_srcset(srcset: str, names: str) -> None:
    expected = [f"http://host/dir/{name}" for name in names.split()]
    assert links(f'<img srcset="{srcset}">') == expected


def test_attribute_given_twice() -> None:
    assert links("<a href=a href=b>") == ["http://host/dir/a"]


@in_turn(
    ("page", "charset"),
    [
        (EURO.encode(), None),
        (EURO.encode(), "utf-8"),
        (EURO.encode("cp1252"), "iso-8859-1"),  # which means windows-1252
        (EURO.encode("cp1252"), "us-ascii"),
        (EURO.encode("cp1252"), None),
        (EURO.encode("iso-8859-15"), "ISO-8859-15"),
        (EURO.encode("utf-16-le"), "utf-16le"),
        (b"\xef\xbb\xbf" + EURO.encode(), "iso-8859-1"),
        (b"\xff\xfe" + EURO.encode("utf-16-le"), None),
        (b"\xfe\xff" + EURO.encode("utf-16-be"), "utf-8"),
        (b"<meta charset=iso-8859-15>" + EURO.encode("iso-8859-15"), None),
        (
            b"<META http-equiv=Content-Type content='text/html; charset=iso-8859-15'>"
            + EURO.encode("iso-8859-15"),
            None,
        ),
        (b"<meta charset=utf-16>" + EURO.encode(), None),  # it cannot be
        (b"<meta charset=cp1252>" + EURO.encode(), "utf-8"),  # the server knows better
        (EURO.encode(), "no-such-charset"),
        (EURO.encode(), "rot13"),
        (EURO.encode(), "unicode_escape"),
        (EURO.encode(), ""),
    ],
)
def test_decode(page: bytes, charset: str | None) -> None:
    assert decode(page, charset).endswith(EURO)
    assert not decode(page, charset).startswith("\ufeff")


def test_decode_what_is_not_valid() -> None:
    assert decode(b"<a href=x>\xff", "utf-8") == "<a href=x>\ufffd"
