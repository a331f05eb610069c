"""Bodies in chunks: sizes, extensions, terminators, trailer sections."""

# ruff: noqa: E501 - one row, one line

from __future__ import annotations

from tests.hostile.table import CHUNKED, Case, bad_body, case, closed, family, ok

SIZE = CHUNKED + b"@\r\nhello\r\n0\r\n\r\n"
LATER = CHUNKED + b"2\r\nab\r\n@\r\nhello\r\n0\r\n\r\n"
EXTENSION = CHUNKED + b"5@\r\nhello\r\n0\r\n\r\n"
LAST = CHUNKED + b"5\r\nhello\r\n0@\r\n\r\n"
AFTER_DATA = CHUNKED + b"5\r\nhello@0\r\n\r\n\r\n\r\n"
TRAILER = CHUNKED + b"5\r\nhello\r\n0\r\n@\r\n\r\n"

#: RFC 9112 section 7.1: chunk-size is 1*HEXDIG.
SIZES: dict[str, bytes | tuple[bytes, str]] = {
    "plus": (b"+5", "CVE-2026-69216 (http4s)"), "minus": (b"-5", "CVE-2026-69216 (http4s)"),
    "minus-zero": b"-0", "plus-zero": b"+0", "minus-one": b"-1", "hex": (b"0x5", "CVE-2022-24801 (Twisted)"),
    "hex-upper": b"0X5", "hex-zero": b"0x0", "underscore": b"0_5", "space-before": b" 5", "tab-before": b"\t5",
    "space-after": b"5 ", "tab-after": b"5\t", "many-spaces-after": b"5" + b" " * 30, "two-numbers": b"5 5",
    "none": b"", "only-space": b" ", "only-extension": b";a=b", "letter-g": b"g", "letter-after": b"5g",
    "letter-h": b"5h", "word": b"five", "fraction": b"5.0", "comma": b"5,0", "colon": b"5:", "quoted": b'"5"',
    "arabic": "\u0665".encode(), "fullwidth": "\uff15".encode(), "superscript": b"\xb2", "fullwidth-a": "\uff21".encode(),
    "nbsp": b"5\xa0", "nbsp-before": b"\xa05", "vt": b"\x0b5", "vt-after": b"5\x0b", "ff-after": b"5\x0c",
    "nul": b"5\x00", "nul-before": b"\x005", "cr-after": b"5\r", "cr-inside": b"5\r5", "cr-before": b"\r5",
    "del": b"5\x7f", "16-digits": (b"ffffffffffffffff", "CVE-2013-2028 (nginx)"),
    "negative-64": (b"fffffffffffffff0", "CVE-2013-2070 (nginx)"), "negative-32": (b"fffffff0" * 2, "CVE-2002-0392 (Apache)"),
    "wraps-64-to-5": (b"10000000000000005", "CVE-2021-32714 (hyper)"), "wraps-128": b"1" + b"0" * 31 + b"5",
    "30-digits": b"5" * 30, "30-digits-zeros": b"0" * 29 + b"5", "1000-zeros": b"0" * 1000 + b"5",
    "octal": b"0o5", "exponent": b"5e+0", "status-line": b"HTTP/1.1 200 OK", "h-suffix": b"05H",
}  # fmt: skip

#: RFC 9112 section 7.1.1, and RFC 9110 section 5.6.4 for quoted strings.
BAD_EXTENSIONS: dict[str, bytes | tuple[bytes, str]] = {
    "empty": b";", "two": b";;a", "trailing": b";a;", "no-value": b";a=", "no-name": b";=b", "no-semicolon": b" a",
    "equals": b"=a", "comma": b",a", "unclosed": b';a="', "unclosed-text": b';a="b', "unclosed-escape": b';a="b\\"',
    "after-quotes": b';a="b"c', "two-words": b";a b", "two-values": b";a=b c", "quoted-name": b';"a"=b',
    "lf": (b";a\nb", "CVE-2025-55315 (Kestrel)"), "lf-first": (b"\n;a", "CVE-2025-22871 (Go)"),
    "lf-value": (b";a=b\n", "CVE-2021-22960 (llhttp)"), "lf-quoted": (b';a="\n"', "CVE-2026-2332 (Jetty)"),
    "crlf-quoted": (b';a="\r\n"', "CVE-2026-24033 (Traffic Server)"), "cr": (b";a\rb", "CVE-2023-46846 (Squid)"),
    "cr-quoted": (b';a="\r"', "CVE-2026-2332 (Jetty)"), "cr-last": b";a\r", "nul": b";a\x00", "nul-quoted": b';a="\x00"',
    "control": (b";a=\x01", "CVE-2015-3183 (Apache)"), "del": b";a=b\x7f", "obs-text": b";a=\xe9", "obs-text-name": b";\xe9",
    "space-last": b";a ", "vt": b"\x0b;a", "brackets": b";[a]", "slash": b";a/b",
}  # fmt: skip

GOOD_EXTENSIONS: dict[str, bytes | tuple[bytes, str]] = {
    "name": b";a", "value": b";a=b", "quoted": b';a="b c"', "semicolon-quoted": b';a="b;c"', "escape": b';a="\\"\\\\"',
    "empty-quoted": b';a=""', "spaces": b" ; a = b", "tabs": b"\t;\ta\t=\tb", "several": b';a;b=c;d="e"', "obs-text-quoted": b';a="\xe9"',
    "tab-quoted": b';a="\t"', "number": b";1=2",
}  # fmt: skip

#: What stands where CRLF has to, after the five bytes of a chunk.
TERMINATORS: dict[str, bytes | tuple[bytes, str]] = {
    "any-two-bytes": (b"XX", "CVE-2025-43859 (h11)"), "nothing": (b"", "CVE-2022-24790 (Puma)"), "lf": (b"\n", "RFC 9112 7.1"), "cr": b"\r",
    "two-lf": b"\n\n", "two-cr": b"\r\r", "lfcr": b"\n\r", "one-more-byte": b"!\r\n", "two-more-bytes": (b"!!\r\n", "CVE-2025-43859 (h11)"),
    "space": b" \r\n", "cr-and-more": b"\rX", "nul": b"\x00\r\n", "crcrlf": b"\r\r\n", "extension": b";a\r\n",
    "two-spaces": b"  ",
}  # fmt: skip

#: What follows the 0 of the last chunk, before CRLF CRLF.
BAD_LAST: dict[str, bytes | tuple[bytes, str]] = {
    "lf": (b"\n", "CVE-2025-22871 (Go)"), "space": b" ", "cr": b"\r", "hex": b"x", "extension-lf": b";\n", "nul": b"\x00", "extension-empty": b";",
    "lf-in-extension": (b";a\nb", "CVE-2025-55315 (Kestrel)"),
}  # fmt: skip

#: What stands as trailer line.
BAD_TRAILERS: dict[str, bytes | tuple[bytes, str]] = {
    "no-colon": (b"A", "CVE-2024-35161 (Traffic Server)"), "space-before-colon": b"A : b", "empty-name": b": b", "leading-space": b" A: b",
    "fold": b"A: b\r\n c", "fold-connection": b"Connection:\r\n close", "lf": (b"A: b\nB: c", "GHSA-9548-qrrj-x5pj (aiohttp)"), "lf-alone": b"\n", "cr": b"A: b\rc", "cr-alone": b"\rX",
    "nul": b"A: \x00", "control": b"A: \x01", "bad-name": b"A B: c", "response": (b"HTTP/1.1 200 OK", "GHSA-9548-qrrj-x5pj (aiohttp)"),
    "chunk": b"5", "only-space": b" ", "obs-text-name": b"\xe9: b", "lf-end": b"A: b\r\n\n", "crcrlf": b"A: b\r",
}  # fmt: skip


def lines(name: str, source: str, body: bytes, trailers: list[tuple[str, str]]) -> Case:
    data = CHUNKED + b"5\r\nhello\r\n0\r\n" + body + b"\r\n"
    return case(f"trailer-{name}", source, data, ok(200, b"hello", trailers=trailers))


BROKEN: list[Case] = [
    *family("chunk", "RFC 9112 7.1", SIZES, bad_body(), SIZE),
    *family("later-chunk", "RFC 9112 7.1", {name: SIZES[name] for name in ("plus", "none", "30-digits", "space-after")}, bad_body(b"ab"), LATER),
    *family("ext", "RFC 9112 7.1.1", BAD_EXTENSIONS, bad_body(), EXTENSION),
    *family("chunk-end", "RFC 9112 7.1", TERMINATORS, bad_body(b"hello"), AFTER_DATA),
    *family("last", "RFC 9112 7.1", BAD_LAST, bad_body(b"hello"), LAST),
    *family("trailer", "RFC 9112 7.1.2", BAD_TRAILERS, bad_body(b"hello", part="trailer"), TRAILER),
    case("ext-fold", "RFC 9112 7.1.1", CHUNKED + b"5;a\r\n b\r\nhello\r\n0\r\n\r\n", bad_body(b" b\r\nh")),
    case("chunk-lf", "CVE-2025-22871 (Go)", CHUNKED + b"5\nhello\r\n0\r\n\r\n", bad_body()),
    case("chunk-all-lf", "CVE-2019-16785 (waitress)", CHUNKED + b"5\nhello\n0\n\n", bad_body()),
    case("chunk-lf-in-last", "CVE-2025-22871 (Go)", CHUNKED + b"5\r\nhello\r\n0\n\r\n", bad_body(b"hello")),
    case("chunk-lf-ends-all", "RFC 9112 7.1", CHUNKED + b"5\r\nhello\r\n0\r\n\n", bad_body(b"hello", part="trailer")),
    case("chunk-cr-ends-all", "RFC 9112 7.1", CHUNKED + b"5\r\nhello\r\n0\r\n\r\rX\r\n", bad_body(b"hello", part="trailer")),
    case("chunk-crlf-first", "RFC 9112 7.1", CHUNKED + b"\r\n5\r\nhello\r\n0\r\n\r\n", bad_body()),
    case("chunk-crlf-between", "RFC 9112 7.1", CHUNKED + b"5\r\nhello\r\n\r\n0\r\n\r\n", bad_body(b"hello")),
    case("chunk-too-short", "RFC 9112 7.1", CHUNKED + b"4\r\nhello\r\n0\r\n\r\n", bad_body(b"hell")),
    case("chunk-too-long", "RFC 9112 7.1", CHUNKED + b"6\r\nhello\r\n0\r\n\r\n", bad_body(b"hello\r")),
    case("chunk-swallows-end", "RFC 9112 7.1", CHUNKED + b"c\r\nhello\r\n0\r\n\r\n", closed(b"hello\r\n0\r\n\r\n"), end="close"),
    case("chunk-huge-cut", "RFC 9112 8", CHUNKED + b"fffffffffffffff\r\nhello", closed(b"hello"), end="close"),
    case("chunk-no-last", "RFC 9112 8", CHUNKED + b"5\r\nhello\r\n", closed(b"hello"), end="close"),
    case("chunk-no-final-crlf", "RFC 9112 8", CHUNKED + b"5\r\nhello\r\n0\r\n", closed(b"hello"), end="close"),
    case("chunk-no-trailer-end", "RFC 9112 8", CHUNKED + b"5\r\nhello\r\n0\r\nA: b\r\n", closed(b"hello"), end="close"),
    case("chunk-no-body", "RFC 9112 8", CHUNKED, closed(b""), end="close"),
    case("chunk-plain-body", "RFC 9112 7.1", CHUNKED + b"hello world\r\n", bad_body()),
    case("chunk-json-body", "RFC 9112 7.1", CHUNKED + b'{"a": 1}\r\n', bad_body()),
]  # fmt: skip

GOOD: list[Case] = [
    *family("ext", "RFC 9112 7.1.1", GOOD_EXTENSIONS, ok(200, b"hello"), EXTENSION),
    *family("last", "RFC 9112 7.1", {"zeros": b"000", "extension": b";a", "value": b"0;a=b"}, ok(200, b"hello"), LAST),
    *family("chunk", "RFC 9112 7.1", {"leading-zeros": b"0005", "fifteen-digits": b"0" * 14 + b"5"}, ok(200, b"hello"), SIZE),
    case("chunk-upper", "RFC 9112 7.1", CHUNKED + b"A\r\n0123456789\r\n0\r\n\r\n", ok(200, b"0123456789")),
    case("chunk-lower", "RFC 9112 7.1", CHUNKED + b"0a\r\n0123456789\r\n0\r\n\r\n", ok(200, b"0123456789")),
    case("chunk-two-digits", "RFC 9112 7.1", CHUNKED + b"10\r\n0123456789abcdef\r\n0\r\n\r\n", ok(200, b"0123456789abcdef")),
    case("chunked-empty", "RFC 9112 7.1", CHUNKED + b"0\r\n\r\n", ok(200)),
    case("chunk-many", "RFC 9112 7.1", CHUNKED + b"1\r\nh\r\n" * 8 + b"0\r\n\r\n", ok(200, b"h" * 8)),
    case("chunk-of-lines", "RFC 9112 7.1", CHUNKED + b"9\r\n\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n", ok(200, b"\r\n0\r\n\r\n\r\n")),
    lines("one", "RFC 9112 7.1.2", b"A: b\r\n", [("A", "b")]),
    lines("two", "RFC 9112 7.1.2", b"A: b\r\na:c\r\n", [("A", "b"), ("a", "c")]),
    lines("empty-value", "RFC 9112 7.1.2", b"A:\r\n", [("A", "")]),
    lines("length", "RFC 9110 6.5.1", b"Content-Length: 99\r\n", [("Content-Length", "99")]),
    lines("coding", "RFC 9110 6.5.1", b"Transfer-Encoding: x\r\n", [("Transfer-Encoding", "x")]),
    lines("close", "RFC 9110 6.5.1", b"Connection: close\r\n", [("Connection", "close")]),
]  # fmt: skip

CASES = [*BROKEN, *GOOD]
