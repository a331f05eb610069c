"""ConnectionState, measured: what happened when, on which connection."""

from __future__ import annotations

import argparse
import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from dugong import InvalidResponse
from dugong.cli.arguments import url
from dugong.cli.measure import (
    PHASES,
    Exchange,
    Stopwatch,
    address_of,
    fetch_one,
    fetch_pipelined,
    fields_of,
)
from dugong.cli.output import Failure
from dugong.cli.servers import connection
from tests.cli.command import OK, Listener
from tests.cli.exchanges import ANSWERED, CONNECTING, EPOCH, exchange
from tests.support.apps import document
from tests.support.servers import Endpoint, NginxEndpoints

ARGS = argparse.Namespace(proxy=None, unix_socket=None, timeout=None, headers=[])


def check(one: Exchange) -> None:
    """Check that its phases follow upon each other, and are all of it."""
    at = one.start
    for begin, end in one.phases().values():
        assert begin == at
        assert end >= begin
        at = end
    assert at == one.end
    assert one.duration == one.end - one.start


def test_phases() -> None:
    one = exchange(start=10, took={**CONNECTING, **ANSWERED})
    check(one)
    assert [*one.phases()] == [*PHASES]
    assert one.phases()["TLS"] == pytest.approx((EPOCH + 0.04, EPOCH + 0.08))
    assert one.duration == pytest.approx(0.084)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_one_after_the_other(endpoint: Endpoint, host: str) -> None:
    scheme = "https" if endpoint.context else "http"
    documents = [url(f"{scheme}://{host}:{endpoint.port}/doc/{n}.txt") for n in range(3)]
    with connection(documents[0], ARGS) as conn:
        watch = Stopwatch(conn, ARGS)
        found = [fetch_one(conn, watch, document, ARGS) for document in documents]
    for n, one in enumerate(found):
        check(one)
        assert (one.response.status, one.body_size) == (200, len(document(n)))
        assert (one.connection, one.address) == (1, "127.0.0.1")
    missing = {"resolving"} if host == "127.0.0.1" else set()
    missing |= set() if scheme == "https" else {"TLS"}
    assert PHASES.keys() - found[0].phases().keys() == missing
    for before, after in itertools.pairwise(found):
        assert [*after.phases()] == ["sending", "waiting", "transfer"]
        assert after.start >= before.end
        assert after.started >= before.started


def test_in_a_pipeline(endpoint: Endpoint) -> None:
    scheme = "https" if endpoint.context else "http"
    documents = [url(f"{scheme}://localhost:{endpoint.port}/doc/{n}.txt") for n in range(20)]
    with connection(documents[0], ARGS) as conn:
        fetch_one(conn, Stopwatch(conn, ARGS), documents[0], ARGS)
        found = fetch_pipelined(conn, documents, ARGS)
    for n, one in enumerate(found):
        check(one)
        assert one.body_size == len(document(n))
        assert one.connection == 1
        assert one.request_head_size is None
    assert "connecting" in found[0].phases()
    ready = found[0].phases()["sending"][0]
    for before, after in itertools.pairwise(found):
        assert [*after.phases()] == ["sending", "waiting", "transfer"]
        assert after.start >= ready
        assert after.marks["sent"] >= before.marks["sent"]
        assert after.marks["first_byte"] >= before.marks["done"]
    assert max(one.marks["sent"] for one in found) < found[0].marks["first_byte"]


@dataclass
class Script:
    """A server that does on each of its connections what it is told to: answer so often."""

    listener: Listener
    answers: Sequence[int]

    def __enter__(self) -> None:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def __exit__(self, *exc_info: object) -> None:
        self._thread.join()

    def _run(self) -> None:
        for count in self.answers:
            with self.listener.accept() as sock:
                data = b""
                for _ in range(count):
                    while b"\r\n\r\n" not in data:
                        data += sock.recv(65536)
                    data = data.partition(b"\r\n\r\n")[2]
                    sock.sendall(OK)
                while b"\r\n\r\n" not in data and (more := sock.recv(65536)):
                    data += more  # one request more: to this one there is no answer


def test_the_connection_is_not_kept(listener: Listener) -> None:
    """The request that meets its end is sent again, on another."""
    documents = [url(listener.url(f"/{n}")) for n in range(3)]
    with Script(listener, [2, 1]), connection(documents[0], ARGS) as conn:
        watch = Stopwatch(conn, ARGS)
        found = [fetch_one(conn, watch, document, ARGS) for document in documents]
    assert [one.connection for one in found] == [1, 1, 2]
    assert "connecting" in found[2].phases()
    for one in found:
        check(one)


def test_the_pipeline_is_cut_off(listener: Listener) -> None:
    documents = [url(listener.url(f"/{n}")) for n in range(5)]
    with Script(listener, [1, 2, 3]), connection(documents[0], ARGS) as conn:
        fetch_one(conn, Stopwatch(conn, ARGS), documents[0], ARGS)
        found = fetch_pipelined(conn, documents, ARGS)
    assert [one.connection for one in found] == [1, 1, 2, 2, 2]
    assert ["connecting" in one.phases() for one in found] == [True, False, True, False, False]
    for one in found:
        check(one)
    for before, after in itertools.pairwise(found):
        assert after.marks["first_byte"] >= before.marks["done"]


def test_failures(listener: Listener, refused: str) -> None:
    """What has failed is not in the way of what comes after it."""
    documents = [url(listener.url(f"/{n}")) for n in range(2)]
    with connection(documents[0], ARGS) as conn:
        watch = Stopwatch(conn, ARGS)
        server = threading.Thread(target=listener.serve, args=[b"nonsense\r\n\r\n"])
        server.start()
        with pytest.raises(InvalidResponse):
            fetch_one(conn, watch, documents[0], ARGS)
        server.join()
        with Script(listener, [1]):
            one = fetch_one(conn, watch, documents[1], ARGS)
            conn.disconnect()
    check(one)
    assert (one.connection, one.document) == (2, documents[1])
    nobody = url(f"http://{refused}/")
    with connection(nobody, ARGS) as conn:
        message = f"cannot connect to {refused}: Connection refused"
        with pytest.raises(Failure, match=message):
            fetch_one(conn, Stopwatch(conn, ARGS), nobody, ARGS)
        with pytest.raises(Failure, match=message):
            fetch_pipelined(conn, [nobody, nobody], ARGS)


def test_unix_socket(nginx: NginxEndpoints) -> None:
    args = argparse.Namespace(**{**vars(ARGS), "unix_socket": nginx.unix_socket})
    there = url("http://app/doc/1.txt")
    with connection(there, args) as conn:
        one = fetch_one(conn, Stopwatch(conn, args), there, args)
    check(one)
    assert one.address is None
    assert [*one.phases()] == ["connecting", "sending", "waiting", "transfer"]


@pytest.mark.parametrize(
    ("text", "given", "host"),
    [
        ("http://localhost/", [], "localhost"),
        ("http://localhost:80/", [], "localhost"),
        ("https://localhost:443/", [], "localhost"),
        ("https://localhost:80/", [], "localhost:80"),
        ("http://[::1]:81/", [], "[::1]:81"),
        ("http://localhost/", [("HOST", "x"), ("A", "b")], None),
    ],
)
def test_fields(text: str, given: list[tuple[str, str]], host: str | None) -> None:
    fields = fields_of(url(text), given)
    rest = [("Accept-Encoding", "identity"), ("Connection", "keep-alive")]
    assert fields == ([("Host", host)] if host else []) + rest + given


def test_address() -> None:
    for text in ("http://localhost/a?b", "https://[::1]:81/", "http://localhost:80/"):
        assert address_of(url(text)) == text
    assert address_of(url("http://localhost#x")) == "http://localhost/"
