"""Host names, and how those beyond ASCII are converted, with the package idna and without."""

from __future__ import annotations

import sys
from typing import Any

import idna
import pytest

from dugong import InvalidRequest
from dugong.protocol.authority import authority, check_address, check_host, tls_name
from tests.support.in_turn import in_turn

#: A name of 253 characters, the longest there is.
LONGEST = f"{('a' * 63 + '.') * 3}{'a' * 61}"


@pytest.fixture(params=["idna", "codec"])
def converter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The package, or its absence."""
    if request.param == "codec":
        monkeypatch.setitem(sys.modules, "idna", None)
    name: str = request.param
    return name


@in_turn(
    "host",
    [
        "h", "example.com", "EXAMPLE.com.", "a_b.c-d", "xn--bcher-kva.example", LONGEST,
        f"{LONGEST}.",
        "127.0.0.1", "255.255.255.255", "1.2.3.4.example", "a.1", "0x7f.example",
        "::1", "::", "2001:DB8::1", "::ffff:127.0.0.1", "fe80::1%eth0", "fe80::1%2",
        "fe80::1%br-0.1_a~",
    ],
)  # fmt: skip
def test_ascii_stays_as_it_is(host: str) -> None:
    assert check_host(host) == host


class Liar(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "other"

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return "other"


def test_what_was_checked_is_what_is_used() -> None:
    checked = check_host(Liar("h"))
    assert (type(checked), checked) == (str, "h")


NO_NAMES = [
    "", ".", "..", ".a", "a..b", "a..", " ", "a b", " a", "a ", "a\n", "a\x00", "a\tb", "a\x7f",
    "a/b", "a\\b", "a?b", "a#b", "a,b", "a;b", "a!b", "a'b", "(a)", "a*", "*.a", "a=b", "a&b",
    "a~b",
    "a%41", "a%", "%", "evil.com%ba.bank.com", "evil.com%eth0", "127.0.0.1%eth0", "localhost%lo",
    "a" * 64, f"{LONGEST}a", f"{LONGEST}a.",
    "h:80", "h:", "h:x", "[::1]:80", "[::1]", "[h]", "127.0.0.1:80", "a:b:c", ":", ":80",
    "::1%", "::1%a%b", "::1%a b", "::1%\r\n", "::1%25eth0%", "1::2::3", "::g", ":::", "::1/64",
    "::1\n",
    "http://h", "HTTPS://h/", "http:h", "//h", "h://", "u@h", "u:p@h", "@h", "unix:/socket",
    "127.1", "127.0.1", "1", "2130706433", "0x7f000001", "0x7F.1", "0177.0.0.1", "127.0.0.01",
    "1.2.3.4.", "1.2.3.4.5", "256.0.0.1", "0x", "00.0.0.0",
]  # fmt: skip


@in_turn("host", NO_NAMES, ids=lambda host: ascii(host)[:30])
def test_no_name(host: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^hostname "):
        check_host(host)


@in_turn("host", [None, b"h", 5, True, ["h"], ("h", 80), bytearray(b"h"), object()])
def test_no_text(host: Any) -> None:
    with pytest.raises(TypeError, match=r"^the host of proxy must be a str, not "):
        check_host(host, "the host of proxy")


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("http://h/", "looks like a URL: pass the host name, and port= and ssl_context="),
        ("h:8080", r"includes a port: pass 'h' and port=8080"),
        ("[::1]:8080", r"includes a port: pass '::1' and port=8080"),
        ("[::1]", "without brackets"),
        ("127.1", "IPv4"),
    ],
)
def test_message(host: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        check_host(host)


# --------------------------------------------------------------------------- beyond ASCII

CONVERTED = [
    ("b\xfccher.example", "xn--bcher-kva.example"),
    ("B\xdcCHER.Example", "xn--bcher-kva.example"),
    ("bu\u0308cher.example", "xn--bcher-kva.example"),
    ("example\u3002com", "example.com"),
    ("example.com\u3002", "example.com."),
    ("example.com\uff0e", "example.com."),
    ("example.com\uff61", "example.com."),
    ("\uff45xample.com", "example.com"),
    ("\uff11\uff12\uff17.0.0.1", "127.0.0.1"),
    ("ex\xadample.com", "example.com"),
    ("\u0391\u03a3.gr", "xn--mxa0b.gr"),  # a capital sigma at the end of a word is a plain one
    ("\u65e5\u672c\u8a9e\u3002jp", "xn--wgv71a119e.jp"),
    ("\u05e2\u05d1\u05e8\u05d9\u05ea.com", "xn--5dbqzzl.com"),
]


@pytest.mark.usefixtures("converter")
@pytest.mark.parametrize(("host", "name"), CONVERTED, ids=[ascii(row[0]) for row in CONVERTED])
def test_converted(host: str, name: str) -> None:
    assert check_host(host) == name


#: Those whose conversion has what no name has, or is no name.
NOT_CONVERTED = [
    "\u2024internal.example", "internal.example\u2024\u2024", "\u3002a", "a\u3002\u3002b", "\uff0e",
    "internal.example\uff1a22", "a\ufe5522", "\uff1a\uff1a1", "evil.com\uff05eth0",
    "evil.com\ufe6aeth0",
    "a\uff0fb", "a\u2100b", "a\uff20b", "\ufe6bb", "a\uff1fb", "a\uff03b", "a\uff3cb",
    "\uff3b::1\uff3d",
    "a\uff0cb", "a\u3000b", "a\xa0b", "a\x85b", "a\u2028b", "a\u010d\u010ab\n", "\xad", "\u200b",
    "\uff11\uff12\uff17.1", "\uff10x7f000001", "\uff11.2.3.4\u3002", "\ud800", "a\ud80ab",
    "\xfc" * 60, f"\xfc.{LONGEST}",
]  # fmt: skip


@pytest.mark.usefixtures("converter")
@pytest.mark.parametrize("host", NOT_CONVERTED, ids=[ascii(host)[:30] for host in NOT_CONVERTED])
def test_not_converted(host: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^hostname ") as info:
        check_host(host)
    assert info.value.__cause__ is None


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("stra\xdfe.de", "xn--strae-oqa.de"),
        ("stra\u1e9ee.de", "xn--strae-oqa.de"),
        ("\u03b1\u03c2.gr", "xn--mxa8a.gr"),
        ("\u0dc1\u0dca\u200d\u0dbb\u0dd3.com", "xn--10cl1a0b660p.com"),
        ("\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.com", "xn--mgba3gch31f060k.com"),
    ],
)
def test_names_that_need_the_package(converter: str, host: str, name: str) -> None:
    """IDNA 2003 makes other names of them, or none."""
    if converter == "idna":
        assert check_host(host) == name
        return
    with pytest.raises(InvalidRequest, match=r"need the package idna"):
        check_host(host)


def test_both_ways_lead_to_the_same_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them may refuse a name. Every character is tried that differs in any case mapping."""
    others = range(0x80, 0x30000, 41)
    cased = [code for code in range(0x80, 0x20000) if chr(code).casefold() != chr(code)]
    fillers = [0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, 0x34F, 0x200B, 0xFE0F, 0x180B]
    differing = []
    for code in {*cased, *others, *fillers}:
        host = f"a{chr(code)}.de"
        found = set()
        for module in (idna, None):
            monkeypatch.setitem(sys.modules, "idna", module)
            try:
                found.add(check_host(host))
            except InvalidRequest:
                pass
        if len(found) > 1:
            differing.append((hex(code), found))
    assert differing == []


# ----------------------------------------------------------------------------- its forms


@pytest.mark.parametrize(
    ("host", "port", "expected", "tls"),
    [
        ("h", None, "h", "h"),
        ("h", 80, "h:80", "h"),
        ("h.", 80, "h.:80", "h"),
        ("::1", None, "[::1]", "::1"),
        ("fe80::1%eth0", 8080, "[fe80::1]:8080", "fe80::1"),
        ("127.0.0.1", 1, "127.0.0.1:1", "127.0.0.1"),
    ],
)
def test_authority(host: str, port: int | None, expected: str, tls: str) -> None:
    assert authority(host, port) == expected
    assert tls_name(host) == tls


@pytest.mark.parametrize("address", [("h", 1), ["h", 1], ("\uff48", 1)])
def test_address(address: Any) -> None:
    assert check_address(address, "address") == ("h", 1)


@in_turn(
    ("address", "error"),
    [
        ("h:1", TypeError), (None, TypeError), ({"h": 1}, TypeError), (iter(("h", 1)), TypeError),
        (("h", "1"), TypeError), ((b"h", 1), TypeError), (("h", True), TypeError),
        ((), InvalidRequest), (("h",), InvalidRequest), (("h", 1, 0, 0), InvalidRequest),
        (("h", 0), InvalidRequest), (("h:1", 1), InvalidRequest), (("", 1), InvalidRequest),
    ],
)  # fmt: skip
def test_no_address(address: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="address"):
        check_address(address, "address")
