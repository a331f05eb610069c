"""What is measured, as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.content import MIB

GIB = 1024 * MIB

#: The work whose bodies become smaller at a smaller scale.
BULK = frozenset({"read", "readinto", "upload_file", "upload_memory", "save", "download"})

GROWTH_PEERS = ("limit", "dugong", "dugong 3.8", "http.client", "pycurl")


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        name: ``group/form``; what `CASES` of ``make bench`` is compared with.
        title: as shown.
        work: key of `bench.work.WORK`, or "import".
        server: "nginx" or "source".
        path: of the resource; ``{size}`` is filled in. See `bench.work.Job` for a final slash.
        count: number of requests.
        size: bytes of each body.
        sample: see `bench.work.Job`.
        per_request: units in one request, if what is shown is processor time for one unit; or 0.
        unit: the name of that.
        clients: who takes part; empty for all who can.
        without: who does not.
        processes: how many one round takes, of which the median counts; fewer at a smaller scale.
    """

    name: str
    title: str
    work: str
    server: str = "nginx"
    path: str = "/document"
    count: int = 1
    size: int = 0
    sample: str = "/sample"
    tls: bool = False
    resume: bool = False
    depth: int = 1
    connections: int = 1
    hosts: int = 1
    per_request: int = 0
    unit: str = ""
    clients: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    processes: int = 1

    @property
    def _least(self) -> int:
        """The fewest requests: one for each connection, unless they fetch one file in parts."""
        return 1 if self.work == "download" else max(self.connections, 1)

    def scaled(self, scale: float) -> tuple[int, int]:
        """Return the number of requests and the size of one body."""
        count, size = max(self._least, int(self.count * scale)), self.size
        if size and self.work in BULK:
            size = max(4096, int(size * scale))
        return count, size

    def units(self, scale: float) -> int:
        """Return by what to divide for the cost of one unit."""
        return self.scaled(scale)[0] * self.per_request

    def job(self, scale: float, file: str, fraction: int = 1) -> dict[str, Any]:
        """Return the arguments of `bench.work.Job`; of the requests, one in *fraction* is made."""
        count, size = self.scaled(scale)
        count = max(count // fraction, self._least)
        return {
            "path": self.path.format(size=size),
            "count": count,
            "size": size,
            "sample": self.sample,
            "depth": self.depth,
            "connections": self.connections,
            "hosts": self.hosts,
            "file": file,
        }


def downloads() -> list[Case]:
    forms = [
        ("plain", "plain", "nginx", "/large", "/sample", False),
        ("tls", "TLS", "nginx", "/large", "/sample", True),
        ("chunked-8k", "8 KiB chunks", "source", "/chunked/8192/{size}",
         f"/chunked/8192/{MIB}", False),
        ("chunked-1m", "1 MiB chunks", "source", f"/chunked/{MIB}/{{size}}",
         f"/chunked/{MIB}/{MIB}", False),
    ]  # fmt: skip
    return [
        Case(f"download/{form}/{way}", f"download 1 GiB, {title}, {way}", way,
             server=server, path=path, sample=sample, size=GIB, tls=tls)
        for form, title, server, path, sample, tls in forms
        for way in ("readinto", "read")
    ]  # fmt: skip


def uploads() -> list[Case]:
    return [
        Case(f"upload/{source}/{form}", f"upload 1 GiB from {origin}, {title}", f"upload_{source}",
             server="source", path="/sink", sample="/digest", size=GIB, tls=tls)
        for source, origin in (("file", "a file"), ("memory", "memory"))
        for form, title, tls in (("plain", "plain", False), ("tls", "TLS", True))
    ]  # fmt: skip


def concurrent() -> list[Case]:
    return [
        Case(f"{loop}/{connections}", f"{loop}, {connections:,} connections, 20,000 GETs", loop,
             count=20_000, connections=connections,
             # Each request of httpcore's pool looks at all connections: this would take hours.
             without=("httpx", "httpcore") if connections > 50 else ())
        for loop in ("asyncio", "trio")
        for connections in (50, 1000)
    ]  # fmt: skip


def growth() -> list[Case]:
    return [
        *(
            Case(f"growth/requests/{depth}", f"{depth:,} in flight: CPU per request", "pipelined",
                 count=20_000, depth=depth, per_request=1, unit="request",
                 clients=GROWTH_PEERS[:3])
            for depth in (1, 100, 10_000)
        ),
        *(
            Case(f"growth/fields/{fields}", f"{fields} fields: CPU per field", "sequential",
                 server="source", path=f"/fields/{fields}", count=50_000 // fields,
                 per_request=fields, unit="field",
                 # http.client takes at most 100, and dugong 3.8 is built on it.
                 clients=GROWTH_PEERS if fields < 100 else ("limit", "dugong", "pycurl"))
            for fields in (5, 50, 500)
        ),
        *(
            Case(f"growth/drip/{size}", f"{size:,} bytes dripped: CPU per byte", "drip",
                 server="source", path=f"/drip/64/{size}", count=1_000_000 // size, size=size,
                 per_request=size, unit="byte", clients=GROWTH_PEERS)
            for size in (10_000, 100_000, 1_000_000)
        ),
    ]  # fmt: skip


def commands() -> list[Case]:
    return [
        Case("command/get/tiny", "get 100 bytes", "get", processes=10),
        Case("command/get/large", "get 1 GiB to a file", "save", path="/large", size=GIB),
        Case("command/get/small", "get 2,000 small files", "save", path="/copies/", count=2000),
        Case("command/get/hosts", "get 1,000 URLs, on 20 hosts in turn", "get", path="/copies/",
             count=1000, hosts=20),
        Case("command/check", "check 300 URLs of a host, 20 ms each", "check", server="source",
             path="/slow/20/", count=300),
    ]  # fmt: skip


def transfers() -> list[Case]:
    """Onto a disk. dugong flushes each file to it; the others leave that to the system."""
    return [
        Case("transfer/large", "download 1 GiB", "download", path="/bucket/large", size=GIB),
        Case("transfer/parts", "download 1 GiB in four parts", "download",
             path="/bucket/large", size=GIB, connections=4, without=("curl", "wget")),
        Case("transfer/small", "download 2,000 small files, 8 at a time", "download",
             path="/copies/", count=2000, connections=8, without=("wget",)),
    ]  # fmt: skip


def pools() -> list[Case]:
    """Through a pool. Other clients always use theirs, in the rows without one."""
    return [
        Case("pool/sequential", "10,000 GETs one by one, through a pool", "pool", count=10_000),
        *(
            Case(f"pool/asyncio/{tasks}",
                 f"asyncio, {tasks:,} tasks on 50 connections, 20,000 GETs: CPU per request",
                 "pool_asyncio", count=20_000, connections=tasks, per_request=1, unit="request")
            for tasks in (50, 5000)
        ),
        Case("pool/connect/plain", "1,000 connections through a pool, plain", "pool_connect",
             count=1000),
        Case("pool/connect/tls", "300 connections through a pool, TLS resumed", "pool_connect",
             count=300, tls=True),
    ]  # fmt: skip


def clients() -> list[Case]:
    """Through clients that take URLs, dugong's own among them."""
    return [
        Case("client/sequential", "10,000 GETs one by one, by URL", "client", count=10_000),
        Case("client/asyncio/50", "asyncio, 50 connections, 20,000 GETs by URL", "client_asyncio",
             count=20_000, connections=50),
    ]  # fmt: skip


def adapters() -> list[Case]:
    """Through other libraries, with and without our adapters. See `clients`, too."""
    return [
        Case(f"adapter/{way}/{name}", f"{verb} {title}, through a library", f"{way}_bytes",
             server="source", path=path, sample=sample, count=count, size=size)
        for way, verb, path, sample in (
            ("get", "GET", "/bytes/{size}/0", f"/bytes/{MIB}/0"),
            ("put", "PUT", "/sink/object", "/digest/object"),
        )
        for name, title, size, count in (
            ("1k", "1 KiB", 1024, 2000),
            ("64m", "64 MiB", 64 * MIB, 16),
        )
    ]  # fmt: skip


CASES = [
    Case("sequential", "10,000 GETs one by one", "sequential", count=10_000),
    Case("pipelined", "50,000 GETs, 100 in flight", "pipelined", count=50_000, depth=100),
    # A client may remember the head that it has parsed last.
    Case("new-heads/sequential", "one by one, no two heads alike", "sequential", count=10_000,
         path="/new-head"),
    Case("new-heads/pipelined", "100 in flight, no two heads alike", "pipelined", count=50_000,
         path="/new-head", depth=100),
    *downloads(),
    *uploads(),
    *concurrent(),
    Case("connect/plain", "1,000 connections, plain", "connect", count=1000),
    Case("connect/tls", "300 connections, TLS", "connect", count=300, tls=True),
    Case("connect/resumed", "300 connections, TLS resumed", "resume", count=300, tls=True,
         resume=True),
    Case("import", "import", "import", processes=10),
    *pools(),
    *clients(),
    *adapters(),
    *growth(),
    *commands(),
    *transfers(),
]  # fmt: skip
