"""Sockets that close themselves: whoever lets go of them, and however."""

from __future__ import annotations

import gc
import socket
import ssl
import warnings
from collections.abc import Callable, Iterator

import pytest

from dugong.transport.sockets import adopt, give_away, socketpair


@pytest.fixture
def far() -> Iterator[list[socket.socket]]:
    """For the other ends; the test fails if Python warns of anything left open."""
    far: list[socket.socket] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield far
        for sock in far:
            sock.close()
        gc.collect()
    assert caught == []


class Own(socket.socket):
    """A class of the caller's."""

    name = ""


def own(far: list[socket.socket]) -> Own:
    near, other = socket.socketpair()
    far.append(other)
    return Own(fileno=near.detach())


def plain(far: list[socket.socket]) -> socket.socket:
    near, other = socket.socketpair()
    far.append(other)
    return near


def tls(far: list[socket.socket]) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return context.wrap_socket(plain(far), do_handshake_on_connect=False, server_hostname="h")


Make = Callable[[list[socket.socket]], socket.socket]

all_kinds = pytest.mark.parametrize("make", [plain, own, tls])


@all_kinds
def test_let_go(far: list[socket.socket], make: Make) -> None:
    adopt(make(far))
    assert far[0].recv(1) == b""


@all_kinds
def test_let_go_in_a_cycle(far: list[socket.socket], make: Make) -> None:
    """The collector may look at the socket before anything that owns it."""
    cycle: list[object] = [adopt(make(far))]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert far[0].recv(1) == b""


@all_kinds
def test_the_same_object(far: list[socket.socket], make: Make) -> None:
    sock = make(far)
    kind = type(sock)
    assert adopt(adopt(sock)) is sock
    assert isinstance(sock, kind)
    assert kind.__name__ in repr(sock)
    assert give_away(sock) is sock
    assert type(sock) is kind
    give_away(sock)
    assert type(sock) is kind
    sock.close()


@pytest.mark.parametrize("make", [own, tls])
def test_one_class_for_all_sockets_of_a_kind(far: list[socket.socket], make: Make) -> None:
    """Creating a class for each connection costs time, and garbage."""
    first, second = adopt(make(far)), adopt(make(far))
    assert type(first) is type(second)
    give_away(first).close()
    assert type(second) is not type(first)


def test_given_away(far: list[socket.socket]) -> None:
    """Its new owner is warned again."""
    sock = give_away(adopt(plain(far)))
    with pytest.warns(ResourceWarning):
        del sock


def test_attributes_stay(far: list[socket.socket]) -> None:
    sock = own(far)
    sock.name = "mine"
    adopt(sock)
    assert sock.name == "mine"


def test_a_pair(far: list[socket.socket]) -> None:
    near, other = socketpair()
    far.append(other)
    del near
    assert other.recv(1) == b""
