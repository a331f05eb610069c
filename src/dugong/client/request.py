"""`ClientRequest`: one request of a client, as responses, events and *auth* show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..protocol.headers import Headers

if TYPE_CHECKING:
    from ..protocol.request import Defaults
    from .redirects import Hop


class ClientRequest:
    """A request, as a client sends it. Cannot be changed.

    Attributes:
        method: the method, a `str`.
        url: the URL, a `str`, with the fragment and without user information.
        headers: its fields, a `Headers`, without those that describe the body and that the
            connection adds.
        body: the body, or ``None``. Of a request that was pickled, only `bytes` are left.
        given: the object that `Client.many` got for this request, also after redirects; ``None`` of
            other requests. Of a request that was pickled, only a `str` is left.
    """

    __slots__ = ("__weakref__", "_defaults", "_fields", "_hop", "body", "given")

    def __init__(
        self, hop: Hop, body: Any, defaults: Defaults | None = None, given: Any = None
    ) -> None:
        self._hop = hop
        self._defaults = defaults
        self._fields: list[tuple[Any, Any]] | None = None
        self.body = body
        self.given = given

    @property
    def method(self) -> str:
        return self._hop.method

    @property
    def url(self) -> str:
        return str(self._hop.url)

    @property
    def headers(self) -> Headers:
        fields = self._hop.fields if self._fields is None else self._fields
        given = [(_text(name), value) for name, value in fields]
        names = {name.lower() for name, _ in given}
        usual = [] if self._defaults is None else self._defaults.fields(names)
        return Headers([*usual, *((name, _text(value)) for name, value in given
                                  if value is not None)])  # fmt: skip

    def with_fields(self, fields: list[tuple[Any, Any]]) -> None:
        """Set the caller's fields, those of *auth* and the cookies included."""
        self._fields = fields

    def __reduce__(self) -> tuple[Any, ...]:
        body = self.body if isinstance(self.body, bytes) else None
        given = self.given if isinstance(self.given, str) else None
        return _unpickled, (self._hop, self._fields, self._defaults, body, given)

    def __repr__(self) -> str:
        return f"<ClientRequest {self.method} {self.url}>"


def _unpickled(
    hop: Hop, fields: Any, defaults: Defaults | None, body: Any, given: Any = None
) -> ClientRequest:
    request = ClientRequest(hop, body, defaults, given)
    request.with_fields(fields)
    return request


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
