"""The fuzzer's corpus, run without the fuzzer: findings that were kept stay mended."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from fuzz import check, check_engine
from fuzz.seeds import CORPUS, SEEDS
from tests.support.in_turn import in_turn

every_file = in_turn("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name)


@every_file
def test_corpus(path: Path) -> None:
    """As it is, and with every way of reading."""
    data = path.read_bytes()
    check.check(data)
    for reader in range(len(check.READERS)):
        check.check(bytes([data[0], reader, 0x42, *data[3:]]))


@pytest.mark.slow
@pytest.mark.parametrize("reader", range(len(check.READERS)))
@every_file
def test_corpus_with_every_end(path: Path, reader: int) -> None:
    data = path.read_bytes()
    for end in range(len(check.ENDS)):
        for sizes in (0x00, 0x42, data[2]):
            check.check(bytes([data[0], reader, sizes, end]) + data[check.HEADER :])


@every_file
def test_corpus_in_the_engine(path: Path) -> None:
    data = path.read_bytes()
    for reader in range(len(check_engine.WANTED)):
        for end in range(len(check.ENDS)):
            for sizes in (0x00, 0x42, data[2]):
                check_engine.check(bytes([data[0], reader, sizes, end]) + data[check.HEADER :])


def test_one_input_of_four_is_compared() -> None:
    """Also where all inputs resemble one another, as a fuzzer's do."""
    for path in CORPUS.iterdir():
        data = path.read_bytes()
        changed = [data + bytes(pair) for pair in product(range(32), repeat=2)]
        assert 200 < sum(map(check_engine.is_compared, changed)) < 312, path.name


@in_turn("name", SEEDS)
def test_seed_is_in_the_corpus(name: str) -> None:
    """If not: ``python -m fuzz.seeds``."""
    assert (CORPUS / name).read_bytes() == SEEDS[name]


#: The seeds that break the protocol, and no others.
INVALID = {
    "chunks-lf", "chunks-sign", "chunks-too-long", "chunks-trailer-fold",
    "coding-chunked-twice", "empty-line-first", "fields-bare-cr", "fields-folded-length",
    "fields-lf", "fields-no-colon", "fields-nul", "fields-space-colon", "http-1.0-chunked",
    "interim-length", "interim-many", "length-and-chunked", "length-differs", "length-negative",
    "status-not-http",
}  # fmt: skip


def test_what_is_invalid_is_refused() -> None:
    """So that the corpus tells more than that nothing unexpected is raised."""
    ends = {name: check.outcome(data, [data[check.HEADER :]])[-1] for name, data in SEEDS.items()}
    assert {name for name, end in ends.items() if end == "InvalidResponse"} == INVALID
    failures = {end for end in ends.values() if isinstance(end, str)}
    assert failures == {exc.__name__ for exc in check.DOCUMENTED}
