"""`Client`: requests and transfers, in blocking code. `AsyncClient` is in `aio`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from ..client.client import BaseClient, C, P, R, RequestClient
from ..client.response import Response
from ..connection.leased import LeasedHTTPConnection
from ..pool.pool import Pool
from ..transport.poll import run
from .limits import LIMIT, MAX_BODY, PER_HOST, WINDOW

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable
    from typing import BinaryIO, TypeAlias, Unpack

    from ..client.authentication import Auth
    from ..client.client import Options
    from ..client.redirects import Redirects
    from ..client.retries import Retry
    from ..client.url import Pairs
    from ..protocol.messages import HeadersArgument, WholeBody
    from ..transport.poll import Co
    from ..transport.timeouts import Timeouts
    from ..transport.within import Unset
    from .digests import Digests
    from .download import Download
    from .many import Many, Sink, Wanted

    Path: TypeAlias = str | os.PathLike[str]
    Progress: TypeAlias = Callable[[int, int | None], object]

    class DownloadOptions(TypedDict, total=False):
        """The keyword arguments of a request that a download may have."""

        params: Pairs | None
        headers: HeadersArgument | None
        auth: Auth | Unset | None
        timeout: float | Timeouts | Unset | None
        deadline: float | None
        redirects: Redirects | int | Unset | None
        retries: Retry | int | Unset | None


class Transfers(BaseClient[C, P, R]):
    """The coroutines of transfers, for all clients."""

    def co_download(
        self,
        url: str,
        target: Path | BinaryIO,
        *,
        resume: bool = True,
        parts: int = 1,
        digest: Digests | None = None,
        progress: Progress | None = None,
        **options: Unpack[DownloadOptions],
    ) -> Co[Download]:
        """Coroutine of `Client.download`; returns the `Download`."""
        from .download import co_download  # most clients only send requests

        return co_download(
            self,
            url,
            target,
            resume=resume,
            parts=parts,
            digest=digest,
            progress=progress,
            options={**options},
        )

    def co_upload(
        self,
        source: Path | WholeBody,
        url: str,
        *,
        method: str = "PUT",
        progress: Progress | None = None,
        **options: Unpack[Options],
    ) -> Co[R]:
        """Coroutine of `Client.upload`; returns the response."""
        from .upload import co_upload

        return co_upload(self, source, url, method=method, progress=progress, options={**options})


class Client(RequestClient, Transfers[LeasedHTTPConnection, Pool, Response]):
    """Requests for URLs, with redirects, cookies, retries, forms, content codings and a pool.

    ::

        with Client(base_url="https://api.example.org") as client:
            user = client.get("users/1").raise_for_status().json()

    Thread-safe: threads share one client. `request` lists what a single request can override.

    Args:
        base_url: relative URLs are appended to its path, with one ``/`` in between.
        headers: fields of every request: a mapping or pairs. A value of ``None`` leaves out a field
            that would otherwise be added, such as ``User-Agent``.
        params: query parameters of every request.
        timeout: seconds that one wait without progress may take; a `Timeouts`, or ``None``.
        deadline: seconds for everything: waiting for the pool, connecting, redirects, retries and
            reading the body to its end; ``None`` for no limit.
        redirects: a `Redirects`, the most redirects to follow, or ``None`` to follow none.
        retries: a `Retry`, the most retries, or ``None`` for none.
        auth: ``(user, password)`` for the scheme Basic, a callable that gets the request and
            returns fields, or ``'netrc'``.
        cookies: an `http.cookiejar.CookieJar`, ``None`` for none. By default, the client has its
            own.
        decode: whether content codings are decoded.
        proxy: a proxy as for `HTTPConnection`; ``None`` for none. By default, the environment
            determines it, as for curl.
        proxy_headers: fields for the proxy, when it opens a tunnel.
        verify: how the certificates of servers are verified. True: by the authorities of the
            system (on macOS and Windows, these need the extra ``truststore``). The path of a file
            in PEM form, or of a directory as for ``openssl rehash``: by these authorities. An
            `ssl.SSLContext` is used as it is. False verifies nothing. An https proxy is always
            verified, by the authorities of the system.
        cert: the client's own certificate and key, in PEM form: ``(file, key)``, or one file with
            both. It is not offered to a proxy.
        allow: a callable that approves each address before it is connected to, or ``'public'``.
        unix_socket: the path of a Unix socket to connect to.
        source_address: the local host and port to connect from.
        socket_options: arguments of `socket.socket.setsockopt`.
        continue_timeout: seconds to wait for a 100 (Continue).
        resolve: a callable that gets host name and port and returns addresses, or a mapping.
        family: 4 or 6, for IPv4 or IPv6 only.
        rate: the most bytes to receive per second.
        max_body: the most decoded bytes that `Response.readall`, `Response.text` and
            `Response.json` return.
        pool: a pool to share. By default, the client has its own, which `close` closes.
        on_event: called with an `Event` for each step of a request.

    An exception that a callable raises ends the request, and passes through unchanged.

    Raises:
        TypeError: an argument has the wrong type.
        InvalidRequest: an argument is not valid.
    """

    def download(
        self,
        url: str,
        target: Path | BinaryIO,
        *,
        resume: bool = True,
        parts: int = 1,
        digest: Digests | None = None,
        progress: Progress | None = None,
        **options: Unpack[DownloadOptions],
    ) -> Download:
        """Download a resource to a file.

        A file is written to ``target.part``, and gets its name when it is complete and on the disk.
        If the connection is cut, the download continues where it ended, now or in a later run.
        Bytes of two versions never end up in one file.

        Args:
            url: as for `request`.
            target: the path of a file, or an open binary file, which is written from its position.
            resume: whether an existing file may count as complete, and whether the partial download
                of an earlier run is continued. A file is complete if its digests match; without
                *digest*, if its size and time are those that the server reports.
            parts: over how many connections the file is fetched, if the server supports that.
            digest: the expected digests of the whole file, such as ``{"sha-256": "9f86…"}``, as
                hexadecimal text or bytes. Those that the server sends (``Repr-Digest``, RFC 9530)
                are checked, too.
            progress: called with two numbers: the bytes that have been received, and those of the
                whole file or ``None``.
            options: keyword arguments of `request`. *retries* also limits the attempts in a row
                that add no byte, which are 5 by default: with 0, nothing is continued in this call.

        Returns:
            A `Download`.

        Raises:
            TypeError, InvalidRequest: an argument is not valid. Nothing was sent.
            StatusError: the server refuses the request.
            DigestMismatch: the file does not have an expected digest. It is removed.
            InvalidResponse: a response contradicts the request, or the resource keeps changing.
            StateError: another process is downloading to the same path, or a file beside it has the
                name of a part and was not made by dugong.
            OSError: the file cannot be written.
            DugongError: as for `request`. What was received stays in ``target.part``, if a later
                call can continue it.
        """
        crt = self.co_download(
            url, target, resume=resume, parts=parts, digest=digest, progress=progress, **options
        )
        return run(crt, None, None, None)

    def upload(
        self,
        source: Path | WholeBody,
        url: str,
        *,
        method: str = "PUT",
        progress: Progress | None = None,
        **options: Unpack[Options],
    ) -> Response:
        """Upload a file.

        Large files are only sent after the server has agreed (``Expect: 100-continue``), unless it
        does not support that.

        Args:
            source: the path of a file, an open binary file, or anything that can be a body.
            url: as for `request`.
            method: the method.
            progress: called with two numbers: the bytes that have been sent, and those of the whole
                body or ``None``.
            options: keyword arguments of `request`.

        Returns:
            The response, with any status.

        Raises:
            OSError: the file cannot be opened.
            DugongError: as for `request`.
        """
        crt = self.co_upload(source, url, method=method, progress=progress, **options)
        return run(crt, None, None, None)

    def many(
        self,
        requests: Iterable[Wanted],
        *,
        limit: int = LIMIT,
        per_host: int = PER_HOST,
        max_body: int | None = MAX_BODY,
        sink: Sink | None = None,
        window: int = WINDOW,
    ) -> Many:
        """Send many requests at a time, and iterate over their results as they arrive.

        ::

            with client.many(urls) as results:
                for result in results:
                    if isinstance(result, Exception):
                        print(result.request.url, result)
                    else:
                        print(result.url, result.status, len(result.readall()))

        For each host, the number of requests in flight and their rate adapt to what it allows. A
        429, a 503, a timeout and a reset connection reduce both by a quarter. Then they grow again,
        more and more slowly near a level that was refused before. ``Retry-After`` stops all
        requests to the host for that time. If it is longer than *max_wait* of the client's
        `Retry` (60 seconds by default), the other requests to that host fail with a `StatusError`
        and are not sent. They also fail, for five minutes, if three requests to the host in a row
        had a timeout or an unknown host name, and for one minute if twenty in a row were refused.

        Nothing happens while the caller does something else between two steps. That time counts
        towards *deadline* only, which begins when the request does.

        Args:
            requests: an iterable of URLs, of pairs (method, URL), or of mappings with ``url``,
                perhaps ``method``, and keyword arguments of `request`. It may be endless.
            limit: how many requests may be in flight. Those that a host has left unanswered for two
                seconds do not count, up to eight times *limit*.
            per_host: how many requests may be in flight for each host.
            max_body: the most decoded bytes of a body that is kept in memory; ``None`` for no
                limit.
            sink: called with the request and its response. It returns a binary file, to which the
                body is written and which is then closed, or ``None`` to keep the body in memory.
            window: how many requests are read before they have a result. Among these, no host
                delays another.

        Returns:
            An iterator, which is also a context manager and has a method ``close``. It yields a
            `Response` whose body has been received, or an exception. Both have an attribute
            ``request``, whose ``given`` is the object from *requests*. Redirects and retries are
            those of the client, or of the request.

            An exception is one that `request` raises, `InvalidResponse` for a body that is longer
            than *max_body* (``part`` is ``'limit'``), or one that *sink* or its file has raised.
            Exceptions of *requests* itself are raised by the iterator.

        Raises:
            TypeError, InvalidRequest: an argument is not valid. The iterator raises `TypeError` if
                an item of *requests* has the wrong type.
        """
        from .many import Many

        return Many(
            self,
            requests,
            limit=limit,
            per_host=per_host,
            max_body=max_body,
            sink=sink,
            window=window,
        )
