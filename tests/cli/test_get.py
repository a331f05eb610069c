"""`dugong get`: documents from servers.

The server is a real one, or the test itself: then it accepts the connection that the process
makes, and plays the peer.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.command import NOT_FOUND, OK, ONCE, Done, Listener, ended, failure, run, start
from tests.support.apps import document
from tests.support.servers import HOST, Documents, Endpoint, NginxEndpoints, Proxies, serving

# --------------------------------------------------------------------- from real servers


def test_prints_a_document(endpoint: Endpoint) -> None:
    scheme = "https" if endpoint.context else "http"
    done = run("get", f"{scheme}://localhost:{endpoint.port}/chunked/3.txt")
    assert done == Done(0, document(3), "")


def test_installed_command(nginx: NginxEndpoints) -> None:
    script = shutil.which("dugong", path=sysconfig.get_path("scripts"))
    assert script is not None, "the package is not installed"
    url = f"http://{HOST}:{nginx.plain.port}/doc"
    assert run("get", f"{url}/3.txt", command=[script]) == Done(0, document(3), "")
    failed = failure(f"{url}/no: the server responded with 404 Not Found")
    assert run("get", f"{url}/no", command=[script]) == failed


def test_unix_socket(nginx: NginxEndpoints) -> None:
    done = run("get", "--unix-socket", nginx.unix_socket, "http://anything/doc/3.txt")
    assert done == Done(0, document(3), "")


def test_http_1_0(documents: Documents) -> None:
    def command(ports: Sequence[int]) -> list[str | Path]:
        options = ["--bind", HOST, "--directory", str(documents.directory), str(ports[0])]
        return [sys.executable, "-m", "http.server", *options]

    with serving("http.server", command) as server:
        url = f"http://{HOST}:{server.ports[0]}"
        done = run("get", "--show-headers", f"{url}/3.txt", f"{url}/4.txt")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(b"HTTP/1.0 200 OK\r\n")
    assert done.out.count(b"HTTP/1.0 200") == 2
    assert document(3) in done.out
    assert done.out.endswith(b"\r\n\r\n" + document(4))


@pytest.mark.parametrize("room", ["doc", "chunked", "until-close"])
def test_large(nginx: NginxEndpoints, documents: Documents, tmp_path: Path, room: str) -> None:
    file = tmp_path / "file"
    done = run("get", f"https://{HOST}:{nginx.tls.port}/{room}/large.bin", "-o", file)
    assert done == Done(0, b"", "")
    assert file.read_bytes() == (documents.directory / "large.bin").read_bytes()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxy(tinyproxy: Proxies, nginx: NginxEndpoints, scheme: str) -> None:
    port = nginx.tls.port if scheme == "https" else nginx.plain.port
    url = f"{scheme}://{HOST}:{port}/doc/3.txt"
    host, port = tinyproxy.open
    assert run("get", "--proxy", f"http://{host}:{port}", url) == Done(0, document(3), "")
    assert run("get", "--proxy", tinyproxy.guarded_url(), url) == Done(0, document(3), "")
    done = run("get", "--proxy", "http://{}:{}".format(*tinyproxy.guarded), url)
    refused = "407 Proxy Authentication Required"
    if scheme == "http":
        said = "This proxy requires authentication."
        assert done.status == 1
        assert done.err.startswith(f"dugong: {url}: the server responded with {refused}")
        assert said in done.err or "Access" in done.err
    else:
        proxy = "{}:{}".format(*tinyproxy.guarded)
        where = f"connecting to {HOST}:{nginx.tls.port} through the proxy {proxy}"
        assert done == failure(f"{url}: the proxy refused the tunnel: {refused} ({where})")


# --------------------------------------------------------------------- the request


@pytest.mark.parametrize(
    ("suffix", "target"),
    [
        ("", "/"),
        ("/", "/"),
        ("?q=1", "/?q=1"),
        ("#top", "/"),
        ("/a#top?x", "/a"),
        ("/a?b?c=d&e#f", "/a?b?c=d&e"),
        ("/a?", "/a?"),
        ("//a/../b;c", "//a/../b;c"),
        ("/a b", "/a%20b"),
        ("/%C3%A9%zz", "/%C3%A9%25zz"),
        ("/é?é=ø", "/%C3%A9?%C3%A9=%C3%B8"),
        (os.fsdecode(b"/\xff"), "/%FF"),
        ("/a@b:c", "/a@b:c"),
    ],
)
def test_target(listener: Listener, suffix: str, target: str) -> None:
    with start("get", listener.url(suffix)) as process:
        [request] = listener.serve(OK)
        assert request.decode().splitlines()[0] == f"GET {target} HTTP/1.1"
        assert ended(process) == Done(0, b"hello", "")


def test_ipv6() -> None:
    with Listener("::1") as listener:
        with start("get", listener.url()) as process:
            [request] = listener.serve(OK)
            done = ended(process)
    assert f"\r\nHost: {listener.authority}\r\n".encode() in request
    assert done == Done(0, b"hello", "")


def test_fields(listener: Listener) -> None:
    fields = ["-H", "Accept: text/plain", "-H", "X:1", "-H", "X: 2 ", "-H", "Host: example.org"]
    with start("get", *fields, listener.url()) as process:
        [request] = listener.serve(OK)
        assert ended(process).status == 0
    for line in (b"Accept: text/plain", b"X: 1", b"X: 2", b"Host: example.org"):
        assert b"\r\n" + line + b"\r\n" in request
    assert request.count(b"Host:") == 1


@pytest.mark.parametrize("written", ["head", "both"])
def test_head(listener: Listener, written: str) -> None:
    response, body = (OK, b"hello") if written == "both" else (NOT_FOUND, b"")
    with start("get", "--show-headers", listener.url()) as process:
        listener.serve(response)
        done = ended(process)
    assert done.status == (0 if written == "both" else 1)
    assert done.out == response[: response.index(b"\r\n\r\n") + 4] + body


# --------------------------------------------------------------------- several documents


def test_one_connection_for_one_server(listener: Listener) -> None:
    urls = [listener.url(path) for path in ("/1", "/2", "/3")]
    with start("get", *urls) as process:
        requests = listener.serve(OK, NOT_FOUND, OK)
        done = ended(process)
    assert [request.split()[1] for request in requests] == [b"/1", b"/2", b"/3"]
    assert done == failure(f"{urls[1]}: the server responded with 404 Not Found", b"hellohello")
    assert listener.is_left_alone()


def test_server_did_not_keep_the_connection(listener: Listener) -> None:
    with start("get", listener.url("/1"), listener.url("/2")) as process:
        listener.serve(OK)
        [request] = listener.serve(OK)
        assert request.startswith(b"GET /2 ")
        assert ended(process) == Done(0, b"hellohello", "")


def test_others_are_fetched_when_one_fails(listener: Listener, refused: str) -> None:
    urls = [f"http://{refused}/", listener.url("/1"), listener.url("/2"), f"http://{refused}/x"]
    with start("get", *ONCE, *urls) as process:
        listener.serve(OK[:-1])
        listener.serve(OK)
        done = ended(process)
    assert (done.status, done.out) == (1, b"hellhello")
    assert done.err.splitlines() == [
        f"dugong: {urls[0]}: cannot connect to {refused}: Connection refused",
        f"dugong: {urls[1]}: the connection ended 1 bytes before the end of the body",
        f"dugong: {urls[3]}: cannot connect to {refused}: Connection refused",
    ]
