r"""Request bodies that the client makes: forms, JSON. And sending the same body twice.

Rules
=====

1. A mapping or pairs become ``application/x-www-form-urlencoded`` (URL Standard section 5). The
   encoding is UTF-8, a space is ``+``, and everything else except letters, digits and ``*-._`` is
   ``%XX``. Values are those of *params*: lists repeat their name, ``None`` is left out, ``True``
   becomes ``true``.
2. A `Multipart` becomes ``multipart/form-data`` (RFC 7578). Names are UTF-8 (section 5.1), never in
   the form ``filename*=`` (section 4.2).
3. No name ends its quotes, its field or its part. As browsers do (HTML, "multipart/form-data
   encoding algorithm"), CR, LF and ``"`` become ``%0D``, ``%0A`` and ``%22``. Other control
   characters and ``\`` are quoted likewise, because some parsers end a name at NUL, and take ``\"``
   for a quoted pair.
4. Of a file name, only what follows the last ``/`` or ``\`` is sent.
5. The boundary is random, 128 bits. So no content can contain it, unless its author has read it.
6. A body is *rewound* before it is sent again: a file goes back to the position where it was before
   it was sent first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InvalidRequest
from ..protocol import grammar
from ..protocol.arguments import exactly_str, shown
from ..protocol.content import BytesContent, CompositeBody, Content, content_of, is_replayable
from .url import flatten, pairs_of

if TYPE_CHECKING:
    from typing import BinaryIO, TypeAlias

    from _typeshed import ReadableBuffer

    from .url import Pairs

    Source: TypeAlias = BinaryIO | ReadableBuffer
    File: TypeAlias = BinaryIO | tuple[str | None, Source] | tuple[str | None, Source, str | None]
    Files: TypeAlias = Mapping[str, File | list[File]] | Sequence[tuple[str, File | list[File]]]

#: The media types.
URL_ENCODED = "application/x-www-form-urlencoded"
JSON = "application/json"
_DEFAULT_TYPE = "application/octet-stream"

# The application/x-www-form-urlencoded percent-encode set, without the space   (URL Standard
# section 1.3).
_NOT_IN_FORM = re.compile(rb"[^A-Za-z0-9*\-._ ]")

# What a name in a part must not contain as it is (rule 3).
_NOT_IN_NAME = re.compile(r'[\x00-\x1f\x7f"\\]')

# media-type = type "/" subtype parameters   (RFC 9110 section 8.3.1). Parameters are not parsed.
_MEDIA_TYPE = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+/[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:[ \t]*;.*)?")


def encode_form(fields: Pairs, what: str = "form") -> bytes:
    """Return a form, URL-encoded (rule 1).

    Args:
        fields: a mapping or pairs.
        what: the name of the argument, for messages.

    Raises:
        TypeError: *fields*, a name or a value has the wrong type.
        InvalidRequest: a name or a value has a character that UTF-8 cannot encode.
    """
    return b"&".join(
        [
            _for_form(name, what) + b"=" + _for_form(value, what)
            for name, value in flatten(fields, what)
        ]
    )


def _for_form(data: str | bytes, what: str) -> bytes:
    quoted = _NOT_IN_FORM.sub(lambda match: b"%%%02X" % ord(match[0]), _utf8(data, what))
    return quoted.replace(b" ", b"+")


def _utf8(data: str | bytes, what: str) -> bytes:
    if isinstance(data, bytes):
        return data
    try:
        return data.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise InvalidRequest(f"{what} has a character that UTF-8 cannot encode") from None


def encode_json(value: Any) -> bytes:
    """Return the argument *json* as a JSON text in UTF-8 (RFC 8259).

    Raises:
        TypeError: *value* has a part that JSON cannot represent.
        InvalidRequest: *value* has a number that JSON cannot represent, or it contains itself.
    """
    from json import dumps  # imported only for such a body

    try:
        text = dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
    except (ValueError, RecursionError) as exc:
        raise InvalidRequest(f"json cannot be encoded: {exc}") from None


class Multipart(CompositeBody):
    """A form with files, for the argument *form*. Sent as ``multipart/form-data`` (RFC 7578).

    Files are sent as a stream, from the positions where they are now. The length is known in
    advance if the lengths of all files are, and the form can be sent again if all files can seek.

    Args:
        fields: names and values, a mapping or pairs. Values are those of *params*.
        files: names and files, a mapping or pairs. A file is a binary file, or a tuple
            ``(filename, file)`` or ``(filename, file, content_type)``, in which *file* may be
            bytes. A list of files repeats the name. The default of *filename* is the file's own
            name if it has one, or the name of the field. The default of *content_type* is
            ``application/octet-stream``.

    Attributes:
        content_type: the value of ``Content-Type``, with the boundary.

    Raises:
        TypeError: *fields*, *files* or one of their items has the wrong type.
        InvalidRequest: a name or a content type is not valid, or a file is closed.
    """

    __slots__ = ("_pieces", "content_type")

    def __init__(self, fields: Pairs | None, files: Files | None = None) -> None:
        from secrets import token_hex  # imported only for such a form

        boundary = token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        start = f"--{boundary}\r\nContent-Disposition: form-data; name=".encode()
        text = bytearray()
        #: Bytes and files in turn, each file with its rewinder.
        self._pieces: list[tuple[Any, Callable[[], None]]] = []
        for name, value in [] if fields is None else flatten(fields, "fields"):
            text += start + _quoted(name) + b"\r\n\r\n" + _utf8(value, "fields") + b"\r\n"
        for name, file in _files(files):
            filename, source, media_type = _file(name, file)
            text += start + _quoted(name) + b"; filename=" + _quoted(filename)
            text += f"\r\nContent-Type: {media_type}\r\n\r\n".encode("latin-1")
            self._pieces += [(bytes(text), _nothing), (source, rewinder(source))]
            text = bytearray(b"\r\n")
        text += f"--{boundary}--\r\n".encode()
        self._pieces.append((bytes(text), _nothing))

    @property
    def replayable(self) -> bool:
        return all(is_replayable(piece) for piece, _ in self._pieces)

    @property
    def length(self) -> int | None:
        """The number of bytes; ``None`` if it is unknown."""
        lengths = [content.length for content in self.contents()]
        known = [length for length in lengths if length is not None]
        return sum(known) if len(known) == len(lengths) else None

    def contents(self, *, measure: bool = True) -> list[Content]:
        contents: list[Content] = []
        for piece, rewind in self._pieces:
            rewind()
            if type(piece) is bytes:
                contents.append(BytesContent(piece))
            else:
                contents.append(content_of(piece, measure=measure))
        return contents

    def __repr__(self) -> str:
        return f"<Multipart with {len(self._pieces) // 2} files>"


def _files(files: Any) -> list[tuple[str, Any]]:
    if files is None:
        return []
    found: list[tuple[str, Any]] = []
    for name, given in pairs_of(files, "files", "file"):
        found += [(name, file) for file in (given if isinstance(given, list) else [given])]
    return found


def _file(name: str, given: Any) -> tuple[str, Any, str]:
    """Return file name, content and media type of an item of *files*."""
    what = f"the file {shown(name)}"
    filename, media_type, source = None, None, given
    if isinstance(given, tuple):
        if len(given) not in (2, 3):
            raise TypeError(f"{what} must be a tuple (filename, file, content_type)")
        filename, source, media_type = (*given, None)[:3]
    elif not hasattr(given, "read"):
        raise TypeError(
            f"{what} must be a binary file or a tuple (filename, file, content_type), "
            f"not {type(given).__name__}"
        )
    if filename is None:
        own = getattr(source, "name", None)
        filename = own if isinstance(own, str) else name
    filename = re.split(r"[/\\]", exactly_str(filename, f"the name of {what}"))[-1]
    if not (hasattr(source, "read") or isinstance(source, (bytes, bytearray, memoryview))):
        raise TypeError(f"{what} must be a binary file or bytes, not {type(source).__name__}")
    try:
        content_of(source, measure=False)  # whether it can be sent
    except (TypeError, InvalidRequest) as exc:
        raise type(exc)(f"{what} cannot be sent: {exc}") from None
    if media_type is None:
        media_type = _DEFAULT_TYPE
    media_type = exactly_str(media_type, f"the content type of {what}")
    if not (grammar.FIELD_VALUE.fullmatch(media_type) and _MEDIA_TYPE.fullmatch(media_type)):
        raise InvalidRequest(f"the content type of {what} is not valid: {shown(media_type)}")
    return filename, source, media_type


def _quoted(name: str) -> bytes:
    escaped = _NOT_IN_NAME.sub(lambda match: f"%{ord(match[0]):02X}", name)
    return b'"' + _utf8(escaped, "a name in the form") + b'"'


def body_of(body: Any = None, json: Any = None, form: Any = None) -> tuple[Any, str | None]:
    """Return the body of a request and its media type.

    Args:
        body: the argument of that name, not checked here.
        json: any value that JSON can represent, ``None`` for none.
        form: a mapping, pairs or a `Multipart`, ``None`` for none.

    Returns:
        The body, and the value of ``Content-Type`` unless the caller sets that; ``None`` if there
        is none.

    Raises:
        TypeError: *json* or *form* has the wrong type.
        InvalidRequest: more than one of them is given, or one cannot be encoded.
    """
    given = [
        name
        for name, value in (("body", body), ("json", json), ("form", form))
        if value is not None
    ]
    if len(given) > 1:
        raise InvalidRequest(f"only one of {' and '.join(given)} can be passed")
    if json is not None:
        return encode_json(json), JSON
    if isinstance(form, Multipart):
        return form, form.content_type
    if form is not None:
        return encode_form(form), URL_ENCODED
    if isinstance(body, Multipart):
        raise InvalidRequest("a Multipart must be passed as form=, not as body=")
    return body, None


def rewinder(body: Any) -> Callable[[], None]:
    """Return a function that makes it possible to send a replayable body again (rule 6).

    Call this before the body is sent first, and the function before it is sent again. The body of a
    failed request that is `safe_to_retry` needs no rewinding, and it does no harm.

    Args:
        body: any body. Rewinding one that cannot seek does nothing.
    """
    if hasattr(body, "read") and is_replayable(body):
        position = body.tell()

        def rewind() -> None:
            body.seek(position)

        return rewind
    return _nothing  # a `Multipart` rewinds itself


def _nothing() -> None:
    pass
