"""What a pool remembers of an origin: rule 8 of `pool`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..connection.leased import Blueprint, Leased
from ..connection.settings import Settings, check_guarded
from ..protocol.authority import check_host
from ..transport.connect import load_tls
from .origin import Origin

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from ..transport.connect import Allow, Resolve

C = TypeVar("C", bound=Leased)


class ConnectionSettings:
    """Settings for connections to any server: arguments of `HTTPConnection`.

    Two callers that share a pool and have equal settings share its connections.

    Args:
        allow, resolve: as for `Route`, and part of it. They must be the same object each time.
        tls_name: the server's name for TLS, if it is not the host name.
        make_context: makes the context for https origins if there is no *ssl_context*. ``None`` for
            `ssl.create_default_context`.
        arguments: arguments of `HTTPConnection`, except those that determine the server.

    Raises:
        TypeError, InvalidRequest: an argument is not valid.
    """

    def __init__(
        self,
        *,
        allow: Allow | None = None,
        resolve: Resolve | None = None,
        tls_name: str | None = None,
        make_context: Callable[[], ssl.SSLContext] | None = None,
        **arguments: Any,
    ) -> None:
        self.allow = allow
        self.resolve = resolve
        self.tls_name = None if tls_name is None else check_host(tls_name, "tls_name")
        for name in ("socket_options", "proxy_headers"):
            if hasattr(arguments.get(name), "__next__"):  # every connection needs it
                arguments[name] = list(arguments[name])
        checked = Settings("localhost", **arguments)
        if allow is not None:
            check_guarded(checked)
        self.timeout = checked.timeout
        self.deadline = checked.deadline
        self._context: ssl.SSLContext | None = arguments.pop("ssl_context", None)
        self._make_context = make_context
        self._arguments = arguments

    def for_origin(self, origin: Origin) -> dict[str, Any]:
        """Return the arguments of a connection to *origin*, without host name and port."""
        context = None if origin.scheme == "http" else self._context or self._default_context()
        return {**self._arguments, "ssl_context": context}

    def _default_context(self) -> ssl.SSLContext:
        kept: ssl.SSLContext | None = vars(self).get("_default")
        if kept is not None:
            return kept
        import ssl

        load_tls()
        # All connections must have the same one, also if two threads come here at a time.
        made = (self._make_context or ssl.create_default_context)()
        context: ssl.SSLContext = self.__dict__.setdefault("_default", made)
        return context


class Place(Generic[C]):
    """What is remembered of an origin, for given settings."""

    __slots__ = ("blueprint", "key", "origin", "ready_event")

    def __init__(self, origin: Origin, blueprint: Blueprint[C]) -> None:
        self.origin = origin
        self.blueprint = blueprint
        self.key = blueprint.route.key
        self.ready_event = "connected" if blueprint.route.ssl_context is None else "secured"
