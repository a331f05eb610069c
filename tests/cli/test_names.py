"""Names of files that URLs and servers choose: none leads out of the directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dugong.cli.names import name_in_header, name_in_url
from tests.cli.command import Done, called
from tests.support.in_turn import in_turn
from tests.support.site import Reply, Site, site


@pytest.fixture
def server() -> Iterator[Site]:
    with site() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, in another one with a file that must stay as it is."""
    (tmp_path / "precious").write_text("before")
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "authority.pem"
    }


@in_turn(
    ("url", "name"),
    [
        ("http://a/b", "b"),
        ("http://a/b/c?d=/e#/f", "c"),
        ("http://a", None),
        ("http://a/", None),
        ("http://a/b/..", None),
        ("http://a/.", None),
        ("http://a/b\0c", None),
        ("http://a/%2e%2e%2fb", "%2e%2e%2fb"),
        ("http://a/.hidden", ".hidden"),
        ("http://a/-", "-"),
        ("http://a?b=/c", None),
    ],
)
def test_in_url(url: str, name: str | None) -> None:
    assert name_in_url(url) == name


@in_turn(
    ("disposition", "name"),
    [
        (None, None),
        ("attachment", None),
        ("attachment; filename=a.txt", "a.txt"),
        ('attachment; filename="a b;c.txt"', "a b;c.txt"),
        (r'attachment; filename="a\"b"', 'a"b'),
        ("inline; FileName = a", "a"),
        ('attachment; filename=""', None),
        ('attachment; filename="/etc/passwd"', "passwd"),
        ('attachment; filename="../../x"', "x"),
        (r'attachment; filename="..\..\x"', "x"),
        (r'attachment; filename="C:\\x\\y"', "y"),
        ('attachment; filename=".."', "__"),
        ('attachment; filename="."', "_"),
        ('attachment; filename=".bashrc"', "_bashrc"),
        ('attachment; filename="-rf"', "_rf"),
        ('attachment; filename="-"', "_"),
        ('attachment; filename="a\0b\tc"', "a_b_c"),
        ('attachment; filename="%2e%2e%2fx"', "%2e%2e%2fx"),
        ("attachment; filename*=UTF-8''na%C3%AFve; filename=naive", "na\u00efve"),
        ("attachment; filename*=UTF-8''%2e%2e%2fx", "x"),
        ("attachment; filename*=UTF-8''%2Fetc%5Cx%00y", "x_y"),
        ("attachment; filename*=iso-8859-1'en'%E9", "\u00e9"),
        ("attachment; filename*=klingon''x; filename=y", "y"),
        ('attachment; filename="\xc3\xa9"', "\u00e9"),
    ],
)
def test_in_header(disposition: str | None, name: str | None) -> None:
    assert name_in_header(disposition) == name


def test_where_files_go(server: Site, folder: Path) -> None:
    urls = [f"{server.url}/{name}" for name in ("a", "-", "%2e%2e%2fb")]
    assert called("get", "-O", *urls) == Done(0, b"", "")
    assert called("get", "-o", "x", urls[0], "-O", urls[1], "--output-dir", "sub").status == 1
    options = ["--output-dir", "sub/dir", "--create-dirs"]
    assert called("get", "-o", "x", "-O", *options, *urls[:2]) == Done(0, b"", "")
    assert sorted(contents(folder)) == ["%2e%2e%2fb", "-", "a", "sub/dir/-", "sub/dir/x"]


def test_named_by_the_server(server: Site, folder: Path) -> None:
    named = {"Content-Disposition": 'attachment; filename="../x"'}
    server.on("/a", Reply(body=b"1", headers=named), Reply(body=b"2", headers=named))
    server.on("/b", Reply(body=b"3"))
    assert called("get", "-OJ", f"{server.url}/a", f"{server.url}/b") == Done(0, b"", "")
    done = called("get", "-OJ", f"{server.url}/a")
    assert done.err == f"dugong: {server.url}/a: x exists: it is not overwritten\n"
    assert called("get", "-J", "--output-dir", "d", "--create-dirs", f"{server.url}/a").status == 0
    assert contents(folder) == {"x": b"1", "b": b"3", "d/x": b"2"}
    assert contents(folder.parent)["precious"] == b"before"


@pytest.mark.parametrize("where", ["../precious", "../new", "/dev/null"])
def test_symlinks(server: Site, folder: Path, where: str) -> None:
    """One in the directory is followed only within it."""
    (folder / "link").symlink_to(where)
    (folder / "inside").symlink_to("target")
    done = called("get", "-O", f"{server.url}/link")
    assert done.err == (
        f"dugong: {server.url}/link: link is a symlink that leads out of its directory\n"
    )
    named = {"Content-Disposition": "attachment; filename=link"}
    server.on("/b", Reply(body=b"3", headers=named))
    assert called("get", "-J", f"{server.url}/b").status == 1
    assert called("get", "-O", f"{server.url}/inside").status == 0
    assert contents(folder.parent) == {
        "precious": b"before", "folder/target": b"ok", "folder/inside": b"ok",
        **({"folder/link": b"before"} if where == "../precious" else {}),
    }  # fmt: skip
    assert os.path.lexists(folder / "link")
