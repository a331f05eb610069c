"""The command, used wrongly: one line says how, the exit status is 2, and nobody is contacted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dugong.cli import COMMANDS
from tests.cli.command import Done, called, run
from tests.support.in_turn import in_turn

URL = "http://127.0.0.1:1/a/b"

NO_HTTP = "a URL must begin with http:// or https://"
NO_HOST = "the host name is missing"
NO_PORT = "the port is not a number from 1 to 65535"
NO_PROXY = "proxy must be a URL http://[user:password@]host:port"
NO_SECONDS = "is not a positive number of seconds"


def misused(*args: str, run: Callable[..., Done] = called) -> str:
    """Return what the command says to *args*, which are wrong."""
    done = run(*args)
    assert (done.status, done.out) == (2, b"")
    assert done.err.count("\n") == 1
    prefix = "dugong: "
    assert done.err.startswith(prefix)
    return done.err.removeprefix(prefix).rstrip("\n")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "the following arguments are required: COMMAND (see dugong --help)"),
        (["--bogus"], "the following arguments are required: COMMAND (see dugong --help)"),
        (["get"], "the following arguments are required: URL (see dugong get --help)"),
        (["get", "-x", URL], "unrecognized arguments: -x (see dugong get --help)"),
    ],
)
def test_misuse(args: list[str], message: str) -> None:
    assert misused(*args, run=run) == message


def test_no_such_command() -> None:
    message = misused("fetch", URL, run=run)
    assert message.startswith("argument COMMAND: invalid choice: 'fetch'")
    assert message.endswith("(see dugong --help)")


@in_turn(
    ("url", "why"),
    [
        ("", NO_HTTP),
        ("localhost", NO_HTTP),
        ("localhost:8000/x", NO_HTTP),
        ("127.0.0.1:8000", NO_HTTP),
        ("ftp://localhost/", NO_HTTP),
        ("http:", NO_HOST),
        ("http:///x", NO_HOST),
        ("https://:80/", NO_HOST),
        ("http://localhost:0/", NO_PORT),
        ("http://localhost:65536/", NO_PORT),
        ("http://localhost:x/", NO_PORT),
        ("http://::1/", NO_PORT),
        ("http://a b/", "'a b' is not a host name or address"),
        ("http://.localhost/", "'.localhost' is not a host name or address"),
        ("http://é..localhost/", "'é..localhost' is not a host name or address"),
        ("http://[::1]x/", ""),
        ("http://[::x]/", ""),
        ("http://[127.0.0.1]/", ""),
        ("http://[::1/", ""),
        ("http://local\nhost/", "a URL cannot contain control characters"),
        ("http://localhost/\t", "a URL cannot contain control characters"),
    ],
)
def test_url(url: str, why: str) -> None:
    assert misused("get", url).startswith(f"argument URL: {url!r}: {why}")


@in_turn("user", ["walrus", "walrus:sea-cow", ""])
@in_turn("rest", ["127.0.0.1:1/", "127.0.0.1:x/", "[::1", "a..b/", ""])
@in_turn("scheme", ["http", "ftp"])
def test_url_with_password(user: str, rest: str, scheme: str) -> None:
    message = misused("get", f"{scheme}://{user}@{rest}")
    assert "use -H 'Authorization: …'" in message
    assert "sea-cow" not in message


@in_turn(
    ("args", "message"),
    [
        (["-o"], "argument -o: expected one argument"),
        (["-o", ""], "argument -o: '' is not a file name"),
        (["-o", "x/"], "argument -o: 'x/' is not a file name"),
        (["-o", "x", "-O"], "argument -O: not allowed with argument -o"),
        (["-o", "x", URL], "-o FILE takes one URL: use -O for several"),
        (["-O", URL], "two URLs would be saved as b: use -o FILE"),
        (["-O", "http://127.0.0.1:1/a/"], "http://127.0.0.1:1/a/ has no file name"),
        (["-O", "http://127.0.0.1:1"], "http://127.0.0.1:1 has no file name"),
        (["-O", "http://127.0.0.1:1/.."], "http://127.0.0.1:1/.. has no file name"),
        (["-H", "Accept"], "argument -H: a field must have the form 'Name: value'"),
        (["-H", "A b: c"], "argument -H: the name of field 1 has a space at index 1"),
        (["-H", ": c"], "argument -H: the name of field 1 is empty"),
        (["-H", "A: b\r\nC: d"], "argument -H: the value of field A has a line end"),
        (["-H", "A: €"], "argument -H: the value of field A has a character outside Latin-1"),
        (["-H", "Host: a b"], "argument -H: Host must be one host name"),
        (["-H", "Host: a", "-H", "Host: b"], "argument -H: Host must be one host name"),
        (
            ["-H", "Content-Length: 5"],
            "argument -H: Content-Length is '5', but",
        ),
        (["-H", "Transfer-Encoding: chunked"], "argument -H: Transfer-Encoding"),
        (["--proxy", "localhost:8080"], f"argument --proxy: {NO_PROXY}, not this value"),
        (
            ["--proxy", "socks4://localhost"],
            f"argument --proxy: {NO_PROXY} with the scheme http, https, socks5, socks5h, not",
        ),
        (["--proxy", "http://a b"], "argument --proxy: the host of proxy 'a b' is not a host"),
        (["--proxy", "http://a..b"], "argument --proxy: the host of proxy 'a..b' is not a host"),
        (
            ["--proxy", "http://local\nhost"],
            "argument --proxy: a URL cannot contain control characters",
        ),
        (["--proxy", "http://a", "--unix-socket", "x"], "argument --unix-socket: not allowed with"),
        (["--unix-socket", ""], "argument --unix-socket: '' is not a file name"),
        (["--continue"], "--continue needs a file to resume: use -O or -o FILE"),
        (["--continue", "-o", "-"], "--continue needs a file to resume: use -O or -o FILE"),
        (["--continue", "-O", "-i"], "--continue cannot be combined with -i"),
        (
            ["--continue", "-O", "-H", "range: bytes=1-"],
            "--continue cannot be combined with -H Range or -H If-Range",
        ),
        (["--retries", "-1"], "argument --retries/--retry: '-1' is not a non-negative integer"),
        (["--retries", "x"], "argument --retries/--retry: 'x' is not a non-negative integer"),
        (["--retry-delay", "0"], f"argument --retry-delay: '0' {NO_SECONDS}"),
        (["--timeout", "soon"], f"argument --timeout: 'soon' {NO_SECONDS}"),
        (["--timeout", "0"], f"argument --timeout: '0' {NO_SECONDS}"),
        (["--timeout", "-1"], f"argument --timeout: '-1' {NO_SECONDS}"),
        (["--timeout", "nan"], f"argument --timeout: 'nan' {NO_SECONDS}"),
        (["--timeout", "inf"], f"argument --timeout: 'inf' {NO_SECONDS}"),
    ],
)
def test_option(args: list[str], message: str) -> None:
    # The URL comes first, so that a value that is missing is missed.
    said = misused("get", "http://127.0.0.1:1/b", *args)
    assert said.startswith(message)
    assert said.endswith(" (see dugong get --help)")


def test_help(tmp_path: Path) -> None:
    done = run("get", "--help", cwd=tmp_path)
    assert (done.status, done.err) == (0, "")
    options = (b"-o", b"-O", b"-i", b"-H", b"--proxy", b"--timeout", b"--unix-socket")
    assert [option for option in options if b"\n  " + option not in done.out] == []
    assert max(map(len, done.out.splitlines())) <= 100
    done = run("--help")
    assert (done.status, done.err) == (0, "")
    assert b"dugong COMMAND --help" in done.out


@pytest.mark.parametrize("command", [*COMMANDS])
def test_help_of_each(command: str) -> None:
    done = run(command, "--help")
    assert (done.status, done.err) == (0, "")
    assert f"usage: dugong {command} ".encode() in done.out
    assert b"130 after Ctrl-C" in done.out or command == "completion"
    assert b"\n  dugong " in done.out or command == "completion"  # an example
    assert max(len(line) for line in done.out.decode().splitlines()) <= 100


def test_version() -> None:
    from dugong import __version__

    assert run("--version") == Done(0, f"dugong {__version__}\n".encode(), "")
