"""The messages that users handle: `Request`, `BodyFollowing`, `HTTPResponse`."""

from __future__ import annotations

import copyreg
from collections.abc import AsyncIterable, Iterable, Mapping
from copy import copy
from operator import index
from typing import TYPE_CHECKING, Any, Self, SupportsIndex, TypeAlias, cast

from .arguments import check_size, shown
from .content import is_replayable
from .headers import Headers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet
    from typing import BinaryIO, Protocol

    from _typeshed import ReadableBuffer

    FieldValue: TypeAlias = str | bytes | int | None
    Field: TypeAlias = tuple[str | bytes, FieldValue]

    class Items(Protocol):
        """A mapping, or an object like one. `Headers` is not a mapping, because it has repeats."""

        def items(self) -> Iterable[Field]: ...

    # Not Iterable[Field]: a mapping is iterable too, and mypy would infer the type of a literal
    # such as {"A": "x", "B": 3} from it.
    HeadersArgument: TypeAlias = Items | Sequence[Field] | AbstractSet[Field] | Iterator[Field]
    WholeBody: TypeAlias = ReadableBuffer | BinaryIO | Iterable[ReadableBuffer] | None
    Body: TypeAlias = "WholeBody | BodyFollowing"
    AsyncBody: TypeAlias = AsyncIterable[ReadableBuffer]

#: Methods with the same effect for one request as for several (RFC 9110 section 9.2.2).
IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})


class _Picklable:
    """A base class that makes classes with slots picklable in protocols 0 and 1 too."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        return super().__reduce_ex__(max(index(protocol), 2))


class BodyFollowing(_Picklable):
    """Announces a request body that the caller sends later, with `write`.

    Args:
        length: the number of bytes that will be written, or ``None`` if it is unknown. The body
            is then sent in chunks (RFC 9112 section 7.1), and `end_body` ends it.

    Raises:
        TypeError: *length* is not an integer.
        InvalidRequest: *length* is negative.
    """

    __slots__ = ("length",)

    def __init__(self, length: int | None = None) -> None:
        self.length = None if length is None else check_size(length, "length")

    def __repr__(self) -> str:
        return f"BodyFollowing({'' if self.length is None else self.length})"


class Request:
    """A request: method, request target, fields and body.

    Attributes:
        method: the method, such as ``'GET'``.
        path: the request target.
        headers: a mapping or an iterable of pairs, or ``None``.
        body: a body as for `send_request`, or ``None``.
        replayable: whether the body can be sent more than once: there is none, or it is
            bytes-like, or a file that can seek. To send a file again after a success, seek to its
            start first. After a failure that is `safe_to_retry`, it is already there.
        incomplete: whether pickling has left something out.

    A request can be pickled and deep-copied. Headers or a body that cannot be pickled or unpickled,
    such as a generator or an open file, are left out of the new request. Then it is `incomplete`
    and not `replayable`, and `pipeline` refuses it.
    """

    __slots__ = ("__weakref__", "body", "headers", "incomplete", "method", "path")

    def __init__(
        self, method: str, path: str, headers: HeadersArgument | None = None, body: Any = None
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.incomplete = False

    @property
    def replayable(self) -> bool:
        if self.incomplete or isinstance(self.body, BodyFollowing):
            return False
        return is_replayable(self.body)

    def _attributes(self) -> dict[str, Any]:
        attributes, slots = cast("tuple[dict[str, Any] | None, Any]", object.__getstate__(self))
        return {**(attributes or {}), **slots}

    def __copy__(self) -> Self:
        """Return a request with the same headers and body, which are not copied."""
        copied = object.__new__(type(self))
        for name, value in self._attributes().items():
            setattr(copied, name, value)
        return copied

    # Headers and body are pickled separately, so that only the one that fails is left out. One may
    # also fail when it is unpickled, in a process that does not have its class. It must not make
    # the exception that contains this request fail: an exception that cannot be unpickled breaks a
    # whole process pool.

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        plain, pickled = {}, {}
        for name, value in self._attributes().items():
            if type(value) in _PLAIN:
                plain[name] = value
            else:
                pickled[name] = _pickled(value, index(protocol))
        return copyreg.__newobj__, (type(self),), (plain, pickled)  # type: ignore[attr-defined]

    def __setstate__(self, state: tuple[dict[str, Any], dict[str, bytes]]) -> None:
        import pickle  # here, because ``import dugong`` does not need it

        plain, pickled = state
        for name, value in plain.items():
            setattr(self, name, value)
        for name, data in pickled.items():
            try:
                value = pickle.loads(data)  # noqa: S301 - trusted as much as what it was part of
            except Exception:
                value, self.incomplete = None, True
            setattr(self, name, value)

    def __repr__(self) -> str:
        parts: tuple[Any, Any] = self.method, self.path  # not validated yet
        line = (
            shown(part)[1:-1] if isinstance(part, str) else type(part).__name__ for part in parts
        )
        return f"<Request {' '.join(line)}>"


_PLAIN = frozenset((type(None), bool, int, str, bytes, bytearray))


def _pickled(value: Any, protocol: int) -> bytes:
    """Return *value* pickled, or ``b""`` if that fails. `pickle.loads` then fails too."""
    import pickle

    try:
        return pickle.dumps(value, protocol)
    except Exception:
        return _pickled([*value.items()], protocol) if isinstance(value, Mapping) else b""


class HTTPResponse(_Picklable):
    """The head of a response. The body is read from the connection.

    Attributes:
        method: the method of the request that this answers.
        path: its request target, as passed to `send_request`.
        request: the `Request` that this answers; with `pipeline`, the same object that was passed.
        status: the status code, an `int`.
        reason: the reason phrase, a `str`, which may be empty.
        headers: the fields, a `Headers`.
        length: the number of bytes of body on the wire; 0 if there is no body, ``None`` if the
            number is unknown until its end.
        version: the server's protocol version, ``'1.1'`` or ``'1.0'``.
        informational: the interim (1xx) responses before this one, a list of `HTTPResponse`.
        trailers: the fields of the trailer section, a `Headers`; empty until the body was read.
        will_close: whether the connection ends with this response.
    """

    __slots__ = (
        "_request",
        "headers",
        "informational",
        "length",
        "method",
        "path",
        "reason",
        "status",
        "trailers",
        "version",
        "will_close",
    )

    def __init__(
        self,
        method: str,
        path: str,
        status: int,
        reason: str,
        headers: Headers,
        length: int | None = None,
        version: str = "1.1",
        request: Request | None = None,
    ) -> None:
        self.method = method
        self.path = path
        self.status = status
        self.reason = reason
        self.headers = headers
        self.length = length
        self.version = version
        self.informational: list[HTTPResponse] = []
        self.trailers = NO_TRAILERS
        self.will_close = False
        self._request = request

    @property
    def request(self) -> Request:
        if self._request is None:
            self._request = Request(self.method, self.path)
        return self._request

    @request.setter
    def request(self, request: Request) -> None:
        self._request = request

    def without_request(self) -> HTTPResponse:
        """Return a copy that does not refer to the request and its body."""
        copied = copy(self)
        copied._request = None
        copied.informational = []  # they refer to the same request
        return copied

    def __repr__(self) -> str:
        return f"<HTTPResponse {self.status} {self.reason}>"


NO_TRAILERS = Headers()
