"""`dugong put`, when the server does not take the file: one line says why, or it tries again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import COMMAND, Done, Listener, ended, failure, head, run, sleepless, start
from tests.cli.putting import CREATED, LARGE, fed, uploaded, url_of
from tests.cli.terminal import Terminal
from tests.support.servers import Endpoint, NginxEndpoints
from tests.support.uploads import CONTINUE

pytestmark = pytest.mark.slow

QUICKLY = ["--retry-delay", "0.001"]


def reply(status: str, body: str = "", *fields: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body.encode())}", *fields, "", body]
    return "\r\n".join(lines).encode()


TEXT = "Content-Type: text/plain; charset=utf-8"
HTML = "Content-Type: text/html"
BUSY = reply("503 Service Unavailable")


@pytest.mark.parametrize("piped", [False, True])
def test_denied(endpoint: Endpoint, large: Path, piped: bool) -> None:
    url = url_of(endpoint, "/denied")
    done = run("put", "-", url, command=fed(large)) if piped else run("put", large, url)
    assert done == failure(f"{url}: the server responded with 403 Forbidden")


def test_too_large(nginx: NginxEndpoints, large: Path) -> None:
    url = url_of(nginx.tls, "/small")
    message = f"{url}: the server responded with 413 Request Entity Too Large"
    assert run("put", large, url) == failure(message)


def test_method_not_allowed(nginx: NginxEndpoints, file: Path) -> None:
    url = url_of(nginx.plain, "/doc/x")
    assert run("put", file, url) == failure(f"{url}: the server responded with 405 Not Allowed")


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (reply("403 No", "quota exceeded\n", TEXT), "403 No: quota exceeded"),
        (reply("403", "a\r\n\x1b[31m é", TEXT), r"403: a \x1b[31m é"),
        (reply("403 No", "x" * 300, TEXT), "403 No: " + 199 * "x" + "…"),
        (
            reply("422 No", '{\n  "detail": "no"\n}', "Content-Type: application/problem+json"),
            '422 No: { "detail": "no" }',
        ),
        (
            reply(
                "403 Forbidden",
                "<html><head><title>403 Forbidden</title><style>p {}</style></head>\n<body>"
                "<h1>Forbidden</h1>\n<p>You may\nnot <b>do</b> this &amp; that.</p><hr>"
                "<address>Server/1.0</address></body></html>",
                HTML,
            ),
            "403 Forbidden: You may not do this & that.",
        ),
        (reply("403 No", "<h1>403 No</h1><hr>x", HTML), "403 No"),
        (reply("403 No", "no", "Content-Type: image/png"), "403 No"),
        (reply("403 No", "no"), "403 No"),
        (reply("403 No", "no", TEXT, "Content-Encoding: gzip"), "403 No"),
        (reply("403 No", "no", "Content-Type: text/plain; charset=none"), "403 No"),
        (reply("405 No", "", "Allow: GET, HEAD"), "405 No (it allows GET, HEAD)"),
        (reply("307 There", "", "Location: /there"), "307 There (see /there)"),
        # The end of what it says never comes, or is not what was announced.
        (
            b"HTTP/1.1 403 No\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nha",
            "403 No: ha",
        ),
    ],
)
def test_what_the_server_said(
    listener: Listener, file: Path, response: bytes, message: str
) -> None:
    with start("put", file, listener.url("/x")) as process:
        uploaded(listener, response)
        assert ended(process) == failure(
            f"{listener.url('/x')}: the server responded with {message}"
        )
    assert listener.is_left_alone()


def test_the_server_does_not_come_to_an_end(listener: Listener, file: Path) -> None:
    url = listener.url("/x")
    with start("put", file, url) as process, listener.accept() as sock:
        head(sock)
        sock.sendall(b"HTTP/1.1 403 No\r\nContent-Type: text/plain\r\n\r\nbecause")
        assert ended(process) == failure(f"{url}: the server responded with 403 No: because")


def test_refused_before_the_body_is_sent(listener: Listener, large: Path) -> None:
    url = listener.url("/x")
    with start("put", large, url) as process, listener.accept() as sock:
        head(sock)
        sock.sendall(reply("413 Too Large", "at most 1 MB", TEXT))
        assert ended(process) == failure(
            f"{url}: the server responded with 413 Too Large: at most 1 MB"
        )
        assert sock.recv(1) == b""


# --------------------------------------------------------------------- trying again


@pytest.mark.parametrize("times", [1, 3])
def test_tries_again(listener: Listener, file: Path, times: int) -> None:
    """The connection ends in the midst of it, or the server is not well."""
    with start("put", *QUICKLY, file, listener.url("/x")) as process:
        for n in range(times):
            if n % 2:
                uploaded(listener, BUSY)
            else:
                listener.accept().close()
        _, body = uploaded(listener)
        assert ended(process) == Done(0, b"", "")
    assert body == b"hello"


def test_sends_all_of_it_again(listener: Listener, large: Path) -> None:
    with start("put", *QUICKLY, large, listener.url("/x")) as process:
        with listener.accept() as sock:
            head(sock)
            sock.sendall(CONTINUE)
            sock.recv(1 << 20)
        _, body = uploaded(listener)
        assert ended(process) == Done(0, b"", "")
    assert body == LARGE


def test_gives_up(listener: Listener, file: Path, refused: str) -> None:
    url = listener.url("/x")
    with start("put", *QUICKLY, "--retry", "1", file, url) as process:
        uploaded(listener, BUSY)
        uploaded(listener, BUSY)
        assert ended(process) == failure(
            f"{url}: the server responded with 503 Service Unavailable"
        )
    assert listener.is_left_alone()
    url = f"http://{refused}/x"
    done = run("put", *QUICKLY, file, url)
    assert done == failure(f"{url}: cannot connect to {refused}: Connection refused")


def test_no_retries(listener: Listener, file: Path) -> None:
    url = listener.url("/x")
    with start("put", "--retry", "0", file, url) as process:
        with listener.accept() as sock:
            head(sock)
        done = ended(process)
    assert done.status == 1
    assert done.err.startswith(f"dugong: {url}: the connection ")
    assert listener.is_left_alone()


@pytest.mark.parametrize("status", ["400 Bad Request", "500 Oh", "501 No", "403 Forbidden"])
def test_answers_that_stay(listener: Listener, file: Path, status: str) -> None:
    url = listener.url("/x")
    with start("put", *QUICKLY, file, url) as process:
        uploaded(listener, reply(status))
        assert ended(process) == failure(f"{url}: the server responded with {status}")
    assert listener.is_left_alone()


def test_a_pipe_is_not_sent_again(listener: Listener, file: Path) -> None:
    url = listener.url("/x")
    with start("put", *QUICKLY, "-", url, command=fed(file)) as process:
        with listener.accept() as sock:
            head(sock)
            sock.sendall(CONTINUE)
            assert sock.recv(4096).startswith(b"5\r\nhello")
        done = ended(process)
    assert (done.status, done.out) == (1, b"")
    assert done.err.startswith(f"dugong: {url}: ")
    assert done.err.endswith("; standard input cannot be sent a second time\n")
    with start("put", *QUICKLY, "-", url, command=fed(file)) as process, listener.accept() as sock:
        head(sock)
        sock.sendall(BUSY)
        assert ended(process) == failure(
            f"{url}: the server responded with 503 Service Unavailable"
        )
    assert listener.is_left_alone()


def test_a_pipe_of_which_nothing_was_read(file: Path, refused: str) -> None:
    """Connecting is tried again."""
    options = ["--retry", "1", "--retry-connrefused"]
    url = f"http://{refused}/x"
    with Terminal(*fed(file), "put", *QUICKLY, *options, "-", url) as terminal:
        terminal.await_words("trying again in")
        status, shown = terminal.ended()
    assert status == 1
    assert shown.count("trying again in") == 1


def test_asked_to_wait(listener: Listener, file: Path) -> None:
    url = listener.url("/x")
    with start("put", *QUICKLY, file, url) as process:
        uploaded(listener, reply("503 Busy", "", "Retry-After: 0"))
        uploaded(listener, reply("503 Busy", "", "Retry-After: 3600"))
        message = f"{url}: the server responded with 503 Busy (try again after 3600 s)"
        assert ended(process) == failure(message)
    assert listener.is_left_alone()


def test_the_server_is_left_alone_meanwhile(listener: Listener, file: Path) -> None:
    with start("put", *QUICKLY, file, listener.url("/x"), command=sleepless()) as process:
        uploaded(listener, reply("429 Slow", "", "Retry-After: 50"))
        uploaded(listener)
        assert ended(process) == Done(0, b"", "slept for 50 s\n")


def test_new_attempts_are_told_in_a_terminal(listener: Listener, file: Path) -> None:
    with Terminal(*COMMAND, "put", *QUICKLY, file, listener.url("/x"), columns=200) as terminal:
        uploaded(listener, BUSY)
        uploaded(listener, CREATED)
        status, _ = terminal.ended()
        lines = terminal.screen()
    assert status == 0
    told = "the server responded with 503 Service Unavailable; trying again"
    assert lines[0].startswith(f"dugong: {listener.url('/x')}: {told}")
    assert lines[-1] == f"{file} is stored as {listener.url('/x')} (201 Created)"


@pytest.mark.parametrize("stalling", ["head", "body"])
def test_the_server_stalls(listener: Listener, large: Path, stalling: str) -> None:
    url = listener.url("/x")
    options = ["--timeout", "0.1", "--retry", "0"]
    with start("put", *options, large, url) as process, listener.accept() as sock:
        head(sock)
        if stalling == "body":
            sock.sendall(CONTINUE)
        done = ended(process)
    phase = "response" if stalling == "head" else "send"
    message = f"no data transferred for 0.1 seconds (phase '{phase}', timeout=0.1)"
    assert done == failure(f"{url}: {message}")
