"""A program in its own network namespace, where a name moves from one address to another.

Run as ``unshare --net --mount python -m tests.support.moving DNSMASQ DIRECTORY``. dnsmasq answers
for the name. Two servers send their own address. The program prints ``ok``, or fails.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from dugong import AddressRefused, AsyncPool, Client, Pool

NAME = "moving.example"
PORT = 8080
OLD, NEW = "127.0.0.2", "127.0.0.3"

#: Seconds.
MAX_AGE = 100.0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self) -> None:
        body = self.connection.getsockname()[0].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, *args: Any) -> None:
        """Say nothing."""


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def resolved() -> str:
    return str(socket.getaddrinfo(NAME, PORT, socket.AF_INET)[0][4][0])


def move(dnsmasq: subprocess.Popen[bytes], hosts: Path, address: str) -> None:
    """Have the name lead to *address*, and wait until it does."""
    hosts.write_text(f"{address} {NAME}\n")
    dnsmasq.send_signal(signal.SIGHUP)
    await_address(address)


def await_address(address: str) -> None:
    for _ in range(1000):
        try:
            if resolved() == address:
                return
        except socket.gaierror:
            pass  # it has not started yet
        time.sleep(0.01)
    raise TimeoutError(f"{NAME} does not lead to {address}")


def blocking(dnsmasq: subprocess.Popen[bytes], hosts: Path) -> None:
    with Pool(max_age=MAX_AGE, idle_timeout=None, timeout=20) as pool:
        pool._clock = clock = Clock()

        def get() -> str:
            with pool.connection(f"http://{NAME}:{PORT}") as conn:
                conn.request("GET", "/")
                return conn.readall().decode()

        move(dnsmasq, hosts, OLD)
        assert get() == OLD
        move(dnsmasq, hosts, NEW)
        clock.now += 0.89 * MAX_AGE
        assert get() == OLD  # over the connection that there is
        clock.now += 0.12 * MAX_AGE
        assert get() == NEW
        assert pool.stats().idle == 1


async def in_asyncio(dnsmasq: subprocess.Popen[bytes], hosts: Path) -> None:
    async with AsyncPool(max_age=MAX_AGE, idle_timeout=None, timeout=20) as pool:
        pool._clock = clock = Clock()

        async def get() -> str:
            async with pool.connection(f"http://{NAME}:{PORT}") as conn:
                await conn.request("GET", "/")
                return (await conn.readall()).decode()

        await asyncio.to_thread(move, dnsmasq, hosts, OLD)
        assert await get() == OLD
        await asyncio.to_thread(move, dnsmasq, hosts, NEW)
        clock.now += MAX_AGE
        assert await get() == NEW


def rebinding(dnsmasq: subprocess.Popen[bytes], hosts: Path) -> None:
    """A name that leads to an approved address first is of no use to reach another one."""
    asked: list[str] = []

    def allow(address: Any) -> bool:
        asked.append(str(address))
        return str(address) == OLD

    with Client(allow=allow, headers={"Connection": "close"}) as client:
        url = f"http://{NAME}:{PORT}/"
        move(dnsmasq, hosts, OLD)
        assert client.get(url).text() == OLD
        move(dnsmasq, hosts, NEW)
        refused: tuple[str, ...] = ()
        try:
            client.get(url)
        except AddressRefused as exc:
            refused = exc.addresses
        assert refused == (NEW,)
        assert asked == [OLD, NEW]


def main(program: str, directory: Path) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)  # noqa: S607
    resolv = directory / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\n")
    subprocess.run(["mount", "--bind", resolv, "/etc/resolv.conf"], check=True)  # noqa: S607
    hosts = directory / "hosts"
    hosts.write_text(f"{OLD} {NAME}\n")
    for address in (OLD, NEW):
        server = ThreadingHTTPServer((address, PORT), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [
        program, "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
        f"--addn-hosts={hosts}", "--listen-address=127.0.0.1", "--bind-interfaces", "--user=root",
        "--pid-file=", "--local-ttl=0", "--log-facility=-",
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as dnsmasq:
        try:
            await_address(OLD)  # before that, a signal would end it
            blocking(dnsmasq, hosts)
            rebinding(dnsmasq, hosts)
            asyncio.run(in_asyncio(dnsmasq, hosts))
        finally:
            dnsmasq.terminate()
    sys.stdout.write("ok\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
