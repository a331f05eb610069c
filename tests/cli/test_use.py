"""The command, used wrongly: one line says how, the exit status is 2, and nobody is contacted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dugong.cli import COMMANDS
from tests.cli.command import Done, called, run
from tests.support.in_turn import in_turn

URL = "http://127.0.0.1:1/a/b"

NO_URL = "url must be a URL such as 'https://www.example.org', not"
NO_HOST = "has no valid host and port"
NO_PORT = "the port of url must be a number from 1 to 65535"
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
        (["--bogus"], "unknown option --bogus (see dugong --help)"),
        (["get"], "give at least one URL, or -i FILE (see dugong get --help)"),
        (["get", "--bogus", URL], "unknown option --bogus (see dugong get --help)"),
        (["get", "--bogus", "X: y", URL], "unknown option --bogus (see dugong get --help)"),
        (["put", "--bogus", "X: y", URL], "unknown option --bogus (see dugong put --help)"),
        (["time", "--bogus", "X: y", URL], "unknown option --bogus (see dugong time --help)"),
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
        ("", NO_URL),
        ("ftp://localhost/", "url must be a URL with the scheme http or https, not 'ftp://"),
        ("http:", NO_URL),
        ("http:///x", NO_HOST),
        ("https://:80/", NO_HOST),
        ("http://localhost:0/", NO_PORT),
        ("http://localhost:x/", NO_HOST),
        ("http://::1/", NO_HOST),
        ("http://a b/", NO_HOST),
        ("a b/", NO_HOST),
        ("http://.localhost/", "the host of url '.localhost' is not a host name or address"),
        ("http://[::1]x/", ""),
        ("http://[127.0.0.1]/", ""),
        ("http://[::1/", ""),
        ("http://[::1%251]/", ""),
        ("http://local\nhost/", NO_HOST),
    ],
)
def test_url(url: str, why: str) -> None:
    message = misused("get", url)
    assert why in message
    assert message.endswith("(see dugong get --help)")


@in_turn("rest", ["127.0.0.1:x/", "[::1", "a..b/", ""])
@in_turn("scheme", ["http", "ftp"])
def test_url_with_password(rest: str, scheme: str) -> None:
    assert "sea-cow" not in misused("get", f"{scheme}://walrus:sea-cow@{rest}")


@in_turn(
    ("args", "message"),
    [
        (["-o"], "argument -o/--output: expected one argument"),
        (["-o", ""], "argument -o/--output: '' is not a file name"),
        (["-o", "x/"], "argument -o/--output: 'x/' is not a file name"),
        (["-o", "x", "-O"], "give -o FILE or -O once for each URL, or a single -O for all"),
        (["-o", "x", URL], "give -o FILE or -O once for each URL, or a single -O for all"),
        (["-O", URL], "two URLs would be saved as b: use -o FILE"),
        (["-O", "http://127.0.0.1:1/a/"], "http://127.0.0.1:1/a/ has no file name"),
        (["-O", "http://127.0.0.1:1"], "http://127.0.0.1:1 has no file name"),
        (["-O", "http://127.0.0.1:1/.."], "http://127.0.0.1:1/.. has no file name"),
        (["-O", "http://u:p@127.0.0.1:1/"], "http://127.0.0.1:1/ has no file name"),
        (["-J", "-o", "x"], "-J cannot be combined with -o"),
        (["-d", "x", "--json", "{}"], "--data and --json cannot be combined"),
        (["--checksum", "x"], "argument --checksum: 'x' does not have the form ALGORITHM:DIGITS"),
        (["--checksum", "sha256:00"], "argument --checksum: a sha-256 digest has 64 digits"),
        (["--checksum", "sha256"], "--checksum sha-256 needs the digits of the digest"),
        (["--parts", "0"], "argument --parts: must be at least 1"),
        (["--limit-rate", "0"], "argument --limit-rate: '0' is not a number of bytes"),
        (["--resolve", "a:1"], "argument --resolve: 'a:1' does not have the form HOST:PORT"),
        (["-4", "-6"], "argument -6/--ipv6: not allowed with argument -4/--ipv4"),
        (["--cacert", "/nowhere"], "--cacert: cannot use '/nowhere': No such file or directory"),
        (["--cert", "/nowhere"], "--cert: cannot use '/nowhere': No such file or directory"),
        (["--key", "x"], "--key needs --cert"),
        (["-X", "a b"], "method must be a token such as 'GET'"),
        (["-H", "Accept"], "argument -H/--header: a field must have the form 'Name: value'"),
        (["-H", "A b: c"], "the name of field 1 has a space at index 1"),
        (["-H", ": c"], "the name of field 1 is empty"),
        (["-H", "A: b\r\nC: d"], "the value of field A has a line end"),
        (["--proxy", "socks4://localhost"], f"{NO_PROXY} with the scheme http, https, socks5,"),
        (["--proxy", "http://a b"], "the host of proxy 'a b' is not a host"),
        (["--proxy", "http://a..b"], "the host of proxy 'a..b' is not a host"),
        (["--proxy", "http://a", "--unix-socket", "x"], "argument --unix-socket: not allowed with"),
        (["--unix-socket", ""], "argument --unix-socket: '' is not a file name"),
        (["--continue"], "--continue needs a file to resume: use -O or -o FILE"),
        (["--continue", "-o", "-"], "--continue needs a file to resume: use -O or -o FILE"),
        (["--continue", "-O", "-I"], "--continue is for the plain content of files"),
        (
            ["--continue", "-O", "-H", "range: bytes=1-"],
            "--continue cannot be combined with -H Range or -H If-Range",
        ),
        (["--retries=-1"], "argument --retry/--retries: '-1' is not a non-negative integer"),
        (["--retries", "x"], "argument --retry/--retries: 'x' is not a non-negative integer"),
        (["--retry-delay", "0"], f"argument --retry-delay: '0' {NO_SECONDS}"),
        (["--timeout", "soon"], f"argument --timeout: 'soon' {NO_SECONDS}"),
        (["--timeout", "0"], f"argument --timeout: '0' {NO_SECONDS}"),
        (["--timeout=-1"], f"argument --timeout: '-1' {NO_SECONDS}"),
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
    options = (b"-o", b"-O", b"-i", b"-H", b"-x", b"--timeout", b"--unix-socket")
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
