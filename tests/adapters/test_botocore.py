"""botocore, boto3 and s3transfer on dugong: with moto's S3, and with servers that refuse."""

from __future__ import annotations

import io
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from boto3.s3.transfer import TransferConfig
from botocore import UNSIGNED
from botocore import exceptions as wrong
from botocore.config import Config
from botocore.httpsession import URLLib3Session

from dugong.adapters.botocore import DugongSession, use
from tests.adapters.s3 import MIB, moto, no_configuration
from tests.adapters.scripted import scripted
from tests.support.in_turn import in_turn
from tests.support.servers import Certificate
from tests.support.site import Reply, site

__all__ = ["moto", "no_configuration"]

# botocore and moto use what Python 3.12 and later deprecate.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def s3(url: str, **options: Any) -> Any:
    config = Config(
        s3={"addressing_style": "path"},
        retries={"max_attempts": 1, "mode": "standard"},
        **options.pop("config", {}),
    )
    return use(
        boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            config=config,
            **options,
        )
    )


@pytest.fixture
def client(moto: str) -> Iterator[Any]:
    made = s3(moto)
    made.create_bucket(Bucket="bucket")
    yield made
    made.close()


def test_put_and_get(client: Any) -> None:
    for body in (b"content", b"", io.BytesIO(b"content"), bytearray(b"content")):
        expected = body.getvalue() if isinstance(body, io.BytesIO) else bytes(body)
        client.put_object(Bucket="bucket", Key="a key/ü", Body=body)
        got = client.get_object(Bucket="bucket", Key="a key/ü")
        assert got["ContentLength"] == len(expected)
        assert got["Body"].read() == expected
    part = client.get_object(Bucket="bucket", Key="a key/ü", Range="bytes=1-3")
    assert part["Body"].read() == b"ont"
    (entry,) = client.list_objects_v2(Bucket="bucket")["Contents"]
    assert entry["Key"] == "a key/ü"
    assert client.head_object(Bucket="bucket", Key="a key/ü")["ContentLength"] == 7
    with pytest.raises(client.exceptions.NoSuchKey):
        client.get_object(Bucket="bucket", Key="none")
    client.delete_object(Bucket="bucket", Key="a key/ü")


def test_streaming_body(client: Any) -> None:
    data = b"".join(b"line %d\n" % number for number in range(50_000))
    client.put_object(Bucket="bucket", Key="key", Body=data)

    def body() -> Any:
        return client.get_object(Bucket="bucket", Key="key")["Body"]

    stream = body()
    stream.set_socket_timeout(30)
    assert stream.readable()
    assert stream.read(10) == data[:10]
    assert stream.tell() == 10
    buffer = bytearray(20)
    assert stream.readinto(buffer) == 20
    assert bytes(buffer) == data[10:30]
    assert stream.read() == data[30:]
    assert b"".join(body().iter_chunks(1000)) == data
    assert list(body().iter_lines()) == data.splitlines()
    assert b"".join(body().readlines()) == data
    stream = body()
    stream.read(1)
    stream.close()
    assert next(iter(body())) == data[:1024]


def test_files(client: Any, tmp_path: Path) -> None:
    """Through s3transfer, whose files are sections, read in several threads."""
    source, target = tmp_path / "source", tmp_path / "target"
    data = bytes(range(256)) * (20 * MIB // 256)
    source.write_bytes(data)
    config = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=5 * MIB)
    progress: list[int] = []
    client.upload_file(str(source), "bucket", "file", Config=config, Callback=progress.append)
    assert sum(progress) == len(data)
    assert client.head_object(Bucket="bucket", Key="file")["ETag"].endswith('-4"')
    client.download_file("bucket", "file", str(target), Config=config)
    assert target.read_bytes() == data
    with source.open("rb") as file:
        client.upload_fileobj(file, "bucket", "small", Config=TransferConfig(64 * MIB))
    got = io.BytesIO()
    client.download_fileobj("bucket", "small", got)
    assert got.getvalue() == data


def test_signature() -> None:
    """What is added below botocore is not part of the signature, and what is signed is sent."""
    with site() as server:
        server.on("/bucket/key", Reply())
        s3(server.url).put_object(Bucket="bucket", Key="key", Body=b"x")
    (seen,) = server.seen
    signed = str(seen["authorization"]).partition("SignedHeaders=")[2].partition(",")[0]
    assert {"host", "x-amz-date"} < set(signed.split(";"))
    for name in signed.split(";"):
        assert name in seen
    assert seen["host"] == f"127.0.0.1:{server.port}"
    assert "accept" not in seen


# ------------------------------------------------------------------------------- refusals

DENIED = b"<Error><Code>AccessDenied</Code><Message>No</Message></Error>"


def test_a_refused_upload_sends_no_body() -> None:
    heads = []

    def refuse(sock: socket.socket) -> None:
        heads.append(sock.recv(100_000))
        fields = b"Content-Length: %d\r\nConnection: close\r\n" % len(DENIED)
        sock.sendall(b"HTTP/1.1 403 Forbidden\r\n%s\r\n%s" % (fields, DENIED))
        heads.append(sock.recv(100_000))

    with scripted(refuse) as url:
        client = s3(url, config={"request_checksum_calculation": "when_required"})
        size = 1024 * MIB
        with pytest.raises(wrong.ClientError, match="AccessDenied"):
            client.upload_part(Bucket="b", Key="k", UploadId="1", PartNumber=1, Body=Zeros(size))
    assert b"\r\nExpect: 100-continue\r\n" in heads[0]
    assert b"\r\nContent-Length: %d\r\n" % size in heads[0]
    assert heads[0].endswith(b"\r\n\r\n")
    assert heads[1:] == [b""]


class Zeros(io.RawIOBase):
    """A file of zeros, however large."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        start = {0: 0, 1: self._position, 2: self._size}[whence]
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), self._size - self._position)
        buffer[:count] = bytes(count)
        self._position += count
        return count


def test_a_redirected_upload_sends_its_body_once() -> None:
    """S3 answers with a 307 if the bucket is in another region, before the body is sent."""
    received: list[bytes] = []

    def redirect(sock: socket.socket) -> None:
        received.append(sock.recv(100_000))
        fields = b"x-amz-bucket-region: eu-west-1\r\nContent-Length: 0\r\nConnection: close\r\n"
        sock.sendall(b"HTTP/1.1 307 Temporary Redirect\r\n%s\r\n" % fields)
        received.append(sock.recv(100_000))

    def accept(sock: socket.socket) -> None:
        received.append(sock.recv(100_000))
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        with sock.makefile("rb") as file:
            received.append(file.read(7 * MIB))
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with scripted(redirect, accept) as url:
        client = s3(url, config={"request_checksum_calculation": "when_required"})
        client.put_object(Bucket="bucket", Key="key", Body=io.BytesIO(b"content" * MIB))
    assert [len(each) for each in (received[1], received[3])] == [0, 7 * MIB]
    for head in (received[0], received[2]):
        assert b"\r\nExpect: 100-continue\r\n" in head
        assert head.endswith(b"\r\n\r\n")
    assert b"/us-east-1/s3/" in received[0]
    assert b"/eu-west-1/s3/" in received[2]


def test_an_empty_body_is_not_asked_for() -> None:
    with site() as server:
        server.on("/b/k", Reply())
        client = s3(server.url)
        client.put_object(Bucket="b", Key="k", Body=io.BytesIO())
        client.put_object(Bucket="b", Key="k", Body=b"")
    assert ["expect" in seen for seen in server.seen] == [False, False]


# ------------------------------------------------------------------------------- errors


def silent(gate: threading.Event) -> Any:
    def wait(seen: object) -> None:
        gate.wait(60)

    return wait


HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"


def test_errors() -> None:
    gate = threading.Event()
    fast = {"connect_timeout": 5, "read_timeout": 0.1}
    with site() as server:
        client = s3(server.url, config=fast)
        for answer, kind in (
            (silent(gate), wrong.ReadTimeoutError),
            (lambda seen: None, wrong.ConnectionClosedError),
            (Reply(raw=b"SSH-2.0\r\n", close=True), wrong.ConnectionClosedError),
        ):
            server.on("/", answer)
            with pytest.raises(kind):
                client.list_buckets()
        gate.set()
        server.on("/b/k", Reply(raw=HALF, close=True))
        with pytest.raises(wrong.ResponseStreamingError):
            client.get_object(Bucket="b", Key="k")["Body"].read()
        server.on("/b/k", Reply(raw=HALF))
        with pytest.raises(wrong.ReadTimeoutError):
            client.get_object(Bucket="b", Key="k")["Body"].read()
        body = s3(server.url).get_object(Bucket="b", Key="k")["Body"]
        body.set_socket_timeout(0.1)
        with pytest.raises(wrong.ReadTimeoutError):
            body.read()
    for url in ("http://127.0.0.1:1", "http://nonexistent.invalid"):
        with pytest.raises(wrong.EndpointConnectionError):
            s3(url).list_buckets()
    proxies = {"http": "http://walrus:secret@127.0.0.1:1"}
    with pytest.raises(wrong.ProxyConnectionError) as caught:
        s3("http://127.0.0.1", config={"proxies": proxies}).list_buckets()
    assert "secret" not in str(caught.value)


def test_a_stale_connection_is_replaced() -> None:
    with site() as server:
        server.on("/", Reply(body=b"<a/>"), lambda seen: None, Reply(body=b"<a/>"))
        client = s3(server.url)
        client.list_buckets()
        assert client.list_buckets()["ResponseMetadata"]["RetryAttempts"] == 0
    assert (server.connections, len(server.seen)) == (2, 3)


def test_tls(certificate: Certificate, authority: Any, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    pem = tmp_path / "client.pem"
    authority.issue_cert("walrus@example.org").private_key_and_cert_chain_pem.write_to_path(pem)
    with site(context, "0.0.0.0") as server:  # noqa: S104
        server.on("/", Reply(body=b"<a/>"))
        good, other = server.at("127.0.0.1"), server.at("127.0.0.2")
        s3(good, verify=str(ca)).list_buckets()
        with pytest.raises(wrong.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
            s3(good).list_buckets()
        with pytest.raises(wrong.SSLError, match="doesn't match"):
            s3(other, verify=str(ca)).list_buckets()
        with pytest.warns(match="Unverified"):
            s3(other, verify=False).list_buckets()
        s3(good, verify=str(ca), config={"client_cert": str(pem)}).list_buckets()
    assert [seen.has_certificate for seen in server.seen] == [False, False, True]


def test_forwarding_proxy() -> None:
    with site() as proxy:
        proxy.on("http://s3.invalid/", Reply(body=b"<a/>"))
        proxies = {"http": proxy.url.replace("//", "//walrus:secret@")}
        s3("http://s3.invalid", config={"proxies": proxies}).list_buckets()
    (seen,) = proxy.seen
    assert seen.target == "http://s3.invalid/"
    assert seen["proxy-authorization"] == "Basic d2FscnVzOnNlY3JldA=="


# ------------------------------------------------------------------------------- sessions


def test_use_takes_the_settings() -> None:
    config = Config(
        connect_timeout=1, read_timeout=2, max_pool_connections=3, client_cert=("a", "b"),
        proxies={"https": "http://proxy"}, proxies_config={"proxy_use_forwarding_for_https": False},
        tcp_keepalive=True, signature_version=UNSIGNED,
    )  # fmt: skip
    session = botocore.session.get_session()
    client = session.create_client("s3", region_name="us-east-1", config=config, verify="x")
    old = client._endpoint.http_session
    assert type(old) is URLLib3Session
    assert use(client) is client
    new = client._endpoint.http_session
    assert type(new) is DugongSession
    for name, value in vars(old).items():
        if name in ("_verify", "_cert_file", "_key_file", "_max_pool_connections",
                    "_socket_options"):  # fmt: skip
            assert getattr(new, name) == value
    assert new._socket_options
    assert str(new._timeout) == str(old._timeout)
    assert vars(new._proxy_config) == vars(old._proxy_config)
    use(client)
    assert client._endpoint.http_session is new
    client.close()


@in_turn("value", [None, "s3", object()])
def test_use_refuses(value: Any) -> None:
    with pytest.raises(TypeError, match="client must be a client"):
        use(value)


def test_as_session_class() -> None:
    """With the constructor of the class that it replaces."""
    with site() as server:
        session = DugongSession(True, None, (1, 2), 3)
        from botocore.awsrequest import AWSRequest

        request = AWSRequest("GET", f"{server.url}/a%20b?q=%2F", stream_output=True)
        response = session.send(request.prepare())
        assert (response.status_code, response.content) == (200, b"ok")
        session.close()
    assert server.seen[0].target == "/a%20b?q=%2F"


def test_missing_library() -> None:
    code = (
        "import sys; sys.modules['botocore'] = None\n"
        "try:\n    import dugong.adapters.botocore\n"
        "except ImportError as exc:\n    print(exc)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (
        done.stdout == "dugong.adapters.botocore needs botocore: pip install 'dugong[botocore]'\n"
    )
