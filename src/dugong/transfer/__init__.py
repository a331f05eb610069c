"""Transfers: downloads that are resumed and verified, uploads, and many requests at a time.

The public names are those for parts of a list of URLs. Most programs need none, so they are loaded
when they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .parts import Fetched, Part, fetch_part, partition, run_parts

__all__ = ["Fetched", "Part", "fetch_part", "partition", "run_parts"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from . import parts

        return getattr(parts, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
