"""Transfers: downloads that are resumed and verified, uploads, and many requests at a time."""

from .parts import Fetched, Part, fetch_part, partition, run_parts

__all__ = ["Fetched", "Part", "fetch_part", "partition", "run_parts"]
