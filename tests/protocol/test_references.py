"""URI references (RFC 3986 sections 5.2 to 5.4)."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dugong.protocol.references import (
    Reference,
    redirect_target,
    remove_dot_segments,
    resolve,
    split,
)
from tests.support.in_turn import in_turn

#: The base of all examples of the RFC.
BASE = "http://a/b/c/d;p?q"

#: RFC 3986 section 5.4.1, and 5.4.2 as a strict parser has it.
EXAMPLES = """
    g:h           g:h
    g             http://a/b/c/g
    ./g           http://a/b/c/g
    g/            http://a/b/c/g/
    /g            http://a/g
    //g           http://g
    ?y            http://a/b/c/d;p?y
    g?y           http://a/b/c/g?y
    #s            http://a/b/c/d;p?q#s
    g#s           http://a/b/c/g#s
    g?y#s         http://a/b/c/g?y#s
    ;x            http://a/b/c/;x
    g;x           http://a/b/c/g;x
    g;x?y#s       http://a/b/c/g;x?y#s
    .             http://a/b/c/
    ./            http://a/b/c/
    ..            http://a/b/
    ../           http://a/b/
    ../g          http://a/b/g
    ../..         http://a/
    ../../        http://a/
    ../../g       http://a/g

    ../../../g    http://a/g
    ../../../../g http://a/g
    /./g          http://a/g
    /../g         http://a/g
    g.            http://a/b/c/g.
    .g            http://a/b/c/.g
    g..           http://a/b/c/g..
    ..g           http://a/b/c/..g
    ./../g        http://a/b/g
    ./g/.         http://a/b/c/g/
    g/./h         http://a/b/c/g/h
    g/../h        http://a/b/c/h
    g;x=1/./y     http://a/b/c/g;x=1/y
    g;x=1/../y    http://a/b/c/y
    g?y/./x       http://a/b/c/g?y/./x
    g?y/../x      http://a/b/c/g?y/../x
    g#s/./x       http://a/b/c/g#s/./x
    g#s/../x      http://a/b/c/g#s/../x
    http:g        http:g
"""


@in_turn("line", EXAMPLES.strip().replace("\n\n", "\n").split("\n"))
def test_rfc(line: str) -> None:
    reference, target = line.split()
    assert resolve(BASE, reference) == target


@in_turn(
    ("base", "reference", "target"),
    [
        (BASE, "", "http://a/b/c/d;p?q"),
        (BASE + "#s", "", "http://a/b/c/d;p?q"),
        # An empty component is not a missing one.
        (BASE, "g;", "http://a/b/c/g;"),
        (BASE, "g?", "http://a/b/c/g?"),
        (BASE, "g#", "http://a/b/c/g#"),
        (BASE, "?", "http://a/b/c/d;p?"),
        (BASE, "#", "http://a/b/c/d;p?q#"),
        (BASE, ";", "http://a/b/c/;"),
        ("http://a/b?", "", "http://a/b?"),
        ("http://a/b?", "#s", "http://a/b?#s"),
        (BASE, "//", "http://"),
        (BASE, "///g", "http:///g"),
        (BASE, "http:///g", "http:///g"),
        (BASE, "http://", "http://"),
        (BASE, "http:/g", "http:/g"),
        # A base without a path.
        ("http://a", "g", "http://a/g"),
        ("http://a", "../g", "http://a/g"),
        ("http://a?q", "g", "http://a/g"),
        ("http://a", "?y", "http://a?y"),
        ("http://a", "#s", "http://a#s"),
        ("HTTP://A", "g", "http://A/g"),
        # Absolute references lose their dot segments as well.
        (BASE, "HTTP://B/c/../%2e%2E/d", "http://B/%2e%2E/d"),
        (BASE, "//b/./c", "http://b/c"),
        # Empty segments count.
        (BASE, "//g//h//", "http://g//h//"),
        (BASE, "/g//../h", "http://a/g/h"),
        (BASE, "/..//g", "http://a//g"),
        # Anything else stays as it is.
        (BASE, "/g\\..\\h", "http://a/g\\..\\h"),
        (BASE, "\\\\g\\h", "http://a/b/c/\\\\g\\h"),
        (BASE, "/%zz %/é\udcff", "http://a/%zz %/é\udcff"),
        (BASE, "//u:p@g:0/", "http://u:p@g:0/"),
        (BASE, "g\n?\t#\r\n", "http://a/b/c/g\n?\t#\r\n"),
        # Colons that end no scheme.
        (BASE, ":g", "http://a/b/c/:g"),
        (BASE, "1:g", "http://a/b/c/1:g"),
        (BASE, "./g:h", "http://a/b/c/g:h"),
        (BASE, "é:h", "http://a/b/c/é:h"),
        (BASE, "g/h:i", "http://a/b/c/g/h:i"),
        # URIs without an authority never get one.
        ("urn:a:b", "?y", "urn:a:b?y"),
        ("urn:a:b", "g", "urn:g"),
        ("file:/a/b", "..//g", "file:/.//g"),
        ("file:/a", "/.//g", "file:/.//g"),
    ],
)
def test_resolve(base: str, reference: str, target: str) -> None:
    assert resolve(base, reference) == target


@pytest.mark.parametrize(
    ("base", "location", "target"),
    [
        ("http://a/b#s", "/c", "http://a/c#s"),
        ("http://a/b#s", "/c?", "http://a/c?#s"),
        ("http://a/b#s", "/c#t", "http://a/c#t"),
        ("http://a/b#s", "/c#", "http://a/c#"),
        ("http://a/b#", "/c", "http://a/c#"),
        ("http://a/b#s", "http://d", "http://d#s"),
        ("http://a/b", "/c", "http://a/c"),
        ("http://a/b#s", "", "http://a/b#s"),
    ],
)
def test_redirect_inherits_the_fragment(base: str, location: str, target: str) -> None:
    """The example of RFC 9110 section 10.2.2, and others."""
    assert redirect_target(base, location) == target


def test_long_path() -> None:
    assert resolve(BASE, "../x/" * 100_000) == "http://a/b/x/"


# --------------------------------------------------------------------- properties

#: Text in which the delimiters are frequent.
texts = st.text(st.sampled_from("/.:?#;%2eéa\\@\n")) | st.text()
paths = st.text(st.sampled_from("/.a"))
references = st.builds(
    lambda *parts: str(Reference(*parts)),
    st.none() | st.sampled_from(["HTTP", "x-y"]),
    st.none() | st.sampled_from(["", "a", "u@b:1"]),
    paths.map(lambda path: f"/{path}"),
    st.none() | texts.map(lambda text: text.replace("#", "")),
    st.none() | texts,
)
bases = references.map(lambda reference: resolve("http://base", reference))


def literally(path: str) -> str:
    """RFC 3986 section 5.2.4, word by word."""
    output = ""
    while path:
        if path.startswith("../"):
            path = path[3:]
        elif path.startswith(("./", "/./")):
            path = path[2:]
        elif path == "/.":
            path = "/"
        elif path.startswith("/../") or path == "/..":
            path = "/" + path[4:]
            output = output.rpartition("/")[0]
        elif path in (".", ".."):
            path = ""
        else:
            end = path.find("/", 1)
            end = len(path) if end < 0 else end
            output, path = output + path[:end], path[end:]
    return output


@given(paths)
@example("../a")
@example("a/../b")
@example("..")
@example("./..")
def test_dot_segments(path: str) -> None:
    assert remove_dot_segments(path) == literally(path)


@given(texts)
@example("//")
@example("a:\n")
def test_splitting_loses_nothing(text: str) -> None:
    assert str(split(text)).lower() == text.lower()  # only a scheme changes its case


@given(bases, texts | references)
def test_target_resolves_to_itself(base: str, reference: str) -> None:
    target = resolve(base, reference)
    assert split(target).scheme is not None
    assert resolve("other://base/", target) == target


@given(bases, texts | references)
def test_components_come_from_one_of_the_two(base: str, reference: str) -> None:
    ref, target = split(reference), split(resolve(base, reference))
    there = split(base)
    assert target.fragment == ref.fragment
    assert target.query == (there.query if ref[:4] == (None, None, "", None) else ref.query)
    assert target.authority == (there.authority if ref[:2] == (None, None) else ref.authority)
    assert target.scheme == (ref.scheme or there.scheme)
