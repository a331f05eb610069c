"""Request bodies from ``-d`` and its relatives, with curl's rules.

1. Several ``-d`` are joined with ``&``, several ``--json`` with nothing. Kinds cannot be mixed.
2. ``@FILE`` reads a file, ``@-`` standard input. ``--data`` drops its line ends and NUL bytes.
3. ``--data-urlencode`` takes ``TEXT``, ``=TEXT``, ``NAME=TEXT``, ``@FILE`` and ``NAME@FILE``, and
   encodes all but the name.
4. ``--form`` takes ``NAME=TEXT``, ``NAME=@FILE``, which sends a file, and ``NAME=<FILE``, which
   sends its content, each with ``;type=`` and ``;filename=`` behind it.
"""

from __future__ import annotations

import re
import sys
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from .. import InvalidRequest, Multipart
from .output import Failure

_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"


def body_for(
    options: list[tuple[str, str]], headers: list[tuple[str, Any]], files: ExitStack
) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """Return the arguments of a request for its body, and the fields to add to *headers*.

    Args:
        options: names and values of the options, in order.
        headers: the fields that the user sets.
        files: closes the files of a form.

    Raises:
        InvalidRequest: the options cannot be combined.
        Failure: a file cannot be read.
    """
    kinds = {("data" if name.startswith("data") else name) for name, _ in options}
    if len(kinds) > 1:
        raise InvalidRequest(f"--{' and --'.join(sorted(kinds))} cannot be combined")
    if kinds == {"form"}:
        return {"form": _form([value for _, value in options], files)}, []
    if kinds == {"json"}:
        data = b"".join(_file_or_text(value) for _, value in options)
        fields = [("Content-Type", _JSON), ("Accept", _JSON)]
    else:
        data = b"&".join(_data(name, value) for name, value in options)
        fields = [("Content-Type", _FORM)]
    given = {name.lower() for name, _ in headers}
    return {"body": data}, [pair for pair in fields if pair[0].lower() not in given]


def _data(name: str, value: str) -> bytes:
    if name == "data-urlencode":
        return _encoded(value)
    if name == "data-raw" or not value.startswith("@"):
        return value.encode("utf-8", "surrogateescape")
    data = _read(value[1:])
    return data if name == "data-binary" else re.sub(rb"[\r\n\0]", b"", data)


def _encoded(value: str) -> bytes:
    match = re.match("[^=@]*[=@]", value)
    name, rest = ("", value) if match is None else (match[0][:-1], value[match.end() :])
    reads = match is not None and match[0].endswith("@")
    data = _read(rest) if reads else rest.encode("utf-8", "surrogateescape")
    text = quote_plus(data)  # a space becomes "+", as in HTML forms
    return (f"{name}={text}" if name else text).encode("utf-8", "surrogateescape")


def _file_or_text(value: str) -> bytes:
    if value.startswith("@"):
        return _read(value[1:])
    return value.encode("utf-8", "surrogateescape")


def _read(name: str) -> bytes:
    try:
        if name != "-":
            return Path(name).read_bytes()
        if sys.stdin is None:
            raise Failure("cannot read standard input: it is closed")
        return sys.stdin.buffer.read()
    except OSError as exc:
        raise Failure(f"cannot read {name}: {exc.strerror}") from exc


def _form(values: list[str], opened: ExitStack) -> Multipart:
    """Return a form. The order of fields and files is kept as far as `Multipart` does."""
    fields: list[tuple[str, Any]] = []
    files: list[tuple[str, Any]] = []
    for value in values:
        name, equals, text = value.partition("=")
        if not equals:
            raise InvalidRequest(f"--form {value}: the form is NAME=VALUE or NAME=@FILE")
        kind = text[:1]
        if kind not in ("@", "<"):
            fields.append((name, text))
            continue
        path, *rest = text[1:].split(";")
        about = dict(part.strip().partition("=")[::2] for part in rest)
        if kind == "<":
            fields.append((name, _read(path)))
            continue
        try:
            source: Any = _read(path) if path == "-" else opened.enter_context(FileIO(path))
        except OSError as exc:
            raise Failure(f"cannot read {path}: {exc.strerror}") from exc
        filename = about.get("filename", Path(path).name).strip('"')
        files.append((name, (filename, source, about.get("type") or _guessed(path))))
    return Multipart(fields, files)


def _guessed(name: str) -> str | None:
    import mimetypes

    return mimetypes.guess_type(name)[0]
