"""Laws of whole connections (hypothesis).

Any valid response is read back as it was written, split anyhow and read anyhow; anything else
raises what is documented and nothing besides, and what follows is not delivered; and no caller's
text puts an extra line on the wire.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from dugong import (
    BodyFollowing,
    ConnectionClosed,
    ConnectionTimedOut,
    HTTPConnection,
    HTTPResponse,
    InvalidResponse,
    StateError,
    UnsupportedResponse,
)
from tests.support.responses import EXAMPLES, Expected, conversations, mutated, split
from tests.support.scripted import Co, End, ScriptedSocket, run, scripted

pytestmark = pytest.mark.slow

#: The generator of responses is slow where several workers share a machine, and all there is.
much = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# ------------------------------------------------------------------------- ways of reading

Step = tuple[str, int]
#: What is called, again and again, until the body ends; "stop" is left at its first wait.
steps = st.lists(
    st.tuples(
        st.sampled_from(["read", "readinto", "readall", "read all", "stop", "stop readall"]),
        st.sampled_from([1, 2, 3, 7, 50, 1000, 5000]),
    ),
    min_size=1,
    max_size=5,
)  # fmt: skip


def co_interrupted(crt: Co[bytes]) -> Co[bytes | None]:
    """Leave *crt* where it first waits, as a cancelled task does, and wait in its place."""
    try:
        need = next(crt)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    crt.close()
    yield need
    return None


def co_step(conn: HTTPConnection, step: Step) -> Co[bytes | None]:
    """Read once; ``None`` if it was interrupted, else ``b''`` only at the end."""
    how, size = step
    if how == "readinto":
        buf = bytearray(size)
        count = yield from conn.co_readinto(buf)
        assert count <= size
        assert not any(buf[count:]), "written behind what it says"
        return bytes(buf[:count])
    if how == "read":
        data = yield from conn.co_read(size)
        assert len(data) <= size
        return data
    if how == "stop readall":
        return (yield from co_interrupted(conn.co_readall()))
    if how == "stop":
        return (yield from co_interrupted(conn.co_read(size)))
    return (yield from (conn.co_readall() if how == "readall" else conn.co_read(None)))


#: Steps that read to the end of the body, unless they are stopped.
TO_THE_END = {"readall", "read all", "stop readall"}


def co_read_body(conn: HTTPConnection, how: list[Step]) -> Co[bytes]:
    got = b""
    while True:
        for step in how:
            data = yield from co_step(conn, step)
            if data is not None:
                got += data
                if not data or step[0] in TO_THE_END:
                    return got


# ---------------------------------------------------------------------------- valid responses


def send_all(conn: HTTPConnection, sock: ScriptedSocket, methods: list[str]) -> None:
    for i, method in enumerate(methods):
        run(conn.co_send_request(method, f"/{i}"), sock)


def assert_head(response: HTTPResponse, expected: Expected, path: str) -> None:
    assert (response.method, response.path) == (expected.method, path)
    assert (response.status, response.reason) == (expected.status, expected.reason)
    assert response.version == expected.version
    assert response.headers.items() == expected.fields
    for name, value in expected.fields:
        assert response.headers.get_all(name.swapcase()) == [
            other for key, other in expected.fields if key.lower() == name.lower()
        ]
        assert value in (response.headers.get_all(name) or [])


@much
@given(data=st.data(), conversation=conversations())
def test_what_is_written_is_what_is_read(
    data: st.DataObject, conversation: tuple[list[Expected], bytes]
) -> None:
    expected, wire = conversation
    pieces = data.draw(split(wire))
    end: End = data.draw(st.sampled_from(["close", "silence"]))
    if expected[-1].ended_by_close:
        end = "close"
    with scripted(pieces, end) as (conn, sock):
        sock.limit = data.draw(st.sampled_from([None, None, 1, 10]))
        send_all(conn, sock, [one.method for one in expected])
        for i, one in enumerate(expected):
            response = run(conn.co_read_response(), sock)
            assert_head(response, one, f"/{i}")
            assert (response.length, response.will_close) == (one.length, one.will_close)
            assert len(response.informational) == len(one.interim)
            for interim, other in zip(response.informational, one.interim, strict=True):
                assert_head(interim, other, f"/{i}")
            if data.draw(st.integers(0, 3)):
                assert run(co_read_body(conn, data.draw(steps)), sock) == one.payload
            else:
                run(conn.co_discard(), sock)
            assert response.trailers.items() == one.trailers
            if i + 1 < len(expected):
                with pytest.raises(StateError):
                    run(conn.co_read(1), sock)
            else:
                assert run(conn.co_read(1), sock) == b""
            event(
                f"length {'unknown' if one.length is None else 'known'}, closes: {one.will_close}"
            )
        assert not conn.response_pending()
        with pytest.raises(StateError):
            run(conn.co_read_response(), sock)


@much
@given(data=st.data(), conversation=conversations())
def test_a_beginning_is_never_taken_for_the_whole(
    data: st.DataObject, conversation: tuple[list[Expected], bytes]
) -> None:
    """Cut anywhere, whatever was delivered is a beginning, and then comes an error."""
    expected, wire = conversation
    end: End = data.draw(st.sampled_from(["close", "reset", "silence"]))
    complete = len(wire)
    if expected[-1].ended_by_close and end == "close":
        complete -= len(expected[-1].payload)  # from there on nobody can tell
    if not complete:
        return
    cut = data.draw(st.integers(0, complete - 1))
    with scripted(data.draw(split(wire[:cut])), end) as (conn, sock):
        send_all(conn, sock, [one.method for one in expected])
        with pytest.raises(ConnectionTimedOut if end == "silence" else ConnectionClosed) as info:
            for one in expected:
                response = run(conn.co_read_response(), sock)
                assert response.status == one.status
                payload = run(co_read_body(conn, data.draw(steps)), sock)
                assert payload == one.payload
        assert conn.response_pending()
        assert end == "silence" or info.value.unanswered


# ------------------------------------------------------------------------------ arbitrary bytes

#: What a server can bring about, and nothing else. A TunnelRefused comes from a proxy alone.
DOCUMENTED = (ConnectionClosed, ConnectionTimedOut, InvalidResponse, UnsupportedResponse)

#: What is asked: method, arguments, bytes written after a 100 (Continue).
REQUESTS: dict[str, tuple[str, dict[str, Any], bytes]] = {
    "GET": ("GET", {}, b""),
    "HEAD": ("HEAD", {}, b""),
    "POST": ("POST", {"body": b"hello"}, b""),
    "CONNECT": ("CONNECT", {}, b""),
    "upgrade": ("GET", {"headers": {"Upgrade": "x", "Connection": "upgrade"}}, b""),
    "close": ("GET", {"headers": {"Connection": "close"}}, b""),
    "expect": ("PUT", {"body": BodyFollowing(2), "expect100": True}, b"hi"),
}

#: None of them has a place in a head, a line end's two apart.
CONTROLS = "\r\n\x00\x08\x0b\x0c\x1c\x7f"

kinds = st.lists(st.sampled_from([*REQUESTS]), min_size=1, max_size=3)


def co_exchanges(conn: HTTPConnection, asked: list[str], how: list[Step]) -> Co[None]:
    """Send all, read all, up to where no more can be sent or read."""
    sent = []
    for kind in asked:
        method, arguments, written = REQUESTS[kind]
        target = "h:443" if method == "CONNECT" else "/"
        yield from conn.co_send_request(method, target, **arguments)
        sent.append((kind, written))
        if kind in ("expect", "close"):
            break
    for kind, written in sent:
        response = yield from conn.co_read_response()
        if response.status == 100:
            assert kind == "expect"
            yield from conn.co_write(written)
            response = yield from conn.co_read_response()
        assert 200 <= response.status < 1000 or (response.status == 101 and kind == "upgrade")
        if response.status == 101 or (kind == "CONNECT" and response.status < 300):
            conn.detach()[0].close()
            return
        payload = yield from co_read_body(conn, how)
        if response.length is not None:
            assert len(payload) == response.length


def co_read_gathered(conn: HTTPConnection) -> Co[None]:
    while (yield from conn.co_read(1000)):
        pass


def assert_over(conn: HTTPConnection, sock: ScriptedSocket) -> None:
    """Nothing more is delivered, whatever arrives, and nothing is sent.

    What a failed `readall` had gathered is still there for `read`, which then fails too.
    """
    sock.arrive(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "close")
    sent = sock.sent
    calls: list[Callable[[], Co[object]]] = [
        conn.co_read_response,
        lambda: co_read_gathered(conn),
        lambda: conn.co_readinto(bytearray(5)),
        conn.co_readall,
        conn.co_discard,
        lambda: conn.co_send_request("GET", "/"),
    ]
    for call in calls:
        with pytest.raises(ConnectionClosed):
            run(call(), sock)
    assert sock.sent == sent


def assert_documented(
    pieces: list[bytes], end: End, asked: list[str], how: list[Step], limit: int | None = None
) -> None:
    with scripted(pieces, end) as (conn, sock):
        sock.limit = limit
        try:
            run(co_exchanges(conn, asked, how), sock)
            return
        except ConnectionTimedOut:
            assert end == "silence"
            return
        except DOCUMENTED as exc:
            failure = exc
        event(type(failure).__name__)
        assert str(failure)
        assert failure.unanswered
        assert_over(conn, sock)


ends: st.SearchStrategy[End] = st.sampled_from(["close", "reset", "silence"])


@much
@given(wire=st.binary(max_size=200), end=ends, asked=kinds, how=steps, data=st.data())
@example(b"", "close", ["GET"], [("read", 1)], None)
def test_any_bytes_at_all(
    wire: bytes, end: End, asked: list[str], how: list[Step], data: st.DataObject | None
) -> None:
    pieces = [wire] if data is None else data.draw(split(wire))
    assert_documented(pieces, end, asked, how)
    assert_documented([b"HTTP/1.1 200 OK\r\n", wire], end, asked, how)
    assert_documented(
        [b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n", wire], end, asked, how
    )


@much
@given(conversation=conversations(("GET",)), end=ends, asked=kinds, how=steps, data=st.data())
def test_almost_a_response(
    conversation: tuple[list[Expected], bytes],
    end: End,
    asked: list[str],
    how: list[Step],
    data: st.DataObject,
) -> None:
    wire = data.draw(mutated(conversation[1]))
    limit = data.draw(st.sampled_from([None, None, 1, 10]))
    assert_documented(data.draw(split(wire)), end, asked, how, limit)


@much
@given(data=st.data(), conversation=conversations(("GET",)), bit=st.sampled_from(["", *CONTROLS]))
def test_no_head_with_a_stray_control_is_taken(
    data: st.DataObject, conversation: tuple[list[Expected], bytes], bit: str
) -> None:
    """A control is put in anywhere before the end of the first head, or a CR left out."""
    wire = conversation[1]
    size = wire.index(b"\r\n\r\n") + 4
    if bit:
        at = data.draw(st.integers(0, size - 2))
        wire = wire[:at] + bit.encode("latin-1") + wire[at:]
    else:
        at = data.draw(st.sampled_from([i for i in range(size) if wire[i] == 13]))
        wire = wire[:at] + wire[at + 1 :]
    with scripted(data.draw(split(wire)), "close") as (conn, sock):
        send_all(conn, sock, ["GET"])
        with pytest.raises((InvalidResponse, ConnectionClosed)):
            run(conn.co_read_response(), sock)
        assert_over(conn, sock)
