"""What the environment names and is not there: one line says so, and nobody is contacted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.command import OK, Done, Listener, ended, failure, run, start
from tests.support.servers import HOST, NginxEndpoints

pytestmark = pytest.mark.slow

MISSING = "No such file or directory"


@pytest.fixture
def there(tmp_path: Path) -> str:
    """A directory."""
    return str(tmp_path)


@pytest.mark.parametrize(
    "command",
    [
        ["get", "URL"],
        ["get", "URL", "URL"],
        ["put", __file__, "URL"],
        ["check", "URL", "URL"],
        ["check", "--from-html", "URL"],
        ["time", "URL"],
    ],
)
def test_no_authorities(
    listener: Listener, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    url = f"https://{listener.authority}/x"
    done = run(*(word.replace("URL", url) for word in command))
    assert done == failure(f"cannot read /nowhere/ca.pem, which SSL_CERT_FILE names: {MISSING}")
    assert listener.is_left_alone()


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("SSL_CERT_FILE", "{there}", "cannot read {value}, which {variable} names: Is a directory"),
        ("SSL_CERT_DIR", "/no", "cannot read {value}, which {variable} names: " + MISSING),
        ("SSL_CERT_DIR", "/no:/none", "cannot read {value}, which {variable} names: " + MISSING),
        (
            "SSL_CERT_DIR",
            "{there}/authority.pem",
            "cannot read {value}, which {variable} names: Not a directory",
        ),
        ("SSLKEYLOGFILE", "/no/log", "cannot write to {value}, which {variable} names: " + MISSING),
    ],
)
def test_what_is_wrong(
    listener: Listener,
    there: str,
    variable: str,
    value: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    value = value.format(there=there)
    monkeypatch.setenv(variable, value)
    done = run("get", f"https://{listener.authority}/x")
    assert done == failure(message.format(variable=variable, value=value))
    assert listener.is_left_alone()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_may_not_be_read(listener: Listener) -> None:
    file = Path(os.environ["SSL_CERT_FILE"])
    file.chmod(0)
    done = run("get", f"https://{listener.authority}/x")
    message = f"cannot read {file}, which SSL_CERT_FILE names: Permission denied"
    assert done == failure(message)


@pytest.mark.parametrize("directories", ["/no:{there}", "", ":"])
def test_some_are_there(
    nginx: NginxEndpoints, there: str, directories: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists that are made for several systems name what others have."""
    monkeypatch.setenv("SSL_CERT_DIR", directories.format(there=there))
    assert run("get", f"https://{HOST}:{nginx.tls.port}/doc/1.txt").status == 0


def test_nothing_is_named(nginx: NginxEndpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty value is left to OpenSSL."""
    monkeypatch.setenv("SSL_CERT_FILE", "")
    done = run("get", f"https://{HOST}:{nginx.tls.port}/doc/1.txt")
    assert done.status == 1
    assert "is not trusted: unable to get local issuer certificate" in done.err


def test_nobody_needs_them(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    with start("get", listener.url()) as process:
        listener.serve(OK)
        assert ended(process) == Done(0, b"hello", "")


def test_a_redirect_needs_them(
    listener: Listener, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is complete is left there."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    urls = [listener.url("/a"), listener.url("/b")]
    with start("get", "-L", "-O", *urls, cwd=folder) as process:
        moved = f"HTTP/1.1 302 There\r\nLocation: https://{listener.authority}/\r\n"
        listener.serve(OK, f"{moved}Content-Length: 0\r\n\r\n".encode())
        message = f"cannot read /nowhere/ca.pem, which SSL_CERT_FILE names: {MISSING}"
        assert ended(process) == failure(message)
    assert listener.is_left_alone()
    assert sorted(path.name for path in folder.iterdir()) == ["a", "old"]
