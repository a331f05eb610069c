"""Each rule of the grammar: what it takes, and the near misses that it must not take."""

from __future__ import annotations

import re

import pytest

from dugong import InvalidResponse
from dugong.protocol import grammar
from dugong.protocol.framing import frame
from dugong.protocol.headers import Headers
from dugong.protocol.response import parse_head
from tests.support.in_turn import in_turn

TOKEN_CHARACTERS = "!#$%&'*+-.^_`|~09azAZ"  # RFC 9110 section 5.6.2
ARABIC = "\u0661\u0662\u0663"  # digits to int(), str.isdigit() and \d

#: Rules that are used with fullmatch: what they take, and what they do not.
FULL = {
    "TOKEN": (
        ["a", "GET", TOKEN_CHARACTERS],
        ["", " a", "a ", "a b", "a:", "a\n", "\xe4", "a\x00", 'a"', "(a)", "a/b", "a,b", "\x7f"],
    ),
    "FIELD_LINES": (
        ["", "A: b\r\n", "A:\r\nB:\t c  d\r\nC: \x80\r\n"],
        ["A: b", "A: b\n", "A: b \r\n", "A: \r\n", "A : b\r\n", " A: b\r\n", "A\r\n", ": b\r\n",
         "A: b\r\n\r\n", "A: b\r\n C: d\r\n", "A: b\rc\r\n", "A: \x00\r\n", "\xe4: b\r\n"],
    ),
    "FIELD_VALUE": (
        ["", "a", "a b\tc", " a ", "\x80\xff", "~!"],
        ["\r", "\n", "a\r\nb: c", "\x00", "\x1f", "\x7f", "\u0100", "a\n"],
    ),
    "TARGET": (
        ["/", "*", "/a?b=c", "http://h/", "h:1", "~!"],
        ["", " ", "/a b", "/\n", "/\t", "/\xe4", "/\x7f", "/\u2028", "/a#b", "#"],
    ),
    "AUTHORITY_FORM": (
        ["h:443", "h", "a.b-c_d:", "[::1]:443", "127.0.0.1:1"],
        ["", ":443", "u@h:443", "h:443/", "h:4 3", "h:123456", "[::1", "::1", "h%41:1", "h:443\n"],
    ),
    "ABSOLUTE_FORM": (
        ["http://h", "http://h/", "http://h?q", "https://h:1/a?b", "http://[::1]:1/", "a+b-1.c://h/"],
        [
            "", "http:", "http://", "http:///a", "//h/a", "http:/h", "1http://h/", "http://u@h/",
            "http://h/a#b", "http://h/\xe4", "http://h/a b", "http://h\\a", "http://h%41/",
            "urn:a:b",
            "http://h:x/", "http://a,b/", "http://h/\n",
        ],
    ),
    "HOST_NAME": (
        ["h", "a.b", "a.b.", "A-1._b", "a" * 63, "-"],
        ["", ".", ".a", "a..b", "a..", "a b", "a%41", "a:1", "a,b", "a" * 64, "\xe4", "a\n"],
    ),
    "NUMBERS": (
        ["1", "127.1", "0x7f.1", "1.2.3.4", "1.", "0x", "0177.0"],
        ["", "a", "1.a", "a.1", "1..2", "-1", ARABIC],
    ),
    "IPV4": (
        ["0.1.19.200", "127.0.0.1", "255.255.255.255"],
        ["1.2.3", "1.2.3.4.", "01.2.3.4", "256.1.1.1", "1.2.3.4.5", "0x1.2.3.4", ""],
    ),
    "ZONE": (["eth0", "1", "a.b-c_d~"], ["", "%", "a%b", "a b", "a/b", "eth0\r\n"]),
    "PROXY_URL": (
        [
            "http://h", "https://h", "socks5://h", "Socks5H://u:p@h:1", "HTTP://h:1/", "http://u:p@h",
            "http://u@x:p@h:1", "http://[::1]:1", "http://@h",
        ],
        [
            "", "h", "h:1", "socks4://h", "socks://h", "http://", "http://:1", "http://h:x",
            "http://h/p", "http://h?q", "http://h#f", "http://u:p/@h", "http://[h]",
            "http://[::1", "http://h:1:u:p", " http://h",
        ],
    ),
    "HOST_AND_PORT": (["h:1", "h:", "[::1]:1"], ["h", "::1", ":1", "h:x", "a:1:2"]),
    "ORIGIN_FORM_LINE": (
        [
            *[f"GET {target} HTTP/1.1\r\n" for target in ["/", "//", "/a?b=c", "/~!"]],
            "CONNECTED / HTTP/1.1\r\n",
            "!#$%&'*+-.^_`|~0aZ / HTTP/1.1\r\n",
        ],
        [
            *[
                f"GET {target} HTTP/1.1\r\n"
                for target in [
                    "", " ", "*", "a", "?a", "/a#b", "/a b", "/\n", "/\t", "/\xe4", "/\x7f",
                    "/\u2028", "/ HTTP/1.1\r\nX: y",
                ]
            ],
            "CONNECT / HTTP/1.1\r\n",
            *[
                f"{method} / HTTP/1.1\r\n"
                for method in ["", " ", "G T", "GET /", "G\n", "G:", "\xe4"]
            ],
            "GET  HTTP/1.1\r\n", "GET / HTTP/1.0\r\n", "GET / HTTP/1.1\n", "GET / HTTP/1.1\r\n\r\n",
        ],
    ),
    "HOST": (
        ["h", "example.com:80", "h:", "[::1]", "[::1]:8080", "127.0.0.1", "a%20b", "a_b~c!$&'()"],
        ["", "/", ":80", "h:x", "h h", "h/", "u@h", "::1", "[::1", "[x]", "h:80:80", "a%2", "h\n"],
    ),
    "CONTENT_LENGTH": (
        ["0", "12", "0012", "9" * 18],
        ["", "+5", "-5", " 5", "5 ", "1_0", "0x5", "5.0", "1e3", ARABIC, "\xb2", "5\n", "9" * 30],
    ),
    "TRANSFER_CODING": (
        ["chunked", "gzip", "x ; a = b", 'x;a="b;c";d=e'],
        ["", " gzip", "gzip ", "a b", "gzip;", "gzip;a", "gzip;a=", '"gzip"', "\xa0gzip", "a/b"],
    ),
    "CHUNK_LINE": (
        ["0\r\n", "aF9\r\n", "5;a\r\n", "5 ; a = b ;c\r\n", '5;a="b;\\"\xff"\r\n', "000\r\n"],
        [
            "", "\r\n", "5", "5\n", "5\r", "+5\r\n", "-5\r\n", "0x5\r\n", "1_0\r\n", " 5\r\n",
            "5 \r\n", "g\r\n", f"{ARABIC}\r\n", "f" * 30 + "\r\n", "5;\r\n", "5;a=\r\n", "5 a\r\n",
            '5;a="\r\n', '5;a="\x00"\r\n', "5;a\rb\r\n", '5;a="\n"\r\n', "5\r\n\r\n", "5;a=b c\r\n",
        ],
    ),
    "DIGESTS": (
        ["a=:YQ==:", "a=:YQ==: , b=::", "a=:YQ==:,b=:YQ==:", 'a=:YQ==:;p="x, y";q=1;r'],
        [
            "", "a", "a=1", "a=YQ==", "A=:YQ==:", "a=:YQ==:,", ",a=:YQ==:", "a=:YQ==: b=:YQ==:",
            "a=:Y Q:", "a=:YQ==", "a =:YQ==:", "a=:YQ==:;P=1",
        ],
    ),
}  # fmt: skip

#: Rules that search: a text, and all that they find in it.
FOUND: dict[str, list[tuple[str, list[object]]]] = {
    "FIELD_LINE": [
        ("A: b\r\nC:\t d \t e\r\nE:\r\n", [("A", "b"), ("C", "d \t e"), ("E", "")]),
        ("A: b \r\nC: d\t\r\nE: \r\n", []),
        (": b\r\nA : b\r\n A: b\r\nA b\r\nA: b\nA: \x00\r\nA: b\rc\r\n\xe4: b\r\nA: b", []),
    ],
    "FRAMING_FIELD": [
        ("\ncontent-length: 5\r\nkeep-alive:x\r\nconnection:\r\n",
         [("content-length", "5"), ("keep-alive", "x"), ("connection", "")]),
        ("\na: \tconnection: b\r\nx-connection: c\r\nconnections: d\r\n", []),
    ],
    "TRAILING_SPACE": [
        ("A: b  c \t\r\nD:\t\r\nE: f\r\n \r\n", [" \t\r\n", "\t\r\n", " \r\n"]),
        ("A: b \n", []),
    ],
    "FOLDED_FRAMING": [
        ("Content-Length: 1\r\n 2\r\ntransfer-encoding \r\n\tb\r\nContent-length:\r\n c\r\n",
         ["Content-Length", "transfer-encoding", "Content-length"]),
        ("Content-Length: 1\r\nA: b\r\n c\r\nX-Content-Length: 1\r\n 2\r\n", []),
        ("Content-Length2:\r\n 3\r\nContent-Length: 1\r\n", []),
    ],
    "OBS_FOLD": [("A: b \t\r\n\t c\r\nD: e\r\n \r\n", [" \t\r\n\t ", "\r\n "])],
    "SCHEME": [("http://h", ["http"]), ("a+b-.1://", ["a+b-.1"]), ("http:/h", []), ("1://h", [])],
    "LOOKS_LIKE_URL": [
        ("http://", ["http://"]),
        ("//", ["//"]),
        ("HTTPS:", ["HTTPS:"]),
        ("user:password@", ["user:password@"]),
        ("h", []),
        ("::1", []),
        ("h:1", []),
    ],
    "PARAMETER": [
        ("a/b; c=d;E = \"f;g\\\"\" ;x; y=", [("c", "d"), ("E", '"f;g\\""')]),
        ("a=b", []),
    ],
    "DIGEST": [
        ("sha-256=:YQ==:, b=:YmI=:;p=1;q", [("sha-256", "YQ=="), ("b", "YmI=")]),
        ('a=:YQ==:;p="b=:YmI=:"', [("a", "YQ==")]),
        ("A=:YQ==:", []),
        ("a=YQ==", []),
    ],
    "QUOTED_PAIR": [('a\\"b\\\\c', ['"', "\\"])],
    "KEEP_ALIVE_TIMEOUT": [
        ("timeout=5", ["5"]),
        ("max=9, Timeout = 15", ["15"]),
        ("xtimeout=5", []),
        ("timeout=-5", []),
        (f"timeout={ARABIC}", []),
    ],
    "CONTROL": [("a\x00b\x1f\x7f\x80 ", ["\x00", "\x1f", "\x7f"])],
}  # fmt: skip

STATUS_LINES = [
    ("HTTP/1.1 200 OK\r\n", ("1", "1", "200", "OK")),
    ("HTTP/1.0 999 \r\n", ("1", "0", "999", "")),
    ("HTTP/1.1 100\r\n", ("1", "1", "100", None)),
    ("HTTP/2.0 200 \t\xe4 b\r\nA: b\r\n", ("2", "0", "200", "\t\xe4 b")),
    *[
        (line, None)
        for line in [
            "HTTP/1.1 200 OK\n", "HTTP/1.1 200 OK", "HTTP/1.1 099 X\r\n", "HTTP/1.1 20 X\r\n",
            "HTTP/1.1 2000 X\r\n", "HTTP/1.1  200 X\r\n", "HTTP/1.1 200X\r\n", "HTTP/11 200 X\r\n",
            "HTTP/1.10 200 X\r\n", "http/1.1 200 X\r\n", " HTTP/1.1 200 X\r\n",
            "HTTP/1.1 +20 X\r\n",
            f"HTTP/1.1 {ARABIC} X\r\n", f"HTTP/1.{ARABIC[0]} 200 X\r\n", "HTTP/1.1 200 \x00\r\n",
            "HTTP/1.1 200 a\rb\r\n", "HTTP/1.1 200 a\nb\r\n", "HTTP/1.1 200\tOK\r\n", "\r\n",
        ]
    ],
]  # fmt: skip


def rule(name: str) -> re.Pattern[str]:
    pattern = getattr(grammar, name)
    assert isinstance(pattern, re.Pattern)
    return pattern


def test_every_rule_has_its_examples() -> None:
    named = {name for name, value in vars(grammar).items() if isinstance(value, re.Pattern)}
    assert named == {*FULL, *FOUND, "STATUS_LINE", "NEXT_CHUNK"}


@in_turn(
    ("data", "size"),
    [
        (b"\r\n2000\r\nabc", b"2000"),
        (b"\r\naF0\r\n", b"aF0"),
        (b"\r\n0\r\n\r\n", b"0"),
        (b"\r\n5;a=b\r\n", None),
        (b"\r\n5 \r\n", None),
        (b"\r\n5\n", None),
        (b"\n5\r\n", None),
        (b"\r\n+5\r\n", None),
        (b"\r\n5\r", None),
        (b"\r\n" + b"1" * 16 + b"\r\n", None),
        (b"x\r\n5\r\n", None),
    ],
)
def test_next_chunk(data: bytes, size: bytes | None) -> None:
    match = grammar.NEXT_CHUNK.match(data)
    assert (None if match is None else match[1]) == size


@in_turn("name", FULL)
def test_taken_and_not_taken(name: str) -> None:
    valid, invalid = FULL[name]
    assert [text for text in valid if not rule(name).fullmatch(text)] == []
    assert [text for text in invalid if rule(name).fullmatch(text)] == []


@in_turn(
    ("name", "text", "found"),
    [(name, text, found) for name, rows in FOUND.items() for text, found in rows],
)
def test_found(name: str, text: str, found: list[object]) -> None:
    assert rule(name).findall(text) == found


@in_turn(("line", "groups"), STATUS_LINES)
def test_status_line(line: str, groups: tuple[str | None, ...] | None) -> None:
    match = grammar.STATUS_LINE.match(line)
    assert (None if match is None else match.groups()) == groups


@pytest.mark.parametrize(
    ("value", "items"),
    [
        ("a", ["a"]),
        ("a ,\tb,c", ["a", "b", "c"]),
        ("a,,b", ["a", "", "b"]),
        ("a\x0c,b", ["a\x0c", "b"]),
    ],
)
def test_split_list(value: str, items: list[str]) -> None:
    assert grammar.split_list(value) == items


# A pattern that tries every way to share out white space takes minutes for such lines; one that
# does not takes milliseconds. The guard stands far above any honest time and far below the other.

SPACES = b" " * 60_000
HOSTILE = {
    "white space, then a control": b"A:" + SPACES + b"\x00\r\n",
    "white space in a value": b"A: b" + SPACES + b"c\r\n",
    "white space, and a fold elsewhere": b"A: b" + SPACES + b"c\r\n d\r\n",
    "white space in a list": b"Connection: b" + SPACES + b"c\r\nKeep-Alive:," + SPACES + b"c\r\n",
    "commas": b"Connection: " + b" ,\t" * 20_000 + b"c\r\n",
}


@pytest.mark.timeout(10)
@pytest.mark.parametrize("lines", HOSTILE.values(), ids=HOSTILE)
def test_no_head_takes_long(lines: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + 4 * lines + b"\r\n"
    try:
        assert frame(parse_head(head, "GET", "/")).length is None
    except InvalidResponse:
        assert b"\x00" in lines


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "value",
    [
        "a/b;" + " " * 60_000,
        "a/b" + "; a" * 20_000,
        'a/b;a="' + '\\"' * 30_000,
        "a/b; " + "a" * 60_000,
    ],
    ids=["white space", "no value", "no end quote", "long name"],
)
def test_no_parameter_takes_long(value: str) -> None:
    assert Headers([("Content-Type", value)]).get_param("x") is None
