"""`DugongAdapter`: dugong below requests.

::

    session = requests.Session()
    session.mount("https://", DugongAdapter())
    session.mount("http://", DugongAdapter())

The adapter is an `HTTPAdapter` whose pools of connections are those of `dugong.adapters.urllib3`.
So what requests does above them is unchanged: the arguments, the exceptions, and the methods that
subclasses override (`send`, `init_poolmanager`, `cert_verify`, `build_response` and so on).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    from requests.adapters import DEFAULT_POOLBLOCK, DEFAULT_POOLSIZE, DEFAULT_RETRIES, HTTPAdapter
    from requests.exceptions import (
        ChunkedEncodingError,
        ConnectionError,  # noqa: A004 - what requests calls it
        InvalidSchema,
        RequestException,
    )
except ImportError as exc:
    raise ImportError(
        "dugong.adapters.requests needs requests: pip install 'dugong[requests]'"
    ) from exc

from urllib3 import PoolManager, Retry
from urllib3.exceptions import ProtocolError

from ..errors import ConnectionClosed, InvalidRequest, is_callers
from ..protocol.arguments import check_seconds
from ..protocol.proxy import parse_proxy
from .urllib3.pool import adopt

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

__all__ = ["DugongAdapter"]


class TruncatedResponse(ConnectionError, ChunkedEncodingError):
    """The server has closed the connection within the head of a response.

    requests itself takes what has arrived for the whole head. A `ConnectionError` is what it raises
    if nothing has arrived, and `ChunkedEncodingError` is what programs catch for a response that is
    incomplete.
    """


class DugongAdapter(HTTPAdapter):
    """An `HTTPAdapter` that uses dugong.

    Args:
        pool_connections: the number of hosts for which connections are kept.
        pool_maxsize: the number of idle connections that are kept for one host.
        max_retries: a number of retries for connections that cannot be made, or a `urllib3.Retry`.
            Independently of it, a request on a connection that the server has closed meanwhile is
            sent again if that cannot do anything twice.
        pool_block: whether *pool_maxsize* also limits the connections in use. A request then waits
            until one is free.
        deadline: seconds for each request that the session sends, from waiting for a connection to
            the last byte of the body, with all retries. A redirect is another request. ``None`` for
            no limit. When it has passed, the exception is that of a timeout.

    Raises:
        TypeError, dugong.InvalidRequest: *deadline* is not valid.
    """

    __attrs__: list[str] = [*HTTPAdapter.__attrs__, "deadline"]  # noqa: RUF012 - as requests has it

    def __init__(
        self,
        pool_connections: int = DEFAULT_POOLSIZE,
        pool_maxsize: int = DEFAULT_POOLSIZE,
        max_retries: int | Retry = DEFAULT_RETRIES,
        pool_block: bool = DEFAULT_POOLBLOCK,
        *,
        deadline: float | None = None,
    ) -> None:
        self.deadline = check_seconds(deadline, "deadline")
        super().__init__(pool_connections, pool_maxsize, max_retries, pool_block)

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = DEFAULT_POOLBLOCK, **pool_kwargs: Any
    ) -> None:
        """Make the pool manager. Subclasses pass arguments of `urllib3.PoolManager`."""
        super().init_poolmanager(connections, maxsize, block, **pool_kwargs)
        adopt(self.poolmanager, self.deadline)

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> PoolManager:
        """Return the pool manager for a proxy.

        Raises:
            requests.exceptions.InvalidSchema: it is a SOCKS proxy other than ``socks5`` and
                ``socks5h``.
        """
        manager: PoolManager | None = self.proxy_manager.get(proxy)
        if manager is not None:
            return manager
        if proxy.lower().startswith("socks"):  # for which urllib3 needs another library
            manager = self.proxy_manager[proxy] = self._socks_manager(proxy, proxy_kwargs)
        else:
            manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        adopt(manager, self.deadline)
        return manager

    def _socks_manager(self, proxy: str, options: dict[str, Any]) -> PoolManager:
        try:
            parse_proxy(proxy)
        except InvalidRequest as exc:
            raise InvalidSchema(str(exc)) from exc
        return PoolManager(
            num_pools=self._pool_connections,
            maxsize=self._pool_maxsize,
            block=self._pool_block,
            _socks_options={"url": proxy},
            **options,
        )

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        """Send a request. The arguments are those of `HTTPAdapter.send`.

        Raises:
            requests.RequestException: the request has failed.
            Exception: the body is an iterable or a file, and has raised it.
        """
        try:
            return super().send(request, *args, **kwargs)
        except RequestException as exc:
            original = exc.args[0] if exc.args else None
            if isinstance(original, BaseException) and is_callers(original):
                raise original from None
            if _is_truncated(original):
                raise TruncatedResponse(*exc.args, request=request) from exc.__cause__
            raise


def _is_truncated(original: Any) -> bool:
    """Return whether a connection has ended within the head of a response.

    Args:
        original: urllib3's exception.
    """
    reason = getattr(original, "reason", original)  # of a `MaxRetryError`
    ended = reason.args[-1] if isinstance(reason, ProtocolError) else None
    return isinstance(ended, ConnectionClosed) and ended.response_started
