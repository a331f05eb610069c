"""Files that are no bodies, and those that stop giving bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.drive import drive
from tests.support.exchanges import OK, works
from tests.support.in_turn import in_turn
from tests.support.uploads import complete
from tests.support.wire import Wire

Open = Callable[[Path], Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(TEXT)
    return path


TEXT = b"0123\n" * 400


# ------------------------------------------------------------------------------ no files


def closed(path: Path) -> Any:
    file = path.open("rb")
    file.close()
    return file


def closed_bytes(path: Path) -> Any:
    file = io.BytesIO(TEXT)
    file.close()
    return file


NO_FILES: dict[str, tuple[Open, type[Exception] | tuple[type[Exception], ...]]] = {
    "text": (lambda path: path.open(), TypeError),
    "StringIO": (lambda path: io.StringIO("text"), TypeError),
    "wrapped text": (lambda path: io.TextIOWrapper(path.open("rb")), TypeError),
    "path": (lambda path: path, TypeError),
    "closed": (closed, ValueError),
    "closed BytesIO": (closed_bytes, ValueError),
    "for writing": (lambda path: path.with_suffix(".new").open("wb"), (ValueError, OSError)),
    "class": (lambda path: io.BytesIO, TypeError),
}


@pytest.mark.parametrize("kind", NO_FILES)
def test_no_file(plain: Wire, ask: Any, path: Path, kind: str) -> None:
    open_, error = NO_FILES[kind]
    conn, peer = plain.pair()
    file = open_(path)
    with pytest.raises(error):
        drive(ask(conn, "PUT", body=file), peer)
    assert conn.bytes_sent == 0
    works(conn, peer)
    if hasattr(file, "close") and not isinstance(file, type):
        file.close()


class Giving:
    """A file that gives these things, one at each reading."""

    def __init__(self, *things: Any) -> None:
        self._things = iter(things)

    def read(self, size: int = -1) -> Any:
        return next(self._things, b"")


@in_turn("bad", ["text", None, 3, "", ZeroDivisionError()])
@in_turn("first", [(), (b"abc",)])
def test_reading_gives_something_else(plain: Wire, ask: Any, first: Any, bad: Any) -> None:
    """That is never taken for the end."""

    class Raising(Giving):
        def read(self, size: int = -1) -> Any:
            thing = super().read(size)
            if isinstance(thing, Exception):
                raise thing
            return thing

    for headers in ({}, {"Content-Length": "4"}, {"Content-Length": "5"}):
        conn, peer = plain.pair()
        peer.expect_request()
        peer.reply(OK)
        with pytest.raises((TypeError, ValueError, BlockingIOError, ZeroDivisionError)):
            file = Raising(*first, bad, b"de")
            drive(ask(conn, "PUT", headers=headers, body=file, expect100=False), peer)
        assert not complete(peer)
        with pytest.raises(Exception):  # noqa: B017 - of whatever class, nothing is sent
            drive(conn.co_send_request("GET", "/again"), peer)
        complete(peer)
        assert b"/again" not in peer.received


def test_blocks_of_any_kind(plain: Wire, ask: Any) -> None:
    conn, peer = plain.pair()
    file = Giving(bytearray(b"ab"), memoryview(b"cdef").cast("I"), b"g")
    peer.expect_request(body=b"abcdefg")
    peer.reply(OK)
    drive(ask(conn, "PUT", body=file, expect100=False), peer)
    assert peer.requests[0].chunks == (b"ab", b"cdef", b"g")
    works(conn, peer)
