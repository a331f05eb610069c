"""The clients, and which work each of them can do."""

from __future__ import annotations

from dataclasses import dataclass

#: What a blocking client with one connection can do; to read into a buffer is not given to all.
SMALL = frozenset({"sequential", "drip", "connect", "import"})
LARGE = frozenset({"read", "upload_file", "upload_memory"})
BLOCKING = SMALL | LARGE
LOOPS = frozenset({"asyncio", "trio"})
COMMAND = frozenset({"get", "save", "check", "download"})

#: Download managers.
DOWNLOAD = frozenset({"download"})


@dataclass(frozen=True)
class Peer:
    """One client.

    Attributes:
        name: as shown.
        module: in `bench.clients`.
        imports: what a program imports to use it.
        work: keys of `bench.work.WORK`, and "import".
        distribution: the installed package whose version is shown; "" for Python's own, and if
            the module has a function `version`.
        environment: the folder in ``.bench`` that it is installed in.
        fraction: with many connections, it does one of so many requests, and its time counts so
            many times, for it would take minutes.
    """

    name: str
    module: str
    imports: str
    work: frozenset[str]
    distribution: str = ""
    environment: str = "peers"
    fraction: int = 1


ALL_OF_IT = BLOCKING | {"readinto", "pipelined", "resume"}

POOL = frozenset({"pool", "pool_connect", "pool_asyncio"})

#: Through clients that take URLs.
CLIENT = frozenset({"client", "client_asyncio"})

#: Through other libraries, with and without our adapters.
ADAPTED = frozenset({"get_bytes", "put_bytes"})

#: How the names of libraries with our adapter end.
ON_DUGONG = " + dugong"

LIMIT = "limit"
DUGONG = "dugong"

PEERS = {
    peer.name: peer
    for peer in (
        Peer(LIMIT, "bare", "socket", ALL_OF_IT | LOOPS),
        Peer(DUGONG, "dugong4", "dugong", ALL_OF_IT | LOOPS | POOL | CLIENT | COMMAND, "dugong"),
        Peer("dugong 3.8", "dugong3", "dugong", ALL_OF_IT, "dugong", "dugong3"),
        Peer("http.client", "http_client", "http.client", BLOCKING | {"readinto", "resume"}),
        Peer("urllib3", "urllib3_pool", "urllib3", BLOCKING | {"readinto", "client"}, "urllib3"),
        Peer(
            "requests", "requests_session", "requests", BLOCKING | ADAPTED | {"client"}, "requests"
        ),
        Peer("requests + dugong", "requests_adapted", "requests", ADAPTED | {"client"}, "requests"),
        Peer(
            "httpx", "httpx_client", "httpx", BLOCKING | LOOPS | CLIENT | ADAPTED, "httpx",
            fraction=10,
        ),
        Peer("httpx2", "httpx2_client", "httpx2", CLIENT | ADAPTED, "httpx2", fraction=10),
        Peer("httpx + dugong", "httpx_adapted", "httpx", CLIENT | ADAPTED, "httpx"),
        Peer("httpx2 + dugong", "httpx2_adapted", "httpx2", CLIENT | ADAPTED, "httpx2"),
        Peer("boto3", "boto3_client", "boto3", ADAPTED, "boto3"),
        Peer("boto3 + dugong", "boto3_adapted", "boto3", ADAPTED, "boto3"),
        Peer("httpcore", "httpcore_pool", "httpcore", BLOCKING | LOOPS, "httpcore", fraction=10),
        Peer(
            "aiohttp", "aiohttp_session", "aiohttp",
            LARGE | {"asyncio", "import", "client_asyncio"}, "aiohttp",
        ),
        Peer("pycurl", "pycurl_handle", "pycurl", BLOCKING | {"resume"}),
        Peer(
            "geventhttpclient",
            "geventhttpclient_client",
            "geventhttpclient",
            BLOCKING,
            "geventhttpclient",
        ),
        Peer(
            "niquests", "niquests_session", "niquests", BLOCKING | {"asyncio"}, "niquests",
            "niquests",
        ),
        Peer(
            "pyreqwest", "pyreqwest_client", "pyreqwest.client", BLOCKING | {"asyncio"},
            "pyreqwest",
        ),
        Peer("curl", "curl", "", COMMAND),
        Peer("wget", "wget", "", DOWNLOAD),
        Peer("aria2", "aria2", "", DOWNLOAD),
        Peer("s3transfer", "s3_downloads", "s3transfer", DOWNLOAD, "s3transfer"),
    )
}  # fmt: skip

#: Not peers in the sense of the targets.
NOT_PEERS = frozenset(
    {LIMIT, DUGONG, "dugong 3.8", *(name for name in PEERS if name.endswith(ON_DUGONG))}
)
