"""Where a response ends (RFC 9112 section 6.3) and whether the connection lives on (9.3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dugong import Headers, HTTPResponse, InvalidResponse, UnsupportedResponse
from dugong.protocol.framing import Delimiter, announces_body, frame, keep_alive_timeout
from dugong.protocol.headers import framing_fields
from tests.support.in_turn import in_turn


def response(
    fields: str = "", status: int = 200, method: str = "GET", version: str = "1.1"
) -> HTTPResponse:
    """A response with these fields: ``'CL: 5 | TE: chunked'``."""
    short = {"CL": "Content-Length", "TE": "Transfer-Encoding", "C": "Connection"}
    pairs = []
    for line in fields.split(" | ") if fields else []:
        name, _, value = line.partition(":")
        pairs.append((short.get(name, name), value.strip(" ")))
    return HTTPResponse(method, "/", status, "", Headers(pairs), None, version)


NONE, LENGTH, CHUNKED, CLOSE, SWITCH = Delimiter

TABLE: list[tuple[str, HTTPResponse, Delimiter, int | None]] = [
    ("HEAD", response("", 200, "HEAD"), NONE, 0),
    ("HEAD with length", response("CL: 5", 200, "HEAD"), NONE, 0),
    ("HEAD with chunks", response("TE: chunked", 200, "HEAD"), NONE, 0),
    ("100", response("", 100), NONE, 0),
    ("103", response("", 103), NONE, 0),
    ("204", response("", 204), NONE, 0),
    ("204 with length 0", response("CL: 0", 204), NONE, 0),
    ("204 with length", response("CL: 5", 204), NONE, 0),
    ("204, fields ignored", response("CL: x | TE: chunked, x", 204), NONE, 0),
    ("103, fields ignored", response("CL: 5 | CL: 6", 103), NONE, 0),
    ("304", response("", 304), NONE, 0),
    ("304 with length", response("CL: 5", 304), NONE, 0),
    ("304 with chunks", response("TE: chunked", 304), NONE, 0),
    ("205", response("", 205), CLOSE, None),
    ("205 with length", response("CL: 5", 205), LENGTH, 5),
    ("101", response("", 101), SWITCH, 0),
    ("CONNECT 200", response("", 200, "CONNECT"), SWITCH, 0),
    ("CONNECT 299, fields ignored", response("CL: x | TE: y", 299, "CONNECT"), SWITCH, 0),
    ("CONNECT 300", response("CL: 5", 300, "CONNECT"), LENGTH, 5),
    ("CONNECT 407", response("", 407, "CONNECT"), CLOSE, None),
    ("length", response("CL: 5"), LENGTH, 5),
    ("length 0", response("CL: 0"), LENGTH, 0),
    ("leading zeros", response("CL: 0005"), LENGTH, 5),
    ("largest length", response("CL: " + "9" * 18), LENGTH, 10**18 - 1),
    ("same length as list", response("CL: 5 ,\t5"), LENGTH, 5),
    ("same length twice", response("CL: 5 | cl: x | content-length: 5"), LENGTH, 5),
    ("same length, other digits", response("CL: 5 | CL: 05"), LENGTH, 5),
    ("chunked", response("TE: chunked"), CHUNKED, None),
    ("chunked, upper case", response("TE: CHUNKED"), CHUNKED, None),
    ("nothing", response(), CLOSE, None),
    ("nothing, keep-alive", response("C: keep-alive"), CLOSE, None),
    ("HTTP/1.0 length", response("CL: 5", version="1.0"), LENGTH, 5),
    ("HTTP/1.0 nothing", response(version="1.0"), CLOSE, None),
    ("status 600", response("CL: 5", 600), LENGTH, 5),
]


@in_turn(
    ("given_response", "delimiter", "length"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE]
)
def test_table(given_response: HTTPResponse, delimiter: Delimiter, length: int | None) -> None:
    framing = frame(given_response)
    assert (framing.delimiter, framing.length) == (delimiter, length)


LENGTH_TROUBLE = [
    "CL: ", "CL: +5", "CL: -5", "CL: 0x5", "CL: 1_0", "CL: 5 5", "CL: 5.0", "CL: 5;", "CL: \xb2",
    "CL: \u0665", "CL: " + "9" * 30, "CL: 5 | CL: 6", "CL: 5, 6", "CL: 5 | CL: x", "CL: 5,",
    "CL: ,", "CL: \x0c5",
]  # fmt: skip

CODING_TROUBLE = [
    "TE: ", "TE: chunked, chunked", "TE: chunked | TE: chunked", "TE: chunked, gzip",
    "TE: chunked | TE: identity", "TE: ,", "TE: chunked | CL: 5", "TE: chunked | CL: 0",
    "CL: x | TE: chunked",
]  # fmt: skip


@in_turn("fields", LENGTH_TROUBLE + CODING_TROUBLE)
@in_turn(("status", "method"), [(200, "GET"), (304, "GET"), (200, "HEAD")])
def test_ambiguous_fields(fields: str, status: int, method: str) -> None:
    """Refused whether or not this response has a body: the error carries its head."""
    given_response = response(fields, status, method)
    with pytest.raises(InvalidResponse) as info:
        frame(given_response)
    assert info.value.response is given_response
    assert info.value.part == "framing"


@pytest.mark.parametrize(
    ("fields", "unsupported"),
    [
        ("TE: gzip", "gzip"),
        ("TE: gzip, chunked", "gzip"),
        ("TE: x;a=b, gzip | TE: chunked", "x;a=b, gzip"),
        ("TE: identity", "identity"),
        ("TE: xchunked", "xchunked"),
    ],
)
def test_other_codings(fields: str, unsupported: str) -> None:
    given_response = response(fields)
    with pytest.raises(UnsupportedResponse) as info:
        frame(given_response)
    assert info.value.response is given_response
    assert str(info.value).endswith(f": {unsupported}")


@in_turn("status", [100, 103, 199, 204])
@in_turn(
    ("fields", "announces"),
    [
        ("", False), ("CL: 0", False), ("CL: 00 | CL: 0", False), ("CL: 0, 0", False),
        ("CL: 5", True), ("CL: 0 | CL: 5", True), ("CL: ", True), ("CL: -0", True),
        ("CL: \u0660", True), ("TE: chunked", True), ("TE: ", True), ("CL: 0 | TE: x", True),
    ],
)  # fmt: skip
def test_body_announced_where_none_can_be(status: int, fields: str, announces: bool) -> None:
    """RFC 9112 section 6.3, rule 1: it has no body. The connection is not trusted any further."""
    given_response = response(fields, status)
    assert announces_body(given_response) is frame(given_response).closes is announces


@pytest.mark.parametrize("fields", ["TE: chunked", "TE: chunked | C: keep-alive", "TE: gzip"])
def test_coding_from_an_http10_server(fields: str) -> None:
    """RFC 9112 section 6.1: such framing is faulty."""
    with pytest.raises(InvalidResponse):
        frame(response(fields, version="1.0"))


# ----------------------------------------------------------------------------- persistence

PERSISTENCE = [
    ("", "1.1", False),
    ("C: close", "1.1", True),
    ("C: Close", "1.1", True),
    ("C: x ,\tCLOSE", "1.1", True),
    ("C: x | C: close", "1.1", True),
    ("C: keep-alive, close", "1.1", True),
    ("C: closed", "1.1", False),
    ("C: not close", "1.1", False),
    ("X: close", "1.1", False),
    ("", "1.0", True),
    ("C: keep-alive", "1.0", False),
    ("C: Keep-Alive", "1.0", False),
    ("C: x | C: keep-alive", "1.0", False),
    ("C: keep-alive, close", "1.0", True),
    ("C: keep-alives", "1.0", True),
]


@in_turn(("fields", "version", "closes"), PERSISTENCE)
@in_turn("rest", [("CL: 0", 200), ("CL: 5", 200), ("", 204), ("", 304)])
def test_persistence(fields: str, version: str, closes: bool, rest: tuple[str, int]) -> None:
    lines = " | ".join(filter(None, (fields, rest[0])))
    assert frame(response(lines, rest[1], version=version)).closes is closes


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_body_without_an_end_takes_the_connection_with_it(version: str) -> None:
    assert frame(response("C: keep-alive", version=version)).closes


# ------------------------------------------------------------------------------- Keep-Alive


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ("", None),
        ("Keep-Alive: timeout=5", 5),
        ("keep-alive: Timeout = 15, max=100", 15),
        ("Keep-Alive: max=100,timeout=0", 0),
        ("Keep-Alive: max=1 | Keep-Alive: timeout=7", 7),
        ("Keep-Alive: timeout=-5", None),
        ("Keep-Alive: timeout=x", None),
        ("Keep-Alive: ", None),
        ("Keep-Alive: xtimeout=5", None),
        ("Keep-Alive: timeout=\u0665", None),
        ("X: timeout=5", None),
    ],
)
def test_keep_alive_timeout(fields: str, seconds: int | None) -> None:
    assert keep_alive_timeout(framing_fields(response(fields).headers)) == seconds


@given(value=st.text("timeout=,; 0123456789", max_size=60))
def test_no_keep_alive_is_an_error(value: str) -> None:
    seconds = keep_alive_timeout(framing_fields(response(f"Keep-Alive: {value}").headers))
    assert seconds is None or 0 <= seconds < 10**9
