"""One class for each client: a session with one server, and one exchange after another in it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

#: The time limit of each client, in seconds without progress.
TIMEOUT = 3.0


@dataclass
class Reply:
    """What a client makes of a response. *interim* and *trailers* are what it lets one see."""

    status: int
    body: bytes
    interim: list[int] = field(default_factory=list)
    trailers: dict[str, str] = field(default_factory=dict)


@dataclass
class Setting:
    """How a session is to be.

    Attributes:
        port: of 127.0.0.1.
        cafile: whom to trust, with TLS; ``None`` without.
        limit: seconds that one exchange may take as a whole, if the client has that.
        expect: whether to ask before the body is sent, if the client has that.
        browser: whether to follow redirects, keep cookies and decompress, if the client has that.
    """

    port: int
    cafile: str | None = None
    limit: float | None = None
    expect: bool = False
    browser: bool = False

    @property
    def url(self) -> str:
        return f"http{'s' if self.cafile else ''}://127.0.0.1:{self.port}"

    @property
    def context(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=self.cafile) if self.cafile else None


class Client:
    """A session.

    Attributes:
        package: its distribution, if it is not a part of Python.
    """

    package: str | None = None

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    def do(
        self, method: str, path: str, fields: Mapping[str, str], body: bytes | None = None
    ) -> Reply:
        raise NotImplementedError

    def twice(self) -> None:
        """Make two exchanges at the same time, if it can over one connection."""
        with ThreadPoolExecutor(2) as pool:
            for future in [pool.submit(self.do, "GET", "/", {}) for _ in range(2)]:
                with contextlib.suppress(Exception):  # the second connection is refused
                    future.result()

    def close(self) -> None:
        raise NotImplementedError

    @staticmethod
    def can_readinto() -> bool:
        return False

    @staticmethod
    async def fetch(url: str) -> int:
        """Make an exchange by an async method, and return the status."""
        raise NotImplementedError

    @classmethod
    def dependencies(cls) -> list[str]:
        """Return the packages that have to be installed with it."""
        required = metadata.requires(cls.package) or [] if cls.package else []
        return [line.split(";")[0] for line in required if "extra ==" not in line]


class Dugong(Client):
    """A connection; if redirects, cookies or decompression are wanted, a `dugong.Client`."""

    package = "dugong"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        import dugong

        self._conn = dugong.HTTPConnection(
            "127.0.0.1", setting.port, setting.context, timeout=TIMEOUT
        )
        self._client = dugong.Client(
            base_url=setting.url, verify=setting.cafile or True, timeout=TIMEOUT, proxy=None
        )

    def do(
        self, method: str, path: str, fields: Mapping[str, str], body: bytes | None = None
    ) -> Reply:
        if self.setting.browser:
            answer = self._client.request(method, path, headers=fields, body=body)
            return Reply(answer.status, answer.readall())
        resp = self._conn.request(
            method, path, fields, body, expect100=self.setting.expect, deadline=self.setting.limit
        )
        data = self._conn.readall()
        interim = [one.status for one in resp.informational]
        return Reply(resp.status, data, interim, dict(resp.trailers.items()))

    def twice(self) -> None:
        for _ in range(2):
            self._conn.send_request("GET", "/")
        for _ in range(2):
            self._conn.read_response()
            self._conn.discard()

    def close(self) -> None:
        self._conn.disconnect()
        self._client.close()

    @staticmethod
    async def fetch(url: str) -> int:
        from dugong import AsyncHTTPConnection

        async with AsyncHTTPConnection("127.0.0.1", int(url.rpartition(":")[2])) as conn:
            return (await conn.request("GET", "/")).status

    @staticmethod
    def can_readinto() -> bool:
        from dugong import HTTPConnection

        return hasattr(HTTPConnection, "readinto")


class HttpClient(Client):
    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        from http.client import HTTPConnection, HTTPSConnection

        timeout = setting.limit or TIMEOUT
        if setting.context is None:
            self._conn = HTTPConnection("127.0.0.1", setting.port, timeout=timeout)
        else:
            self._conn = HTTPSConnection(
                "127.0.0.1", setting.port, context=setting.context, timeout=timeout
            )

    def do(
        self, method: str, path: str, fields: Mapping[str, str], body: bytes | None = None
    ) -> Reply:
        self._conn.request(method, path, body, _expecting(self, fields))
        resp = self._conn.getresponse()
        data = resp.read()
        # An interim response that is not 100 is taken for the response.
        return Reply(resp.status, data, trailers=getattr(resp, "trailers", {}))

    def twice(self) -> None:
        for _ in range(2):
            self._conn.request("GET", "/")

    def close(self) -> None:
        self._conn.close()

    @staticmethod
    def can_readinto() -> bool:
        from http.client import HTTPResponse

        return _defines_readinto(HTTPResponse)


class Urllib3(Client):
    package = "urllib3"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        import urllib3

        timeout = urllib3.Timeout(total=setting.limit or TIMEOUT)
        self._pool = urllib3.PoolManager(
            ca_certs=setting.cafile,
            timeout=timeout,
            maxsize=1,
            retries=None if setting.browser else False,
        )

    def do(
        self, method: str, path: str, fields: Mapping[str, str], body: bytes | None = None
    ) -> Reply:
        url = self.setting.url + path
        resp = self._pool.request(method, url, body=body, headers=_expecting(self, fields))
        return Reply(resp.status, resp.data, trailers=getattr(resp, "trailers", {}))

    def close(self) -> None:
        self._pool.clear()

    @staticmethod
    def can_readinto() -> bool:
        from urllib3 import HTTPResponse

        return _defines_readinto(HTTPResponse)


class Requests(Client):
    package = "requests"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        import requests

        self._session = requests.Session()
        self._session.trust_env = False  # else a variable's certificates go before `verify`
        self._session.verify = setting.cafile or True

    def do(
        self, method: str, path: str, fields: Mapping[str, str], body: bytes | None = None
    ) -> Reply:
        resp = self._session.request(
            method, self.setting.url + path, headers=_expecting(self, fields), data=body,
            timeout=self.setting.limit or TIMEOUT, allow_redirects=self.setting.browser,
        )  # fmt: skip
        return Reply(resp.status_code, resp.content, trailers=getattr(resp, "trailers", {}))

    def close(self) -> None:
        self._session.close()

    @staticmethod
    def can_readinto() -> bool:
        from urllib3 import HTTPResponse  # which is what `Response.raw` is

        return _defines_readinto(HTTPResponse)


class Httpx(Client):
    package = "httpx"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        import httpx

        self._client = httpx.Client(
            timeout=setting.limit or TIMEOUT,
            verify=setting.context or True,
            trust_env=False,
            follow_redirects=setting.browser,
        )

    def do(
        self, method: str, path: str, fields: Mapping[str, str], body: bytes | None = None
    ) -> Reply:
        resp = self._client.request(
            method, self.setting.url + path, headers=_expecting(self, fields), content=body
        )
        trailers = resp.extensions.get("trailers", {})
        return Reply(resp.status_code, resp.content, trailers=trailers)

    def close(self) -> None:
        self._client.close()

    @staticmethod
    async def fetch(url: str) -> int:
        import httpx

        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(url)).status_code

    @staticmethod
    def can_readinto() -> bool:
        import httpx

        return hasattr(httpx.Response, "readinto")


class Aiohttp(Client):
    package = "aiohttp"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._runner = asyncio.Runner()
        self._session = self._runner.run(self._open())

    async def _open(self) -> Any:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=self.setting.limit or TIMEOUT)
        connector = aiohttp.TCPConnector(limit=1, ssl=self.setting.context or True)
        jar = aiohttp.CookieJar(unsafe=True)  # from numeric addresses too
        return aiohttp.ClientSession(timeout=timeout, connector=connector, cookie_jar=jar)

    def do(
        self, method: str, path: str, fields: Mapping[str, str], body: bytes | None = None
    ) -> Reply:
        return self._runner.run(self._do(method, path, fields, body))

    async def _do(
        self, method: str, path: str, fields: Mapping[str, str], body: bytes | None
    ) -> Reply:
        async with self._session.request(
            method, self.setting.url + path, headers=fields, data=body,
            expect100=self.setting.expect, allow_redirects=self.setting.browser,
        ) as resp:  # fmt: skip
            data = await resp.read()
            return Reply(resp.status, data, trailers=getattr(resp, "trailers", {}))

    def twice(self) -> None:
        async def both() -> None:
            exchanges = (self._do("GET", "/", {}, None) for _ in range(2))
            await asyncio.gather(*exchanges, return_exceptions=True)

        self._runner.run(both())

    def close(self) -> None:
        self._runner.run(self._session.close())
        self._runner.close()

    @staticmethod
    async def fetch(url: str) -> int:
        import aiohttp

        async with aiohttp.ClientSession() as session, session.get(url) as resp:
            return resp.status

    @staticmethod
    def can_readinto() -> bool:
        import aiohttp

        return hasattr(aiohttp.StreamReader, "readinto")


class Pycurl(Client):
    package = "pycurl"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        import pycurl

        self._curl = pycurl.Curl()

    def do(
        self, method: str, path: str, fields: Mapping[str, str], body: bytes | None = None
    ) -> Reply:
        import pycurl

        curl, received, lines = self._curl, io.BytesIO(), []
        curl.reset()
        if self.setting.browser:
            curl.setopt(pycurl.FOLLOWLOCATION, True)
            curl.setopt(pycurl.COOKIEFILE, "")
            curl.setopt(pycurl.ACCEPT_ENCODING, "")
        curl.setopt(pycurl.URL, self.setting.url + path)
        curl.setopt(pycurl.CUSTOMREQUEST, method)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.TIMEOUT_MS, int(1000 * (self.setting.limit or TIMEOUT)))
        given = [f"{name}: {value}" for name, value in fields.items()]
        if not self.setting.expect:
            given.append("Expect:")  # otherwise it asks before it sends a large body
        curl.setopt(pycurl.HTTPHEADER, given)
        if self.setting.cafile:
            curl.setopt(pycurl.CAINFO, self.setting.cafile)
        if body is not None:
            curl.setopt(pycurl.UPLOAD, True)
            curl.setopt(pycurl.READDATA, io.BytesIO(body))
            curl.setopt(pycurl.INFILESIZE, len(body))
        curl.setopt(pycurl.WRITEFUNCTION, received.write)
        curl.setopt(pycurl.HEADERFUNCTION, lambda line: lines.append(line.decode("latin-1")))
        curl.perform()
        status = curl.getinfo(pycurl.RESPONSE_CODE)
        starts = [int(line.split()[1]) for line in lines if line.startswith("HTTP/")]
        end = lines.index("\r\n") if "\r\n" in lines else len(lines)
        after = dict(line.strip().split(": ", 1) for line in lines[end:] if ": " in line)
        return Reply(status, received.getvalue(), starts[:-1], after)

    def twice(self) -> None:
        import pycurl

        multi = pycurl.CurlMulti()
        multi.setopt(pycurl.M_PIPELINING, 1)  # without effect since libcurl 7.62
        multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, 1)
        handles = [pycurl.Curl() for _ in range(2)]
        for curl in handles:
            curl.setopt(pycurl.URL, self.setting.url)
            curl.setopt(pycurl.WRITEFUNCTION, lambda data: None)
            multi.add_handle(curl)
        running = 1
        while running:
            _, running = multi.perform()
            multi.select(0.1)

    def close(self) -> None:
        self._curl.close()


def _expecting(client: Client, fields: Mapping[str, str]) -> dict[str, str]:
    """Add the field by hand for clients that have no setting for it."""
    return {**fields, "Expect": "100-continue"} if client.setting.expect else dict(fields)


def _defines_readinto(kind: type) -> bool:
    """Whether *kind* itself receives into a buffer; the base classes of `io` copy."""
    makers = (one.__module__ for one in kind.__mro__ if "readinto" in vars(one))
    return next(makers, "io") not in ("io", "_io")


CLIENTS: dict[str, type[Client]] = {
    "dugong": Dugong,
    "http.client": HttpClient,
    "urllib3": Urllib3,
    "requests": Requests,
    "httpx": Httpx,
    "aiohttp": Aiohttp,
    "pycurl": Pycurl,
}
