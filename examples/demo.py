"""What dugong is for, on a server of its own: run it with ``make demo``.

Documents one by one and pipelined, a film streamed to disk, an upload that is wanted and one that
is not. Each function is an example by itself; the rest starts the server and shows the figures.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from select import select

from demo_server import FILM_SIZE, document
from rich.bar import Bar
from rich.console import Console
from rich.table import Table

from dugong import POLLIN, BodyFollowing, HTTPConnection, PollNeeded

HERE = Path(__file__).parent
DOCUMENTS = 2000
UPLOAD = b"Every byte of this counts.\n" * (1 << 21)
BLOCK = 256 << 10

EXPLANATION = """\
Pipelined requests do not wait for each other's responses. The upload was sent
only after the server had said that it wants it (100-continue); where it did
not, a request's head was all that went out. Each row is one function in
examples/demo.py; a bar compares what has the same unit, on this machine, now."""


def one_by_one(conn: HTTPConnection) -> list[bytes]:
    """Fetch documents, each when the one before it is there."""
    bodies = []
    for number in range(DOCUMENTS):
        conn.send_request("GET", f"/documents/{number}")
        conn.read_response()
        bodies.append(conn.readall())
    return bodies


def pipelined(conn: HTTPConnection) -> list[bytes]:
    """Fetch the same documents without waiting for any before asking for the next."""
    bodies = []

    def send() -> Iterator[PollNeeded]:
        for number in range(DOCUMENTS):
            yield from conn.co_send_request("GET", f"/documents/{number}")

    def receive() -> Iterator[PollNeeded]:
        for _ in range(DOCUMENTS):
            yield from conn.co_read_response()
            bodies.append((yield from conn.co_readall()))

    sending, receiving = send(), receive()
    while True:
        waits = [next(sending, None), next(receiving, None)]
        if waits[1] is None:
            return bodies
        needs = [need for need in waits if need is not None]
        readers = [need.fd for need in needs if need.mask & POLLIN]
        writers = [need.fd for need in needs if not need.mask & POLLIN]
        select(readers, writers, [])


def stream_to_disk(conn: HTTPConnection, path: Path) -> int:
    """Fetch something large through one buffer. Nothing is copied on the way."""
    conn.send_request("GET", "/film")
    conn.read_response()
    buffer = memoryview(bytearray(BLOCK))
    with path.open("wb") as file:
        while count := conn.readinto(buffer):
            file.write(buffer[:count])
    return path.stat().st_size


def upload(conn: HTTPConnection, path: str) -> tuple[int, bytes]:
    """Upload in parts, but only after the server has said that it wants them."""
    conn.send_request("PUT", path, body=BodyFollowing(len(UPLOAD)), expect100=True)
    response = conn.read_response()
    if response.status == 100:
        for start in range(0, len(UPLOAD), BLOCK):
            conn.write(memoryview(UPLOAD)[start : start + BLOCK])
        response = conn.read_response()
    return response.status, conn.readall()


@contextmanager
def server() -> Iterator[int]:
    """Run the demo's server; gives its port."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--no-ws", "--no-log"]
    process = subprocess.Popen(
        [*command, "--port", str(port), "demo_server:app"],
        cwd=HERE, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(300):
            if process.poll() is not None:
                raise SystemExit("the demo's server did not start")
            try:
                HTTPConnection("127.0.0.1", port, timeout=5).connect()
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def main() -> int:
    """Do it all, and show what was done and how fast. Returns the exit status."""
    rows: list[tuple[str, str, float, str]] = []

    def measure(what: str, started: float, amount: float, unit: str, result: str) -> None:
        rows.append((what, result, amount / (time.perf_counter() - started), unit))

    console = Console()
    expected = [document(number) for number in range(DOCUMENTS)]
    with (
        console.status("Starting a server on this machine …") as status_line,
        server() as port,
        tempfile.TemporaryDirectory() as folder,
        HTTPConnection("127.0.0.1", port, timeout=30) as conn,
    ):
        conn.connect()
        for what, fetch in (("one by one", one_by_one), ("pipelined", pipelined)):
            status_line.update(f"Fetching {DOCUMENTS:,} documents {what} …")
            started = time.perf_counter()
            bodies = fetch(conn)
            same = "all bytes right" if bodies == expected else "WRONG BYTES"
            measure(f"{DOCUMENTS:,} documents {what}", started, DOCUMENTS, "/s", same)

        status_line.update("Streaming a film to disk …")
        started = time.perf_counter()
        size = stream_to_disk(conn, Path(folder, "film"))
        whole = "complete" if size == FILM_SIZE else "INCOMPLETE"
        measure(f"{size >> 20} MiB streamed to disk", started, size / 1e6, "MB/s", whole)

        status_line.update("Uploading …")
        started = time.perf_counter()
        status, body = upload(conn, "/inbox/report")
        arrived = body == sha256(UPLOAD).hexdigest().encode()
        result = f"{status}, digest {'right' if arrived else 'WRONG'}"
        size = len(UPLOAD)
        measure(f"{size >> 20} MiB uploaded when wanted", started, size / 1e6, "MB/s", result)

        before = conn.bytes_sent
        status, body = upload(conn, "/elsewhere")
        cost = conn.bytes_sent - before
        result = f"{status}, {cost} bytes sent" if cost < size else "WRONG: all of it was sent"
        rows.append((f"{size >> 20} MiB that was not wanted", result, 0, ""))

    table = Table(title="One connection of dugong's, to granian", title_style="bold")
    for column in ("what", "result"):
        table.add_column(column, no_wrap=True)
    table.add_column("rate", justify="right", no_wrap=True)
    table.add_column("")
    for what, result, rate, unit in rows:
        best = max(other for _, _, other, other_unit in rows if other_unit == unit)
        bar = Bar(best, 0, rate, width=12, color="cyan") if rate else ""
        table.add_row(what, result, f"{rate:,.0f} {unit}" if rate else "", bar)
    console.print(table)
    console.print(EXPLANATION)
    failed = any("WRONG" in result or "INCOMPLETE" in result for _, result, *_ in rows)
    return 1 if failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # not without stopping the server
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
