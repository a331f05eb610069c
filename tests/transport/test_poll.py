"""`PollNeeded`, and the driver that blocks."""

from __future__ import annotations

import importlib.util
import itertools
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dugong import POLLIN, POLLOUT, ConnectionTimedOut, PollNeeded, eval_coroutine
from dugong.transport import poll as poll_module
from dugong.transport.poll import Co

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two connected sockets, of which the first has nothing to read and room to write."""
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        yield near, far


@pytest.fixture(params=["poll", "select"])
def module(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module as it is, and as it is on systems that have no `select.poll`."""
    if request.param == "poll":
        return poll_module
    for name in ("poll", "POLLIN", "POLLOUT"):
        monkeypatch.delattr(select, name)
    assert poll_module.__file__ is not None
    spec = importlib.util.spec_from_file_location("dugong.transport.no_poll", poll_module.__file__)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


# ------------------------------------------------------------------------------ the value


def test_masks_are_those_of_poll() -> None:
    assert (POLLIN, POLLOUT) == (select.POLLIN, select.POLLOUT)


def test_is_a_pair() -> None:
    need = PollNeeded(7, POLLIN)
    fd, mask = need
    assert (fd, mask) == (7, POLLIN) == (need.fd, need.mask) == need
    assert isinstance(need, tuple)
    assert need.timeout is None
    assert repr(need) == f"PollNeeded(fd=7, mask={POLLIN}, timeout=None)"


def test_timeout_is_an_attribute_beside_the_pair() -> None:
    need = PollNeeded(7, POLLOUT, 2.5)
    assert (len(need), need.timeout) == (2, 2.5)
    assert PollNeeded(7, POLLOUT).timeout is None
    assert "2.5" in repr(need)


# ------------------------------------------------------------------------------ waiting


def test_waits_for_what_the_mask_says(module: ModuleType, pair: Pair) -> None:
    near, far = pair
    reading = module.PollNeeded(near.fileno(), module.POLLIN)
    writing = module.PollNeeded(near.fileno(), module.POLLOUT)
    either = module.PollNeeded(near.fileno(), module.POLLIN | module.POLLOUT)
    assert [need.poll(0) for need in (reading, writing, either)] == [False, True, True]
    _fill(near)
    assert [need.poll(0) for need in (reading, writing, either)] == [False, False, False]
    far.send(b"x")
    assert [need.poll(0) for need in (reading, writing, either)] == [True, False, True]
    assert reading.poll() is True


@pytest.mark.parametrize("timeout", [0, 0.0, 0.001, -1, -0.5])
def test_limit_of_a_wait(module: ModuleType, pair: Pair, timeout: float) -> None:
    """A limit that has passed already, as a deadline may have, is a limit of zero."""
    assert module.PollNeeded(pair[0].fileno(), module.POLLIN).poll(timeout) is False


def test_end_of_the_connection_is_ready(module: ModuleType, pair: Pair) -> None:
    near, far = pair
    far.close()
    assert module.PollNeeded(near.fileno(), module.POLLIN).poll(0) is True


def test_limit_longer_than_one_system_call(module: ModuleType, pair: Pair) -> None:
    begun = time.monotonic()
    assert module.PollNeeded(pair[0].fileno(), module.POLLIN).poll(1.25 * module.WAIT) is False
    assert time.monotonic() - begun >= 1.25 * module.WAIT


@pytest.mark.skipif(sys.platform != "linux", reason="looks whether the main thread sleeps")
@pytest.mark.parametrize("timeout", [None, 1e9, float("inf")])
def test_signal_that_the_system_call_misses(
    module: ModuleType, pair: Pair, timeout: float | None
) -> None:
    """Such as one that another thread gets: it is handled soon, though nothing else happens."""

    class Handled(Exception):
        pass

    def handle(number: int, frame: object) -> None:
        raise Handled

    main = threading.main_thread().native_id

    def interrupt() -> None:
        while Path(f"/proc/self/task/{main}/stat").read_text().rpartition(")")[2].split()[0] != "S":
            pass
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handle)
    thread = threading.Thread(target=interrupt)
    try:
        with pytest.raises(Handled):
            thread.start()
            module.PollNeeded(pair[0].fileno(), module.POLLIN).poll(timeout)
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)


def _fill(sock: socket.socket) -> None:
    try:
        while True:
            sock.send(bytes(1 << 16))
    except BlockingIOError:
        pass


# ------------------------------------------------------------------------------ the driver


def waiting(*needs: PollNeeded, result: Any = "done") -> Co[Any]:
    yield from needs
    return result


def test_result(pair: Pair) -> None:
    need = PollNeeded(pair[0].fileno(), POLLOUT)
    assert eval_coroutine(waiting()) == "done"
    assert eval_coroutine(waiting(need, need)) == "done"
    assert eval_coroutine(waiting(need, result=None), 0) is None


def test_error_passes_through(pair: Pair) -> None:
    def failing() -> Co[None]:
        yield PollNeeded(pair[0].fileno(), POLLOUT)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        eval_coroutine(failing())


def test_is_resumed_only_when_ready(pair: Pair) -> None:
    near, far = pair
    steps = []

    def reader() -> Co[bytes]:
        steps.append("waits")
        far.send(b"x")
        yield PollNeeded(near.fileno(), POLLIN)
        steps.append("reads")
        return near.recv(1)

    assert eval_coroutine(reader()) == b"x"
    assert steps == ["waits", "reads"]


@pytest.mark.parametrize("timeout", [0, 0.001])
def test_time_limit(pair: Pair, timeout: float) -> None:
    """0 means now: what is ready goes on, what is not does not."""
    ready = PollNeeded(pair[0].fileno(), POLLOUT)
    unready = PollNeeded(pair[0].fileno(), POLLIN)
    assert eval_coroutine(waiting(ready), timeout) == "done"
    with pytest.raises(ConnectionTimedOut):
        eval_coroutine(waiting(ready, unready), timeout)


def test_time_limit_is_met_inside_the_coroutine(pair: Pair) -> None:
    """It may clean up, wait once more, and add to the exception or swallow it."""
    unready = PollNeeded(pair[0].fileno(), POLLIN)
    ready = PollNeeded(pair[0].fileno(), POLLOUT)
    seen: list[BaseException] = []

    def careful(swallow: bool) -> Co[str]:
        try:
            yield unready
        except ConnectionTimedOut as exc:
            seen.append(exc)
            yield ready
            if not swallow:
                raise
        return "saved"

    with pytest.raises(ConnectionTimedOut) as info:
        eval_coroutine(careful(False), 0)
    assert info.value is seen[0]
    assert eval_coroutine(careful(True), 0) == "saved"


@pytest.mark.parametrize("timeout", [None, 100])
def test_coroutine_with_a_limit_of_its_own_is_resumed(pair: Pair, timeout: float | None) -> None:
    """It ends the wait, not the coroutine, and nothing is raised."""
    near = pair[0]
    assert eval_coroutine(waiting(PollNeeded(near.fileno(), POLLIN, 0)), timeout) == "done"
    assert eval_coroutine(waiting(PollNeeded(near.fileno(), POLLIN, 0.001)), timeout) == "done"


def test_drivers_limit_counts_where_it_is_the_shorter(pair: Pair) -> None:
    with pytest.raises(ConnectionTimedOut):
        eval_coroutine(waiting(PollNeeded(pair[0].fileno(), POLLIN, 100)), 0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock finds it a second later."""
    seconds = itertools.count(100.0)
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds))


@pytest.mark.parametrize("timeout", [None, 0])
def test_deadline_is_one_for_the_whole_call(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, timeout: float | None
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    reading = PollNeeded(pair[0].fileno(), POLLIN)

    def slow() -> Co[str]:
        nonlocal now
        for _ in range(5):
            now += 3
            yield PollNeeded(pair[0].fileno(), POLLOUT)
        now += 3
        yield reading
        return "done"

    pair[1].send(b"x")
    assert eval_coroutine(slow(), timeout, 20) == "done"
    pair[0].recv(1)
    with pytest.raises(ConnectionTimedOut):
        eval_coroutine(slow(), timeout, 18)


def test_deadline_is_now(pair: Pair) -> None:
    with pytest.raises(ConnectionTimedOut):
        eval_coroutine(waiting(PollNeeded(pair[0].fileno(), POLLIN)), None, 0)


@pytest.mark.timeout(10)
@pytest.mark.usefixtures("clock")
def test_deadline_ends_a_call_that_is_always_ready(pair: Pair) -> None:
    """Whatever trickles in: a server that always has one more byte does not keep us for ever."""

    def endless() -> Co[None]:
        while True:
            yield PollNeeded(pair[0].fileno(), POLLOUT)

    with pytest.raises(ConnectionTimedOut):
        eval_coroutine(endless(), None, 50)
