"""Content codings, decoded."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dugong import Headers, HTTPResponse
from dugong.cli.codings import codings, decoded
from dugong.cli.output import Failure
from tests.support.in_turn import in_turn

PAGE = b"<a href=x>" * 5000
LIMIT = 1 << 20


def raw_deflate(data: bytes) -> bytes:
    return zlib.compress(data, wbits=-zlib.MAX_WBITS)


#: Some ways to encode, and the names of the codings.
ENCODED = {
    "gzip": (gzip.compress(PAGE), ["gzip"]),
    "zlib": (zlib.compress(PAGE), ["deflate"]),
    "no wrapper": (raw_deflate(PAGE), ["deflate"]),
    "members": (gzip.compress(PAGE[:9]) + gzip.compress(b"") + gzip.compress(PAGE[9:]), ["gzip"]),
    "padding": (gzip.compress(PAGE) + bytes(100_000), ["gzip"]),
    "padding between": (
        gzip.compress(PAGE[:9]) + bytes(512) + gzip.compress(PAGE[9:]) + b"\0", ["gzip"]
    ),
    "twice": (gzip.compress(gzip.compress(PAGE)), ["gzip", "gzip"]),
    "both": (gzip.compress(zlib.compress(PAGE)), ["deflate", "gzip"]),
    "stored": (zlib.compress(PAGE, 0), ["deflate"]),
    "none": (PAGE, []),
    "empty": (b"", ["gzip"]),
}  # fmt: skip


def response(*values: str) -> HTTPResponse:
    fields = Headers([("Content-Encoding", value) for value in values])
    return HTTPResponse("GET", "/", 200, "OK", fields)


@in_turn(
    ("values", "names"),
    [
        ([], []),
        (["gzip"], ["gzip"]),
        (["X-GZip"], ["gzip"]),
        (["deflate, gzip"], ["deflate", "gzip"]),
        (["deflate", "gzip ,\tgzip"], ["deflate", "gzip", "gzip"]),
        (["identity"], []),
        ([""], []),
        (["Identity, ,gzip,"], ["gzip"]),
        ([", ".join(["gzip"] * 5)], ["gzip"] * 5),
    ],
)
def test_codings(values: list[str], names: list[str]) -> None:
    assert codings(response(*values)) == names


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("br", "its content coding is br: only gzip and deflate are supported"),
        ("gzip, zstd", "its content coding is zstd: only gzip and deflate are supported"),
        ("compress", "its content coding is compress: only gzip and deflate are supported"),
        ("gzip;q=1", "its content coding is gzip;q=1: only gzip and deflate are supported"),
        ("utf-8", "its content coding is utf-8: only gzip and deflate are supported"),
        (", ".join(["gzip"] * 6), "it has 6 content codings, more than 5"),
    ],
)
def test_unsupported(value: str, message: str) -> None:
    with pytest.raises(Failure) as caught:
        codings(response(value))
    assert str(caught.value) == message


@in_turn("name", ENCODED)
def test_decoded(name: str) -> None:
    body, names = ENCODED[name]
    assert decoded(body, names, LIMIT) == (PAGE if body else b"")


@pytest.mark.parametrize("name", ["gzip", "zlib", "no wrapper", "twice", "both", "stored"])
def test_truncated(name: str) -> None:
    body, names = ENCODED[name]
    for end in range(1, len(body), 1 + len(body) // 500):
        with pytest.raises(Failure, match=f"^it is not valid {', '.join(names)}: "):
            decoded(body[:end], names, LIMIT)


@in_turn(
    ("body", "names"),
    [
        (PAGE, ["gzip"]),
        (PAGE, ["deflate"]),
        (b"\0", ["gzip"]),
        (gzip.compress(PAGE) + b"more", ["gzip"]),
        (gzip.compress(PAGE) + b"\0\0more", ["gzip"]),
        (zlib.compress(PAGE) + b"more", ["deflate"]),
        (gzip.compress(PAGE)[:-8] + bytes(8), ["gzip"]),  # neither its checksum nor its length
        (zlib.compress(PAGE)[:-4] + bytes(4), ["deflate"]),
        (gzip.compress(PAGE), ["gzip", "gzip"]),
        (gzip.compress(PAGE), ["deflate"]),
    ],
)
def test_corrupt(body: bytes, names: list[str]) -> None:
    with pytest.raises(Failure, match=f"^it is not valid {', '.join(names)}: "):
        decoded(body, names, LIMIT)


#: Made by the test, not in each process that collects it.
TOO_LONG: dict[str, tuple[Callable[[], bytes], list[str]]] = {
    "one byte": (lambda: gzip.compress(bytes(LIMIT + 1)), ["gzip"]),
    "gzip": (lambda: gzip.compress(bytes(20 * LIMIT)), ["gzip"]),
    "deflate": (lambda: raw_deflate(bytes(20 * LIMIT)), ["deflate"]),
    "twice": (lambda: gzip.compress(gzip.compress(bytes(20 * LIMIT))), ["gzip", "gzip"]),
    # The outer coding expands to many members that are empty.
    "members": (lambda: gzip.compress(gzip.compress(b"") * LIMIT), ["gzip", "gzip"]),
}


@pytest.mark.parametrize("name", TOO_LONG)
def test_too_long(name: str) -> None:
    """The limit holds for memory as well."""
    make, names = TOO_LONG[name]
    body = make()
    tracemalloc.start()
    try:
        with pytest.raises(Failure, match=r"^it is larger than 1\.0 MiB when decoded$"):
            decoded(body, names, LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 3 * LIMIT
    finally:
        tracemalloc.stop()


def test_just_short_enough() -> None:
    assert decoded(gzip.compress(bytes(LIMIT)), ["gzip"], LIMIT) == bytes(LIMIT)


@given(
    st.lists(st.binary(max_size=40_000), min_size=1, max_size=4),
    st.sampled_from([gzip.compress, zlib.compress, raw_deflate]),
    st.integers(0, 9),
)
def test_any_data(parts: list[bytes], encode: object, zeros: int) -> None:
    data = b"".join(parts)
    if encode is gzip.compress:
        body = b"".join(gzip.compress(part) + bytes(zeros) for part in parts)
        assert decoded(body, ["gzip"], LIMIT) == data
    else:
        assert callable(encode)
        assert decoded(encode(data), ["deflate"], LIMIT) == data
