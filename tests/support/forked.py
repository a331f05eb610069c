"""Children made by fork in the middle of a test."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable

import pytest

#: Seconds after which a child is called stuck.
GUARD = 20

#: Python warns of forking with threads: that is what some tests are about.
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def in_child(act: Callable[[], object]) -> None:
    """Do this in a child, and wait until that has ended; fails as it fails."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(GUARD)
            act()
            status = 0
        except BaseException:
            os.write(writer, traceback.format_exc().encode())
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader, "rb") as file:  # noqa: PTH123 - a descriptor
        said = file.read().decode()
    _, status = os.waitpid(child, 0)
    assert status != signal.SIGALRM, "the child hangs"
    assert status == 0, f"in the child: {said}"
