"""dugong below botocore, and so below boto3 and s3transfer.

::

    client = use(boto3.client("s3"))

`use` replaces one attribute of the client's endpoint, ``client._endpoint.http_session``, with a
`DugongSession` that has the settings of the session it replaces. It patches nothing in botocore.

`DugongSession` is a `botocore.httpsession.URLLib3Session` whose connections are those of
`dugong.adapters.urllib3`. So the settings and the exceptions of botocore are unchanged. What
differs is below them: a request is sent again on a new connection if the server has closed the idle
one, and a large body is sent only when the server has asked for it.

`AsyncDugongSession` is for aiobotocore (see `dugong.adapters.aiobotocore`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

try:
    from botocore.httpsession import MAX_POOL_CONNECTIONS, URLLib3Session
except ImportError as exc:
    raise ImportError(
        "dugong.adapters.botocore needs botocore: pip install 'dugong[botocore]'"
    ) from exc

from urllib3 import Timeout

from .urllib3.pool import adopt

if TYPE_CHECKING:
    from urllib3 import PoolManager

    from .aiobotocore import AsyncDugongSession

__all__ = ["AsyncDugongSession", "DugongSession", "use"]

T = TypeVar("T")


def __getattr__(name: str) -> Any:
    # Programs without aiobotocore do not have what it needs.
    if name == "AsyncDugongSession":
        from .aiobotocore import AsyncDugongSession

        return AsyncDugongSession
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class DugongSession(URLLib3Session):  # type: ignore[misc]
    """An HTTP session for botocore that uses dugong.

    Args:
        verify: ``True``, ``False``, or the path of a file of authorities.
        proxies: URLs of proxies by scheme.
        timeout: seconds, or a pair for connecting and reading.
        max_pool_connections: the number of idle connections that are kept for one host. It is no
            limit.
        socket_options: for each socket.
        client_cert: the path of a certificate with its key, or a pair of paths.
        proxies_config: as for botocore.
    """

    def __init__(
        self,
        verify: bool | str = True,
        proxies: dict[str, str] | None = None,
        timeout: Any = None,
        max_pool_connections: int = MAX_POOL_CONNECTIONS,
        socket_options: Any = None,
        client_cert: Any = None,
        proxies_config: Any = None,
    ) -> None:
        super().__init__(
            verify=verify,
            proxies=proxies,
            timeout=timeout,
            max_pool_connections=max_pool_connections,
            socket_options=socket_options,
            client_cert=client_cert,
            proxies_config=proxies_config,
        )
        adopt(self._manager)
        self._pool_classes_by_scheme = self._manager.pool_classes_by_scheme

    def _get_proxy_manager(self, proxy_url: str) -> PoolManager:
        manager: PoolManager = super()._get_proxy_manager(proxy_url)
        adopt(manager)
        return manager


def use(client: T) -> T:
    """Make a client of botocore or boto3 use dugong.

    The timeouts, proxies, TLS settings and the pool size are those of the client. Its earlier
    connections are closed.

    Args:
        client: a client, from ``Session.client`` or ``Session.create_client``, or the
            ``meta.client`` of a resource of boto3.

    Returns:
        *client*.

    Raises:
        TypeError: *client* has no session of the class `botocore.httpsession.URLLib3Session`.
    """
    endpoint = getattr(client, "_endpoint", None)
    session = getattr(endpoint, "http_session", None)
    if isinstance(session, DugongSession):
        return client
    if not isinstance(session, URLLib3Session):
        raise TypeError(
            f"client must be a client of botocore or boto3, not {type(client).__name__}"
        )
    assert endpoint is not None
    endpoint.http_session = DugongSession(**_settings_of(session))
    session.close()
    return client


def _settings_of(session: Any) -> dict[str, Any]:
    """Return the arguments with which *session* was made. It keeps them in private attributes."""
    kept = vars(session)
    timeout = kept["_timeout"]
    if isinstance(timeout, Timeout):
        timeout = timeout.connect_timeout, timeout.read_timeout
    config = vars(kept["_proxy_config"])
    certificate, key = kept["_cert_file"], kept["_key_file"]
    return {
        "verify": kept["_verify"],
        "proxies": config["_proxies"],
        "proxies_config": config["_proxies_settings"],
        "timeout": timeout,
        "max_pool_connections": kept["_max_pool_connections"],
        "socket_options": kept["_socket_options"],
        "client_cert": certificate if key is None else (certificate, key),
    }
