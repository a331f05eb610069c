r"""URI references: split into components, resolved against a base, recomposed (RFC 3986).

`urllib.parse.urljoin` does not follow the RFC exactly: it drops an empty query and empty parameters
(``/a?``, ``/a;``), and takes ``http:///a`` for ``/a``. This module implements sections 5.2 and 5.3
exactly, in the strict variant: ``http:g`` has no authority, regardless of the base.

Schemes are converted to lower case (section 3.1), and resolution removes dot segments. Nothing else
is decoded, encoded or normalised: ``%2E`` is not a dot, ``\`` is not a slash, and an empty
component differs from a missing one. Every string can be split. The caller checks whether the
components are valid.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# URI-reference, as in RFC 3986 appendix B, but with the exact grammar of a scheme (section 3.1):
# scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )
_REFERENCE = re.compile(
    r"(?:([A-Za-z][A-Za-z0-9+\-.]*):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL
)

# The text that steps A and D of section 5.2.4 remove. These steps apply only at the beginning of a
# path, because after any other step the rest of the path begins with a slash.
_LEADING_DOTS = re.compile(r"(?:\.\.?/)*+(?:\.\.?\Z)?")

# A segment with the slash before it, as in step E.
_SEGMENT = re.compile(r"/[^/]*|[^/]+")


class Reference(NamedTuple):
    """The components of a URI reference. A missing component is ``None``, not empty."""

    scheme: str | None
    authority: str | None
    path: str
    query: str | None
    fragment: str | None

    def __str__(self) -> str:
        """Recompose the reference (RFC 3986 section 5.3)."""
        scheme = "" if self.scheme is None else f"{self.scheme}:"
        authority = "" if self.authority is None else f"//{self.authority}"
        path = self.path
        if not authority and path.startswith("//"):
            path = f"/.{path}"  # otherwise its first segment becomes an authority (section 3.3)
        query = "" if self.query is None else f"?{self.query}"
        fragment = "" if self.fragment is None else f"#{self.fragment}"
        return f"{scheme}{authority}{path}{query}{fragment}"


def split(reference: str) -> Reference:
    """Split a URI or a relative reference into its components."""
    match = _REFERENCE.fullmatch(reference)
    assert match is not None  # it matches every string
    scheme, *rest = match.groups()
    return Reference(None if scheme is None else scheme.lower(), *rest)


def resolve(base: str, reference: str) -> str:
    """Return the target of *reference* (RFC 3986 section 5.2.2, strict).

    Args:
        base: an absolute URI; its fragment is ignored.
        reference: a URI or a relative reference.
    """
    return str(_target(split(base), split(reference)))


def redirect_target(base: str, location: str) -> str:
    """Return the target of a redirect.

    If *location* has no fragment, the target inherits that of *base* (RFC 9110 section 10.2.2).

    Args:
        base: the URL of the request, with its fragment.
        location: the value of the ``Location`` field.
    """
    start = split(base)
    target = _target(start, split(location))
    if target.fragment is None:
        target = target._replace(fragment=start.fragment)
    return str(target)


def _target(base: Reference, ref: Reference) -> Reference:
    if ref.scheme is not None:
        return ref._replace(path=remove_dot_segments(ref.path))
    if ref.authority is not None:
        return ref._replace(scheme=base.scheme, path=remove_dot_segments(ref.path))
    if ref.path:
        path = ref.path if ref.path.startswith("/") else _merged(base, ref.path)
        return base._replace(path=remove_dot_segments(path), query=ref.query, fragment=ref.fragment)
    query = base.query if ref.query is None else ref.query
    return base._replace(query=query, fragment=ref.fragment)


def _merged(base: Reference, path: str) -> str:
    """Replace the last segment of the base's path by a relative path (section 5.2.3)."""
    if base.authority is not None and not base.path:
        return f"/{path}"
    directory, slash, _ = base.path.rpartition("/")
    return directory + slash + path


def remove_dot_segments(path: str) -> str:
    """Return *path* without ``.`` and ``..`` segments (RFC 3986 section 5.2.4), in linear time."""
    leading = _LEADING_DOTS.match(path)
    assert leading is not None  # it may match nothing, but always matches
    segments: list[str] = _SEGMENT.findall(path, leading.end())
    kept: list[str] = []
    for segment in segments:
        if segment == "/..":
            del kept[-1:]  # nothing to delete at the root
        elif segment != "/.":
            kept.append(segment)
    if segments and segments[-1] in ("/.", "/.."):
        kept.append("/")
    return "".join(kept)
