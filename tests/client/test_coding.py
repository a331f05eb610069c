"""Content codings: what is decoded, and decoding in pieces of any size."""

from __future__ import annotations

import gzip
import itertools
import random
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dugong import Headers, HTTPResponse, InvalidResponse
from dugong.client.coding import Decoder, accept_encoding, decoder_for

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ROOT = Path(__file__).parent.parent.parent


def decode(codings: list[str] | str, pieces: Iterable[bytes], size: int = 1 << 20) -> bytes:
    """Decode with calls that ask for *size* bytes each."""
    decoder = Decoder([codings] if isinstance(codings, str) else codings)
    whole = bytearray()
    buffer = bytearray(size)
    stream = iter(pieces)
    while not decoder.finished:
        count = decoder.readinto(buffer)
        whole += buffer[:count]
        if count == 0 and decoder.needs_input and not decoder.finished:
            piece = next(stream, None)
            if piece is None:
                decoder.end()
            else:
                decoder.feed(memoryview(piece))
    assert not decoder.needs_input
    assert decoder.read(1) == b""
    return bytes(whole)


def raw(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


#: How to encode data, by a name of our own. The coding is what is before the first dash.
ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "gzip-members": lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:]),
    "gzip-empty-members": lambda data: (
        gzip.compress(b"") + gzip.compress(data) + gzip.compress(b"")
    ),
    "gzip-zeros": lambda data: gzip.compress(data) + bytes(512),
    "gzip-zeros-between": lambda data: gzip.compress(data) + bytes(5) + gzip.compress(b""),
    "deflate-zlib": zlib.compress,
    "deflate-raw": raw,
    "deflate-stored": lambda data: zlib.compress(data, 0),
    "zstd": zstd.compress,
    "zstd-frames": lambda data: zstd.compress(data[:9]) + zstd.compress(data[9:]),
    "zstd-skipped": lambda data: b"\x50\x2a\x4d\x18\3\0\0\0abc" + zstd.compress(data),
    "br": brotli.compress,
}
each_encoder = pytest.mark.parametrize("name", ENCODERS)

#: Compressible and incompressible, longer than any window of deflate.
DATA = b"".join(
    bytes(random.Random(seed).choices(range(256), k=100)) * 40 for seed in range(30)
) + bytes(100_000)
SHORT = b"The quick brown fox jumps over the lazy dog. " * 3


def coding_of(name: str) -> str:
    return name.partition("-")[0]


def in_pieces(data: bytes, size: int) -> Iterable[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


# ---------------------------------------------------------------------------------- decoding


@each_encoder
@pytest.mark.parametrize("size", [1, 100, 8192, 1 << 20])
def test_whole(name: str, size: int) -> None:
    data = DATA if size > 1 else DATA[:20_000]
    assert decode(coding_of(name), [ENCODERS[name](data)], size) == data


@each_encoder
def test_byte_by_byte_and_split_at_every_place(name: str) -> None:
    encoded = ENCODERS[name](SHORT)
    assert decode(coding_of(name), in_pieces(encoded, 1), 1) == SHORT
    assert decode(coding_of(name), in_pieces(encoded, 1)) == SHORT
    for at in range(len(encoded) + 1):
        assert decode(coding_of(name), [encoded[:at], encoded[at:]], 7) == SHORT


def test_plain_deflate_data_with_any_beginning() -> None:
    """The first two bytes of some are a multiple of 31, as in the zlib format."""
    multiples = 0
    for seed in range(300):
        data = bytes(random.Random(seed).choices(b"abcdefgh", k=50 + seed))
        encoded = raw(data)
        multiples += int.from_bytes(encoded[:2], "big") % 31 == 0
        assert decode("deflate", [encoded]) == data
    assert multiples


@pytest.mark.parametrize("name", ["gzip", "deflate-zlib", "deflate-raw", "zstd", "br"])
def test_output_that_is_left_after_the_input(name: str) -> None:
    """One match at the end is longer than the room for it, and all input is used up by then."""
    for size in range(8192, 8192 + 300):
        data = bytes(size)
        assert decode(coding_of(name), [ENCODERS[name](data)], 8192) == data


@each_encoder
def test_long_data_in_pieces(name: str) -> None:
    encoded = ENCODERS[name](DATA)
    for size in (7, 1000, 65536):
        assert decode(coding_of(name), in_pieces(encoded, size), 5000) == DATA


@pytest.mark.parametrize(
    "name", ["gzip", "deflate-zlib", "deflate-raw", "zstd", "zstd-frames", "br"]
)
def test_truncated_at_every_byte(name: str) -> None:
    coding, encoded = coding_of(name), ENCODERS[name](SHORT)
    ends = {0, len(zstd.compress(SHORT[:9]))} if name == "zstd-frames" else {0}
    for at in range(len(encoded)):
        if at in ends:
            assert SHORT.startswith(decode(coding, [encoded[:at]]))
            continue
        with pytest.raises(InvalidResponse, match="truncated") as info:
            decode(coding, [encoded[:at]])
        assert info.value.part == "coding"
        with pytest.raises(InvalidResponse, match="truncated"):
            decode(coding, in_pieces(encoded[:at], 1), 1)


@each_encoder
def test_trailing_data(name: str) -> None:
    encoded = ENCODERS[name](SHORT)
    for tail in (b"x", b"\0x", b"\x1f", b"HTTP/1.1 200 OK\r\n\r\n"):
        for pieces in ([encoded + tail], [encoded, tail], in_pieces(encoded + tail, 1)):
            with pytest.raises(InvalidResponse) as info:
                decode(coding_of(name), pieces)
            assert info.value.part == "coding"


@pytest.mark.parametrize("name", ["deflate-zlib", "deflate-raw", "zstd", "br"])
def test_zero_bytes_only_after_gzip(name: str) -> None:
    with pytest.raises(InvalidResponse):
        decode(coding_of(name), [ENCODERS[name](SHORT), b"\0"])


@each_encoder
def test_corrupt_data(name: str) -> None:
    """A changed byte is an error, or it changes something that has no checksum. It never hangs."""
    encoded = ENCODERS[name](SHORT)
    for at, flip in itertools.product(range(len(encoded)), (1, 0x80)):
        broken = bytearray(encoded)
        broken[at] ^= flip
        with suppress(InvalidResponse):
            decode(coding_of(name), [bytes(broken)])


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd", "br"])
@given(data=st.binary(max_size=200))
def test_garbage(coding: str, data: bytes) -> None:
    try:
        whole = decode(coding, [data])
    except InvalidResponse:
        return
    assert decode(coding, in_pieces(data, 1), 1) == whole


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd", "br"])
def test_an_empty_body_is_empty(coding: str) -> None:
    assert decode(coding, []) == b""
    assert decode(coding, [b"", b""]) == b""
    assert decode([coding, "gzip"], [gzip.compress(b"")]) == b""


def test_corrupt_names_the_coding_and_carries_the_response() -> None:
    response = HTTPResponse("GET", "/", 200, "OK", Headers())
    decoder = Decoder(["br", "gzip"], response)
    decoder.feed(gzip.compress(b"not brotli at all" * 10))
    with pytest.raises(InvalidResponse, match="not valid br data") as info:
        decoder.read(100)
    assert info.value.response is response
    for call in (lambda: decoder.read(1), lambda: decoder.feed(b"x"), decoder.end):
        with pytest.raises(InvalidResponse, match="not valid br data"):
            call()


def test_feeding_too_early() -> None:
    decoder = Decoder(["gzip"])
    decoder.feed(gzip.compress(DATA))
    assert decoder.read(1) == DATA[:1]
    with pytest.raises(AssertionError):
        decoder.feed(b"x")
    with pytest.raises(AssertionError):
        decoder.end()


@pytest.mark.parametrize("chain", [*itertools.product(["gzip", "deflate", "zstd", "br"], repeat=2)])
def test_chains_of_two(chain: tuple[str, str]) -> None:
    encoded = DATA
    for coding in chain:
        encoded = ENCODERS["deflate-zlib" if coding == "deflate" else coding](encoded)
    for size in (1 << 20, 100):
        assert decode([*chain], [encoded], size) == DATA
        assert decode([*chain], in_pieces(encoded, size)) == DATA


def test_chain_of_five_split_and_truncated_everywhere() -> None:
    chain = ["gzip", "br", "zstd", "deflate", "gzip"]
    encoded = SHORT
    for name in ("gzip", "br", "zstd", "deflate-raw", "gzip"):
        encoded = ENCODERS[name](encoded)
    assert decode(chain, in_pieces(encoded, 1), 1) == SHORT
    for at in range(1, len(encoded)):
        assert decode(chain, [encoded[:at], encoded[at:]]) == SHORT
        with pytest.raises(InvalidResponse, match="truncated"):
            decode(chain, [encoded[:at]])


# ------------------------------------------------------------------------- command-line tools

TOOLS = [
    ("gzip", ["gzip", "-c"]), ("gzip", ["gzip", "-9", "-c"]), ("gzip", ["pigz", "-c"]),
    ("zstd", ["zstd", "-c"]), ("zstd", ["zstd", "-19", "-c"]), ("zstd", ["zstd", "-T2", "-c"]),
    ("zstd", ["zstd", "--no-check", "--fast", "-c"]), ("br", ["brotli", "-c"]),
    ("br", ["brotli", "-q", "1", "-c"]),
]  # fmt: skip


@pytest.mark.parametrize(("coding", "command"), TOOLS, ids=[" ".join(tool[1]) for tool in TOOLS])
@pytest.mark.parametrize("data", [b"", SHORT, DATA], ids=["empty", "short", "long"])
def test_streams_of_command_line_tools(coding: str, command: list[str], data: bytes) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, input=data, capture_output=True, check=True)
    assert decode(coding, [done.stdout]) == data
    assert decode(coding, in_pieces(done.stdout, 100), 100) == data


def test_a_large_zstd_window_is_refused() -> None:
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 24}
    stream = zstd.ZstdCompressor(options=options)
    encoded = stream.compress(DATA) + stream.flush()
    with pytest.raises(InvalidResponse, match="zstd"):
        decode("zstd", [encoded])
    options = {zstd.CompressionParameter.window_log: 23}
    stream = zstd.ZstdCompressor(options=options)
    assert decode("zstd", [stream.compress(DATA) + stream.flush()]) == DATA


# --------------------------------------------------------------------------------- bombs

BOMBS = [
    ("gzip", 0.3), ("zstd,zstd,gzip,br,deflate", 0.3),
    *(pytest.param(codings, 0.3, marks=pytest.mark.slow)
      for codings in ("deflate", "raw", "zstd", "br", "gzip,gzip", "br,br,br")),
    *(pytest.param(codings, 10, marks=[pytest.mark.slow, pytest.mark.timeout(600)])
      for codings in ("gzip", "deflate", "zstd", "br", "gzip,gzip,gzip")),
]  # fmt: skip


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the address space")
@pytest.mark.parametrize(("codings", "gigabytes"), BOMBS)
def test_bombs(codings: str, gigabytes: float) -> None:
    command = [sys.executable, "-m", "tests.support.bombs", codings, str(gigabytes)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    total, encoded = map(int, done.stdout.split())
    assert total == gigabytes * 1e9
    assert encoded < total / 100


def test_one_call_does_not_decode_everything_that_is_dropped() -> None:
    """A gzip stream in a gzip stream, with 100 MB of zero bytes after its end."""
    outer = zlib.compressobj(wbits=31)
    encoded = outer.compress(gzip.compress(b"abc"))
    encoded += b"".join(outer.compress(bytes(1_000_000)) for _ in range(100)) + outer.flush()
    decoder = Decoder(["gzip", "gzip"])
    decoder.feed(encoded)
    assert decoder.read(100) == b"abc"
    calls = 0
    while not decoder.needs_input:
        assert decoder.read(100) == b""
        calls += 1
    assert 15 < calls < 50
    decoder.end()
    assert decoder.finished


# --------------------------------------------------------------------------- what is decoded


def decided(
    *values: str, method: str = "GET", status: int = 200, name: str = "Content-Encoding"
) -> Decoder | None:
    return decoder_for(method, status, Headers([(name, value) for value in values]))


@pytest.mark.parametrize(
    "values",
    [
        ["gzip"], ["GZip"], ["x-gzip"], ["deflate"], ["zstd"], ["br"], ["identity, gzip"],
        ["gzip, br"], ["gzip", "br"], [" , gzip ,"], ["gzip, gzip, gzip, gzip, gzip"],
        ["identity, identity, identity, identity, identity, gzip"],
    ],
)  # fmt: skip
def test_decoded(values: list[str]) -> None:
    assert decided(*values) is not None


@pytest.mark.parametrize(
    "values",
    [
        [], ["identity"], [""], [","], ["compress"], ["gzip, compress"], ["unknown", "gzip"],
        ["x-br"], ["gzip;q=1"], ["gzip gzip"], ["zip"],
    ],
)  # fmt: skip
def test_left_as_received(values: list[str]) -> None:
    assert decided(*values) is None


@pytest.mark.parametrize(
    ("method", "status"),
    [("HEAD", 200), ("GET", 100), ("GET", 103), ("GET", 204), ("GET", 206), ("GET", 304)],
)
@pytest.mark.parametrize("value", ["gzip", ", ".join(["gzip"] * 9)], ids=["one", "many"])
def test_responses_that_are_never_decoded(method: str, status: int, value: str) -> None:
    assert decided(value, method=method, status=status) is None
    assert decided("gzip", status=404) is not None
    assert decided("gzip", method="POST", status=302) is not None


@pytest.mark.parametrize("value", ["gzip, " * 6, "gzip, br, x, y, z, deflate"])
def test_too_many_codings(value: str) -> None:
    with pytest.raises(InvalidResponse, match="6 content codings") as info:
        decided(value)
    assert info.value.part == "coding"


def test_other_fields_do_not_matter() -> None:
    assert decided("gzip", name="Transfer-Encoding") is None


def test_accept_encoding() -> None:
    assert accept_encoding() == "gzip, deflate, zstd, br"


WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(["brotli", "backports", "compression", "compression.zstd"]))
from dugong import Headers
from dugong.client.coding import accept_encoding, decoder_for
assert accept_encoding() == "gzip, deflate", accept_encoding()
for name, expected in [("gzip", True), ("deflate", True), ("br", False), ("zstd", False)]:
    decoder = decoder_for("GET", 200, Headers([("content-encoding", name)]))
    assert (decoder is not None) is expected
"""


def test_without_the_libraries() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT], check=True, cwd=ROOT)
