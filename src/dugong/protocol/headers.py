"""Fields: `Headers` for those of a response, `CaseInsensitiveDict` for those of a request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar, overload

from . import grammar

if TYPE_CHECKING:
    from typing import Protocol

    class Items(Protocol):
        """An object with a method `items`, like a mapping."""

        def items(self) -> Iterable[tuple[str, str]]: ...


T = TypeVar("T")

_FIELD_LINE_BYTES = re.compile(grammar.FIELD_LINE.pattern.encode("latin-1"), re.MULTILINE)

#: Fields whose values are hidden in representations.
SECRET_FIELDS = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})


class Headers:
    """The fields of a response, in the order received. Read it like a mapping.

    Names are case-insensitive. As in the `email.message.Message` that this class replaces,
    ``headers['X']`` is ``None`` if there is no such field, and the first value if there are
    several. `keys`, `values` and `items` include repeats.

    Values are `str`, decoded as latin-1, and otherwise exactly as sent. The object is immutable.

    Args:
        fields: pairs of name and value, or a mapping.

    Raises:
        TypeError: *fields* is something else, or a name or a value is not a `str`.
    """

    # Responses with identical heads share one object (`response.KnownHead`), so it must be
    # immutable, and so must the objects that its attributes refer to. `__new__` does all the work,
    # because a caller could call `__init__` again.
    #
    # Most callers look at few of the fields. So those of a response stay in one piece, its lines,
    # until a method needs them as pairs. To find one field in the lines takes much less time.
    __slots__ = ("_index", "_lines", "_lower", "_pairs")

    _lines: str  # with an LF before the first; empty if the object was made from pairs
    _lower: str  # the same in lower case, until the first lookup
    _pairs: tuple[tuple[str, str], ...] | None
    _index: Mapping[str, str] | None

    def __new__(cls, fields: Items | Iterable[tuple[str, str]] = ()) -> Self:
        pairs: Any = fields.items() if hasattr(fields, "items") else fields
        if not isinstance(pairs, Iterable):
            raise TypeError(
                f"fields must be a mapping or pairs (name, value), not {type(fields).__name__}"
            )
        return cls._of([_checked(pair) for pair in pairs])

    @classmethod
    def _of(cls, fields: Iterable[tuple[str, str]] | None, lines: str = "") -> Self:
        self = object.__new__(cls)
        _set_pairs(self, None if fields is None else tuple(fields))
        _set_lines(self, lines)
        _set_lower(self, lines.lower())
        _set_index(self, None)
        return self

    @property
    def _fields(self) -> tuple[tuple[str, str], ...]:
        pairs = self._pairs
        if pairs is None:
            pairs = tuple(grammar.FIELD_LINE.findall(self._lines))
            _set_pairs(self, pairs)
        return pairs

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("the fields of a response cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("the fields of a response cannot be changed")

    def __reduce__(self) -> tuple[type[Self], tuple[tuple[tuple[str, str], ...]]]:
        return type(self), (self._fields,)

    def _first(self) -> Mapping[str, str]:
        """Return the first value for each lower-case name. The index is built on first use."""
        index = self._index
        if index is None:
            first = {name.lower(): value for name, value in reversed(self._fields)}
            index = MappingProxyType(first)
            _set_index(self, index)
        return index

    def __getitem__(self, name: str) -> str | None:
        return self.get(name)

    @overload
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, default: T) -> str | T: ...
    def get(self, name: str, default: Any = None) -> Any:
        """Return the first value of field *name*, or *default*."""
        name, lower = name.lower(), self._lower
        if not lower or ":" in name or "\n" in name:  # which would match more than a name
            return self._first().get(name, default)
        _set_lower(self, "")  # the second lookup makes the index, which is faster for many
        start = lower.find(f"\n{name}:") + len(name) + 2
        if start < len(name) + 2:
            return default
        return self._lines[start : self._lines.find("\r", start)].lstrip(" \t")

    @overload
    def get_all(self, name: str) -> list[str] | None: ...
    @overload
    def get_all(self, name: str, default: T) -> list[str] | T: ...
    def get_all(self, name: str, default: Any = None) -> Any:
        """Return all values of field *name* in order, or *default* if there is none."""
        index = self._first()
        name = name.lower()
        if name not in index:
            return default
        if len(index) == len(self._fields):
            return [index[name]]
        return [value for key, value in self._fields if key.lower() == name]

    def combined(self) -> dict[str, str]:
        """Return a `dict` by lower-case name, repeats joined by commas (RFC 9110 section 5.3)."""
        index = self._first()
        if len(index) == len(self._fields):
            return dict(index)
        combined: dict[str, str] = {}
        for name, value in self._fields:
            key = name.lower()
            combined[key] = f"{combined[key]}, {value}" if key in combined else value
        return combined

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self._fields)

    def keys(self) -> list[str]:
        """Return the names as sent, in order, with repeats."""
        return [name for name, _ in self._fields]

    def values(self) -> list[str]:
        """Return the values in order."""
        return [value for _, value in self._fields]

    def items(self) -> list[tuple[str, str]]:
        """Return the pairs of name and value in order, with repeats."""
        return list(self._fields)

    def mentions(self, name: str) -> bool:
        """Return whether there is a field *name*, given in lower case.

        In contrast to ``in``, this makes no index. That is faster for a field that is rarely there.
        """
        if self._index is None and self._lines:
            return f"\n{name}:" in self._lower
        return name in self._first()

    def raw(self) -> list[tuple[bytes, bytes]]:
        """Return the pairs of name and value as bytes, in order, with repeats."""
        if self._lines:
            return _FIELD_LINE_BYTES.findall(self._lines.encode("latin-1"))
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self._fields]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return self._fields == other._fields

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Headers({[(name, _shown(name, value)) for name, value in self._fields]!r})"

    def get_content_type(self) -> str:
        """Return the media type in lower case, ``'text/plain'`` if there is no valid one."""
        value = self._first().get("content-type", "").partition(";")[0].strip(" \t").lower()
        maintype, _, subtype = value.partition("/")
        if grammar.TOKEN.fullmatch(maintype) and grammar.TOKEN.fullmatch(subtype):
            return value
        return "text/plain"

    @overload
    def get_content_charset(self) -> str | None: ...
    @overload
    def get_content_charset(self, default: T) -> str | T: ...
    def get_content_charset(self, default: Any = None) -> Any:
        """Return the ``charset`` parameter of Content-Type in lower case, or *default*."""
        charset = self.get_param("charset")
        return default if charset is None else charset.lower()

    @overload
    def get_param(self, param: str, default: None = None, header: str = ...) -> str | None: ...
    @overload
    def get_param(self, param: str, default: T, header: str = ...) -> str | T: ...
    def get_param(self, param: str, default: Any = None, header: str = "content-type") -> Any:
        """Return a parameter of a field such as Content-Type (RFC 9110 section 5.6.6).

        Args:
            param: the parameter's name, in any case.
            default: the result if the field or the parameter is absent.
            header: the field's name, in any case.

        Returns:
            The value as `str`, without its quotes.
        """
        param = param.lower()
        for match in grammar.PARAMETER.finditer(self._first().get(header.lower(), "")):
            if match[1].lower() == param:
                value = match[2]
                return grammar.QUOTED_PAIR.sub(r"\1", value[1:-1]) if value[0] == '"' else value
        return default


# The ways around `Headers.__setattr__`. They take half as long as ``object.__setattr__``.
_set_lines, _set_lower, _set_pairs, _set_index = (
    vars(Headers)[name].__set__ for name in ("_lines", "_lower", "_pairs", "_index")
)


def parsed(fields: Iterable[tuple[str, str]]) -> Headers:
    """Return `Headers` from pairs of `str`, without the checks of the constructor."""
    return Headers._of(fields)


def framing_fields(headers: Headers) -> dict[str, str]:
    """Return `Headers.combined` of at least the fields that `grammar.FRAMING_FIELD` lists.

    The values are in lower case.
    """
    found = grammar.FRAMING_FIELD.findall(headers._lower)
    fields = dict(found)
    if headers._lower and len(fields) == len(found):
        return fields
    return {name: value.lower() for name, value in headers.combined().items()}


def parsed_lines(lines: str) -> Headers:
    """Return `Headers` from field lines that match `grammar.FIELD_LINES`."""
    return Headers._of(None, f"\n{lines}")


def _checked(pair: object) -> tuple[str, str]:
    if isinstance(pair, (tuple, list)) and len(pair) == 2:
        name, value = pair
        if isinstance(name, str) and isinstance(value, str):
            return name, value
    raise TypeError("fields must contain pairs (name, value), both str")


def _shown(name: str, value: T) -> T | str:
    return "***" if name.lower() in SECRET_FIELDS else value


class CaseInsensitiveDict(MutableMapping[str, Any]):
    """A mutable mapping with case-insensitive `str` keys, for the *headers* of a request.

    Iteration yields each key in the case in which it was last set. It equals any mapping with the
    same items, if their keys are compared case-insensitively.
    """

    def __init__(
        self, data: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), **kwargs: Any
    ) -> None:
        self._items: dict[str, tuple[str, Any]] = {}
        self.update(data, **kwargs)

    def __getitem__(self, key: str) -> Any:
        return self._items[key.lower()][1]

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise TypeError(f"keys must be str, not {type(key).__name__}")
        self._items[key.lower()] = (key, value)

    def __delitem__(self, key: str) -> None:
        del self._items[key.lower()]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key.lower() in self._items

    def __iter__(self) -> Iterator[str]:
        return (key for key, _ in self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    def lower_items(self) -> Iterator[tuple[str, Any]]:
        """Return an iterator over the items with their keys in lower case."""
        return ((lower, value) for lower, (_, value) in self._items.items())

    def copy(self) -> CaseInsensitiveDict:
        """Return a shallow copy."""
        return CaseInsensitiveDict(self)

    __copy__ = copy

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        if not all(isinstance(key, str) for key in other):
            return False
        return dict(self.lower_items()) == dict(CaseInsensitiveDict(other).lower_items())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"CaseInsensitiveDict({ {key: _shown(key, value) for key, value in self.items()}!r})"
