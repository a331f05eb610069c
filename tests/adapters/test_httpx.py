"""The transports for httpx and httpx2: what applies to both libraries and all styles."""

from __future__ import annotations

import io
import select
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.httpx_kits import Kit, each_kit
from tests.adapters.raw import read_head, serving
from tests.support.apps import document
from tests.support.servers import NginxEndpoints, Proxies
from tests.support.site import Reply, Site, redirect, site
from tests.support.wire import HOST, Certificates

# ------------------------------------------------------------------ requests and responses


@each_kit
async def test_objects_are_those_of_the_library(kit: Kit, site: Site) -> None:
    site.on("/", Reply(207, b"text", {"X-A": "1", "x-b": "2"}))
    async with kit.client() as client, client.stream("GET", site.url) as response:
        bare = response.bare
        kind = kit.library.AsyncByteStream if kit.is_async else kit.library.SyncByteStream
        assert isinstance(bare, kit.library.Response)
        assert isinstance(bare.request, kit.library.Request)
        assert isinstance(bare.stream, kind)
        assert (bare.status_code, bare.http_version, bare.reason_phrase) == (207, "HTTP/1.1", "X")
        assert bare.headers.raw[:2] == [(b"X-A", b"1"), (b"x-b", b"2")]
        assert await response.read() == b"text"
        assert bare.elapsed.total_seconds() >= 0


@each_kit
async def test_fields_are_those_of_the_caller(kit: Kit, site: Site) -> None:
    async with kit.client() as client:
        request = client.bare.build_request("GET", site.url, headers=[("X-A", "1"), ("X-A", "2")])
        await client.send(request)
        for name in ("Accept-Encoding", "User-Agent", "Connection", "Accept"):
            del request.headers[name]
        await client.send(request)
    library = kit.library
    own, without = site.seen
    host = ("host", site.url.removeprefix("http://"))
    assert [name for name, _ in own.fields] == [name.decode().lower() for name, _ in
        library.Client().build_request("GET", site.url, headers=[("X-A", "1"), ("X-A", "2")])
        .headers.raw]  # fmt: skip
    assert without.fields == [host, ("x-a", "1"), ("x-a", "2")]


@each_kit
async def test_expect_without_a_body(kit: Kit, site: Site) -> None:
    expect = {"Expect": "100-continue"}
    async with kit.client() as client:
        await client.request("GET", site.url, headers=expect)
        await client.request("PUT", site.url, headers=expect, content=b"")
        await client.request(
            "PUT", site.url, headers={**expect, "Content-Length": "0"}, content=kit.body([])
        )
    assert [seen["expect"] for seen in site.seen] == [None] * 3


@each_kit
async def test_bodies_of_requests(kit: Kit, site: Site, tmp_path: Path) -> None:
    def body() -> bytes:
        return site.seen[-1].body

    async with kit.client() as client:
        await client.request("POST", site.url, content=b"in memory")
        assert (body(), site.seen[-1]["content-length"]) == (b"in memory", "9")
        await client.request("POST", site.url, content=kit.body([b"in ", b"", b"pieces"]))
        assert (body(), site.seen[-1]["transfer-encoding"]) == (b"in pieces", "chunked")
        given = {"Content-Length": "9"}
        await client.request("POST", site.url, content=kit.body([b"in ", b"pieces"]), headers=given)
        assert (body(), site.seen[-1]["content-length"]) == (b"in pieces", "9")
        assert "transfer-encoding" not in site.seen[-1]
        await client.request("POST", site.url, json={"a": 1})
        assert body().replace(b" ", b"") == b'{"a":1}'
        await client.request("POST", site.url, files={"file": ("name", io.BytesIO(b"content"))})
        assert b"content" in body()
        await client.request("POST", site.url)
        assert site.seen[-1]["content-length"] == "0"
        await client.request("GET", site.url)
        assert "content-length" not in site.seen[-1]
        chunked = {"Transfer-Encoding": "chunked"}
        await client.request("POST", site.url, content=b"", headers=chunked)
        assert (body(), site.seen[-1]["transfer-encoding"]) == (b"", "chunked")


@each_kit
async def test_file_is_sent_again_after_a_redirect(kit: Kit, site: Site) -> None:
    """The stream of the library decides what can be sent again."""
    site.on("/", redirect("/new", 307))
    async with kit.client(follow_redirects=True) as client:
        if not kit.is_async:
            response = await client.request("POST", site.url, content=[b"a", b"b"])
            assert response.text == "ok"
        with pytest.raises(kit.library.StreamConsumed):
            await client.request("POST", site.url, content=kit.body([b"a", b"b"]))
    assert site.seen[-1].body == b"ab"


@each_kit
async def test_targets(kit: Kit, site: Site) -> None:
    async with kit.client() as client:
        await client.request("GET", site.url + "/a%2Fb/../c?d=e f&g=%C3%A4#fragment")
        for target in (b"*", b"/../a b".replace(b" ", b"%20")):
            await client.request("OPTIONS", site.url, extensions={"target": target})
    first, *others = site.paths()
    request = kit.library.Request("GET", site.url + "/a%2Fb/../c?d=e f&g=%C3%A4#fragment")
    assert first == request.url.raw_path.decode()
    assert others == ["*", "/../a%20b"]


@each_kit
async def test_head_of_a_response(kit: Kit, site: Site) -> None:
    raw = b"HTTP/1.0 299 Sch\xf6n\r\nX: \xe4\r\nContent-Length: 0\r\n\r\n"
    site.on("/", Reply(raw=raw, close=True))
    async with kit.client() as client:
        response = await client.request("GET", site.url)
    assert response.extensions["http_version"] == b"HTTP/1.0"
    assert response.extensions["reason_phrase"] == b"Sch\xf6n"
    assert (b"X", b"\xe4") in response.headers.raw


@each_kit
async def test_schemes_of_websockets(kit: Kit, site: Site) -> None:
    async with kit.client() as client:
        assert (await client.request("GET", site.url.replace("http", "ws"))).text == "ok"


@each_kit
async def test_real_server(kit: Kit, nginx: NginxEndpoints, trusting_context: Any) -> None:
    transport = kit.transport(verify=trusting_context)
    async with kit.client(transport) as client:
        for endpoint in (nginx.plain, nginx.tls):
            scheme = "http" if endpoint is nginx.plain else "https"
            url = f"{scheme}://{endpoint.host}:{endpoint.port}"
            for _ in range(2):
                response = await client.request("GET", f"{url}/doc/1.txt")
                assert response.content == document(1)


# ------------------------------------------------------------------ bodies of responses


def _stats(client: Any) -> Any:
    return client.transport._pool.stats()


@each_kit
async def test_connection_is_returned_at_the_last_byte(kit: Kit, site: Site) -> None:
    chunked = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    replies = [Reply(body=b"abc"), Reply(raw=chunked), Reply(204), Reply(body=b"")]
    site.on("/", *replies)
    async with kit.client() as client:
        for reply in replies:
            async with client.stream("GET", site.url) as response:
                got = b"".join([piece async for piece in response.pieces()])
                assert got == (b"abc" if reply.raw else reply.body)
                assert (_stats(client).idle, _stats(client).leased) == (1, 0)
    assert site.connections == 1


@pytest.mark.filterwarnings("ignore:Exception ignored in.*async_generator")  # of httpx itself
@each_kit
async def test_connection_is_closed_with_an_unread_body(kit: Kit, site: Site) -> None:
    site.on("/", Reply(body=bytes(10_000_000)))
    async with kit.client() as client:
        async with client.stream("GET", site.url) as response:
            assert _stats(client).leased == 1
            async for _ in response.pieces():
                break
            await response.close()
            assert (_stats(client).idle, _stats(client).leased) == (0, 0)
            await response.close()
        async with client.stream("GET", site.url):
            pass
        assert (_stats(client).idle, _stats(client).leased) == (0, 0)
    assert site.connections == 2


@each_kit
async def test_body_arrives_as_it_is_sent(kit: Kit) -> None:
    def handle(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        read_head(sock)  # the client sends this when it has the first half
        sock.sendall(b"def")

    with serving(handle) as port:
        async with kit.client() as client:
            async with client.stream("GET", f"http://127.0.0.1:{port}/") as response:
                pieces = response.pieces()
                assert await anext(pieces) == b"abc"
                response.network.bare.get_extra_info("socket").send(b"\r\n\r\n")
                assert [piece async for piece in pieces] == [b"def"]


# ------------------------------------------------------------------ limits and timeouts


@each_kit
async def test_limits(kit: Kit, site: Site) -> None:
    site.on("/", Reply(body=bytes(1_000_000)))
    limits = kit.library.Limits(max_connections=12, max_keepalive_connections=1)
    timeout = kit.limits(pool=0)
    async with kit.client(kit.transport(limits=limits), timeout=timeout) as client:
        open_ = [client.stream("GET", site.url) for _ in range(12)]  # more than 10 to one host
        responses = [await each.__aenter__() for each in open_]
        with pytest.raises(kit.library.PoolTimeout, match=r"timed out: .*12 slots are leased"):
            await client.request("GET", site.url)
        for response, each in zip(responses, open_, strict=True):
            await response.read()
            await each.__aexit__(None, None, None)
        assert (_stats(client).idle, _stats(client).leased) == (1, 0)


@each_kit
async def test_keepalive_expiry(kit: Kit, site: Site) -> None:
    for seconds, connections in ((0, 2), (5, 1)):
        before = site.connections
        limits = kit.library.Limits(keepalive_expiry=seconds)
        async with kit.client(kit.transport(limits=limits)) as client:
            for _ in range(2):
                await client.request("GET", site.url)
        assert site.connections - before == connections


def _silence(sock: socket.socket) -> None:
    """Read nothing and send nothing, until the server is closed."""
    ended = select.poll()
    ended.register(sock, 0)
    ended.poll()


def _silent_body(sock: socket.socket) -> None:
    read_head(sock)
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
    _silence(sock)


@each_kit
async def test_timeouts_are_phases(kit: Kit) -> None:
    library = kit.library
    small = [(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)]
    with serving(_silence) as silent, serving(_silent_body) as silent_body:
        url = f"http://127.0.0.1:{silent}/"
        for error, limits, arguments in [
            (library.ReadTimeout, {"read": 0.01}, ("GET", url)),
            (library.ReadTimeout, {"read": 0.01}, ("GET", f"http://127.0.0.1:{silent_body}/")),
            (library.ConnectTimeout, {"connect": 0.01}, ("GET", f"https://127.0.0.1:{silent}/")),
            (library.WriteTimeout, {"write": 0.01}, ("POST", url)),
        ]:
            transport = kit.transport(socket_options=small)
            async with kit.client(transport, timeout=kit.limits(**limits)) as client:
                more: dict[str, Any] = {"content": bytes(1_000_000)} if "write" in limits else {}
                with pytest.raises(error, match="timed out") as info:
                    await client.request(*arguments, **more)
                assert info.value.request.url == arguments[1]


@each_kit
async def test_other_phases_are_not_limited(kit: Kit, site: Site) -> None:
    """Limits of 0 do not apply where nothing waits for them."""
    async with kit.client(timeout=kit.limits(pool=0, write=0)) as client:
        assert (await client.request("POST", site.url, content=b"x")).text == "ok"
        extensions: dict[str, Any] = {"timeout": {}}
        assert (await client.request("GET", site.url, extensions=extensions)).text == "ok"


# ------------------------------------------------------------------ exceptions


def _reset(sock: socket.socket) -> None:
    read_head(sock)
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
    sock.recv(1)  # the client sends this when it has the first half
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


@each_kit
async def test_errors_of_the_server(kit: Kit, site: Site) -> None:
    library = kit.library
    length = b"HTTP/1.1 200 X\r\nContent-Length: 6\r\n\r\nabc"
    chunked = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    async with kit.client() as client:
        for raw, text in [
            (b"garbage\r\n\r\n", "not an HTTP response"),
            (b"HTTP/1.1 200 X\r\nContent-Length: a\r\n\r\n", "Content-Length"),
            (b"HTTP/2 200 X\r\n\r\n", "HTTP/2"),
            (b"", r"^Server disconnected without sending a response\.$"),
            (length, "peer closed connection without sending complete message body"),
            (chunked, "peer closed connection without sending complete message body"),
        ]:
            site.on("/", Reply(raw=raw, close=True))
            with pytest.raises(library.RemoteProtocolError, match=text) as info:
                await client.request("POST", site.url)
            assert info.value.request.url == site.url
            assert _stats(client).leased == 0


@each_kit
async def test_reset_in_the_body(kit: Kit) -> None:
    with serving(_reset) as port:
        async with kit.client() as client:
            async with client.stream("GET", f"http://127.0.0.1:{port}/") as response:
                pieces = response.pieces()
                assert await anext(pieces) == b"abc"
                response.network.bare.get_extra_info("socket").send(b"x")
                with pytest.raises(kit.library.ReadError, match="reset"):
                    await anext(pieces)
            assert _stats(client).leased == 0


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@each_kit
async def test_errors_while_connecting(kit: Kit, certificates: Certificates) -> None:
    library = kit.library
    with site(certificates.server) as secure:
        async with kit.client() as client:
            for url, text in [
                (f"http://127.0.0.1:{_closed_port()}/", r"\[Errno 111\] Connection refused"),
                (secure.at("127.0.0.1"), "CERTIFICATE_VERIFY_FAILED"),
                ("http://127.0.0.1:123456/", "65535"),
            ]:
                with pytest.raises(library.ConnectError, match=text) as info:
                    await client.request("GET", url)
                assert info.value.request.url == url
                assert _stats(client).leased == 0


@each_kit
async def test_errors_of_the_caller(kit: Kit, site: Site) -> None:
    library = kit.library
    async with kit.client() as client:
        for url in ("ftp://localhost/", "x-y://localhost/"):
            with pytest.raises(library.UnsupportedProtocol, match="protocol") as info:
                await client.request("GET", url)
            assert info.value.request.url == url
        wrong: list[dict[str, Any]] = [
            {"headers": {"X": "a\nb"}},
            {"headers": {"X Y": "a"}},
            {"content": b"abc", "headers": {"Content-Length": "2"}},
            {"content": kit.body([b"abc"]), "headers": {"Content-Length": "2"}},
            {"content": kit.body([b"abc"]), "headers": {"Content-Length": "4"}},
            {"extensions": {"target": b"/a b"}},
        ]
        for arguments in wrong:
            with pytest.raises(library.LocalProtocolError):
                await client.request("POST", site.url, **arguments)
            assert _stats(client).leased == 0


@each_kit
async def test_exceptions_of_a_body_pass_through(kit: Kit, site: Site) -> None:
    """Even those that look like errors of the network."""
    async with kit.client() as client:
        for error in (KeyError("x"), ConnectionResetError("x"), TimeoutError("x"), OSError("x")):
            with pytest.raises(type(error)) as info:
                await client.request("POST", site.url, content=kit.body([b"a", error]))
            assert info.value is error
            assert _stats(client).leased == 0


# ------------------------------------------------------------------ retries


@each_kit
async def test_connecting_is_tried_again(kit: Kit) -> None:
    port = _closed_port()
    servers: list[Any] = []

    def callback(name: str, info: Any) -> None:
        if name == "connection.retry.started":
            servers.append(serving(_answer, port=port))
            servers[-1].__enter__()

    arguments = {"extensions": {"trace": kit.trace(callback)}, "content": kit.body([b"abc"])}
    url = f"http://127.0.0.1:{port}/"
    async with kit.client(kit.transport(retries=1)) as client:
        try:
            response = await client.request("POST", url, **arguments)
            assert response.text == "ok"
        finally:
            for server in servers:
                server.__exit__(None, None, None)
        assert len(servers) == 1
    async with kit.client(kit.transport(retries=1)) as client:
        with pytest.raises(kit.library.ConnectError):
            await client.request("GET", f"http://127.0.0.1:{_closed_port()}/")


def _answer(sock: socket.socket) -> None:
    read_head(sock)
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    while sock.recv(1000):
        pass


@each_kit
async def test_nothing_else_is_tried_again(kit: Kit, site: Site) -> None:
    site.on("/", Reply(raw=b"", close=True))
    async with kit.client(kit.transport(retries=3)) as client:
        with pytest.raises(kit.library.RemoteProtocolError):
            await client.request("GET", site.url)
    assert len(site.seen) == 1


@each_kit
async def test_closed_connection_is_replaced(kit: Kit, site: Site) -> None:
    """One that the server has closed meanwhile, or closes instead of answering."""
    site.on("/closes", Reply(body=b"ok", close=True))
    site.on("/later", Reply(raw=b"", close=True), Reply(body=b"ok"))
    async with kit.client() as client:
        response = await client.request("GET", site.url + "/closes")
        sock = response.extensions["network_stream"].get_extra_info("socket")
        if sock.fileno() >= 0:  # otherwise the end has arrived, and the pool has seen it
            select.select([sock], [], [])
        assert (await client.request("POST", site.url, content=b"x")).text == "ok"
        assert (await client.request("GET", site.url + "/later")).text == "ok"
    assert site.paths() == ["/closes", "/", "/later", "/later"]


# ------------------------------------------------------------------ early responses


@each_kit
async def test_early_refusal(kit: Kit) -> None:
    taken: list[bytes] = []

    def pieces() -> Any:
        for _ in range(1000):
            taken.append(bytes(100_000))
            yield taken[-1]

    def refuse(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
        while sock.recv(100_000):
            pass

    with serving(refuse) as port:
        async with kit.client() as client:
            url = f"http://127.0.0.1:{port}/"
            response = await client.request("PUT", url, content=kit.body(pieces()))
            assert (response.status_code, response.text) == (403, "no")
            assert len(taken) <= 1  # it asked first
            response = await client.request("PUT", url, content=bytes(10_000_000))
            assert (response.status_code, response.text) == (403, "no")
            headers = {"Content-Length": "1000000000"}
            taken.clear()
            more = kit.body(pieces())
            response = await client.request("PUT", url, content=more, headers=headers)
            assert response.status_code == 403
            assert len(taken) < 1000


# ------------------------------------------------------------------ traces


class Trace:
    def __init__(self, kit: Kit) -> None:
        self.seen: list[tuple[str, Any]] = []
        self.extensions = {"trace": kit.trace(self._note)}

    def _note(self, name: str, info: Any) -> None:
        if name.endswith("connect_tcp.complete"):
            info = info["return_value"].get_extra_info("server_addr")
        self.seen.append((name, info))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.seen]

    def __getitem__(self, name: str) -> Any:
        (info,) = [info for each, info in self.seen if each == name]
        return info


def _both(*names: str) -> list[str]:
    return [f"{name}.{end}" for name in names for end in ("started", "complete")]


REQUEST = _both(
    "http11.send_request_headers", "http11.send_request_body", "http11.receive_response_headers"
)
RESPONSE = _both("http11.receive_response_body", "http11.response_closed")


@each_kit
async def test_trace(kit: Kit, site: Site) -> None:
    async with kit.client() as client:
        trace = Trace(kit)
        for _ in range(2):
            await client.request("GET", site.url, extensions=trace.extensions)
        connect = _both("connection.connect_tcp")
        assert trace.names == connect + REQUEST + RESPONSE + REQUEST + RESPONSE
        assert trace["connection.connect_tcp.complete"] == ("127.0.0.1", site.port)
        started = trace["connection.connect_tcp.started"]
        assert (started["host"], started["port"]) == ("127.0.0.1", site.port)
        _, value = trace.seen[7]
        assert value["return_value"][:3] == (b"HTTP/1.1", 200, b"X")
        request = trace.seen[2][1]["request"]
        assert isinstance(request, kit.core.Request)
        assert (request.method, request.url.target) == (b"GET", b"/")

        trace = Trace(kit)
        body = kit.body([b"a", b"b"])
        await client.request("POST", site.url, content=body, extensions=trace.extensions)
        assert trace.names == REQUEST + RESPONSE
        assert site.seen[-1].body == b"ab"


@each_kit
async def test_trace_of_tls(kit: Kit, certificates: Certificates) -> None:
    with site(certificates.server) as secure:
        transport = kit.transport(verify=certificates.new_client())
        async with kit.client(transport) as client:
            trace = Trace(kit)
            body = kit.body([b"a", b"b"])
            url = secure.at("127.0.0.1")
            async with client.stream(
                "POST", url, content=body, extensions=trace.extensions
            ) as response:
                stream = response.network.bare
                assert stream.get_extra_info("ssl_object").version().startswith("TLS")
                assert await response.read() == b"ok"
        connect = _both("connection.connect_tcp", "connection.start_tls")
        assert trace.names == connect + REQUEST + RESPONSE
        assert trace["connection.connect_tcp.complete"] == ("127.0.0.1", secure.port)
        assert trace["connection.start_tls.started"]["server_hostname"] == "127.0.0.1"
        stream = trace["connection.start_tls.complete"]["return_value"]
        assert isinstance(
            stream, kit.core.AsyncNetworkStream if kit.is_async else kit.core.NetworkStream
        )


@each_kit
async def test_trace_of_failures(kit: Kit, site: Site) -> None:
    site.on("/", Reply(raw=b"garbage\r\n\r\n", close=True))
    truncated = b"HTTP/1.1 200 X\r\nContent-Length: 6\r\n\r\nabc"
    site.on("/body", Reply(raw=truncated, close=True))
    site.on("/long", Reply(body=bytes(10_000_000)))
    closed = _both("http11.response_closed")
    async with kit.client() as client:
        trace = Trace(kit)
        with pytest.raises(kit.library.ConnectError):
            url = f"http://127.0.0.1:{_closed_port()}/"
            await client.request("GET", url, extensions=trace.extensions)
        name = "connection.connect_tcp"
        assert trace.names == [f"{name}.started", f"{name}.failed"]
        assert isinstance(trace[f"{name}.failed"]["exception"], ConnectionRefusedError)

        trace = Trace(kit)
        with pytest.raises(kit.library.RemoteProtocolError):
            await client.request("POST", site.url, extensions=trace.extensions)
        failed = ["http11.receive_response_headers.failed", *closed]
        assert trace.names[2:] == REQUEST[:-1] + failed

        trace = Trace(kit)
        with pytest.raises(kit.library.RemoteProtocolError):
            await client.request("GET", site.url + "/body", extensions=trace.extensions)
        failed = ["http11.receive_response_body.failed", *closed]
        assert trace.names[2:] == [*REQUEST, RESPONSE[0], *failed]

        trace = Trace(kit)
        async with client.stream("GET", site.url + "/long", extensions=trace.extensions):
            pass
        assert trace.names[2:] == REQUEST + closed


@each_kit
async def test_exceptions_of_a_trace_pass_through(kit: Kit, site: Site) -> None:
    async with kit.client() as client:
        for at in (*_both("connection.connect_tcp"), *REQUEST, *RESPONSE):
            error = ConnectionError("mine")

            def callback(name: str, info: Any, at: str = at, error: Exception = error) -> None:
                if name == at:
                    raise error

            client.transport._close()
            with pytest.raises(ConnectionError) as info:
                trace = {"trace": kit.trace(callback)}
                await client.request("GET", site.url, extensions=trace)
            assert info.value is error
            assert _stats(client).leased == 0


@each_kit
async def test_trace_of_the_wrong_kind(kit: Kit, site: Site) -> None:
    async def awaited(name: str, info: Any) -> None:
        raise AssertionError("it is not awaited")

    def plain(name: str, info: Any) -> None:
        pass

    async with kit.client() as client:
        with pytest.raises(TypeError, match="must be"):
            trace = plain if kit.is_async else awaited
            await client.request("GET", site.url, extensions={"trace": trace})
        assert _stats(client).leased == 0


# ------------------------------------------------------------------ TLS


@each_kit
async def test_sni_hostname(kit: Kit, certificates: Certificates) -> None:
    names: list[str | None] = []
    context = certificates.new_server()
    context.sni_callback = lambda sock, name, ctx: names.append(name)
    client_context = certificates.new_client()
    with site(context) as secure:
        async with kit.client(kit.transport(verify=client_context)) as client:
            url = secure.at("127.0.0.1")
            for _ in range(2):
                for sni in (HOST, None):
                    extensions = {"sni_hostname": sni} if sni else {}
                    await client.request("GET", url, extensions=extensions)
                    assert secure.seen[-1]["host"] == f"127.0.0.1:{secure.port}"
            with pytest.raises(kit.library.ConnectError, match=r"match|mismatch|valid for"):
                await client.request("GET", url, extensions={"sni_hostname": "example.org"})
    assert names == [HOST, None, "example.org"]  # an address is not sent
    assert secure.connections == 3


@each_kit
async def test_verify_and_cert(kit: Kit, certificates: Certificates, tmp_path: Path) -> None:
    authority, cert = tmp_path / "authority.pem", tmp_path / "client.pem"
    certificates.authority.cert_pem.write_to_path(authority)
    own = certificates.authority.issue_cert("client.example.org")
    own.private_key_and_cert_chain_pem.write_to_path(cert)
    context = certificates.new_server()
    context.verify_mode = ssl.CERT_OPTIONAL
    certificates.authority.configure_trust(context)
    with site(context) as secure, pytest.MonkeyPatch.context() as patch:
        url = secure.at("127.0.0.1")
        patch.setenv("SSL_CERT_FILE", str(authority))
        for arguments in ({}, {"verify": False}):
            async with kit.client(kit.transport(**arguments)) as client:
                await client.request("GET", url)
        async with kit.client(kit.transport(trust_env=False)) as client:
            with pytest.raises(kit.library.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await client.request("GET", url)
        with pytest.warns(DeprecationWarning, match="cert="):
            transport = kit.transport(cert=str(cert))
        async with kit.client(transport) as client:
            await client.request("GET", url)
    assert [seen.has_certificate for seen in secure.seen] == [False, False, True]


# ------------------------------------------------------------------ arguments


@each_kit
async def test_one_protocol(kit: Kit) -> None:
    for arguments in ({"http2": True}, {"http1": False}):
        with pytest.raises(ValueError, match=r"HTTP/1\.1 only"):
            kit.transport(**arguments)


@each_kit
async def test_addresses_and_options(kit: Kit, site: Site) -> None:
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)]
    for local in ("127.0.0.1", "0.0.0.0"):  # noqa: S104
        transport = kit.transport(local_address=local, socket_options=options)
        async with kit.client(transport) as client, client.stream("GET", site.url) as response:
            sock = response.network.bare.get_extra_info("socket")
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
            assert response.network.bare.get_extra_info("client_addr")[1] == site.seen[-1].port


@each_kit
async def test_unix_socket(kit: Kit, tmp_path: Path) -> None:
    path = str(tmp_path / f"{kit.name}.socket")
    with serving(_answer, path=path):
        async with kit.client(kit.transport(uds=path)) as client:
            trace = Trace(kit)
            response = await client.request("GET", "http://a.test/", extensions=trace.extensions)
            assert response.text == "ok"
            connect = _both("connection.connect_unix_socket")
            assert trace.names == connect + REQUEST + RESPONSE
            assert trace["connection.connect_unix_socket.started"]["path"] == path


@each_kit
async def test_proxy_forwards(kit: Kit, site: Site) -> None:
    library = kit.library
    headers = {"X-Proxy": "1"}
    for proxy, user in [
        (site.url, None),
        (library.URL(site.url), None),
        (site.url.replace("//", "//user:p%40ss@"), "Basic dXNlcjpwQHNz"),
        (library.Proxy(site.url, auth=("user", "p@ss"), headers=headers), "Basic dXNlcjpwQHNz"),
    ]:
        async with kit.client(kit.transport(proxy=proxy)) as client:
            await client.request("GET", "http://origin.test/path")
        seen = site.seen[-1]
        assert (seen.target, seen["host"]) == ("http://origin.test/path", "origin.test")
        assert seen["proxy-authorization"] == user
    assert site.seen[-1]["x-proxy"] == "1"
    assert "accept-encoding" in site.seen[-1]


@each_kit
async def test_proxy_refuses(kit: Kit, site: Site) -> None:
    site.on(f"{HOST}:443", Reply(407))
    proxy = kit.library.Proxy(site.url, headers={"X-Proxy": "1"})
    async with kit.client(kit.transport(proxy=proxy)) as client:
        with pytest.raises(kit.library.ProxyError, match=r"^407 X$") as info:
            await client.request("GET", f"https://{HOST}/")
        assert info.value.request.url == f"https://{HOST}/"
    assert (site.seen[-1].method, site.seen[-1]["x-proxy"]) == ("CONNECT", "1")


@each_kit
async def test_proxy_ends_the_connection(kit: Kit, site: Site) -> None:
    site.on(f"{HOST}:443", Reply(raw=b"", close=True))
    async with kit.client(kit.transport(proxy=site.url)) as client:
        with pytest.raises(kit.library.ProxyError, match="instead of opening a tunnel"):
            await client.request("GET", f"https://{HOST}/")


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h"])
def test_real_proxies(
    scheme: str,
    nginx: NginxEndpoints,
    trusting_context: ssl.SSLContext,
    request: pytest.FixtureRequest,
) -> None:
    names = {"http": "tinyproxy", "https": "https_proxies"}
    proxies: Proxies = request.getfixturevalue(names.get(scheme, "socks_proxies"))

    @each_kit
    async def test(kit: Kit) -> None:
        context = trusting_context if scheme == "https" else None
        for url in (proxies.open_url(scheme), proxies.guarded_url(scheme=scheme)):
            proxy = kit.library.Proxy(url, ssl_context=context)
            transport = kit.transport(proxy=proxy, verify=trusting_context)
            async with kit.client(transport) as client:
                for endpoint in (nginx.plain, nginx.tls):
                    start = "http" if endpoint is nginx.plain else "https"
                    trace = Trace(kit)
                    response = await client.request(
                        "GET",
                        f"{start}://{endpoint.host}:{endpoint.port}/doc/1.txt",
                        extensions=trace.extensions,
                    )
                    assert response.content == document(1)
                    connect = ["connection.connect_tcp"]
                    if start == "https":
                        connect.append("connection.start_tls")
                    assert trace.names == _both(*connect) + REQUEST + RESPONSE
        wrong = proxies.guarded_url(password="wrong", scheme=scheme)
        proxy = kit.library.Proxy(wrong, ssl_context=context)
        async with kit.client(kit.transport(proxy=proxy, verify=trusting_context)) as client:
            with pytest.raises(kit.library.ProxyError):
                await client.request("GET", f"https://{nginx.tls.host}:{nginx.tls.port}/")

    test()


@each_kit
async def test_transport_can_be_used_after_it_was_closed(kit: Kit, site: Site) -> None:
    transport = kit.transport()
    for _ in range(2):
        async with kit.client(transport) as client:
            await client.request("GET", site.url)
        assert transport._pool.stats().idle == 0
    assert site.connections == 2


@pytest.mark.parametrize("name", ["httpx", "httpx2", "httpcore", "httpcore2"])
def test_missing_library(name: str) -> None:
    extra = "httpx2" if name.endswith("2") else "httpx"
    code = f"""
import sys
sys.modules[{name!r}] = None
try:
    import dugong.adapters.{extra}
except ImportError as exc:
    print(exc)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"install dugong[{extra}]" in done.stdout
