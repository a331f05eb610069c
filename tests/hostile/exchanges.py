"""What belongs to which request: bodies that are none, strays, interim responses, persistence."""

# ruff: noqa: E501 - one row, one line

from __future__ import annotations

from tests.hostile.table import (
    CHUNKED,
    OK,
    Case,
    bad_body,
    case,
    closed,
    closes,
    dropped,
    family,
    invalid,
    ok,
    switched,
    unsupported,
    until_close,
)

BAD_STATUS = invalid(part="status-line")
HI = OK + b"Content-Length: 2\r\n\r\nhi"
HO = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nho"
CLOSING = OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi"
TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: sea\r\n\r\n"
UPGRADE = {"Connection": "upgrade", "Upgrade": "sea"}

#: RFC 9112 section 6.3, rules 1 and 2.
BODILESS: list[Case] = [
    case("head", "RFC 9112 6.3", OK + b"Content-Length: 5\r\n\r\n", ok(), method="HEAD"),
    case("head-chunked", "RFC 9112 6.3", CHUNKED, ok(), method="HEAD"),
    case("head-nothing", "RFC 9112 6.3", OK + b"\r\n", ok(), method="HEAD"),
    case("head-with-body", "RFC 9112 6.3", OK + b"Content-Length: 5\r\n\r\nhello", dropped(), method="HEAD"),
    case("head-with-chunks", "RFC 9112 6.3", CHUNKED + b"0\r\n\r\n", dropped(), method="HEAD"),
    case("head-with-response-as-body", "RFC 9112 6.3", OK + b"Content-Length: 38\r\n\r\n" + HI, dropped(), method="HEAD"),
    case("head-with-body-then-response", "RFC 9112 6.3", OK + b"Content-Length: 2\r\n\r\nhi" + HO, ok(), BAD_STATUS, method="HEAD"),
    case("head-then-response", "RFC 9112 6.3", OK + b"Content-Length: 2\r\n\r\n" + OK + b"\r\n", ok(), ok(), method="HEAD"),
    case("204", "RFC 9110 15.3.5", b"HTTP/1.1 204 No Content\r\n\r\n", ok(204)),
    case("204-length-0", "RFC 9110 8.6", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", ok(204)),
    case("204-with-body", "RFC 9110 15.3.5", b"HTTP/1.1 204 No Content\r\n\r\nhello", dropped(204)),
    case("204-with-response", "RFC 9112 11.1", b"HTTP/1.1 204 No Content\r\n\r\n" + HI, dropped(204)),
    case("304", "RFC 9110 15.4.5", b"HTTP/1.1 304 Not Modified\r\n\r\n", ok(304)),
    case("304-length", "RFC 9110 8.6", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", ok(304)),
    case("304-chunked", "RFC 9112 6.1", b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", ok(304)),
    case("304-with-body", "RFC 9112 6.3", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", dropped(304)),
    case("304-with-response", "RFC 9112 11.1", b"HTTP/1.1 304 Not Modified\r\n\r\n" + HI, dropped(304)),
    case("205", "RFC 9110 15.3.6", b"HTTP/1.1 205 Reset\r\nContent-Length: 2\r\n\r\nhi", ok(205, b"hi")),
    case("205-nothing", "RFC 9112 6.3", b"HTTP/1.1 205 Reset\r\n\r\nhi", until_close(205, b"hi")),
    case("connect", "RFC 9110 9.3.6", OK + b"\r\ntunnel", switched(200, b"tunnel"), method="CONNECT"),
    case("connect-length", "RFC 9110 9.3.6", OK + b"Content-Length: 2\r\n\r\ntunnel", switched(200, b"tunnel"), method="CONNECT"),
    case("connect-chunked", "RFC 9110 9.3.6", CHUNKED + b"tunnel", switched(200, b"tunnel"), method="CONNECT"),
    case("connect-both", "RFC 9110 9.3.6", OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\ntunnel", switched(200, b"tunnel"), method="CONNECT"),
    case("connect-204", "RFC 9110 9.3.6", b"HTTP/1.1 204 X\r\n\r\ntunnel", switched(204, b"tunnel"), method="CONNECT"),
    case("connect-refused", "RFC 9110 9.3.6", HI.replace(b"200", b"407"), ok(407, b"hi"), method="CONNECT"),
    case("connect-refused-cl-te", "RFC 9112 6.3", b"HTTP/1.1 502 X\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nhi", invalid(502), method="CONNECT"),
]  # fmt: skip

#: RFC 9112 section 11.1, and RFC 9110 section 15.5.9 for the 408.
STRAYS: dict[str, bytes | tuple[bytes, str]] = {
    "byte": b"!", "crlf": b"\r\n", "lf": b"\n", "nul": b"\x00", "408": (TIMEOUT, "RFC 9110 15.5.9"),
    "response": (HO, "CVE-2026-6733 (undici), CVE-2026-48931 (Node.js)"), "same-response": HI, "interim": HINTS,
    "continue": CONTINUE, "half-a-response": HO[:20], "request": b"GET / HTTP/1.1\r\n\r\n", "last-chunk": b"0\r\n\r\n",
    "two-responses": HO + HO, "crlf-response": b"\r\n" + HO,
}  # fmt: skip

AFTER: list[Case] = [
    *family("stray-length", "RFC 9112 11.1", STRAYS, dropped(200, b"hi"), HI + b"@"),
    *family("stray-chunked", "RFC 9112 11.1", STRAYS, dropped(200, b"hi"), CHUNKED + b"2\r\nhi\r\n0\r\n\r\n@"),
    *family("stray-empty", "RFC 9112 11.1", STRAYS, dropped(), OK + b"Content-Length: 0\r\n\r\n@"),
    *family("stray-then-end", "RFC 9112 11.1", {"408": TIMEOUT, "byte": b"!", "response": HO}, dropped(200, b"hi"), HI + b"@", end="close"),
    *family("stray-announced", "RFC 9112 9.6", {"408": TIMEOUT, "byte": b"!", "response": HO}, closes(200, b"hi", ignored=True), CLOSING + b"@"),
    *family("stray-post", "RFC 9112 11.1", {"408": TIMEOUT, "response": HO}, dropped(200, b"hi"), HI + b"@", method="POST"),
    case("stray-trailers", "RFC 9112 11.1", CHUNKED + b"2\r\nhi\r\n0\r\nA: b\r\n\r\n" + HO, dropped(200, b"hi", trailers=[("A", "b")])),
    case("408-as-answer", "RFC 9110 15.5.9", TIMEOUT, closes(408)),
    case("end-after-response", "RFC 9112 9.5", HI, ok(200, b"hi"), end="close"),
    case("end-after-chunked", "RFC 9112 9.5", CHUNKED + b"2\r\nhi\r\n0\r\n\r\n", ok(200, b"hi"), end="close"),
]  # fmt: skip

PIPELINES: list[Case] = [
    case("two", "RFC 9112 9.3.2", HI + HO, ok(200, b"hi"), ok(201, b"ho")),
    case("three", "RFC 9112 9.3.2", HI + CHUNKED + b"2\r\nhi\r\n0\r\n\r\n" + HO, ok(200, b"hi"), ok(200, b"hi"), ok(201, b"ho")),
    case("two-and-stray", "RFC 9112 11.1", HI + HO + HI, ok(200, b"hi"), dropped(201, b"ho")),
    case("two-and-408", "RFC 9110 15.5.9", HI + HO + TIMEOUT, ok(200, b"hi"), dropped(201, b"ho")),
    case("two-with-crlf-between", "RFC 9112 2.2", HI + b"\r\n" + HO, ok(200, b"hi"), BAD_STATUS),
    case("two-with-byte-between", "RFC 9112 4", HI + b"!" + HO, ok(200, b"hi"), BAD_STATUS),
    case("first-too-long", "RFC 9112 4", HI.replace(b": 2", b": 1") + HO, ok(200, b"h"), BAD_STATUS),
    case("first-invalid", "RFC 9112 11.1", OK + b"Content-Length: +2\r\n\r\nhi" + HO, invalid(200), ok(201, b"ho")),
    case("first-bad-chunk", "RFC 9112 11.1", CHUNKED + b"2\r\nhiXX0\r\n\r\n" + HO, bad_body(b"hi"), ok(201, b"ho")),
    case("second-invalid", "RFC 9112 11.1", HI + OK + b"Content-Length: 2, 3\r\n\r\nho", ok(200, b"hi"), invalid(200)),
    case("second-missing", "RFC 9112 9.3.2", HI, ok(200, b"hi"), closed(started=False), end="close"),
    case("second-cut", "RFC 9112 8", HI + HO[:-1], ok(200, b"hi"), closed(b"h"), end="close"),
    case("second-after-close", "RFC 9112 9.6", CLOSING + HO, closes(200, b"hi"), closed(started=False)),
    case("second-after-10", "RFC 9112 9.3", HI.replace(b"/1.1", b"/1.0") + HO, closes(200, b"hi", version="1.0"), closed(started=False)),
    case("second-after-408", "RFC 9112 9.6", TIMEOUT + HO, closes(408), closed(started=False)),
    case("second-after-until-close", "RFC 9112 6.3", OK + b"\r\n" + HO, until_close(200, HO), closed(started=False), end="close"),
    case("second-unsupported", "RFC 9112 11.1", HI + SWITCHING + HO, ok(200, b"hi"), unsupported(101)),
    case("announcing-204-first", "RFC 9112 6.3", b"HTTP/1.1 204 X\r\nContent-Length: 5\r\n\r\n" + HO, closes(204), closed(started=False)),
    case("unexpected-204-first", "RFC 9112 11.1", b"HTTP/1.1 204 X\r\n\r\nhello" + HO, ok(204), BAD_STATUS),
]  # fmt: skip

#: Framing fields of a response that has no body.
ANNOUNCING: dict[str, bytes | tuple[bytes, str]] = {
    "length": b"Content-Length: 2\r\n", "chunked": b"Transfer-Encoding: chunked\r\n", "bad-length": b"Content-Length: x\r\n",
    "cl-te": b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "bad-coding": b"Transfer-Encoding: chunked, chunked\r\n",
}  # fmt: skip
ANNOUNCING_100 = b"HTTP/1.1 100 Continue\r\nContent-Length: 2\r\n\r\n"

#: RFC 9110 section 15.2.
INTERIM: list[Case] = [
    case("100-unasked", "RFC 9110 15.2.1", CONTINUE + HI, ok(200, b"hi", interim=[100])),
    case("102", "RFC 9110 15.2", PROCESSING + HI, ok(200, b"hi", interim=[102])),
    case("103", "RFC 8297 2", HINTS + HI, ok(200, b"hi", interim=[103])),
    case("103-twice", "RFC 8297 2", HINTS + HINTS + HI, ok(200, b"hi", interim=[103, 103])),
    case("1xx-mixed", "RFC 9110 15.2", HINTS + CONTINUE + PROCESSING + HI, ok(200, b"hi", interim=[103, 100, 102])),
    case("1xx-unknown", "RFC 9110 15.2", b"HTTP/1.1 199 X\r\n\r\n" + HI, ok(200, b"hi", interim=[199])),
    case("1xx-no-reason", "RFC 9112 4", b"HTTP/1.1 103\r\n\r\n" + HI, ok(200, b"hi", interim=[103])),
    case("1xx-length-0", "RFC 9110 8.6", b"HTTP/1.1 103 X\r\nContent-Length: 0\r\n\r\n" + HI, ok(200, b"hi", interim=[103])),
    case("1xx-head", "RFC 9110 15.2", HINTS + OK + b"Content-Length: 2\r\n\r\n", ok(interim=[103]), method="HEAD"),
    case("1xx-204", "RFC 9110 15.2", HINTS + b"HTTP/1.1 204 X\r\n\r\n", ok(204, interim=[103])),
    case("1xx-for-each", "RFC 9110 15.2", HINTS + HI + CONTINUE + HO, ok(200, b"hi", interim=[103]), ok(201, b"ho", interim=[100])),
    case("1xx-then-close", "RFC 9112 9.6", HINTS + CLOSING, closes(200, b"hi", interim=[103])),
    case("1xx-twenty", "RFC 9110 15.2", PROCESSING * 20 + HI, ok(200, b"hi", interim=[102] * 20)),
    *family("1xx", "RFC 9112 6.3", ANNOUNCING, closes(200, b"hi", interim=[103]), b"HTTP/1.1 103 X\r\n@\r\n" + HI),
    case("1xx-announcing-then-hints", "RFC 9112 6.3", ANNOUNCING_100 + HINTS + HI, closes(200, b"hi", interim=[100, 103])),
    case("1xx-announcing-until-close", "RFC 9112 6.3", ANNOUNCING_100 + OK + b"\r\nhi", until_close(200, b"hi", interim=[100])),
    case("1xx-announcing-204", "RFC 9112 6.3", ANNOUNCING_100 + b"HTTP/1.1 204 X\r\n\r\n", closes(204, interim=[100])),
    case("1xx-announcing-first", "RFC 9112 6.3", ANNOUNCING_100 + HI + HO, closes(200, b"hi", interim=[100]), closed(started=False)),
    case("1xx-announcing-second", "RFC 9112 6.3", HI + ANNOUNCING_100 + HO, ok(200, b"hi"), closes(201, b"ho", interim=[100])),
    case("1xx-announced-body", "RFC 9112 6.3", ANNOUNCING_100 + b"hi" + HI, BAD_STATUS),
    case("1xx-announced-chunks", "RFC 9112 6.3", b"HTTP/1.1 103 X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HI, BAD_STATUS),
    case("1xx-announced-response", "RFC 9112 6.3", b"HTTP/1.1 100 X\r\nContent-Length: 40\r\n\r\n" + HI + HO, closes(200, b"hi", interim=[100], ignored=True)),
    case("1xx-with-body", "RFC 9112 6.3", b"HTTP/1.1 103 X\r\n\r\nhi" + HI, BAD_STATUS),
    case("1xx-bad-field", "RFC 9112 5.1", b"HTTP/1.1 103 X\r\nA : b\r\n\r\n" + HI, invalid()),
    case("1xx-lf", "RFC 9112 2.2", b"HTTP/1.1 100 Continue\n\n" + HI, BAD_STATUS),
    case("1xx-alone", "RFC 9112 8", HINTS, closed(started=False), end="close"),
    case("101-unasked", "RFC 9110 15.2.2", SWITCHING, unsupported(101)),
    case("101-unasked-then-response", "RFC 9110 15.2.2", SWITCHING + HI, unsupported(101)),
    case("101-after-hints", "RFC 9110 15.2.2", HINTS + SWITCHING, unsupported(101)),
    case("101-bare", "RFC 9110 15.2.2", b"HTTP/1.1 101 X\r\n\r\n" + HI, unsupported(101)),
    case("101-only-connection", "RFC 9110 7.8", SWITCHING, unsupported(101), headers={"Connection": "upgrade"}),
    case("101-asked", "RFC 9110 7.8", SWITCHING + b"waves", switched(101, b"waves"), headers=UPGRADE),
    case("101-asked-after-hints", "RFC 9110 7.8", HINTS + SWITCHING + HI, switched(101, HI, interim=[103]), headers=UPGRADE),
    case("101-asked-length", "RFC 9110 7.8", SWITCHING[:-2] + b"Content-Length: 2\r\n\r\nwaves", switched(101, b"waves"), headers=UPGRADE),
    case("upgrade-ignored", "RFC 9110 7.8", HI, ok(200, b"hi"), headers=UPGRADE),
]  # fmt: skip

#: RFC 9110 section 10.1.1.
EXPECT: list[Case] = [
    case("expect-100", "RFC 9110 10.1.1", CONTINUE + HI, ok(200, b"hi", continues=True), method="PUT", expect=True),
    case("expect-103-100", "RFC 9110 10.1.1", HINTS + CONTINUE + HI, ok(200, b"hi", continues=True, interim=[103]), method="PUT", expect=True),
    case("expect-100-100", "RFC 9110 15.2.1", CONTINUE + CONTINUE + HI, ok(200, b"hi", continues=True, interim=[100]), method="PUT", expect=True),
    case("expect-100-stray", "RFC 9112 11.1", CONTINUE + HI + HO, dropped(200, b"hi", continues=True), method="PUT", expect=True),
    case("expect-417", "RFC 9110 15.5.18", HI.replace(b"200", b"417"), closes(417, b"hi"), method="PUT", expect=True),
    case("expect-200-at-once", "RFC 9110 10.1.1", HI, closes(200, b"hi"), method="PUT", expect=True),
    case("expect-417-then-200", "RFC 9112 11.1", HI.replace(b"200", b"417") + HO, closes(417, b"hi"), method="PUT", expect=True),
    case("expect-101", "RFC 9110 15.2.2", SWITCHING, unsupported(101), method="PUT", expect=True),
    case("expect-100-length", "RFC 9112 6.3", ANNOUNCING_100 + HI, closes(200, b"hi", continues=True), method="PUT", expect=True),
    case("expect-100-chunked", "RFC 9112 6.3", b"HTTP/1.1 100 X\r\nTransfer-Encoding: chunked\r\n\r\n" + HI, closes(200, b"hi", continues=True), method="PUT", expect=True),
    case("expect-100-lf", "RFC 9112 2.2", b"HTTP/1.1 100 Continue\n\n", BAD_STATUS, method="PUT", expect=True),
    case("expect-nothing", "RFC 9112 8", b"", closed(started=False), end="close", method="PUT", expect=True),
]  # fmt: skip

_10 = b"HTTP/1.0 200 OK\r\n"
_BODY = b"Content-Length: 2\r\n\r\nhi"

#: RFC 9112 section 9.3.
PERSISTENCE: list[Case] = [
    case("10", "RFC 9112 9.3", _10 + _BODY, closes(200, b"hi", version="1.0")),
    case("10-keep-alive", "RFC 9112 9.3", _10 + b"Connection: keep-alive\r\n" + _BODY, ok(200, b"hi", version="1.0")),
    case("10-keep-alive-case", "RFC 9112 9.3", _10 + b"Connection: Keep-Alive\r\n" + _BODY, ok(200, b"hi", version="1.0")),
    case("10-keep-alive-list", "RFC 9112 9.3", _10 + b"Connection: x, keep-alive\r\n" + _BODY, ok(200, b"hi", version="1.0")),
    case("10-keep-alive-close", "RFC 9112 9.3", _10 + b"Connection: keep-alive, close\r\n" + _BODY, closes(200, b"hi", version="1.0")),
    case("10-keep-alive-field", "RFC 9112 9.3", _10 + b"Keep-Alive: timeout=5\r\n" + _BODY, closes(200, b"hi", version="1.0")),
    case("10-keep-alives", "RFC 9112 9.3", _10 + b"Connection: keep-alives\r\n" + _BODY, closes(200, b"hi", version="1.0")),
    case("10-nothing", "RFC 9112 6.3", _10 + b"\r\nhi", until_close(200, b"hi", version="1.0")),
    case("10-keep-alive-nothing", "RFC 9112 6.3", _10 + b"Connection: keep-alive\r\n\r\nhi", until_close(200, b"hi", version="1.0")),
    case("10-stray", "RFC 9112 9.6", _10 + b"Connection: keep-alive\r\n" + _BODY + HO, dropped(200, b"hi", version="1.0")),
    case("10-differs", "RFC 9112 6.3", _10 + b"Content-Length: 3\r\n" + _BODY, invalid(200)),
    case("10-head", "RFC 9112 6.3", _10 + b"Content-Length: 2\r\n\r\n", closes(version="1.0"), method="HEAD"),
    case("close", "RFC 9112 9.6", OK + b"Connection: close\r\n" + _BODY, closes(200, b"hi")),
    case("close-upper", "RFC 9110 7.6.1", OK + b"Connection: CLOSE\r\n" + _BODY, closes(200, b"hi")),
    case("close-mixed", "RFC 9110 7.6.1", OK + b"connection:cLoSe\r\n" + _BODY, closes(200, b"hi")),
    case("close-in-list", "RFC 9110 7.6.1", OK + b"Connection: x ,\tclose , y\r\n" + _BODY, closes(200, b"hi")),
    case("close-empty-elements", "RFC 9110 5.6.1", OK + b"Connection: , ,close,\r\n" + _BODY, closes(200, b"hi")),
    case("close-second-line", "RFC 9110 5.3", OK + b"Connection: keep-alive\r\nConnection: close\r\n" + _BODY, closes(200, b"hi")),
    case("close-and-keep-alive", "RFC 9112 9.3", OK + b"Connection: close, keep-alive\r\n" + _BODY, closes(200, b"hi")),
    case("close-chunked", "RFC 9112 9.6", CHUNKED[:-2] + b"Connection: close\r\n\r\n2\r\nhi\r\n0\r\n\r\n", closes(200, b"hi")),
    case("close-204", "RFC 9112 9.6", b"HTTP/1.1 204 X\r\nConnection: close\r\n\r\n", closes(204)),
    case("closed-is-another-word", "RFC 9110 7.6.1", OK + b"Connection: closed\r\n" + _BODY, ok(200, b"hi")),
    case("not-close-is-another-word", "RFC 9110 7.6.1", OK + b"Connection: not close\r\n" + _BODY, ok(200, b"hi")),
    case("proxy-connection", "RFC 9110 7.6.1", OK + b"Proxy-Connection: close\r\n" + _BODY, ok(200, b"hi")),
    case("keep-alive", "RFC 9112 9.3", OK + b"Connection: keep-alive\r\n" + _BODY, ok(200, b"hi")),
    case("connection-control", "RFC 9110 5.5", OK + b"Connection: close\x00\r\n" + _BODY, invalid()),
    case("until-close", "RFC 9112 6.3", OK + b"\r\nhello", until_close(200, b"hello")),
    case("until-close-empty", "RFC 9112 6.3", OK + b"\r\n", until_close()),
    case("until-close-keep-alive", "RFC 9112 6.3", OK + b"Connection: keep-alive\r\n\r\nhello", until_close(200, b"hello")),
    case("until-close-like-response", "RFC 9112 6.3", OK + b"A: b\r\n\r\n" + HI, until_close(200, HI)),
]  # fmt: skip

CASES = [*BODILESS, *AFTER, *PIPELINES, *INTERIM, *EXPECT, *PERSISTENCE]
