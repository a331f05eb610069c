"""Bodies that are given whole: what each kind is taken for, and what it gives."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dugong import BodyChanged, ExcessBodyData, Request, StateError
from dugong.protocol.content import (
    BytesContent,
    Content,
    FileContent,
    IterableContent,
    ReadFileContent,
    content_of,
)
from dugong.protocol.limits import BLOCK_SIZE

DATA = b"swim like a sea cow\n" * 10


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    return path


def taken(content: Content) -> list[bytes]:
    """All that it gives, piece by piece, as a sender takes it."""
    pieces = []
    while piece := content.take():
        pieces.append(bytes(piece))
        content.sent += len(piece)
    content.finish()
    return pieces


# ------------------------------------------------------------------------------ what is what


def _spooled(rolled: bool) -> Any:
    file = tempfile.SpooledTemporaryFile()  # noqa: SIM115
    file.write(DATA)
    if rolled:
        file.rollover()
    file.seek(0)
    return file


def _gzip() -> gzip.GzipFile:
    return gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(DATA)))


def _zip_member() -> Any:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("member", DATA)
    return zipfile.ZipFile(buffer).open("member")


def _named() -> Any:
    file = tempfile.NamedTemporaryFile()  # noqa: SIM115
    file.write(DATA)
    file.seek(0)
    return file


class Reader:
    """Just enough of a file."""

    def __init__(self) -> None:
        self._data = io.BytesIO(DATA)

    def read(self, size: int) -> bytes:
        return self._data.read(size)


LENGTH = len(DATA)

#: What is made of the file at a path or of its content: class, length, replayable.
KINDS: dict[str, tuple[Callable[[Path], Any], type[Content], int | None, bool]] = {
    "bytes": (lambda path: DATA, BytesContent, LENGTH, True),
    "memoryview": (lambda path: memoryview(DATA).cast("I"), BytesContent, LENGTH, True),
    "unbuffered": (lambda path: path.open("rb", buffering=0), FileContent, LENGTH, True),
    "buffered": (lambda path: path.open("rb"), FileContent, LENGTH, True),
    "for update": (lambda path: path.open("r+b"), FileContent, LENGTH, True),
    "gzip": (lambda path: _gzip(), ReadFileContent, None, True),
    "bz2": (lambda path: bz2.BZ2File(io.BytesIO(bz2.compress(DATA))), ReadFileContent, None, True),
    "lzma": (
        lambda path: lzma.LZMAFile(io.BytesIO(lzma.compress(DATA))),  # noqa: SIM115
        ReadFileContent, None, True,
    ),
    "buffered gzip": (
        lambda path: io.BufferedReader(cast(Any, _gzip())),
        ReadFileContent, None, True,
    ),
    "zip member": (lambda path: _zip_member(), ReadFileContent, None, True),
    "BytesIO": (lambda path: io.BytesIO(DATA), ReadFileContent, LENGTH, True),
    "spooled": (lambda path: _spooled(False), ReadFileContent, LENGTH, True),
    "rolled over": (lambda path: _spooled(True), ReadFileContent, LENGTH, True),
    "named": (lambda path: _named(), ReadFileContent, LENGTH, True),
    "reader": (lambda path: Reader(), ReadFileContent, None, False),
    "list": (lambda path: [DATA[:5], b"", DATA[5:]], IterableContent, None, False),
    "generator": (
        lambda path: (DATA[i : i + 7] for i in range(0, LENGTH, 7)), IterableContent, None, False,
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # they are closed when they are let go
@pytest.mark.parametrize("kind", KINDS)
def test_kind(kind: str, path: Path) -> None:
    make, cls, length, replayable = KINDS[kind]
    body = make(path)
    assert Request("PUT", "/", None, body).replayable is replayable
    content = content_of(body)
    assert type(content) is cls
    assert (content.length, content.replayable) == (length, replayable)
    assert b"".join(taken(content)) == DATA
    if replayable:
        assert content.restore()
        assert b"".join(taken(content_of(body))) == DATA


def test_pipe_is_one_shot() -> None:
    reading, writing = os.pipe()
    os.write(writing, DATA)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        content = content_of(pipe)
        assert (content.length, content.replayable) == (None, False)
        assert b"".join(taken(content)) == DATA


def test_files_that_the_system_makes_up() -> None:
    """Their size is said to be 0."""
    with Path("/proc/self/status").open("rb") as file:
        content = content_of(file)
        assert content.length is None
        assert b"".join(taken(content)).startswith(b"Name:")
    with Path("/dev/zero").open("rb") as file:
        content = content_of(file)
        assert (content.length, content.replayable) == (None, False)
        assert len(content.take()) == BLOCK_SIZE


def test_what_was_written_before_is_sent(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(b"more")
        file.seek(LENGTH - 1)
        file.write(b"!")
        file.seek(LENGTH - 1)
        assert taken(content_of(file)) == [b"!more"]


@pytest.mark.parametrize("buffering", [0, -1])
@pytest.mark.parametrize("start", [0, 7, LENGTH, LENGTH + 3])
def test_from_the_position_to_the_end(path: Path, buffering: int, start: int) -> None:
    with path.open("rb", buffering) as file:
        file.read(3)
        file.seek(start)
        content = content_of(file)
        assert content.length == max(0, LENGTH - start)
        assert b"".join(taken(content)) == DATA[start:]
        assert file.tell() == max(start, LENGTH)


def test_blocks_are_bounded() -> None:
    content = content_of(io.BytesIO(bytes(2 * BLOCK_SIZE + 1)))
    assert [len(piece) for piece in taken(content)] == [BLOCK_SIZE, BLOCK_SIZE, 1]


# ------------------------------------------------------------------------------- what changes


def test_file_that_shrinks(path: Path) -> None:
    with path.open("r+b") as file:
        content = content_of(file)
        file.truncate(5)
        with pytest.raises(BodyChanged):
            content.take()


def test_file_that_grows(path: Path) -> None:
    """Found out before its last byte is given away."""
    with path.open("rb") as file:
        content = content_of(file)
        with path.open("ab") as other:
            other.write(b"x")
        with pytest.raises(BodyChanged):
            content.take()


def test_other_file_that_grows() -> None:
    file = io.BytesIO(DATA)
    content = content_of(file)
    file.seek(0, os.SEEK_END)
    file.write(b"x")
    file.seek(0)
    with pytest.raises(BodyChanged):
        content.take()


@pytest.mark.parametrize(
    ("pieces", "given", "error"),
    [
        ([b"ab", b"c"], [b"ab", b"c"], None),
        ([b"", b"abc", b""], [b"abc"], None),
        ([b"abc", b"d"], [], ExcessBodyData),
        ([b"ab", b"cd"], [b"ab"], ExcessBodyData),
        ([b"ab"], [b"ab"], BodyChanged),
        ([], [], BodyChanged),
    ],
)
def test_length_is_enforced(
    pieces: list[bytes], given: list[bytes], error: type[Exception] | None
) -> None:
    content = content_of(pieces)
    content.length = 3
    got: list[bytes] = []
    if error is None:
        assert taken(content) == given
        return
    with pytest.raises(error):
        while piece := content.take():
            got.append(bytes(piece))
    assert got == given


@given(st.lists(st.binary(max_size=4)))
def test_pieces_come_as_they_are_but_for_empty_ones(pieces: list[bytes]) -> None:
    assert taken(content_of(iter(pieces))) == [piece for piece in pieces if piece]


# --------------------------------------------------------------------------- what is refused


def _closed(path: Path) -> Any:
    with path.open("rb") as file:
        return file


REFUSED: dict[str, tuple[Callable[[Path], Any], type[Exception]]] = {
    "str": (lambda path: "text", TypeError),
    "int": (lambda path: 5, TypeError),
    "dict": (lambda path: {"a": "b"}, TypeError),
    "StringIO": (lambda path: io.StringIO("text"), TypeError),
    "closed file": (_closed, ValueError),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(kind: str, path: Path) -> None:
    make, error = REFUSED[kind]
    with pytest.raises(error):
        content_of(make(path))


def test_file_not_open_for_reading(path: Path) -> None:
    with path.open("wb") as file, pytest.raises(ValueError, match="reading"):
        content_of(file)


def test_file_that_reads_text(path: Path) -> None:
    class Text(Reader):
        def read(self, size: int) -> Any:
            return super().read(size).decode()

    with pytest.raises(TypeError, match="encode"):
        content_of(Text()).take()


def test_file_in_non_blocking_mode() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with os.fdopen(reading, "rb", buffering=0) as pipe, os.fdopen(writing, "wb"):
        with pytest.raises(ValueError, match="blocking"):
            content_of(pipe).take()


def _numbers() -> Iterator[bytes]:
    yield b"1"
    yield b"2"


class Iterates:
    """An iterator that is no generator."""

    def __init__(self) -> None:
        self._pieces = _numbers()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)


@pytest.mark.parametrize("make", [_numbers, Iterates, Reader])
def test_one_shot_is_not_taken_twice(make: Callable[[], Any]) -> None:
    body = make()
    content_of(body)  # looking is not taking
    content_of(body).take()
    with pytest.raises(StateError):
        content_of(body)
    assert not Request("PUT", "/", None, body).replayable


def test_ended_generator_is_not_an_empty_body() -> None:
    body = _numbers()
    assert len(list(body)) == 2
    with pytest.raises(StateError):
        content_of(body)


def test_list_may_be_given_again() -> None:
    body = [b"a", b"b"]
    assert taken(content_of(body)) == taken(content_of(body)) == body
