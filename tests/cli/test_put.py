"""`dugong put`: files to servers, real ones or the test itself."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.command import (
    COMMAND,
    INTERRUPTED,
    Done,
    Listener,
    called,
    ended,
    failure,
    head,
    run,
    start,
)
from tests.cli.putting import CREATED, LARGE, fed, fields_of, uploaded, url_of
from tests.cli.terminal import Terminal
from tests.support.apps import MIB
from tests.support.servers import Documents, Endpoint, NginxEndpoints, Proxies
from tests.support.uploads import CONTINUE

# --------------------------------------------------------------------- to real servers


def test_large_file(endpoint: Endpoint, documents: Documents) -> None:
    done = run("put", documents.directory / "large.bin", url_of(endpoint, "/upload"))
    assert done == Done(0, b"", "")


def test_arrives_whole(listener: Listener, large: Path) -> None:
    with start("put", large, listener.url("/x")) as process:
        request, body = uploaded(listener)
        assert ended(process) == Done(0, b"", "")
    assert request.startswith(b"PUT /x HTTP/1.1\r\n")
    assert fields_of(request)["expect"] == "100-continue"
    assert hashlib.sha256(body).digest() == hashlib.sha256(LARGE).digest()


def test_pipe(endpoint: Endpoint, documents: Documents) -> None:
    source = documents.directory / "large.bin"
    done = run("put", "-", url_of(endpoint, "/upload"), command=fed(source))
    assert done == Done(0, b"", "")


def test_what_came_through_a_pipe(listener: Listener, large: Path) -> None:
    with (
        start("put", "-", listener.url("/x.tar"), command=fed(large)) as process,
        listener.accept() as sock,
    ):
        fields = fields_of(head(sock))
        sock.sendall(CONTINUE)
        with sock.makefile("rb") as stream:
            body = b""
            while size := int(stream.readline(), 16):
                body += stream.read(size)
                assert stream.readline() == b"\r\n"
            assert stream.readline() == b"\r\n"
        sock.sendall(CREATED)
        assert ended(process) == Done(0, b"", "")
    assert body == LARGE
    assert fields["transfer-encoding"] == "chunked"
    assert fields["content-type"] == "application/x-tar"


def test_redirected_standard_input_has_a_length(listener: Listener, file: Path) -> None:
    command = ["sh", "-c", 'read x; exec "$@" < "$0"', str(file), *COMMAND]
    with start("put", "-", listener.url("/x"), command=command) as process:
        request, body = uploaded(listener)
        assert ended(process) == Done(0, b"", "")
    assert (fields_of(request)["content-length"], body) == ("5", b"hello")


def test_unix_socket(nginx: NginxEndpoints, file: Path) -> None:
    done = run("put", "--unix-socket", nginx.unix_socket, file, "http://anything/upload")
    assert done == Done(0, b"", "")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxy(tinyproxy: Proxies, nginx: NginxEndpoints, large: Path, scheme: str) -> None:
    endpoint = nginx.tls if scheme == "https" else nginx.plain
    done = run("put", "--proxy", tinyproxy.guarded_url(), large, url_of(endpoint, "/upload"))
    assert done == Done(0, b"", "")


# --------------------------------------------------------------------- the request


@pytest.mark.parametrize(
    ("name", "suffix", "target"),
    [
        ("a.txt", "/b.txt", "/b.txt"),
        ("a.txt", "/b", "/b"),
        ("a.txt", "/b/", "/b/a.txt"),
        ("a.txt", "", "/a.txt"),
        ("a.txt", "/b/?c=d/#e", "/b/a.txt?c=d/"),
        ("a.txt", "/b?c=d/", "/b?c=d/"),
        ("a.txt", "/b/?", "/b/a.txt?"),
        ("a.txt", "/b;/;c/?#", "/b;/;c/a.txt?"),
        ("a.txt", "?", "/a.txt?"),
        ("a;", "/", "/a%3B"),
        ("a.txt", "/b;", "/b;"),
        ("a b%2f?#é", "/", "/a%20b%252f%3F%23%C3%A9"),
        (os.fsdecode(b"\xff"), "/", "/%FF"),
    ],
)
def test_target(listener: Listener, folder: Path, name: str, suffix: str, target: str) -> None:
    (folder / name).write_bytes(b"hello")
    with start("put", folder / name, listener.url(suffix)) as process:
        request, body = uploaded(listener)
        assert ended(process) == Done(0, b"", "")
    assert request.decode().splitlines()[0] == f"PUT {target} HTTP/1.1"
    assert body == b"hello"


@pytest.mark.parametrize(
    ("name", "options", "kind"),
    [
        ("a.txt", [], "text/plain"),
        ("a.tar.gz", [], "application/gzip"),
        ("a.unheard-of", [], None),
        ("a.txt", ["--content-type", "text/x"], "text/x"),
        ("a.txt", ["-H", "content-type: text/y"], "text/y"),
        ("a.txt", ["--content-type", ""], None),
    ],
)
def test_content_type(
    listener: Listener, folder: Path, name: str, options: list[str], kind: str | None
) -> None:
    (folder / name).touch()
    with start("put", *options, folder / name, listener.url("/x.html")) as process:
        request, body = uploaded(listener)
        assert ended(process) == Done(0, b"", "")
    fields = fields_of(request)
    assert fields.get("content-type") == kind
    assert (fields["content-length"], body) == ("0", b"")
    assert request.lower().count(b"content-type") == (kind is not None)


def test_fields(listener: Listener, file: Path) -> None:
    with start("put", "-H", "X: 1", "-H", "Content-Length: 5", file, listener.url("/")) as process:
        request, _ = uploaded(listener)
        assert ended(process).status == 0
    assert fields_of(request)["x"] == "1"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["-H", "A b: c", "{file}", "{url}"], "the name of field 1 has a space"),
        (["--content-type", "a\nb", "{file}", "{url}"], "the value of field Content-Type has a"),
        (
            ["--content-type", "a/b", "-H", "content-TYPE: c/d", "{file}", "{url}"],
            "argument --content-type: not allowed with -H Content-Type",
        ),
        (["-", "{url}"], "standard input has no name to add to {url}: give the whole URL"),
        (["{file}"], "give a file and a URL"),
        (["", "{url}"], "a file needs a name that is neither empty"),
        (
            ["--retry", "x", "{file}", "{url}"],
            "argument --retry/--retries: 'x' is not a non-negative integer",
        ),
    ],
)
def test_misuse(listener: Listener, file: Path, args: list[str], message: str) -> None:
    where = {"file": file, "url": listener.url("/")}
    done = called("put", *[arg.format(**where) for arg in args])
    assert (done.status, done.out) == (2, b"")
    assert done.err.startswith("dugong: " + message.format(**where))
    assert done.err.endswith(" (see dugong put --help)\n")
    assert done.err.count("\n") == 1
    assert listener.is_left_alone()


not_for_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may read everywhere")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("none", "No such file or directory"),
        (".", "Is a directory"),
        ("file.txt/x", "Not a directory"),
        ("/proc/self/mem", "Input/output error"),
        pytest.param("shut", "Permission denied", marks=not_for_root),
    ],
)
def test_cannot_read(listener: Listener, file: Path, name: str, why: str) -> None:
    (file.parent / "shut").touch(0o200)
    done = run("put", name, listener.url("/x"), cwd=file.parent)
    assert done == failure(f"{listener.url('/x')}: cannot read {name}: {why}")
    assert listener.is_left_alone()


def test_standard_input_is_closed(listener: Listener) -> None:
    command = ["sh", "-c", 'exec "$@" <&-', "sh", *COMMAND]
    done = run("put", "-", listener.url("/x"), command=command)
    assert done == failure(f"{listener.url('/x')}: cannot read standard input: it is closed")


def test_file_of_the_system(listener: Listener) -> None:
    """It has a length of 0, until it is read."""
    with (
        start("put", "/proc/version", listener.url("/x")) as process,
        listener.accept() as sock,
    ):
        assert fields_of(head(sock))["transfer-encoding"] == "chunked"
        sock.sendall(CONTINUE)
        received = b""
        while not received.endswith(b"\r\n0\r\n\r\n"):
            received += sock.recv(4096)
        sock.sendall(CREATED)
        assert ended(process) == Done(0, b"", "")
    assert Path("/proc/version").read_bytes() in received


def test_help() -> None:
    done = run("put", "--help")
    assert (done.status, done.err) == (0, "")
    for words in (b"--content-type", b"-H", b"--retry", b"--proxy", b"examples:", b"slash"):
        assert words in done.out
    assert max(map(len, done.out.splitlines())) <= 100


# --------------------------------------------------------------------- in a terminal


def shows_at_least(least: int) -> Callable[[list[str]], bool]:
    """Return what tells whether a screen shows so many MiB, of 24."""

    def looks_right(lines: list[str]) -> bool:
        amounts = re.findall(r" (\d+\.\d) of 24\.0 MiB", " ".join(lines))
        return bool(amounts) and float(amounts[0]) >= least

    return looks_right


def test_in_a_terminal(listener: Listener, large: Path) -> None:
    url = listener.url("/x/")
    # The system would otherwise take the last third at once, if it has time to grow its buffers.
    listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    with Terminal(*COMMAND, "put", large, url, columns=150) as terminal:
        with listener.accept() as sock:
            head(sock)
            sock.sendall(CONTINUE)
            # On its way: how much there is, how fast, and how long it will take.
            got = 0
            for share in (8, 16):
                while got < share * MIB:
                    got += len(sock.recv(1 << 20))
                terminal.await_screen(shows_at_least(share))
            pattern = re.compile(r"large\.bin \S+ +\S+ of 24\.0 MiB +\S+ \S+/s +\S+ left")
            terminal.await_screen(lambda lines: any(map(pattern.fullmatch, lines)))
            while got < len(LARGE):
                got += len(sock.recv(1 << 20))
            sock.sendall(CREATED)
        status, _ = terminal.ended()
        lines = terminal.screen()
    assert status == 0
    assert re.fullmatch(r"large\.bin \S+ +24\.0 MiB +\S+ \S+/s +in \S+( s)?", lines[0])
    assert lines[1:] == [f"{large} is stored as {url}large.bin (201 Created)"]


def test_confirmation_goes_to_a_terminal_only(
    listener: Listener, file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with Terminal(*COMMAND, "put", file, listener.url("/x"), stdout=str(out)) as terminal:
        uploaded(listener)
        status, shown = terminal.ended()
    assert (status, out.read_bytes()) == (0, b"")
    assert "stored" not in shown
    assert "file.txt" in shown


@pytest.mark.usefixtures("interruptible")
def test_interrupted(listener: Listener, large: Path) -> None:
    with start("put", large, listener.url("/x")) as process, listener.accept() as sock:
        head(sock)
        sock.sendall(CONTINUE)
        sock.recv(1)
        process.send_signal(signal.SIGINT)
        assert ended(process) == Done(INTERRUPTED, b"", "")


def test_typed(listener: Listener) -> None:
    with Terminal(*COMMAND, "put", "-", listener.url("/x"), columns=150) as terminal:
        with listener.accept() as sock:
            head(sock)
            sock.sendall(CONTINUE)
            received = b""
            terminal.type(b"hello\n")
            while b"hello" not in received:
                received += sock.recv(4096)
            terminal.type(b"\x04")
            while not received.endswith(b"0\r\n\r\n"):
                received += sock.recv(4096)
            sock.sendall(CREATED)
        status, _ = terminal.ended()
        lines = terminal.screen()
    assert received == b"6\r\nhello\n\r\n0\r\n\r\n"
    assert status == 0
    assert lines[-1] == f"standard input is stored as {listener.url('/x')} (201 Created)"


def test_ctrl_c_in_a_terminal(listener: Listener, large: Path) -> None:
    with (
        Terminal(*COMMAND, "put", large, listener.url("/x")) as terminal,
        listener.accept() as sock,
    ):
        head(sock)
        terminal.await_words("large.bin")
        terminal.type(b"\x03")
        status, shown = terminal.ended()
    assert status == INTERRUPTED
    assert "Traceback" not in shown
    assert "stored" not in shown
