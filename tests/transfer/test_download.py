"""`download`: never a wrong byte under the final name, whatever servers and processes do."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dugong import (
    Client,
    ConnectionClosed,
    DigestMismatch,
    InvalidRequest,
    InvalidResponse,
    Retry,
    StateError,
    StatusError,
)
from dugong.transfer.files import NamedFile
from dugong.transfer.versions import Version
from tests.client.styled import Style, styled
from tests.support.in_turn import in_turn
from tests.support.servers import serving_by_nginx
from tests.support.site import Answer, Reply, Seen, Site, site
from tests.transfer.downloading import AT_ONCE, MEBIBYTE, content, files_in, kill_at, run_again

DATE = "Wed, 21 Oct 2015 07:28:00 GMT"
SECONDS = 1445412480
OLD, NEW = content(1, 3 * MEBIBYTE), content(2, 3 * MEBIBYTE + 5)


class Resource:
    """A resource that a `Site` serves: ranges, conditions and all.

    Attributes:
        data: its bytes.
        etag: its entity-tag.
        bytes_sent: how many bytes of bodies were sent.
        limits: after so many bytes, the next responses are cut off.
    """

    def __init__(self, data: bytes, etag: str | None = '"old"', **headers: str) -> None:
        self.data = data
        self.etag = etag
        self.headers = headers
        self.bytes_sent = 0
        self.limits: list[int] = []

    def __call__(self, seen: Seen) -> Reply:
        data, etag = self.data, self.etag
        fields = {"Accept-Ranges": "bytes", "Last-Modified": DATE, **self.headers}
        if etag is not None:
            fields["ETag"] = etag
        wanted, condition, match = seen["range"], seen["if-range"], seen["if-match"]
        if match not in (None, etag):
            return Reply(412)
        status, body = 200, data
        if wanted is not None and condition in (None, etag, DATE):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), int(last or len(data) - 1) + 1
            if start >= len(data):
                return Reply(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            status, body = 206, data[start:end]
            fields["Content-Range"] = f"bytes {start}-{start + len(body) - 1}/{len(data)}"
        reply = Reply(status, body, fields)
        raw, head = reply.data(seen.method), len(reply.data("HEAD"))
        if self.limits and seen.method == "GET":
            raw = raw[: head + self.limits.pop(0)]
            reply = Reply(raw=raw, close=True)
        self.bytes_sent += len(raw) - head
        return reply


# ------------------------------------------------------------------------------ the usual


@styled
async def test_a_new_file(style: Style, site: Site, tmp_path: Path) -> None:
    target = tmp_path / style.name
    site.on("/f", Resource(OLD))
    reported: list[tuple[int, int | None]] = []
    async with style.client(base_url=site.url) as client:
        done = await client.download("f", target, progress=lambda *pair: reported.append(pair))
    assert target.read_bytes() == OLD
    assert (done.path, done.size, done.resumed_from, done.fetched) == (
        target,
        len(OLD),
        0,
        len(OLD),
    )
    assert done.response.status == 200
    assert reported[-1] == (len(OLD), len(OLD))
    assert [size for size, _ in reported] == sorted(size for size, _ in reported)
    found = target.stat()
    umask = os.umask(0o22)
    os.umask(umask)
    assert stat.S_IMODE(found.st_mode) == 0o666 & ~umask
    assert found.st_mtime == SECONDS
    assert site.seen[0]["accept-encoding"] == "identity"
    assert files_in(tmp_path) == [target.name]
    target.unlink()


@styled
async def test_an_open_file(style: Style, site: Site, tmp_path: Path) -> None:
    resource = Resource(OLD)
    resource.limits = [1000, 100_000]
    site.on("/f", resource)
    path = tmp_path / style.name
    digest = {"sha-256": hashlib.sha256(OLD).hexdigest()}
    async with style.client(base_url=site.url, retries=AT_ONCE) as client:
        with path.open("wb") as file:
            file.write(b"before")
            done = await client.download("f", file, digest=digest)
    assert path.read_bytes() == b"before" + OLD
    assert (done.path, done.size, done.fetched) == (None, len(OLD), len(OLD))
    assert done.digest == digest
    assert [seen["range"] for seen in site.seen] == [None, "bytes=1000-", "bytes=101000-"]


@styled
async def test_it_continues_after_a_cut(style: Style, site: Site, tmp_path: Path) -> None:
    resource = Resource(OLD)
    resource.limits = [0, 1, 70_000, MEBIBYTE, 0, 0]
    site.on("/f", resource)
    target = tmp_path / style.name
    async with style.client(base_url=site.url, retries=AT_ONCE) as client:
        done = await client.download("f", target)
    assert target.read_bytes() == OLD
    assert done.fetched == len(OLD) == resource.bytes_sent
    assert {seen["if-range"] for seen in site.seen[2:]} == {'"old"'}
    assert files_in(tmp_path) == [target.name]
    target.unlink()


@styled
async def test_retries_of_the_call_limit_its_attempts(
    style: Style, site: Site, tmp_path: Path
) -> None:
    resource = Resource(OLD)
    resource.limits = [1000, 2000, 0, 0, 0]
    site.on("/f", resource)
    target = tmp_path / style.name
    async with style.client(base_url=site.url, retries=AT_ONCE) as client:
        with pytest.raises(ConnectionClosed):
            await client.download("f", target, retries=0)
        assert len(site.seen) == 1
        with pytest.raises(ConnectionClosed):
            await client.download("f", target, retries=Retry(2, backoff=0))
        assert len(site.seen) == 4
        assert (await client.download("f", target, retries=Retry(2, backoff=0))).size == len(OLD)
    assert target.read_bytes() == OLD
    target.unlink()


@styled
async def test_it_gives_up_and_a_later_call_continues(
    style: Style, site: Site, tmp_path: Path
) -> None:
    resource = Resource(OLD)
    resource.limits = [MEBIBYTE, *[0] * 5]
    site.on("/f", resource)
    target = tmp_path / style.name
    async with style.client(base_url=site.url, retries=AT_ONCE) as client:
        with pytest.raises(ConnectionClosed):
            await client.download("f", target)
        assert len(site.seen) == 6
        assert files_in(tmp_path) == [f"{target.name}.part", f"{target.name}.part.json"]
    async with style.client(base_url=site.url) as client:
        done = await client.download("f", target)
    assert (done.resumed_from, done.fetched) == (MEBIBYTE, len(OLD) - MEBIBYTE)
    assert target.read_bytes() == OLD
    assert files_in(tmp_path) == [target.name]
    target.unlink()


@styled
async def test_the_first_failure_is_reported(style: Style, site: Site, tmp_path: Path) -> None:
    """Only what has worked before is tried again."""
    async with style.client(base_url=site.url) as client:
        site.on("/f", Reply(raw=b"", close=True))
        with pytest.raises(ConnectionClosed):
            await client.download("f", tmp_path / "f")
        site.on("/f", Reply(404, b"not here"))
        with pytest.raises(StatusError) as caught:
            await client.download("f", tmp_path / "f")
        assert caught.value.body == b"not here"
    assert len(site.seen) == 2
    assert files_in(tmp_path) == []


@styled
async def test_parts(style: Style, site: Site, tmp_path: Path) -> None:
    resource = Resource(OLD)
    resource.limits = [1000, 2000]
    site.on("/f", resource)
    target = tmp_path / style.name
    async with style.client(base_url=site.url, retries=AT_ONCE) as client:
        done = await client.download("f", target, parts=3)
    assert target.read_bytes() == OLD
    assert done.fetched == len(OLD) == resource.bytes_sent
    assert {seen["if-match"] for seen in site.seen if seen.method == "GET"} == {'"old"'}
    assert len([seen for seen in site.seen if seen.method == "GET"]) == 5
    assert files_in(tmp_path) == [target.name]
    target.unlink()


@styled
async def test_parts_are_continued(style: Style, site: Site, tmp_path: Path) -> None:
    """With another number of parts."""
    resource = Resource(OLD)
    resource.limits = [1000, 2000, 3000, *[0] * 20]
    site.on("/f", resource)
    target = tmp_path / style.name
    async with style.client(base_url=site.url, retries=AT_ONCE) as client:
        with pytest.raises(ConnectionClosed):
            await client.download("f", target, parts=3)
        resource.limits.clear()
        done = await client.download("f", target, parts=2 if style.name == "trio" else 1)
    assert target.read_bytes() == OLD
    assert 1000 <= done.resumed_from <= 6000
    assert done.fetched == len(OLD) - done.resumed_from
    target.unlink()


@pytest.mark.parametrize("lacks", ["HEAD", "ranges", "validator", "conditions", "length"])
def test_parts_of_a_server_that_cannot(lacks: str, tmp_path: Path) -> None:
    resource = Resource(OLD, etag=None if lacks == "validator" else '"old"')

    def answer(seen: Seen) -> Reply:
        if lacks == "HEAD" and seen.method == "HEAD":
            return Reply(405)
        if lacks == "ranges":
            return Reply(200, OLD, {"ETag": '"old"'})
        reply = resource(seen)
        if lacks == "conditions" and seen["if-match"]:
            return Reply(200, OLD, {"ETag": '"old"', "Accept-Ranges": "bytes"})
        if lacks == "length" and seen.method == "HEAD":
            return Reply(raw=b"HTTP/1.1 200 X\r\nETag: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        return reply

    with site() as server, Client(base_url=server.url, retries=AT_ONCE) as client:
        server.on("/f", answer)
        client.download("f", tmp_path / "f", parts=4)
    assert (tmp_path / "f").read_bytes() == OLD
    assert files_in(tmp_path) == ["f"]


# ------------------------------------------------------------------------------- versions


@in_turn("first", [0, 1, 1000, MEBIBYTE, len(OLD) - 1])
@in_turn("parts", [1, 3])
def test_a_change_between_attempts(first: int, parts: int, tmp_path: Path) -> None:
    with site() as server, Client(base_url=server.url, retries=AT_ONCE) as client:
        old, new = Resource(OLD), Resource(NEW, '"new"')
        old.limits = [first] * parts
        answers: list[Answer] = [old] * (parts + (parts > 1))
        server.on("/f", *answers, new)
        client.download("f", tmp_path / "f", parts=parts)
        is_cut = first < len(OLD) // parts
        assert (tmp_path / "f").read_bytes() == (NEW if is_cut else OLD)
        (tmp_path / "f").unlink()
        assert files_in(tmp_path) == []


@in_turn("parts", [1, 3])
def test_a_change_between_calls(parts: int, tmp_path: Path) -> None:
    with site() as server, Client(base_url=server.url, retries=AT_ONCE) as client:
        old = Resource(OLD)
        old.limits = [MEBIBYTE // 2, *[0] * 30]
        server.on("/f", old)
        with pytest.raises(ConnectionClosed):
            client.download("f", tmp_path / "f", parts=parts)
        server.on("/f", Resource(NEW, '"new"'))
        client.download("f", tmp_path / "f", parts=parts)
        assert (tmp_path / "f").read_bytes() == NEW
        (tmp_path / "f").unlink()


def test_a_resource_that_keeps_changing(tmp_path: Path) -> None:
    with site() as server, Client(base_url=server.url, retries=AT_ONCE) as client:
        numbers = iter(range(100))

        def answer(seen: Seen) -> Reply:
            resource = Resource(OLD, f'"{next(numbers)}"')
            resource.limits = [1000]
            return resource(seen)

        server.on("/f", answer)
        with pytest.raises(InvalidResponse, match="has changed 4 times"):
            client.download("f", tmp_path / "f")
        assert len(server.seen) <= 12


def test_without_a_strong_validator(tmp_path: Path) -> None:
    """A download starts again."""
    with site() as server, Client(base_url=server.url, retries=AT_ONCE) as client:
        resource = Resource(OLD, 'W/"weak"')
        resource.headers = {"Last-Modified": DATE, "Date": DATE}
        resource.limits = [1000, 2000]
        server.on("/f", resource)
        client.download("f", tmp_path / "f")
        assert (tmp_path / "f").read_bytes() == OLD
        assert [seen["range"] for seen in server.seen] == [None, None, None]


def test_with_a_date(tmp_path: Path) -> None:
    """It identifies the version if it is old enough."""
    with site() as server, Client(base_url=server.url, retries=AT_ONCE) as client:
        resource = Resource(OLD, None, Date="Fri, 27 Nov 2026 18:00:00 GMT")
        resource.limits = [1000]
        server.on("/f", resource)
        client.download("f", tmp_path / "f")
        assert (tmp_path / "f").read_bytes() == OLD
        assert server.seen[1]["if-range"] == DATE


# ---------------------------------------------------------------------------------- liars


def liar(head: str, body: bytes) -> Callable[[Seen], Reply]:
    """A server whose first response is cut, and which then sends this."""
    first = Resource(OLD)
    first.limits = [1000]

    def answer(seen: Seen) -> Reply:
        if first.limits:
            return first(seen)
        if seen["range"] is None:
            return Reply(200, OLD, {"ETag": '"old"'})
        length = "" if "Transfer-Encoding" in head else f"Content-Length: {len(body)}\r\n"
        return Reply(raw=f"HTTP/1.1 {head}\r\n{length}\r\n".encode() + body)

    return answer


REST = OLD[1000:]
RANGE = f"bytes 1000-{len(OLD) - 1}/{len(OLD)}"
LIES = [
    ('206 X\r\nETag: "old"', REST),
    ('206 X\r\nETag: "new"\r\nContent-Range: ' + RANGE, NEW[1000 : len(OLD)]),
    ("206 X\r\nContent-Range: " + RANGE, REST),
    ('206 X\r\nETag: "old"\r\nContent-Range: bytes 0-999/3145728', OLD[:1000]),
    ('206 X\r\nETag: "old"\r\nContent-Range: bytes 1000-1999/2000', OLD[1000:2000]),
    ('206 X\r\nETag: "old"\r\nContent-Range: bytes 1000-3145727/*', REST[:-1]),
    ('206 X\r\nETag: "old"\r\nContent-Range: ' + RANGE, REST[:-1]),
    ('206 X\r\nETag: "old"\r\nContent-Range: ' + RANGE, REST + b"x"),
    ('206 X\r\nETag: "old"\r\nContent-Encoding: gzip\r\nContent-Range: ' + RANGE, REST),
    ('206 X\r\nETag: "old"\r\nContent-Type: multipart/byteranges; boundary=x', b"--x--"),
    ('200 X\r\nETag: "old"\r\nContent-Range: ' + RANGE, REST),
    ('200 X\r\nETag: "new"', NEW),
    ('200 X\r\nETag: "old"', OLD),
    ("416 X", b""),
    ("416 X\r\nContent-Range: bytes */5", b""),
    ("416 X\r\nContent-Range: bytes */3145728", b""),
    ("412 X", b""),
]


@in_turn(("head", "body"), LIES, ids=[str(n) for n in range(len(LIES))])
def test_liars(head: str, body: bytes, tmp_path: Path) -> None:
    """The file is right, or there is an error and no file."""
    target = tmp_path / "f"
    with site() as server, Client(base_url=server.url, retries=AT_ONCE) as client:
        server.on("/f", liar(head, body))
        try:
            client.download("f", target)
        except InvalidResponse:
            assert not target.exists()
        else:
            assert target.read_bytes() in (OLD, NEW)
            target.unlink()
        for name in files_in(tmp_path):
            (tmp_path / name).unlink()


def test_partial_content_that_was_not_requested(tmp_path: Path) -> None:
    with site() as server, Client(base_url=server.url) as client:
        for reply in (
            Reply(206, OLD[:1000], {"Content-Range": "bytes 0-999/3145728"}),
            Reply(200, OLD[:1000], {"Content-Range": "bytes 0-999/3145728"}),
        ):
            server.on("/f", reply)
            with pytest.raises(InvalidResponse):
                client.download("f", tmp_path / "f")
            assert files_in(tmp_path) == []


def test_a_coding_is_decoded_and_not_resumed(tmp_path: Path) -> None:
    import gzip

    coded = gzip.compress(OLD)
    with site() as server, Client(base_url=server.url, retries=AT_ONCE) as client:
        resource = Resource(coded, **{"Content-Encoding": "gzip"})
        resource.limits = [1000]
        server.on("/f", resource)
        done = client.download("f", tmp_path / "f")
        assert (tmp_path / "f").read_bytes() == OLD
        assert done.size == len(OLD)
        assert [seen["range"] for seen in server.seen] == [None, None]


# -------------------------------------------------------------------------------- digests


def test_digests(tmp_path: Path) -> None:
    right = hashlib.sha256(OLD)
    with site() as server, Client(base_url=server.url, retries=AT_ONCE) as client:
        server.on("/f", Resource(OLD))
        old_hash = hashlib.new("sha1", OLD, usedforsecurity=False)
        digests: list[dict[str, str | bytes]] = [
            {"sha-256": right.hexdigest()},
            {"SHA-256": right.digest()},
            {"sha-1": old_hash.digest()},
        ]
        for digest in digests:
            client.download("f", tmp_path / "f", digest=digest)
        for parts in (1, 3):
            with pytest.raises(DigestMismatch, match="sha-256"):
                client.download("f", tmp_path / "g", digest={"sha-256": "00" * 32}, parts=parts)
            assert files_in(tmp_path) == ["f"]
        with (tmp_path / "g").open("wb") as file, pytest.raises(DigestMismatch):
            client.download("f", file, digest={"sha-256": "00" * 32})


def test_announced_digests(tmp_path: Path) -> None:
    def field(data: bytes) -> str:
        return f"sha-256=:{b64encode(hashlib.sha256(data).digest()).decode()}:"

    with site() as server, Client(base_url=server.url, retries=AT_ONCE) as client:
        resource = Resource(OLD, **{"Repr-Digest": field(OLD)})
        resource.limits = [1000]
        server.on("/f", resource)
        done = client.download("f", tmp_path / "f")
        assert done.digest == {"sha-256": hashlib.sha256(OLD).hexdigest()}
        server.on("/f", Resource(OLD, **{"Repr-Digest": field(NEW)}))
        with pytest.raises(DigestMismatch):
            client.download("f", tmp_path / "g")
        assert files_in(tmp_path) == ["f"]


BAD: list[tuple[type[Exception], str, dict[str, Any]]] = [
    (InvalidRequest, "unknown algorithm", {"digest": {"sha-1000": "00"}}),
    (InvalidRequest, "32 bytes", {"digest": {"sha-256": "00"}}),
    (InvalidRequest, "hexadecimal", {"digest": {"sha-256": "xy" * 32}}),
    (TypeError, "digest", {"digest": "00"}),
    (TypeError, "digest", {"digest": {"sha-256": 1}}),
    (InvalidRequest, "parts", {"parts": 0}),
    (TypeError, "parts", {"parts": "4"}),
    (TypeError, "resume", {"resume": 1}),
    (TypeError, "progress", {"progress": 1}),
    (InvalidRequest, "the field range", {"headers": {"Range": "bytes=0-"}}),
    (InvalidRequest, "a line end", {"headers": {"X": "\r\n"}}),
    (TypeError, "headers", {"headers": b"x"}),
    (InvalidRequest, "deadline", {"deadline": -1}),
    (TypeError, "timeout", {"timeout": "1"}),
]


def test_arguments_are_checked_immediately(tmp_path: Path) -> None:
    with Client(base_url="http://127.0.0.1:1/") as client:
        for error, message, options in BAD:
            with pytest.raises(error, match=message):
                client.co_download("f", tmp_path / "f", **options)
    assert files_in(tmp_path) == []


# ----------------------------------------------------------------------- files that exist


def test_a_complete_file_is_recognised(tmp_path: Path) -> None:
    target = tmp_path / "f"
    with site() as server, Client(base_url=server.url) as client:
        server.on("/f", Resource(OLD))
        client.download("f", target)
        done = client.download("f", target)
        assert (done.size, done.fetched) == (len(OLD), 0)
        assert [seen.method for seen in server.seen] == ["GET", "HEAD"]
        assert server.connections == 1
        digest = {"sha-256": hashlib.sha256(OLD).hexdigest()}
        done = client.download("f", target, digest=digest)
        assert (done.response, done.digest) == (None, digest)
        assert len(server.seen) == 2
        os.utime(target, (SECONDS + 1, SECONDS + 1))  # equal length alone is not enough
        assert client.download("f", target).fetched == len(OLD)
        assert client.download("f", target, resume=False).fetched == len(OLD)


def test_a_replaced_file_keeps_owner_and_mode(tmp_path: Path) -> None:
    target = tmp_path / "f"
    with site() as server, Client(base_url=server.url) as client:
        for size in (10, 3 * MEBIBYTE):
            server.on("/f", Resource(NEW[:size]))
            target.write_bytes(b"before")
            target.chmod(0o4750)
            if os.geteuid() == 0:
                os.chown(target, 12345, 12346)
                target.chmod(0o6750)
            client.download("f", target)
            found = target.stat()
            assert target.read_bytes() == NEW[:size]
            assert stat.S_IMODE(found.st_mode) == 0o750
            if os.geteuid() == 0:
                assert (found.st_uid, found.st_gid) == (12345, 12346)
            assert files_in(tmp_path) == ["f"]
            target.unlink()


def test_a_symlink_stays(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"before")
    (tmp_path / "link").symlink_to("real")
    with site() as server, Client(base_url=server.url) as client:
        server.on("/f", Resource(OLD))
        client.download("f", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == OLD


@pytest.mark.parametrize("suffix", [".part", ".part.json"])
def test_files_of_others_are_left_alone(suffix: str, tmp_path: Path) -> None:
    with site() as server, Client(base_url=server.url) as client:
        server.on("/f", Resource(OLD))
        other = tmp_path / f"f{suffix}"
        other.write_bytes(b"mine")
        with pytest.raises(StateError, match=r"not made by dugong"):
            client.download("f", tmp_path / "f")
        assert other.read_bytes() == b"mine"
        assert files_in(tmp_path) == [other.name]


def test_a_part_is_not_followed_through_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"mine")
    (tmp_path / "f.part.json").symlink_to("secret")
    with site() as server, Client(base_url=server.url) as client:
        server.on("/f", Resource(OLD))
        with pytest.raises(OSError, match="symbolic"):
            client.download("f", tmp_path / "f")
    assert (tmp_path / "secret").read_bytes() == b"mine"


def test_another_process_is_at_work(tmp_path: Path) -> None:
    first = NamedFile(tmp_path / "f", "http://h/")
    first.begin(None, None, in_parts=False)
    with site() as server, Client(base_url=server.url) as client:
        server.on("/f", Resource(OLD))
        with pytest.raises(StateError, match="another process"):
            client.download("f", tmp_path / "f")
    first.leave()
    assert files_in(tmp_path) == []


def test_a_part_of_another_url_is_not_continued(tmp_path: Path) -> None:
    with site() as server, Client(base_url=server.url, retries=AT_ONCE) as client:
        old = Resource(OLD)
        old.limits = [2 * MEBIBYTE, *[0] * 5]
        server.on("/f", old)
        with pytest.raises(ConnectionClosed):
            client.download("f", tmp_path / "f")
        server.on("/g", Resource(NEW, '"old"'))
        done = client.download("g", tmp_path / "f")
        assert done.resumed_from == 0
        assert (tmp_path / "f").read_bytes() == NEW


def test_a_directory_that_does_not_exist(tmp_path: Path) -> None:
    with site() as server, Client(base_url=server.url) as client:
        server.on("/f", Resource(OLD))
        with pytest.raises(FileNotFoundError):
            client.download("f", tmp_path / "missing" / "f")
        with pytest.raises(StateError, match="not a regular file"):
            client.download("f", tmp_path)
        assert client.pool.stats().leased == 0


# ---------------------------------------------------------------------------------- killed


@pytest.mark.parametrize("parts", [1, 4])
def test_killed_and_run_again(parts: int, tmp_path: Path) -> None:
    """With nginx: only the rest is transferred."""
    size = 40 * MEBIBYTE
    data = content(3, size)

    def prepare(directory: Path) -> None:
        (directory / "html").mkdir()
        (directory / "html" / "f").write_bytes(data)

    conf = "server {{ listen 127.0.0.1:{ports[0]}; location / {{ }} }}"
    with serving_by_nginx("nginx", conf, 1, prepare) as (server, _):
        url = f"http://127.0.0.1:{server.ports[0]}/f"

        kill_at(url, tmp_path / "f", parts, int(0.42 * size))
        assert files_in(tmp_path) == ["f.part", "f.part.json"]
        resumed_from, fetched = run_again(url, tmp_path / "f", parts)
        assert resumed_from + fetched == size
        # Parts are noted now and then only.
        assert resumed_from > (0.4 * size if parts == 1 else 0.1 * size)
        assert (tmp_path / "f").read_bytes() == data
        assert files_in(tmp_path) == ["f"]


@in_turn("parts", [1, 3])
@in_turn("changed", [False, True])
def test_killed_before_it_got_its_name(parts: int, changed: bool, tmp_path: Path) -> None:
    """All bytes are there, and the server is asked whether they are still right."""
    target = tmp_path / "f"
    with site() as server, Client(base_url=server.url, retries=AT_ONCE) as client:
        earlier = NamedFile(target, f"{server.url}/f")
        earlier.begin(Version("ETag", '"old"', len(OLD)), len(OLD), in_parts=False)
        earlier.write(0, memoryview(OLD))
        earlier.leave()
        server.on("/f", Resource(NEW, '"new"') if changed else Resource(OLD))
        done = client.download("f", target, parts=parts)
        assert target.read_bytes() == (NEW if changed else OLD)
        assert done.fetched == (len(NEW) if changed else 0)
        assert files_in(tmp_path) == ["f"]
        target.unlink()


def test_closed_while_the_file_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that does this has the descriptor, which is not closed under its hands."""
    flushing, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    fsync = os.fsync

    def slow(fd: int) -> None:
        flushing.set()
        go_on.wait(60)
        fsync(fd)
        ended.set()

    monkeypatch.setattr(os, "fsync", slow)
    with site() as server, Client(base_url=server.url) as client:
        server.on("/f", Resource(OLD))
        crt = client.co_download("f", tmp_path / "f")
        need = next(crt)
        while not flushing.is_set():
            need.poll(0.01)
            need = next(crt)
        crt.close()
        go_on.set()
        assert ended.wait(60)
    for _ in range(1000):  # until the thread has renamed the file
        if files_in(tmp_path) == ["f"]:
            break
        threading.Event().wait(0.01)
    assert (tmp_path / "f").read_bytes() == OLD
    assert files_in(tmp_path) == ["f"]


def test_a_small_file_leaves_nothing_over(tmp_path: Path) -> None:
    """It has no name before it is complete."""

    def answer(seen: Seen) -> Reply:
        return Reply(200, b"abc", {"ETag": '"x"'})

    names: list[list[str]] = []

    def progress(done: int, total: int | None) -> None:
        names.append(files_in(tmp_path))

    with site() as server, Client(base_url=server.url) as client:
        server.on("/f", answer)
        client.download("f", tmp_path / "f", progress=progress)
    assert names == [[]]
    assert files_in(tmp_path) == ["f"]


@pytest.mark.slow
def test_cut_at_every_offset(tmp_path: Path) -> None:
    data = content(4, 600)
    with site() as server, Client(base_url=server.url, retries=AT_ONCE) as client:
        whole = len(Resource(data)(Seen("GET", "/f", [], b"", 0, 0)).data("GET"))
        for offset in range(whole):
            resource = Resource(data)
            raw = resource(Seen("GET", "/f", [], b"", 0, 0)).data("GET")[:offset]
            server.on("/f", Resource(data[:0]), Reply(raw=raw, close=True), resource)
            target = tmp_path / f"f{offset}"
            try:
                client.download("f", target, resume=False)
                client.download("f", target, resume=False)
            except ConnectionClosed:
                pass
            if target.exists():
                assert target.read_bytes() in (b"", data)


# --------------------------------------------------------------------------------- uploads


@styled
async def test_upload(style: Style, site: Site, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(OLD)
    reported: list[tuple[int, int | None]] = []
    async with style.client(base_url=site.url) as client:
        response = await client.upload(
            path, "f", progress=lambda *pair: reported.append(pair), expect100=False
        )
        assert await response.readall() == b"ok"
        response = await client.upload(str(path), "f", method="POST", expect100=False)
        await response.discard()
        response = await client.upload(b"bytes", "f")
        await response.discard()
        with pytest.raises(FileNotFoundError):
            await client.upload(tmp_path / "missing", "f")
        with pytest.raises(TypeError, match="json"):
            await client.upload(path, "f", json=1)
    assert [seen.body for seen in site.seen] == [OLD, OLD, b"bytes"]
    assert [seen.method for seen in site.seen] == ["PUT", "POST", "PUT"]
    assert reported[-1] == (len(OLD), len(OLD))
