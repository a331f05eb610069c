"""Warns of public names that the API reference leaves out: all names in ``dugong.__all__``, the
public members of the classes among them, and the objects that `pipeline` returns.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

import dugong
from dugong.connection.aio import AsyncPipeline
from dugong.connection.blocking import BlockingPipeline

#: What users do not call by its name, or Python's own base classes have.
_NOT_OURS = {"cancel", "contents", "name", "with_traceback", "add_note"}

#: Methods of pools for the package `dugong.client`, which users do not call.
_FOR_CLIENTS = {
    "co_lease",
    "enter_loop",
    "place_of",
    "take_again",
    "prepare",
    "co_perform",
    "end",
    "keep",
}

#: Classes whose coroutines are documented once, at the blocking class.
_ASYNC = (dugong.AsyncHTTPConnection, dugong.AsyncClient, dugong.AsyncResponse)


def public_names() -> Iterator[str]:
    """Yield every name that has to be in the reference, dotted."""
    for name in dugong.__all__:
        yield f"dugong.{name}"
        if inspect.isclass(cls := getattr(dugong, name)):
            yield from (f"dugong.{name}.{member}" for member in members(cls))
    for cls in (BlockingPipeline, AsyncPipeline):
        name = f"{cls.__module__}.{cls.__qualname__}"
        yield from (name, *(f"{name}.{member}" for member in members(cls)))


def members(cls: type) -> Iterator[str]:
    """Yield the names of what *cls* itself, or a base class that is not public, defines."""
    for base in cls.__mro__:
        if not base.__module__.startswith("dugong") or (
            base is not cls and base.__name__ in dugong.__all__
        ):
            continue
        for name, value in vars(base).items():
            if name.startswith("_") or name in _NOT_OURS | _FOR_CLIENTS:
                continue
            if _is_coroutine(cls, name):
                continue
            if callable(value) or isinstance(value, property):
                yield name


def _is_coroutine(cls: type, name: str) -> bool:
    """Return whether it is one of those that are documented once, at the blocking class."""
    return cls in _ASYNC and name.startswith("co_")


def check(app: Sphinx, env: BuildEnvironment) -> None:
    documented = set(env.domains.python_domain.objects)
    for name in public_names():
        if name not in documented:
            logging.getLogger(__name__).warning("the API reference lacks %s", name)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("env-check-consistency", check)
    return {"parallel_read_safe": True}
