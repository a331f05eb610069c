"""Forked children: a child first disowns its parent's connections.

A child made by fork has a copy of each descriptor of its parent. Closing a copy affects only the
child. But other operations act on the open file that both descriptors refer to, and so on the
parent's connection:

- ``shutdown`` ends it.
- A close_notify, or any other byte sent, corrupts its TLS.
- ``epoll_ctl`` changes the set of descriptors that the parent's event loop waits for.
- A byte in a socket pair wakes the parent.

Also, a lock that another thread of the parent held at the time of the fork is never released in
the child.

So every object that owns descriptors or locks is registered here when it is complete. In a child,
its method `_disown` closes the child's descriptors and marks the object as closed. After that, no
call needs to check which process it runs in.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakValueDictionary


class Owner(Protocol):
    """An object with descriptors or locks that a child must not use."""

    def _disown(self) -> None:
        """Close the descriptors and replace the locks, in a child. Takes no lock."""


#: The end of the sentence "the connection was closed …", in a child.
BY_FORK = "by fork(): it belongs to the parent process"

#: The keys are from `id`, because a subclass of the user's may be unhashable.
_owners: WeakValueDictionary[int, Owner] = WeakValueDictionary()


def disown_in_child(owner: Owner) -> None:
    """Register *owner*: each child made by fork calls its `_disown`, as long as it exists."""
    _owners[id(owner)] = owner


def _disown_all() -> None:
    for owner in _owners.values():
        try:
            owner._disown()
        except OSError:
            pass  # the system cannot close a descriptor; continue with the others


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
