"""The client with real servers: httpbin, nginx, tinyproxy and moto's S3."""

from __future__ import annotations

import json
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dugong import (
    Client,
    Multipart,
    Origin,
    RedirectError,
    Redirects,
    Response,
    Retry,
    StatusError,
    TunnelRefused,
)
from tests.support.servers import (
    HOST,
    Certificate,
    NginxEndpoints,
    Proxies,
    Server,
    serving_by_nginx,
)
from tests.support.site import Reply, site


def status(response: Response) -> int:
    """Return the status, and read the body."""
    response.readall()
    return response.status


# ------------------------------------------------------------------------------- httpbin


@pytest.fixture
def bin_client(httpbin: str) -> Iterator[Client]:
    with Client(base_url=httpbin, max_body=10_000_000) as client:
        yield client
        stats = client.pool.stats()
        assert stats.leased == stats.waiting == 0


def test_methods(bin_client: Client) -> None:
    for method in ("get", "delete", "patch", "post", "put"):
        seen = getattr(bin_client, method)(method, params={"a": ["1", "ü"]}).json()
        assert seen["args"] == {"a": ["1", "ü"]}
        seen = getattr(bin_client, method)(f"anything/{method}").json()
        assert seen["method"] == method.upper()
    assert bin_client.head("get").readall() == b""
    assert "POST" in str(bin_client.options("anything").headers["Allow"])


def test_bodies(bin_client: Client) -> None:
    post = bin_client.post
    assert post("post", json={"a": [1, None]}).json()["json"] == {"a": [1, None]}
    assert post("post", form={"a": ["1", "2"], "ü": "&="}).json()["form"] == {
        "a": ["1", "2"], "ü": "&="
    }  # fmt: skip
    form = Multipart({"a": "1"}, [("f", ("ü.txt", b"content", "text/plain")), ("g", ("x", b""))])
    seen = post("post", form=form).json()
    assert seen["form"] == {"a": "1"}
    assert seen["files"] == {"f": "content", "g": ""}
    assert post("post", body=b"plain text").json()["data"] == "plain text"
    large = bytes(range(256)) * 10_000
    seen = bin_client.put("put", body=large, headers={"Content-Type": "application/x"}).json()
    assert seen["data"] == "data:application/octet-stream;base64," + b64encode(large).decode()


def test_status_codes(bin_client: Client) -> None:
    for status in (200, 204, 304, 400, 401, 403, 404, 406, 410, 418, 429, 500, 503):
        response = bin_client.get(f"status/{status}")
        assert response.status == status
        if status < 400:
            assert response.raise_for_status() is response
            response.discard()
        else:
            with pytest.raises(StatusError) as caught:
                response.raise_for_status()
            assert caught.value.status == status
    assert bin_client.get("deny").text().strip().startswith(".-")


def test_what_it_sees(bin_client: Client) -> None:
    assert bin_client.get("ip").json()["origin"] == HOST
    assert bin_client.get("user-agent").json()["user-agent"].startswith("dugong/")
    seen = bin_client.get("headers", headers={"X-Name": "value"}).json()["headers"]
    assert seen["X-Name"] == "value"
    response = bin_client.get("response-headers", params={"X-Made": ["1", "2"]})
    assert response.headers.get_all("x-made") == ["1", "2"]
    response.discard()


def test_authentication(bin_client: Client, httpbin: str) -> None:
    get = bin_client.get
    assert get("basic-auth/u/p", auth=("u", "p")).json() == {"authenticated": True, "user": "u"}
    assert status(get("basic-auth/u/p", auth=("u", "x"))) == 401
    assert status(get("hidden-basic-auth/u/p", auth=("u", "p"))) == 200
    assert status(get("hidden-basic-auth/u/p")) == 404
    token = get("bearer", auth=lambda request: {"Authorization": "Bearer t"}).json()
    assert token == {"authenticated": True, "token": "t"}
    assert status(get("digest-auth/auth/u/p", auth=("u", "p"))) == 401  # Digest is not supported
    url = httpbin.replace("://", "://u:p@")
    assert status(get(f"{url}/basic-auth/u/p")) == 200


def test_redirects(bin_client: Client, httpbin: str) -> None:
    for path in ("redirect/3", "relative-redirect/3", "absolute-redirect/3"):
        response = bin_client.get(path)
        assert response.url == f"{httpbin}/get"
        assert len(response.history) == 3
        response.discard()
    with pytest.raises(RedirectError, match="more than 2"):
        bin_client.get("redirect/3", redirects=2)
    for status in (301, 302, 303, 307, 308):
        target = {"url": "/anything", "status_code": status}
        seen = bin_client.post("redirect-to", params=target, body=b"x").json()
        assert seen["method"] == ("GET" if status < 307 else "POST")
        assert seen["data"] == ("" if status < 307 else "x")


def test_cookies(bin_client: Client) -> None:
    assert bin_client.get("cookies").json()["cookies"] == {}
    seen = bin_client.get("cookies/set", params={"a": "1", "b": "2"}).json()
    assert seen["cookies"] == {"a": "1", "b": "2"}
    assert bin_client.get("cookies/delete", params={"a": ""}).json()["cookies"] == {"b": "2"}
    assert bin_client.get("cookies/set/c/3").json()["cookies"] == {"b": "2", "c": "3"}


@pytest.mark.parametrize("coding", ["gzip", "deflate", "brotli"])
def test_codings(bin_client: Client, coding: str) -> None:
    assert (
        bin_client.get(coding).json()[
            "brotli" if coding == "brotli" else {"gzip": "gzipped", "deflate": "deflated"}[coding]
        ]
        is True
    )


def test_text(bin_client: Client) -> None:
    assert "STARGΛ̊TE" in bin_client.get("encoding/utf8").text()
    assert "Herman Melville" in bin_client.get("html").text()
    assert bin_client.get("json").json()["slideshow"]["title"] == "Sample Slide Show"
    assert bin_client.get("xml").text().startswith("<?xml")
    assert bin_client.get("robots.txt").text() == "User-agent: *\nDisallow: /deny\n"
    assert bin_client.get("base64/ZHVnb25n").text() == "dugong"
    assert len(bin_client.get("uuid").json()["uuid"]) == 36
    assert bin_client.get("links/5/0").text().count("href") == 4
    for kind in ("png", "jpeg", "webp", "svg"):
        response = bin_client.get(f"image/{kind}")
        assert response.headers.get_content_type().startswith("image/")
        assert len(response.readall()) > 1000


def test_streams(bin_client: Client) -> None:
    lines = [json.loads(line) for line in bin_client.get("stream/20").lines()]
    assert [line["id"] for line in lines] == list(range(20))
    data = bin_client.get("stream-bytes/100000", params={"seed": 1}).readall()
    assert len(data) == 100_000
    with bin_client.get("bytes/100000", params={"seed": 1}) as response:
        assert sum(map(len, response)) == 100_000
    drip = bin_client.get("drip", params={"numbytes": 5, "duration": 0.1, "delay": 0})
    assert drip.readall() == b"*****"
    part = bin_client.get("range/1000", headers={"Range": "bytes=10-19"})
    assert (part.status, part.readall()) == (206, b"klmnopqrst")


def test_conditional_requests(bin_client: Client) -> None:
    assert status(bin_client.get("cache")) == 200
    assert status(bin_client.get("cache", headers={"If-Modified-Since": "x"})) == 304
    assert status(bin_client.get("etag/x", headers={"If-None-Match": "x"})) == 304
    assert status(bin_client.get("etag/x", headers={"If-Match": "y"})) == 412
    with bin_client.get("cache/60") as response:
        assert response.headers["cache-control"] == "public, max-age=60"


def test_time_limits(bin_client: Client) -> None:
    with pytest.raises(TimeoutError):
        bin_client.get("delay/3", timeout=0.05)
    with pytest.raises(TimeoutError):
        bin_client.get("drip", params={"numbytes": 5, "duration": 3}, deadline=0.1).readall()


# --------------------------------------------------------------------------------- nginx

LIMITED = """
    limit_req_zone $binary_remote_addr zone=all:1m rate=2r/s;
    limit_req_status 429;
    server {{
        listen 127.0.0.1:{ports[0]};
        location /limited {{
            limit_req zone=all;
            error_page 429 = @later;
        }}
        location @later {{
            add_header Retry-After 1 always;
            return 429 "later";
        }}
        location / {{ return 200 "$request_method $uri"; }}
        location /to-tls {{ return 301 https://{host}:{ports[1]}/end; }}
    }}
    server {{
        listen 127.0.0.1:{ports[1]} ssl;
        ssl_certificate {certificate.chain};
        ssl_certificate_key {certificate.key};
        location /end {{ return 200 "over TLS"; }}
        location /to-plain {{ return 302 http://{host}:{ports[0]}/plain; }}
    }}
"""


@pytest.fixture(scope="module")
def redirecting(certificate: Certificate) -> Iterator[Server]:
    def prepare(directory: Path) -> None:
        (directory / "html").mkdir()
        (directory / "html" / "limited").write_text("at last")

    with serving_by_nginx("nginx", LIMITED, 2, prepare, certificate=certificate, host=HOST) as (
        server,
        _,
    ):
        yield server


def test_limit_req(redirecting: Server) -> None:
    """nginx refuses what exceeds two requests per second, and the retries wait for that."""
    statuses: list[Any] = []

    def note(event: Any) -> None:
        if event.name == "retry":
            statuses.append(event.error)

    url = f"http://{HOST}:{redirecting.ports[0]}/limited"
    with Client(retries=Retry(5, backoff=0.05), on_event=note) as client:
        for _ in range(2):
            response = client.get(url)
            assert (response.status, response.text()) == (200, "at last")
        assert statuses == [None]
        assert status(client.get(url, retries=None)) == 429


def test_redirects_between_schemes(redirecting: Server, trusting_context: ssl.SSLContext) -> None:
    plain, tls = redirecting.ports
    with Client(verify=trusting_context) as client:
        response = client.get(f"http://{HOST}:{plain}/to-tls")
        assert (response.url, response.text()) == (f"https://{HOST}:{tls}/end", "over TLS")
        with pytest.raises(RedirectError, match="from https to http"):
            client.get(f"https://{HOST}:{tls}/to-plain")
        response = client.get(f"https://{HOST}:{tls}/to-plain", redirects=Redirects(downgrade=True))
        assert response.text() == "GET /plain"
        assert set(client.pool.stats().hosts) == {
            Origin("http", HOST, plain), Origin("https", HOST, tls)
        }  # fmt: skip


def test_threads(nginx: NginxEndpoints, documents: Any) -> None:
    """Many threads share a client with nginx, which closes each connection after 1,000 requests."""
    failures: list[BaseException] = []
    with Client(base_url=f"http://{HOST}:{nginx.plain.port}") as client:
        expected = client.get("doc/1.txt").readall()

        def work() -> None:
            try:
                for _ in range(100):
                    assert client.get("doc/1.txt").readall() == expected
            except BaseException as exc:
                failures.append(exc)

        threads = [threading.Thread(target=work) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        stats = client.pool.stats()
        assert stats.leased == stats.waiting == 0
        assert 0 < stats.idle <= 10


# ----------------------------------------------------------------------------- tinyproxy


def test_proxies(
    nginx: NginxEndpoints, tinyproxy: Proxies, trusting_context: ssl.SSLContext
) -> None:
    """Plain and through a tunnel, with and without the password."""
    urls = [f"http://{HOST}:{nginx.plain.port}/denied", f"https://{HOST}:{nginx.tls.port}/denied"]
    for proxy in (tinyproxy.open, tinyproxy.guarded_url()):
        with Client(proxy=proxy, verify=trusting_context) as client:
            for url in urls:
                assert status(client.get(url)) == 403
    with Client(proxy=tinyproxy.guarded, verify=trusting_context) as client:
        assert status(client.get(urls[0])) == 407
        with pytest.raises(TunnelRefused) as caught:
            client.get(urls[1])
        assert caught.value.status == 407
        with pytest.raises(TunnelRefused):
            client.get(urls[1], headers={"Proxy-Authorization": "Basic x"})


def test_proxies_from_the_environment(
    nginx: NginxEndpoints,
    tinyproxy: Proxies,
    trusting_context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host, port = tinyproxy.guarded
    monkeypatch.setenv("http_proxy", tinyproxy.guarded_url().removeprefix("http://"))
    monkeypatch.setenv("HTTPS_PROXY", f"{host}:{port}")
    with Client(verify=trusting_context) as client:
        assert status(client.get(f"http://{HOST}:{nginx.plain.port}/denied")) == 403
        with pytest.raises(TunnelRefused):
            client.get(f"https://{HOST}:{nginx.tls.port}/denied")
    monkeypatch.setenv("no_proxy", f"example.org, {HOST}")
    with Client(verify=trusting_context) as client:
        assert status(client.get(f"https://{HOST}:{nginx.tls.port}/denied")) == 403
    monkeypatch.delenv("no_proxy")
    with Client(verify=trusting_context, proxy=None) as client:
        assert status(client.get(f"https://{HOST}:{nginx.tls.port}/denied")) == 403


# ------------------------------------------------------------------------------------ S3

PERMANENT_REDIRECT = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>PermanentRedirect</Code><Endpoint>bucket.s3.eu-west-1.amazonaws.com</Endpoint></Error>
"""


@contextmanager
def moto() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(HOST, port=0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_s3() -> None:
    """A 301 from S3 has no Location, and its body says where the bucket is. It is returned."""
    with moto() as url, Client(base_url=url) as client:
        assert status(client.put("bucket")) == 200
        public = {"x-amz-acl": "public-read"}
        assert status(client.put("bucket/a%20key", body=b"content", headers=public)) == 200
        assert client.get("bucket/a%20key").readall() == b"content"
        assert status(client.get("bucket/none")) == 404
        assert "<Key>a key</Key>" in client.get("bucket", params={"list-type": 2}).text()
        assert status(client.delete("bucket/a%20key")) == 204
    with site() as s3, Client(base_url=s3.url) as client:  # moto knows no other region
        s3.on("/bucket", Reply(301, PERMANENT_REDIRECT, {"Content-Type": "application/xml"}))
        response = client.get("bucket")
        assert (response.status, response.readall()) == (301, PERMANENT_REDIRECT)
