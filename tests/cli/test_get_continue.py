"""`dugong get`, cut off: tried again, continued later, and never two versions in one file.

What servers can send instead of the rest is in `tests/transfer`.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
from pathlib import Path

import pytest

from tests.cli.command import (
    INTERRUPTED,
    NOT_FOUND,
    OK,
    ONCE,
    Done,
    Listener,
    ended,
    failure,
    head,
    run,
    start,
)
from tests.cli.relay import Relay
from tests.support.servers import HOST, Documents, NginxEndpoints

pytestmark = pytest.mark.slow

SOON = ["--retry-delay", "0.01"]

CUT = 15_000_000

#: More than what is kept without a part, and where its transfer ends first.
DATA = bytes(range(256)) * (8 << 10)
MIDDLE = 1_572_864
NEW = DATA[::-1]


def whole(data: bytes = DATA, etag: bytes = b'"1"', end: int | None = None) -> bytes:
    fields = b"HTTP/1.1 200 OK\r\nETag: %s\r\nContent-Length: %d\r\n\r\n" % (etag, len(data))
    return fields + data[:end]


def rest(first: int = MIDDLE, end: int | None = None) -> bytes:
    where = b"%d-%d/%d" % (first, len(DATA) - 1, len(DATA))
    fields = b'HTTP/1.1 206 Partial Content\r\nETag: "1"\r\nContent-Range: bytes %s\r\n' % where
    return fields + b"Content-Length: %d\r\n\r\n" % (len(DATA) - first) + DATA[first:end]


def fields(request: bytes) -> dict[str, str]:
    lines = request.decode().split("\r\n")[1:-2]
    return {name: value for name, _, value in (line.partition(": ") for line in lines)}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def is_whole(folder: Path, documents: Documents) -> bool:
    file = folder / "large.bin"
    return [*folder.iterdir()] == [file] and file.read_bytes() == (
        documents.directory / "large.bin"
    ).read_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


def leave(listener: Listener, folder: Path, *more: str) -> None:
    """Have a part of a document left in *folder*."""
    url = listener.url("/x")
    with start("get", "-O", *ONCE, *more, url, cwd=folder) as process:
        listener.serve(whole(end=MIDDLE))
        reason = f"the connection ended {len(DATA) - MIDDLE} bytes before the end of the body"
        assert ended(process) == failure(f"{url}: {reason}; --continue resumes x.part (1.5 MiB)")


# --------------------------------------------------------------------- tried again


def test_goes_on_where_it_was_cut_off(
    nginx: NginxEndpoints, documents: Documents, folder: Path
) -> None:
    """With a new connection for each third of the document."""
    with Relay(nginx.plain.port, [CUT, CUT]) as relay:
        url = relay.url("/doc/large.bin")
        assert run("get", "-O", *SOON, url, cwd=folder) == Done(0, b"", "")
    assert is_whole(folder, documents)
    assert len(relay.requests) == 3
    assert "Range" not in fields(relay.requests[0])
    received = [0, *(int(fields(r)["Range"][6:-1]) for r in relay.requests[1:])]
    assert 0 < received[1] < CUT < received[2] < 2 * CUT
    assert all(fields(r)["If-Range"].startswith('"') for r in relay.requests[1:])


def test_what_was_printed_cannot_be_taken_back(listener: Listener) -> None:
    url = listener.url("/x")
    with start("get", *SOON, url) as process:
        listener.serve(OK[:-1])
        message = f"{url}: the connection ended 1 bytes before the end of the body"
        assert ended(process) == failure(message, b"hell")
    assert listener.is_left_alone()


def test_several_of_one_server(nginx: NginxEndpoints, documents: Documents) -> None:
    names = [f"{i}.txt" for i in range(100)]
    with Relay(nginx.plain.port) as relay:
        done = run("get", *(relay.url(f"/doc/{name}") for name in names))
    assert done.out == b"".join((documents.directory / name).read_bytes() for name in names)
    assert (done.status, done.err) == (0, "")
    assert len(relay.requests) == 1


def test_gives_up_in_the_end(listener: Listener, folder: Path) -> None:
    url = listener.url("/x")
    with start("get", "-O", *SOON, "--retry", "2", url, cwd=folder) as process:
        for _ in range(3):
            listener.serve(OK[:-1])
        message = f"{url}: the connection ended 1 bytes before the end of the body"
        assert ended(process) == failure(message)
    assert listener.is_left_alone()
    assert [*folder.iterdir()] == []


def test_some_errors_are_for_good(listener: Listener, folder: Path) -> None:
    with start("get", "-O", *SOON, listener.url("/x"), cwd=folder) as process:
        listener.serve(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n")
        assert ended(process).status == 1
    with start("get", "-O", *SOON, listener.url("/x"), cwd=folder) as process:
        listener.serve(b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n")
        assert ended(process) == failure(
            f"{listener.url('/x')}: the server responded with 500 Broken"
        )
    assert listener.is_left_alone()


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("given", ["field", "option", "printed"])
def test_digest(listener: Listener, folder: Path, given: str, right: bool) -> None:
    """A body with a wrong digest is no document, and nothing to go on with."""
    digest = hashlib.sha256(b"hello" if right else b"hullo").hexdigest()
    response, options = OK, ["-O", "--checksum", f"sha256:{digest}"]
    if given == "field":
        value = b"sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:"  # of b"hello"
        value = value if right else value.replace(b"L", b"K", 1)
        response = OK.replace(b"OK\r\n", b'OK\r\nETag: "1"\r\nRepr-Digest: %s\r\n' % value)
        options = ["-O"]
    elif given == "printed":
        options = options[1:]
    with start("get", *options, *SOON, listener.url("/x"), cwd=folder) as process:
        listener.serve(response)
        done = ended(process)
    assert done.status == (0 if right else 1)
    assert done.out == (b"hello" if given == "printed" else b"")
    assert [path.name for path in folder.iterdir()] == (
        ["x"] if right and given != "printed" else []
    )


# --------------------------------------------------------------------- continued later


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_continue(
    nginx: NginxEndpoints, documents: Documents, folder: Path, how: signal.Signals
) -> None:
    part = folder / "large.bin.part"
    with Relay(nginx.plain.port, [CUT], hold=True) as relay:
        url = relay.url("/doc/large.bin")
        with start("get", "-O", url, cwd=folder) as process:
            while not part.exists() or part.stat().st_size < CUT - 10_000:
                assert process.poll() is None
            process.send_signal(how)
            done = ended(process)
        if how is signal.SIGINT:
            message = "interrupted; --continue resumes large.bin.part (14.3 MiB)"
            assert done == Done(INTERRUPTED, b"", f"dugong: {url}: {message}\n")
        else:
            assert done == Done(-how, b"", "")
        assert sorted(contents(folder)) == ["large.bin.part", "large.bin.part.json"]
        there = part.stat().st_size
        assert run("get", "-O", "--continue", url, cwd=folder) == Done(0, b"", "")
    assert is_whole(folder, documents)
    assert fields(relay.requests[1])["Range"] == f"bytes={there}-"


def test_complete_files_are_not_fetched_again(
    nginx: NginxEndpoints, documents: Documents, folder: Path
) -> None:
    """Of a finished batch, each file is asked for once."""
    names = [f"{i}.txt" for i in range(5)]
    urls = [f"http://{HOST}:{nginx.plain.port}/doc/{name}" for name in names]
    assert run("get", "-O", *urls, cwd=folder) == Done(0, b"", "")
    os.utime(folder / "3.txt", (0, 0))  # looks like another version
    with Relay(nginx.plain.port) as relay:
        urls = [relay.url(f"/doc/{name}") for name in names]
        assert run("get", "-O", "--continue", *urls, cwd=folder) == Done(0, b"", "")
    assert len(relay.requests) == 1
    assert relay.requests[0].count(b"HEAD /doc/") == 5
    assert relay.requests[0].count(b"GET /doc/") == 1
    for name in names:
        assert (folder / name).read_bytes() == (documents.directory / name).read_bytes()


def test_without_the_option_it_starts_anew(listener: Listener, folder: Path) -> None:
    leave(listener, folder)
    with start("get", "-O", listener.url("/x"), cwd=folder) as process:
        [request] = listener.serve(whole(NEW, b'"2"'))
        assert ended(process) == Done(0, b"", "")
    assert "Range" not in fields(request)
    assert contents(folder) == {"x": NEW}


@pytest.mark.parametrize("changed", [False, True])
def test_what_comes_back(listener: Listener, folder: Path, changed: bool) -> None:
    leave(listener, folder)
    with start("get", "-O", "--continue", listener.url("/x"), cwd=folder) as process:
        [request] = listener.serve(whole(NEW, b'"2"') if changed else rest())
        assert ended(process) == Done(0, b"", "")
    assert contents(folder) == {"x": NEW if changed else DATA}
    assert fields(request)["Range"] == f"bytes={MIDDLE}-"
    assert fields(request)["If-Range"] == '"1"'


@pytest.mark.parametrize(
    ("answer", "message", "there"),
    [
        (NOT_FOUND, "the server responded with 404 Not Found", MIDDLE),
        (b"", "the connection ended before a response arrived", MIDDLE),
        (
            rest(end=-1),
            "the connection ended 1 bytes before the end of the body",
            len(DATA) - 1,
        ),
    ],
    ids=["404", "nothing", "more"],
)
def test_what_is_there_is_kept(
    listener: Listener, folder: Path, answer: bytes, message: str, there: int
) -> None:
    leave(listener, folder)
    url = listener.url("/x")
    with start("get", "-O", *ONCE, "--continue", url, cwd=folder) as process:
        listener.serve(answer)
        size = "1.5 MiB" if there == MIDDLE else "2.0 MiB"
        assert ended(process) == failure(f"{url}: {message}; --continue resumes x.part ({size})")
    with start("get", "-O", *ONCE, "--continue", url, cwd=folder) as process:
        [request] = listener.serve(rest(there))
        assert ended(process) == Done(0, b"", "")
    assert contents(folder) == {"x": DATA}
    assert fields(request)["Range"] == f"bytes={there}-"


@pytest.mark.parametrize(
    ("path", "options", "same"),
    [
        ("/x", [], True),
        ("/x", ["-H", "Authorization: changed"], True),
        ("/x?y", [], False),
        ("/y/x", [], False),
    ],
)
def test_only_the_same_is_continued(
    listener: Listener, folder: Path, path: str, options: list[str], same: bool
) -> None:
    """An ETag vouches for nothing elsewhere."""
    leave(listener, folder, "-H", "Authorization: secret")
    assert b"secret" not in (folder / "x.part.json").read_bytes()
    with start("get", "-O", "--continue", *options, listener.url(path), cwd=folder) as process:
        [request] = listener.serve(rest() if same else whole(NEW))
        assert ended(process) == Done(0, b"", "")
    assert ("Range" in fields(request)) == same
    assert contents(folder) == {"x": DATA if same else NEW}


def test_a_part_of_what_was_asked_for_whole(listener: Listener, folder: Path) -> None:
    url = listener.url("/x")
    with start("get", "-O", url, cwd=folder) as process:
        listener.serve(rest())
        message = "the server sent partial content that was not requested"
        assert ended(process) == failure(f"{url}: {message}")
    with start("get", "-H", f"Range: bytes={MIDDLE}-", url, cwd=folder) as process:
        listener.serve(rest())
        assert ended(process) == Done(0, DATA[MIDDLE:], "")
    assert [*folder.iterdir()] == []


def test_another_is_storing_it(listener: Listener, folder: Path) -> None:
    url = listener.url("/x")
    with start("get", "-O", url, cwd=folder) as first, listener.accept() as sock:
        head(sock)
        sock.sendall(whole(end=MIDDLE))
        while not (folder / "x.part").exists() or not (folder / "x.part").stat().st_size:
            assert first.poll() is None
        for options in ([], ["--continue"]):
            with start("get", "-O", *options, url, cwd=folder) as second:
                if not options:
                    listener.serve(whole(NEW))
                done = ended(second)
                message = f"another process is downloading {folder}/x: wait until it has finished"
                assert done.status == 1
                assert message in done.err
        sock.sendall(DATA[MIDDLE:])
        assert ended(first) == Done(0, b"", "")
    assert contents(folder) == {"x": DATA}


@pytest.mark.parametrize("name", ["x.part", "x.part.json"])
def test_files_of_others(listener: Listener, folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"mine")
    url = listener.url("/x")
    with start("get", "-O", url, cwd=folder) as process:
        listener.serve(whole(NEW))
        message = f"{folder / name} was not made by dugong: move it out of the way"
        assert ended(process) == failure(f"{url}: {message}")
    assert contents(folder) == {name: b"mine"}


def test_damaged(listener: Listener, folder: Path) -> None:
    leave(listener, folder)
    note = folder / "x.part.json"
    note.write_text(json.dumps({**json.loads(note.read_bytes()), "version": 5}))
    with start("get", "-O", "--continue", listener.url("/x"), cwd=folder) as process:
        [request] = listener.serve(whole(NEW, b'"2"'))
        assert ended(process) == Done(0, b"", "")
    assert "Range" not in fields(request)
    assert contents(folder) == {"x": NEW}
