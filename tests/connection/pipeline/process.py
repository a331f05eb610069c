"""Fetch many documents in a process of its own and print what it cost.

``python -m tests.connection.pipeline.process PORT COUNT WAY``, where the way is ``pipeline`` or
``request``, prints as JSON how many documents came and were right, over how many connections, in
how many seconds, and by how many bytes the process's peak grew after the first tenth of them.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator

from dugong import HTTPConnection, HTTPResponse
from tests.support.peak_memory import peak


def path_of(number: int) -> str:
    return f"/n/{number}"


def body_of(number: int) -> bytes:
    return b"document /n/%d, which is like no other\n" % number


def one_by_one(conn: HTTPConnection, count: int) -> Iterator[HTTPResponse]:
    for number in range(count):
        yield conn.request("GET", path_of(number))


def main(port: str, count: str, way: str) -> None:
    connections = 0

    def happened(event: str) -> None:
        nonlocal connections
        connections += event == "connected"

    total, right, warm = int(count), 0, 0
    with HTTPConnection("127.0.0.1", int(port)) as conn:
        conn.on_event = happened
        begin = time.perf_counter()
        responses: Iterator[HTTPResponse] = (
            conn.pipeline(map(path_of, range(total)))
            if way == "pipeline"
            else one_by_one(conn, total)
        )
        for number, response in enumerate(responses):
            body = conn.readall()
            right += response.path == path_of(number) and body == body_of(number)
            if number == total // 10:
                warm = peak()
        seconds = time.perf_counter() - begin
    found = {"right": right, "connections": connections, "growth": peak() - warm}
    json.dump({**found, "seconds": round(seconds, 2)}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
