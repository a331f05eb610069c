"""`dugong check`: where it has its URLs from, and how it gets on with the terminal."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import time
import zlib
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.addresses import HOSTS, check, objects
from tests.cli.command import (
    COMMAND,
    INTERRUPTED,
    NOT_FOUND,
    OK,
    PATIENCE,
    Done,
    Listener,
    ended,
    head,
    run,
    start,
)
from tests.cli.terminal import Terminal

pytestmark = pytest.mark.slow

# --------------------------------------------------------------------- input


def test_many_servers(port: int) -> None:
    """Servers come mixed; each URL has one result, and that is right."""
    urls = {
        f"http://{HOSTS[i * 7 % 4]}:{port}/doc/{'no' if i % 10 == 0 else '1.txt'}?{i}": i % 10 == 0
        for i in range(2000)
    }
    done = check("--json", "--all", "-", given="\n".join(urls))
    assert (done.status, done.err) == (1, "")
    found = objects(done)
    assert len(found) == len(urls)
    assert {one["url"]: one["result"] == "missing" for one in found} == urls


def test_all_sources(url: str, tmp_path: Path) -> None:
    page, first, second = tmp_path / "page", tmp_path / "1", tmp_path / "2"
    page.write_text(f"<a href={url}/page>")
    first.write_text(f"\ufeff{url}/f1\n\n{url}/f2")
    second.write_bytes(b"\n")
    done = check("-i", first, f"{url}/arg", "-", "-i", second, "--from-html", page, "--all",
                 given=f"{url}/stdin")  # fmt: skip
    assert (done.status, done.err) == (1, "")
    paths = {line.split()[1].decode() for line in done.out.splitlines()}
    assert paths == {f"{url}/{name}:" for name in ("f1", "f2", "arg", "stdin", "page")}


def test_sources_that_cannot_be_read(url: str, tmp_path: Path) -> None:
    """Each is one line, and the rest is checked."""
    gone = tmp_path / "gone"
    done = check("-i", gone, "-i", tmp_path, "--from-html", gone, "--from-html", f"{url}/no",
                 "--from-html", f"{url}/doc/1.txt", "--from-html", "http://a b", "-a",
                 f"{url}/doc/1.txt")  # fmt: skip
    assert done.out == f"ok            {url}/doc/1.txt: 200 OK\n".encode()
    assert done.status == 1
    assert done.err.splitlines() == [
        f"dugong: {gone}: cannot read it: No such file or directory",
        f"dugong: {url}/no: the server responded with 404 Not Found",
        f"dugong: {url}/doc/1.txt: it is text/plain, not HTML",
        "dugong: http://a b: url 'http://a b' has no valid host and port",
        f"dugong: {gone}: cannot read it: No such file or directory",
        f"dugong: {tmp_path}: cannot read it: Is a directory",
    ]


def test_lines_that_are_no_urls(url: str) -> None:
    long = "x" * 200_000
    given = f"\0\n{url}/doc/1.txt\n{long}\n-\n# a\nhttp://[\n{url}/doc/2.txt\n{url}/{'y' * 9000}"
    given += f"\n  # {url}/no\n{url}/doc/3.txt#a # {url}/no"
    done = check("--all", "-", given=given)
    assert (done.status, done.err) == (1, "")
    lines = done.out.decode().splitlines()
    assert sorted(line.split()[0] for line in lines) == ["invalid"] * 5 + ["ok"] * 3
    assert len(done.out) < 100_000


def test_standard_input_is_closed() -> None:
    command = ["sh", "-c", 'exec "$@" <&-', "sh", *COMMAND]
    done = run("check", "-", command=command)
    assert done == Done(1, b"", "dugong: -: standard input is closed\n")


def test_slow_input(url: str) -> None:
    """A result comes as soon as it is known, whenever the next line may come."""
    command = ["check", "--all", "-"]
    with start(*command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for name in ("1.txt", "2.txt", "no", "3.txt"):
            process.stdin.write(f"{url}/doc/{name}\n".encode())
            process.stdin.flush()
            assert f"{url}/doc/{name}: ".encode() in process.stdout.readline()
        process.stdin.write(f"{url}/do".encode())
        process.stdin.flush()
        process.stdin.write(b"c/4.txt")
        process.stdin.close()
        process.stdin = None
        out = f"ok            {url}/doc/4.txt: 200 OK\n"
        assert ended(process) == Done(1, out.encode(), "")


def test_fifo(url: str, tmp_path: Path) -> None:
    """Nobody waits for who is to write into it."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with start("check", "-a", f"{url}/doc/1.txt", "-i", fifo) as process:
        assert process.stdout is not None
        assert b"/doc/1.txt: 200" in process.stdout.readline()
        fifo.write_text(f"{url}/doc/2.txt\n")
        assert b"/doc/2.txt: 200" in ended(process).out


def test_slow_server_and_others(url: str, listener: Listener) -> None:
    """What others say does not wait for one that says nothing, wherever it stands in the list."""
    given = "".join(f"{listener.url()}\n{url}/doc/1.txt?{i}\n" for i in range(1000))
    with start("check", "--all", "-", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(given.encode())
        process.stdin.close()
        process.stdin = None
        with listener.accept() as sock:
            head(sock)
            for _ in range(1000):
                assert process.stdout.readline().startswith(f"ok            {url}".encode())
            process.send_signal(signal.SIGTERM)
            process.wait()


PEAK = """
import re, sys
from pathlib import Path
from dugong.cli import main
status = main(sys.argv[1:])
peak = re.search("VmHWM:[^0-9]*([0-9]+) kB", Path("/proc/self/status").read_text())
print(peak[1], file=sys.stderr)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="nobody counts the memory here")
@pytest.mark.parametrize("hosts", [1, 4])
def test_memory(port: int, tmp_path: Path, hosts: int) -> None:
    """Five times as many URLs need no more of it."""
    peaks = []
    for count in (2_200, 11_000):  # more than may wait at a time
        file = tmp_path / "urls"
        with file.open("w") as urls:
            for i in range(count):
                urls.write(
                    f"http://{HOSTS[i % hosts]}:{port}/{'status/200' if i % 9 else 'no'}?{i}\n"
                )
        done = check("-i", file, command=[sys.executable, "-c", PEAK])
        assert done.out.count(b"missing ") == (count + 8) // 9
        peaks.append(int(done.err))
    assert peaks[1] - peaks[0] < 1000, peaks  # KiB: 57 bytes for each further URL


# --------------------------------------------------------------------- pages


def test_page_in_a_file(url: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        f"<a href={url}/doc/1.txt#a><a href={url}/doc/1.txt#b><a href=doc/2.txt>"
        f"<img srcset='{url}/no 1x, doc/3.txt 2x'><a href=mailto:a@b>"
    )
    missing = f"missing       {url}/no: 404 Not Found\n".encode()
    ok = [f"ok            {url}/doc/{i}.txt: 200 OK\n".encode() for i in (1, 2, 3)]
    done = check("--from-html", page, "--all")
    assert (done.status, done.err) == (
        1, f"dugong: {page}: 2 relative links left out: use --base URL\n"
    )  # fmt: skip
    assert sorted(done.out.splitlines(keepends=True)) == sorted([ok[0], missing])
    done = check("--from-html", page, "--base", f"{url}/x", "-a")
    assert (done.status, done.err) == (1, "")
    assert sorted(done.out.splitlines(keepends=True)) == sorted([*ok, missing])


@pytest.mark.parametrize("name", ["page", "moved"])
def test_page_of_a_server(url: str, name: str) -> None:
    done = check("--from-html", f"{url}/{name}", "--all")
    assert (done.status, done.err) == (1, "")
    assert "".join(sorted(done.out.decode().splitlines(keepends=True), reverse=True)) == (
        f"ok            {url}/doc/1.txt: 200 OK\nmissing       {url}/caf%C3%A9.png: 404 Not Found\n"
    )


PAGE = b"<meta charset=iso-8859-15><a href=/caf\xe9>"


def page(body: bytes, *fields: str) -> bytes:
    head = ["HTTP/1.1 200 OK", "Content-Type: text/html", f"Content-Length: {len(body)}", *fields]
    return "".join(f"{line}\r\n" for line in [*head, ""]).encode() + body


def gzipped(data: bytes) -> bytes:
    """Return *data* compressed, the same bytes in each process: parts of tests' names."""
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (gzipped(PAGE), "gzip"),
        (gzipped(PAGE), "x-gzip"),
        (zlib.compress(PAGE), "deflate"),
        (zlib.compress(PAGE, wbits=-15), "Deflate"),
        (gzipped(zlib.compress(PAGE)), "deflate, gzip"),
        (PAGE, "identity"),
    ],
)
def test_page_with_a_content_coding(listener: Listener, body: bytes, coding: str) -> None:
    """Whatever the server was asked for."""
    with start("check", "--from-html", listener.url()) as process:
        [request] = listener.serve(page(body, f"Content-Encoding: {coding}"))
        requests = listener.serve(b"HTTP/1.1 200 OK\r\n\r\n")
        assert ended(process) == Done(0, b"", "")
    assert b"\r\nAccept-Encoding: gzip" in request
    assert [request.split()[1] for request in requests] == [b"/caf%C3%A9"]


@pytest.mark.parametrize(
    ("body", "coding", "message"),
    [
        (PAGE, "unheard-of", "its content coding 'unheard-of' is not supported"),
        (gzipped(PAGE), "gzip, compress", "its content coding 'compress' is not supported"),
        (gzipped(PAGE)[:-1], "gzip", "the body is truncated"),
        (PAGE, "gzip", "the body is not valid gzip"),
        (gzipped(bytes((64 << 20) + 1)), "gzip", "the body has more than 67108864 bytes, decoded"),
    ],
)
def test_page_that_cannot_be_decoded(
    listener: Listener, body: bytes, coding: str, message: str
) -> None:
    """It is never taken for a page without links."""
    with start("check", "--from-html", listener.url()) as process:
        listener.serve(page(body, f"Content-Encoding: {coding}"))
        done = ended(process)
    assert (done.status, done.out) == (1, b"")
    assert done.err.startswith(f"dugong: {listener.url()}: {message}")
    assert done.err.count("\n") == 1


def test_page_is_fetched_again_after_a_trouble(listener: Listener) -> None:
    body = b"<a href=x><a href=y>"
    with start("check", "--from-html", listener.url(), "--retry-delay", "0.01") as process:
        listener.serve(page(body)[:-1])
        assert listener.serve(page(body))[0].startswith(b"GET / ")
        listener.serve(OK.removesuffix(b"hello"), NOT_FOUND.removesuffix(b"lost"), NOT_FOUND)
        done = ended(process)
    assert done == Done(1, f"missing       {listener.url('/y')}: 404 Not Found\n".encode(), "")


# --------------------------------------------------------------------- use


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "give URLs, -i FILE, --from-html FILE|URL, or - for a list on standard input"),
        (["--base", "http://a/"], "give URLs, -i FILE, --from-html FILE|URL, or - for a list"),
        (["--base", "http://a/", "http://b/"], "--base requires --from-html"),
        (["--base", "a", "--from-html", "x"], "argument --base: 'a': a URL must begin with"),
        (["--per-host", "0", "http://b/"], "argument --per-host: must be at least 1"),
        (
            ["--timeout", "x", "http://b/"],
            "argument --timeout: 'x' is not a positive number of seconds",
        ),
        (
            ["-H", "a", "http://b/"],
            "argument -H/--header: a field must have the form 'Name: value'",
        ),
        (["-H", "a b: c", "http://b/"], "argument -H: the name of field 1 has a space"),
    ],
)
def test_misuse(args: list[str], message: str) -> None:
    done = check(*args)
    assert (done.status, done.out) == (2, b"")
    assert done.err.startswith(f"dugong: {message}")
    assert done.err.endswith(" (see dugong check --help)\n")


def test_help() -> None:
    done = check("--help")
    assert (done.status, done.err) == (0, "")
    assert b"examples:" in done.out
    assert max(map(len, done.out.decode().splitlines())) <= 100


@pytest.mark.parametrize("missing", ["rich", "selectolax", "ada_url"])
def test_without_the_extra(missing: str) -> None:
    code = "import sys; sys.modules[sys.argv.pop(1)] = None; from dugong.cli import main; "
    command = [*COMMAND[:-2], "-c", code + "sys.exit(main())", missing]
    done = check("http://127.0.0.1:1/", command=command)
    assert done == Done(
        2, b"", "dugong: check needs additional packages: pip install 'dugong[cli]'\n"
    )


# --------------------------------------------------------------------- the terminal and signals


def test_in_a_terminal(url: str, tmp_path: Path) -> None:
    urls = [f"{url}/doc/1.txt", f"{url}/doc/2.txt", f"{url}/no"]
    line = f"missing       {url}/no: 404 Not Found\n"
    summary = "dugong: 3 checked: 2 ok, 1 missing\n"
    with Terminal(*COMMAND, "check", *urls) as terminal:
        assert terminal.ended()[0] == 1
        assert terminal.screen() == (line + summary).splitlines()
    out = tmp_path / "out"
    with Terminal(*COMMAND, "check", *urls, stdout=out) as terminal:
        assert terminal.ended()[0] == 1
        assert terminal.screen() == summary.splitlines()
    assert out.read_text() == line


def test_urls_typed_in_a_terminal(url: str) -> None:
    with Terminal(*COMMAND, "check", "-") as terminal:
        terminal.type(f"{url}/no\n".encode())
        terminal.await_words("404 Not Found")
        terminal.type(b"\x04")
        status, shown = terminal.ended()
    assert status == 1
    assert shown.endswith("dugong: 1 checked: 1 missing\n")


def test_ctrl_c_in_a_terminal(listener: Listener, url: str) -> None:
    """What is known is there already."""
    with Terminal(*COMMAND, "check", listener.url(), f"{url}/no") as terminal:
        with listener.accept() as sock:
            head(sock)
            terminal.await_words("404 Not Found")
            terminal.type(b"\x03")
            assert terminal.ended()[0] == INTERRUPTED
            assert terminal.screen()[0] == f"missing       {url}/no: 404 Not Found"


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("moment", ["waiting", "reading", "before trying again"])
def test_interrupted(listener: Listener, moment: str) -> None:
    options = ["-a", "--retry-delay", "1000"]
    with start("check", listener.url(), "-", *options, stdin=subprocess.PIPE) as process:
        with listener.accept() as sock:
            head(sock)
            out = b""
            if moment == "reading":
                sock.sendall(OK.removesuffix(b"hello"))
                assert process.stdout is not None
                out = process.stdout.readline()
            elif moment == "before trying again":
                sock.close()
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE)  # its input stays open: it ends by nothing else
            assert ended(process) == Done(INTERRUPTED, b"", "")
        assert out.startswith(b"ok " if moment == "reading" else b"")


@pytest.mark.usefixtures("interruptible")
def test_interrupted_while_nobody_reads(url: str) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while os.write(writer, b"x"):
            pass
    os.set_blocking(writer, True)
    with start("check", f"{url}/no", stdout=writer) as process, os.fdopen(reader, "rb"):
        os.close(writer)
        waits_for = Path(f"/proc/{process.pid}/wchan")
        for _ in range(2000):
            if waits_for.exists() and "pipe" in waits_for.read_text():
                break
            time.sleep(0.005)  # between two looks
        else:
            pytest.skip("the system does not say what a process waits for")
        process.send_signal(signal.SIGINT)
        assert ended(process) == Done(INTERRUPTED, b"", "")


def test_nobody_reads_on(url: str) -> None:
    """As with ``| head -1``: no word about it."""
    with start("check", "-", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{url}/1\n".encode())
        process.stdin.flush()
        assert b"404" in process.stdout.readline()
        process.stdout.close()
        process.stdout = None
        process.stdin.write(f"{url}/2\n".encode())
        process.stdin.flush()
        assert process.wait(60) == 1
        assert process.stderr is not None
        assert process.stderr.read() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device is full here")
def test_standard_output_is_full(url: str) -> None:
    with Path("/dev/full").open("wb") as full:
        with start("check", f"{url}/no", stdout=full.fileno()) as process:
            message = "dugong: cannot write to standard output: No space left on device\n"
            assert ended(process) == Done(1, b"", message)
