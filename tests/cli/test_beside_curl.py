"""Each option beside curl: both send the same requests, apart from the order of the fields.

`User-Agent` differs. dugong also sends `Connection: keep-alive`, and `Accept-Encoding: identity`
unless it can decode the response: without that field, a server may choose any coding.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import PATIENCE, called
from tests.support.in_turn import in_turn
from tests.support.site import Reply, Seen, Site, redirect, site

CURL = shutil.which("curl")

pytestmark = pytest.mark.skipif(CURL is None, reason="curl is not installed")


@pytest.fixture
def server() -> Iterator[Site]:
    with site() as server:
        server.continues = True
        yield server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "data.txt").write_bytes(b"one\r\ntwo\n")
    (tmp_path / "cookies").write_text(
        "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tjar\tyes\n"
    )
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login walrus password tusk\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shape(seen: Seen) -> tuple[str, str, list[tuple[str, str]], bytes]:
    """Return what of a request must be the same."""
    fields = []
    body = seen.body
    for name, given in seen.fields:
        value = given
        if name in ("user-agent", "connection") and not value.startswith("mine"):
            continue
        if name in ("accept-encoding", "proxy-connection"):  # the latter is obsolete
            continue
        if match := re.search("boundary=(.*)", value):
            body = body.replace(match[1].encode(), b"BOUNDARY")
            value = value.replace(match[1], "BOUNDARY")
        if name == "content-length" and "boundary=" in (seen["content-type"] or ""):
            continue  # the boundaries have different lengths
        fields.append((name.removesuffix(":"), value))  # curl sends "X:" without a space
    return seen.method, seen.target, sorted(fields), body


@in_turn(
    "options",
    [
        [],
        ["-H", "X: 1"],
        ["-H", "X: 1", "-H", "x: 2"],
        ["-H", "Accept:"],
        ["-H", "X;"],
        ["-H", "X: \u00e9"],
        ["-H", "Host: example.org"],
        ["-A", "mine/1"],
        ["-e", "http://a/b"],
        ["-u", "walrus:tusk"],
        ["-u", "walrus:tu:sk"],
        ["-n"],
        ["-b", "a=b; c=d"],
        ["-b", "cookies"],
        ["-I"],
        ["-X", "DELETE"],
        ["-X", "PURGE", "-d", "a=b"],
        ["-d", "a=b"],
        ["-d", "a=b", "-d", "c=d e"],
        ["-d", ""],
        ["-d", "@data.txt"],
        ["--data-raw", "@data.txt"],
        ["--data-binary", "@data.txt"],
        ["--data-urlencode", "a b=c"],
        ["--data-urlencode", "name=b & \u00e9"],
        ["--data-urlencode", "=b=c"],
        ["--data-urlencode", "name@data.txt"],
        ["-d", "a=b", "-H", "Content-Type: text/x"],
        ["-G", "-d", "a=b", "--data-urlencode", "c=d e"],
        ["--json", '{"a": 1}'],
        ["--json", "[1,", "--json", "2]"],
        ["--json", "{}", "-H", "Accept: text/x"],
        ["-F", "a=b"],
        ["-F", "a=b", "-F", "file=@data.txt"],
        ["-F", "file=@data.txt;type=text/x;filename=other"],
        ["-F", "text=<data.txt"],
        ["-H", "Range: bytes=0-1"],
    ],
)
def test_requests(server: Site, folder: Path, options: list[str]) -> None:
    assert_same(server, [*options, f"{server.url}/a?b=c"])


@in_turn(
    ("status", "options"),
    [
        (status, options)
        for status in (301, 302, 303, 307, 308)
        for options in ([], ["-d", "a=b"], ["-u", "walrus:tusk"], ["-b", "a=b"])
    ],
)
def test_redirects(server: Site, folder: Path, status: int, options: list[str]) -> None:
    server.on("/a", redirect("/b?c", status))
    assert_same(server, ["-L", *options, f"{server.url}/a"])
    other = server.at("localhost")
    server.on("/a", redirect(f"{other}/b", status))
    if status != 303 and options != ["-b", "a=b"]:  # curl sends these cookies to anyone
        assert_same(server, ["-4", "-L", *options, f"{server.url}/a"])


def test_a_url_with_credentials_or_without_a_scheme(server: Site, folder: Path) -> None:
    where = server.url.removeprefix("http://")
    assert_same(server, [f"http://walrus:t%40sk@{where}/a"])
    assert_same(server, [f"{where}/a"])
    assert_same(server, ["--resolve", f"walrus.test:{server.port}:127.0.0.1",
                         f"walrus.test:{server.port}/a"])  # fmt: skip
    assert_same(server, ["-x", where, "http://walrus.test/a"])
    assert_same(server, ["-x", where, "--noproxy", "127.0.0.1", f"{server.url}/a"])


def test_cookies_are_kept(server: Site, folder: Path) -> None:
    server.on("/a", Reply(headers={"Set-Cookie": "c=d; Path=/"}))
    for program in ("curl", "dugong"):
        assert_same(server, ["-b", "cookies", "-c", f"jar-{program}", f"{server.url}/a"])
    for name in ("jar-curl", "jar-dugong"):
        assert_same(server, ["-b", name, f"{server.url}/b"])
        assert server.seen[-1]["cookie"] in ("jar=yes; c=d", "c=d; jar=yes")


def assert_same(server: Site, arguments: list[str]) -> None:
    assert CURL is not None
    server.seen.clear()
    subprocess.run([CURL, "-s", *arguments], capture_output=True, timeout=PATIENCE, check=True)
    expected = [shape(seen) for seen in server.seen]
    server.seen.clear()
    done = called("get", *arguments)
    assert done.status == 0, done.err
    assert [shape(seen) for seen in server.seen] == expected, arguments
    assert all("accept-encoding" in seen for seen in server.seen)


@pytest.mark.parametrize(
    ("arguments", "curls"),
    [
        ([], 0),
        (["--fail", "/missing"], 22),
        (["--fail-with-body", "/missing"], 22),
    ],
)
def test_exit_status(server: Site, folder: Path, arguments: list[str], curls: int) -> None:
    """0 means the same; curl has a number for each kind of failure."""
    assert CURL is not None
    server.on("/missing", Reply(404, b"sorry", {"Content-Type": "text/plain"}))
    words = [f"{server.url}{word}" if word.startswith("/") else word for word in arguments]
    words = words if curls else [*words, f"{server.url}/"]
    done = subprocess.run([CURL, "-s", *words], capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == curls
    ours = called("get", *words)
    assert ours.status == bool(curls)
    assert ours.out == done.stdout
