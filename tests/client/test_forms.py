"""Forms and JSON: encoding, escaping, length, streaming, sending again."""

from __future__ import annotations

import gzip
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder
from werkzeug.serving import make_server
from werkzeug.wrappers import Request as ServerRequest
from werkzeug.wrappers import Response as ServerResponse

from dugong import HTTPConnection, InvalidRequest, Request
from dugong.client.forms import (
    Multipart,
    body_of,
    encode_form,
    encode_json,
    rewinder,
)
from dugong.protocol.content import content_of
from dugong.protocol.request import NO_DEFAULTS, prepare
from tests.support.copies import WAYS
from tests.support.in_turn import in_turn


class Pipe(io.RawIOBase):
    """A file of unknown length that cannot seek."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._data.readinto(buffer)


def pipe(data: bytes) -> Any:  # type checkers do not take it for a BinaryIO
    return Pipe(data)


def taken(body: Any) -> bytes:
    content, whole = content_of(body), bytearray()
    while piece := content.take():
        whole += piece
        content.sent += len(piece)
    content.finish()
    assert content.length in (None, len(whole))
    return bytes(whole)


Fields = list[tuple[str, str]]
Files = list[tuple[str, str, str, bytes]]


def split(body: bytes, content_type: str) -> tuple[Fields, Files]:
    """Return names and values, then name, file name, type and content of files, as a server."""
    decoder = MultipartDecoder(content_type.partition("boundary=")[2].encode())
    decoder.receive_data(body)
    decoder.receive_data(None)
    found: list[tuple[Field | File, bytearray]] = []
    while not isinstance(event := decoder.next_event(), Epilogue):
        if isinstance(event, Field | File):
            found.append((event, bytearray()))
        elif isinstance(event, Data):
            found[-1][1].extend(event.data)
    fields = [(part.name, data.decode()) for part, data in found if isinstance(part, Field)]
    files = [
        (part.name, part.filename, part.headers["Content-Type"], bytes(data))
        for part, data in found
        if isinstance(part, File)
    ]
    return fields, files


def parsed(form: Multipart) -> tuple[Fields, Files]:
    return split(taken(form), form.content_type)


# -------------------------------------------------------------------------------- URL-encoded


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, b""),
        ({"a": "b c+d"}, b"a=b+c%2Bd"),
        ({"a": [1, None, True, 0.5]}, b"a=1&a=true&a=0.5"),
        ([("a", 1), ("a", None), ("b", b"\xff")], b"a=1&b=%FF"),
        ({"*-._~": "ü&="}, b"*-._%7E=%C3%BC%26%3D"),
        ({"\r\n\0\"": "\r\n\0\""}, b"%0D%0A%00%22=%0D%0A%00%22"),
        ({"\udcff": ""}, b"%FF="),
    ],
)  # fmt: skip
def test_form(fields: Any, expected: bytes) -> None:
    assert encode_form(fields) == expected


@given(st.lists(st.tuples(st.text(), st.text())))
def test_a_form_arrives(fields: list[tuple[str, str]]) -> None:
    assert parse_qsl(encode_form(fields).decode("ascii"), keep_blank_values=True) == fields


@pytest.mark.parametrize("fields", ["a=b", b"a=b", 3, {"a": object()}, {1: "a"}, [("a", "b", "c")]])
def test_a_form_of_the_wrong_kind(fields: Any) -> None:
    with pytest.raises(TypeError, match="form"):
        encode_form(fields)


def test_a_form_with_half_a_character() -> None:
    with pytest.raises(InvalidRequest, match="form"):
        encode_form({"a": "\ud800"})


# --------------------------------------------------------------------------------------- JSON


def test_json() -> None:
    value = {"a": [1, 2.5, None, True, "ü\u2028"]}
    assert encode_json(value) == '{"a":[1,2.5,null,true,"ü\u2028"]}'.encode()
    assert json.loads(encode_json(value)) == value


def test_json_that_cannot_be_encoded() -> None:
    endless: list[Any] = []
    endless.append(endless)
    for value in (float("nan"), [float("inf")], "\ud800", endless):
        with pytest.raises(InvalidRequest, match="json"):
            encode_json(value)
    with pytest.raises(TypeError):
        encode_json({"a": object()})


# ---------------------------------------------------------------------------------- multipart

NAMES = [
    "plain", "ü 💩", 'q"x', "a\r\nContent-Type: x", "a\r\n\r\nbody", 'x"; filename="y', "a\\",
    "a;b=c", "a%0D%0A", "--", "", " ", "\t", "%22",
]  # fmt: skip


@in_turn("name", NAMES, ids=ascii)
def test_names_add_no_part(name: str) -> None:
    """Quoted as browsers do it; control characters and the backslash as well."""
    seen = name
    for char in '\r\n\t"\\':
        seen = seen.replace(char, f"%{ord(char):02X}")
    seen = seen.replace("%22", '"')  # the server knows what browsers do
    form = Multipart({name: "1", "other": "2"}, {name: (f"dir/{name}", b"3")})
    fields, files = parsed(form)
    assert fields == [(seen, "1"), ("other", "2")]
    assert [(file[0], file[2:]) for file in files] == [(seen, ("application/octet-stream", b"3"))]
    head = taken(form).split(b"\r\n")
    assert len(head) == 4 * 2 + 5 + 2  # lines: two fields, one file, the end


@pytest.mark.parametrize("char", ["\0", "\x1f", "\x7f", "\r", "\n", '"', "\\"])
def test_no_control_characters_in_names(char: str) -> None:
    body = taken(Multipart({f"a{char}b": ""}, {f"a{char}b": (f"{char}c", b"")}))
    for line in body.split(b"\r\n"):
        assert all(byte >= 32 and byte != 127 for byte in line)
        assert b"\\" not in line
        assert line.count(b'"') in (0, 2, 4)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.text(), st.text())), st.text(), st.binary())
def test_any_field(fields: list[tuple[str, str]], filename: str, data: bytes) -> None:
    form = Multipart(fields, [("file", (f"x{filename}", data))])
    got, files = parsed(form)
    assert len(got) == len(fields)
    assert [file[3] for file in files] == [data]
    body = taken(form)
    assert body.count(form.content_type.partition("=")[2].encode()) == len(fields) + 2


def test_the_parts() -> None:
    form = Multipart([("a", 1)], [("f", ("n.txt", b"data", "text/plain; charset=utf-8"))])
    boundary = form.content_type.removeprefix("multipart/form-data; boundary=")
    assert len(boundary) == 32
    assert taken(form).decode() == (
        f'--{boundary}\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="f"; filename="n.txt"\r\n'
        "Content-Type: text/plain; charset=utf-8\r\n\r\ndata\r\n"
        f"--{boundary}--\r\n"
    )
    assert Multipart({}).content_type != Multipart({}).content_type


def test_an_empty_form() -> None:
    assert parsed(Multipart({})) == ([], [])
    assert parsed(Multipart(None, None)) == ([], [])


def test_file_names(tmp_path: Path) -> None:
    path = tmp_path / "ä b.txt"
    path.write_bytes(b"x")
    with path.open("rb") as named, open(named.fileno(), "rb", closefd=False) as numbered:
        form = Multipart(None, [
            ("a", named), ("b", numbered), ("c", io.BytesIO(b"")), ("d", (None, b"")),
            ("e", ("/etc/passwd", b"")), ("f", ("C:\\dir\\x", b"")), ("g", ("..", b"", None)),
        ])  # fmt: skip
        _, files = parsed(form)
    names = [(file[0], file[1]) for file in files]
    assert names[:6] == [
        ("a", "ä b.txt"), ("b", "b"), ("c", "c"), ("d", "d"), ("e", "passwd"), ("f", "x"),
    ]  # fmt: skip


def test_several_files_of_one_name() -> None:
    form = Multipart({"a": [1, 2]}, {"f": [("x", b"1"), ("y", b"2")]})
    fields, files = parsed(form)
    assert fields == [("a", "1"), ("a", "2")]
    assert [file[:2] for file in files] == [("f", "x"), ("f", "y")]


@in_turn(
    ("files", "kind", "text"),
    [
        ({"f": "text"}, TypeError, "binary file"),
        ({"f": b"bytes"}, TypeError, "binary file"),
        ({"f": ("n", "text")}, TypeError, "binary file or bytes"),
        ({"f": io.StringIO("x")}, TypeError, "binary mode"),
        ({"f": ("n",)}, TypeError, "tuple"),
        ({"f": ("n", b"", "t", "x")}, TypeError, "tuple"),
        ({"f": (b"n", b"")}, TypeError, "str"),
        ({"f": ("n", b"", "text/plain\r\nX: y")}, InvalidRequest, "content type"),
        ({"f": ("n", b"", "text")}, InvalidRequest, "content type"),
        ({"f": ("n", b"", "tëxt/plain")}, InvalidRequest, "content type"),
        ({1: b""}, TypeError, "name of item 1"),
        ([("f",)], TypeError, "pairs"),
        (3, TypeError, "mapping or pairs"),
        (io.BytesIO(), TypeError, "mapping or pairs"),
    ],
    ids=range(14),
)
def test_files_of_the_wrong_kind(files: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        Multipart({}, files)


def test_a_closed_file() -> None:
    file = io.BytesIO()
    file.close()
    with pytest.raises(InvalidRequest, match=r"the file 'f' cannot be sent: .*closed"):
        Multipart({}, {"f": file})


# ------------------------------------------------------------------------- length and replay


def sized(tmp_path: Path) -> Any:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    file = path.open("rb")
    file.seek(3)
    return file


def test_known_length_from_the_current_position(tmp_path: Path) -> None:
    with sized(tmp_path) as file:
        memory = io.BytesIO(b"abcdef")
        memory.seek(2)
        form = Multipart({"a": "b"}, [("f", file), ("g", memory), ("h", ("h", bytearray(b"x")))])
        assert form.replayable
        body = b""
        for _ in range(3):  # each time from where the files stood at first
            body = taken(form)
            assert form.length == len(body)
            assert b"\r\n\r\n3456789\r\n" in body
            assert b"\r\n\r\ncdef\r\n" in body
        file.seek(0)
        assert taken(form) == body


def test_unknown_length_and_one_shot() -> None:
    form = Multipart({}, {"f": pipe(b"data")})
    assert form.length is None
    assert not form.replayable
    assert parsed(form)[1][0][3] == b"data"
    with pytest.raises(Exception, match="used up"):
        taken(form)


def test_replayable_without_a_length() -> None:
    with gzip.open(io.BytesIO(gzip.compress(b"data"))) as file:
        form = Multipart({}, {"f": ("f", file)})  # type: ignore[dict-item]
        assert form.length is None
        assert form.replayable
        assert taken(form) == taken(form)
        assert b"\r\ndata\r\n" in taken(form)


def test_in_a_request() -> None:
    form = Multipart({"a": "b"}, {"f": io.BytesIO(b"data")})
    request = Request("POST", "/", {}, form)
    assert request.replayable
    exchange = prepare(request, None, NO_DEFAULTS)
    assert f"Content-Length: {form.length}\r\n".encode() in exchange.head
    chunked = prepare(Request("POST", "/", {}, Multipart({}, {"f": pipe(b"")})), None, NO_DEFAULTS)
    assert b"Transfer-Encoding: chunked\r\n" in chunked.head
    copied = WAYS["pickle-4"](request)
    assert copied.body is None
    assert copied.incomplete


@in_turn("cut", range(0, 500, 7))
def test_finished_and_restored_positions(cut: int) -> None:
    """After a request that was cut off, each file is behind what was sent, or at its start."""
    one, two = io.BytesIO(b"1" * 100), io.BytesIO(b"22")
    one.seek(10)
    form = Multipart({"a": "b"}, [("f", one), ("g", two)])
    whole = taken(form)
    ends = [whole.index(b"1" * 90), whole.index(b"\r\n22\r\n") + 2]
    for restored in (True, False):
        content = content_of(form)
        sent = 0
        while sent < cut and (piece := content.take()):
            content.sent += min(len(piece), cut - sent)
            sent = content.sent
        if restored:
            assert content.restore()
            assert (one.tell(), two.tell()) == (10, 0)
        else:
            content.finish()
            assert one.tell() == 10 + min(90, max(0, sent - ends[0]))
            assert two.tell() == min(2, max(0, sent - ends[1]))


def test_going_on_after_a_restore() -> None:
    """A step of a pipeline timed out. The file is restored, and then the step is repeated."""
    form = Multipart({"a": "b"}, [("f", io.BytesIO(b"1" * 3_000_000)), ("g", io.BytesIO(b"2"))])
    expected = taken(form)
    content, whole = content_of(form), bytearray()
    while piece := content.take():
        whole += piece
        assert content.restore()
    assert whole == expected


def test_a_file_that_changes_or_fails(tmp_path: Path) -> None:
    with sized(tmp_path) as file:
        content = content_of(Multipart({}, {"f": file}))
        (tmp_path / "file").write_bytes(b"0123")
        content.take()
        with pytest.raises(Exception, match="10 bytes"):
            content.take()
        assert not content.failed

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise ZeroDivisionError

    content = content_of(Multipart({}, {"f": Failing(b"x")}))
    content.take()
    with pytest.raises(ZeroDivisionError):
        content.take()
    assert content.failed


def echo(environ: Any, start_response: Any) -> Any:
    request = ServerRequest(environ)
    files: list[Any] = []
    if "multipart" in request.content_type:
        fields, whole = split(request.get_data(), request.content_type)
        files = [(name, filename, len(data)) for name, filename, _, data in whole]
    else:
        fields = parse_qsl(request.get_data().decode())
    length = request.headers.get("Content-Length")
    answer = {"form": fields, "files": files, "length": length}
    return ServerResponse(json.dumps(answer))(environ, start_response)


@pytest.fixture
def server() -> Iterator[int]:
    server = make_server("127.0.0.1", 0, echo, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.port
    server.shutdown()
    thread.join()
    server.server_close()


def test_over_a_connection(server: int, tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(bytes(5_000_000))
    with path.open("rb") as file, HTTPConnection("127.0.0.1", server) as conn:
        form: Any = Multipart({"a": "b"}, [("f", file), ("g", io.BytesIO(b"xyz"))])
        for _ in range(2):
            conn.request("POST", "/", {"Content-Type": form.content_type}, form)
            answer = json.loads(conn.readall())
            assert answer == {
                "form": [["a", "b"]],
                "files": [["f", "big", 5_000_000], ["g", "g", 3]],
                "length": str(form.length),
            }
        body, content_type = body_of(form={"a": ["b c", "d"]})
        conn.request("POST", "/", {"Content-Type": content_type}, body)
        assert json.loads(conn.readall())["form"] == [["a", "b c"], ["a", "d"]]


# ------------------------------------------------------------------------- choice of the body


def test_body_of() -> None:
    form = Multipart({})
    assert body_of() == (None, None)
    assert body_of(body=b"x") == (b"x", None)
    assert body_of(json=[]) == (b"[]", "application/json")
    assert body_of(json=0) == (b"0", "application/json")
    assert body_of(form={}) == (b"", "application/x-www-form-urlencoded")
    assert body_of(form=form) == (form, form.content_type)


def test_more_than_one_body() -> None:
    with pytest.raises(InvalidRequest, match="only one of body and form"):
        body_of(body=b"", form={})
    with pytest.raises(InvalidRequest, match="only one of body and json and form"):
        body_of(b"", [], {})
    with pytest.raises(InvalidRequest, match="form="):
        body_of(body=Multipart({}))


def test_rewinder() -> None:
    file = io.BytesIO(b"0123")
    file.seek(2)
    rewind = rewinder(file)
    file.read()
    rewind()
    assert file.tell() == 2
    for body in (None, b"x", pipe(b""), iter([b"x"]), Multipart({})):
        rewinder(body)()
