"""`dugong get`, cut off: tried again, continued later, and never two versions in one file."""

from __future__ import annotations

import json
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
from tests.support.servers import Documents, NginxEndpoints

pytestmark = pytest.mark.slow

SOON = ["--retry-delay", "0.01"]

CUT = 15_000_000
MARKED = b"HTTP/1.1 200 OK\r\nETag: %s\r\nContent-Length: 10\r\n\r\n"
REST = b"HTTP/1.1 206 Partial Content\r\nETag: %s\r\nContent-Range: bytes %s/10\r\n"
ANEW = MARKED % b'"2"' + b"abcdefghij"


def first_part(etag: bytes = b'"1"') -> bytes:
    return MARKED % etag + b"0123"


def rest(etag: bytes = b'"1"', where: bytes = b"4-9", body: bytes = b"456789") -> bytes:
    return REST % (etag, where) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def fields(request: bytes) -> dict[str, str]:
    lines = request.decode().split("\r\n")[1:-2]
    return {name: value for name, _, value in (line.partition(": ") for line in lines)}


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


def test_goes_on_printing(nginx: NginxEndpoints, documents: Documents) -> None:
    with Relay(nginx.plain.port, [CUT, CUT]) as relay:
        done = run("get", "-i", *SOON, relay.url("/doc/large.bin"))
    printed, _, body = done.out.partition(b"\r\n\r\n")
    assert printed.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == (documents.directory / "large.bin").read_bytes()
    assert (done.status, done.err) == (0, "")


def test_several_of_one_server(nginx: NginxEndpoints, folder: Path, documents: Documents) -> None:
    """Cut off in a pipeline: the rest comes by another connection, then the pipeline goes on."""
    names = ["1.txt", "2.txt", "large.bin", "3.txt", "4.txt"]
    with Relay(nginx.plain.port, [CUT]) as relay:
        urls = [relay.url(f"/doc/{name}") for name in names]
        assert run("get", "-O", *SOON, *urls, cwd=folder) == Done(0, b"", "")
    for name in names:
        assert (folder / name).read_bytes() == (documents.directory / name).read_bytes()
    assert relay.requests[0].count(b"GET ") == 5
    assert [r.count(b"\r\nRange: ") for r in relay.requests] == [0, 1, 0]


def test_pipelined(nginx: NginxEndpoints, documents: Documents) -> None:
    names = [f"{i}.txt" for i in range(1000)]
    with Relay(nginx.plain.port) as relay:
        done = run("get", *(relay.url(f"/doc/{name}") for name in names))
    assert done.out == b"".join((documents.directory / name).read_bytes() for name in names)
    assert (done.status, done.err) == (0, "")
    assert len(relay.requests) == 1


def test_requests_do_not_wait_for_responses(listener: Listener) -> None:
    with start("get", *map(listener.url, ["/1", "/2", "/3", "/4"])) as process:
        with listener.accept() as sock:
            head(sock)
            sock.sendall(OK)
            assert [head(sock).split()[1] for _ in range(3)] == [b"/2", b"/3", b"/4"]
            sock.sendall(3 * OK)
            assert ended(process) == Done(0, 4 * b"hello", "")


def test_gives_up_in_the_end(listener: Listener, folder: Path) -> None:
    url = listener.url("/x")
    with start("get", "-O", *SOON, "--retries", "2", url, cwd=folder) as process:
        for _ in range(3):
            listener.serve(OK[:-1])
        message = f"{url}: the connection ended 1 bytes before the end of the body"
        assert ended(process) == failure(message)
    assert listener.is_left_alone()
    assert [*folder.iterdir()] == []


def test_what_was_printed_cannot_be_taken_back(listener: Listener) -> None:
    """Without a validator there is no second attempt; if it has changed, that was the last."""
    url = listener.url("/x")
    with start("get", *SOON, url) as process:
        listener.serve(OK[:-1])
        message = f"{url}: the connection ended 1 bytes before the end of the body"
        assert ended(process) == failure(message, b"hell")
    with start("get", *SOON, url) as process:
        listener.serve(first_part())
        listener.serve(ANEW)
        message = f"{url}: the transfer was interrupted, and the server cannot resume it"
        assert ended(process) == failure(message, b"0123")
    assert listener.is_left_alone()


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


@pytest.mark.parametrize("field", [b"Content-Digest", b"Repr-Digest"])
@pytest.mark.parametrize("right", [True, False])
def test_digest(listener: Listener, folder: Path, field: bytes, right: bool) -> None:
    """A body with a wrong digest is no document, and nothing to go on with."""
    digest = b"sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:"  # of b"hello"
    value = digest if right else digest.replace(b"L", b"K", 1)
    response = OK.replace(b"OK\r\n", b'OK\r\nETag: "1"\r\n%s: %s\r\n' % (field, value))
    with start("get", "-O", *SOON, listener.url("/x"), cwd=folder) as process:
        listener.serve(response)
        done = ended(process)
    assert done.status == (0 if right else 1)
    assert [path.name for path in folder.iterdir()] == (["x"] if right else [])


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
            rest = "interrupted; --continue resumes large.bin.part (14.3 MiB)"
            assert done == Done(INTERRUPTED, b"", f"dugong: {url}: {rest}\n")
        else:
            assert done == Done(-how, b"", "")
        assert sorted(path.name for path in folder.iterdir()) == [
            "large.bin.part",
            "large.bin.part.json",
        ]
        there = part.stat().st_size
        assert run("get", "-O", "--continue", url, cwd=folder) == Done(0, b"", "")
    assert is_whole(folder, documents)
    assert fields(relay.requests[1])["Range"] == f"bytes={there}-"


def test_without_the_option_it_starts_anew(listener: Listener, folder: Path) -> None:
    url = listener.url("/x")
    with start("get", "-O", *ONCE, url, cwd=folder) as process:
        listener.serve(first_part())
        reason = "the connection ended 6 bytes before the end of the body"
        rest_said = "--continue resumes x.part (4 bytes)"
        assert ended(process) == failure(f"{url}: {reason}; {rest_said}")
    with start("get", "-O", url, cwd=folder) as process:
        [request] = listener.serve(ANEW)
        assert ended(process) == Done(0, b"", "")
    assert "Range" not in fields(request)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"x": b"abcdefghij"}


def leave(listener: Listener, folder: Path, response: bytes | None = None, *more: str) -> None:
    """Have a part of a document left in *folder*."""
    with start("get", "-O", *ONCE, *more, listener.url("/x"), cwd=folder) as process:
        listener.serve(response or first_part())
        assert ended(process).status == 1


@pytest.mark.parametrize(
    ("answers", "result"),
    [
        ([rest()], b"0123456789"),
        ([rest(where=b"4-6", body=b"456"), rest(where=b"7-9", body=b"789")], b"0123456789"),
        # It has changed.
        ([ANEW], b"abcdefghij"),
        # Servers that know Range and not If-Range, or neither, or are out of their minds.
        ([rest(etag=b'"2"'), ANEW], b"abcdefghij"),
        ([rest(where=b"5-9", body=b"56789"), ANEW], b"abcdefghij"),
        ([rest(where=b"0-9", body=b"0123456789"), ANEW], b"abcdefghij"),
        ([b"HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n", ANEW], b"abcdefghij"),
        (
            [b"HTTP/1.1 416 No\r\nContent-Range: bytes */4\r\nContent-Length: 0\r\n\r\n", ANEW],
            b"abcdefghij",
        ),
    ],
)
def test_what_comes_back(
    listener: Listener, folder: Path, answers: list[bytes], result: bytes
) -> None:
    leave(listener, folder)
    with start("get", "-O", "--continue", listener.url("/x"), cwd=folder) as process:
        requests = [listener.serve(answer)[0] for answer in answers]
        assert ended(process) == Done(0, b"", "")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"x": result}
    assert fields(requests[0])["Range"] == "bytes=4-"
    assert fields(requests[0])["If-Range"] == '"1"'
    if result == b"abcdefghij":
        assert all("Range" not in fields(request) for request in requests[1:])


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (NOT_FOUND, "the server responded with 404 Not Found"),
        (b"", "the connection ended before a response arrived"),
        (rest()[:-1], "the connection ended 1 bytes before the end of the body"),
    ],
)
def test_what_is_there_is_kept(
    listener: Listener, folder: Path, answer: bytes, message: str
) -> None:
    leave(listener, folder)
    url = listener.url("/x")
    with start("get", "-O", *ONCE, "--continue", url, cwd=folder) as process:
        listener.serve(answer)
        there = 9 if answer.startswith(b"HTTP/1.1 206") else 4
        rest_said = f"--continue resumes x.part ({there} bytes)"
        assert ended(process) == failure(f"{url}: {message}; {rest_said}")
    with start("get", "-O", *ONCE, "--continue", url, cwd=folder) as process:
        [request] = listener.serve(rest(where=b"%d-9" % there, body=b"456789"[there - 4 :]))
        assert ended(process) == Done(0, b"", "")
    assert (folder / "x").read_bytes() == b"0123456789"
    assert fields(request)["Range"] == f"bytes={there}-"


@pytest.mark.parametrize("chunk", [b"5\r\n45678\r\n", b"7\r\n456789a\r\n"])
def test_rest_of_another_length_than_it_says(
    listener: Listener, folder: Path, chunk: bytes
) -> None:
    leave(listener, folder)
    url = listener.url("/x")
    with start("get", "-O", "--continue", url, cwd=folder) as process:
        head_of_it = REST % (b'"1"', b"4-9") + b"Transfer-Encoding: chunked\r\n\r\n"
        listener.serve(head_of_it + chunk + b"0\r\n\r\n")
        message = "the server sent partial content of the wrong length"
        assert ended(process) == failure(f"{url}: {message}")
    assert [*folder.iterdir()] == []


def test_all_of_it_was_there(listener: Listener, folder: Path) -> None:
    """Killed between the last byte and the final name."""
    leave(listener, folder)
    (folder / "x.part").write_bytes(b"0123456789")
    with start("get", "-O", "--continue", listener.url("/x"), cwd=folder) as process:
        answer = b"HTTP/1.1 416 No\r\nContent-Range: bytes */10\r\nContent-Length: 0\r\n\r\n"
        [request] = listener.serve(answer)
        assert ended(process) == Done(0, b"", "")
    assert fields(request)["Range"] == "bytes=10-"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"x": b"0123456789"}


@pytest.mark.parametrize(
    ("path", "options", "same"),
    [
        ("/x", [], True),
        ("/x#y", [], True),
        ("/x", ["-H", "Authorization: changed"], True),
        ("/x", ["-H", "Accept: text/plain"], False),
        ("/x?y", [], False),
        ("/y/x", [], False),
    ],
)
def test_only_the_same_is_continued(
    listener: Listener, folder: Path, path: str, options: list[str], same: bool
) -> None:
    """An ETag vouches for nothing elsewhere."""
    leave(listener, folder, None, "-H", "Authorization: secret")
    assert b"secret" not in (folder / "x.part.json").read_bytes()
    with start("get", "-O", "--continue", *options, listener.url(path), cwd=folder) as process:
        [request] = listener.serve(rest() if same else ANEW)
        assert ended(process) == Done(0, b"", "")
    assert ("Range" in fields(request)) == same
    assert (folder / "x").read_bytes() == (b"0123456789" if same else b"abcdefghij")


def test_a_part_of_what_was_asked_for_whole(listener: Listener, folder: Path) -> None:
    url = listener.url("/x")
    with start("get", "-O", url, cwd=folder) as process:
        listener.serve(rest(where=b"0-5"))
        message = "the server sent partial content that was not requested"
        assert ended(process) == failure(f"{url}: {message}")
    with start("get", "-H", "Range: bytes=4-9", url, cwd=folder) as process:
        listener.serve(rest())
        assert ended(process) == Done(0, b"456789", "")
    assert [*folder.iterdir()] == []


def test_another_is_storing_it(listener: Listener, folder: Path) -> None:
    url = listener.url("/x")
    with start("get", "-O", url, cwd=folder) as first, listener.accept() as sock:
        head(sock)
        sock.sendall(first_part())
        while not (folder / "x.part").exists() or not (folder / "x.part").stat().st_size:
            assert first.poll() is None
        for options in ([], ["--continue"]):
            with start("get", "-O", *options, url, cwd=folder) as second:
                if not options:
                    listener.serve(ANEW)
                message = "another dugong is writing x: wait until it has finished"
                assert ended(second) == failure(f"{url}: {message}")
        sock.sendall(b"456789")
        assert ended(first) == Done(0, b"", "")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"x": b"0123456789"}


@pytest.mark.parametrize("name", ["x.part", "x.part.json"])
def test_files_of_others(listener: Listener, folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"mine")
    url = listener.url("/x")
    with start("get", "-O", url, cwd=folder) as process:
        listener.serve(ANEW)
        message = f"{name} was not created by dugong: move it out of the way"
        assert ended(process) == failure(f"{url}: {message}")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {name: b"mine"}


@pytest.mark.parametrize("damage", ["not JSON", "number", "no beginning", "longer", "empty"])
def test_damaged(listener: Listener, folder: Path, damage: str) -> None:
    leave(listener, folder)
    note = folder / "x.part.json"
    said = json.loads(note.read_bytes())
    if damage == "number":
        said["beginning"]["validator"] = 5
    elif damage == "no beginning":
        del said["beginning"]
    note.write_text(json.dumps(said))
    if damage == "longer":
        (folder / "x.part").write_bytes(b"0123456789a")
    elif damage == "empty":
        (folder / "x.part").write_bytes(b"")
    elif damage == "not JSON":
        note.write_text("{")
    with start("get", "-O", "--continue", listener.url("/x"), cwd=folder) as process:
        if damage == "not JSON":
            message = "x.part.json was not created by dugong: move it out of the way"
            assert ended(process) == failure(f"{listener.url('/x')}: {message}")
            return
        [request] = listener.serve(ANEW)
        assert ended(process) == Done(0, b"", "")
    assert "Range" not in fields(request)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"x": b"abcdefghij"}
