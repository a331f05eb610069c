"""The argument *auth*: Basic, callables, netrc files."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from dugong import InvalidRequest
from dugong.client.authentication import Basic, check_auth, fields_of, find_netrc
from dugong.client.url import parse


def plain(basic: Any) -> bytes:
    assert isinstance(basic, Basic)
    scheme, _, value = basic.authorization.partition(" ")
    assert scheme == "Basic"
    return b64decode(value, validate=True)


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        (("user", "pass"), b"user:pass"),
        (["user", "a:b"], b"user:a:b"),
        (("", ""), b":"),
        (("ü", "\u20ac"), b"\xc3\xbc:\xe2\x82\xac"),
        ((b"\xff", b"\xfe"), b"\xff:\xfe"),
        (("\udcff", "x"), b"\xff:x"),
        (("user", "p" * 200), b"user:" + b"p" * 200),
    ],
)
def test_basic(auth: Any, expected: bytes) -> None:
    assert plain(check_auth(auth)) == expected


def test_credentials_of_a_url() -> None:
    credentials = parse("http://%C3%BC:%FF%@h/").credentials
    assert plain(check_auth(credentials)) == b"\xc3\xbc:\xff%"


@pytest.mark.parametrize(
    "auth", [("s3cret:x", "y"), ("s3cret\r\n", "y"), ("x", "s3cret\n"), ("x\0", "s3cret"),
             ("s3cret\ud800", "y"), "s3cret", "NETRC"],
)  # fmt: skip
def test_not_valid(auth: Any) -> None:
    with pytest.raises(InvalidRequest, match="auth") as info:
        check_auth(auth)
    assert "s3cret" not in str(info.value)


@pytest.mark.parametrize("auth", [1, ("s3cret",), ("s3cret", 1), (None, "s3cret"), {"s3cret": 1}])
def test_wrong_kind(auth: Any) -> None:
    with pytest.raises(TypeError, match="auth") as info:
        check_auth(auth)
    assert "s3cret" not in str(info.value)


def test_kept_as_they_are() -> None:
    assert check_auth(None) is None
    assert check_auth("netrc") == "netrc"
    assert check_auth(len) is len
    basic = Basic("u", "s3cret")
    assert check_auth(basic) is basic
    assert "s3cret" not in repr(basic)
    assert basic.authorization not in repr(basic)


# --------------------------------------------------------------------------------- callables


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"Authorization": "Bearer x"}, [("Authorization", "Bearer x")]),
        ([("X-A", 1), (b"X-B", b"2"), ("X-C", None)], [("X-A", "1"), ("X-B", "2")]),
        (iter([("A", "b: c")]), [("A", "b: c")]),
        ({"A": "b", "Host": "h"}, [("Host", "h"), ("A", "b")]),
        (None, []),
        ({}, []),
    ],
    ids=range(6),
)
def test_fields(fields: Any, expected: list[tuple[str, str]]) -> None:
    seen = []

    def auth(request: Any) -> Any:
        seen.append(request)
        return fields

    assert fields_of(auth, "request") == expected
    assert seen == ["request"]


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"Authorization": "s3cret\r\nX: y"}, InvalidRequest),
        ({"A\r\nB": "s3cret"}, InvalidRequest),
        ({"A": "s3cret\0"}, InvalidRequest),
        ({"A": ["s3cret"]}, TypeError),
        ("Bearer s3cret", TypeError),
        (3, TypeError),
    ],
)
def test_fields_that_are_not_valid(fields: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind) as info:
        fields_of(lambda _: fields, None)
    assert "s3cret" not in str(info.value)


def test_exceptions_pass_through() -> None:
    def auth(_: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fields_of(auth, None)


def test_an_async_callable() -> None:
    async def auth(_: Any) -> dict[str, str]:
        return {}

    with pytest.raises(TypeError, match="async"):
        fields_of(auth, None)


# ------------------------------------------------------------------------------------- netrc

NETRC = """
machine a.example login me password s3cret
machine b.example
    login you
    account x
    password "with blank"
machine c.example login nobody
"""


@pytest.fixture
def netrc(tmp_path: Path) -> dict[str, str]:
    path = tmp_path / "netrc"
    path.write_text(NETRC)
    return {"NETRC": str(path)}


def test_netrc(netrc: dict[str, str]) -> None:
    assert plain(find_netrc("a.example", netrc)) == b"me:s3cret"
    assert plain(find_netrc("b.example", netrc)) == b"you:with blank"
    assert plain(find_netrc("c.example", netrc)) == b"nobody:"
    for host in ("example", "sub.a.example", "a.example.", "10.0.0.1"):
        assert find_netrc(host, netrc) is None


def test_default_entry(netrc: dict[str, str]) -> None:
    with Path(netrc["NETRC"]).open("a") as file:
        file.write("default login anonymous password guest\n")
    assert plain(find_netrc("a.example", netrc)) == b"me:s3cret"
    assert plain(find_netrc("other.example", netrc)) == b"anonymous:guest"


def test_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_netrc("a.example", {"NETRC": str(tmp_path / "none")}) is None
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_netrc("a.example", {}) is None
    assert find_netrc("a.example", {"NETRC": ""}) is None


def test_in_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".netrc"
    path.write_text(NETRC)
    path.chmod(0o600)
    assert plain(find_netrc("a.example", {})) == b"me:s3cret"
    path.chmod(0o644)
    with pytest.raises(InvalidRequest, match="permissive"):
        find_netrc("a.example", {})


@pytest.mark.parametrize(
    "text", ["machine a login b s3cret c", "s3cret", "machine a login b password \xff s3cret x"]
)
def test_a_file_that_is_not_valid(netrc: dict[str, str], text: str) -> None:
    Path(netrc["NETRC"]).write_text(text, encoding="latin-1")
    with pytest.raises(InvalidRequest, match="netrc") as info:
        find_netrc("a", netrc)
    assert "s3cret" not in str(info.value)


def test_a_password_with_control_characters(netrc: dict[str, str]) -> None:
    Path(netrc["NETRC"]).write_text('machine a login b password "s3cret\x01"\n')
    with pytest.raises(InvalidRequest, match="control character") as info:
        find_netrc("a", netrc)
    assert "s3cret" not in str(info.value)
