"""The values users meet: `Request`, `BodyFollowing`, `HTTPResponse`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
        """A mapping, or what has fields like one: `Headers` is no mapping, because of repeats."""

        def items(self) -> Iterable[Field]: ...

    # Not Iterable[Field]: a mapping is iterable, too, and mypy would infer the type of a literal
    # such as {"A": "x", "B": 3} from that.
    HeadersArgument: TypeAlias = Items | Sequence[Field] | AbstractSet[Field] | Iterator[Field]
    WholeBody: TypeAlias = ReadableBuffer | BinaryIO | Iterable[ReadableBuffer] | None
    Body: TypeAlias = "WholeBody | BodyFollowing"

#: Methods that do the same whether a request is carried out once or more (RFC 9110 section 9.2.2).
IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})


class BodyFollowing:
    """Announces a request body that is given later, by `write`.

    Args:
        length: the number of bytes that will be written, or ``None`` if that is not known.
            The body is then sent in chunks (RFC 9112 section 7.1) and ended by `end_body`.

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
    """What was, or is to be, asked of a server.

    Attributes:
        method: the method, such as ``'GET'``.
        path: the request target.
        headers: a mapping or an iterable of pairs, or ``None``.
        body: what `send_request` takes as a body, or ``None``.
        replayable: whether the body can be sent more than once. There is none, or it is
            bytes-like, or a file that can seek. To send a file again after a success, seek back
            to its start first; after a failure that is `safe_to_retry`, it is there already.
        incomplete: whether something was left out when it was pickled.

    A request can be pickled and deep-copied. A body that does not allow that, such as a generator
    or an open file, is left out of the new request, and so are fields from a generator. Such a
    request is `incomplete` and not `replayable`, and `pipeline` refuses it.
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

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        protocol = max(index(protocol), 2)
        function, args, state, *rest = cast("tuple[Any, ...]", super().__reduce_ex__(protocol))
        attributes, slots = state
        if not _can_be_pickled(self.body, protocol):
            slots = {**slots, "body": None, "incomplete": True}
        if not _can_be_pickled(self.headers, protocol):
            fields = list(self.headers.items()) if isinstance(self.headers, Mapping) else None
            if fields is None or not _can_be_pickled(fields, protocol):
                slots = {**slots, "headers": None, "incomplete": True}
            else:
                slots = {**slots, "headers": fields}
        return function, args, (attributes, slots), *rest

    def __copy__(self) -> Self:
        """Return a request with the same body, whatever that is."""
        copied = object.__new__(type(self))
        attributes, slots = cast("tuple[dict[str, Any] | None, Any]", object.__getstate__(self))
        for name, value in {**(attributes or {}), **slots}.items():
            setattr(copied, name, value)
        return copied

    def __repr__(self) -> str:
        parts: tuple[Any, Any] = self.method, self.path  # which nobody has checked
        line = (
            shown(part)[1:-1] if isinstance(part, str) else type(part).__name__ for part in parts
        )
        return f"<Request {' '.join(line)}>"


def _can_be_pickled(value: Any, protocol: int) -> bool:
    if value is None or type(value) in (bytes, bytearray, BodyFollowing):
        return True
    import pickle  # only a pickler or the module copy leads here

    try:
        pickle.dumps(value, protocol)
    except Exception:
        return False
    return True


class HTTPResponse:
    """The head of a response. The body is read from the connection.

    Attributes:
        method: the method of the request that this answers.
        path: its request target, as given to `send_request`.
        request: the `Request` that this answers; one given to `pipeline` is here itself.
        status: the status code, an `int`.
        reason: the reason phrase, a `str`, which may be empty.
        headers: the fields, a `Headers`.
        length: the number of bytes of body on the wire; 0 if there is no body, ``None`` if only
            its end will tell.
        version: the server's protocol version, ``'1.1'`` or ``'1.0'``.
        informational: the interim (1xx) responses that came before, a list of `HTTPResponse`.
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
        """Return a copy that does not keep the request alive, nor its body."""
        copied = copy(self)
        copied._request = None
        copied.informational = []  # which are responses to the same request
        return copied

    def __repr__(self) -> str:
        return f"<HTTPResponse {self.status} {self.reason}>"


NO_TRAILERS = Headers()
