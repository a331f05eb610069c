"""`pipeline`: what it gives for what it is given, and what the server sees of it."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dugong import AsyncHTTPConnection, BodyFollowing, HTTPConnection, InvalidRequest, Request
from tests.support.drive import drive
from tests.support.in_turn import in_turn
from tests.support.pipeline_server import Server, answer
from tests.support.pipeline_walk import bodies, expected, paths, walk
from tests.support.received import ReceivedRequest
from tests.support.styles import StyledWire
from tests.support.wire import Wire


@in_turn("depth", [1, 2, 5, 64])
async def test_responses_come_in_order(wire: StyledWire, depth: int) -> None:
    server = Server(wire)
    conn = wire.dial(server.listener)
    steps = await walk(conn, paths(30), depth=depth)
    assert bodies(steps) == expected(paths(30))
    assert [step.request.path for step in steps] == server.targets == paths(30)
    assert len(server.connections) == 1
    assert server.most_in_flight() <= depth
    assert server.log[0].alone


@pytest.mark.styles("generator")  # what comes together is a matter of luck where threads play
@pytest.mark.parametrize("depth", [1, 2, 5])
async def test_as_many_are_in_flight_as_may_be(wire: StyledWire, depth: int) -> None:
    server = Server(wire)
    await walk(wire.dial(server.listener), paths(30), depth=depth)
    assert server.most_in_flight() == depth


def test_it_is_an_iterator(plain: Wire) -> None:
    with HTTPConnection("localhost") as conn:
        pipeline = conn.pipeline([])
        assert iter(pipeline) is pipeline
        assert list(pipeline) == list(pipeline) == []  # without connecting
        with pytest.raises(StopIteration) as caught:
            next(pipeline.co_next())
        assert caught.value.value is None


def test_it_is_an_asynchronous_iterator() -> None:
    """And no generator, which would have to be closed by who leaves it."""
    pipeline = AsyncHTTPConnection("localhost").pipeline([])
    assert aiter(pipeline) is pipeline
    assert not isinstance(pipeline, AsyncGenerator)
    assert not hasattr(pipeline, "__iter__")


async def test_the_end_stays_the_end(plain: StyledWire) -> None:
    server = Server(plain)
    conn = plain.dial(server.listener)
    pipeline = conn.pipeline(paths(2))
    assert [response.path async for response in pipeline] == paths(2)
    assert [response async for response in pipeline] == []
    assert await anext(pipeline, None) is None


# ------------------------------------------------------------------------------ requests


class OwnRequest(Request):
    """A request that the caller has something to say about."""

    note = "mine"


@pytest.mark.parametrize("depth", [1, 8])
async def test_each_response_has_its_request(plain: StyledWire, depth: int) -> None:
    server = Server(plain)
    conn = plain.dial(server.listener)
    given: list[Any] = [
        "/0",
        ("HEAD", "/1"),
        Request("GET", "/2", {"X-A": "1"}),
        OwnRequest("DELETE", "/3"),
        Request("PUT", "/4", [("X-A", 2), ("X-A", "3")], b"body"),
        Request("OPTIONS", "*"),
    ]
    steps = await walk(conn, given, depth=depth)
    for step, request in zip(steps, given, strict=True):
        assert step.response is not None
        assert step.response.request is step.request
        if isinstance(request, Request):
            assert step.request is request
        else:
            method, path = ("GET", request) if isinstance(request, str) else request
            assert (step.request.method, step.request.path) == (method, path)
        assert (step.response.method, step.response.path) == (
            step.request.method,
            step.request.path,
        )
    assert [seen.request.all("x-a") for seen in server.log] == [[], [], ["1"], [], ["2", "3"], []]
    assert given[4].headers == [("X-A", 2), ("X-A", "3")]


async def test_headers_given_as_iterators(plain: StyledWire) -> None:
    """They are gone through once, and sent again all the same."""
    server = Server(plain, None)
    conn = plain.dial(server.listener)
    requests = [Request("GET", path, iter([("X-Path", path)])) for path in paths(6)]
    pipeline = conn.pipeline(requests)
    assert (await anext(pipeline)).path == "/0"
    assert (await anext(pipeline)).path == "/1"
    server.end_now("reset")
    assert [response.path async for response in pipeline] == paths(4, 2)
    assert [received.get("x-path") for path in paths(6) for received in server.whole(path)] == [
        received.target for path in paths(6) for received in server.whole(path)
    ]


def a_file(data: bytes) -> Any:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the test
    file.write(b"not this" + data)
    file.seek(len(b"not this"))
    return file


def in_blocks(data: bytes) -> Iterator[bytes]:
    for i in range(0, len(data), 7):
        yield data[i : i + 7]


BODIES: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "BytesIO": io.BytesIO,
    "file": a_file,
    "generator": in_blocks,
    "list": lambda data: [data[:5], b"", data[5:]],
    "empty": lambda data: b"",
}


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_bodies_of_every_kind(wire: StyledWire, method: str) -> None:
    server = Server(wire)
    conn = wire.dial(server.listener)
    data = bytes(range(256))
    requests = [Request(method, f"/{kind}", body=BODIES[kind](data)) for kind in BODIES]
    steps = await walk(conn, requests)
    assert [step.request for step in steps] == requests
    assert all(step.error is None for step in steps)
    for kind, seen in zip(BODIES, server.log, strict=True):
        assert seen.target == f"/{kind}"
        assert seen.request.body == (b"" if kind == "empty" else data)
    requests[4].body.close()


# ---------------------------------------------------------------------- what must go alone


ALONE: dict[str, Request] = {
    "POST": Request("POST", "/x", body=b"form"),
    "bodyless POST": Request("POST", "/x"),
    "PATCH": Request("PATCH", "/x", body=b"form"),
    "unknown method": Request("FROB", "/x"),
    "lower case": Request("get", "/x"),
    "Connection: close": Request("GET", "/x", {"Connection": "close"}),
    "Connection: Close among others": Request("PUT", "/x", {"Connection": "te, Close"}, b"x"),
    "Upgrade": Request("GET", "/x", {"Connection": "upgrade", "Upgrade": "websocket"}),
    "POST of a generator": Request("POST", "/x", body=[b"form"]),
}


@in_turn("kind", ALONE)
async def test_the_pipeline_drains(wire: StyledWire, kind: str) -> None:
    """Nothing is in flight when it is sent, and nothing follows before it is answered."""
    server = Server(wire)
    conn = wire.dial(server.listener)
    requests = [*paths(4), ALONE[kind], *paths(4, 4), ALONE[kind], ALONE[kind], *paths(2, 8)]
    steps = await walk(conn, requests)
    assert [step.error for step in steps] == [None] * len(requests)
    assert {seen.target for seen in server.log if seen.alone} >= {"/0", "/x"}
    assert all(seen.alone for seen in server.log if seen.target == "/x")
    assert len(server.connections) == (4 if "lose" in kind else 1)


@pytest.mark.styles("generator")
async def test_a_connect_drains(plain: StyledWire) -> None:
    """It is answered before anything follows; its refusal is a response like any other."""

    def refuse(request: ReceivedRequest) -> bytes:
        response = answer(request)
        return response.replace(b"200 OK", b"405 No") if request.method == "CONNECT" else response

    server = Server(plain, answer=refuse)
    conn = plain.dial(server.listener)
    steps = await walk(conn, ["/0", ("CONNECT", "example.org:443"), ("CONNECT", "b:1"), "/3", "/4"])
    assert [step.response.status for step in steps if step.response] == [200, 405, 405, 200, 200]
    assert [seen.alone for seen in server.log[:3]] == [True, True, True]
    assert not server.log[3].alone


# -------------------------------------------------------------------------- what is wrong


BAD: dict[str, tuple[Any, type[Exception]]] = {
    "number": (7, TypeError),
    "none": (None, TypeError),
    "bytes": (b"/x", TypeError),
    "tuple of one": (("/x",), TypeError),
    "tuple of three": (("GET", "/x", {}), TypeError),
    "empty path": ("", InvalidRequest),
    "space in the path": ("/a b", InvalidRequest),
    "line break in the path": ("/a\r\nX: y", InvalidRequest),
    "not ASCII": ("/é", InvalidRequest),
    "bad method": (("G ET", "/"), InvalidRequest),
    "bad header": (Request("GET", "/", {"X": "a\nb"}), InvalidRequest),
    "header of a wrong type": (Request("GET", "/", {"X": 1.5}), TypeError),  # type: ignore[dict-item]
    "text body": (Request("PUT", "/", body="text"), TypeError),
    "text file": (Request("PUT", "/", body=io.StringIO("text")), TypeError),
    "body to follow": (Request("PUT", "/", body=BodyFollowing(3)), TypeError),
    "wrong length": (Request("PUT", "/", {"Content-Length": "7"}, b"abc"), InvalidRequest),
    "header without value": (Request("GET", "/", [("X",)]), InvalidRequest),  # type: ignore[list-item]
}


@in_turn("kind", BAD)
@in_turn("depth", [1, 2, 8])
async def test_a_wrong_request_keeps_its_place(plain: StyledWire, kind: str, depth: int) -> None:
    """It is raised where its response would come, and what is behind it goes on."""
    given, error = BAD[kind]
    server = Server(plain)
    conn = plain.dial(server.listener)
    for place in (0, 1, 5):
        before, after = paths(place), paths(3, place)
        requests = [*before, given, given, *after]
        steps = await walk(conn, requests, (TypeError, InvalidRequest), depth=depth)
        assert bodies(steps) == [*expected(before), None, None, *expected(after)]
        for step in steps[place : place + 2]:
            assert type(step.error) is error
            if isinstance(given, Request):
                assert step.request is given
    assert set(server.times()) == set(paths(8))
    assert len(server.connections) == 1


@pytest.mark.parametrize("given", ["/path", b"/path", Request("GET", "/"), 7, None])
def test_one_request_is_no_iterable(given: Any) -> None:
    for kind in (HTTPConnection, AsyncHTTPConnection):
        with pytest.raises(TypeError):
            kind("localhost").pipeline(given)


@pytest.mark.parametrize("depth", [0, -1])
def test_no_depth(depth: int) -> None:
    for kind in (HTTPConnection, AsyncHTTPConnection):
        with pytest.raises(ValueError, match="depth"):
            kind("localhost").pipeline(["/"], depth=depth)
        with pytest.raises(ValueError, match="depth"):
            kind("localhost").pipeline(["/"], depth)


# ----------------------------------------------------------------------------- segments


@pytest.mark.parametrize(("burst", "most"), [(True, 5), (False, 40)])
def test_requests_are_joined(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, burst: bool, most: int
) -> None:
    """A hundred small requests go out in few pieces: each is one call of the system.

    The first goes alone, then 64 together, and then half as many each time, unless the server
    makes room for them one by one.
    """
    monkeypatch.setenv("DUGONG_TRACEFILE", str(tmp_path / "trace-%d"))
    server = Server(wire, burst=burst)
    conn = wire.dial(server.listener)
    steps = drive(walk(conn, paths(100)), server)
    assert bodies(steps) == expected(paths(100))
    conn.disconnect()
    (trace,) = tmp_path.iterdir()
    sizes = [int(size) for size in re.findall(rb"--- sent ([0-9]+) bytes", trace.read_bytes())]
    assert sum(sizes) == conn.bytes_sent
    assert len(sizes) <= most
