"""The comparisons in the README and the documentation agree with the probes and the benchmark.

`tests/test_pages.py` follows the links of all pages.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile import table
from tests.hostile.arrival import splits
from tests.hostile.play import STYLES, Play
from tests.support.servers import ROOT, unavailable

README, COMPARISON = ROOT / "README.md", ROOT / "docs" / "comparison.md"
PROBES = ROOT / "bench" / "probes"
RESULTS: dict[str, dict[str, str]] = json.loads((PROBES / "results.json").read_text())

#: The columns of the comparisons, and the clients that each is about.
COLUMNS = [["dugong"], ["http.client"], ["urllib3", "requests"], ["httpx"], ["aiohttp"], ["pycurl"]]

#: The probes that the README counts: the client has to refuse a response, or to notice its end.
BROKEN = [
    "two-lengths", "length-and-chunks", "signed-length", "prefixed-chunk-size", "cut-off-length",
    "cut-off-chunks", "cut-off-tls", "stray-along", "stray-later", "injected-field",
]  # fmt: skip


def comparison(page: Path) -> list[list[str]]:
    """Return the cells of the comparison's rows, without its head."""
    lines = [line for line in page.read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def probed(page: Path) -> dict[str, list[str]]:
    """Return, for each probe that a row heading links to, the row's other cells."""
    rows = {}
    for first, *cells in comparison(page):
        if match := re.fullmatch(r"\[[^]]+\]\[([\w-]+)\]", first):
            assert re.search(
                rf"^\[{match[1]}\]: (\.\./)?bench/probes/results.md#{match[1]}$",
                page.read_text(),
                re.MULTILINE,
            )
            rows[match[1]] = cells
    return rows


def by_column(outcome: Callable[[str], str]) -> list[str]:
    """Return the cells of a row, from what it shows of each client."""
    return [", ".join(map(outcome, clients)) for clients in COLUMNS]


def row(heading: str) -> list[str]:
    ((_, *cells),) = [cells for cells in comparison(README) if cells[0] == heading]
    return cells


def is_yes(probe: str, client: str) -> bool:
    return RESULTS[probe][client].startswith("yes")


@pytest.mark.parametrize("page", [README, COMPARISON], ids=lambda page: page.name)
def test_rows_are_what_was_found(page: Path) -> None:
    rows = probed(page)
    assert len(rows) > 3
    for probe, cells in rows.items():
        for clients, cell in zip(COLUMNS, cells, strict=True):
            found = dict.fromkeys(RESULTS[probe][client].split(" ")[0] for client in clients)
            assert cell == ", ".join(found), probe


@pytest.mark.parametrize("page", [README, COMPARISON], ids=lambda page: page.name)
def test_every_other_cell_has_a_link(page: Path) -> None:
    computed = {"blocking, asyncio, trio", BROKEN_ROW, SPEED_ROW}
    for first, *cells in comparison(page):
        if not first.startswith("[") and first not in computed:
            for cell in cells:
                assert re.fullmatch(r"\[\w+\]\[[\w-]+\](, \[\w+\]\[[\w-]+\])?", cell), (first, cell)


def test_comparison_shows_every_difference() -> None:
    """Nothing at which dugong does worse is left out."""
    shown = probed(COMPARISON)
    for probe, found in RESULTS.items():
        same = {outcome.split(" ")[0] for outcome in found.values()} == {"yes"}
        assert probe in shown or same, f"the clients differ in {probe}, and the page hides it"


def test_styles() -> None:
    def styles(client: str) -> str:
        found = [] if client == "aiohttp" else ["blocking"]
        found += ["asyncio"] * is_yes("in-asyncio", client) + ["trio"] * is_yes("in-trio", client)
        return "all" if len(found) == 3 else ", ".join(found)

    cells = [", ".join(dict.fromkeys(cell.split(", "))) for cell in by_column(styles)]
    assert row("blocking, asyncio, trio") == cells


BROKEN_ROW = f"broken or ambiguous responses refused, of {len(BROKEN)}"


def test_broken_responses() -> None:
    cells = by_column(lambda client: str(sum(is_yes(probe, client) for probe in BROKEN)))
    assert row(BROKEN_ROW) == cells


SPEED_ROW = "10,000 small requests, one by one"


def test_speed_is_that_of_the_benchmark() -> None:
    """The cells are in the table of sequential requests on the page about performance."""
    tables = re.split(r"^## |^### ", (ROOT / "docs/performance.md").read_text(), flags=re.MULTILINE)
    (table,) = [part for part in tables if part.startswith("Small requests, one by one")]
    # The first column of figures; dugong's row is in bold, the others have ratios in brackets.
    times = dict(re.findall(r"^\| \W*([\w.]+?)\W* \| \W*([\d.]+ \w+)", table, re.MULTILINE))
    assert row(SPEED_ROW) == by_column(lambda client: times.get(client, "-"))


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


def test_contributing_shows_a_row() -> None:
    """The line that shows how to add a hostile case can be run."""
    [shown] = re.findall(r"```text\n(case\(.*?)\n```", (ROOT / "CONTRIBUTING.md").read_text())
    [case] = eval(f"[{shown}]", vars(table))  # noqa: S307
    for boundaries in splits(len(case.data), case.end):
        Play(case, STYLES["blocking"], 0).run(boundaries)


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
