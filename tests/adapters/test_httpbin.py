"""httpbin through each adapter: the responses are those that the library gets without it.

The table has each of httpbin's endpoints whose response does not depend on chance.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
import requests
from aiobotocore.httpsession import AIOHTTPSession
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session
from requests.auth import HTTPDigestAuth

from dugong.adapters.botocore import AsyncDugongSession, DugongSession
from dugong.adapters.requests import DugongAdapter
from tests.adapters.httpx_kits import Kit, each_kit

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

#: Method, path, and options that requests and httpx have in common. ``digest`` becomes ``auth``.
ENDPOINTS: list[tuple[str, str, dict[str, Any]]] = [
    *(("GET", f"/{path}", {}) for path in (
        "get?a=1&a=%C3%BC", "headers", "ip", "user-agent", "anything/path", "cache", "cache/60",
        "gzip", "deflate", "brotli", "encoding/utf8", "deny", "html", "json", "xml", "robots.txt",
        "image/png", "image/jpeg", "image/svg", "image/webp", "response-headers?a=1&b=2",
        "links/3/0", "forms/post", "base64/c2VhIGNvdw==", "delay/0",
        "bytes/100000?seed=1", "stream-bytes/100000?seed=1&chunk_size=1000", "stream/5",
        "range/10000?chunk_size=100", "drip?duration=0&delay=0&numbytes=100", "etag/x",
        "redirect/3", "relative-redirect/3", "absolute-redirect/3", "cookies",
        "cookies/set?a=1&b=2", "cookies/set/c/3", "cookies/delete?a=", "links/3",
        "hidden-basic-auth/u/p", "basic-auth/u/p", "bearer",
    )),
    *(("GET", f"/status/{status}", {}) for status in (200, 204, 304, 400, 404, 418, 429, 500, 503)),
    *((method, "/anything", {}) for method in
      ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")),
    *((method, f"/{method.lower()}", {"json": {"a": [1, None]}}) for method in
      ("POST", "PUT", "PATCH")),
    ("DELETE", "/delete?a=1", {}),
    *(("POST", f"/redirect-to?url=/anything&status_code={status}", {"data": {"a": "1"}})
      for status in (301, 302, 303, 307, 308)),
    ("HEAD", "/get", {}),
    ("HEAD", "/range/10000", {}),
    ("GET", "/range/10000", {"headers": {"Range": "bytes=100-199"}}),
    ("GET", "/range/10000", {"headers": {"Range": "bytes=20000-"}}),
    ("GET", "/etag/x", {"headers": {"If-None-Match": "x"}}),
    ("GET", "/cache", {"headers": {"If-None-Match": "x"}}),
    ("GET", "/image", {"headers": {"Accept": "image/webp"}}),
    ("GET", "/bearer", {"headers": {"Authorization": "Bearer t"}}),
    ("GET", "/basic-auth/u/p", {"auth": ("u", "p")}),
    ("GET", "/basic-auth/u/p", {"auth": ("u", "x")}),
    ("GET", "/hidden-basic-auth/u/p", {"auth": ("u", "p")}),
    ("GET", "/digest-auth/auth/u/p", {"digest": ("u", "p")}),
    ("GET", "/digest-auth/auth/u/p/SHA-256", {"digest": ("u", "p")}),
    ("POST", "/post", {"data": {"a": ["1", "2"], "ü": "&="}}),
    ("POST", "/post", {"data": b"\0\xff" * 500_000}),
    ("POST", "/post", {"data": {"a": "1"}, "files": {"f": ("ü.txt", b"content", "text/plain")}}),
    ("PUT", "/put", {"data": b""}),
]  # fmt: skip


def seen(status: int, fields: Any, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
    """Return what must be the same. Some fields and parts of bodies depend on chance or time."""
    kept = sorted(
        (name.lower(), value)
        for name, value in fields
        if name.lower() not in ("date", "last-modified", "set-cookie", "etag", "www-authenticate")
    )
    return status, kept, re.sub(rb"boundary=[\w-]+", b"", body)


def options_for(options: dict[str, Any], digest: Any) -> dict[str, Any]:
    options = dict(options)
    if "digest" in options:
        options["auth"] = digest(*options.pop("digest"))
    return options


def test_requests(httpbin: str) -> None:
    with requests.Session() as plain, requests.Session() as adapted:
        adapted.mount("http://", DugongAdapter())
        for method, path, options in ENDPOINTS:
            found = []
            for session in (plain, adapted):
                given = options_for(options, HTTPDigestAuth)
                with session.request(method, httpbin + path, **given) as response:
                    fields = response.headers.items()
                    found.append(seen(response.status_code, fields, response.content))
            assert found[0] == found[1], (method, path)


@each_kit
async def test_httpx(kit: Kit, httpbin: str) -> None:
    library = kit.library
    transport = library.AsyncHTTPTransport if kit.is_async else library.HTTPTransport
    async with (
        kit.client(transport(), follow_redirects=True) as plain,
        kit.client(follow_redirects=True) as adapted,
    ):
        for method, path, options in ENDPOINTS:
            found = []
            for client in (plain, adapted):
                given = options_for(options, library.DigestAuth)
                if isinstance(given.get("data"), bytes):
                    given["content"] = given.pop("data")
                response = await client.request(method, httpbin + path, **given)
                fields = response.headers.multi_items()
                found.append(seen(response.status_code, fields, response.content))
            assert found[0] == found[1], (method, path)


def prepared(httpbin: str, method: str, path: str, options: dict[str, Any]) -> Any:
    """Return a request for a session of botocore, or ``None`` if it has not these options."""
    if options.keys() - {"headers", "data"} or isinstance(options.get("data"), dict):
        return None
    # Without these, the libraries below add different ones. botocore sets them itself.
    fields = {"Accept": "*/*", "Accept-Encoding": "identity", "Connection": "keep-alive"}
    fields["User-Agent"] = "x"
    fields |= options.get("headers", {})
    return AWSRequest(method, httpbin + path, fields, options.get("data")).prepare()


def test_botocore(httpbin: str) -> None:
    plain, adapted = URLLib3Session(), DugongSession()
    for method, path, options in ENDPOINTS:
        found = []
        for session in (plain, adapted):
            request = prepared(httpbin, method, path, options)
            if request is not None:
                response = session.send(request)
                found.append(seen(response.status_code, response.headers.items(), response.content))
        assert found[:1] == found[1:], (method, path)
    plain.close()
    adapted.close()


def test_aiobotocore(httpbin: str) -> None:
    async def compare() -> None:
        async with AIOHTTPSession() as plain, AsyncDugongSession() as adapted:
            for method, path, options in ENDPOINTS:
                if "redirect" in path or "cookies/" in path or path == "/links/3":
                    continue  # aiohttp follows redirects, of which AWS has none
                found = []
                for session in (plain, adapted):
                    request = prepared(httpbin, method, path, options)
                    if request is not None:
                        response = await session.send(request)
                        fields = response.headers.items()
                        found.append(seen(response.status_code, fields, await response.content))
                assert found[:1] == found[1:], (method, path)

    asyncio.run(compare())
