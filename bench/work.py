"""The work itself: the same loops around every client's operations.

Everything received is checked, so no client is fast by leaving something out. Each function is
given the client's module and a `Job`, and warms up before the clock runs.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from filecmp import cmp
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import ModuleType, SimpleNamespace, TracebackType
from typing import Any

from bench.clients import Target
from bench.content import BLOCK, BUFFER_SIZE, DOCUMENT, HOSTS, MIB, VALUE

#: Small requests made before the clock runs.
WARM_UP = 100


@dataclass
class Clock:
    """Measures what is done in a ``with`` block: seconds, and seconds of processor time."""

    wall: float = 0.0
    cpu: float = 0.0

    def __enter__(self) -> None:
        self.wall, self.cpu = -time.perf_counter(), -time.process_time()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.wall += time.perf_counter()
        self.cpu += time.process_time()


@dataclass
class Job:
    """What is to be done.

    Attributes:
        path: of the resource. If it ends with a slash, commands add the number of the request.
        count: how many requests.
        size: bytes of each body, where it is not the document.
        sample: path that gives `BLOCK`, or takes it and answers its SHA-256.
        depth: requests in flight.
        connections: how many at the same time.
        hosts: how many, which the requests go to in turn.
        file: path of a file of *size* bytes.
        clock: has the time that the work took.
        memory: the largest resident set of a process that did the work, in bytes; 0 if this one
            does it.
    """

    target: Target
    path: str
    count: int = 1
    size: int = 0
    sample: str = ""
    depth: int = 1
    connections: int = 1
    hosts: int = 1
    file: str = ""
    clock: Clock = field(default_factory=Clock)
    memory: int = 0

    def urls(self) -> list[str]:
        """Return the URL of each request."""
        hosts = [replace(self.target, host=host) for host in HOSTS[: self.hosts]]
        numbered = self.path.endswith("/")
        return [
            hosts[n % self.hosts].url(f"{self.path}{n if numbered else ''}")
            for n in range(self.count)
        ]


def check(found: tuple[int, str | None, bytes]) -> None:
    """Make sure that it is the document that came."""
    status, value, body = found
    if status != 200 or value != VALUE or body != DOCUMENT:
        raise AssertionError(found)


def sequential(module: ModuleType, job: Job) -> None:
    with module.Client(job.target) as client:
        for _ in range(min(WARM_UP, job.count)):
            check(client.get(job.path))
        with job.clock:
            for _ in range(job.count):
                check(client.get(job.path))


def connect(module: ModuleType, job: Job) -> None:
    with module.Client(job.target) as client:
        for _ in range(min(10, job.count)):
            check(client.get_anew(job.path))
        with job.clock:
            for _ in range(job.count):
                check(client.get_anew(job.path))
        if job.target.resume and hasattr(client, "context") and not client.context.resumed:
            raise AssertionError("no session was resumed")


def pipelined(module: ModuleType, job: Job) -> None:
    checked = 0

    def count_checked(found: tuple[int, str | None, bytes]) -> None:
        nonlocal checked
        check(found)
        checked += 1

    module.pipeline(job.target, job.path, min(WARM_UP, job.count), job.depth, check)
    with job.clock:
        module.pipeline(job.target, job.path, job.count, job.depth, count_checked)
    if checked != job.count and not module.Client.takes_framing:
        raise AssertionError(checked)


def drip(module: ModuleType, job: Job) -> None:
    with module.Client(job.target) as client:
        with job.clock:
            bodies = [client.get(job.path)[2] for _ in range(job.count)]
        for body in bodies:
            if len(body) != job.size:
                raise AssertionError(len(body))


class Counter:
    """Counts the bytes that it is given."""

    total = 0

    def take(self, piece: bytes | memoryview) -> None:
        self.total += len(piece)


def download(module: ModuleType, job: Job, way: str) -> None:
    with module.Client(job.target) as client:
        read: Callable[[str, Any], None] = client.read
        if way == "readinto":
            buffer = bytearray(BUFFER_SIZE)
            read = lambda path, take: client.readinto(path, buffer, take)  # noqa: E731
        framed = client.takes_framing
        digest = sha256()
        read(job.sample, digest.update)
        if not framed and digest.digest() != sha256(BLOCK).digest():
            raise AssertionError("not the bytes that were sent")
        counter = Counter()
        with job.clock:
            read(job.path, counter.take)
        if counter.total != job.size and not (framed and counter.total > job.size):
            raise AssertionError(counter.total)


def upload(module: ModuleType, job: Job, source: str) -> None:
    sample = Path(job.file).with_name("sample")
    with module.Client(job.target) as client:
        if source == "file":
            with sample.open("rb") as file:
                answer = client.upload_file(job.sample, file, MIB)
        else:
            answer = client.upload_memory(job.sample, BLOCK)
        if answer != (200, sha256(BLOCK).hexdigest().encode()):
            raise AssertionError(answer)
        if source == "file":
            with Path(job.file).open("rb") as file, job.clock:
                answer = client.upload_file(job.path, file, job.size)
        else:
            data = Path(job.file).read_bytes()
            with job.clock:
                answer = client.upload_memory(job.path, data)
        if answer != (200, str(job.size).encode()):
            raise AssertionError(answer)


def get_bytes(module: ModuleType, job: Job) -> None:
    with module.Client(job.target) as client:
        digest = sha256()
        client.read(job.sample, digest.update)
        if digest.digest() != sha256(BLOCK).digest():
            raise AssertionError("not the bytes that were sent")
        counter = Counter()
        with job.clock:
            for _ in range(job.count):
                client.read(job.path, counter.take)
        if counter.total != job.size * job.count:
            raise AssertionError(counter.total)


def put_bytes(module: ModuleType, job: Job) -> None:
    data = (BLOCK * (job.size // MIB + 1))[: job.size]
    right = (200, str(job.size).encode())
    with module.Client(job.target) as client:
        answer = client.upload_memory(job.sample, BLOCK)
        if answer != (200, sha256(BLOCK).hexdigest().encode()):
            raise AssertionError(answer)
        with job.clock:
            for _ in range(job.count):
                answer = client.upload_memory(job.path, data)
                if answer != right:
                    raise AssertionError(answer)


async def fetch(client: Any, job: Job, worker: int, count: int) -> None:
    for _ in range(count):
        check(await client.get(worker, job.path))


def in_asyncio(module: ModuleType, job: Job) -> None:
    import asyncio

    async def all_fetch(client: Any, count: int) -> None:
        async with asyncio.TaskGroup() as group:
            for worker in range(job.connections):
                group.create_task(fetch(client, job, worker, count))

    async def main() -> None:
        async with module.AsyncioClient(job.target, job.connections) as client:
            await all_fetch(client, 1)  # connects
            with job.clock:
                await all_fetch(client, job.count // job.connections)

    asyncio.run(main())


def in_trio(module: ModuleType, job: Job) -> None:
    import trio

    async def all_fetch(client: Any, count: int) -> None:
        async with trio.open_nursery() as nursery:
            for worker in range(job.connections):
                nursery.start_soon(fetch, client, job, worker, count)

    async def main() -> None:
        async with module.TrioClient(job.target, job.connections) as client:
            await all_fetch(client, 1)  # connects
            with job.clock:
                await all_fetch(client, job.count // job.connections)

    trio.run(main)


#: Where commands write their files, if it exists: in memory, because flushing to the disk, as
#: dugong does and curl does not, takes longer than everything else.
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - only a folder with a random name is made there


def command(module: ModuleType, job: Job, operation: str) -> None:
    urls = job.urls()
    if operation == "download":
        (arguments, stdin), directory = module.download(urls, job.connections), None
    else:
        arguments, stdin = getattr(module, operation)(urls)
        directory = IN_MEMORY if IN_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=directory) as name:
        folder = Path(name)
        output = folder / "output"
        running = str(Path(__file__).with_name("running.py"))
        done = subprocess.run(
            [sys.executable, "-I", "-S", running, str(output), *arguments],
            cwd=folder, input=stdin, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise AssertionError(f"exit status {done.returncode}: {done.stderr.strip()[-500:]}")
        figures = json.loads(done.stdout)
        job.clock = Clock(figures["wall"], figures["cpu"])
        job.memory = figures["memory"]
        if operation == "get":
            right = output.read_bytes() == DOCUMENT * job.count
        elif operation in ("save", "download"):
            original = Path(job.file) if job.size else Path(job.file).with_name("document")
            right = all(cmp(folder / url.rpartition("/")[2], original, False) for url in urls)
        else:
            right = sorted(re.findall(r"(http\S+): 200\b", output.read_text())) == sorted(urls)
        if not right:
            raise AssertionError(f"not what was asked for: {arguments[:4]}")


def pooled(work: Callable[[ModuleType, Job], None], module: ModuleType, job: Job) -> None:
    """Do the same through the client's pool."""
    through: Any = SimpleNamespace(Client=module.PoolClient, AsyncioClient=module.AsyncioPoolClient)
    work(through, job)


def by_url(work: Callable[[ModuleType, Job], None], module: ModuleType, job: Job) -> None:
    """Do the same through `dugong.Client`. The other clients take URLs anyway."""
    through: Any = module
    if hasattr(module, "ByURL"):
        through = SimpleNamespace(Client=module.ByURL, AsyncioClient=module.AsyncioByURL)
    work(through, job)


WORK: dict[str, Callable[[ModuleType, Job], None]] = {
    "sequential": sequential,
    "pipelined": pipelined,
    "read": partial(download, way="read"),
    "readinto": partial(download, way="readinto"),
    "upload_file": partial(upload, source="file"),
    "upload_memory": partial(upload, source="memory"),
    "get_bytes": get_bytes,
    "put_bytes": put_bytes,
    "asyncio": in_asyncio,
    "trio": in_trio,
    "connect": connect,
    "resume": connect,
    "drip": drip,
    "get": partial(command, operation="get"),
    "save": partial(command, operation="save"),
    "check": partial(command, operation="check"),
    "download": partial(command, operation="download"),
    "pool": partial(pooled, sequential),
    "pool_connect": partial(pooled, connect),
    "pool_asyncio": partial(pooled, in_asyncio),
    "client": partial(by_url, sequential),
    "client_asyncio": partial(by_url, in_asyncio),
}
