"""`download` from nginx, Apache and moto's S3: cut off, killed, and changed at the wrong moment."""

from __future__ import annotations

import base64
import csv
import ensurepip
import hashlib
import io
import os
import random
import shutil
import socket
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from dugong import Client
from tests.support.in_turn import in_turn
from tests.support.servers import HOST, installed, serving, serving_by_nginx
from tests.transfer.downloading import AT_ONCE, MEBIBYTE, content, files_in, kill_at, run_again

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # moto and what is below it
]

SIZE = 8 * MEBIBYTE


# --------------------------------------------------------------------------------- servers


@dataclass(frozen=True)
class Origin:
    """A server with one resource.

    Attributes:
        port: where it listens.
        path: of the resource.
        change: replaces the resource.
    """

    port: int
    path: str
    change: Callable[[bytes], None]


def changing(file: Path) -> Callable[[bytes], None]:
    """Return a function that replaces *file*.

    The servers make entity-tags of its time and size, so each version has another time.
    """
    seconds = iter(range(1_000_000_000, 2_000_000_000, 60))

    def change(data: bytes) -> None:
        new = file.with_name("new")
        new.write_bytes(data)
        os.utime(new, (second := next(seconds), second))
        new.replace(file)

    return change


@contextmanager
def nginx() -> Iterator[Origin]:
    def prepare(directory: Path) -> None:
        (directory / "html").mkdir()

    conf = "server {{ listen 127.0.0.1:{ports[0]}; }}"
    with serving_by_nginx("nginx", conf, 1, prepare) as (server, directory):
        yield Origin(server.ports[0], "/f", changing(directory / "html" / "f"))


APACHE = """
ServerName {host}
ServerRoot {directory}
DocumentRoot {directory}/html
Listen {host}:{port}
PidFile {directory}/pid
ErrorLog /dev/stderr
User #65534
Group #65534
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
<Directory {directory}/html>
Require all granted
</Directory>
"""


@contextmanager
def apache() -> Iterator[Origin]:
    program = installed("apache2", "apache2-bin")
    # Not pytest's own directory: Apache never reads as root, and only root may look in there.
    with tempfile.TemporaryDirectory(prefix="dugong-") as root:
        directory = Path(root)
        (directory / "html").mkdir()
        directory.chmod(0o755)

        def command(ports: Sequence[int]) -> list[str | Path]:
            config = directory / "apache.conf"
            config.write_text(APACHE.format(host=HOST, port=ports[0], directory=directory))
            return [program, "-f", config, "-X"]

        with serving("Apache", command) as server:
            yield Origin(server.ports[0], "/f", changing(directory / "html" / "f"))


@contextmanager
def moto() -> Iterator[Origin]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(HOST, port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    try:
        with Client(base_url=f"http://{HOST}:{port}", proxy=None) as client:

            def change(data: bytes) -> None:
                headers = {"x-amz-acl": "public-read"}
                response = client.put("downloads/f", body=data, headers=headers)
                response.raise_for_status().discard()

            client.put("downloads").raise_for_status().discard()
            yield Origin(port, "/downloads/f", change)
            client.post("moto-api/reset").discard()
    finally:
        server.stop()


@pytest.fixture(scope="module", params=["nginx", "Apache", "moto"])
def origin(request: pytest.FixtureRequest) -> Iterator[Origin]:
    with {"nginx": nginx, "Apache": apache, "moto": moto}[request.param]() as found:
        yield found


class Cutter:
    """A relay that ends connections after some bytes of the server.

    Attributes:
        limits: after how many bytes the next connections end; later ones do not.
        received: bytes from the server, in total.
    """

    def __init__(self, port: int) -> None:
        self.limits: list[int] = []
        self.received = 0
        self._upstream = port
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(30)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection((HOST, self._upstream))
                self._start(self._forward, client, server)
                self._start(self._return, client, server)

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _return(self, client: socket.socket, server: socket.socket) -> None:
        left = self.limits.pop(0) if self.limits else 1 << 62
        with client, server, suppress(OSError):
            while left and (data := server.recv(min(left, 65536))):
                self.received += len(data)
                left -= len(data)
                client.sendall(data)
            for sock in (client, server):  # so that the other thread ends, too
                sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def cutter(port: int) -> Iterator[Cutter]:
    relay = Cutter(port)
    try:
        yield relay
    finally:
        relay.close()


# ----------------------------------------------------------------------------------- tests


@in_turn("parts", [1, 4])
def test_cut_off(parts: int, origin: Origin, tmp_path: Path) -> None:
    """Again and again, at random offsets: each byte is fetched about once."""
    origin.change(content(1, SIZE))
    chance = random.Random(parts)
    target = tmp_path / "f"
    with (
        cutter(origin.port) as relay,
        Client(base_url=f"http://{HOST}:{relay.port}", retries=AT_ONCE) as client,
    ):
        relay.limits = [chance.randrange(1000, SIZE // 4) for _ in range(12)]
        done = client.download(origin.path, target, parts=parts)
        assert target.read_bytes() == content(1, SIZE)
        assert (done.fetched, done.resumed_from) == (SIZE, 0)
        assert files_in(tmp_path) == ["f"]
    target.unlink()


class Stop(Exception):
    """Ends a download."""


@in_turn("parts", [1, 4])
@in_turn("size", [SIZE, SIZE + 1000])
def test_changed_between_runs(parts: int, size: int, origin: Origin, tmp_path: Path) -> None:
    """Two versions never end up in one file, also if both have the same size."""
    origin.change(content(1, SIZE))
    target = tmp_path / "f"

    def stop(done: int, total: int | None) -> None:
        if done > SIZE * 0.4:
            raise Stop

    with Client(base_url=f"http://{HOST}:{origin.port}", retries=AT_ONCE) as client:
        with pytest.raises(Stop):
            client.download(origin.path, target, parts=parts, progress=stop)
        assert files_in(tmp_path) == ["f.part", "f.part.json"]
        origin.change(content(2, size))
        done = client.download(origin.path, target, parts=parts)
    assert target.read_bytes() == content(2, size)
    assert done.fetched == size
    assert files_in(tmp_path) == ["f"]
    target.unlink()


@in_turn("parts", [1, 4])
@in_turn("size", [SIZE, SIZE + 1000])
def test_changed_between_parts(parts: int, size: int, origin: Origin, tmp_path: Path) -> None:
    """With one part, a cut comes together with the change."""
    origin.change(content(1, SIZE))
    target = tmp_path / "f"
    changed = False

    def change(done: int, total: int | None) -> None:
        nonlocal changed
        if not changed and done > SIZE * 0.3:
            changed = True
            origin.change(content(2, size))

    with (
        cutter(origin.port) as relay,
        Client(base_url=f"http://{HOST}:{relay.port}", retries=AT_ONCE) as client,
    ):
        relay.limits = [SIZE // 2] if parts == 1 else [10_000, SIZE // 8, SIZE // 8]
        done = client.download(origin.path, target, parts=parts, progress=change)
    assert changed
    assert target.read_bytes() in (content(1, SIZE), content(2, size))
    if parts == 1:
        assert target.read_bytes() == content(2, size)
        assert done.fetched > size
    assert files_in(tmp_path) == ["f"]
    target.unlink()


def test_complete_file(origin: Origin, tmp_path: Path) -> None:
    origin.change(content(1, SIZE))
    target = tmp_path / "f"
    with Client(base_url=f"http://{HOST}:{origin.port}", retries=AT_ONCE) as client:
        assert client.download(origin.path, target).fetched == SIZE
        assert client.download(origin.path, target).fetched == 0
        # One byte more, because moto may have received both in the same second.
        origin.change(content(2, SIZE + 1))
        assert client.download(origin.path, target).fetched == SIZE + 1
    assert target.read_bytes() == content(2, SIZE + 1)


@in_turn("parts", [1, 4])
def test_killed(parts: int, origin: Origin, tmp_path: Path) -> None:
    """At random moments, until the file is complete."""
    origin.change(content(3, SIZE))
    url, target = f"http://{HOST}:{origin.port}{origin.path}", tmp_path / "f"
    for percent in (15, 40, 41, 85):
        kill_at(url, target, parts, SIZE * percent // 100)
        assert not target.exists()
        assert files_in(tmp_path) in (["f.part", "f.part.json"], ["f.part.json"])
    resumed_from, fetched = run_again(url, target, parts)
    assert resumed_from + fetched == SIZE
    assert target.read_bytes() == content(3, SIZE)
    assert files_in(tmp_path) == ["f"]
    target.unlink()


def test_a_gibibyte(tmp_path: Path) -> None:
    """Killed after 42 %: only the rest is transferred."""
    size = 1 << 30
    block = content(4, MEBIBYTE)
    digest = hashlib.sha256()
    with nginx() as origin:
        origin.change(b"")
        pieces = [hashlib.sha256(b"%d" % i).digest() + block[32:] for i in range(size // MEBIBYTE)]
        for piece in pieces:
            digest.update(piece)
        origin.change(b"".join(pieces))
        del pieces
        url, target = f"http://{HOST}:{origin.port}/f", tmp_path / "f"
        kill_at(url, target, 1, size * 42 // 100)
        resumed_from, fetched = run_again(url, target, 1)
    assert resumed_from >= size * 42 // 100
    assert resumed_from + fetched == size
    with target.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").digest() == digest.digest()


def wheels() -> list[Path]:
    """Return the wheels that Python itself comes with: pip, and for some versions setuptools."""
    return sorted(Path(ensurepip.__file__).parent.glob("_bundled/*.whl"))


def check_record(wheel: Path) -> int:
    """Compare the files in *wheel* with its RECORD. Returns how many there are."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/RECORD")]
        rows = list(csv.reader(io.TextIOWrapper(archive.open(name), "utf-8")))
        assert len(rows) == len([info for info in archive.infolist() if not info.is_dir()])
        for path, digest, size in rows:
            if digest:
                data = archive.read(path)
                assert len(data) == int(size)
                encoded = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
                assert digest == f"sha256={encoded.decode()}"
        return len(rows)


@pytest.mark.skipif(not wheels(), reason="this Python comes without wheels")
def test_wheels(tmp_path: Path) -> None:
    """A hundred cuts at random offsets, compared with what the wheels say of their files."""
    chance = random.Random(100)

    def prepare(directory: Path) -> None:
        (directory / "html").mkdir()
        for wheel in wheels():
            shutil.copy(wheel, directory / "html")

    conf = "server {{ listen 127.0.0.1:{ports[0]}; }}"
    with (
        serving_by_nginx("nginx with wheels", conf, 1, prepare) as (server, _),
        cutter(server.ports[0]) as relay,
    ):
        for i in range(100):
            wheel = wheels()[i % len(wheels())]
            size = wheel.stat().st_size
            relay.limits = [chance.randrange(size)]
            target = tmp_path / str(i) / wheel.name
            target.parent.mkdir()
            with Client(base_url=f"http://{HOST}:{relay.port}", retries=AT_ONCE) as client:
                # After a cut within the head of the first response, the call fails, and the next
                # one starts at the beginning.
                with suppress(ConnectionError):
                    client.download(wheel.name, target)
                assert client.download(wheel.name, target).size == size
            assert not relay.limits
            assert check_record(target) > 100
            assert files_in(target.parent) == [wheel.name]
