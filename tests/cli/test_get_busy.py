"""Servers that are busy: `dugong get` asks again, and not before they have said."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.cli.command import (
    COMMAND,
    OK,
    Done,
    Listener,
    ended,
    failure,
    sleepless,
    start,
    without_extra,
)
from tests.cli.terminal import Terminal

pytestmark = pytest.mark.slow

SOON = ["--retry-delay", "0.01"]

LATER = "Wed, 21 Oct 2026 07:28:07 GMT"
NOW = "Wed, 21 Oct 2026 07:28:00 GMT"

#: More than what is kept without a part.
SIZE = 2 << 20
CUT = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: %d\r\n\r\nhell' % SIZE
REST = (
    b'HTTP/1.1 206 Partial Content\r\nETag: "1"\r\nContent-Range: bytes 4-%d/%d\r\n'
    b"Content-Length: %d\r\n\r\n" % (SIZE - 1, SIZE, SIZE - 4)
) + bytes(SIZE - 4)


def busy(status: str = "503 Busy", *fields: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Length: 4", *fields]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode() + b"wait"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("status", ["429 Slow", "502 Bad", "503 Busy", "504 Late"])
@pytest.mark.parametrize("kept", [True, False])
def test_is_asked_again(listener: Listener, folder: Path, status: str, kept: bool) -> None:
    """Over the same connection if that is there."""
    with start("get", "-O", *SOON, listener.url("/x"), cwd=folder) as process:
        if kept:
            listener.serve(busy(status), busy(status, "Retry-After: 0"), OK)
        else:
            listener.serve(busy(status))
            listener.serve(busy(status, f"Retry-After: {LATER}", f"Date: {LATER}"))
            listener.serve(OK)
        assert ended(process) == Done(0, b"", "")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"x": b"hello"}


def test_is_left_alone_meanwhile(listener: Listener) -> None:
    with start("get", *SOON, listener.url("/x"), command=sleepless()) as process:
        listener.serve(busy("503 Busy", "Retry-After: 50"), OK)
        assert ended(process) == Done(0, b"hello", "slept for 50 s\n")


def test_patience_ends(listener: Listener, folder: Path) -> None:
    url = listener.url("/x")
    with start("get", "-O", *SOON, "--retries", "2", url, cwd=folder) as process:
        listener.serve(*3 * [busy()])
        assert ended(process) == failure(f"{url}: the server responded with 503 Busy")
    assert listener.is_left_alone()
    assert [*folder.iterdir()] == []


@pytest.mark.parametrize(
    ("fields", "when"),
    [
        (["Retry-After: 61"], "61 s"),
        (["Retry-After: Wed, 21 Oct 2026 08:28:00 GMT", f"Date: {NOW}"],
         "Wed, 21 Oct 2026 08:28:00 GMT"),
    ],
)  # fmt: skip
def test_wants_to_be_left_alone_for_long(listener: Listener, fields: list[str], when: str) -> None:
    url = listener.url("/x")
    with start("get", *SOON, url) as process:
        listener.serve(busy("503 Busy", *fields))
        message = f"{url}: the server responded with 503 Busy (try again after {when})"
        assert ended(process) == failure(message)
    assert listener.is_left_alone()


def test_what_was_there_stays(listener: Listener, folder: Path) -> None:
    """For another day, on which the server is not busy."""
    url = listener.url("/x")
    rest = "--continue resumes x.part (4 bytes)"
    with start("get", "-O", *SOON, "--retry", "1", url, cwd=folder) as process:
        listener.serve(CUT)
        listener.serve(busy())
        assert ended(process) == failure(f"{url}: the server responded with 503 Busy; {rest}")
    with start("get", "-O", "--continue", *SOON, url, cwd=folder) as process:
        asked = listener.serve(busy(), REST)
        assert ended(process) == Done(0, b"", "")
    assert [b"\r\nRange: bytes=4-\r\n" in request for request in asked] == [True, True]
    assert [path.name for path in folder.iterdir()] == ["x"]
    assert (folder / "x").read_bytes() == b"hell" + bytes(SIZE - 4)


def test_without_the_extra(listener: Listener) -> None:
    """Nothing of it is needed."""
    urls = [listener.url("/1"), listener.url("/2")]
    with start("get", *SOON, *urls, command=without_extra()) as process:
        listener.serve(busy("503 Busy", "Retry-After: 0"), OK, OK)
        assert ended(process) == Done(0, b"hellohello", "")


def test_when_is_told_in_a_terminal(listener: Listener) -> None:
    """When it is really asked again, and not when that would be without Retry-After."""
    command = [*COMMAND, "get", *SOON, listener.url("/x")]
    with Terminal(*command, stdout=os.devnull, columns=160) as terminal:
        listener.serve(busy("503 Busy", "Retry-After: 60"))
        [line] = terminal.await_screen(bool)
    assert re.search(r"503 Service Unavailable; trying again in 60\.0 s", line)


@pytest.mark.parametrize("status", ["500 No", "501 Never", "404 Gone"])
def test_others_are_for_good(listener: Listener, status: str) -> None:
    url = listener.url("/x")
    with start("get", *SOON, url) as process:
        listener.serve(busy(status, "Retry-After: 0"))
        assert ended(process) == failure(f"{url}: the server responded with {status}")
    assert listener.is_left_alone()


def test_one_of_several(listener: Listener) -> None:
    """The others wait for their turn."""
    with start("get", *SOON, *map(listener.url, ["/1", "/2", "/3"])) as process:
        asked = listener.serve(OK, busy(), OK.replace(b"hello", b"2nd.."), OK)
        assert ended(process) == Done(0, b"hello2nd..hello", "")
    assert [request.split()[1] for request in asked] == [b"/1", b"/2", b"/2", b"/3"]
