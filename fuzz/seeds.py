"""The start of the corpus: ``python -m fuzz.seeds`` writes ``fuzz/corpus`` again.

Files of other names are left alone there: they are findings that were kept.
"""

from __future__ import annotations

from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"

#: A scenario's, a way of reading's and an end's number in `fuzz.check`, as digits.
GETS, HEAD, POST, EXPECT, CONNECT, UPGRADE, CLOSE, GET_EXPECT = b"01234567"
READ1, READ7, READ, INTO3, INTO, READALL, DISCARD, READ_NONE = b"01234567"
CLOSED, RESET, SILENT = b"012"

#: Sizes of pieces, as `fuzz.check` takes them out of one byte.
BYTES, TWOS, MIXED = 0x00, 0x11, 0x86

_200 = b"HTTP/1.1 200 OK\r\n"
_EMPTY = _200 + b"Content-Length: 0\r\n\r\n"
_HI = _200 + b"Content-Length: 2\r\n\r\nhi"
_CHUNKED = _200 + b"Transfer-Encoding: chunked\r\n\r\n"
_100 = b"HTTP/1.1 100 Continue\r\n\r\n"
_103 = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"


def _seed(
    wire: bytes,
    scenario: int = GETS,
    reader: int = READ7,
    sizes: int = MIXED,
    end: int = CLOSED,
) -> bytes:
    return bytes([scenario, reader, sizes, end]) + wire


SEEDS: dict[str, bytes] = {
    # Framing.
    "length-three": _seed(_HI * 3),
    "length-zero": _seed(_EMPTY * 3, reader=READ1),
    "length-repeated": _seed(_200 + b"Content-Length: 2\r\nContent-Length: 2, 2\r\n\r\nhi" + _HI),
    "length-leading-zeros": _seed(_200 + b"Content-Length: 0002\r\n\r\nhi", reader=INTO3),
    "length-differs": _seed(_200 + b"Content-Length: 2, 3\r\n\r\nhi"),
    "length-negative": _seed(_200 + b"Content-Length: -2\r\n\r\nhi"),
    "length-huge": _seed(_200 + b"Content-Length: 999999999999999999\r\n\r\nhi", reader=READALL),
    "length-cut": _seed(_200 + b"Content-Length: 9\r\n\r\nhi", end=RESET),
    "length-silent": _seed(_200 + b"Content-Length: 9\r\n\r\nhi", reader=READALL, end=SILENT),
    "length-and-chunked": _seed(
        _200 + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    ),
    "until-close": _seed(_200 + b"\r\nuntil the end", reader=INTO),
    "until-reset": _seed(_200 + b"\r\nuntil the end", end=RESET),
    "until-close-empty": _seed(_200 + b"\r\n", reader=READALL),
    "no-body-204": _seed(b"HTTP/1.1 204 No Content\r\n\r\n" + _HI),
    "no-body-304": _seed(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n" + _HI),
    "body-on-204": _seed(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"),
    "head-then-get": _seed(_200 + b"Content-Length: 2\r\n\r\n" + _HI, HEAD),
    "head-chunked": _seed(_CHUNKED + _HI, HEAD, READALL),
    "http-1.0-ends": _seed(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", reader=READALL),
    "http-1.0-keeps": _seed(
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi" + _HI
    ),
    "http-1.0-chunked": _seed(b"HTTP/1.0 200\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "coding-gzip": _seed(_200 + b"Transfer-Encoding: gzip, chunked\r\n\r\n"),
    "coding-chunked-twice": _seed(_200 + b"Transfer-Encoding: chunked, chunked\r\n\r\n"),
    "announced-close": _seed(_200 + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi" + _HI),
    "asked-close": _seed(_HI + b"stray", CLOSE),
    # Chunks.
    "chunks": _seed(_CHUNKED + b"2\r\nhi\r\n00A;a=b\r\nsea cow\r\n\n\r\n0\r\n\r\n" + _HI),
    "chunks-trailers": _seed(_CHUNKED + b"1\r\na\r\n0;z\r\nX-Sum: 7\r\nX-Two: a\r\n\r\n" + _HI),
    "chunks-quoted": _seed(_CHUNKED + b'2;a="b;\\"";c\r\nhi\r\n0\r\n\r\n', sizes=BYTES),
    "chunks-readall": _seed(_CHUNKED + b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n", reader=READ_NONE),
    "chunks-discard": _seed(_CHUNKED + b"1\r\na\r\n0\r\nA: b\r\n\r\n" + _HI, reader=DISCARD),
    "chunks-too-long": _seed(_CHUNKED + b"2\r\nhi!\r\n0\r\n\r\n", sizes=TWOS),
    "chunks-lf": _seed(_CHUNKED + b"2\nhi\n0\n\n"),
    "chunks-cut": _seed(_CHUNKED + b"5\r\nhel", reader=READALL),
    "chunks-no-end": _seed(_CHUNKED + b"2\r\nhi\r\n0\r\n", end=SILENT),
    "chunks-huge": _seed(_CHUNKED + b"fffffffffffffff\r\nhi", reader=READ),
    "chunks-sign": _seed(_CHUNKED + b"+2\r\nhi\r\n0\r\n\r\n"),
    "chunks-trailer-fold": _seed(_CHUNKED + b"0\r\nA: b\r\n c\r\n\r\n"),
    # Heads.
    "fields-repeated": _seed(b"HTTP/1.1 200 \r\nA: 1\r\na:2\t\r\nB:\r\nContent-Length: 0\r\n\r\n"),
    "fields-folded": _seed(_200 + b"A: b\r\n  c \r\n\td\r\nContent-Length: 0\r\n\r\n", sizes=BYTES),
    "fields-folded-length": _seed(_200 + b"Content-Length:\r\n 2\r\n\r\nhi"),
    "fields-obs-text": _seed(b"HTTP/1.1 200 \xe9\r\nA: \x80\xff\r\nContent-Length: 0\r\n\r\n"),
    "fields-no-colon": _seed(_200 + b"A\r\nContent-Length: 0\r\n\r\n"),
    "fields-space-colon": _seed(_200 + b"Content-Length : 0\r\n\r\n"),
    "fields-nul": _seed(_200 + b"A: \x00\r\nContent-Length: 0\r\n\r\n"),
    "fields-bare-cr": _seed(_200 + b"A: b\rContent-Length: 0\r\n\r\n"),
    "fields-lf": _seed(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    "status-bare": _seed(b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"),
    "status-999": _seed(b"HTTP/1.7 999 ?\r\nContent-Length: 2\r\n\r\nhi"),
    "status-http-2.0": _seed(b"HTTP/2.0 200 OK\r\n\r\n"),
    "status-not-http": _seed(b"220 mail.example ESMTP\r\n"),
    "status-http-2-frame": _seed(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18)),
    "empty-line-first": _seed(b"\r\n" + _HI),
    "nothing": _seed(b""),
    "head-cut": _seed(b"HTTP/1.1 200 OK\r\nContent-Le", sizes=BYTES, end=RESET),
    # Interim responses, tunnels, upgrades.
    "interim": _seed(_103 + _100 + _HI + _103 + _HI, sizes=BYTES),
    "interim-many": _seed(b"HTTP/1.1 100\r\n\r\n" * 33 + _HI),
    "interim-length": _seed(b"HTTP/1.1 100 Continue\r\nContent-Length: 2\r\n\r\nhi" + _HI),
    "switch-unasked": _seed(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    "switch": _seed(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nraw", UPGRADE),
    "tunnel": _seed(b"HTTP/1.1 200 Established\r\nContent-Length: 9\r\n\r\nraw", CONNECT),
    "tunnel-refused": _seed(b"HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno", CONNECT),
    "expect": _seed(_103 + _100 + _HI, EXPECT),
    "expect-refused": _seed(b"HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno" + _HI, EXPECT),
    "expect-twice": _seed(_100 + _100 + _HI, EXPECT, sizes=BYTES),
    "expect-later": _seed(_HI + _100 + _HI, GET_EXPECT),
    "expect-too-early": _seed(_100 + _HI + _HI, GET_EXPECT),
    "post": _seed(_100 + _HI + _HI, POST, INTO3),
}


def main() -> None:
    CORPUS.mkdir(exist_ok=True)
    for name, data in SEEDS.items():
        (CORPUS / name).write_bytes(data)


if __name__ == "__main__":
    main()
