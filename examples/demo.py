"""dugong beside `requests` and `http.client`: run it with ``make demo``.

The round-trip time between the clients and the server is 2 ms, simulated by `demo_line.py`. First,
three clients do the same work. Then the command `dugong` shows where the time of
a request goes, and downloads a film. Last, a connection uploads a large body that is wanted, and
one that is not. The classes and functions at the top are the examples. The rest starts the server
and prints the results.
"""

from __future__ import annotations

import gzip
import http.client
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import requests
from demo_server import FILM_SIZE, document, page
from rich.console import Console
from rich.table import Table

from dugong import BodyFollowing, Client, HTTPConnection

HERE = Path(__file__).parent
COUNT = 500  # documents
SOME = 100  # redirects and pages
THREADS = 8
ROUNDS = 2  # of each task: the best one counts
UPLOAD = b"Every byte of this counts.\n" * (1 << 21)
BLOCK = 256 << 10

EXPLANATION = """\
dugong and granian, simulated round-trip time 2 ms. A pipeline sends requests
without waiting for the responses to earlier ones. The upload was sent after the
server had agreed (100-continue). Where the server refused it, only the head of
the request was sent. The code is in examples/demo.py."""


class WithHttpClient:
    """`http.client`: a connection for each thread; redirects and gzip are left to the program."""

    name = "http.client"

    def __init__(self, port: int) -> None:
        self._port = port
        self._of_thread = threading.local()
        self._connections: list[http.client.HTTPConnection] = []

    def _connection(self) -> http.client.HTTPConnection:
        conn: http.client.HTTPConnection | None = getattr(self._of_thread, "conn", None)
        if conn is None:
            conn = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            self._of_thread.conn = conn
            self._connections.append(conn)
        return conn

    def close(self) -> None:
        for conn in self._connections:
            conn.close()

    def get(self, path: str) -> bytes:
        conn = self._connection()
        for _ in range(10):
            conn.request("GET", path, headers={"Accept-Encoding": "gzip"})
            resp = conn.getresponse()
            body = resp.read()
            if resp.status == 302:
                path = resp.headers["Location"]
            elif resp.headers["Content-Encoding"] == "gzip":
                return gzip.decompress(body)
            else:
                return body
        raise RuntimeError("too many redirects")

    def download(self, path: str, target: Path) -> None:
        conn = self._connection()
        conn.request("GET", path)
        resp = conn.getresponse()
        with target.open("wb") as file:
            while piece := resp.read(BLOCK):
                file.write(piece)


class WithRequests:
    """`requests`, with a session that all threads share."""

    name = "requests"

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._session = requests.Session()
        self._session.trust_env = False  # the server is on this machine: no proxies
        self.close = self._session.close

    def get(self, path: str) -> bytes:
        return self._session.get(self._url + path, timeout=30).content

    def download(self, path: str, target: Path) -> None:
        url = self._url + path
        with self._session.get(url, timeout=30, stream=True) as resp, target.open("wb") as file:
            for piece in resp.iter_content(BLOCK):
                file.write(piece)


class WithDugong:
    """`dugong.Client`, which all threads share."""

    name = "dugong"

    def __init__(self, port: int) -> None:
        self._client = Client(base_url=f"http://127.0.0.1:{port}", proxy=None)
        self.close = self._client.close

    def get(self, path: str) -> bytes:
        return self._client.get(path).readall()

    def download(self, path: str, target: Path) -> None:
        buffer = memoryview(bytearray(BLOCK))
        with self._client.get(path) as resp, target.open("wb") as file:
            while count := resp.readinto(buffer):
                file.write(buffer[:count])


def pipelined(conn: HTTPConnection, paths: list[str]) -> list[bytes]:
    """Fetch documents on one connection without waiting for one before requesting the next."""
    return [conn.readall() for _ in conn.pipeline(paths)]


def upload(conn: HTTPConnection, path: str) -> tuple[int, bytes]:
    """Upload in parts, but only after the server has asked for them."""
    conn.send_request("PUT", path, body=BodyFollowing(len(UPLOAD)), expect100=True)
    response = conn.read_response()
    if response.status == 100:
        for start in range(0, len(UPLOAD), BLOCK):
            conn.write(memoryview(UPLOAD)[start : start + BLOCK])
        response = conn.read_response()
    return response.status, conn.readall()


# ------------------------------------------------------------------------- the comparison

AnyClient = WithHttpClient | WithRequests | WithDugong

#: A task returns whether every byte is right.
Task = Callable[[AnyClient], bool]

DOCUMENTS = [document(number) for number in range(COUNT)]
PATHS = [f"/documents/{number}" for number in range(COUNT)]


def one_by_one(client: AnyClient) -> bool:
    return [client.get(path) for path in PATHS] == DOCUMENTS


def in_threads(client: AnyClient) -> bool:
    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(client.get, PATHS)) == DOCUMENTS


def redirected(client: AnyClient) -> bool:
    return [client.get(f"/old/{number}") for number in range(SOME)] == DOCUMENTS[:SOME]


def compressed(client: AnyClient) -> bool:
    return all(client.get(f"/pages/{number}") == page(number) for number in range(SOME))


def downloaded(client: AnyClient, folder: Path) -> bool:
    target = folder / client.name
    client.download("/film", target)
    return target.stat().st_size == FILM_SIZE


def seconds_for(task: Callable[[], bool]) -> float | None:
    """Do a task, and return how long it took; ``None`` if the bytes are wrong."""
    started = time.perf_counter()
    is_right = task()
    return time.perf_counter() - started if is_right else None


def shown(rounds: list[float | None]) -> str:
    seconds = [each for each in rounds if each is not None]
    return f"{min(seconds):.2f} s" if len(seconds) == len(rounds) else "WRONG BYTES"


def compare(console: Console, port: int, folder: Path) -> Table:
    """Have each client do each task."""
    tasks: list[tuple[str, Task]] = [
        (f"{COUNT} documents, one by one", one_by_one),
        (f"{COUNT} documents, {THREADS} threads", in_threads),
        (f"{SOME} redirects", redirected),
        (f"{SOME} compressed pages", compressed),
        (f"a film of {FILM_SIZE >> 20} MiB", lambda client: downloaded(client, folder)),
    ]
    clients: list[AnyClient] = [WithHttpClient(port), WithRequests(port), WithDugong(port)]
    table = Table(title=f"The same work: best of {ROUNDS} rounds", title_style="bold")
    table.add_column("")
    for client in clients:
        table.add_column(client.name, justify="right", no_wrap=True)
    with console.status("") as status:
        for title, task in tasks:
            rounds: dict[str, list[float | None]] = {client.name: [] for client in clients}
            for client in clients * ROUNDS:
                status.update(f"Fetching {title} with {client.name} …")
                seconds = seconds_for(lambda client=client, task=task: task(client))
                rounds[client.name].append(seconds)
            table.add_row(title, *map(shown, rounds.values()))
        for client in clients:
            client.close()
        status.update("Fetching documents in a pipeline …")
        with HTTPConnection("127.0.0.1", port, timeout=30) as conn:
            times = [
                seconds_for(lambda: pipelined(conn, PATHS) == DOCUMENTS) for _ in range(ROUNDS)
            ]
        table.add_row(f"{COUNT} documents, pipelined", "-", "-", shown(times))
    return table


# ------------------------------------------------------------------- the command, uploads


def dugong(console: Console, shown: str, arguments: list[str], folder: Path) -> None:
    """Run the command. *shown* is what a user would type."""
    console.print(f"[bold]$ dugong {shown}[/]", highlight=False)
    subprocess.run([sys.executable, "-m", "dugong", *arguments], cwd=folder, check=True)
    console.print()


def use_the_command(console: Console, port: int, folder: Path) -> str:
    url = f"http://127.0.0.1:{port}"
    documents = [f"{url}{path}" for path in PATHS[:2]]
    dugong(console, f"time {url}/documents/{{0,1}}", ["time", *documents], folder)
    dugong(console, f"get -O {url}/film", ["get", "-O", f"{url}/film"], folder)
    size = (folder / "film").stat().st_size
    return "complete" if size == FILM_SIZE else "INCOMPLETE"


def upload_twice(console: Console, port: int) -> Iterator[tuple[str, str]]:
    """Yield what was uploaded, and the result."""
    size = len(UPLOAD)
    with console.status("Uploading …"), HTTPConnection("127.0.0.1", port, timeout=30) as conn:
        started = time.perf_counter()
        status, body = upload(conn, "/inbox/report")
        rate = size / 1e6 / (time.perf_counter() - started)
        arrived = body == sha256(UPLOAD).hexdigest().encode()
        result = f"{status}, digest {'right' if arrived else 'WRONG'}, {rate:,.0f} MB/s"
        yield f"{size >> 20} MiB uploaded", result

        before = conn.bytes_sent
        status, body = upload(conn, "/elsewhere")
        cost = conn.bytes_sent - before
        result = f"{status}, {cost} bytes sent" if cost < size else "WRONG: the whole body was sent"
        yield f"{size >> 20} MiB refused by the server", result


# ------------------------------------------------------------------------------ the server


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


def main() -> int:
    """Do everything, and print the results. Returns the exit status."""
    console = Console()
    results = Table(title="Uploads and the command", title_style="bold")
    results.add_column("")
    results.add_column("result", no_wrap=True)
    with tempfile.TemporaryDirectory() as name, server() as port:
        folder = Path(name)
        comparison = compare(console, port, folder)
        stored = use_the_command(console, port, folder)
        results.add_row(f"{FILM_SIZE >> 20} MiB downloaded by dugong get", stored)
        for row in upload_twice(console, port):
            results.add_row(*row)
    cells = [cell for table in (comparison, results) for column in table.columns
             for cell in column.cells]  # fmt: skip
    for part in (comparison, "", results, "", EXPLANATION):
        console.print(part)
    return 1 if any("WRONG" in str(cell) or "INCOMPLETE" in str(cell) for cell in cells) else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and stop the server first
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        # It may have come between two lines of any library, whose finalizers then complain.
        sys.unraisablehook = lambda _: None
        sys.exit(130)
