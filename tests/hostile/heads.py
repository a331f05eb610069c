"""Status lines and field lines."""

# ruff: noqa: E501 - one row, one line

from __future__ import annotations

from tests.hostile.table import (
    OK,
    Case,
    case,
    closed,
    closes,
    dropped,
    family,
    invalid,
    ok,
    unsupported,
    until_close,
)

END = b"\r\nContent-Length: 2\r\n\r\nhi"
LENGTH = b"Content-Length: 2\r\n"
#: A head with one line in the place of @, and its body.
LINE = OK + b"@\r\n" + LENGTH + b"\r\nhi"

BAD_STATUS = invalid(part="status-line")

#: RFC 9110 section 15: three ASCII digits, from 100.
STATUS_CODES: dict[str, bytes | tuple[bytes, str]] = {
    "plus": b"+20", "minus": b"-20", "hex": b"0x2", "underscore": b"2_0", "two-digits": b"20",
    "four-digits": b"2000", "30-digits": b"200" * 10, "none": b"", "letter": b"2x0",
    "letter-o": b"20O", "space-before": b" 200", "tab-before": b"\t200", "zero": b"000",
    "below-100": b"099", "fraction": b"200.0", "fullwidth": "\uff12\uff10\uff10".encode(),
    "arabic": "\u0662\u0660\u0660".encode(), "superscript": b"\xb2\xb2\xb2",
    "inner-space": b"2 0", "no-space": b"200OK", "nul": b"20\x00",
}  # fmt: skip

#: RFC 9112 section 2.3: HTTP-version is "HTTP/" DIGIT "." DIGIT.
VERSIONS: dict[str, bytes | tuple[bytes, str]] = {
    "lower-case": b"http/1.1", "mixed-case": b"Http/1.1", "no-minor": b"HTTP/1",
    "no-minor-digit": b"HTTP/1.", "no-major-digit": b"HTTP/.1", "two-digit-minor": b"HTTP/1.10",
    "two-digit-major": b"HTTP/01.1", "plus": b"HTTP/+1.1", "minus": b"HTTP/-1.1",
    "space-inside": b"HTTP /1.1", "space-after-slash": b"HTTP/ 1.1", "comma": b"HTTP/1,1",
    "any-separator": ("HTTP/1ö1".encode("latin-1"), "CVE-2024-23829 (aiohttp)"),
    "fullwidth-digit": ("HTTP/1.\uff11".encode(), "CVE-2024-23829 (aiohttp)"),
    "https": b"HTTPS/1.1", "icy": b"ICY", "rtsp": b"RTSP/1.0", "leading-space": b" HTTP/1.1",
    "trailing-vt": b"HTTP/1.1\x0b", "letters": b"HTTP/one", "bom": b"\xef\xbb\xbfHTTP/1.1",
    "nul": b"\x00HTTP/1.1", "crlf": b"\r\nHTTP/1.1", "two-crlf": b"\r\n\r\nHTTP/1.1",
    "lf": b"\nHTTP/1.1", "cr": b"\rHTTP/1.1",
}  # fmt: skip

STATUS_LINES: list[Case] = [
    *family("status", "RFC 9110 15", STATUS_CODES, BAD_STATUS, b"HTTP/1.1 @ OK" + END),
    *family("version", "RFC 9112 2.3", VERSIONS, BAD_STATUS, b"@ 200 OK" + END),
    *(
        case(f"version-{name}", "RFC 9110 2.5", line + b" 200 OK" + END, unsupported())
        for name, line in {"0.9": b"HTTP/0.9", "2.0": b"HTTP/2.0", "3.1": b"HTTP/3.1"}.items()
    ),
    case("version-1.2", "RFC 9110 2.5", b"HTTP/1.2 200 OK" + END, ok(200, b"hi", version="1.1")),
    case("version-1.9", "RFC 9110 2.5", b"HTTP/1.9 200 OK" + END, ok(200, b"hi", version="1.1")),
    case("reason-empty", "RFC 9112 4", b"HTTP/1.1 200 " + END, ok(200, b"hi", reason="")),
    case("reason-missing", "RFC 9112 4", b"HTTP/1.1 200" + END, ok(200, b"hi", reason="")),
    case("reason-latin1", "RFC 9112 4", b"HTTP/1.1 200 \xe9" + END, ok(200, b"hi", reason="é")),
    case("reason-spaces", "RFC 9112 4", b"HTTP/1.1 200  a\t b " + END, ok(200, b"hi", reason=" a\t b ")),
    case("reason-nul", "RFC 9112 4", b"HTTP/1.1 200 O\x00K" + END, BAD_STATUS),
    case("reason-cr", "RFC 9112 2.2", b"HTTP/1.1 200 O\rK" + END, BAD_STATUS),
    case("reason-del", "RFC 9112 4", b"HTTP/1.1 200 O\x7fK" + END, BAD_STATUS),
    case("reason-esc", "RFC 9112 4", b"HTTP/1.1 200 \x1b[2J" + END, BAD_STATUS),
    case("status-999", "RFC 9110 15", b"HTTP/1.1 999 Odd" + END, ok(999, b"hi")),
    case("status-600", "RFC 9110 15", b"HTTP/1.1 600 Odd" + END, ok(600, b"hi")),
    case("status-tab-after", "RFC 9112 4", b"HTTP/1.1 200\tOK" + END, BAD_STATUS),
    case("status-two-spaces", "RFC 9112 4", b"HTTP/1.1  200 OK" + END, BAD_STATUS),
    case("status-tab-between", "RFC 9112 4", b"HTTP/1.1\t200 OK" + END, BAD_STATUS),
    case("status-line-twice", "RFC 9112 4", b"HTTP/1.1 200 OK\r\nHTTP/1.1 200 OK" + END, invalid()),
]  # fmt: skip

OTHER_PROTOCOLS: list[Case] = [
    case("nothing", "RFC 9112 8", b"", closed(started=False), end="close"),
    case("ssh", "RFC 9112 4", b"SSH-2.0-OpenSSH_9.9\r\n", BAD_STATUS),
    case("smtp", "RFC 9112 4", b"220 mail ESMTP\r\n", BAD_STATUS),
    case("tls-alert", "RFC 9112 4", b"\x15\x03\x03\x00\x02\x02\x46", BAD_STATUS),
    case("html", "RFC 9112 4", b"<html>hi</html>", BAD_STATUS, end="close"),
    case("http09-text", "RFC 9112 4", b"hello\r\n", BAD_STATUS, end="close"),
    case("gzip-magic", "RFC 9112 4", b"\x1f\x8b\x08\x00", BAD_STATUS, end="close"),
    case("request-back", "RFC 9112 4", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", BAD_STATUS),
]

#: RFC 9110 section 5.5: no control characters but HTAB in a value; CR and LF have rows below.
CONTROLS = [code for code in (*range(0x20), 0x7F) if chr(code) not in "\t\r\n"]

#: RFC 9110 section 5.6.2: what is not tchar has no place in a name.
NAMES: dict[str, bytes | tuple[bytes, str]] = {
    f"0x{code:02x}": b"A" + bytes([code]) + b"B"
    for code in (*b' "(),/;<=>?@[\\]{}', 0, 1, 9, 0x0B, 0x7F, 0x80, 0xA0, 0xE9, 0xFF)
}

FIELD_LINES: dict[str, bytes | tuple[bytes, str]] = {
    "space-before-colon": (b"A : b", "CVE-2021-22959 (llhttp)"),
    "tab-before-colon": (b"A\t: b", "RFC 9112 5.1"),
    "space-before-colon-te": (b"Transfer-Encoding : chunked", "CVE-2019-16869 (Netty)"),
    "space-before-colon-cl": (b"Content-Length : 9", "CVE-2016-8743 (Apache)"),
    "vt-before-colon": (b"A\x0b: b", "RFC 9112 5.1"),
    "empty-name": (b": b", "CVE-2023-25725 (HAProxy)"),
    "only-colon": (b":", "CVE-2023-25725 (HAProxy)"),
    "space-for-name": (b" : b", "RFC 9112 2.2"),
    "no-colon": (b"A b", "CVE-2019-20444 (Netty)"),
    "no-colon-no-space": (b"Chunked", "CVE-2019-20444 (Netty)"),
    "space-before-first": (b" A: b", "CVE-2020-7238 (Netty)"),
    "tab-before-first": (b"\tA: b", "RFC 9112 2.2"),
    "space-before-te": (b" Transfer-Encoding: chunked", "CVE-2020-7238 (Netty)"),
    "only-spaces": (b"  ", "RFC 9112 2.2"),
    "cr-in-value": (b"A: b\rc", "RFC 9112 2.2"),
    "cr-ends-line": (b"A: b\rTransfer-Encoding: chunked", "CVE-2023-30589 (llhttp)"),
    "cr-hides-field": (b"A: \rxTransfer-Encoding: chunked", "CVE-2023-37276 (aiohttp)"),
    "cr-in-name": (b"A\rB: c", "RFC 9112 2.2"),
    "cr-alone": (b"\r", "RFC 9112 2.2"),
    "cr-first": (b"A:\rb", "RFC 9112 2.2"),
    "crcrlf": (b"A: b\r", "RFC 9112 2.2"),
    "lf-ends-line": (b"A: b\nB: c", "CVE-2022-35256 (Node.js)"),
    "lf-ends-line-te": (b"A: b\nTransfer-Encoding: chunked", "CVE-2019-16785 (waitress)"),
    "lf-alone": (b"\n", "CVE-2021-41136 (Puma)"),
    "lf-in-name": (b"A\nB: c", "RFC 9112 2.2"),
    "lf-cr": (b"A: b\n\rB: c", "RFC 9112 2.2"),
    "nul-in-value": (b"A: b\x00", "CVE-2026-34520 (aiohttp)"),
    "many-spaces-and-a-control": (b"A: b" + b" " * 60 + b"\x10", "PYSEC-2020-155 (waitress)"),
}  # fmt: skip

LINES: list[Case] = [
    *(
        case(f"value-0x{code:02x}", "RFC 9110 5.5", LINE.replace(b"@", b"A: b%cc" % code), invalid())
        for code in CONTROLS
    ),
    *family("name", "RFC 9110 5.1", NAMES, invalid(), OK + b"@: c\r\n\r\n"),
    *family("line", "", FIELD_LINES, invalid(), LINE),
    case("lf-everywhere", "RFC 9112 2.2", LINE.replace(b"\r\n", b"\n"), BAD_STATUS),
    case("lf-last", "RFC 9112 2.2", OK + LENGTH + b"\nhi", invalid()),
    case("lf-then-crlf", "RFC 9112 2.2", OK + b"Content-Length: 2\n\r\nhi", invalid()),
    case("lf-status-line", "CVE-2022-32214 (Node.js)", b"HTTP/1.1 200 OK\n" + LENGTH + b"\r\nhi", BAD_STATUS),
    case("cr-everywhere", "CVE-2023-30589 (llhttp)", LINE.replace(b"\r\n", b"\r"), closed(), end="close"),
    case("crcrlf-end", "RFC 9112 2.2", OK + LENGTH + b"\r\r\nhi\r\n\r\n", invalid()),
    case("lfcr-end", "RFC 9112 2.2", OK + LENGTH + b"\n\r\n\r\n", invalid()),
    case("head-cut-by-blank-line", "CVE-2022-37436 (Apache)", OK + b"\r\n" + LENGTH + b"\r\nhi", until_close(200, LENGTH + b"\r\nhi")),
]  # fmt: skip

GOOD_LINES: list[Case] = [
    case("no-space", "RFC 9112 5", OK + b"Content-Length:2\r\n\r\nhi", ok(200, b"hi")),
    case("much-space", "RFC 9112 5", OK + b"Content-Length: \t 2 \t \r\n\r\nhi", ok(200, b"hi")),
    case("empty-value", "RFC 9112 5", LINE.replace(b"@", b"A:"), ok(200, b"hi", headers={"a": [""]})),
    case("space-value", "RFC 9112 5", LINE.replace(b"@", b"A: \t "), ok(200, b"hi", headers={"a": [""]})),
    case("all-tchar", "RFC 9110 5.6.2", LINE.replace(b"@", b"!#$%&'*+-.^_`|~0aZ: b"), ok(200, b"hi", headers={"!#$%&'*+-.^_`|~0AZ": ["b"]})),
    case("obs-text", "RFC 9110 5.5", LINE.replace(b"@", b"A: \x80\xa0\xe9\xff"), ok(200, b"hi", headers={"A": ["\x80\xa0\xe9\xff"]})),
    case("nbsp-is-not-space", "RFC 9110 5.5", LINE.replace(b"@", b"A: \xa0b\x85"), ok(200, b"hi", headers={"A": ["\xa0b\x85"]})),
    case("tab-inside", "RFC 9110 5.5", LINE.replace(b"@", b"A: b\tc"), ok(200, b"hi", headers={"A": ["b\tc"]})),
    case("colons", "RFC 9112 5", LINE.replace(b"@", b"A: b: c:d"), ok(200, b"hi", headers={"A": ["b: c:d"]})),
    case("repeated", "RFC 9110 5.3", LINE.replace(b"@", b"A: 1\r\nb: 2\r\na: 3"), ok(200, b"hi", headers={"A": ["1", "3"]})),
    case("no-fields", "RFC 9112 6.3", b"HTTP/1.1 204 No Content\r\n\r\n", ok(204)),
    case("odd-values", "RFC 9110 5.5", LINE.replace(b"@", b'Date: x\r\nAge: -1\r\nETag: "'), ok(200, b"hi", headers={"Age": ["-1"], "ETag": ['"']})),
    case("keep-alive-passed", "RFC 2068 19.7.1", LINE.replace(b"@", b"Keep-Alive: timeout=0"), dropped(200, b"hi")),
    case("keep-alive-odd", "RFC 2068 19.7.1", LINE.replace(b"@", b"Keep-Alive: timeout=-1, x="), ok(200, b"hi")),
]  # fmt: skip

FOLDS: list[Case] = [
    case("fold", "RFC 9112 5.2", LINE.replace(b"@", b"A: b\r\n c"), ok(200, b"hi", headers={"A": ["b c"]})),
    case("fold-tab", "RFC 9112 5.2", LINE.replace(b"@", b"A: b \r\n\t\t c"), ok(200, b"hi", headers={"A": ["b c"]})),
    case("fold-twice", "RFC 9112 5.2", LINE.replace(b"@", b"A: b\r\n c\r\n d"), ok(200, b"hi", headers={"A": ["b c d"]})),
    case("fold-hides-no-field", "RFC 9112 5.2", LINE.replace(b"@", b"A: b\r\n Content-Length: 9"), ok(200, b"hi", headers={"A": ["b Content-Length: 9"], "Content-Length": ["2"]})),
    case("fold-first", "RFC 9112 2.2", OK + b" A: b\r\n" + LENGTH + b"\r\nhi", invalid()),
    case("fold-lf", "RFC 9112 2.2", LINE.replace(b"@", b"A: b\n c"), invalid()),
    case("fold-cr", "RFC 9112 2.2", LINE.replace(b"@", b"A: b\r c"), invalid()),
    case("fold-control", "RFC 9110 5.5", LINE.replace(b"@", b"A: b\r\n \x00c"), invalid()),
    case("fold-vt", "RFC 9112 5.2", LINE.replace(b"@", b"A: b\r\n\x0bc"), invalid()),
    case("fold-length", "RFC 9112 5.2", OK + b"Content-Length:\r\n 2\r\n\r\nhi", invalid(part="framing")),
    case("fold-length-second", "RFC 9112 5.2", OK + b"Content-Length: 2\r\n 0\r\n\r\nhi", invalid(part="framing")),
    case("fold-length-empty", "RFC 9112 5.2", OK + b"Content-Length: 2\r\n \r\n\r\nhi", invalid(part="framing")),
    case("fold-coding", "CVE-2022-32215 (llhttp)", OK + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", invalid(part="framing")),
    case("fold-coding-second", "CVE-2019-16786 (waitress)", OK + b"Transfer-Encoding: x,\r\n\tchunked\r\n\r\n0\r\n\r\n", invalid(part="framing")),
    case("fold-connection", "RFC 9112 5.2", LINE.replace(b"@", b"Connection:\r\n close"), closes(200, b"hi", headers={"Connection": ["close"]})),
    case("fold-connection-list", "RFC 9112 5.2", LINE.replace(b"@", b"Connection: x,\r\n\tClose"), closes(200, b"hi", headers={"Connection": ["x, Close"]})),
    case("fold-connection-twice", "RFC 9112 5.2", LINE.replace(b"@", b"Connection: x,\r\n y,\r\n close"), closes(200, b"hi", headers={"Connection": ["x, y, close"]})),
    case("fold-connection-in-word", "RFC 9112 5.2", LINE.replace(b"@", b"Connection: clo\r\n se"), ok(200, b"hi", headers={"Connection": ["clo se"]})),
    case("fold-connection-10", "RFC 9112 5.2", LINE.replace(b"@", b"Connection:\r\n keep-alive").replace(b"/1.1", b"/1.0"), ok(200, b"hi", version="1.0")),
    case("fold-no-colon", "RFC 9112 5.2", LINE.replace(b"@", b"A\r\n : b"), invalid()),
]  # fmt: skip

CASES = [*STATUS_LINES, *OTHER_PROTOCOLS, *LINES, *GOOD_LINES, *FOLDS]
