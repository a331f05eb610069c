"""Errors, and what they carry, can be pickled and copied."""

from __future__ import annotations

import copy
import errno
import io
import itertools
import multiprocessing
import pickle
import socket
import ssl
import sys
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import dugong
from dugong import (
    AddressRefused,
    BodyFollowing,
    CaseInsensitiveDict,
    ConnectionClosed,
    ConnectionTimedOut,
    DNSUnavailable,
    DugongError,
    Headers,
    HostnameNotResolvable,
    HTTPConnection,
    HTTPResponse,
    InvalidResponse,
    PollNeeded,
    Request,
    StateError,
    StatusError,
    TunnelRefused,
    is_temp_network_error,
)
from tests.support.copies import WAYS, every_way, pickled
from tests.support.exchanges import fetch, works
from tests.support.in_turn import in_turn
from tests.support.styles import StyledWire


def shown(value: Any) -> Any:
    """Everything in *value*, as something that can be compared."""
    if isinstance(value, BaseException):
        return type(value), str(value), shown(value.args), shown(vars(value))
    if isinstance(value, Request | HTTPResponse | BodyFollowing):
        names = [name for name in type(value).__slots__ if name != "__weakref__"]
        return type(value), [(name, shown(getattr(value, name))) for name in names]
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [shown(item) for item in value]
    return value


def response() -> HTTPResponse:
    headers = Headers([("A", "b"), ("a", "c")])
    made = HTTPResponse("PUT", "/x", 200, "OK", headers, 5, "1.0", Request("PUT", "/x", {}, b"abc"))
    made.informational = [HTTPResponse("PUT", "/x", 103, "", Headers(), 0)]
    made.trailers = Headers([("Sum", "7")])
    assert made.headers["A"] == "b"  # which keeps an index
    return made


#: Arguments of the classes whose constructor takes more than a message.
ARGUMENTS: dict[type[DugongError], tuple[Any, ...]] = {
    TunnelRefused: (407, "No", Headers([("Via", "x")]), b"Sorry"),
    AddressRefused: ("inside.example", ("10.0.0.1",)),
    HostnameNotResolvable: ("gone.example",),
    DNSUnavailable: ("name.example",),
    InvalidResponse: ("bad status line", response()),
    StatusError: (404, "Not Found", "http://h/", None, b"gone"),
}

CLASSES = [
    value
    for name in dugong.__all__
    if isinstance(value := getattr(dugong, name), type) and issubclass(value, DugongError)
]


def failure(kind: type[DugongError], *requests: Request) -> DugongError:
    """An exception with all attributes that it can have."""
    exc = kind(*ARGUMENTS.get(kind, ("it failed",)))
    exc.bytes_sent = 123
    exc.response_started = exc.safe_to_retry = True
    exc.unanswered = requests or (Request("PUT", "/x", [("A", "b")], b"abc"), Request("GET", "/"))
    exc.add_note("seen in a test")
    if isinstance(exc, InvalidResponse):
        exc.part = "chunk"
    return exc


@in_turn("kind", CLASSES)
@every_way
def test_each_of_our_errors(kind: type[DugongError], copied: Callable[[Any], Any]) -> None:
    exc = failure(kind)
    before = shown(exc)
    try:
        raise exc from OSError("cause")
    except kind:
        got = copied(exc)
    assert got is not exc
    assert shown(got) == shown(exc) == before
    assert repr(got) == repr(exc)
    assert is_temp_network_error(got) is is_temp_network_error(exc)


class Plain(ConnectionClosed):
    """As users write them."""


class WithArguments(InvalidResponse):
    def __init__(self, url: str, code: int) -> None:
        super().__init__(f"{url}: {code}", part="limit")
        self.url = url
        self.code = code


class WithErrno(ConnectionTimedOut):
    def __init__(self, seconds: float, *, host: str) -> None:
        super().__init__(errno.ETIMEDOUT, "slow", host)
        self.seconds = seconds


class WithOwnWay(StateError):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)
        self.pair = one, two

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.pair


OF_USERS: list[DugongError] = [
    Plain("x"), Plain(errno.EPIPE, "pipe"), WithArguments("/x", 3), WithErrno(1.5, host="h"),
    WithOwnWay("a", "b"),
]  # fmt: skip


@in_turn("exc", OF_USERS, ids=repr)
@every_way
def test_subclasses(exc: Any, copied: Callable[[Any], Any]) -> None:
    got = copied(exc)
    assert shown(got) == shown(exc)
    for name in ("errno", "strerror", "filename"):
        assert getattr(got, name, None) == getattr(exc, name, None)


def of_the_system() -> list[BaseException]:
    refused = ssl.SSLCertVerificationError(1, "[SSL] certificate verify failed")
    refused.reason, refused.library = "CERTIFICATE_VERIFY_FAILED", "SSL"
    return [
        ConnectionRefusedError(errno.ECONNREFUSED, "refused", "host:80"),
        OSError(errno.EMFILE, "too many"), socket.gaierror(-2, "no"), refused, KeyboardInterrupt(),
        ValueError("x"),
    ]  # fmt: skip


@in_turn("exc", of_the_system(), ids=repr)
@every_way
def test_errors_of_the_system_with_our_attributes(
    exc: BaseException, copied: Callable[[Any], Any]
) -> None:
    body = (b"x" for _ in range(2))
    exc.__dict__.update(bytes_sent=0, unanswered=(Request("PUT", "/x", {"A": "b"}, body),))
    got = copied(exc)
    assert (type(got), str(got), got.args) == (type(exc), str(exc), exc.args)
    (request,) = got.unanswered
    assert (request.method, request.path, request.headers) == ("PUT", "/x", {"A": "b"})
    assert request.body is (body if copied is copy.copy else None)
    assert [*body] == [b"x", b"x"]


# ----------------------------------------------------------------------------- requests


class Locked:
    """An iterable that is bound to its process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __iter__(self) -> Iterator[bytes]:
        yield b"x"


class Angry:
    """One that cannot be pickled, and says so in its own way."""

    def __iter__(self) -> Iterator[bytes]:
        yield b"x"

    def __reduce__(self) -> Any:
        raise RuntimeError("not me")


def a_generator() -> Iterator[bytes]:
    yield b"x"
    yield b"y"


BOUND: dict[str, Callable[[], Any]] = {
    "generator": a_generator,
    "file": lambda: Path(__file__).open("rb"),  # noqa: SIM115
    "raw file": lambda: Path(__file__).open("rb", buffering=0),  # noqa: SIM115
    "memoryview": lambda: memoryview(b"abc"),
    "lock": Locked,
    "angry": Angry,
    "list of views": lambda: [b"a", memoryview(b"b")],
    "map": lambda: map(bytes, a_generator()),
    "local": lambda: type("Local", (bytes,), {})(b"abc"),
    "endless": lambda: iter(lambda: b"x", b""),
}

FREE: dict[str, Any] = {
    "none": None, "bytes": b"abc", "bytearray": bytearray(b"abc"), "list": [b"a", b"bc"],
    "tuple": (b"a", b"bc"), "following": BodyFollowing(3), "chunks following": BodyFollowing(),
}  # fmt: skip


@in_turn("make", BOUND.values(), ids=BOUND)
@every_way
def test_body_that_cannot_be_pickled(make: Any, copied: Callable[[Any], Any]) -> None:
    body = make()
    request = Request("PUT", "/x", {"A": "b"}, body)
    others = Request("GET", "/y"), Request("PUT", "/z", [("C", "d")], b"z")
    exc = failure(InvalidResponse, others[0], request, others[1])
    assert isinstance(exc, InvalidResponse)
    exc.response = response()
    exc.response.request = request
    got = copied(exc)
    assert shown(got.unanswered[::2]) == shown(others)
    for copy_of in (got.unanswered[1], got.response.request):
        assert (copy_of.method, copy_of.path, copy_of.headers) == ("PUT", "/x", {"A": "b"})
        if copied is copy.copy:
            assert copy_of is request
        else:
            assert copy_of.body is None
            assert copy_of.incomplete
            assert not copy_of.replayable
    assert request.body is body
    assert not request.incomplete
    if isinstance(body, io.IOBase):
        assert body.tell() == 0
        body.close()
    elif isinstance(body, types.GeneratorType | map):
        assert len([*body]) == 2
    elif isinstance(body, memoryview):
        assert body.tobytes() == b"abc"


@in_turn("body", FREE.values(), ids=FREE)
@every_way
def test_body_that_can_be_pickled(body: Any, copied: Callable[[Any], Any]) -> None:
    request = Request("PUT", "/x", {"A": "b"}, body)
    (got,) = copied(failure(ConnectionClosed, request)).unanswered
    assert shown(got) == shown(request)
    assert not got.incomplete
    assert got.replayable is request.replayable


def test_body_in_memory_keeps_its_position() -> None:
    body = io.BytesIO(b"0123456789")
    body.seek(4)
    got = pickled(5)(Request("PUT", "/x", None, body))
    assert got.body.read() == b"456789"
    assert body.tell() == 4


@pytest.mark.parametrize("protocol", range(6))
def test_body_for_one_protocol_alone(protocol: int) -> None:
    got = pickled(protocol)(Request("PUT", "/x", None, pickle.PickleBuffer(b"abc")))
    assert (got.body is None) is got.incomplete is (protocol < 5)


class PickledOnly(list[bytes]):
    """A body that can be pickled, but not unpickled."""

    def __init__(self, items: list[bytes]) -> None:
        super().__init__(items)

    def __reduce__(self) -> Any:
        return type(self), ()


@every_way
def test_body_that_cannot_be_unpickled(copied: Callable[[Any], Any]) -> None:
    """It does not keep the exception from arriving."""
    body = PickledOnly([b"a"])
    exc = failure(ConnectionClosed, Request("PUT", "/x", {"A": "b"}, body))
    (request,) = copied(exc).unanswered
    assert (request.path, request.headers) == ("/x", {"A": "b"})
    if copied is copy.copy:
        assert request.body is body
    else:
        assert (request.body, request.incomplete, request.replayable) == (None, True, False)


@every_way
def test_fields_that_cannot_be_pickled(copied: Callable[[Any], Any]) -> None:
    given = iter([("A", "b")]), types.MappingProxyType({"A": "b"}), (pair for pair in [("A", "b")])
    got = [copied((Request("GET", "/", fields),))[0] for fields in given]
    if copied is copy.copy:
        return
    assert [*got[0].headers] == [("A", "b")]
    assert got[1].headers == [("A", "b")]
    assert (got[2].headers, got[2].incomplete, got[2].replayable) == (None, True, False)
    assert [*given[0]] == [*given[2]] == [("A", "b")]


def test_body_that_is_part_of_itself() -> None:
    body: list[Any] = [b"a"]
    request = Request("PUT", "/x", None, body)
    body.append(request)
    got = pickled(5)(request)
    assert got.body is None or got.body[0] == b"a"


@pytest.mark.parametrize("make", BOUND.values(), ids=BOUND)
def test_copy_of_a_request_shares_its_body(make: Any) -> None:
    class Tagged(Request):
        pass

    request = Tagged("PUT", "/x", None, make())
    request.tag = 7  # type: ignore[attr-defined]
    got = copy.copy(request)
    assert type(got) is Tagged
    assert (got.body, got.tag) == (request.body, 7)  # type: ignore[attr-defined]
    got.path = "/y"
    assert request.path == "/x"
    if isinstance(request.body, io.IOBase):
        request.body.close()


async def test_incomplete_request_is_not_sent(plain: StyledWire) -> None:
    """Without its body it would be another request."""
    conn, peer = plain.pair()
    incomplete = pickled(5)(Request("PUT", "/x", None, a_generator()))
    with pytest.raises(StateError, match="pickled"):
        async for _ in conn.pipeline([incomplete]):
            pass
    await works(conn, peer)


@every_way
def test_what_else_is_met(copied: Callable[[Any], Any]) -> None:
    need = PollNeeded(0, dugong.POLLIN, 1.5, "tls")
    need.poll(0)  # which keeps an object of the system's
    got = copied(need)
    assert (type(got), got, got.timeout, got.phase) == (PollNeeded, need, 1.5, "tls")
    fields = CaseInsensitiveDict(A="b")
    got = copied(fields)
    got["c"] = "d"
    assert (dict(fields), dict(got)) == ({"A": "b"}, {"A": "b", "c": "d"})


# ----------------------------------------------------------------------- real failures


@in_turn("make", [a_generator, BOUND["file"], BOUND["memoryview"]])
async def test_upload_that_failed(wire: StyledWire, make: Any) -> None:
    conn, peer = wire.pair()
    peer.expect_head()
    peer.close()
    body = make()
    with pytest.raises(ConnectionClosed) as info:
        await conn.request("PUT", "/x", body=body, expect100=False)
    for copied in WAYS.values():
        got = copied(info.value)
        assert (type(got), str(got)) == (ConnectionClosed, str(info.value))
        assert (got.bytes_sent, got.safe_to_retry) == (
            info.value.bytes_sent,
            info.value.safe_to_retry,
        )
        assert [request.path for request in got.unanswered] == ["/x"]
    if isinstance(body, io.IOBase):
        body.close()


async def test_pipeline_that_failed(wire: StyledWire) -> None:
    listener = wire.listen()
    conn, peer = wire.dial(listener), listener.peer()
    peer.expect_head()
    peer.close()
    requests = [Request("PUT", "/a", (pair for pair in [("A", "b")]), a_generator())]
    with pytest.raises(ConnectionClosed) as info:
        async for _ in conn.pipeline(requests):
            pass
    got = pickled(5)(info.value)
    assert [request.path for request in got.unanswered] == ["/a"]


async def test_invalid_response_with_its_request(wire: StyledWire) -> None:
    conn, peer = wire.pair()
    peer.expect_request()
    peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n")
    with pytest.raises(InvalidResponse) as info:
        await fetch(conn, "PUT", "/x", body=a_generator())
    got = pickled(5)(info.value)
    assert (got.part, got.response.status, got.response.request.path) == ("framing", 200, "/x")
    assert got.response.headers["content-length"] == "x"


BODIES_IN_A_WORKER = ["none", "bytes", "generator", "file", "memoryview", "lock", "unknown"]


def of_unknown_class() -> Any:
    """Return a body whose class is in a module that other processes cannot import."""
    module = types.ModuleType("known_to_one_process")
    sys.modules[module.__name__] = module
    exec("class Body(list): pass", vars(module))  # noqa: S102 - as if it had been imported
    return module.Body([b"abc"])


def fail_in_a_worker(body: str, kind: str) -> None:
    near, far = socket.socketpair()
    conn = HTTPConnection("localhost", sock=near, timeout=10)
    if kind == "refused":
        conn = HTTPConnection("localhost", unix_socket="/nowhere/at/all")
    elif kind == "closed":
        far.close()
    else:
        far.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n")
        far.shutdown(socket.SHUT_WR)
    bodies = {**BOUND, "unknown": of_unknown_class}
    given = bodies[body]() if body in bodies else FREE[body]
    conn.request("PUT", "/x", body=given, expect100=False)


def interrupted_worker() -> None:
    exc = KeyboardInterrupt()
    exc.__dict__["unanswered"] = (Request("PUT", "/x", None, a_generator()),)
    raise exc


def test_errors_of_a_process_pool() -> None:
    context = multiprocessing.get_context("spawn")
    kinds: dict[str, type[Exception]] = {
        "closed": ConnectionClosed, "invalid": InvalidResponse, "refused": FileNotFoundError,
    }  # fmt: skip
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        for body, kind in itertools.product(BODIES_IN_A_WORKER, kinds):
            with pytest.raises(kinds[kind]) as info:
                pool.submit(fail_in_a_worker, body, kind).result(60)
            (request,) = info.value.unanswered  # type: ignore[attr-defined]
            assert (request.method, request.path) == ("PUT", "/x")
            assert request.body == (b"abc" if body == "bytes" else None)
        with pytest.raises(KeyboardInterrupt) as interrupted:
            pool.submit(interrupted_worker).result(60)
        assert interrupted.value.unanswered[0].path == "/x"  # type: ignore[attr-defined]


def test_errors_of_a_multiprocessing_pool() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        with pytest.raises(ConnectionClosed) as info:
            pool.apply(fail_in_a_worker, ("generator", "closed"))
        assert [request.path for request in info.value.unanswered] == ["/x"]
        pool.close()
        pool.join()
