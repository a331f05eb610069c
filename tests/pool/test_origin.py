"""`Origin`, and the URLs that it is made from."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from dugong import InvalidRequest, Origin
from dugong.pool.origin import check_origin
from tests.support.in_turn import in_turn


def test_value() -> None:
    origin = Origin("HTTPS", "Www.EXAMPLE.org")
    assert (origin.scheme, origin.host, origin.port) == ("https", "www.example.org", 443)
    assert origin == Origin("https", "www.example.org", 443)
    assert hash(origin) == hash(Origin("https", "www.example.org", 443))
    assert origin not in (Origin("http", "www.example.org", 443), Origin("https", "example.org"))
    assert origin != "https://www.example.org"
    assert str(origin) == "https://www.example.org"
    assert repr(origin) == "Origin('https', 'www.example.org', 443)"
    assert str(Origin("http", "0:0:0:0:0:0:0:1", 8080)) == "http://[::1]:8080"
    assert pickle.loads(pickle.dumps(origin)) == origin  # noqa: S301 - our own
    assert copy.copy(origin) == copy.deepcopy(origin) == origin
    with pytest.raises(AttributeError):
        origin.port = 80
    with pytest.raises(AttributeError):
        del origin.host


@in_turn(
    ("url", "origin"),
    [
        ("http://a.example", Origin("http", "a.example")),
        ("http://a.example/path?query#fragment", Origin("http", "a.example")),
        ("http://a.example?query", Origin("http", "a.example")),
        ("http://a.example#fragment", Origin("http", "a.example")),
        ("HTTPS://A.Example:443/", Origin("https", "a.example")),
        ("http://a.example:", Origin("http", "a.example")),
        ("http://a.example:08080", Origin("http", "a.example", 8080)),
        ("http://a.example./", Origin("http", "a.example.")),
        ("http://[::1]:8000/", Origin("http", "::1", 8000)),
        ("http://[0:0::1]/", Origin("http", "::1")),
        ("http://127.0.0.1/", Origin("http", "127.0.0.1")),
        ("http://b\xfccher.example/", Origin("http", "xn--bcher-kva.example")),
        ("http://a.example/@b.example", Origin("http", "a.example")),
    ],
)
def test_url(url: str, origin: Origin) -> None:
    assert check_origin(url) == origin
    assert check_origin(origin) is origin


@in_turn("url", [
    "", "a.example", "//a.example", "http:", "http:/a.example", "http://", "http:///path",
    "ftp://a.example", "ws://a.example", "http+unix://a.example", "http://a.example:0",
    "http://a.example:65536", "http://a.example:x", "http://a.example:80:80", "http://a..example",
    "http://user@a.example", "http://user:secret@a.example", "http://a.example\\@b.example",
    "http://a.example\\path", "http://a.example\tb", "http://a.example\n", " http://a.example",
    "http://a b", "http://[::1", "http://::1", "http://[a.example]", "http://[127.0.0.1]",
    "http://[::1%25eth0]", "http://a%2eexample", "http://127.1", "http://0x7f000001",
    "http://2130706433", "http://\u2100.example", "http://a.example\uff0fb.example",
    "http://a.example\uff20b.example",
])  # fmt: skip
def test_bad_url(url: str) -> None:
    with pytest.raises(InvalidRequest) as info:
        check_origin(url)
    assert "secret" not in str(info.value)


@in_turn("arguments", [
    ("ftp", "a"), ("http", ""), ("http", "a b"), ("http", "a:80"), ("http", "[::1]"),
    ("http", "fe80::1%eth0"), ("http", "a", 0), ("http", "a", 65536), ("http", "http://a"),
])  # fmt: skip
def test_bad_values(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(InvalidRequest):
        Origin(*arguments)


@pytest.mark.parametrize("arguments", [
    (b"http", "a"), ("http", b"a"), ("http", None), ("http", "a", "80"), ("http", "a", True),
])  # fmt: skip
def test_wrong_types(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        Origin(*arguments)
