"""The command: where documents go, and what is left when they do not get there."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.apps import MIB
from tests.test_cli import (
    COMMAND,
    NOT_FOUND,
    OK,
    PATIENCE,
    Done,
    Listener,
    ended,
    failure,
    head,
    run,
    start,
)

#: More than sockets and pipes hold: a sender gets rid of it only as the command takes it.
BLOCK = bytes(range(256)) * (32 * MIB // 256)
LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * len(BLOCK))

not_for_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as listener:
        yield listener


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with nothing in it but a document."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old").write_text("before")
    return folder


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
    with start("get", "-i", "-o", "old", listener.url(), cwd=folder) as process:
        listener.serve(OK)
        assert ended(process) == Done(0, b"", "")
    assert contents(folder) == {"old": OK}


def test_remote_names(listener: Listener, folder: Path) -> None:
    urls = [listener.url(path) for path in ("/a/old", "/gone", "/b c.txt?q=/d#/e", "/%2e")]
    # Options and URLs may be mixed.
    with start("get", urls[0], "-O", *urls[1:], cwd=folder) as process:
        listener.serve(OK, NOT_FOUND, OK, OK)
        assert ended(process) == failure(f"{urls[1]}: the server said 404 Not Found")
    assert contents(folder) == {"old": b"hello", "b c.txt": b"hello", "%2e": b"hello"}


def test_the_file_appears_when_it_is_complete(listener: Listener, folder: Path) -> None:
    with (
        start("get", "-o", "old", listener.url(), cwd=folder) as process,
        listener.accept() as sock,
    ):
        head(sock)
        sock.sendall(LARGE + BLOCK)
        [part] = [path for path in folder.iterdir() if path.name != "old"]
        assert part.suffix == ".part"
        assert part.stat().st_size > 0
        assert (folder / "old").read_bytes() == b"before"
        sock.sendall(BLOCK)
        assert ended(process) == Done(0, b"", "")
    assert contents(folder) == {"old": BLOCK + BLOCK}


@pytest.mark.parametrize("response", [NOT_FOUND, OK[:-1], LARGE + BLOCK])
def test_a_failure_leaves_no_trace(listener: Listener, folder: Path, response: bytes) -> None:
    for name in ("old", "new"):
        with start("get", "-o", name, listener.url(), cwd=folder) as process:
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
        with start("get", "--help", stdout=full.fileno()) as process:
            assert ended(process) == failure(message)
    assert listener.is_left_alone()


def closing(redirection: str) -> list[str]:
    """Return the command run by a shell that closes a descriptor."""
    return ["sh", "-c", f'exec "$@" {redirection}', "sh", *COMMAND]


def test_standard_output_is_closed(listener: Listener) -> None:
    with start("get", listener.url(), command=closing(">&-")) as process:
        listener.serve(OK)
        assert ended(process) == failure("cannot write to standard output: it is closed")
    assert run("get", "--help", command=closing(">&-")).status == 0


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


# --------------------------------------------------------------------- Ctrl-C


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Have SIGINT mean something, even where the tests run in the background, without it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_interrupted(listener: Listener, folder: Path) -> None:
    for name in ("old", "new"):
        with start("get", "-o", name, listener.url(), cwd=folder) as process:
            with listener.accept() as sock:
                head(sock)
                sock.sendall(LARGE + BLOCK)
                assert len(contents(folder)) == 2
                process.send_signal(signal.SIGINT)
                assert ended(process) == Done(130, b"", "")
        assert contents(folder) == UNTOUCHED


#: A process that has a terminal, and in it runs what it is told to.
IN_TERMINAL = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)  # as a shell has it
fd = os.open(sys.argv[1], os.O_RDWR)  # a session's first terminal is the one that controls it
for standard in range(3):
    os.dup2(fd, standard)
os.close(fd)
os.execv(sys.argv[2], sys.argv[2:])
"""


class Terminal:
    """A terminal in which *command* runs; the test is who sits there."""

    def __init__(self, *command: str | Path) -> None:
        self._near, self._far = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", IN_TERMINAL, os.ttyname(self._far), *command],
            start_new_session=True,
        )
        self._shown = b""

    def type(self, keys: bytes) -> None:
        os.write(self._near, keys)

    def await_words(self, words: str) -> None:
        """Wait until *words* have been shown."""
        while words.encode() not in self._shown:
            self._shown += os.read(self._near, 4096)

    def ended(self) -> tuple[int, str]:
        """Return the exit status, and all that was shown."""
        os.close(self._far)
        self._far = -1
        try:
            while more := os.read(self._near, 4096):
                self._shown += more
        except OSError:  # the system's way of saying that the far end is closed
            pass
        return self.process.wait(PATIENCE), self._shown.decode().replace("\r\n", "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._near)
        if self._far >= 0:
            os.close(self._far)


def test_in_a_terminal(listener: Listener) -> None:
    urls = [listener.url("/1"), listener.url("/2")]
    with Terminal(*COMMAND, "get", *urls) as terminal:
        listener.serve(OK, NOT_FOUND)
        shown = f"hellodugong: {urls[1]}: the server said 404 Not Found\n"
        assert terminal.ended() == (1, shown)


def test_ctrl_c_in_a_terminal(listener: Listener, folder: Path) -> None:
    file = folder / "old"
    command = [*COMMAND, "get", "-o", str(file), listener.url()]
    with Terminal(*command) as terminal, listener.accept() as sock:
        head(sock)
        terminal.type(b"\x03")
        assert terminal.ended() == (130, "^C")
    assert contents(folder) == UNTOUCHED
