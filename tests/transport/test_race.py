"""Several addresses at once, with a clock that the test turns."""

from __future__ import annotations

import errno
import selectors
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dugong import POLLIN, POLLOUT
from dugong.transport.race import STAGGER, Race, address_text, alternate
from dugong.transport.resolve import AddressInfo
from tests.transport.tools import busy_server, refusing_address

#: Seconds of patience with the system's own steps on the loopback interface.
PATIENCE = 10


class Track:
    """Where races are run: a clock and some servers.

    Attributes:
        now: the time.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.now = 100.0
        self.listeners: dict[tuple[str, int], socket.socket] = {}

    def race(self, *addresses: AddressInfo, source: tuple[str, int] | None = None) -> Race:
        race = Race(addresses, source, lambda: self.now)
        self._stack.callback(race.close)
        return race

    def silent(self) -> AddressInfo:
        """An address that does not answer, until there is room."""
        server = self._stack.enter_context(busy_server())
        self.listeners[server.getsockname()] = server
        return tcp(server.getsockname())

    def answering(self) -> AddressInfo:
        return tcp(self._stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname())

    def make_room(self, address: AddressInfo) -> None:
        server = self.listeners[address[4]]
        server.listen(100)  # for whoever made it busy tries again, too
        try:
            while True:
                self._stack.enter_context(server.accept()[0])
        except BlockingIOError:
            pass


def tcp(address: tuple[str, int]) -> AddressInfo:
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)


def unix(path: str) -> AddressInfo:
    return (socket.AF_UNIX, socket.SOCK_STREAM, 0, "", path)


def absent(path: Path) -> AddressInfo:
    """An address that fails at once, and not as one that refuses."""
    return unix(str(path / "absent"))


def finish(race: Race) -> socket.socket:
    """Take steps until one has won. What it waits for has to come by itself."""
    while (winner := race.step()) is None:
        need = race.need()
        assert need.poll(PATIENCE if need.timeout is None else need.timeout) or need.timeout
    return winner


def sources(race: Race) -> list[object]:
    """Where the attempts under way come from."""
    return [sock.getsockname()[0] for sock in race.running]


@pytest.fixture
def track() -> Iterator[Track]:
    with ExitStack() as stack:
        yield Track(stack)


@pytest.fixture(params=["epoll", "poll", "select"])
def selector(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The system's best selector, and those that are no descriptors, as gevent's is not."""
    name: str = request.param
    if name != "epoll":
        kind = getattr(selectors, f"{name.capitalize()}Selector")
        monkeypatch.setattr(selectors, "DefaultSelector", kind)
    return name


# ------------------------------------------------------------------------ who runs, and when


def test_one_address(track: Track) -> None:
    """It is waited for by its own descriptor, for as long as it takes."""
    race = track.race(track.silent())
    assert race.step() is None
    [sock] = race.running
    need = race.need()
    assert (need.fd, need.mask, need.timeout) == (sock.fileno(), POLLOUT, None)
    track.now += 1000
    assert race.step() is None
    assert race.running == [sock]


@pytest.mark.usefixtures("selector")
def test_attempts_begin_after_one_another(track: Track) -> None:
    race = track.race(*[track.silent() for _ in range(3)])
    for count in (1, 2, 3):
        assert race.step() is None
        assert race.step() is None, "resumed early"
        assert len(race.running) == count
        track.now += STAGGER / 2
        assert race.step() is None
        assert len(race.running) == count
        track.now += STAGGER / 2
    assert race.step() is None
    assert len(race.running) == 3


@pytest.mark.usefixtures("selector")
def test_wants_to_be_resumed_when_the_next_is_due(track: Track) -> None:
    race = track.race(track.silent(), track.silent())
    race.step()
    timeouts = []
    for _ in range(3):
        timeouts.append(race.need().timeout)
        track.now += STAGGER / 2
    assert None not in timeouts
    assert all(0 <= timeout <= STAGGER for timeout in timeouts if timeout is not None)
    assert timeouts[2] == 0


def test_no_alarm_once_all_have_begun(track: Track) -> None:
    race = track.race(track.silent(), track.silent())
    race.step()
    assert race.need().timeout == STAGGER
    track.now += STAGGER
    race.step()
    assert race.need().timeout is None


def test_one_descriptor_stands_for_all(track: Track) -> None:
    addresses = [track.silent() for _ in range(3)]
    race = track.race(*addresses)
    for _ in addresses:
        race.step()
        track.now += STAGGER
    need = race.need()
    assert need.mask == POLLIN
    assert need.fd not in [sock.fileno() for sock in race.running]
    assert not need.poll(0)
    track.make_room(addresses[1])
    assert need.poll(PATIENCE)


def test_without_such_a_descriptor_it_looks_again_soon(
    track: Track, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selectors, "DefaultSelector", selectors.PollSelector)
    race = track.race(track.silent(), track.silent())
    race.step()
    track.now += STAGGER
    race.step()
    need = race.need()
    assert (need.fd, need.mask) == (race.running[-1].fileno(), POLLOUT)
    assert need.timeout is not None
    assert 0 < need.timeout < STAGGER


# ------------------------------------------------------------------------------- who wins


@pytest.mark.usefixtures("selector")
def test_whichever_answers_wins(track: Track) -> None:
    """Here the first, when those that were begun after it have not answered either."""
    addresses = [track.silent() for _ in range(3)]
    race = track.race(*addresses)
    for _ in addresses:
        assert race.step() is None
        track.now += STAGGER
    losers = list(race.running)
    expected = losers.pop(0)
    track.make_room(addresses[0])
    winner = finish(race)
    assert winner is expected
    assert winner.getpeername() == addresses[0][4]
    assert race.running == losers
    race.close()
    assert [sock.fileno() for sock in losers] == [-1, -1]
    assert winner.fileno() >= 0
    winner.close()


@pytest.mark.usefixtures("selector")
def test_the_first_to_answer_is_the_only_one_begun(track: Track) -> None:
    first = track.answering()
    winner = finish(track.race(first, track.answering()))
    assert winner.getpeername() == first[4]
    assert not winner.getblocking()
    winner.close()


@pytest.mark.usefixtures("selector")
def test_next_at_once_when_one_fails(track: Track) -> None:
    """The clock stands still all the time."""
    second = track.answering()
    winner = finish(track.race(tcp(refusing_address()), tcp(refusing_address()), second))
    assert winner.getpeername() == second[4]
    winner.close()


def test_a_failure_beside_one_that_is_silent(track: Track) -> None:
    silent = track.silent()
    last = track.answering()
    race = track.race(silent, tcp(refusing_address()), last)
    assert race.step() is None
    track.now += STAGGER
    winner = finish(race)
    assert winner.getpeername() == last[4]
    assert len(race.running) == 1
    winner.close()


def test_families_take_turns(track: Track, tmp_path: Path) -> None:
    """Where all of one family are cut off, the second attempt is of another."""
    other = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(other)
        server.listen()
        race = track.race(track.silent(), track.silent(), unix(other))
        assert race.step() is None
        track.now += STAGGER
        winner = race.step()
        assert winner is not None
        assert winner.getpeername() == other
        winner.close()


@pytest.mark.usefixtures("selector")
def test_all_failed(track: Track, tmp_path: Path) -> None:
    """The error is that of the first, which is the one that was meant."""
    with pytest.raises(ConnectionRefusedError):
        finish(track.race(tcp(refusing_address()), absent(tmp_path)))
    with pytest.raises(FileNotFoundError):
        finish(track.race(absent(tmp_path), tcp(refusing_address())))


def test_the_one_address_failed(track: Track, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as info:
        track.race(absent(tmp_path)).step()
    assert info.value.errno == errno.ENOENT
    with pytest.raises(ConnectionRefusedError):
        finish(track.race(tcp(refusing_address())))


def test_a_family_that_the_system_does_not_have(track: Track) -> None:
    last = track.answering()
    winner = finish(track.race((12345, socket.SOCK_STREAM, 6, "", ("::1", 80)), last))
    assert winner.getpeername() == last[4]
    winner.close()


# -------------------------------------------------------------------------- busy Unix sockets


class Busy:
    """A Unix socket whose backlog is full until it accepts a connection."""

    def __init__(self, stack: ExitStack, path: Path) -> None:
        self._stack = stack
        self.address = unix(str(path))
        self._listening = stack.enter_context(socket.socket(socket.AF_UNIX))
        self._listening.bind(str(path))
        self._listening.listen(0)
        stack.enter_context(socket.socket(socket.AF_UNIX)).connect(str(path))

    def make_room(self) -> None:
        self._stack.enter_context(self._listening.accept()[0])


@pytest.fixture
def busy(track: Track, tmp_path: Path) -> Busy:
    return Busy(track._stack, tmp_path / "busy")


@pytest.mark.usefixtures("selector")
def test_busy_address_is_tried_again(track: Track, busy: Busy) -> None:
    """What it waits for never comes, because the system would not report it."""
    race = track.race(busy.address)
    timeouts = []
    for _ in range(12):
        assert race.step() is None
        assert race.step() is None, "resumed early"
        assert race.running == []
        need = race.need()
        assert not need.poll(0)
        assert need.timeout is not None
        timeouts.append(need.timeout)
        track.now += need.timeout
    assert timeouts == sorted(timeouts)
    assert 0 < timeouts[0] < timeouts[-1] < 0.1
    busy.make_room()
    winner = race.step()
    assert winner is not None
    assert winner.getpeername() == busy.address[4]
    winner.close()


def test_wait_for_a_busy_address_can_be_ended(track: Track, busy: Busy) -> None:
    race = track.race(busy.address)
    race.step()
    need = race.need()
    race.awaited[0].shutdown(socket.SHUT_RDWR)
    assert need.poll(PATIENCE)
    race.close()
    assert all(sock.fileno() == -1 for sock in race.awaited)


@pytest.mark.usefixtures("selector")
def test_busy_address_among_others(track: Track, busy: Busy) -> None:
    """It does not keep another from being tried, and is tried again when that has failed."""
    other = track.answering()
    race = track.race(busy.address, tcp(refusing_address()), other)
    assert race.step() is None
    track.now += 0.01
    winner = finish(race)
    assert winner.getpeername() == other[4]
    winner.close()
    race = track.race(busy.address, tcp(refusing_address()), tcp(refusing_address()))
    for _ in range(10):
        assert race.step() is None, "all others have failed"
        track.now += race.need().timeout or 1
    busy.make_room()
    track.now += 1
    winner = finish(race)
    assert winner.getpeername() == busy.address[4]
    winner.close()


def test_busy_address_that_goes_away(track: Track, busy: Busy, tmp_path: Path) -> None:
    race = track.race(busy.address)
    assert race.step() is None
    (tmp_path / "busy").unlink()
    track.now += 1
    with pytest.raises(FileNotFoundError):
        race.step()


# ------------------------------------------------------------------------------ for messages


def test_address_of_the_error(track: Track, tmp_path: Path) -> None:
    """That of the error which is raised, although others failed later."""
    refusing = tcp(refusing_address())
    race = track.race(refusing, absent(tmp_path))
    assert race.address is None
    with pytest.raises(ConnectionRefusedError):
        finish(race)
    assert race.address == refusing


def test_address_of_the_winner_and_of_the_last_attempt(track: Track) -> None:
    silent, last = track.silent(), track.silent()
    race = track.race(silent, last)
    race.step()
    assert race.address == silent
    track.now += STAGGER
    race.step()
    assert race.address == last
    track.make_room(silent)
    finish(race).close()
    assert race.address == silent


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (tcp(("192.0.2.1", 80)), "192.0.2.1:80"),
        ((socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 80, 0, 0)), "[::1]:80"),
        (unix("/run/socket"), "/run/socket"),
        ((socket.AF_UNIX, socket.SOCK_STREAM, 0, "", b"/run/\xff"), "/run/\udcff"),
    ],
)
def test_address_text(address: AddressInfo, text: str) -> None:
    assert address_text(address) == text


# ------------------------------------------------------------------------- source addresses


def test_every_attempt_comes_from_the_source_address(track: Track) -> None:
    race = track.race(track.silent(), track.silent(), source=("127.0.0.3", 0))
    race.step()
    track.now += STAGGER
    race.step()
    assert sources(race) == ["127.0.0.3"] * 2


def test_source_address_of_another_family_is_not_the_error(track: Track) -> None:
    """What such an attempt fails of tells nothing about the server."""
    six: AddressInfo = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 1, 0, 0))
    race = track.race(six, tcp(refusing_address()), source=("127.0.0.1", 0))
    with pytest.raises(ConnectionRefusedError):
        finish(race)


# -------------------------------------------------------------------------------- alternate

FAMILIES = [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX]


def made_of(families: list[socket.AddressFamily]) -> list[AddressInfo]:
    return [
        (family, socket.SOCK_STREAM, 6, "", (str(number), 80))
        for number, family in enumerate(families)
    ]


def test_families_alternate() -> None:
    four, six = socket.AF_INET, socket.AF_INET6
    ordered = alternate(made_of([six, six, six, four, four]))
    assert [address[4][0] for address in ordered] == ["0", "3", "1", "4", "2"]
    assert alternate(made_of([four, six])) == made_of([four, six])
    assert alternate([]) == []


@given(st.lists(st.sampled_from(FAMILIES), max_size=12))
def test_alternate(families: list[socket.AddressFamily]) -> None:
    """All are there, each family in its order; none comes twice running while others are left."""
    addresses = made_of(families)
    ordered = alternate(addresses)
    assert sorted(ordered, key=addresses.index) == addresses
    assert ordered[:1] == addresses[:1]
    for family in FAMILIES:
        assert [a for a in ordered if a[0] == family] == [a for a in addresses if a[0] == family]
    for number, (one, two) in enumerate(pairwise(ordered)):
        if one[0] == two[0]:
            assert {address[0] for address in ordered[number:]} == {one[0]}
