"""`pipeline` with a real server: nginx, which closes each connection after a thousand requests."""

from __future__ import annotations

import asyncio
import fcntl
import json
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
import trio

from dugong import AsyncHTTPConnection, HTTPConnection
from tests.connection.pipeline.process import body_of, path_of
from tests.support.apps import DOCUMENTS, document
from tests.support.servers import ROOT, Endpoint, NginxEndpoints, serving_by_nginx

#: In the suite; the whole number is 100,000.
MANY = 20_000

CONF = """
    default_type text/plain;
    server {{
        listen 127.0.0.1:{ports[0]};
        location /n/ {{ return 200 "document $uri, which is like no other\\n"; }}
    }}
"""


@pytest.fixture(scope="module")
def numbered() -> Iterator[int]:
    """The port of an nginx with its defaults, on which every document has its own content."""
    with serving_by_nginx("nginx", CONF) as (server, _):
        yield server.ports[0]


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_many_documents(numbered: int) -> None:
    """Every one is right, in order, over as few connections as nginx allows; memory stays flat."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.connection.pipeline.process",
            str(numbered),
            str(MANY),
            "pipeline",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["right"] == MANY
    assert MANY // 1000 <= found["connections"] <= MANY // 1000 + 1
    assert found["growth"] <= 1 << 20


@pytest.mark.parametrize("depth", [1, 3, 64])
def test_documents_of_many_sizes(nginx: NginxEndpoints, scheme: str, depth: int) -> None:
    """Files of up to 16 KiB: more than the buffers between both ends hold."""
    endpoint: Endpoint = getattr(nginx, scheme)
    numbers = [n % DOCUMENTS for n in range(nginx.keepalive_requests + 300)]
    connected: list[str] = []
    with endpoint.connection() as conn:
        conn.on_event = connected.append
        got = conn.pipeline((f"/doc/{n}.txt" for n in numbers), depth=depth)
        for n, response in zip(numbers, got, strict=True):
            assert (response.status, response.path) == (200, f"/doc/{n}.txt")
            if n % 7:
                assert conn.readall() == document(n)
    assert connected.count("connected") == 2


@pytest.mark.parametrize("library", ["asyncio", "trio"])
@pytest.mark.parametrize("asynchronous", [True, False])
def test_in_loops(numbered: int, library: str, asynchronous: bool) -> None:
    count = 2500

    async def source() -> AsyncIterator[str]:
        for number in range(count):
            yield path_of(number)

    async def main() -> None:
        connected: list[str] = []
        async with AsyncHTTPConnection("127.0.0.1", numbered) as conn:
            conn.on_event = connected.append
            requests = source() if asynchronous else map(path_of, range(count))
            number = 0
            async for response in conn.pipeline(requests):
                assert response.path == path_of(number)
                assert await conn.readall() == body_of(number)
                number += 1
            assert number == count
        assert connected.count("connected") == 3

    if library == "trio":
        trio.run(main)
    else:
        asyncio.run(main())


#: What the system has been given and has not put on the wire (linux/sockios.h).
SIOCOUTQNSD = 0x894B


def unsent(sock: socket.socket) -> int:
    return int(struct.unpack("i", fcntl.ioctl(sock, SIOCOUTQNSD, bytes(4)))[0])


@pytest.mark.skipif(sys.platform != "linux", reason="asks the system how much it holds back")
def test_a_quick_generator(numbered: int) -> None:
    """The system joins what comes one by one, but is told to hold nothing back at each wait."""
    held = waits = 0
    with HTTPConnection("127.0.0.1", numbered) as conn:

        def one_by_one() -> Iterator[str]:
            nonlocal held
            for number in range(500):
                if (session := conn._session) is not None and session.stream is not None:
                    held = max(held, unsent(session.stream.sock))
                yield path_of(number)

        pipeline = conn.pipeline(one_by_one())
        for number in range(500):
            step = pipeline.co_next()
            while (need := next(step, None)) is not None:
                if conn._session is not None and conn._session.stream is not None:
                    waits += 1
                    sock = conn._session.stream.sock
                    assert not sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK)
                need.poll()
            assert conn.readall() == body_of(number)
    assert held > 1000
    assert waits > 0
