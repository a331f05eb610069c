"""The ways in which an object can be copied, in this process or into another."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest


def pickled(protocol: int) -> Callable[[Any], Any]:
    return lambda value: pickle.loads(pickle.dumps(value, protocol))  # noqa: S301 (our own bytes)


#: The ways in which an object can be copied.
WAYS: dict[str, Callable[[Any], Any]] = {
    **{f"pickle-{protocol}": pickled(protocol) for protocol in range(6)},
    "python-pickle": lambda value: pickle._loads(pickle._dumps(value)),  # type: ignore[attr-defined]
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}
every_way = pytest.mark.parametrize("copied", WAYS.values(), ids=WAYS)
