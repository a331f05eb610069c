"""The classes of httpx or of httpx2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from .errors import translated

if TYPE_CHECKING:
    from types import ModuleType


class Library:
    """One of the two libraries.

    Args:
        host: the module httpx or httpx2.
        core: the module httpcore or httpcore2, whose exceptions network streams raise.
        body: the class of the bodies of responses.
        network_stream: the class of network streams.

    Attributes:
        body_of_bytes: the host library's class for the body of a request that is in memory.
    """

    def __init__(
        self, host: ModuleType, core: ModuleType, body: type[Any], network_stream: type[Any]
    ) -> None:
        self.host: Any = host
        self.core: Any = core
        self.body = body
        self.network_stream = network_stream
        self.body_of_bytes: type[Any] = self.host.ByteStream

    def reraise(self, exc: Exception, request: Any) -> NoReturn:
        """Raise *exc*, translated to an exception of this library if it has one for it."""
        found = translated(exc)
        if found is None:
            raise exc
        name, text = found
        try:
            raise getattr(self.host, name)(text, request=request) from exc
        finally:
            del exc  # the frames of its traceback refer to this one


def missing(name: str, extra: str) -> ImportError:
    """Return the exception for a library that is not installed."""
    return ImportError(
        f"dugong.adapters.{extra} needs the package {name}: "
        f"install dugong[{extra}], for example with pip install 'dugong[{extra}]'",
        name=name,
    )
