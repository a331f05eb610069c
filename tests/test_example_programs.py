"""The examples that do one thing each, run as programs against servers that can do it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import AF_UNIX, socket
from typing import Any

import pytest

from dugong import HTTPConnection
from tests.cli.command import OK, PATIENCE, UNWANTED, Listener, head
from tests.support.servers import HOST, ROOT, NginxEndpoints, unavailable

pytestmark = pytest.mark.slow


def command(name: str, *arguments: str | Path) -> list[str | Path]:
    return [sys.executable, "-W", "error", "-X", "dev", ROOT / "examples" / name, *arguments]


def run(name: str, *arguments: str | Path, **env: str) -> tuple[int, str, str]:
    """Run an example to its end. Returns its status, output and errors."""
    done = subprocess.run(
        command(name, *arguments),
        capture_output=True, timeout=PATIENCE, check=False, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **env},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("dask_fetch.py", "local|ADDRESS FILE"),
        ("resume_download.py", "URL FILE"),
        ("s3_upload.py", "ENDPOINT BUCKET FILE"),
        ("storage_client.py", "URL FILE [FILE ...]"),
        ("unix_socket.py", "SOCKET PATH"),
        ("websocket.py", "HOST PORT PATH MESSAGE [MESSAGE ...]"),
    ],
)
def test_says_how_to_use_it(name: str, usage: str) -> None:
    assert run(name) == (1, "", f"usage: {name} {usage}\n")


# --------------------------------------------------------------------- Dask


def test_dask_fetch(nginx: NginxEndpoints, tmp_path: Path) -> None:
    url = f"http://{HOST}:{nginx.plain.port}"
    file = tmp_path / "urls"
    file.write_text(f"{url}/doc/1.txt\n{url}/none\nftp://{HOST}/\n")
    # What Dask warns of is not ours.
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "dask_fetch.py", "local", file],
        capture_output=True, timeout=PATIENCE, check=False, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = {line.rpartition(" ")[2]: line for line in done.stdout.splitlines()}
    assert lines[f"{url}/doc/1.txt"].startswith("200 ")
    assert lines[f"{url}/none"].startswith("404 ")
    assert "ftp" in lines[f"ftp://{HOST}/"]
    assert len(lines) == 3


# --------------------------------------------------------------------- a daemon's unix socket


def test_unix_socket(nginx: NginxEndpoints) -> None:
    status, out, err = run("unix_socket.py", nginx.unix_socket, "/digest")
    assert (status, out, err) == (0, "as sound as a sea cow\n", "")


def test_unix_socket_refusal(nginx: NginxEndpoints) -> None:
    status, out, err = run("unix_socket.py", nginx.unix_socket, "/denied")
    assert (status, out) == (1, "")
    assert err.startswith("/denied: 403 Forbidden: <html>")


def test_unix_socket_as_it_comes(tmp_path: Path) -> None:
    """A line is printed before the daemon has said the next one."""
    with socket(AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        listener.settimeout(PATIENCE)
        with subprocess.Popen(
            command("unix_socket.py", tmp_path / "s", "/events"),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={name: value for name, value in os.environ.items() if name not in UNWANTED},
        ) as process:  # fmt: skip
            assert process.stdout is not None
            with listener.accept()[0] as daemon:
                assert head(daemon).startswith(b"GET /events HTTP/1.1\r\nHost: localhost\r\n")
                daemon.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                for line in ("started\n", "gr\xfc\xdfe\n", "stopped\n"):
                    data = line.encode()
                    daemon.sendall(b"%x\r\n%b\r\n" % (len(data), data))
                    assert process.stdout.readline() == line
            # The daemon has gone, and its answer has no end.
            out, err = process.communicate(timeout=PATIENCE)
            assert (process.returncode, out) == (1, "")
            assert "ConnectionClosed" in err


# --------------------------------------------------------------------- WebSocket


SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
#: RFC 6455 section 1.3.
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@contextmanager
def websocket_server(handler: Callable[[Any], None], **options: Any) -> Iterator[tuple[str, str]]:
    """Run a WebSocket server in a thread; gives its host and port."""
    from websockets.sync.server import serve

    with serve(handler, "127.0.0.1", 0, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        host, port = server.socket.getsockname()
        yield host, str(port)
        server.shutdown()
        thread.join()


def test_websocket() -> None:
    from websockets.exceptions import ConnectionClosedOK

    long = "sea cow " * 10_000
    ended: list[bool] = []

    def echo(ws: Any) -> None:
        ws.send("hello")  # right behind the 101, and perhaps received along with it
        message = ws.recv()
        assert ws.ping().wait(PATIENCE)  # answered while the next message is awaited
        ws.send(message)
        long = ws.recv()
        ws.send([long[:7], long[7:]])  # in two frames
        ws.recv()
        with pytest.raises(ConnectionClosedOK):
            ws.recv()
        ended.append(True)

    with websocket_server(echo) as (host, port):
        status, out, err = run("websocket.py", host, port, "/chat", "gr\xfc\xdfe", long, "last")
    assert (status, err, ended) == (0, "", [True])
    assert out.split("\n") == ["hello", "gr\xfc\xdfe", long, ""]  # one for each that was sent


def test_websocket_message_along_with_the_handshake() -> None:
    """And a ping that comes when the client has said goodbye."""

    def serve(listener: Listener) -> None:
        with listener.accept() as sock:
            key = re.findall(rb"Sec-WebSocket-Key: (\S+)", head(sock))[0]
            proof = b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())
            accept = b"Sec-WebSocket-Accept: " + proof + b"\r\n\r\n"
            sock.sendall(SWITCHING + accept + b"\x81\x05hello")
            frames = b""
            while len(frames) < 7 + 8:  # a message of one byte, and the goodbye
                frames += sock.recv(100)
            assert (frames[0], frames[7]) == (0x81, 0x88)
            sock.sendall(b"\x89\x00" + b"\x88\x02\x03\xe8")
            assert sock.recv(100) == b""

    with Listener() as listener, ThreadPoolExecutor() as pool:
        serving = pool.submit(serve, listener)
        done = run("websocket.py", *listener.authority.split(":"), "/", "a")
        serving.result(PATIENCE)
    assert done == (0, "hello\n", "")


def test_websocket_server_closes() -> None:
    with websocket_server(lambda ws: ws.close(1008, "not today")) as (host, port):
        done = run("websocket.py", host, port, "/", "a")
    assert done == (1, "", "the server has closed: 1008 not today\n")


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (OK, "the server does not switch: 200 OK"),
        (
            SWITCHING + b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            "the server did not understand the handshake",
        ),
    ],
)
def test_websocket_refused(response: bytes, message: str) -> None:
    with Listener() as listener, ThreadPoolExecutor() as pool:
        pool.submit(listener.serve, response)
        done = run("websocket.py", *listener.authority.split(":"), "/", "a")
    assert done == (1, "", f"{message}\n")


# --------------------------------------------------------------------- S3

KEYS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


@pytest.fixture(scope="module")
def s3() -> Iterator[tuple[str, dict[str, str]]]:
    """An S3 server that checks signatures, with a bucket ``sea``; its URL, and keys for it."""
    try:
        import botocore.session
        from moto.server import ThreadedMotoServer
    except ImportError:
        unavailable("moto is not installed")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"

    def client(service: str) -> Any:
        return botocore.session.get_session().create_client(
            service, "us-east-1", endpoint_url=url,
            aws_access_key_id="anything", aws_secret_access_key="works",
        )  # fmt: skip

    try:
        client("s3").create_bucket(Bucket="sea")
        iam = client("iam")
        iam.create_user(UserName="cow")
        allowed = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        iam.put_user_policy(UserName="cow", PolicyName="all", PolicyDocument=policy)
        key = iam.create_access_key(UserName="cow")["AccessKey"]
        with HTTPConnection(host, port) as conn:
            assert conn.request("POST", "/moto-api/reset-auth", body=b"0").status == 200
        yield (
            url,
            {
                "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            },
        )
    finally:
        with HTTPConnection(host, port) as conn:  # the state is that of the whole process
            for path, body in (("reset-auth", b"inf"), ("reset", b"")):
                conn.request("POST", f"/moto-api/{path}", body=body)
                conn.discard()
        server.stop()


@pytest.mark.parametrize("size", [0, 100, 3 << 20])
def test_s3_upload(s3: tuple[str, dict[str, str]], tmp_path: Path, size: int) -> None:
    url, keys = s3
    data = hashlib.shake_128(b"sea").digest(size)
    (tmp_path / "a file+x").write_bytes(data)
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    done = run("s3_upload.py", url, "sea", tmp_path / "a file+x", **keys)
    assert done == (0, f"/sea/a%20file%2Bx: {size} bytes, MD5 {md5}\n", "")


def test_s3_wrong_key(s3: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    url, keys = s3
    (tmp_path / "file").write_bytes(b"data")
    keys = keys | {"AWS_SECRET_ACCESS_KEY": "wrong"}
    status, out, err = run("s3_upload.py", url, "sea", tmp_path / "file", **keys)
    assert (status, out) == (1, "")
    assert err.startswith("403 ")
    assert "SignatureDoesNotMatch" in err


def test_s3_stored_something_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")
    answer = OK.replace(b"OK\r\n", b'OK\r\nETag: "900150983cd24fb0d6963f7d28e17f72"\r\n')
    with Listener() as listener, ThreadPoolExecutor() as pool:
        pool.submit(listener.serve, answer)
        keys = dict.fromkeys(KEYS, "any")
        status, out, err = run(
            "s3_upload.py", f"http://{listener.authority}", "sea", tmp_path / "file", **keys
        )
    assert (status, out) == (1, "")
    assert err.startswith('the server has something else: "900150983cd24fb0d6963f7d28e17f72"')


# --------------------------------------------------------------------- a download that breaks off

DATA = hashlib.shake_128(b"a film").digest(500_000)
OTHER = hashlib.shake_128(b"another film").digest(400_000)


def whole(data: bytes, etag: str, cut: int | None = None) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nETag: {etag}\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data[:cut]


def part(data: bytes, start: int, cut: int | None = None, given: str | None = None) -> bytes:
    given = given or f"bytes {start}-{len(data) - 1}/{len(data)}"
    head = "HTTP/1.1 206 Partial Content\r\n"
    head += f"Content-Range: {given}\r\nContent-Length: {len(data) - start}\r\n\r\n"
    return head.encode() + data[start:cut]


class Film:
    """A server that answers one request per connection, as told; and the program."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "film"
        self.part = directory / "film.part"
        self.etag = directory / "film.part.etag"

    def download(self, *answers: bytes) -> tuple[tuple[int, str, str], list[str]]:
        """Run the program. Returns what became of it, and Range and If-Range of its requests."""
        with Listener() as listener, ThreadPoolExecutor() as pool:
            serving = pool.submit(lambda: [listener.serve(answer)[0] for answer in answers])
            done = run("resume_download.py", listener.url("/film?x=1"), self.file)
            heads = serving.result(PATIENCE)
        asked = []
        for lines in (data.decode().split("\r\n") for data in heads):
            assert lines[0] == "GET /film?x=1 HTTP/1.1"
            asked.append(" ".join(line for line in lines if "Range: " in line))
        return done, asked

    def left(self) -> set[str]:
        return {path.name for path in self.file.parent.iterdir()}


@pytest.fixture
def film(tmp_path: Path) -> Film:
    return Film(tmp_path)


def test_download_in_one_go(film: Film) -> None:
    done, asked = film.download(whole(DATA, '"a"'))
    assert done == (0, f"{film.file}: 500000 bytes\n", "")
    assert asked == [""]
    assert film.file.read_bytes() == DATA
    assert film.left() == {"film"}


def test_download_resumed(film: Film) -> None:
    (status, out, err), asked = film.download(
        whole(DATA, '"a"', cut=200_000), part(DATA, 200_000, cut=300_000), part(DATA, 300_000)
    )
    assert (status, out) == (0, f"{film.file}: 500000 bytes\n")
    assert [line.partition(":")[0] for line in err.splitlines()] == [
        "broken off at 200000 bytes",
        "broken off at 300000 bytes",
    ]
    assert asked == [
        "",
        'Range: bytes=200000- If-Range: "a"',
        'Range: bytes=300000- If-Range: "a"',
    ]
    assert film.file.read_bytes() == DATA
    assert film.left() == {"film"}


def test_download_resumed_when_started_again(film: Film) -> None:
    film.part.write_bytes(DATA[:123])
    film.etag.write_text('"a"')
    done, asked = film.download(part(DATA, 123))
    assert done == (0, f"{film.file}: 500000 bytes\n", "")
    assert asked == ['Range: bytes=123- If-Range: "a"']
    assert film.file.read_bytes() == DATA


@pytest.mark.parametrize("etag", ['W/"b"', '"b"'])
def test_download_changed(film: Film, etag: str) -> None:
    """The new document is not put behind a part of the old one, nor resumed by a weak tag."""
    film.part.write_bytes(DATA[:123])
    film.etag.write_text('"a"')
    resumable = not etag.startswith("W/")
    (status, _, _), asked = film.download(
        whole(OTHER, etag, cut=1000), part(OTHER, 1000) if resumable else whole(OTHER, etag)
    )
    assert status == 0
    assert asked[0] == 'Range: bytes=123- If-Range: "a"'
    assert asked[1] == ('Range: bytes=1000- If-Range: "b"' if resumable else "")
    assert film.file.read_bytes() == OTHER
    assert film.left() == {"film"}


def test_download_without_its_tag(film: Film) -> None:
    """Nobody knows what a part belongs to."""
    film.part.write_bytes(OTHER[:123])
    done, asked = film.download(whole(DATA, '"a"'))
    assert (done[0], asked) == (0, [""])
    assert film.file.read_bytes() == DATA


def test_download_more_than_there_is(film: Film) -> None:
    film.part.write_bytes(DATA + b"x")
    film.etag.write_text('"a"')
    refusal = (
        b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    done, asked = film.download(refusal, whole(DATA, '"a"'))
    assert (done[0], asked) == (0, ['Range: bytes=500001- If-Range: "a"', ""])
    assert film.file.read_bytes() == DATA


@pytest.mark.parametrize("given", ["bytes 0-499999/500000", "bytes 123-200/500000", "bytes */5"])
def test_download_wrong_part(film: Film, given: str) -> None:
    film.part.write_bytes(DATA[:123])
    film.etag.write_text('"a"')
    (status, out, err), _ = film.download(part(DATA, 123, given=given))
    assert (status, out) == (1, "")
    assert err == f"asked for the bytes from 123 on, and was sent {given}\n"
    assert film.left() == {"film.part", "film.part.etag"}
    assert film.part.read_bytes() == DATA[:123]


def test_download_refused(film: Film) -> None:
    (status, out, err), _ = film.download(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    assert (status, out, err) == (1, "", "/film?x=1: 404 Not Found\n")
    assert film.left() == set()


def test_download_not_http(film: Film) -> None:
    """What a retry does not cure is not retried."""
    (status, _, err), _ = film.download(b"SSH-2.0-x\r\n\r\n")
    assert status == 1
    assert "InvalidResponse" in err


# --------------------------------------------------------------------- a storage client


class Store(BaseHTTPRequestHandler):
    """Stores what is PUT, and says how many connections there were."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    objects: dict[str, bytes]
    connections: set[Any]

    def do_PUT(self) -> None:
        self.connections.add(self.client_address)
        self.objects[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        data = self.objects.get(self.path, b"")
        self.send_response(200 if data else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_request(self, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def store() -> Iterator[tuple[str, type[Store]]]:
    kind = type("Store", (Store,), {"objects": {}, "connections": set()})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/sea", kind
        server.shutdown()
        thread.join()


def test_storage_client(tmp_path: Path) -> None:
    files = []
    for number in range(30):
        files.append(tmp_path / f"object {number}")
        files[-1].write_bytes(bytes([number]) * (1 + 40_000 * number))
    with store() as (url, kind):
        status, out, err = run("storage_client.py", url, *files)
        assert (status, err) == (0, "")
        *lines, last = out.splitlines()
        assert [line.partition(":")[0] for line in lines] == [file.name for file in files]
        connections = int(re.fullmatch(r"30 files over ([1-4]) connections", last)[1])  # type: ignore[index]
        assert len(kind.connections) == connections
        assert kind.objects["/sea/object%207"] == files[7].read_bytes()


def test_storage_client_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    with store() as (url, _):
        status, out, err = run("storage_client.py", url, tmp_path / "empty")
        assert (status, out) == (1, "")
        assert err.endswith("Refused: GET empty: 404 Not Found\n")
