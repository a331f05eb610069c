"""Forked children: the first thing one does is to disown its parent's connections.

A child has a copy of each descriptor of its parent. To close a copy affects the child alone, but
much else acts on what both copies stand for, and so on the parent's connection. ``shutdown`` ends
it. A close_notify or any other byte corrupts its TLS. ``epoll_ctl`` changes the set with which the
parent's event loop waits. A byte in a socket pair wakes the parent. And a lock that another thread
of the parent held at that moment is never released in the child.

So every object that owns descriptors or locks is registered here when it is made. In a child, its
method `_disown` closes the child's descriptors and marks the object as closed, so that nothing of
this happens later, and no call needs to find out in which process it runs.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakValueDictionary


class Owner(Protocol):
    """An object with something that a child must not touch."""

    def _disown(self) -> None:
        """Let go of everything, in a child. Takes no lock."""


#: The end of the sentence "the connection was closed …", in a child.
BY_FORK = "by fork(): it belongs to the parent process"

#: By `id`, because a class of the user's may have made its connections unhashable.
_owners: WeakValueDictionary[int, Owner] = WeakValueDictionary()


def disown_in_child(owner: Owner) -> None:
    """Have *owner* let go of everything in each child that is made while it exists."""
    _owners[id(owner)] = owner


def _disown_all() -> None:
    for owner in _owners.values():
        try:
            owner._disown()
        except OSError:
            pass  # a descriptor that the system cannot close: there is nothing else to be done


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
