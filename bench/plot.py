"""The figures as bars, an SVG."""

from __future__ import annotations

from pathlib import Path

from bench.peers import DUGONG, LIMIT, PEERS
from bench.results import Results

COLOURS = {DUGONG: "#0b6e99", LIMIT: "#b0b0b0"}
OTHERS = "#e0a96d"
COLUMNS = 3

#: The longest bar, in units of dugong's. Longer ones are cut, which keeps the others legible.
LONGEST = 12.0


def draw(results: Results, path: Path) -> None:
    """Write one small diagram for each case that has more than one client."""
    import matplotlib as mpl

    mpl.use("svg")
    # Text stays text, and the same figures give the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "dugong", "font.size": 8})
    from matplotlib import pyplot

    cases = [case for case in results.cases() if results.has(case.name) and not case.per_request]
    if not cases:
        return
    lines = -(-len(cases) // COLUMNS)
    figure, grid = pyplot.subplots(
        lines, COLUMNS, figsize=(11, 2.3 * lines), squeeze=False, layout="constrained"
    )
    for axes, case in zip(grid.flat, cases, strict=False):
        names = [name for name in PEERS if results.has(case.name, name)]
        ratios = [results.ratio(case.name, name) for name in names]
        colours = [COLOURS.get(name, OTHERS) for name in names]
        bars = axes.barh(names, [min(ratio, LONGEST) for ratio in ratios], color=colours)
        axes.bar_label(bars, [f"{ratio:.2f}" for ratio in ratios], padding=2, fontsize=7)
        axes.invert_yaxis()
        axes.set_title(case.title, fontsize=9)
        axes.axvline(1, color=COLOURS[DUGONG], linewidth=0.8)
        axes.margins(x=0.15)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid.flat[len(cases) :]:
        axes.set_visible(False)
    figure.suptitle("Time, in units of dugong's: shorter is faster")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
