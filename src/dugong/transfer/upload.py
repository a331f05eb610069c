"""Uploads: a file as the body of one request, with progress."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import mark_as_callers

if TYPE_CHECKING:
    from ..client.client import BaseClient
    from ..transport.poll import Co, PollNeeded


def co_upload(
    client: BaseClient[Any, Any, Any],
    source: Any,
    url: str,
    *,
    method: str,
    progress: Callable[[int, int | None], object] | None,
    options: dict[str, Any],
) -> Co[Any]:
    """Return the coroutine of an upload. The arguments are those of `Client.upload`.

    Raises:
        TypeError, InvalidRequest: an argument is not valid.
        OSError: the file cannot be opened.
    """
    if progress is not None and not callable(progress):
        raise TypeError(f"progress must be a callable, not {type(progress).__name__}")
    for name in ("body", "json", "form"):
        if name in options:
            raise TypeError(f"upload() sends source: leave out {name}=")
    file = None
    if isinstance(source, (str, os.PathLike)):
        source = file = Path(source).open("rb")  # noqa: SIM115 - closed with the coroutine
    try:
        checked: Any = {**options, "body": source}
        call = client.prepare(method, url, checked)
    except BaseException:
        if file is not None:
            file.close()
        raise
    return _co_run(client.co_perform(call), call, file, progress)


def _co_run(
    crt: Co[Any],
    call: Any,
    file: Any,
    progress: Callable[[int, int | None], object] | None,
) -> Co[Any]:
    try:
        if progress is None:
            return (yield from crt)
        return (yield from _co_watched(crt, call, progress))
    finally:
        crt.close()
        if file is not None:
            file.close()


def _co_watched(
    crt: Co[Any], call: Any, progress: Callable[[int, int | None], object]
) -> Generator[PollNeeded, Any, Any]:
    """Run *crt*, and report how much was sent whenever it waits, and at its end."""
    reported = -1

    def report() -> None:
        nonlocal reported
        sent, length = call.body_sent
        if sent != reported:
            reported = sent
            try:
                progress(sent, length)
            except BaseException as exc:
                mark_as_callers(exc)
                raise

    try:
        need = next(crt)
        while True:
            report()
            try:
                yield need
            except BaseException as exc:
                need = crt.throw(exc)
            else:
                need = next(crt)
    except StopIteration as stop:
        report()
        return stop.value
