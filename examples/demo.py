"""What dugong is for, on a server of its own: run it with ``make demo``.

The server seems to be some way off: a byte takes a millisecond to get there, and one to get back.
Documents one by one and pipelined; the command, which shows where the time goes, and stores a film;
an upload that is wanted and one that is not. The first functions are examples by themselves; the
rest starts the server and shows the figures.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from demo_server import FILM_SIZE, document
from rich.bar import Bar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from dugong import BodyFollowing, HTTPConnection

HERE = Path(__file__).parent
PATHS = [f"/documents/{number}" for number in range(1000)]
UPLOAD = b"Every byte of this counts.\n" * (1 << 21)
BLOCK = 256 << 10

EXPLANATION = """\
Pipelined requests do not wait for each other's responses, and a byte takes a
millisecond to get to this server. The upload was sent only after the server had
said that it wants it (100-continue); where it did not, a request's head was all
that went out. How each was done is in examples/demo.py."""


def one_by_one(conn: HTTPConnection) -> Iterator[bytes]:
    """Fetch documents, each when the one before it is there."""
    for path in PATHS:
        conn.request("GET", path)
        yield conn.readall()


def pipelined(conn: HTTPConnection) -> Iterator[bytes]:
    """Fetch the same documents without waiting for any before asking for the next."""
    for _ in conn.pipeline(PATHS):
        yield conn.readall()


def upload(conn: HTTPConnection, path: str) -> tuple[int, bytes]:
    """Upload in parts, but only after the server has said that it wants them."""
    conn.send_request("PUT", path, body=BodyFollowing(len(UPLOAD)), expect100=True)
    response = conn.read_response()
    if response.status == 100:
        for start in range(0, len(UPLOAD), BLOCK):
            conn.write(memoryview(UPLOAD)[start : start + BLOCK])
        response = conn.read_response()
    return response.status, conn.readall()


def dugong(console: Console, shown: str, arguments: list[str], folder: Path) -> None:
    """Run the command. *shown* is how one would type it."""
    console.print(f"[bold]$ dugong {shown}[/]", highlight=False)
    subprocess.run([sys.executable, "-m", "dugong", *arguments], cwd=folder, check=True)
    console.print()


@contextmanager
def running(*command: str, output: int = subprocess.DEVNULL) -> Iterator[subprocess.Popen[bytes]]:
    """Run one of the demo's other processes."""
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=HERE, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def server() -> Iterator[int]:
    """Run the demo's server at the end of a line; gives the port of the near end."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    granian = ["-m", "granian", "--interface", "asgi", "--no-ws", "--no-log"]
    with (
        running(*granian, "--port", str(port), "demo_server:app") as process,
        running("demo_line.py", str(port), output=subprocess.PIPE) as line,
    ):
        for _ in range(300):
            if process.poll() is not None:
                raise SystemExit("the demo's server did not start")
            try:
                HTTPConnection("127.0.0.1", port, timeout=5).connect()
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        assert line.stdout is not None
        yield int(line.stdout.readline())


class Figures:
    """What was done and how fast."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str, float, str]] = []
        self._started = time.perf_counter()

    def start(self) -> None:
        self._started = time.perf_counter()

    def done(self, what: str, result: str, amount: float = 0, unit: str = "") -> None:
        """Add a row: *amount* of something since the start."""
        self._rows.append((what, result, amount / (time.perf_counter() - self._started), unit))

    @property
    def failed(self) -> bool:
        return any("WRONG" in result or "INCOMPLETE" in result for _, result, *_ in self._rows)

    def table(self) -> Table:
        table = Table(title="dugong, to granian at the end of a line of 2 ms", title_style="bold")
        for column in ("what", "result"):
            table.add_column(column, no_wrap=True)
        table.add_column("rate", justify="right", no_wrap=True)
        table.add_column("")
        for what, result, rate, unit in self._rows:
            best = max(other for _, _, other, other_unit in self._rows if other_unit == unit)
            bar = Bar(best, 0, rate, width=12, color="cyan") if rate else ""
            table.add_row(what, result, f"{rate:,.0f} {unit}" if rate else "", bar)
        return table


def fetch_documents(console: Console, conn: HTTPConnection, figures: Figures) -> None:
    expected = [document(number) for number in range(len(PATHS))]
    columns = TextColumn("{task.description:40}"), BarColumn(20), MofNCompleteColumn()
    ways: list[tuple[str, Callable[[HTTPConnection], Iterator[bytes]]]]
    ways = [("one by one", one_by_one), ("pipelined", pipelined)]
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        for way, fetch in ways:
            what = f"{len(PATHS):,} documents {way}"
            bodies = progress.track(fetch(conn), len(PATHS), description=f"Fetching {what}")
            figures.start()
            same = "all bytes right" if list(bodies) == expected else "WRONG BYTES"
            figures.done(what, same, len(PATHS), "/s")


def upload_twice(console: Console, conn: HTTPConnection, figures: Figures) -> None:
    size = len(UPLOAD)
    with console.status("Uploading …"):
        figures.start()
        status, body = upload(conn, "/inbox/report")
        arrived = body == sha256(UPLOAD).hexdigest().encode()
        result = f"{status}, digest {'right' if arrived else 'WRONG'}"
        figures.done(f"{size >> 20} MiB uploaded when wanted", result, size / 1e6, "MB/s")

        before = conn.bytes_sent
        status, body = upload(conn, "/elsewhere")
        cost = conn.bytes_sent - before
        result = f"{status}, {cost} bytes sent" if cost < size else "WRONG: all of it was sent"
        figures.done(f"{size >> 20} MiB that was not wanted", result)


def use_the_command(console: Console, port: int, folder: Path, figures: Figures) -> None:
    url = f"http://127.0.0.1:{port}"
    documents = [f"{url}{path}" for path in PATHS[:2]]
    dugong(console, f"time {url}/documents/{{0,1}}", ["time", *documents], folder)
    figures.start()
    dugong(console, f"get -O {url}/film", ["get", "-O", f"{url}/film"], folder)
    size = (folder / "film").stat().st_size
    whole = "complete" if size == FILM_SIZE else "INCOMPLETE"
    figures.done(f"{size >> 20} MiB stored by dugong get", whole, size / 1e6, "MB/s")


def main() -> int:
    """Do it all, and show what was done and how fast. Returns the exit status."""
    console = Console()
    figures = Figures()
    with (
        tempfile.TemporaryDirectory() as folder,
        server() as port,
        HTTPConnection("127.0.0.1", port, timeout=30) as conn,
    ):
        conn.connect()
        fetch_documents(console, conn, figures)
        use_the_command(console, port, Path(folder), figures)
        upload_twice(console, conn, figures)
    console.print(figures.table())
    console.print(EXPLANATION)
    return 1 if figures.failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # not without stopping the server
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
