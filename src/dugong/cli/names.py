"""The names of files that URLs and servers choose. None of them leads out of its directory.

1. ``-O`` uses the last segment of the URL's path as it is. It has no slash, and an empty one, ``.``
   and ``..`` are no names.
2. ``-J`` uses the file name in ``Content-Disposition`` (RFC 6266), ``filename*`` first. Only what
   follows the last slash or backslash counts, as in browsers. Control characters become ``_``, and
   so do dots and hyphens at the beginning: a server chooses neither hidden files nor names that
   look like options. The name must belong to nothing that exists.
3. A symlink that exists under such a name is only followed if it leads to the same directory, or
   one below it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from .output import Failure

# filename-parm = "filename" "=" value / "filename*" "=" ext-value   (RFC 6266 section 4.1)
_PARAMETER = re.compile(r';\s*(filename\*?)\s*=\s*("(?:[^"\\]|\\.)*"|[^;"]*)', re.IGNORECASE)

# ext-value = charset "'" [ language ] "'" value-chars   (RFC 8187 section 3.2.1)
_EXTENDED = re.compile(r"(utf-8|iso-8859-1)'[^']*'(.*)", re.IGNORECASE | re.DOTALL)

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def name_in_url(url: str) -> str | None:
    """Return the file name in a URL; ``None`` if it has none."""
    path = re.split("[?#]", url, maxsplit=1)[0].partition("://")[2].partition("/")[2]
    name = path.rpartition("/")[2]
    return None if name in ("", ".", "..") or "\0" in name else name


def name_in_header(disposition: str | None) -> str | None:
    """Return the safe form of a file name in ``Content-Disposition``; ``None`` if it has none."""
    found: dict[str, str] = {}
    for name, value in _PARAMETER.findall(disposition or ""):
        found.setdefault(name.lower(), _unquoted(value))
    match = _EXTENDED.fullmatch(found.get("filename*", ""))
    if match is not None:
        from urllib.parse import unquote

        text = unquote(match[2], match[1].lower(), "replace")
    elif (text := found.get("filename", "")) and not text.isascii():
        text = text.encode("latin-1", "replace").decode("utf-8", "replace")
    text = _CONTROL.sub("_", re.split(r"[/\\]", text)[-1]).strip()
    return re.sub(r"^[.-]+", lambda start: "_" * len(start[0]), text) or None


def _unquoted(value: str) -> str:
    if value.startswith('"'):
        # Browsers send and read Windows paths, so a backslash quotes nothing but these two.
        return re.sub(r'\\(["\\])', r"\1", value[1:-1])
    return value.strip()


def check_inside(path: Path) -> None:
    """Check that a file whose name others have chosen is in its directory.

    Raises:
        Failure: it is a symlink that leads out of it.
    """
    if path.is_symlink():
        directory = os.path.realpath(path.parent)
        if os.path.commonpath([directory, os.path.realpath(path)]) != directory:
            raise Failure(f"{path} is a symlink that leads out of its directory")
