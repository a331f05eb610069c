"""Progress bars: on a terminal, and nothing at all elsewhere."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
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
    head,
    start,
    without_extra,
)
from tests.cli.terminal import Terminal
from tests.support.apps import MIB

PART = bytes(MIB)
LONG = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: %d\r\n\r\n' % (10 * MIB)
REST = (
    b'HTTP/1.1 206 Partial Content\r\nETag: "1"\r\nContent-Range: bytes %d-%d/%d\r\n'
    b"Content-Length: %d\r\n\r\n" % (6 * MIB, 10 * MIB - 1, 10 * MIB, 4 * MIB)
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def in_last_line(pattern: str) -> Callable[[list[str]], bool]:
    """Return what tells whether the last line of a screen has *pattern* in it."""
    return lambda lines: bool(lines) and bool(re.search(pattern, lines[-1]))


@pytest.mark.usefixtures("folder")
def test_on_a_terminal(listener: Listener) -> None:
    urls = [listener.url(path) for path in ("/a.iso", "/gone", "/b")]
    with (
        Terminal(*COMMAND, "get", "-O", *urls) as terminal,
        listener.accept() as sock,
    ):
        head(sock)
        sock.sendall(LONG + 4 * PART)
        terminal.await_screen(in_last_line(r"4\.0 of 10\.0 MiB"))
        sock.sendall(2 * PART)
        [line] = terminal.await_screen(
            in_last_line(r"6\.0 of 10\.0 MiB +\d.* [KM]iB/s +0:\d\d left")
        )
        assert line.startswith("a.iso ━━━")
        sock.sendall(4 * PART)
        head(sock)
        sock.sendall(NOT_FOUND)
        head(sock)
        sock.sendall(OK)
        status, _ = terminal.ended()
    assert status == 1
    first, complaint, second = terminal.screen()
    assert re.fullmatch(r"a\.iso ━+ 10\.0 MiB .* [KM]iB/s in \d\.\d s", first)
    assert complaint == f"dugong: {urls[1]}: the server responded with 404 Not Found"
    assert re.fullmatch(r"b ━+ 5 bytes +\S+ \S+/s in \d\.\d s", second)
    assert Path("a.iso").read_bytes() == 10 * PART


@pytest.mark.usefixtures("folder")
def test_goes_on_and_is_interrupted(listener: Listener) -> None:
    command = [*COMMAND, "get", "-O", "--retry-delay", "0.01", listener.url("/a")]
    with Terminal(*command, columns=160) as terminal:
        listener.serve(LONG + 6 * PART)
        with listener.accept() as sock:
            head(sock)
            sock.sendall(REST + PART)
            terminal.await_screen(in_last_line(r"7\.0 of 10\.0 MiB"))
            terminal.type(b"\x03")
            status, _ = terminal.ended()
    assert status == INTERRUPTED
    again, interrupted = terminal.screen()
    prefix = f"dugong: {listener.url('/a')}: "
    assert again.startswith(
        f"{prefix}the connection ended 4194304 bytes before the end of the body; try"
    )
    assert interrupted == f"{prefix}interrupted; --continue resumes a.part (7.0 MiB)"


@pytest.mark.usefixtures("folder")
def test_a_server_that_is_not_there(refused: str) -> None:
    """That is reported at once. It is tried again if the user wants that, and says so."""
    urls = [f"http://{refused}/{name}" for name in "ab"]
    why = f"cannot connect to {refused}: Connection refused"
    options = ["-O", "--retry", "2", "--retry-delay", "0.01"]
    with Terminal(*COMMAND, "get", *options, *urls, columns=160) as terminal:
        assert terminal.ended()[0] == 1
    assert terminal.screen() == [f"dugong: {url}: {why}" for url in urls]
    command = [*COMMAND, "get", *options, "--retry-connrefused", urls[0]]
    with Terminal(*command, columns=160) as terminal:
        assert terminal.ended()[0] == 1
    again = rf"dugong: {urls[0]}: {why}; trying again in 0\.\d s"
    first, second, failed = terminal.screen()
    assert re.fullmatch(again, first)
    assert re.fullmatch(again, second)
    assert failed == f"dugong: {urls[0]}: {why}"


@pytest.mark.usefixtures("folder")
def test_length_unknown_on_a_narrow_terminal(listener: Listener) -> None:
    name = "a-very-long-name-of-a-file[bold]\u00ad.tar.gz"
    with (
        Terminal(*COMMAND, "get", "-O", listener.url(f"/{name}"), columns=40) as terminal,
        listener.accept() as sock,
    ):
        head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        [line] = terminal.await_screen(in_last_line("5 bytes"))
        assert line.startswith("a-very-long-… ")
        sock.sendall(b"0\r\n\r\n")
        assert terminal.ended()[0] == 0
    [line] = terminal.screen()
    assert line.startswith("a-very-long-… ")
    assert len(line) <= 40


@pytest.mark.parametrize("where", ["terminal", "file"])
def test_nothing_when_it_is_printed(listener: Listener, folder: Path, where: str) -> None:
    """What is printed may be read by what draws on the same terminal."""
    out = "" if where == "terminal" else "out"
    with Terminal(*COMMAND, "get", listener.url(), stdout=out) as terminal:
        listener.serve(OK)
        assert terminal.ended() == (0, "" if out else "hello")
    assert [path.name for path in folder.iterdir()] == ([out] if out else [])


@pytest.mark.usefixtures("folder")
def test_nothing_in_a_pipe(listener: Listener) -> None:
    with start("get", "-O", "--retry-delay", "0.01", listener.url("/a")) as process:
        listener.serve(LONG + 6 * PART)
        listener.serve(REST + 4 * PART)
        assert ended(process) == Done(0, b"", "")
    assert Path("a").stat().st_size == 10 * MIB


# --------------------------------------------------------------------- without the extra


@pytest.mark.usefixtures("folder")
def test_get_without_extra(listener: Listener) -> None:
    """No bar, but as many attempts."""
    url = listener.url("/a")
    options = ["get", "-O", "--retry-delay", "0.01", url]
    with Terminal(*without_extra(*options), columns=160) as terminal:
        listener.serve(LONG + 6 * PART)
        listener.serve(REST + 4 * PART)
        status, shown = terminal.ended()
    assert status == 0
    message = "the connection ended 4194304 bytes before the end of the body"
    assert re.fullmatch(rf"dugong: {url}: {message}; trying again in 0\.0 s\n", shown)
    assert Path("a").stat().st_size == 10 * MIB


@pytest.mark.parametrize("args", [["time", "http://[::1]:1/"], ["check", "http://[::1]:1/"]])
def test_others_without_extra(args: list[str]) -> None:
    with start(*args, command=without_extra()) as process:
        message = f"dugong: {args[0]} needs additional packages: pip install 'dugong[cli]'\n"
        assert ended(process) == Done(2, b"", message)
    with start(args[0], "--help", command=without_extra()) as process:
        assert ended(process).status == 0


def test_nothing_of_the_extra_is_loaded() -> None:
    code = "import sys; from dugong.cli import main; main(['get', *sys.argv[1:]]); "
    code += "sys.exit(bool({'rich', 'selectolax', 'asyncio'} & set(sys.modules)))"
    with start(*ONCE, "http://127.0.0.1:1", command=[sys.executable, "-c", code]) as process:
        assert ended(process).status == 0
