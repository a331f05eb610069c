"""`Client.many` in all styles."""

from __future__ import annotations

import asyncio
import gc
import io
import itertools
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from dugong import (
    AsyncClient,
    Client,
    ConnectionTimedOut,
    InvalidRequest,
    InvalidResponse,
    Retry,
    StatusError,
)
from tests.client.styled import Style, styled
from tests.support.in_turn import in_turn
from tests.support.servers import serving_by_nginx
from tests.support.site import Reply, Seen, Site, redirect, site


async def results_of(many: Any) -> list[Any]:
    """Return all results."""
    async with many:
        return [result async for result in many]


def given(results: list[Any]) -> list[Any]:
    return [result.request.given for result in results]


# Requests and results.


@styled
async def test_kinds_of_requests(style: Style, site: Site) -> None:
    site.on("/old", redirect("/new"))
    site.on("/missing", Reply(404, b"no"))
    requests: list[Any] = [
        f"{site.url}/a",
        ("HEAD", f"{site.url}/b"),
        {"url": f"{site.url}/c", "method": "POST", "json": [1], "headers": {"X-A": "1"}},
        f"{site.url}/old",
        {"url": f"{site.url}/old", "redirects": None},
        f"{site.url}/missing",
        "ftp://example.org/",
        "http://user:secret@[",
    ]
    async with style.client() as client:
        results = await results_of(client.many(requests))
        stats = client.pool.stats()
        assert stats.leased == stats.connecting == stats.waiting == 0
    assert Counter(map(id, given(results))) == Counter(map(id, requests))
    by_given = {id(result.request.given): result for result in results}
    a, b, c, old, unfollowed, missing, ftp, broken = (by_given[id(each)] for each in requests)
    assert (a.status, await a.text()) == (200, "ok")
    assert (b.request.method, b.status, await b.readall()) == ("HEAD", 200, b"")
    (post,) = [seen for seen in site.seen if seen.method == "POST"]
    assert (post.body, post["x-a"], await c.text()) == (b"[1]", "1", "ok")
    assert (old.url, [each.status for each in old.history]) == (f"{site.url}/new", [302])
    assert (unfollowed.status, await unfollowed.text()) == (302, "moved")
    assert (missing.status, await missing.text()) == (404, "no")
    assert isinstance(ftp, InvalidRequest)
    assert (ftp.request.method, ftp.request.url) == ("GET", "ftp://example.org/")  # type: ignore[attr-defined]
    assert broken.request.url == "http://["


@styled
async def test_the_body_is_read_from_memory(style: Style, site: Site) -> None:
    site.on("/", Reply(body=b"1\n2\n3"))
    async with style.client() as client:
        (first,) = await results_of(client.many([site.url]))
        assert await first.read(2) == b"1\n"
        buffer = bytearray(2)
        assert await first.readinto(buffer) == 2
        assert buffer == b"2\n"
        assert await first.readall() == b"3"
        assert await first.readall() == b""
        (second,) = await results_of(client.many([site.url]))
        assert [line async for line in second.lines()] == ["1", "2", "3"]
        (third,) = await results_of(client.many([site.url]))
        assert [piece async for piece in third] == [b"1\n2\n3"]
        (fourth,) = await results_of(client.many([site.url]))
        assert await (await fourth.raise_for_status()).text() == "1\n2\n3"


def test_wrong_arguments() -> None:
    with Client() as client:
        for wrong in ("http://localhost/", b"", {"url": "http://localhost/"}, 5):
            with pytest.raises(TypeError):
                client.many(wrong)  # type: ignore[arg-type]
        wrong_options: list[dict[str, Any]] = [
            {"limit": 0}, {"per_host": 0}, {"window": 0}, {"max_body": -1}
        ]  # fmt: skip
        for options in wrong_options:
            with pytest.raises(InvalidRequest):
                client.many([], **options)
        with pytest.raises(TypeError):
            client.many([], sink=5)  # type: ignore[arg-type]

        async def source() -> AsyncIterator[str]:
            yield ""

        with pytest.raises(TypeError, match="AsyncClient"):
            client.many(source())  # type: ignore[arg-type]


@styled
async def test_wrong_items_end_the_step_and_not_the_iterator(style: Style, site: Site) -> None:
    items: list[Any] = [site.url, 5, {"method": "GET"}, ("a", "b", "c"), f"{site.url}/last"]
    async with style.client() as client:
        many = client.many(items, limit=1)
        results: list[Any] = []
        failures = 0
        while len(results) < 2:
            try:
                results.append(await anext(many))
            except TypeError:
                failures += 1
        assert failures == 3
        assert given(results) == [site.url, f"{site.url}/last"]
        await many.close()


@styled
async def test_a_failing_iterable(style: Style, site: Site) -> None:
    def source() -> Iterator[str]:
        yield site.url
        raise ZeroDivisionError

    async with style.client() as client:
        many = client.many(source())
        with pytest.raises(ZeroDivisionError):
            await anext(many)
        assert [result.status async for result in many] == [200]


# Order, and other hosts.


@styled
async def test_results_come_in_order_of_completion(style: Style, site: Site) -> None:
    finished = threading.Event()

    def last(seen: Seen) -> Reply:
        assert finished.wait(30)
        return Reply()

    site.on("/last", last)
    urls = [f"{site.url}/last", *(f"{site.url}/{n}" for n in range(10))]
    async with style.client() as client, client.many(urls) as many:
        results = [await anext(many) for _ in range(10)]
        assert sorted(given(results)) == sorted(urls[1:])
        finished.set()
        assert (await anext(many)).request.given == urls[0]


@styled
async def test_a_silent_host_delays_no_other(style: Style, site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        silent = f"http://127.0.0.1:{listener.getsockname()[1]}"
        mixed = itertools.chain.from_iterable(
            (f"{silent}/{n}", f"{site.url}/{n}") for n in range(40)
        )
        async with style.client() as client, client.many(mixed) as many:
            results = [await anext(many) for _ in range(40)]
        assert all(result.url.startswith(site.url) for result in results)


@styled
async def test_silent_hosts_do_not_fill_the_limit(style: Style, site: Site) -> None:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(6)]
    urls = [f"http://127.0.0.1:{each.getsockname()[1]}/" for each in listeners]
    try:
        async with style.client() as client, client.many([*urls, site.url], limit=3) as many:
            assert (await anext(many)).status == 200
    finally:
        for listener in listeners:
            listener.close()


@styled
async def test_a_host_that_stays_silent_is_not_asked_again(style: Style) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        silent = f"http://127.0.0.1:{listener.getsockname()[1]}"
        urls = [f"{silent}/{n}" for n in range(30)]
        async with style.client(timeout=0.05) as client:
            results = await results_of(client.many(urls))
    assert sorted(given(results)) == sorted(urls)
    assert all(isinstance(result, ConnectionTimedOut) for result in results)
    sent = [result for result in results if not str(result).startswith("not sent")]
    assert 3 <= len(sent) <= 4
    assert all(result.safe_to_retry for result in results)


# Bodies.


@styled
async def test_a_long_body(style: Style, site: Site) -> None:
    site.on("/long", Reply(body=bytes(1001)))
    site.on("/fits", Reply(body=bytes(1000)))
    async with style.client() as client:
        urls = [f"{site.url}/long", f"{site.url}/fits"]
        results = await results_of(client.many(urls, max_body=1000))
    by_url = {result.request.given: result for result in results}
    assert isinstance(by_url[urls[0]], InvalidResponse)
    assert by_url[urls[0]].part == "limit"
    assert len(await by_url[urls[1]].readall()) == 1000


class Kept(io.BytesIO):
    """A file whose content is kept when it is closed."""

    content: bytes | None = None

    def close(self) -> None:
        self.content = self.getvalue()
        super().close()


@styled
async def test_a_sink(style: Style, site: Site) -> None:
    files: dict[str, Kept] = {}

    def sink(request: Any, response: Any) -> Any:
        assert response.status == 200
        if request.given.endswith("/kept"):
            return None
        if request.given.endswith("/fails"):
            raise ZeroDivisionError
        return files.setdefault(request.given, Kept())

    site.on("/large", Reply(body=bytes(200_000)))
    site.on("/cut", Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", close=True))
    large, kept, fails, cut = urls = [f"{site.url}/{n}" for n in ("large", "kept", "fails", "cut")]
    async with style.client() as client:
        results = await results_of(client.many(urls, sink=sink, max_body=10))
    by_url = {result.request.given: result for result in results}
    assert files[large].content == bytes(200_000)
    assert await by_url[large].readall() == b""
    assert await by_url[kept].readall() == b"ok"
    assert isinstance(by_url[fails], ZeroDivisionError)
    assert files[cut].content == b"ab"
    assert isinstance(by_url[cut], Exception)


@styled
async def test_content_codings(style: Style, site: Site) -> None:
    import gzip

    reply = Reply(body=gzip.compress(bytes(5000)), headers={"Content-Encoding": "gzip"})
    site.on("/", reply)
    async with style.client() as client:
        (result,) = await results_of(client.many([site.url], max_body=5000))
        assert await result.readall() == bytes(5000)
        (result,) = await results_of(client.many([site.url], max_body=4999))
        assert isinstance(result, InvalidResponse)


# Retries and limits.


@styled
async def test_retries(style: Style, site: Site) -> None:
    site.on("/busy", Reply(503), Reply(429, headers={"Retry-After": "0"}), Reply(body=b"done"))
    site.on("/down", Reply(503))
    async with style.client(retries=Retry(2, backoff=0)) as client:
        urls = [f"{site.url}/busy", f"{site.url}/down"]
        results = await results_of(client.many(urls))
    by_url = {result.request.given: result for result in results}
    assert await by_url[urls[0]].text() == "done"
    assert by_url[urls[1]].status == 503
    assert Counter(site.paths()) == {"/busy": 3, "/down": 3}


@styled
async def test_a_redirected_request_is_retried_from_its_beginning(style: Style, site: Site) -> None:
    site.on("/old", redirect("/new"))
    site.on("/new", Reply(503), Reply(body=b"done"))
    async with style.client(retries=Retry(1, backoff=0)) as client:
        (result,) = await results_of(client.many([f"{site.url}/old"]))
    assert site.paths() == ["/old", "/new", "/old", "/new"]
    assert [each.status for each in result.history] == [302]


@styled
async def test_a_host_that_asks_to_wait_for_a_day(style: Style, site: Site) -> None:
    site.on("/busy", Reply(503, headers={"Retry-After": "86400"}))
    urls = [f"{site.url}/busy", *(f"{site.url}/{n}" for n in range(20))]
    async with style.client() as client:
        results = await results_of(client.many(urls, per_host=1))
    assert site.paths() == ["/busy"]
    by_url = {result.request.given: result for result in results}
    assert by_url.pop(urls[0]).status == 503
    assert by_url.keys() == set(urls[1:])
    for url, result in by_url.items():
        assert isinstance(result, StatusError)
        assert (result.status, result.url) == (503, url)


@styled
async def test_a_deadline(style: Style) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        async with style.client() as client:
            (result,) = await results_of(client.many([{"url": url, "deadline": 0.05}]))
    assert isinstance(result, ConnectionTimedOut)
    assert "deadline" in str(result)


@styled
async def test_time_between_steps_is_not_silence_of_the_server(style: Style, site: Site) -> None:
    late = threading.Event()

    def wait(seen: Seen) -> Reply:
        assert late.wait(30)
        return Reply(body=b"late")

    site.on("/late", wait)
    urls = [f"{site.url}/late", site.url]
    async with style.client(timeout=0.5) as client, client.many(urls) as many:
        assert (await anext(many)).request.given == site.url
        time.sleep(0.7)  # noqa: ASYNC251 - the caller is busy, for longer than the limit
        late.set()
        assert await (await anext(many)).text() == "late"


# The iterable.


@styled
async def test_an_endless_iterable(style: Style, site: Site) -> None:
    numbers = itertools.count()
    urls = (f"{site.url}/{n}" for n in numbers)
    async with style.client() as client:
        async with client.many(urls, window=20, limit=5) as many:
            for step in range(50):
                assert (await anext(many)).status == 200
                assert next(numbers) <= 2 * step + 25  # each look takes one, too
        with pytest.raises(StopAsyncIteration):
            await anext(many)


@in_turn("library", [asyncio, trio], ids=["asyncio", "trio"])
def test_an_async_iterable(library: Any) -> None:
    with site() as server:

        async def main() -> None:
            arrived: list[str] = []
            closed = False

            async def source() -> AsyncIterator[str]:
                nonlocal closed
                try:
                    yield f"{server.url}/0"
                    for n in itertools.count(1):
                        while not arrived:  # what it yields depends on results
                            await library.sleep(0)
                        arrived.clear()
                        yield f"{server.url}/{n}"
                finally:
                    closed = True

            async with AsyncClient() as client:
                async with client.many(source()) as many:
                    for n in range(20):
                        result = await anext(many)
                        arrived.append(str(n))
                        assert result.request.given == f"{server.url}/{n}"  # type: ignore[union-attr]
                assert closed

        asyncio.run(main()) if library is asyncio else trio.run(main)


@in_turn("library", [asyncio, trio], ids=["asyncio", "trio"])
def test_a_cancelled_step_loses_nothing(library: Any) -> None:
    late = threading.Event()

    def wait(seen: Seen) -> Reply:
        assert late.wait(30)
        return Reply()

    with site() as server:
        server.on("/", wait)

        async def step(many: Any) -> Any:
            if library is trio:
                with trio.move_on_after(0.05):
                    return await anext(many)
                return None
            try:
                async with asyncio.timeout(0.05):
                    return await anext(many)
            except TimeoutError:
                return None

        async def main() -> None:
            urls = [f"{server.url}/?{n}" for n in range(6)]
            async with AsyncClient() as client, client.many(urls) as many:
                assert await step(many) is None
                late.set()
                results: list[Any] = []
                while len(results) < 6:
                    if (result := await step(many)) is not None:
                        results.append(result)
            assert sorted(given(results)) == urls

        asyncio.run(main()) if library is asyncio else trio.run(main)


# The end.


@styled
async def test_close_cancels_what_is_in_flight(style: Style) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=10) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with site() as other:
            async with style.client() as client:
                async with client.many([f"{url}/1", f"{url}/2", other.url]) as many:
                    await anext(many)
                for _ in range(2):
                    sock, _ = listener.accept()
                    with sock:
                        while sock.recv(65536):  # until it is closed
                            pass


@styled
async def test_an_iterator_that_is_dropped(style: Style, site: Site) -> None:
    async with style.client() as client:
        many = client.many(f"{site.url}/{n}" for n in range(100))
        await anext(many)
        del many
        gc.collect()


def test_too_few_descriptors() -> None:
    program = """if True:
        import resource, sys
        from dugong import Client
        resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
        urls = [f"http://127.0.0.{n % 50 + 1}:{sys.argv[1]}/{n}" for n in range(200)]
        with Client() as client, client.many(urls) as many:
            print(sorted(result.request.given for result in many
                         if not isinstance(result, Exception)) == sorted(urls))
    """
    with site(host="0.0.0.0") as server:  # noqa: S104
        run = subprocess.run(
            [sys.executable, "-c", program, str(server.port)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (run.stdout, run.stderr) == ("True\n", "")


# nginx.


@pytest.fixture(scope="module")
def limiting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """A dozen hosts with limits: rates, and numbers of connections."""
    conf = "".join(
        f"limit_req_zone $server_addr zone=rate{n}:1m rate={40 + 20 * n}r/s;" for n in range(6)
    )
    conf += "limit_conn_zone $server_addr zone=connections:1m; limit_req_log_level info;"
    conf += "limit_conn_log_level info; server {{ listen 127.0.0.1:{ports[0]}; return 200; }}"
    for n in range(12):
        limit = f"limit_req zone=rate{n} burst=5 nodelay;"
        if n >= 6:
            limit = f"limit_conn connections {n - 4};"
        conf += f"server {{{{ listen 127.0.7.{n + 1}:{{ports[0]}}; {limit}"
        conf += " location / {{ root {directory}; try_files /document =404; }} }}"

    def prepare(directory: Path) -> None:
        (directory / "document").write_bytes(b"hello")

    with serving_by_nginx("nginx with limits", conf, prepare=prepare) as (server, _):
        yield [f"http://127.0.7.{n + 1}:{server.ports[0]}" for n in range(12)]


def test_hosts_with_limits(limiting: list[str]) -> None:
    """Every request is answered in the end, and few are refused."""
    urls = [f"{host}/{n}" for n in range(100) for host in limiting]
    refused = 0

    def count(event: Any) -> None:
        nonlocal refused
        refused += event.name == "retry"

    with (
        Client(retries=Retry(20, backoff=0.1), on_event=count) as client,
        client.many(urls) as many,
    ):
        results: list[Any] = list(many)
    assert Counter(result.status for result in results) == {200: 1200}
    assert sorted(given(results)) == sorted(urls)
    assert refused < 240  # without limits of our own: more than half of the requests


@styled
async def test_limits_in_all_styles(style: Style, limiting: list[str]) -> None:
    urls = [f"{host}/{n}" for n in range(10) for host in limiting]
    async with style.client(retries=Retry(20, backoff=0.1)) as client:
        results = await results_of(client.many(urls))
    assert Counter(result.status for result in results) == {200: 120}


def test_requests_leave_no_reference_cycles() -> None:
    with site() as server, Client() as client:
        urls = [f"{server.url}/{n}" for n in range(200)]
        with client.many(urls) as many:
            next(many)
            gc.collect()
            gc.disable()
            try:
                for result in many:
                    del result
                assert gc.collect() < 200  # each request would leave several objects
            finally:
                gc.enable()
