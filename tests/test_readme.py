"""What the README, CONTRIBUTING and the changelog say can be looked up, and is so."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.hostile import table
from tests.hostile.arrival import splits
from tests.hostile.play import STYLES, Play
from tests.support.servers import ROOT, unavailable

README = (ROOT / "README.md").read_text()
PROBES = ROOT / "bench" / "probes"
RESULTS: dict[str, dict[str, str]] = json.loads((PROBES / "results.json").read_text())

#: The columns of the comparison, and the clients that each is about.
COLUMNS = [["dugong"], ["http.client"], ["urllib3", "requests"], ["httpx"], ["aiohttp"], ["pycurl"]]


def comparison() -> list[list[str]]:
    """Return the cells of the comparison's rows, without its head."""
    lines = [line for line in README.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def probed() -> dict[str, list[str]]:
    """Return, for each probe that a row links to at its left, the row's other cells."""
    rows = {}
    for first, *cells in comparison():
        if match := re.fullmatch(r"\[[^]]+\]\[([\w-]+)\]", first):
            assert f"[{match[1]}]: bench/probes/results.md#{match[1]}\n" in README
            rows[match[1]] = cells
    return rows


@pytest.mark.parametrize(("probe", "cells"), probed().items())
def test_row_is_what_was_found(probe: str, cells: list[str]) -> None:
    for clients, cell in zip(COLUMNS, cells, strict=True):
        found = dict.fromkeys(RESULTS[probe][client].split(" ")[0] for client in clients)
        assert cell == ", ".join(found)


def test_every_other_cell_has_a_link() -> None:
    for first, *cells in comparison():
        if not first.startswith("["):
            for cell in cells:
                assert re.fullmatch(r"\[\w+\]\[[\w-]+\](, \[\w+\]\[[\w-]+\])?", cell), (first, cell)


def test_shown_of_others_is_shown_of_all() -> None:
    """Nothing at which dugong does worse is left out."""
    shown = probed()
    for probe, found in RESULTS.items():
        same = {outcome.split(" ")[0] for outcome in found.values()} == {"yes"}
        assert probe in shown or same, f"the clients differ in {probe}, and the README hides it"


@pytest.mark.timeout(100)
def test_probes_find_the_same_here() -> None:
    for library in ("trio", "trustme"):
        if importlib.util.find_spec(library) is None:
            unavailable(f"{library} is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "bench.probes", "--only", "dugong"],
        capture_output=True, check=False, cwd=ROOT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ours = {probe: found["dugong"] for probe, found in json.loads(done.stdout).items()}
    assert ours == {probe: found["dugong"] for probe, found in RESULTS.items()}


def _links(text: str) -> list[Any]:
    inline = re.findall(r"\]\(([^)\s]+)\)", text)
    return inline + re.findall(r"^\[[^]]+\]: (\S+)$", text, re.MULTILINE)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    named = set(re.findall(r"\]\[([\w-]+)\]", text))
    assert named == set(re.findall(r"^\[([^]]+)\]: ", text, re.MULTILINE))
    for link in _links(text):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        assert (ROOT / path).exists(), link
        if anchor:
            assert re.search(rf"^#+ {anchor}$", (ROOT / path).read_text(), re.MULTILINE), link


def test_contributing_shows_a_row() -> None:
    """The line that shows how to add a hostile case can be run."""
    [shown] = re.findall(r"```text\n(case\(.*?)\n```", (ROOT / "CONTRIBUTING.md").read_text())
    [row] = eval(f"[{shown}]", vars(table))  # noqa: S307
    for boundaries in splits(len(row.data), row.end):
        Play(row, STYLES["blocking"], 0).run(boundaries)


def test_contributing_names_what_there_is() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    targets = set(re.findall(r"`make (\w+)[ `]", text)) | set(
        re.findall(r"^make (\w+)", text, re.MULTILINE)
    )
    makefile = (ROOT / "Makefile").read_text()
    assert len(targets) > 3
    for name in targets:
        assert re.search(rf"^{name}:", makefile, re.MULTILINE), name
    for path in re.findall(r"`((?:src|tests|docs|examples|bench|fuzz)/[\w/.-]*)`", text):
        assert (ROOT / path).exists(), path
