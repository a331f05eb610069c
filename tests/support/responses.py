"""Valid responses (hypothesis): what they say, and the bytes that say it.

The bytes come from here and from RFC 9112, and from nothing in `dugong`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from hypothesis import strategies as st

#: How much is tried of each property. ``EXAMPLES=10000`` for a long run by hand.
EXAMPLES = int(os.environ.get("EXAMPLES", "100"))

Fields = list[tuple[str, str]]

TCHAR = "!#$%&'*+-.^_`|~0123456789ABCXYZabcxyz"
#: Visible characters, a few of them, and obs-text; what separates and quotes is among them.
VCHAR = '!"#,:;=\\aZ~' + "\x80\x85\xa0\xff"
OWS = ["", " ", "\t", "  ", " \t "]

FRAMING_FIELDS = {"content-length", "transfer-encoding", "connection"}

names = st.one_of(
    st.text(TCHAR, min_size=1, max_size=12),
    st.sampled_from(["Set-Cookie", "set-cookie", "Keep-Alive", "Trailer", "Upgrade", "Age"]),
).filter(lambda name: name.lower() not in FRAMING_FIELDS)
words = st.text(VCHAR, min_size=1, max_size=8)
reasons = st.text(VCHAR + " \t", max_size=12)


@dataclass
class Lines:
    """Field lines: what they mean, and how they are written."""

    fields: Fields = field(default_factory=list)
    wire: bytes = b""

    def __add__(self, other: Lines) -> Lines:
        return Lines(self.fields + other.fields, self.wire + other.wire)


def line(name: str, value: str, written: str | None = None) -> Lines:
    text = f"{name}: {value}" if written is None else f"{name}:{written}"
    return Lines([(name, value)], text.encode("latin-1") + b"\r\n")


@st.composite
def field_line(draw: st.DrawFn, fold: bool = True) -> Lines:
    """Words with white space, kept as it is, or with folds, each of which stands for one SP."""
    value = written = draw(st.one_of(st.just(""), words))
    if value:
        for word in draw(st.lists(words, max_size=2)):
            space = draw(st.sampled_from(OWS[1:]))
            folded = fold and draw(st.booleans())
            value += (" " if folded else space) + word
            written += (draw(st.sampled_from(OWS)) + "\r\n" if folded else "") + space + word
    before, behind = draw(st.sampled_from(OWS)), draw(st.sampled_from(OWS))
    return line(draw(names), value, f"{before}{written}{behind}")


@st.composite
def field_lines(draw: st.DrawFn, *own: Lines, fold: bool = True) -> Lines:
    """Any fields, with *own* among them."""
    lines = draw(st.permutations([*own, *draw(st.lists(field_line(fold=fold), max_size=3))]))
    return sum(lines, Lines())


@dataclass
class Expected:
    """A response as it must be read."""

    method: str
    status: int
    reason: str
    version: str
    fields: Fields
    length: int | None = 0
    payload: bytes = b""
    trailers: Fields = field(default_factory=list)
    will_close: bool = False
    interim: list[Expected] = field(default_factory=list)
    ended_by_close: bool = False


@dataclass
class Body:
    """A body, and what announces it."""

    announcement: list[Lines]
    length: int | None
    payload: bytes = b""
    trailers: Fields = field(default_factory=list)
    wire: bytes = b""
    ended_by_close: bool = False


def status_line(version: str, status: int, reason: str, bare: bool) -> bytes:
    space = "" if bare and not reason else " "
    return f"HTTP/{version} {status}{space}{reason}\r\n".encode("latin-1")


payloads = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([b"\r\n\r\n", b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"\n"]),
    st.integers(1, 300).map(lambda count: b"sea cow\r\n" * count),
)


@st.composite
def length_bodies(draw: st.DrawFn) -> Body:
    payload = draw(payloads)
    number = f"{len(payload)}".zfill(draw(st.sampled_from([0, 0, 5])))
    value = draw(st.sampled_from([number, number, f"{number}, {len(payload)}"]))
    name = draw(st.sampled_from(["Content-Length", "content-length", "CONTENT-LENGTH"]))
    lines = [line(name, value)] * draw(st.sampled_from([1, 1, 2]))
    return Body(lines, len(payload), payload, wire=payload)


EXTENSIONS = ["", "", ";a", " ; a=b", ';x="\\";y\xe9\t"', ";a;b=c", ";a = b"]


@st.composite
def chunked_bodies(draw: st.DrawFn) -> Body:
    chunks = draw(st.lists(payloads.filter(bool), max_size=4))
    wire = b""
    for chunk in [*chunks, b""]:
        size = draw(st.sampled_from(["%x", "%X", "00%x"])) % len(chunk)
        wire += (size + draw(st.sampled_from(EXTENSIONS)) + "\r\n").encode("latin-1")
        wire += chunk + b"\r\n" if chunk else b""
    trailers = draw(field_lines(fold=False))
    written = draw(st.sampled_from([" chunked", "chunked", " Chunked ", "\tCHUNKED"]))
    announcement = line("Transfer-Encoding", written.strip(), written)
    wire += trailers.wire + b"\r\n"
    return Body([announcement], None, b"".join(chunks), trailers.fields, wire)


@st.composite
def bodies(draw: st.DrawFn, method: str, status: int, version: str, last: bool) -> Body:
    """A body that such a response can have; one that ends with the connection only at last."""
    kinds = [length_bodies()]
    if version != "1.0":
        kinds.append(chunked_bodies())
    if status == 204:
        return Body(draw(st.sampled_from([[], [line("Content-Length", "0")]])), 0)
    if method == "HEAD" or status == 304:  # it announces what a GET would bring
        return Body(draw(st.one_of(st.just(Body([], 0)), *kinds)).announcement, 0)
    if last:
        kinds.append(
            payloads.map(lambda data: Body([], None, data, wire=data, ended_by_close=True))
        )
    return draw(st.one_of(kinds))


@st.composite
def interim_responses(draw: st.DrawFn, method: str) -> tuple[Expected, bytes]:
    status = draw(st.sampled_from([100, 102, 103, 199]))
    reason = draw(reasons)
    lines = draw(field_lines())
    head = status_line("1.1", status, reason, draw(st.booleans())) + lines.wire + b"\r\n"
    return Expected(method, status, reason, "1.1", lines.fields), head


@st.composite
def responses(draw: st.DrawFn, method: str, last: bool) -> tuple[Expected, bytes]:
    """One response to *method*, with those that come before it."""
    interim = draw(st.lists(interim_responses(method), max_size=2))
    status = draw(st.one_of(st.sampled_from([200, 204, 206, 304, 404]), st.integers(200, 999)))
    version = draw(st.sampled_from(["1.1", "1.1", "1.1", "1.0", "1.7"]))
    reason = draw(reasons)
    body = draw(bodies(method, status, version, last))
    will_close = body.ended_by_close
    own = list(body.announcement)
    if version == "1.0" and not last:
        own.append(line("Connection", "x, Keep-Alive"))
    elif last and draw(st.booleans()):
        own.append(line("Connection", draw(st.sampled_from(["close", "x , Close", "close,x"]))))
        will_close = True
    lines = draw(field_lines(*own))
    head = status_line(version, status, reason, draw(st.booleans())) + lines.wire + b"\r\n"
    expected = Expected(
        method=method,
        status=status,
        reason=reason,
        version="1.0" if version == "1.0" else "1.1",
        fields=lines.fields,
        length=body.length,
        payload=body.payload,
        trailers=body.trailers,
        will_close=will_close or (version == "1.0" and last),
        interim=[one for one, _ in interim],
        ended_by_close=body.ended_by_close,
    )
    return expected, b"".join(wire for _, wire in interim) + head + body.wire


@st.composite
def conversations(
    draw: st.DrawFn, methods: tuple[str, ...] = ("GET", "HEAD", "POST", "DELETE")
) -> tuple[list[Expected], bytes]:
    """The responses to several requests on one connection."""
    asked = draw(st.lists(st.sampled_from(methods), min_size=1, max_size=4))
    answers = [draw(responses(method, i == len(asked) - 1)) for i, method in enumerate(asked)]
    return [expected for expected, _ in answers], b"".join(wire for _, wire in answers)


@st.composite
def split(draw: st.DrawFn, wire: bytes) -> list[bytes]:
    """*wire* in pieces: whole, byte by byte, at line ends, or anyhow."""
    how = draw(st.sampled_from(["whole", "bytes", "before LF", "behind LF", "anyhow"]))
    if how == "whole":
        return [wire]
    if how == "bytes":
        sizes = [1] * len(wire)
    elif how == "anyhow":
        sizes = draw(st.lists(st.integers(1, 90), min_size=1, max_size=12)) * len(wire)
    else:
        ends = [i + (how == "behind LF") for i, byte in enumerate(wire) if byte == 10]
        sizes = [end - begin for begin, end in pairwise([0, *ends])]
    edges = [edge for edge in accumulate(sizes[: len(wire)], initial=0) if edge < len(wire)]
    return [wire[begin:end] for begin, end in pairwise([*edges, len(wire)])]


# ---------------------------------------------------------------------------- what is invalid

#: What is put in, and put in the place of something else.
BITS = [
    b"\r", b"\n", b"\r\n", b"\x00", b" ", b"\t", b":", b",", b";", b"0", b"-1", b"f" * 16, b"\xff",
    b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/2.0 200\r\n\r\n", b"HTTP/1.1 100\r\n\r\n", b"0\r\n\r\n",
    b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n",
    b"Connection: close\r\n", b"HTTP/1.1 101 x\r\n\r\n", b"a" * 5000, b"9" * 30,
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, wire: bytes) -> bytes:
    """*wire* with a few places cut, flipped, doubled, or with something put in."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(wire)))
        upto = min(at + draw(st.integers(0, 20)), len(wire))
        how = draw(st.sampled_from(["cut", "end", "flip", "double", "put in", "replace", "move"]))
        bit = draw(st.sampled_from(BITS))
        if how == "cut":
            wire = wire[:at] + wire[upto:]
        elif how == "end":
            wire = wire[:at]
        elif how == "flip":
            wire = wire[:at] + bytes(byte ^ 0x20 for byte in wire[at:upto]) + wire[upto:]
        elif how == "double":
            wire = wire[:upto] + wire[at:]
        elif how == "move":
            wire = wire[:at] + wire[upto:] + wire[at:upto]
        else:
            wire = wire[:at] + bit + wire[at if how == "put in" else upto :]
    return wire
