"""`dugong get`, when something goes wrong: one line says what, and the exit status is 1."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest

from tests.cli.command import NOT_FOUND, OK, ONCE, Done, Listener, ended, failure, head, run, start
from tests.support.apps import document
from tests.support.servers import HOST, NginxEndpoints, Proxies

pytestmark = pytest.mark.slow


def test_tls_troubles(nginx: NginxEndpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, tls = f"{HOST}:{nginx.plain.port}", f"{HOST}:{nginx.tls.port}"
    assert run("get", f"https://{plain}/") == failure(
        f"https://{plain}/: {plain} does not speak TLS: try http:// instead of https://"
    )
    assert run("get", f"http://{tls}/") == failure(
        f"http://{tls}/: the server responded with 400 Bad Request: "
        "The plain HTTP request was sent to HTTPS port: try https:// instead of http://"
    )
    monkeypatch.setenv("SSL_CERT_FILE", os.devnull)
    assert run("get", f"https://{tls}/") == failure(
        f"https://{tls}/: the certificate of {tls} is not trusted: unable to get local issuer "
        "certificate (to trust its authority, use --cacert)"
    )


def test_tls_troubles_of_a_proxy(
    nginx: NginxEndpoints, https_proxies: Proxies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate that is not trusted is not the server's."""
    url = f"https://{HOST}:{nginx.tls.port}/doc/1.txt"
    proxy = https_proxies.open_url("https")
    assert run("get", "--proxy", proxy, url).out == document(1)
    plain = f"{HOST}:{nginx.plain.port}"
    assert run("get", "--proxy", f"https://{plain}", url) == failure(
        f"{url}: the proxy {plain} does not speak TLS: try http:// instead of https://"
    )
    monkeypatch.setenv("SSL_CERT_FILE", os.devnull)
    done = run("get", "--proxy", proxy, url)
    where = proxy.removeprefix("https://")
    assert f"{url}: the certificate of the proxy {where} is not trusted" in done.err


def test_nobody_listens(refused: str, tmp_path: Path) -> None:
    url = "http://localhost:1/"
    assert run("get", *ONCE, "--proxy", f"http://{refused}", url) == failure(
        f"{url}: cannot connect to the proxy {refused}: Connection refused"
    )
    with socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        there = f"[::1]:{sock.getsockname()[1]}"
        message = f"http://{there}/: cannot connect to {there}: Connection refused"
        assert run("get", f"http://{there}/") == failure(message)
    path = tmp_path / "socket"
    assert run("get", "--unix-socket", path, url) == failure(
        f"{url}: cannot connect to {path}: No such file or directory"
    )


@pytest.mark.parametrize(
    ("response", "out", "message"),
    [
        (b"", b"", "the connection ended before a response arrived"),
        (OK[:10], b"", "the connection ended in the middle of a response head"),
        (OK[:-3], b"he", "the connection ended 3 bytes before the end of the body"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            b"hello",
            "the connection ended in the middle of a chunked body",
        ),
        (
            b"HTTP/1.1 301 Moved\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n",
            b"",
            "the server responded with 301 Moved (see /there)",
        ),
        (b"HTTP/1.1 304\r\n\r\n", b"", "the server responded with 304"),
        # What would play tricks on a terminal is shown for what it is.
        (
            b"HTTP/1.1 404 \x9b31m\t\xe9\r\nLocation: \xad\r\nContent-Length: 0\r\n\r\n",
            b"",
            r"the server responded with 404 \x9b31m\té (see \xad)",
        ),
    ],
)
def test_the_server_lets_us_down(
    listener: Listener, response: bytes, out: bytes, message: str
) -> None:
    with start("get", *ONCE, listener.url()) as process:
        listener.serve(response)
        assert ended(process) == failure(f"{listener.url()}: {message}", out)


def test_the_body_of_an_error_is_not_awaited(listener: Listener) -> None:
    with start("get", listener.url()) as process, listener.accept() as sock:
        head(sock)
        sock.sendall(NOT_FOUND[:-1])
        assert ended(process) == failure(
            f"{listener.url()}: the server responded with 404 Not Found"
        )


def test_the_body_of_an_error_is_too_long_to_be_skipped(listener: Listener) -> None:
    urls = [listener.url("/1"), listener.url("/2")]
    with start("get", *urls) as process, listener.accept() as sock:
        head(sock)
        sock.sendall(b"HTTP/1.1 500 Oh\r\nContent-Length: 999999999\r\n\r\nsorry")
        listener.serve(OK)
        assert ended(process) == failure(f"{urls[0]}: the server responded with 500 Oh", b"hello")


def test_something_else_than_http(listener: Listener) -> None:
    with start("get", listener.url()) as process:
        listener.serve(b"220 mail.example ESMTP\r\n\r\n")
        done = ended(process)
    assert (done.status, done.out) == (1, b"")
    assert re.fullmatch(re.escape(f"dugong: {listener.url()}: ") + ".*220 mail.*\n", done.err)


def test_upgrade(listener: Listener) -> None:
    """A protocol that we do not speak ends the connection, not the command."""
    urls = [listener.url("/1"), listener.url("/2")]
    with start("get", "-H", "Upgrade: x", "-H", "Connection: upgrade", *urls) as process:
        listener.serve(b"HTTP/1.1 101 Now\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nxx")
        listener.serve(OK)
        done = ended(process)
    assert done == failure(f"{urls[0]}: the server responded with 101 Now", b"hello")


@pytest.mark.parametrize(
    ("sent", "timeout", "out"),
    [
        (b"", "0.1", b""),
        (OK[:10], "0.1", b""),
        (OK[:-3], "1.5", b"he"),  # they come in time, even if this process has to wait for its turn
    ],
)
def test_the_server_stalls(listener: Listener, sent: bytes, timeout: str, out: bytes) -> None:
    with (
        start("get", *ONCE, "--timeout", timeout, listener.url()) as process,
        listener.accept() as sock,
    ):
        head(sock)
        sock.sendall(sent)
        done = ended(process)
    phase = "body" if out else "response"
    message = f"no data transferred for {timeout} seconds (phase '{phase}', timeout={timeout})"
    assert done == failure(f"{listener.url()}: {message}", out)


def test_timeout_beyond_what_the_system_can_count(listener: Listener) -> None:
    with start("get", "--timeout", "1e300", listener.url()) as process:
        listener.serve(OK)
        assert ended(process) == Done(0, b"hello", "")
