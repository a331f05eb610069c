"""Options of `dugong get` and its relatives, beyond the requests themselves."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dugong import __version__
from tests.cli.command import Done, called, run
from tests.support.servers import HOST, NginxEndpoints
from tests.support.site import Reply, Seen, Site, redirect, site

MISSING = Reply(404, b"<p>no <b>walrus</b> here</p>", {"Content-Type": "text/html"})


@pytest.fixture
def server() -> Iterator[Site]:
    with site() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_it_names_itself(server: Site) -> None:
    assert called("get", f"{server.url}/a").out == b"ok"
    assert server.seen[0]["user-agent"] == f"dugong/{__version__}"


@pytest.mark.parametrize(
    ("options", "out", "err"),
    [
        ([], b"", "{}"),
        (["--fail-with-body"], MISSING.body, "{}"),
        (["-s"], b"", ""),
        (["-sS"], b"", "{}"),
        (["-s", "--fail-with-body"], MISSING.body, ""),
    ],
)
def test_errors(server: Site, options: list[str], out: bytes, err: str) -> None:
    server.on("/a", MISSING)
    url = f"{server.url}/a"
    said = "" if "--fail-with-body" in options else ": no walrus here"
    message = f"dugong: {url}: the server responded with 404 X{said}\n"
    assert called("get", *options, url) == Done(1, out, err.format(message))


def test_a_heading_with_the_status_is_not_repeated(server: Site) -> None:
    page = b"<title>401</title><h1>401 Authorization Required</h1><hr><center>nginx</center>"
    server.on("/a", Reply(401, page, {"Content-Type": "text/html"}))
    done = called("get", f"{server.url}/a")
    assert done.err.endswith(": the server responded with 401 X\n")


def test_heads(server: Site, folder: Path) -> None:
    server.on("/a", redirect("/b"))
    head = b"HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\n"
    moved = b"HTTP/1.1 302 X\r\nLocation: /b\r\nContent-Length: 5\r\n\r\n"
    assert called("get", "-I", f"{server.url}/c") == Done(0, head, "")
    assert server.seen[0].method == "HEAD"
    assert called("get", "--show-headers", "-L", f"{server.url}/a").out == moved + head + b"ok"
    assert called("get", "--show-headers", "-o", "x", f"{server.url}/c") == Done(0, b"", "")
    assert (folder / "x").read_bytes() == head + b"ok"


@pytest.mark.parametrize("where", ["out", "file"])
def test_verbose(server: Site, folder: Path, where: str) -> None:
    target = [] if where == "out" else ["-o", "x"]
    lines = called("get", "-v", *target, "-H", "X: 1", f"{server.url}/a?b").err.splitlines()
    assert lines[:2] == [f"* connecting to {server.url}", "* connected"]
    assert lines[2] == "> GET /a?b HTTP/1.1"
    assert "> X: 1" in lines
    assert lines[-2:] == ["< HTTP/1.1 200 X", "< Content-Length: 2"]


def test_compressed(server: Site, folder: Path) -> None:
    server.on("/a", Reply(body=gzip.compress(b"hello"), headers={"Content-Encoding": "gzip"}))
    assert gzip.decompress(called("get", f"{server.url}/a").out) == b"hello"
    assert called("get", "--compressed", f"{server.url}/a") == Done(0, b"hello", "")
    assert "gzip" in (server.seen[-1]["accept-encoding"] or "")
    assert called("get", "--compressed", "-o", "x", f"{server.url}/a") == Done(0, b"", "")
    assert (folder / "x").read_bytes() == b"hello"


def test_the_response_to_a_post_in_a_file(server: Site, folder: Path) -> None:
    (folder / "x").write_text("before")
    (folder / "x").chmod(0o600)
    assert called("post", "-d", "a=b", "-o", "x", f"{server.url}/a") == Done(0, b"", "")
    assert (folder / "x").read_bytes() == b"ok"
    assert (folder / "x").stat().st_mode & 0o777 == 0o600
    server.on("/b", MISSING)
    assert called("request", "PATCH", "-d", "a=b", "-o", "y", f"{server.url}/b").status == 1
    assert [path.name for path in folder.iterdir()] == ["x"]
    assert [seen.method for seen in server.seen] == ["POST", "PATCH"]


def test_lists(server: Site, folder: Path) -> None:
    where = server.url.removeprefix("http://")
    (folder / "urls").write_text(
        f"# a comment\n\n {server.url}/a\r\n{where}/b\n{where}/\n{where}/a"
    )
    done = called("get", "-O", "-i", "urls", f"{server.url}/c")
    assert done.status == 1
    assert done.err.splitlines() == [
        f"dugong: {server.url}/ has no file name: use -o FILE",
        f"dugong: {server.url}/a would be saved as a, too: use -o FILE",
    ]
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b", "c", "urls"]
    assert called("get", "-i", "none") == Done(
        1, b"", "dugong: cannot read none: No such file or directory\n"
    )


@pytest.mark.parametrize("to_files", [False, True])
def test_parallel(server: Site, folder: Path, to_files: bool) -> None:
    """All are requested before one is answered; what is printed is not mixed."""
    everyone = threading.Barrier(5)

    def answer(seen: Seen) -> Reply:
        everyone.wait(60)
        return Reply(body=seen.target.encode() * 100_000)

    names = "abcde"
    for name in names:
        server.on(f"/{name}", answer)
    options = ["-O"] if to_files else []
    done = called("get", "-Z", *options, *(f"{server.url}/{name}" for name in names))
    assert (done.status, done.err) == (0, "")
    pieces = [f"/{name}".encode() * 100_000 for name in names]
    if to_files:
        assert [(folder / name).read_bytes() for name in names] == pieces
    else:
        found = [done.out[i : i + 200_000] for i in range(0, len(done.out), 200_000)]
        assert sorted(found) == pieces


def test_parts(nginx: NginxEndpoints, folder: Path) -> None:
    url = f"http://{HOST}:{nginx.plain.port}/doc/large.bin"
    assert called("get", url, "-o", "one") == Done(0, b"", "")
    assert called("get", url, "--parts", "4", "-o", "four") == Done(0, b"", "")
    assert (folder / "one").read_bytes() == (folder / "four").read_bytes()


def test_certificates(nginx: NginxEndpoints, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = os.environ["SSL_CERT_FILE"]
    monkeypatch.setenv("SSL_CERT_FILE", os.devnull)
    url = f"https://{HOST}:{nginx.tls.port}/doc/1.txt"
    assert called("get", url).status == 1
    assert called("get", "-k", url).status == 0
    assert called("get", "--cacert", authority, url).status == 0


def test_addresses(server: Site) -> None:
    url = f"http://walrus.test:{server.port}/"
    override = ["--resolve", f"walrus.test:{server.port}:127.0.0.1"]
    assert called("get", *override, url).out == b"ok"
    assert called("get", "-4", *override, url).out == b"ok"
    assert called("get", "-6", *override, url).status == 1
    assert called("get", "--interface", "127.0.0.1", server.url).out == b"ok"


def test_environment_and_noproxy(server: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    assert called("get", "http://walrus.test/").out == b"ok"
    assert server.seen[-1].target == "http://walrus.test/"
    assert called("get", "--noproxy", "*", f"{server.url}/a").out == b"ok"
    assert server.seen[-1].target == "/a"


def test_time_limits(server: Site) -> None:
    ended = threading.Event()
    server.on("/a", lambda seen: Reply() if ended.wait(60) else None)
    try:
        done = run("get", "-m", "0.2", "--retry", "0", f"{server.url}/a")
    finally:
        ended.set()
    assert done.status == 1
    assert "within 0.2 seconds" in done.err


@pytest.mark.parametrize("given", ["sha-256", "sha256:{}", "sha-512"])
def test_put_with_a_digest(server: Site, folder: Path, given: str) -> None:
    (folder / "a").write_bytes(b"hello")
    (folder / "b").write_bytes(b"")
    digest = hashlib.sha256(b"hello")
    done = called("put", "--checksum", given.format(digest.hexdigest()), "a", f"{server.url}/")
    assert done == Done(0, b"", "")
    sent = server.seen[-1]
    if "256" in given:
        assert sent["repr-digest"] == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
    assert (sent.target, sent.body) == ("/a", b"hello")
    done = called("put", "--checksum", digest.hexdigest(), "b", f"{server.url}/")
    assert "b has the sha-256 digest e3b0c44" in done.err
    assert len(server.seen) == 1


def test_put_several_and_redirected(server: Site, folder: Path) -> None:
    for name in "abc":
        (folder / name).write_text(name)
    server.on("/a", redirect("/new/a", 307))
    done = called("put", "-L", "a", "b", "none", "c", f"{server.url}/")
    assert done == Done(1, b"", f"dugong: {server.url}/none: cannot read none: "
                                "No such file or directory\n")  # fmt: skip
    assert [(seen.target, seen.body) for seen in server.seen] == [
        ("/a", b"a"), ("/new/a", b"a"), ("/b", b"b"), ("/c", b"c"),
    ]  # fmt: skip
    assert called("put", "a", "b", f"{server.url}/x").status == 2
