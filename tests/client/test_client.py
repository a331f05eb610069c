"""`Client` and `AsyncClient`: what a request is made of, and how responses are read."""

from __future__ import annotations

import copy
import gc
import gzip
import json
import threading
import warnings
import zlib
from typing import Any

import pytest

import dugong
from dugong import (
    AsyncClient,
    AsyncPool,
    Client,
    ConnectionClosed,
    ConnectionTimedOut,
    InvalidRequest,
    InvalidResponse,
    Pool,
    Response,
    StateError,
    StatusError,
    run_all,
)
from tests.client.styled import Style, styled
from tests.support.site import Reply, Seen, Site, redirect, site


def echo(seen: Seen) -> Reply:
    return Reply(body=seen.body)


def gzipped(data: bytes, **headers: str) -> Reply:
    return Reply(200, gzip.compress(data), {"Content-Encoding": "gzip", **headers})


def idle(client: Any) -> int:
    """Return how many connections are idle. None must be leased."""
    stats = client.pool.stats()
    assert stats.leased == stats.waiting == 0
    count: int = stats.idle
    return count


# ------------------------------------------------------------------------------ requests


@styled
async def test_a_request(style: Style, site: Site) -> None:
    async with style.client() as client:
        response = await client.get(f"{site.url}/a%2Fb?q=1#here")
        assert (response.status, response.reason, response.http_version) == (200, "X", "1.1")
        assert response.url == f"{site.url}/a%2Fb?q=1#here"
        assert response.request.method == "GET"
        assert response.request.url == response.url
        assert response.headers["content-length"] == "2"
        assert response.history == []
        assert await response.readall() == b"ok"
        assert idle(client) == 1
    (seen,) = site.seen
    assert (seen.method, seen.target) == ("GET", "/a%2Fb?q=1")
    assert seen.fields[0] == ("host", f"127.0.0.1:{site.port}")
    assert seen["user-agent"] == f"dugong/{dugong.__version__}"
    assert seen["accept"] == "*/*"
    assert seen["accept-encoding"] is not None
    assert seen["accept-encoding"].startswith("gzip, deflate")
    for name, value in seen.fields:
        if name != "connection":
            assert response.request.headers[name] == value


@styled
async def test_methods(style: Style, site: Site) -> None:
    async with style.client(base_url=site.url) as client:
        for name in ("get", "head", "post", "put", "patch", "delete", "options"):
            response = await getattr(client, name)("x")
            await response.discard()
        await (await client.request("PURGE", "x")).discard()
        assert idle(client) == 1
    assert [seen.method for seen in site.seen] == [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"
    ]  # fmt: skip
    assert site.connections == 1


@styled
async def test_bodies(style: Style, site: Site, tmp_path: Any) -> None:
    site.on("/", echo)
    path = tmp_path / "file"
    path.write_bytes(b"content")
    async with style.client(base_url=site.url) as client:
        rows: list[tuple[dict[str, Any], bytes, str | None]] = [
            ({"body": b"bytes"}, b"bytes", None),
            ({"body": iter([b"it", b"er"])}, b"iter", None),
            ({"json": {"a": [1, None, "ü"]}}, '{"a":[1,null,"ü"]}'.encode(), "application/json"),
            ({"form": {"a": "1 2", "b": ["x", "y"]}}, b"a=1+2&b=x&b=y",
             "application/x-www-form-urlencoded"),
            ({"json": 1, "headers": {"content-type": "text/x"}}, b"1", "text/x"),
            ({"json": 1, "headers": {"Content-Type": None}}, b"1", None),
        ]  # fmt: skip
        for given, body, content_type in rows:
            response = await client.post("", **given)
            assert await response.readall() == body
            assert site.seen[-1]["content-type"] == content_type
        with path.open("rb") as file:
            response = await client.post("", body=file)
            assert await response.readall() == b"content"
        with path.open("rb") as file:
            form = dugong.Multipart({"a": "1"}, {"f": file})
            response = await client.post("", form=form)
            sent = await response.readall()
    assert site.seen[-1]["content-type"] == form.content_type
    assert site.seen[-1]["content-length"] == str(len(sent))
    assert b'name="f"; filename="file"' in sent
    assert b"\r\n\r\ncontent\r\n--" in sent


def test_an_async_body() -> None:
    @styled
    async def run(style: Style, site: Site) -> None:
        closed: list[bool] = []

        async def pieces() -> Any:
            try:
                yield b"a"
                yield b"sync"
            finally:
                closed.append(True)

        site.on("/", echo)
        site.on("/moved", redirect("/", 303))
        async with style.client(base_url=site.url) as client:
            if not style.is_async:
                with pytest.raises(TypeError, match="use AsyncClient"):
                    await client.post("", body=pieces())
                return
            response = await client.post("", body=pieces())
            assert await response.readall() == b"async"
            response = await client.post("moved", body=pieces())
            assert await response.readall() == b""
            assert site.seen[-2].body == b"async"
            assert len(closed) == 2
            body = pieces()
            with pytest.raises(ConnectionRefusedError):
                await client.post(f"http://127.0.0.1:{free_port()}/", body=body)
            assert [piece async for piece in body] == []  # it is closed, unused

    run()


def free_port() -> int:
    with site() as server:
        return server.port


@styled
async def test_params(style: Style, site: Site) -> None:
    async with style.client(base_url=f"{site.url}/base", params={"k": "v"}) as client:
        rows: list[tuple[str, Any]] = [
            ("x?a=1", {"b": "ü &", "c": ["1", 2], "d": None, "e": True}),
            ("", None),
            ("?q", {"x": "1"}),
        ]
        for url, params in rows:
            await (await client.get(url, params=params)).discard()
    assert site.paths() == [
        "/base/x?a=1&k=v&b=%C3%BC%20%26&c=1&c=2&e=true", "/base?k=v", "/base?q&k=v&x=1"
    ]  # fmt: skip


@styled
async def test_headers(style: Style, site: Site) -> None:
    settings = {"User-Agent": "mine", "Accept": None, "X-One": "1", "x-two": b"2"}
    async with style.client(base_url=site.url, headers=settings) as client:
        await (await client.get("")).discard()
        await (await client.get("", headers=[("X-one", 3), ("user-agent", None)])).discard()
    first, second = site.seen
    assert (first["user-agent"], first["x-one"], first["x-two"]) == ("mine", "1", "2")
    assert "accept" not in first
    assert (second["x-one"], second["x-two"]) == ("3", "2")
    assert "user-agent" not in second


def test_fields_of_one_request_are_refused_in_a_client() -> None:
    for name, value in [
        ("Content-Length", "3"),
        ("transfer-encoding", "chunked"),
        ("Expect", "100-continue"),
        ("Upgrade", "x"),
    ]:
        with pytest.raises(InvalidRequest, match="belongs to one request"):
            Client(headers={name: value})


@styled
async def test_connection_close_as_a_setting(style: Style, site: Site) -> None:
    async with style.client(base_url=site.url, headers={"Connection": "close"}) as client:
        for _ in range(2):
            await (await client.get("")).discard()
    assert [seen["connection"] for seen in site.seen] == ["close", "close"]
    assert site.connections == 2


BAD_CALLS: list[tuple[type[Exception], str, dict[str, Any]]] = [
    (InvalidRequest, "only one of", {"body": b"x", "json": 1}),
    (InvalidRequest, "only one of", {"form": {}, "json": 1}),
    (InvalidRequest, "deadline", {"deadline": -1}),
    (TypeError, "timeout", {"timeout": "1"}),
    (TypeError, "redirects", {"redirects": True}),
    (TypeError, "retries", {"retries": "3"}),
    (TypeError, "auth", {"auth": 1}),
    (TypeError, "decode", {"decode": 1}),
    (TypeError, "expect100", {"expect100": "yes"}),
    (TypeError, "headers", {"headers": b"x"}),
    (InvalidRequest, "the name of field 1", {"headers": {"a b": "c"}}),
    (InvalidRequest, "a line end", {"headers": {"a": "b\r\nc: d"}}),
    (TypeError, "params", {"params": "a=b"}),
    (TypeError, "the body itself", {"body": dugong.BodyFollowing(3)}),
]


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_arguments_are_checked_immediately(kind: type[Any]) -> None:
    """Nothing is sent, and `AsyncClient` does not wait until the call is awaited."""
    client = kind(base_url="http://127.0.0.1:1/")
    for error, message, options in BAD_CALLS:
        with pytest.raises(error, match=message):
            client.post("x", **options)
    for method, error, message in [
        ("G T", InvalidRequest, "token"),
        (b"GET", TypeError, "method"),
        ("CONNECT", InvalidRequest, "HTTPConnection"),
    ]:
        with pytest.raises(error, match=message):
            client.request(method, "x")
    for url, error in [("//x", InvalidRequest), ("../..", InvalidRequest), (b"x", TypeError)]:
        with pytest.raises(error, match="url"):
            client.get(url)


BAD_SETTINGS: list[tuple[type[Exception], str, dict[str, Any]]] = [
    (InvalidRequest, "base_url", {"base_url": "http://h/?q"}),
    (TypeError, "timeout", {"timeout": (1, 2)}),
    (InvalidRequest, "deadline", {"deadline": float("nan")}),
    (TypeError, "cookies", {"cookies": {"a": "b"}}),
    (TypeError, "pool", {"pool": object()}),
    (InvalidRequest, "rate", {"rate": 0}),
    (TypeError, "rate", {"rate": "1k"}),
    (InvalidRequest, "max_body", {"max_body": -1}),
    (TypeError, "on_event", {"on_event": "x"}),
    (InvalidRequest, "allow", {"allow": "private"}),
    (InvalidRequest, "family", {"family": 5}),
    (InvalidRequest, "family", {"family": True}),
    (TypeError, "resolve", {"resolve": 1}),
    (InvalidRequest, "numeric addresses", {"resolve": {"a": "b"}}),
    (TypeError, "a key of resolve", {"resolve": {1: "127.0.0.1"}}),
    (TypeError, "proxy", {"proxy": 1}),
    (TypeError, "decode", {"decode": None}),
    (TypeError, "unix_socket", {"unix_socket": 1}),
    (InvalidRequest, "allow and unix_socket", {"allow": "public", "unix_socket": "/x"}),
]


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_settings_are_checked_immediately(kind: type[Any]) -> None:
    for error, message, settings in BAD_SETTINGS:
        with pytest.raises(error, match=message):
            kind(**settings)


def test_each_client_has_its_own_kind_of_pool() -> None:
    with pytest.raises(TypeError, match="must be Pool, not AsyncPool"):
        Client(pool=AsyncPool())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be AsyncPool, not Pool"):
        AsyncClient(pool=Pool())  # type: ignore[arg-type]


# ------------------------------------------------------------------------------ reading


@styled
async def test_reading(style: Style, site: Site) -> None:
    data = bytes(range(256)) * 1000
    site.on("/plain", Reply(body=data))
    site.on("/gzip", gzipped(data))
    async with style.client(base_url=site.url) as client:
        for path in ("plain", "gzip"):
            async with client.get(path) as response:
                assert await response.read(3) == data[:3]
                buffer = bytearray(7)
                assert await response.readinto(buffer) == 7
                assert bytes(buffer) == data[3:10]
                assert await response.read(0) == b""
                rest = b"".join([piece async for piece in response])
                assert data[:10] + rest == data
                assert await response.read(1) == await response.readall() == b""
                assert await response.readinto(buffer) == 0
            assert idle(client) == 1
            response = await client.get(path)
            assert await response.readall(len(data)) == data
            response = await client.get(path)
            assert await response.read() == data
            response = await client.get(path)
            with pytest.raises(InvalidResponse) as caught:
                await response.readall(len(data) - 1)
            assert caught.value.part == "limit"
            assert response.closed
            with pytest.raises(StateError, match="the response is closed"):
                await response.read(1)
            response = await client.get(path)
            await response.discard()
            assert idle(client) == 1


@styled
async def test_text_and_json(style: Style, site: Site) -> None:
    def text(data: bytes, content_type: str | None) -> Reply:
        return Reply(200, data, {} if content_type is None else {"Content-Type": content_type})

    async with style.client(base_url=site.url) as client:
        for reply, expected in [
            (text("ü".encode(), None), "ü"),
            (text("ü".encode("latin-1"), "text/plain; charset=ISO-8859-1"), "ü"),
            (text("ü".encode(), "text/plain; charset=no-such-thing"), "ü"),
            (text(b"a\xffb", "text/plain"), "a\ufffdb"),
            (text(b"", "text/plain"), ""),
        ]:
            site.on("/", reply)
            assert await (await client.get("")).text() == expected
        site.on("/", text("ü".encode("utf-16"), "text/plain"))
        assert await (await client.get("")).text("utf-16") == "ü"
        response = await client.get("")
        with pytest.raises(LookupError):
            await response.text("no such encoding")
        assert await response.text("utf-16") == "ü"  # a wrong argument changes nothing
        site.on("/", text(json.dumps({"a": "ü"}).encode("utf-16"), None))
        assert await (await client.get("")).json() == {"a": "ü"}
        site.on("/", text(b"{", None))
        with pytest.raises(ValueError, match="Expecting"):
            await (await client.get("")).json()
        assert idle(client) == 1


@styled
async def test_lines(style: Style, site: Site) -> None:
    async def lines_of(client: Any, data: bytes, *limit: int) -> list[str]:
        pieces = b"".join(b"1\r\n%b\r\n" % data[at : at + 1] for at in range(len(data)))
        raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n"
        site.on("/", Reply(raw=raw))
        response = await client.get("")
        return [line async for line in response.lines(*limit)]

    async with style.client(base_url=site.url) as client:
        for data, expected in [
            (b"a\nb\r\nc\rd", ["a", "b", "c", "d"]),
            ("ü\n\nö\n".encode(), ["ü", "", "ö"]),
            (b"", []),
            (b"\r", [""]),
            ("a\u2028b\x0cc\n".encode(), ["a\u2028b\x0cc"]),
        ]:
            assert await lines_of(client, data) == expected
        assert await lines_of(client, b"123\n123", 3) == ["123", "123"]
        assert idle(client) == 1
        for data in (b"1234\n", b"1234"):
            with pytest.raises(InvalidResponse, match="more than 3 characters") as caught:
                await lines_of(client, data, 3)
            assert caught.value.part == "limit"
        idle(client)


@styled
async def test_max_body(style: Style, site: Site) -> None:
    site.on("/plain", Reply(body=b"x" * 11))
    site.on("/gzip", gzipped(b"x" * 11))
    async with style.client(base_url=site.url, max_body=10) as client:
        for path in ("plain", "gzip"):
            for method in ("readall", "text", "json", "read"):
                response = await client.get(path)
                with pytest.raises(InvalidResponse) as caught:
                    await getattr(response, method)()
                assert caught.value.part == "limit"
            async with client.get(path) as response:
                assert len([piece async for piece in response]) == 1
            assert idle(client) == 1
            response = await client.get(path)
            with pytest.raises(InvalidResponse):
                await response.readall(20)
            assert response.closed


@styled
async def test_error_status(style: Style, site: Site) -> None:
    site.on("/404", Reply(404, b"no such thing"))
    site.on("/long", Reply(500, b"x" * 100_000))
    site.on("/cut", Reply(raw=b"HTTP/1.1 503 X\r\nContent-Length: 10\r\n\r\nabc", close=True))
    site.on("/gzip", Reply(400, gzip.compress(b"text"), {"Content-Encoding": "gzip"}))
    async with style.client(base_url=site.url) as client:
        response = await client.get("")
        assert await response.raise_for_status() is response
        await response.discard()
        for path, status, body in [
            ("404", 404, b"no such thing"),
            ("long", 500, b"x" * 65536),
            ("cut", 503, b"abc"),
            ("gzip", 400, b"text"),
        ]:
            response = await client.get(path)
            with pytest.raises(StatusError, match=f"{status} X for {site.url}/{path}") as caught:
                await response.raise_for_status()
            exc = caught.value
            assert (exc.status, exc.reason, exc.body) == (status, "X", body)
            assert exc.response is getattr(response, "bare", response)
            assert response.closed
            copied = copy.deepcopy(exc)
            assert (copied.status, copied.body, copied.response.status) == (status, body, status)
            with pytest.raises(StateError):
                await response.read(1)


@styled
async def test_leaving_a_block_closes_an_unread_response(style: Style, site: Site) -> None:
    site.on("/", Reply(body=b"x" * 100_000))
    async with style.client(base_url=site.url) as client:
        async with client.get("") as response:
            await response.read(1)
        assert idle(client) == 0
        with pytest.raises(StateError, match="closed"):
            await response.read(1)
        await response.close()
        async with client.get("") as response:
            await response.readall()
        assert idle(client) == 1


@styled
async def test_a_response_without_a_body_has_no_connection(style: Style, site: Site) -> None:
    site.on("/204", Reply(raw=b"HTTP/1.1 204 X\r\n\r\n"))
    async with style.client(base_url=site.url) as client:
        for method, path in (("HEAD", ""), ("GET", "204")):
            response = await client.request(method, path)
            assert response.closed
            assert idle(client) == 1
            assert await response.readall() == b""


@styled
async def test_a_dropped_response(style: Style, site: Site) -> None:
    site.on("/", Reply(body=b"x" * 100_000))
    async with style.client(base_url=site.url) as client:
        response = await client.get("")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del response
            gc.collect()
        (warning,) = caught
        assert warning.category is ResourceWarning
        assert f"to GET {site.url}/ was not read" in str(warning.message)
        del caught, warning  # they refer to the response
        gc.collect()
        assert idle(client) == 0


@styled
async def test_a_broken_body(style: Style, site: Site) -> None:
    whole = gzip.compress(b"text")
    site.on("/cut", Reply(raw=b"HTTP/1.1 200 X\r\nContent-Length: 10\r\n\r\nabc", close=True))
    site.on("/corrupt", Reply(body=b"not gzip", headers={"Content-Encoding": "gzip"}))
    site.on("/truncated", Reply(body=whole[:-1], headers={"Content-Encoding": "gzip"}))
    async with style.client(base_url=site.url) as client:
        for path, error in [
            ("cut", ConnectionClosed), ("corrupt", InvalidResponse), ("truncated", InvalidResponse)
        ]:  # fmt: skip
            response = await client.get(path)
            with pytest.raises(error) as caught:
                await response.readall()
            if isinstance(caught.value, InvalidResponse):
                assert caught.value.part == "coding"
                assert caught.value.response is not None
            idle(client)
            assert response.closed
            with pytest.raises(StateError):
                await response.readall()


@styled
async def test_codings(style: Style, site: Site) -> None:
    data = b"text " * 100
    site.on("/", gzipped(data, ETag='"x"'))
    async with style.client(base_url=site.url) as client:
        response = await client.get("")
        assert await response.readall() == data
        assert response.headers["content-encoding"] == "gzip"  # as received
        assert response.length == int(response.headers["content-length"])
        response = await client.get("", decode=False)
        assert zlib.decompress(await response.readall(), 31) == data
        assert site.seen[-1]["accept-encoding"] == "identity"
        await (await client.get("", headers={"Range": "bytes=0-1"})).discard()
        assert site.seen[-1]["accept-encoding"] == "identity"
        await (await client.get("", headers={"Accept-Encoding": "br"})).discard()
        assert site.seen[-1]["accept-encoding"] == "br"
        await (await client.get("", headers={"Accept-Encoding": None})).discard()
        assert "accept-encoding" not in site.seen[-1]
    async with style.client(base_url=site.url, decode=False) as client:
        assert zlib.decompress(await (await client.get("")).readall(), 31) == data
        assert site.seen[-1]["accept-encoding"] == "identity"
        assert await (await client.get("", decode=True)).readall() == data
        assert "gzip" in str(site.seen[-1]["accept-encoding"])


@styled
async def test_too_many_codings(style: Style, site: Site) -> None:
    site.on("/", Reply(body=b"x", headers={"Content-Encoding": ", ".join(["gzip"] * 6)}))
    async with style.client(base_url=site.url) as client:
        with pytest.raises(InvalidResponse, match="6 content codings"):
            await client.get("")
        assert idle(client) == 0


@styled
async def test_trailers_and_interim_responses(style: Style, site: Site) -> None:
    site.on(
        "/",
        Reply(
            raw=b"HTTP/1.1 103 X\r\nLink: x\r\n\r\nHTTP/1.1 200 X\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-T: v\r\n\r\n"
        ),
    )
    async with style.client(base_url=site.url) as client:
        response = await client.get("")
        assert [each.status for each in response.informational] == [103]
        assert await response.readall() == b"hi"
        assert response.trailers["x-t"] == "v"


# ------------------------------------------------------------------------------ the rest


@styled
async def test_a_closed_client(style: Style, site: Site) -> None:
    client = style.client(base_url=site.url)
    await (await client.get("")).discard()
    async with client:
        pass
    with pytest.raises(StateError, match="the client is closed"):
        await client.get("")


@styled
async def test_a_shared_pool(style: Style, site: Site) -> None:
    pool = AsyncPool() if style.is_async else Pool()
    for _ in range(2):
        async with style.client(base_url=site.url, pool=pool) as client:
            await (await client.get("")).discard()
    assert site.connections == 1
    pool.close()


@styled
async def test_resolve(style: Style, site: Site) -> None:
    asked: list[tuple[str, int]] = []

    def look_up(host: str, port: int) -> list[Any]:
        asked.append((host, port))
        return [("127.0.0.1", site.port)]

    for resolve in (
        look_up,
        {"Example.test": "127.0.0.1"},
        {("example.test", site.port): ["127.0.0.1"]},
        {"example.test": ("127.0.0.1", site.port)},
    ):
        async with style.client(resolve=resolve, family=4) as client:
            await (await client.get(f"http://EXAMPLE.test:{site.port}/")).discard()
        assert site.seen[-1]["host"] == f"example.test:{site.port}"
    assert asked == [("example.test", site.port)]
    async with style.client(resolve=look_up, family=6) as client:
        with pytest.raises(dugong.HostnameNotResolvable):
            await client.get(f"http://example.test:{site.port}/")


def hang(until: threading.Event) -> None:
    """Send no response until the test is over."""
    until.wait(60)


@styled
async def test_deadline(style: Style, site: Site) -> None:
    """It holds for the body, whichever call reads it, and for a wait for the pool."""
    waiting = threading.Event()
    site.on("/never", lambda seen: hang(waiting))
    site.on("/half", Reply(raw=b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nabc"))
    pool = AsyncPool(per_host=1) if style.is_async else Pool(per_host=1)
    try:
        async with style.client(base_url=site.url, pool=pool, timeout=None) as client:
            with pytest.raises(ConnectionTimedOut, match=r"deadline=0\.05") as caught:
                await client.get("never", deadline=0.05)
            assert caught.value.phase == "response"
            response = await client.get("half", deadline=0.3)
            with pytest.raises(ConnectionTimedOut, match=r"deadline=0\.3") as caught:
                await response.readall()
            assert caught.value.phase == "body"
            async with client.get("half") as response:
                with pytest.raises(ConnectionTimedOut, match=r"deadline=0\.05") as caught:
                    await client.get("", deadline=0.05)
                assert caught.value.phase == "pool"
                assert f"http://127.0.0.1:{site.port} (" in str(caught.value)
            assert idle(client) == 0
    finally:
        waiting.set()
        pool.close()


@styled
async def test_timeout(style: Style, site: Site) -> None:
    waiting = threading.Event()
    site.on("/never", lambda seen: hang(waiting))
    site.on("/half", Reply(raw=b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nabc"))
    try:
        for settings, options in (
            ({"timeout": 0.05}, {}),
            ({}, {"timeout": 0.05}),
            ({}, {"timeout": dugong.Timeouts(receive=0.05)}),
        ):
            async with style.client(base_url=site.url, **settings) as client:
                with pytest.raises(ConnectionTimedOut) as caught:
                    await client.get("never", **options)
                assert caught.value.phase == "response"
                response = await client.get("half", **options)
                with pytest.raises(ConnectionTimedOut) as caught:
                    await response.readall()
                assert caught.value.phase == "body"
                assert response.closed
    finally:
        waiting.set()


def test_run_all() -> None:
    with site() as server, Client(base_url=server.url) as client:
        with run_all(client.co_get(f"{n}") for n in range(20)) as results:
            for _, response in results:
                assert isinstance(response, Response)
                assert response.readall() == b"ok"
        assert sorted(server.paths()) == sorted(f"/{n}" for n in range(20))
        assert idle(client) > 0


def test_threads_share_a_client() -> None:
    with site() as server, Client(base_url=server.url) as client:
        failures: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for each in range(20):
                    assert client.get(f"{number}/{each}").readall() == b"ok"
            except BaseException as exc:
                failures.append(exc)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(server.seen) == 160
        assert server.connections <= 8


def test_an_awaitable_is_used_once() -> None:
    import asyncio

    async def main() -> None:
        with site() as server:
            async with AsyncClient(base_url=server.url) as client:
                request = client.get("")
                await (await request).discard()
                with pytest.raises(StateError, match="awaited before"):
                    await request
                client.get("never awaited")  # no warning
            assert server.paths() == ["/"]

    asyncio.run(main())


@styled
async def test_rate(style: Style, site: Site) -> None:
    """The body arrives in pieces no larger than a tenth of a second allows."""
    site.on("/", Reply(body=b"x" * 3000))
    async with style.client(base_url=site.url, rate=10_000) as client:
        response = await client.get("")
        pieces = [piece async for piece in response]
        assert max(map(len, pieces)) <= 1000
        assert b"".join(pieces) == b"x" * 3000
        buffer = bytearray(3000)
        async with client.get("") as response:
            assert 0 < await response.readinto(buffer) <= 1000
            await response.discard()
        assert idle(client) == 1


@styled
async def test_events(style: Style, site: Site) -> None:
    events: list[Any] = []
    site.on("/moved", redirect("/"))
    async with style.client(base_url=site.url, on_event=events.append) as client:
        await (await client.get("moved")).discard()
    assert [event.name for event in events] == [
        "resolved", "connecting", "connected", "sent", "first_byte", "redirect", "done",
        "sent", "first_byte", "done",
    ]  # fmt: skip
    assert [event.request.url for event in events[:7]] == [f"{site.url}/moved"] * 7
    assert [event.request.url for event in events[7:]] == [f"{site.url}/"] * 3
    assert [event.reused for event in events] == [False] * 7 + [True] * 3
    assert events[-1].address == ("127.0.0.1", site.port)
    assert {str(event.origin) for event in events} == {site.url}
    assert [event.time for event in events] == sorted(event.time for event in events)


@styled
async def test_exceptions_of_callables_pass_through(style: Style, site: Site) -> None:
    """Even if they look like errors of the network, nothing is sent again because of them."""
    failure = ConnectionResetError("mine")
    calls: list[Any] = []

    def fail(*args: Any) -> Any:
        calls.append(args)
        raise failure

    for settings in (
        {"on_event": fail},
        {"auth": fail},
        {"allow": fail},
    ):
        calls.clear()
        async with style.client(base_url=site.url, retries=3, **settings) as client:
            with pytest.raises(ConnectionResetError) as caught:
                await client.get("")
            assert caught.value is failure
            assert len(calls) == 1
            assert idle(client) == 0
    assert site.seen == []
