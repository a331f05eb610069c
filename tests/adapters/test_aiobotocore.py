"""aiobotocore on dugong: with moto's S3, and with servers that fail."""

from __future__ import annotations

import asyncio
import io
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore import exceptions as wrong

from dugong.adapters.botocore import AsyncDugongSession
from tests.adapters.s3 import MIB, moto, no_configuration
from tests.adapters.scripted import scripted
from tests.support.servers import Certificate
from tests.support.site import Reply, site

__all__ = ["moto", "no_configuration"]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@asynccontextmanager
async def s3(url: str, **options: Any) -> AsyncIterator[Any]:
    config = AioConfig(
        http_session_cls=AsyncDugongSession,
        s3={"addressing_style": "path"},
        retries={"max_attempts": 1, "mode": "standard"},
        **options.pop("config", {}),
    )
    async with get_session().create_client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=config,
        **options,
    ) as client:
        assert type(client._endpoint.http_session) is AsyncDugongSession
        yield client


def with_s3(url: str, use: Callable[[Any], Awaitable[object]], **options: Any) -> None:
    async def run() -> None:
        async with s3(url, **options) as client:
            await use(client)

    asyncio.run(run())


def test_put_and_get(moto: str) -> None:
    data = b"".join(b"line %d\n" % number for number in range(50_000))

    async def use(client: Any) -> None:
        await client.create_bucket(Bucket="async")
        for content in (b"", b"content", io.BytesIO(b"content"), data):
            await client.put_object(Bucket="async", Key="a key/ü", Body=content)
        entries = (await client.list_objects_v2(Bucket="async"))["Contents"]
        assert [(entry["Key"], entry["Size"]) for entry in entries] == [("a key/ü", len(data))]

        async def get() -> Any:
            got = await client.get_object(Bucket="async", Key="a key/ü")
            assert got["ContentLength"] == len(data)
            return got["Body"]

        assert await (await get()).read() == data
        async with await get() as stream:
            assert stream.readable()
            assert data.startswith(await stream.read(10))
        assert b"".join([piece async for piece in (await get()).iter_chunks(1000)]) == data
        assert [line async for line in (await get()).iter_lines()] == data.splitlines()
        buffer = bytearray(5)
        count = await (await get()).readinto(buffer)
        assert buffer[:count] == data[:count]
        got = await client.get_object(Bucket="async", Key="a key/ü", Range="bytes=1-3")
        assert await got["Body"].read() == data[1:4]
        with pytest.raises(client.exceptions.NoSuchKey):
            await client.get_object(Bucket="async", Key="none")
        assert await asyncio.gather(*[read(client) for _ in range(20)]) == [data] * 20

    async def read(client: Any) -> bytes:
        got = await client.get_object(Bucket="async", Key="a key/ü")
        content: bytes = await got["Body"].read()
        return content

    with_s3(moto, use, config={"max_pool_connections": 3})


def test_parts(moto: str) -> None:
    part = bytes(range(256)) * (5 * MIB // 256)

    async def use(client: Any) -> None:
        await client.create_bucket(Bucket="async")
        where = {"Bucket": "async", "Key": "parts"}
        upload = (await client.create_multipart_upload(**where))["UploadId"]
        tags = []
        for number in (1, 2):
            answer = await client.upload_part(
                **where, UploadId=upload, PartNumber=number, Body=io.BytesIO(part)
            )
            tags.append({"ETag": answer["ETag"], "PartNumber": number})
        await client.complete_multipart_upload(
            **where, UploadId=upload, MultipartUpload={"Parts": tags}
        )
        got = await client.get_object(**where)
        assert await got["Body"].read() == part * 2

    with_s3(moto, use)


def test_a_refused_upload_sends_no_body() -> None:
    denied = b"<Error><Code>AccessDenied</Code><Message>No</Message></Error>"
    received: list[bytes] = []

    def refuse(sock: socket.socket) -> None:
        received.append(sock.recv(100_000))
        fields = b"Content-Length: %d\r\nConnection: close\r\n" % len(denied)
        sock.sendall(b"HTTP/1.1 403 Forbidden\r\n%s\r\n%s" % (fields, denied))
        received.append(sock.recv(100_000))

    async def use(client: Any) -> None:
        with pytest.raises(wrong.ClientError, match="AccessDenied"):
            await client.put_object(Bucket="b", Key="k", Body=io.BytesIO(bytes(8 * MIB)))

    with scripted(refuse) as url:
        with_s3(url, use, config={"request_checksum_calculation": "when_required"})
    assert received[0].endswith(b"\r\n\r\n")
    assert received[1:] == [b""]


HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"


def test_errors() -> None:
    gate = threading.Event()

    def wait(seen: object) -> None:
        gate.wait(60)

    with site() as server:

        async def use(client: Any) -> None:
            for answer, kind in (
                (wait, wrong.ReadTimeoutError),
                (lambda seen: None, wrong.ConnectionClosedError),
                (Reply(raw=b"SSH-2.0\r\n", close=True), wrong.ConnectionClosedError),
                (Reply(raw=HALF, close=True), wrong.ConnectionClosedError),
            ):
                server.on("/", answer)
                with pytest.raises(kind):
                    await client.list_buckets()
            gate.set()
            server.on("/b/k", Reply(raw=HALF, close=True))
            body = (await client.get_object(Bucket="b", Key="k"))["Body"]
            with pytest.raises(aiohttp.ClientPayloadError):
                await body.read()
            with pytest.raises(aiohttp.ClientPayloadError):
                await body.read()
            server.on("/b/k", Reply(raw=HALF))
            body = (await client.get_object(Bucket="b", Key="k"))["Body"]
            with pytest.raises(wrong.ReadTimeoutError):
                await body.read()

        with_s3(server.url, use, config={"connect_timeout": 5, "read_timeout": 0.1})

    async def refused(client: Any) -> None:
        with pytest.raises(wrong.EndpointConnectionError):
            await client.list_buckets()

    for url in ("http://127.0.0.1:1", "http://nonexistent.invalid"):
        with_s3(url, refused)

    async def through_proxy(client: Any) -> None:
        with pytest.raises(wrong.ProxyConnectionError) as caught:
            await client.list_buckets()
        assert "secret" not in str(caught.value)

    proxies = {"http": "http://walrus:secret@127.0.0.1:1"}
    with_s3("http://127.0.0.1", through_proxy, config={"proxies": proxies})


def test_cancelled() -> None:
    """A cancelled request leaves nothing behind: with a limit of one connection, it would block."""
    reached, gate = threading.Event(), threading.Event()

    def wait(seen: object) -> None:
        reached.set()
        gate.wait(60)

    with site() as server:
        server.on("/", wait, Reply(body=b"<a/>"))

        async def use(client: Any) -> None:
            task = asyncio.create_task(client.list_buckets())
            await asyncio.to_thread(reached.wait, 60)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            gate.set()
            await client.list_buckets()

        with_s3(server.url, use, config={"max_pool_connections": 1})


def tls_files(
    certificate: Certificate, authority: Any, folder: Path
) -> tuple[ssl.SSLContext, str, str]:
    """Return a server's context, and paths of the authority and a client's certificate."""
    ca = folder / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    pem = folder / "client.pem"
    authority.issue_cert("walrus@example.org").private_key_and_cert_chain_pem.write_to_path(pem)
    return context, str(ca), str(pem)


def test_tls(certificate: Certificate, authority: Any, tmp_path: Path) -> None:
    context, ca, pem = tls_files(certificate, authority, tmp_path)

    async def works(client: Any) -> None:
        await client.list_buckets()

    async def fails(client: Any) -> None:
        with pytest.raises(wrong.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.list_buckets()

    with site(context, "0.0.0.0") as server:  # noqa: S104
        server.on("/", Reply(body=b"<a/>"))
        good, other = server.at("127.0.0.1"), server.at("127.0.0.2")
        with_s3(good, works, verify=ca)
        with_s3(good, fails)
        with_s3(other, fails, verify=ca)
        with_s3(other, works, verify=False)
        with_s3(good, works, verify=ca, config={"client_cert": pem})
    assert [seen.has_certificate for seen in server.seen] == [False, False, True]


def test_https_proxy(certificate: Certificate, authority: Any, tmp_path: Path) -> None:
    context, ca, pem = tls_files(certificate, authority, tmp_path)

    async def works(client: Any) -> None:
        await client.list_buckets()

    async def fails(client: Any) -> None:
        with pytest.raises(wrong.ProxyConnectionError):
            await client.list_buckets()

    async def has_no_file(client: Any) -> None:
        with pytest.raises(wrong.HTTPClientError, match="proxies_config"):
            await client.list_buckets()

    with site(context) as proxy:
        proxy.on("http://s3.invalid/", Reply(body=b"<a/>"))

        def through(use: Callable[[Any], Awaitable[object]], **options: Any) -> None:
            verify = options.pop("verify", None)
            config = {"proxies": {"http": proxy.at("127.0.0.1")}, **options}
            with_s3("http://s3.invalid", use, verify=verify, config=config)

        through(fails)
        through(works, verify=ca, client_cert=pem)
        through(works, proxies_config={"proxy_ca_bundle": ca})
        through(works, proxies_config={"proxy_ca_bundle": ca, "proxy_client_cert": pem})
        through(works, proxies_config={"proxy_ca_bundle": ca, "proxy_client_cert": (pem, pem)})
        through(has_no_file, proxies_config={"proxy_ca_bundle": str(tmp_path / "missing")})
    assert [seen.has_certificate for seen in proxy.seen] == [False, False, True, True]


def test_forwarding_proxy() -> None:
    async def use(client: Any) -> None:
        await client.list_buckets()

    with site() as proxy:
        proxy.on("http://s3.invalid/", Reply(body=b"<a/>"))
        proxies = {"http": proxy.url.replace("//", "//walrus:secret@")}
        with_s3("http://s3.invalid", use, config={"proxies": proxies})
    (seen,) = proxy.seen
    assert seen.target == "http://s3.invalid/"
    assert seen["proxy-authorization"] == "Basic d2FscnVzOnNlY3JldA=="


def test_arguments() -> None:
    AsyncDugongSession(connector_args={"keepalive_timeout": 1, "use_dns_cache": True})
    with pytest.raises(ValueError, match="not supported here: resolver"):
        AsyncDugongSession(connector_args={"resolver": None})
    AsyncDugongSession(proxies_config={"proxy_use_forwarding_for_https": False})
    with pytest.raises(ValueError, match="here: proxy_use_forwarding_for_https"):
        AsyncDugongSession(proxies_config={"proxy_use_forwarding_for_https": True})


def test_missing_library() -> None:
    code = (
        "import sys; sys.modules['aiobotocore'] = None\n"
        "from dugong.adapters.botocore import DugongSession\n"
        "try:\n    from dugong.adapters.botocore import AsyncDugongSession\n"
        "except ImportError as exc:\n    print(exc)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith(" needs aiobotocore: pip install 'dugong[aiobotocore]'\n")
