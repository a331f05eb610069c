"""`dugong get`: where documents go, and what is left when they do not get there."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from pathlib import Path

import pytest

from tests.cli.command import (
    COMMAND,
    INTERRUPTED,
    NOT_FOUND,
    OK,
    ONCE,
    Done,
    Listener,
    ended,
    failure,
    head,
    run,
    start,
)
from tests.cli.terminal import Terminal
from tests.support.apps import MIB

pytestmark = pytest.mark.slow

#: More than sockets and pipes hold: a sender gets rid of it only as the command takes it.
BLOCK = bytes(range(256)) * (32 * MIB // 256)
LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * len(BLOCK))

not_for_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


UNTOUCHED = {"old": b"before"}


# --------------------------------------------------------------------- files


def test_output_file(listener: Listener, folder: Path) -> None:
    (folder / "old").chmod(0o600)
    (folder / "link").symlink_to("old")
    for name in ("new", "old", "link"):
        with start("get", listener.url("/x"), "-o", name, cwd=folder) as process:
            listener.serve(OK)
            assert ended(process) == Done(0, b"", "")
        assert (folder / name).read_bytes() == b"hello"
        (folder / "old").write_text("before")
    assert (folder / "link").is_symlink()
    assert (folder / "old").stat().st_mode & 0o777 == 0o600
    assert sorted(contents(folder)) == ["link", "new", "old"]


def test_output_with_its_head(listener: Listener, folder: Path) -> None:
    with start("get", "--show-headers", "-o", "old", listener.url(), cwd=folder) as process:
        listener.serve(OK)
        assert ended(process) == Done(0, b"", "")
    assert contents(folder) == {"old": OK}


def test_remote_names(listener: Listener, folder: Path) -> None:
    urls = [listener.url(path) for path in ("/a/old", "/gone", "/b c.txt?q=/d#/e", "/%2e")]
    # Options and URLs may be mixed.
    with start("get", urls[0], "-O", *urls[1:], cwd=folder) as process:
        listener.serve(OK, NOT_FOUND, OK, OK)
        assert ended(process) == failure(f"{urls[1]}: the server responded with 404 Not Found")
    assert contents(folder) == {"old": b"hello", "b c.txt": b"hello", "%2e": b"hello"}


def test_the_file_appears_when_it_is_complete(listener: Listener, folder: Path) -> None:
    with (
        start("get", "-o", "old", listener.url(), cwd=folder) as process,
        listener.accept() as sock,
    ):
        head(sock)
        sock.sendall(LARGE + BLOCK)
        assert sorted(contents(folder)) == ["old", "old.part", "old.part.json"]
        assert (folder / "old.part").stat().st_size > 0
        assert (folder / "old").read_bytes() == b"before"
        sock.sendall(BLOCK)
        assert ended(process) == Done(0, b"", "")
    assert contents(folder) == {"old": BLOCK + BLOCK}


@pytest.mark.parametrize("response", [NOT_FOUND, OK[:-1], LARGE + BLOCK])
def test_a_failure_leaves_no_trace(listener: Listener, folder: Path, response: bytes) -> None:
    for name in ("old", "new"):
        with start("get", *ONCE, "-o", name, listener.url(), cwd=folder) as process:
            listener.serve(response)
            done = ended(process)
        assert (done.status, done.out) == (1, b"")
        assert done.err.count("\n") == 1
        assert contents(folder) == UNTOUCHED


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (".", "Is a directory"),
        ("none/x", "No such file or directory"),
        ("old/x", "Not a directory"),
        ("loop", "Too many levels of symbolic links"),
        ("x" * 300, "File name too long"),
        ("/dev/full", "No space left on device"),
        pytest.param("shut/x", "Permission denied", marks=not_for_root),
        pytest.param("mine", "Permission denied", marks=not_for_root),
    ],
)
def test_cannot_write(listener: Listener, folder: Path, name: str, why: str) -> None:
    (folder / "loop").symlink_to("loop")
    (folder / "shut").mkdir(0o500)
    (folder / "mine").touch(0o400)
    before = sorted(folder.rglob("*"))
    with start("get", "-o", name, listener.url(), cwd=folder) as process:
        if name not in (".", "x" * 300):  # otherwise, nothing is even requested
            listener.serve(OK)
        assert ended(process) == failure(f"{listener.url()}: cannot write {name}: {why}")
    assert sorted(folder.rglob("*")) == before
    assert (folder / "mine").stat().st_size == 0


def test_longest_name(listener: Listener, folder: Path) -> None:
    name = "x" * os.pathconf(folder, "PC_NAME_MAX")
    with start("get", "-o", name, listener.url(), cwd=folder) as process:
        listener.serve(OK)
        assert ended(process) == Done(0, b"", "")
    assert contents(folder) == {**UNTOUCHED, name: b"hello"}


def test_device(listener: Listener) -> None:
    with start("get", "-o", os.devnull, listener.url()) as process:
        listener.serve(OK)
        assert ended(process) == Done(0, b"", "")
    assert Path(os.devnull).is_char_device()


def test_fifo(listener: Listener, folder: Path) -> None:
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    with start("get", "-o", fifo, listener.url()) as process:
        listener.serve(OK)
        assert fifo.read_bytes() == b"hello"
        assert ended(process) == Done(0, b"", "")
    # A reader who has had enough.
    with start("get", "-o", fifo, listener.url()) as process, listener.accept() as sock:
        head(sock)
        sock.sendall(LARGE)
        with fifo.open("rb") as file:
            sock.sendall(BLOCK[:1000])
            assert file.read(1000) == BLOCK[:1000]
        sock.sendall(BLOCK[:1000])
        assert ended(process) == failure(f"{listener.url()}: cannot write {fifo}: Broken pipe")
    assert fifo.is_fifo()


# --------------------------------------------------------------------- standard output


def test_output_dash(listener: Listener, folder: Path) -> None:
    with start("get", "-o", "-", listener.url(), cwd=folder) as process:
        listener.serve(OK)
        assert ended(process) == Done(0, b"hello", "")
    assert contents(folder) == UNTOUCHED


def test_nobody_reads_on(listener: Listener) -> None:
    """As with ``| head -1``: no word about it, and nothing more is asked for."""
    with start("get", listener.url("/1"), listener.url("/2")) as process:
        with listener.accept() as sock:
            assert process.stdout is not None
            head(sock)
            sock.sendall(LARGE + BLOCK[:1000])
            assert process.stdout.read(1000) == BLOCK[:1000]
            process.stdout.close()
            sock.sendall(BLOCK[:1000])
            assert sock.recv(1) == b""
        process.stdout = None  # it is closed: nothing for communicate() to read
        assert ended(process) == Done(1, b"", "")
    assert listener.is_left_alone()


def test_standard_output_is_full(listener: Listener) -> None:
    message = "cannot write to standard output: No space left on device"
    with Path("/dev/full").open("wb") as full:
        with start("get", listener.url("/1"), listener.url("/2"), stdout=full.fileno()) as process:
            listener.serve(OK)
            assert ended(process) == failure(message)
        for args in (["get", "--help"], ["--help"], ["--version"]):
            for unbuffered in ([], ["-u"]):
                command = [COMMAND[0], *unbuffered, *COMMAND[1:]]
                with start(*args, stdout=full.fileno(), command=command) as process:
                    assert ended(process) == failure(message)
    assert listener.is_left_alone()


def closing(redirection: str) -> list[str]:
    """Return the command run by a shell that closes a descriptor."""
    return ["sh", "-c", f'exec "$@" {redirection}', "sh", *COMMAND]


def test_standard_output_is_closed(listener: Listener) -> None:
    with start("get", listener.url(), command=closing(">&-")) as process:
        listener.serve(OK)
        assert ended(process) == failure("cannot write to standard output: it is closed")
    for args in (["get", "--help"], ["--version"]):
        done = run(*args, command=closing(">&-"))
        assert done == failure("cannot write to standard output: it is closed")


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_standard_error_is_no_use(listener: Listener, redirection: str) -> None:
    urls = [listener.url("/1"), listener.url("/2")]
    with start("get", *urls, command=closing(redirection)) as process:
        listener.serve(NOT_FOUND, OK)
        assert ended(process) == Done(1, b"hello", "")


def test_standard_output_is_non_blocking(listener: Listener) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with start("get", listener.url(), stdout=writer) as process, os.fdopen(reader, "rb") as file:
        os.close(writer)
        sender = threading.Thread(target=listener.serve, args=[LARGE + BLOCK + BLOCK])
        sender.start()
        out = file.read()
        sender.join()
        assert ended(process) == Done(0, b"", "")
    assert out == BLOCK + BLOCK


NOTING_SYNCS = """
import os, sys
from dugong.cli import main

fsync = os.fsync

def noting(fd):
    fsync(fd)
    print("on the disk:", os.fstat(fd).st_size, *sorted(os.listdir()), file=sys.stderr)

os.fsync = noting
sys.exit(main())
"""


def test_on_the_disk_before_it_gets_its_name(listener: Listener, folder: Path) -> None:
    """So that a name never outlives, in a power cut, what it is the name of."""
    command = [sys.executable, "-W", "error", "-c", NOTING_SYNCS]
    with start("get", "-o", "new", listener.url(), cwd=folder, command=command) as process:
        listener.serve(OK)
        assert ended(process) == Done(0, b"", "on the disk: 5 old\n")
    assert contents(folder) == UNTOUCHED | {"new": b"hello"}


# --------------------------------------------------------------------- Ctrl-C


@pytest.mark.usefixtures("interruptible")
def test_interrupted(listener: Listener, folder: Path) -> None:
    for name in ("old", "new"):
        with start("get", "-o", name, listener.url(), cwd=folder) as process:
            with listener.accept() as sock:
                head(sock)
                sock.sendall(LARGE + BLOCK)
                assert f"{name}.part" in contents(folder)
                process.send_signal(signal.SIGINT)
                assert ended(process) == Done(INTERRUPTED, b"", "")
        assert contents(folder) == UNTOUCHED


def test_in_a_terminal(listener: Listener) -> None:
    urls = [listener.url("/1"), listener.url("/2")]
    with Terminal(*COMMAND, "get", *urls) as terminal:
        listener.serve(OK, NOT_FOUND)
        shown = f"hellodugong: {urls[1]}: the server responded with 404 Not Found\n"
        assert terminal.ended() == (1, shown)


def test_ctrl_c_in_a_terminal(listener: Listener, folder: Path) -> None:
    file = folder / "old"
    command = [*COMMAND, "get", "-o", str(file), listener.url()]
    with Terminal(*command) as terminal, listener.accept() as sock:
        head(sock)
        terminal.type(b"\x03")
        assert terminal.ended() == (INTERRUPTED, "^C")
    assert contents(folder) == UNTOUCHED


@pytest.mark.parametrize("command", ["get", "check"])
def test_ctrl_c_ends_the_loop_of_a_shell(listener: Listener, command: str) -> None:
    """A shell goes on with its loop unless the signal has ended the command."""
    line = f"{shlex.join(COMMAND)} {command} {listener.url()}"
    script = f"for i in 1 2; do {line}; done; echo not ended"
    with Terminal("/bin/bash", "-c", script) as terminal, listener.accept() as sock:
        head(sock)
        terminal.type(b"\x03")
        status, shown = terminal.ended()
    assert (status, shown.strip()) == (INTERRUPTED, "^C")
    assert listener.is_left_alone()
