"""`dugong time`: what it shows, in a terminal and in a pipe."""

from __future__ import annotations

import re
import signal

import pytest

from tests.cli.command import (
    COMMAND,
    INTERRUPTED,
    NOT_FOUND,
    OK,
    Done,
    Listener,
    ended,
    head,
    run,
    start,
)
from tests.cli.terminal import Terminal
from tests.support.apps import document
from tests.support.servers import HOST, Endpoint, NginxEndpoints, Proxies

HEADER = [
    "status", "bytes", "bytes/s", "resolving/ms", "connecting/ms", "TLS/ms", "sending/ms",
    "waiting/ms", "transfer/ms", "total/ms", "URL",
]  # fmt: skip


def table(done: Done) -> list[dict[str, str]]:
    """Return the lines of the table that the command prints into a pipe."""
    header, *rows = [line.split() for line in done.out.decode().splitlines()]
    assert header == HEADER
    return [dict(zip(header, row, strict=True)) for row in rows]


# --------------------------------------------------------------------- in a pipe


@pytest.mark.parametrize("host", ["localhost", HOST])
def test_table(endpoint: Endpoint, host: str) -> None:
    server = f"{'https' if endpoint.context else 'http'}://{host}:{endpoint.port}"
    urls = [f"{server}/doc/7.txt", f"{server}/chunked/8.txt", f"{server}/nothing"]
    done = run("time", *urls)
    assert (done.status, done.err) == (0, "")
    rows = table(done)
    assert [row["URL"] for row in rows] == urls
    assert [row["status"] for row in rows] == ["200", "200", "404"]
    assert [row["bytes"] for row in rows[:2]] == [str(len(document(n))) for n in (7, 8)]
    assert (rows[0]["resolving/ms"] != "-") == (host == "localhost")
    assert rows[0]["connecting/ms"] != "-"
    assert (rows[0]["TLS/ms"] != "-") == (endpoint.context is not None)
    for row in rows[1:]:
        assert [row[name] for name in HEADER[3:6]] == ["-", "-", "-"]
    for row in rows:
        took = [float(row[name]) for name in HEADER[3:9] if row[name] != "-"]
        assert sum(took) == pytest.approx(float(row["total/ms"]), abs=0.05)
        rate = int(row["bytes"]) / float(row["total/ms"]) * 1000
        assert int(row["bytes/s"]) == pytest.approx(rate, rel=0.1)


def test_one_connection_for_one_server(listener: Listener) -> None:
    with Listener() as other:
        urls = [listener.url("/1"), other.url("/2"), listener.url("/3")]
        with start("time", *urls) as process:
            with listener.accept() as sock:
                assert head(sock).startswith(b"GET /1 ")
                sock.sendall(OK)
                assert other.serve(OK)[0].startswith(b"GET /2 ")
                assert head(sock).startswith(b"GET /3 ")
                sock.sendall(NOT_FOUND)
            done = ended(process)
        assert listener.is_left_alone()
    assert [row["status"] for row in table(done)] == ["200", "200", "404"]
    assert [row["connecting/ms"] == "-" for row in table(done)] == [False, False, True]


def test_fields(listener: Listener) -> None:
    with start("time", "-H", "X: 1", "-H", "accept-encoding: gzip", listener.url()) as process:
        [request] = listener.serve(OK)
        assert ended(process).status == 0
    assert request.count(b"X: 1\r\n") == 1
    assert request.lower().count(b"accept-encoding: ") == 1
    assert request.count(b"Host: " + listener.authority.encode() + b"\r\n") == 1


def test_failures(listener: Listener, refused: str) -> None:
    urls = [f"http://{refused}/", listener.url("/1"), listener.url("/2")]
    with start("time", *urls) as process:
        listener.serve(b"nonsense\r\n\r\n")
        listener.serve(OK)
        done = ended(process)
    assert done.status == 1
    refusal, nonsense = done.err.splitlines()
    assert refusal == f"dugong: {urls[0]}: cannot connect to {refused}: Connection refused"
    assert nonsense.startswith(f"dugong: {urls[1]}: ")
    assert [row["URL"] for row in table(done)] == urls[2:]
    assert run("time", urls[0]).out == b""


def test_upgrade(listener: Listener) -> None:
    """A protocol that we do not speak ends the connection, not the command."""
    urls = [listener.url("/1"), listener.url("/2")]
    with start("time", "-H", "Upgrade: x", "-H", "Connection: upgrade", *urls) as process:
        listener.serve(b"HTTP/1.1 101 Now\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nxx")
        listener.serve(OK)
        done = ended(process)
    assert (done.status, done.err) == (0, "")
    assert [row["status"] for row in table(done)] == ["101", "200"]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxy(tinyproxy: Proxies, nginx: NginxEndpoints, scheme: str) -> None:
    port = nginx.tls.port if scheme == "https" else nginx.plain.port
    url = f"{scheme}://localhost:{port}/doc/3.txt"
    done = run("time", "--proxy", tinyproxy.guarded_url(), url)
    assert (done.status, done.err) == (0, "")
    [row] = table(done)
    assert (row["status"], row["bytes"]) == ("200", str(len(document(3))))
    assert row["resolving/ms"] == "-"  # the proxy has an address, and looks up the name


@pytest.mark.parametrize("kind", ["https", "socks5", "socks5h"])
def test_other_proxies(request: pytest.FixtureRequest, nginx: NginxEndpoints, kind: str) -> None:
    name = "https_proxies" if kind == "https" else "socks_proxies"
    proxies: Proxies = request.getfixturevalue(name)
    url = f"https://localhost:{nginx.tls.port}/doc/3.txt"
    done = run("time", "--proxy", proxies.guarded_url(scheme=kind), url)
    assert (done.status, done.err) == (0, "")
    [row] = table(done)
    assert (row["status"], row["bytes"]) == ("200", str(len(document(3))))
    assert (row["resolving/ms"] == "-") is (kind != "socks5")


@pytest.mark.usefixtures("interruptible")
def test_interrupted(listener: Listener) -> None:
    with start("time", listener.url()) as process, listener.accept() as sock:
        head(sock)
        process.send_signal(signal.SIGINT)
        assert ended(process) == Done(INTERRUPTED, b"", "")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "give at least one URL"),
        (["--har", "", "http://localhost"], "argument --har: '' is not a file name"),
        (
            ["-H", "A b: c", "http://localhost"],
            (
                "argument -H: the name of field 1 has a space at index 1, "
                "which is not allowed in a token"
            ),
        ),
    ],
)
def test_misuse(args: list[str], message: str) -> None:
    done = run("time", *args)
    assert (done.status, done.out) == (2, b"")
    assert done.err == f"dugong: {message} (see dugong time --help)\n"


def test_help() -> None:
    done = run("time", "--help")
    assert (done.status, done.err) == (0, "")
    for words in (b"--har", b"--svg", b"-H", b"--proxy", b"examples:"):
        assert words in done.out
    assert max(map(len, done.out.splitlines())) <= 100


# --------------------------------------------------------------------- in a terminal


BAR = re.compile(r"  (\w+) +(\d+\.\d\d ms)  ( *)([▏▎▍▌▋▊▉█▐▕]+) *")


@pytest.mark.parametrize("columns", [80, 50])
def test_bars(endpoint: Endpoint, columns: int) -> None:
    server = f"{'https' if endpoint.context else 'http'}://localhost:{endpoint.port}"
    with Terminal(*COMMAND, "time", f"{server}/doc/7.txt", columns=columns) as terminal:
        terminal.await_words("transfer")
        status, _ = terminal.ended()
        url, summary, *rest = terminal.screen()
    assert status == 0
    assert url == f"{server}/doc/7.txt"
    pattern = r"200 OK, 6\.1 KiB in \d+\.\d\d ms \(\S+ \S+/s\), from"
    if columns == 80:
        assert re.fullmatch(rf"{pattern} {HOST}, connection 1", summary)
    bars = [match for match in map(BAR.fullmatch, rest) if match is not None]
    names = ["resolving", "connecting", "TLS", "sending", "waiting", "transfer"]
    assert [bar[1] for bar in bars] == [one for one in names if endpoint.context or one != "TLS"]
    lefts = [len(bar[3]) for bar in bars]
    assert lefts == sorted(lefts)
    assert lefts[0] == 0
    rights = [len(bar[3]) + len(bar[4]) for bar in bars]
    for left, right in zip(lefts[1:], rights[:-1], strict=True):  # each where the last one ends
        assert abs(left - right) <= 2
    assert max(len(line) for line in rest) <= columns


def test_several_documents_in_a_terminal(listener: Listener) -> None:
    urls = [listener.url("/1"), listener.url("/2")]
    with Terminal(*COMMAND, "time", *urls) as terminal:
        listener.serve(OK, NOT_FOUND)
        status, _ = terminal.ended()
        lines = terminal.screen()
    assert status == 0
    assert lines[0] == urls[0]
    second = lines.index(urls[1])
    assert lines[second - 1] == ""
    assert lines[second + 1].startswith("404 Not Found, 4 bytes in ")
    assert [line.split()[0] for line in lines[second + 2 : second + 5]] == [
        "sending",
        "waiting",
        "transfer",
    ]
    assert re.fullmatch(
        r"2 URLs, 9 bytes in \d+\.\d\d ms \(\S+ \S+/s\) over 1 connection", lines[-1]
    )


def test_what_a_server_says_does_not_move_the_terminal(listener: Listener) -> None:
    url = listener.url("/[bold]:smile:")
    with Terminal(*COMMAND, "time", url) as terminal:
        listener.serve(b"HTTP/1.1 200 \x9b31m[red]\r\nContent-Length: 0\r\n\r\n")
        terminal.ended()
        lines = terminal.screen()
    assert lines[0] == url
    assert lines[1].startswith(r"200 \x9b31m[red], 0 bytes in ")


def test_ctrl_c_in_a_terminal(listener: Listener) -> None:
    with Terminal(*COMMAND, "time", listener.url()) as terminal, listener.accept() as sock:
        head(sock)
        terminal.type(b"\x03")
        assert terminal.ended() == (INTERRUPTED, "^C")
