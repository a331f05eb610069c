"""Content-Length and Transfer-Encoding: numbers, codings, and both together."""

# ruff: noqa: E501 - one row, one line

from __future__ import annotations

from tests.hostile.table import (
    OK,
    Case,
    case,
    closed,
    closes,
    family,
    invalid,
    ok,
    unsupported,
)

LENGTH = OK + b"Content-Length: @\r\n\r\nhello"
CODING = OK + b"Transfer-Encoding: @\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
BODY = b"\r\n5\r\nhello\r\n0\r\n\r\n"

#: Field values that are valid as such, and no Content-Length.
NUMBERS: dict[str, bytes | tuple[bytes, str]] = {
    "plus": (b"+5", "CVE-2021-32715 (hyper)"), "minus": (b"-5", "CVE-2022-24801 (Twisted)"),
    "minus-zero": b"-0", "plus-sign": b"+", "minus-sign": (b"-", "CVE-2020-15049 (Squid)"),
    "hex": b"0x5", "hex-upper": b"0X5", "octal": b"0o5", "binary": b"0b101", "underscore": b"1_0",
    "leading-underscore": b"_5", "trailing-underscore": b"5_", "fraction": b"5.0", "exponent": b"5e0",
    "hex-digits": b"a", "word": b"five", "nan": b"NaN", "unit": b"5 bytes", "semicolon": b"5;",
    "parameter": b"5;a=b", "quoted": b'"5"', "single-quoted": b"'5'", "inner-space": b"5 5",
    "inner-tab": b"5\t5", "space-zero": b"5 0", "empty": (b"", "CVE-2023-40225 (HAProxy)"),
    "spaces": (b"  \t ", "CVE-2023-40175 (Puma)"), "nbsp": b"\xa05", "nbsp-after": b"5\xa0",
    "nel": b"\x855", "arabic": "\u0665".encode(), "fullwidth": "\uff15".encode(), "superscript": b"\xb2",
    "devanagari": "\u096b".encode(), "30-digits": b"5" * 30, "30-digits-zeros": b"0" * 29 + b"5",
    "two-to-the-64": b"18446744073709551616", "wraps-64-to-5": b"18446744073709551621",
    "two-to-the-63": b"9223372036854775808", "star": b"*", "bytes-range": b"bytes 0-4/5",
    "comma": b",", "trailing-comma": b"5,", "leading-comma": b",5", "two-commas": b"5,,5",
    "list-differs": (b"5, 6", "RFC 9112 6.3"), "list-differs-close": (b"5,05,6", "RFC 9112 6.3"),
    "list-plus": (b"5, +5", "RFC 9112 6.3"), "list-empty": (b"5, ", "RFC 9112 6.3"),
    "list-semicolon": b"5;5", "list-of-words": b"5, close",
}  # fmt: skip

#: The same, where the value holds what no value may.
CONTROLS: dict[str, bytes | tuple[bytes, str]] = {
    "vt": (b"\x0b5", "CVE-2020-15049 (Squid)"), "ff": (b"\x0c5", "CVE-2020-15049 (Squid)"),
    "nul": b"5\x00", "nul-before": b"\x005", "cr": b"5\r", "cr-before": b"\r5", "lf": b"\n5",
    "del": b"5\x7f",
}  # fmt: skip

#: Content-Length fields of a response that has no body.
ANNOUNCED: dict[str, bytes | tuple[bytes, str]] = {
    "five": b"5", "one": b"1", "bad": b"x", "minus-zero": b"-0", "empty": b"", "zero-and-five": b"0, 5",
}  # fmt: skip

LENGTHS: list[Case] = [
    *family("cl", "RFC 9110 8.6", NUMBERS, invalid(200), LENGTH),
    *family("cl", "RFC 9110 5.5", CONTROLS, invalid(), LENGTH),
    *family("cl-head", "RFC 9112 6.3", {"plus": b"+5", "differs": b"5, 6"}, invalid(200), LENGTH, method="HEAD"),
    *family("cl-304", "RFC 9112 6.3", {"minus": b"-5", "differs": b"5, 6"}, invalid(304), LENGTH.replace(b"200", b"304")),
    *family("cl-204", "RFC 9112 6.3", ANNOUNCED, closes(204), OK.replace(b"200", b"204") + b"Content-Length: @\r\n\r\n"),
    *family("cl-204", "RFC 9112 6.3", {"list-of-zeros": b"0, 0", "zeros": b"000"}, ok(204), OK.replace(b"200", b"204") + b"Content-Length: @\r\n\r\n"),
    case("cl-204-body", "RFC 9112 6.3", LENGTH.replace(b"200", b"204").replace(b"@", b"5"), closes(204, ignored=True)),
    case("cl-twice-differs", "CVE-2019-20445 (Netty)", OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", invalid(200)),
    case("cl-twice-zero-second", "CVE-2020-10108 (Twisted)", OK + b"Content-Length: 5\r\nContent-Length: 0\r\n\r\nhello", invalid(200)),
    case("cl-twice-zero-first", "CVE-2026-54388 (Tinyproxy)", OK + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello", invalid(200)),
    case("cl-twice-other-case", "CVE-2026-1525 (undici)", OK + b"Content-Length: 5\r\ncontent-length: 6\r\n\r\nhello!", invalid(200)),
    case("cl-twice-apart", "RFC 9112 6.3", OK + b"Content-Length: 5\r\nA: b\r\nB: c\r\nContent-Length: 6\r\n\r\nhello!", invalid(200)),
    case("cl-twice-second-bad", "RFC 9112 6.3", OK + b"Content-Length: 5\r\nContent-Length: x\r\n\r\nhello", invalid(200)),
    case("cl-twice-second-empty", "CVE-2023-40225 (HAProxy)", OK + b"Content-Length: 5\r\nContent-Length:\r\n\r\nhello", invalid(200)),
    case("cl-twice-first-empty", "CVE-2023-40225 (HAProxy)", OK + b"Content-Length:\r\nContent-Length: 5\r\n\r\nhello", invalid(200)),
    case("cl-thrice-last-differs", "RFC 9112 6.3", OK + b"Content-Length: 5\r\n" * 2 + b"Content-Length: 4\r\n\r\nhello", invalid(200)),
    case("cl-twice-equal", "RFC 9112 6.3", OK + b"Content-Length: 5\r\ncontent-length: 5\r\n\r\nhello", ok(200, b"hello")),
    case("cl-list-equal", "RFC 9112 6.3", LENGTH.replace(b"@", b"5 ,\t5, 5"), ok(200, b"hello")),
    case("cl-zeros", "RFC 9110 8.6", LENGTH.replace(b"@", b"0000000005"), ok(200, b"hello")),
    case("cl-zero", "RFC 9110 8.6", OK + b"Content-Length: 0\r\n\r\n", ok(200)),
    case("cl-huge-cut", "RFC 9112 8", LENGTH.replace(b"@", b"9" * 18), closed(b"hello"), end="close"),
    case("cl-one-missing", "RFC 9112 8", LENGTH.replace(b"@", b"6"), closed(b"hello"), end="close"),
    case("cl-all-missing", "RFC 9112 8", OK + b"Content-Length: 5\r\n\r\n", closed(b""), end="close"),
    case("cl-close-cut", "RFC 9112 8", OK + b"Connection: close\r\nContent-Length: 6\r\n\r\nhello", closed(b"hello"), end="close"),
    case("cl-10-cut", "RFC 9112 8", b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello", closed(b"hello"), end="close"),
    case("cl-underscore-name", "RFC 9110 5.1", OK + b"Content_Length: 9\r\nContent-Length: 5\r\n\r\nhello", ok(200, b"hello")),
    case("cl-longer-name", "RFC 9110 5.1", OK + b"Content-Lengths: 9\r\nX-Content-Length: 8\r\nContent-Length: 5\r\n\r\nhello", ok(200, b"hello")),
]  # fmt: skip

#: RFC 9112 section 7: valid names of codings that are not ours.
OTHER_CODINGS: dict[str, bytes | tuple[bytes, str]] = {
    "gzip": b"gzip", "deflate": b"deflate", "gzip-chunked": (b"gzip, chunked", "CVE-2019-16786 (waitress)"),
    "identity": b"identity", "identity-chunked": b"identity, chunked",
    "xchunked": b"xchunked", "chunkedx": b"chunkedx", "chunked123": (b"chunked123", "CVE-2023-47641 (aiohttp)"),
    "notchunked": (b"notchunked", "CVE-2026-69205 (http4s)"), "chunk": b"chunk", "x-chunked": b"x-chunked",
    "chunked-list-of-x": b"x, y, chunked",
    "cow": b"cow", "trailers": b"trailers",
}  # fmt: skip

#: RFC 9112 section 6.1: chunked is there once, and last.
BAD_CODINGS: dict[str, bytes | tuple[bytes, str]] = {
    "chunked-twice": b"chunked, chunked", "chunked-twice-case": b"chunked, Chunked",
    "chunked-gzip": b"chunked, gzip", "chunked-identity": (b"chunked, identity", "CVE-2026-42585 (Netty)"),
    "chunked-xchunked": (b"chunked, xchunked", "CVE-2026-89044 (Netty)"), "chunked-gzip-chunked": b"chunked, gzip, chunked",
    "chunked-parameter": b"chunked;a=b", "empty": b"", "comma": b",", "leading-comma": b",chunked",
    "two-commas": b"gzip,,chunked", "trailing-comma": b"chunked,",
}  # fmt: skip

#: What is not even a name.
NO_CODINGS: dict[str, bytes | tuple[bytes, str]] = {
    "nbsp": b"\xa0chunked", "nbsp-after": b"chunked\xa0", "nel": b"\x85chunked", "quoted": b'"chunked"',
    "single-quoted-space": b"'chunked '", "inner-space": b"chun ked", "two-words": b"x chunked",
    "word-after": b"chunked x", "colon": b": chunked", "brackets": b"[chunked]", "semicolon": b"chunked;",
    "slash": b"chunked/1.1", "equals": b"=chunked", "kelvin-sign": ("chun\u212aed".encode(), "CVE-2026-69205 (http4s)"),
    "utf8-bom": b"\xef\xbb\xbfchunked",
}  # fmt: skip

CONTROL_CODINGS: dict[str, bytes | tuple[bytes, str]] = {
    "vt": (b"\x0bchunked", "CVE-2019-18277 (HAProxy), GHSA-m5ff-3wj3-8ph4 (waitress)"),
    "ff": b"\x0cchunked", "nul": b"chunked\x00", "nul-before": b"\x00chunked", "cr": b"chunked\r",
    "cr-before": (b"\rchunked", "CVE-2022-1705 (Go)"), "lf": b"\nchunked", "backspace": b"x\x08chunked", "del": b"chunked\x7f",
}  # fmt: skip

GOOD_CODINGS: dict[str, bytes | tuple[bytes, str]] = {
    "lower": b"chunked", "title": (b"Chunked", "CVE-2026-69205 (http4s)"), "upper": b"CHUNKED",
    "mixed": b"chUNkeD", "spaces": b" \t chunked \t ",
}  # fmt: skip

CODINGS: list[Case] = [
    *family("te", "RFC 9112 6.1", OTHER_CODINGS, unsupported(200), CODING),
    *family("te", "RFC 9112 6.1", BAD_CODINGS, invalid(200), CODING),
    *family("te", "RFC 9112 7", NO_CODINGS, invalid(200), CODING),
    *family("te", "RFC 9110 5.5", CONTROL_CODINGS, invalid(), CODING),
    *family("te", "RFC 9112 7", GOOD_CODINGS, ok(200, b"hello"), CODING),
    *family("te-10", "RFC 9112 6.1", {"chunked": b"chunked", "gzip": b"gzip"}, invalid(200), CODING.replace(b"/1.1", b"/1.0")),
    *family("te-204", "RFC 9112 6.3", {"chunked": b"chunked", "gzip": b"gzip", "twice": b"chunked, chunked"}, closes(204), OK.replace(b"200", b"204") + b"Transfer-Encoding: @\r\n\r\n"),
    case("te-204-body", "RFC 9112 6.3", CODING.replace(b"200", b"204").replace(b"@", b"chunked"), closes(204, ignored=True)),
    case("te-204-10", "RFC 9112 6.3", b"HTTP/1.0 204 X\r\nConnection: keep-alive\r\nTransfer-Encoding: x\r\n\r\n", closes(204, version="1.0")),
    case("te-10-keep-alive", "RFC 9112 6.1", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n" + BODY, invalid(200)),
    case("te-twice", "CVE-2020-8287 (Node.js)", OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" + BODY, invalid(200)),
    case("te-twice-first-chunked", "CVE-2020-8287 (Node.js)", OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n" + BODY, invalid(200)),
    case("te-twice-last-chunked", "CVE-2024-1135 (gunicorn)", OK + b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n" + BODY, unsupported(200)),
    case("te-twice-apart", "CVE-2020-8287 (Node.js)", OK + b"Transfer-Encoding: chunked\r\nA: b\r\ntransfer-encoding: identity\r\n" + BODY, invalid(200)),
    case("te-twice-empty", "RFC 9112 6.1", OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n" + BODY, invalid(200)),
    case("te-head-twice", "RFC 9112 6.1", OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n", invalid(200), method="HEAD"),
    case("te-underscore-name", "RFC 9110 5.1", OK + b"Transfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello", ok(200, b"hello")),
    case("te-cut-name", "RFC 9110 5.1", OK + b"X-Transfer-Encoding: chunked\r\nTE: chunked\r\nContent-Length: 5\r\n\r\nhello", ok(200, b"hello")),
    case("te-content-encoding", "RFC 9110 8.4", OK + b"Content-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello", ok(200, b"hello")),
]  # fmt: skip

_CL, _TE = b"Content-Length: @\r\n", b"Transfer-Encoding: chunked\r\n"

#: The Content-Length of a response that has Transfer-Encoding too.
LENGTHS_BESIDE: dict[str, bytes | tuple[bytes, str]] = {
    "right": b"15", "zero": b"0", "short": b"5", "long": (b"50", "CVE-2020-10109 (Twisted)"),
}  # fmt: skip

BOTH: list[Case] = [
    *family("te-cl", "CVE-2005-2088 (Apache)", LENGTHS_BESIDE, invalid(200), OK + _TE + _CL + BODY),
    *family("cl-te", "CVE-2024-47220 (WEBrick)", LENGTHS_BESIDE, invalid(200), OK + _CL + _TE + BODY),
    *family("cl-te-head", "RFC 9112 6.3", {"zero": b"0"}, invalid(200), OK + _CL + _TE + b"\r\n", method="HEAD"),
    *family("cl-te-204", "RFC 9112 6.3", {"zero": b"0", "five": b"5"}, closes(204), b"HTTP/1.1 204 X\r\n" + _CL + _TE + b"\r\n"),
    *family("cl-te-304", "RFC 9112 6.3", {"zero": b"0"}, invalid(304), b"HTTP/1.1 304 X\r\n" + _CL + _TE + b"\r\n"),
    *family("cl-te-close", "RFC 9112 6.3", {"five": b"5"}, invalid(200), OK + b"Connection: close\r\n" + _CL + _TE + BODY, end="close"),
    *family("cl-te-bad", "RFC 9112 6.3", {"plus": b"+5", "empty": b""}, invalid(200), OK + _CL + _TE + BODY),
    case("cl-te-gzip", "CVE-2019-16786 (waitress)", OK + b"Content-Length: 5\r\nTransfer-Encoding: gzip, chunked\r\n" + BODY, invalid(200)),
    case("cl-te-chunked123", "CVE-2023-47641 (aiohttp)", OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked123\r\n\r\nhello", invalid(200)),
    case("cl-te-identity", "CVE-2024-6827 (gunicorn)", OK + b"Content-Length: 5\r\nTransfer-Encoding: identity\r\n\r\nhello", invalid(200)),
    case("cl-te-empty", "RFC 9112 6.3", OK + b"Content-Length: 5\r\nTransfer-Encoding:\r\n\r\nhello", invalid(200)),
]  # fmt: skip

CASES = [*LENGTHS, *CODINGS, *BOTH]
