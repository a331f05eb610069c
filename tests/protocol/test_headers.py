"""`Headers` against the class it stands in for, `CaseInsensitiveDict` against `dict`."""

from __future__ import annotations

import contextlib
import copy
import pickle
from collections.abc import Callable, Mapping, MutableMapping
from email.message import Message
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dugong import CaseInsensitiveDict, Headers
from dugong.protocol.headers import framing_fields, parsed_lines

Fields = list[tuple[str, str]]


def message(fields: Fields) -> Message:
    made = Message()
    for name, value in fields:
        made.add_header(name, value)
    return made


def cases(names: list[str]) -> st.SearchStrategy[str]:
    """One of the names, in lower, upper or title case."""
    change = st.sampled_from([str.lower, str.upper, str.title])
    return st.builds(lambda name, f: f(name), st.sampled_from(names), change)


NAMES = cases(["a", "b", "set-cookie", "content-type", "x-absent"])
VALUES = st.text('ab ;,="/\xe9', max_size=6).map(lambda text: text.strip())
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=6)


def from_lines(fields: Fields) -> Headers:
    return parsed_lines("".join(f"{name}:{value and ' '}{value}\r\n" for name, value in fields))


#: The two ways in which the fields are kept.
both_ways = pytest.mark.parametrize("headers", [Headers, from_lines])


@both_ways
@given(fields=FIELDS, name=NAMES)
def test_reads_like_a_message(
    headers: Callable[[Fields], Headers], fields: Fields, name: str
) -> None:
    ours, theirs = headers(fields), message(fields)
    assert ours[name] == theirs[name]
    assert ours.get(name) == theirs.get(name)
    assert ours.get(name, "default") == theirs.get(name, "default")
    assert ours.get_all(name) == theirs.get_all(name)
    assert ours.get_all(name, []) == theirs.get_all(name, [])
    assert (name in ours) == (name in theirs)
    assert len(ours) == len(theirs)
    assert list(ours) == list(theirs)
    assert ours.keys() == theirs.keys()
    assert ours.values() == theirs.values()
    assert ours.items() == theirs.items()


@both_ways
@pytest.mark.parametrize("name", ["a: b", "a: b\r\nc", "\na", "", "b\r\nc", ":"])
def test_finds_names_only(headers: Callable[[Fields], Headers], name: str) -> None:
    found = headers([("A", "b:"), ("C", "a: b: c")])
    assert found[name] is None
    assert name not in found
    assert found.get_all(name) is None


@given(fields=FIELDS)
def test_both_ways_are_equal(fields: Fields) -> None:
    assert from_lines(fields) == Headers(fields)
    assert from_lines(fields).combined() == Headers(fields).combined()
    as_bytes = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
    assert from_lines(fields).raw() == Headers(fields).raw() == as_bytes
    assert framing_fields(from_lines(fields)) == {}
    assert pickle.loads(pickle.dumps(from_lines(fields))) == Headers(fields)  # noqa: S301


@both_ways
def test_framing_fields(headers: Callable[[Fields], Headers]) -> None:
    fields = [("Connection", "Keep-Alive"), ("KEEP-ALIVE", "timeout=5"), ("Other", "x")]
    once = {"connection": "keep-alive", "keep-alive": "timeout=5"}
    assert framing_fields(headers(fields)).items() >= once.items()
    twice = {**once, "connection": "keep-alive, close"}
    fields.append(("connection", "Close"))
    assert framing_fields(headers(fields)).items() >= twice.items()


TOKENS = st.text("abXY0-", min_size=1, max_size=4)
QUOTED = st.text("ab; ,=/XY", max_size=6).map(lambda text: f'"{text}"')
PARAMETERS = st.lists(st.tuples(cases(["charset", "q", "boundary"]), TOKENS | QUOTED), max_size=3)


@given(
    media_type=st.tuples(TOKENS, TOKENS), parameters=PARAMETERS, space=st.sampled_from(["", " "])
)
def test_content_type_like_a_message(
    media_type: tuple[str, str], parameters: Fields, space: str
) -> None:
    value = "/".join(media_type) + "".join(f"{space};{space}{k}={v}" for k, v in parameters)
    ours, theirs = Headers([("Content-Type", value)]), message([("Content-Type", value)])
    assert ours.get_content_type() == theirs.get_content_type()
    assert ours.get_content_charset() == theirs.get_content_charset()
    for name in ("charset", "Q", "boundary", "absent"):
        assert ours.get_param(name) == theirs.get_param(name)
        assert ours.get_param(name, "default") == theirs.get_param(name, "default")


CONTENT_TYPES = [
    (None, "text/plain", None),
    ("", "text/plain", None),
    ("text", "text/plain", None),
    ("a/b/c", "text/plain", None),
    ("/b", "text/plain", None),
    ("Text/HTML", "text/html", None),
    (" text/html ;CHARSET=UTF-8", "text/html", "utf-8"),
    ('text/html; charset="UTF-8"', "text/html", "utf-8"),
    ('a/b; x="; charset=evil"; charset=good', "a/b", "good"),
    ("a/b; xcharset=evil", "a/b", None),
    ("a/b; charset=first; charset=second", "a/b", "first"),
]


@pytest.mark.parametrize(("value", "content_type", "charset"), CONTENT_TYPES)
def test_content_type(value: str | None, content_type: str, charset: str | None) -> None:
    headers = Headers([] if value is None else [("Content-Type", value)])
    assert headers.get_content_type() == content_type
    assert headers.get_content_charset() == charset
    assert headers.get_content_charset("ascii") == (charset or "ascii")


def test_parameter_of_another_field() -> None:
    headers = Headers([("Content-Disposition", r'attachment; filename="a \"b\"\\; c=d"; e=f')])
    assert headers.get_param("Filename", header="content-disposition") == r'a "b"\; c=d'
    assert headers.get_param("e", header="Content-Disposition") == "f"
    assert headers.get_param("c", header="content-disposition") is None
    assert headers.get_param("e") is None


def test_values_are_as_sent() -> None:
    """A repeated field is neither joined nor dropped, a date not parsed, a quote not taken off."""
    fields = [("Date", '"x"'), ("Set-Cookie", "a=1, b"), ("SET-COOKIE", "\xe9")]
    headers = Headers(iter(fields))
    assert headers.items() == fields
    assert headers.get_all("set-cookie") == ["a=1, b", "\xe9"]


def test_headers_cannot_be_changed() -> None:
    fields = [("A", "b")]
    headers = Headers(fields)
    for changed in (fields, headers.items(), headers.keys(), headers.get_all("a", [])):
        changed.clear()
    assert headers.items() == [("A", "b")]
    assert headers.get_all("a") == ["b"]
    with pytest.raises(TypeError):
        headers["A"] = "c"  # type: ignore[index]


def test_headers_compare_by_their_fields() -> None:
    assert Headers([("A", "b")]) == Headers([("A", "b")])
    assert Headers([("A", "b")]) != Headers([("A", "c")])
    assert Headers([("A", "b")]) != [("A", "b")]
    assert repr(Headers([("A", "b")])) == "Headers([('A', 'b')])"
    with pytest.raises(TypeError):
        hash(Headers())
    assert None not in Headers()


# ------------------------------------------------------------------- CaseInsensitiveDict


class Lower(dict[str, Any]):
    """The model: a dict that is only ever given lower-case keys."""


KEYS = cases(["a", "b", "content-type"])


@given(steps=st.lists(st.tuples(st.sampled_from(["set", "del", "pop", "default"]), KEYS)))
def test_is_a_mutable_mapping(steps: list[tuple[str, str]]) -> None:
    ours, model, last = CaseInsensitiveDict(), Lower(), dict[str, str]()
    for number, (step, key) in enumerate(steps):
        lower = key.lower()
        if step == "set":
            ours[key] = model[lower] = number
            last[lower] = key
        elif step == "del" and lower in model:
            del ours[key], model[lower]
        elif step == "pop":
            assert ours.pop(key, None) == model.pop(lower, None)
        elif step == "default":
            if lower not in model:
                last[lower] = key
            assert ours.setdefault(key, number) == model.setdefault(lower, number)
        assert len(ours) == len(model)
        assert dict(ours.lower_items()) == model
        assert sorted(ours) == sorted(last[known] for known in model), "keys as they were last set"
        assert ours == model
        assert (key in ours) == (lower in model)
        assert ours.get(key.swapcase(), "none") == model.get(lower, "none")


@pytest.mark.parametrize(
    "made",
    [
        CaseInsensitiveDict({"A": 1, "b": 2}),
        CaseInsensitiveDict([("A", 1), ("b", 2)]),
        CaseInsensitiveDict(MappingProxyType({"A": 1, "b": 2})),
        CaseInsensitiveDict(iter([("a", 0), ("A", 1)]), b=2),
        CaseInsensitiveDict(A=1, b=2),
        CaseInsensitiveDict(CaseInsensitiveDict(A=1, b=2)),
        CaseInsensitiveDict(A=1, b=2).copy(),
    ],
    ids=["dict", "pairs", "proxy", "iterator", "keywords", "itself", "copy"],
)
def test_made_like_a_dict(made: CaseInsensitiveDict) -> None:
    assert isinstance(made, MutableMapping)
    assert list(made.items()) == [("A", 1), ("b", 2)]
    assert made == {"a": 1, "B": 2}


def test_copy_is_a_copy() -> None:
    first = CaseInsensitiveDict(a=1)
    second = first.copy()
    second["A"] = 2
    assert (first["a"], second["a"]) == (1, 2)


def test_absent_key() -> None:
    made = CaseInsensitiveDict(a=1)
    for act in (lambda: made["b"], lambda: made.pop("b"), lambda: made.__delitem__("b")):
        with pytest.raises(KeyError):
            act()
    assert made.get("b") is None
    assert made.__contains__(1) is False


@pytest.mark.parametrize(
    ("other", "equal"),
    [
        ({"A": 1}, True),
        (CaseInsensitiveDict(A=1), True),
        ({"a": 2}, False),
        ({"a": 1, "b": 2}, False),
        ({}, False),
        ([("a", 1)], False),
        ({1: 1}, False),
        (None, False),
    ],
    ids=repr,
)
def test_equality(other: Mapping[Any, Any] | None, equal: bool) -> None:
    assert (CaseInsensitiveDict(a=1) == other) is equal
    assert (CaseInsensitiveDict(a=1) != other) is not equal


def test_repr_shows_the_items() -> None:
    assert repr(CaseInsensitiveDict(A=1)) == "CaseInsensitiveDict({'A': 1})"
    with pytest.raises(TypeError):
        hash(CaseInsensitiveDict())


# ------------------------------------------------------------------------- not to be changed

FIELDS_GIVEN = [("A", "1"), ("B", "2"), ("a", "3")]


def attempts(headers: Headers) -> list[Callable[[], object]]:
    """Ways to change them, without those that go around the class by way of `object`."""
    unusual: Any = headers
    return [
        lambda: unusual.__init__([("X", "y")]),
        lambda: unusual.__new__(Headers, [("X", "y")]),
        lambda: setattr(unusual, "_fields", [("X", "y")]),
        lambda: setattr(unusual, "_index", {"x": "y"}),
        lambda: setattr(unusual, "x", "y"),
        lambda: setattr(unusual, "__class__", dict),
        lambda: delattr(unusual, "_fields"),
        lambda: delattr(unusual, "_index"),
        lambda: unusual.__setitem__("X", "y"),
        lambda: unusual.__delitem__("A"),
        lambda: unusual.__setstate__((None, {"_fields": [("X", "y")]})),
        lambda: unusual._fields.append(("X", "y")),
        lambda: unusual._index.__setitem__("x", "y"),
        lambda: unusual.__dict__.update(x="y"),
        lambda: unusual.combined().update(x="y"),
        lambda: unusual.items().clear(),
        lambda: unusual.keys().clear(),
        lambda: unusual.values().clear(),
        lambda: unusual.get_all("a").clear(),
        lambda: unusual.get_all("b").clear(),
    ]


@pytest.mark.parametrize("fields", [[], FIELDS_GIVEN, FIELDS_GIVEN[:2]], ids=len)
def test_nothing_changes_them(fields: Fields) -> None:
    headers = Headers(fields)
    for looked_at in (False, True):
        for attempt in attempts(headers):
            with contextlib.suppress(AttributeError, TypeError):
                attempt()
            assert headers == Headers(fields)
            assert headers.items() == fields
            assert headers.combined() == Headers(fields).combined()
            assert "X" not in headers
            if looked_at:
                assert headers["A"] == (fields[0][1] if fields else None)


def test_what_they_were_made_of_may_change() -> None:
    fields = list(FIELDS_GIVEN)
    headers = Headers(fields)
    fields.clear()
    assert headers.items() == FIELDS_GIVEN


def pickled(headers: Headers) -> Headers:
    made: Headers = pickle.loads(pickle.dumps(headers))  # noqa: S301 - our own
    return made


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])
@pytest.mark.parametrize("fields", [[], FIELDS_GIVEN], ids=len)
def test_copies(duplicate: Callable[[Headers], Headers], fields: Fields) -> None:
    headers = Headers(fields)
    for _ in range(2):
        made = duplicate(headers)
        assert (type(made), made, made["A"]) == (Headers, headers, headers["A"])


def test_made_of_a_mapping() -> None:
    fields = {"A": "1", "B": "2"}
    for made in (Headers(fields), Headers(CaseInsensitiveDict(fields)), Headers(Headers(fields))):
        assert made.items() == [("A", "1"), ("B", "2")]


@pytest.mark.parametrize(
    "fields",
    [
        "A: b",
        ["A: b"],
        ["ab"],
        [("A",)],
        [("A", "b", "c")],
        [("A", 1)],
        [(b"A", b"b")],
        {"A": 1},
        5,
        None,
    ],
)
def test_not_made_of(fields: Any) -> None:
    with pytest.raises(TypeError, match=r"^fields "):
        Headers(fields)


@pytest.mark.parametrize("name", ["Authorization", "cookie", "Set-Cookie", "PROXY-AUTHORIZATION"])
def test_secrets_are_not_shown(name: str) -> None:
    fields = [(name, "secret"), ("A", "b"), (name, "secret")]
    for made in (Headers(fields), CaseInsensitiveDict(fields)):
        shown = repr(made)
        assert "secret" not in shown
        assert name in shown
        assert "'b'" in shown
        assert made[name.lower()] == "secret"


def test_keys_are_strings() -> None:
    with pytest.raises(TypeError, match="keys must be str, not bytes"):
        CaseInsensitiveDict({b"A": "b"})  # type: ignore[arg-type]
