"""The figures as a table in the terminal, and in Markdown for the documentation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from bench.cases import Case
from bench.peers import DUGONG, PEERS
from bench.questions import QUESTIONS
from bench.results import Results
from bench.targets import judged

BEGIN = "<!-- What follows is written by `make bench`. -->"
END = "<!-- What precedes is written by `make bench`. -->"

SCALES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def seconds(value: float) -> str:
    """Return a time with three digits and a unit."""
    for factor, unit in SCALES:
        if value >= factor:
            return f"{value / factor:#.3g}".rstrip(".") + f" {unit}"
    return f"{value / 1e-9:.2g} ns"


def clients(results: Results) -> list[str]:
    """Return all clients that any case was measured with, in their order."""
    seen = {client for by_client in results.measured.values() for client in by_client}
    return [name for name in PEERS if name in seen]


def cell(results: Results, case: Case, client: str) -> tuple[str, str]:
    """Return the figure and the ratio, as text."""
    if not results.has(case.name, client):
        return "-", ""
    if not results.has(case.name, DUGONG):
        return seconds(results.middle(case.name, client)), ""
    value, ratio = results.shown(case, client)
    return seconds(value), "" if client == DUGONG else f"{ratio:.2f}"


def show(results: Results) -> None:
    """Print the table and the targets."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    names = clients(results)
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(100, 42 + 11 * len(names)))
    table = Table(box=box.SIMPLE_HEAD, caption="median; below it, client's time ÷ dugong's")
    table.add_column("case")
    for name in names:
        table.add_column(name, justify="right", style="bold" if name == DUGONG else "")
    for case in results.cases():
        table.add_row(case.title, *("\n".join(cell(results, case, name)) for name in names))
    console.print(table)

    wanted = Table(box=box.SIMPLE_HEAD)
    for heading in ("wanted", "bound", "found", ""):
        wanted.add_column(heading, justify="left" if heading == "wanted" else "right")
    for target, value, word in judged(results):
        style = "green" if target.met(value) else "red"
        bound = f"{'≥' if target.at_least else '≤'} {target.wanted:g}"
        wanted.add_row(target.text, bound, f"[{style}]{value:.2f}[/]", word)
    console.print(wanted)


def rows(heading: list[str], body: list[list[str]]) -> str:
    """Return a table in Markdown; all columns but the first are aligned to the right."""
    rule = ["---", *["---:"] * (len(heading) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [heading, rule, *body])


Cell: TypeAlias = Callable[[Results, Case, str], str]


def tables(results: Results, cell: Cell, *, growth: bool = True) -> list[str]:
    """Return a heading and a table for each question that any of the cases answers.

    Args:
        results: the figures.
        cell: makes the text of a cell.
        growth: whether to show the cases of which only processor time is measured.
    """
    measured = {case.name: case for case in results.cases() if growth or not case.per_request}
    parts = []
    for question in QUESTIONS:
        cases = [measured[name] for name in question.columns if name in measured]
        if not cases:
            continue
        body = []
        for client in clients(results):
            if any(results.has(case.name, client) for case in cases):
                row = [client, *(cell(results, case, client) for case in cases)]
                body.append([f"**{text}**" for text in row] if client == DUGONG else row)
        headings = [question.columns[case.name] for case in cases]
        parts += [f"### {question.title}", rows(["", *headings], body)]
    return parts


def time(results: Results, case: Case, client: str) -> str:
    value, ratio = cell(results, case, client)
    return f"{value} ({ratio})" if ratio else value


def markdown(results: Results, machine: list[tuple[str, str]], versions: dict[str, str]) -> str:
    """Return the generated part of the page about performance."""
    goals = [
        [target.text + (f" ({word})" if word else ""),
         f"{'≥' if target.at_least else '≤'} {target.wanted:g}",
         f"{value:.2f}" if target.met(value) else f"**{value:.2f}**"]
        for target, value, word in judged(results)
    ]  # fmt: skip
    parts = [
        "## Figures",
        (
            "Each figure is the median of all rounds. In brackets is the client's time divided by "
            "dugong's: above 1, dugong is faster. It is the median of the ratios of each round."
        ),
        *tables(results, time),
        "### All cases as bars",
        "![Time of each client in each case, in units of dugong's](performance.svg)",
        "## Targets",
        "Missed targets are in bold.",
        rows(["", "target", "result"], goals),
        "## Machine",
        rows(["", ""], [list(pair) for pair in machine]),
        "## Versions",
        rows(["", "version"], [list(pair) for pair in versions.items()]),
    ]
    return "\n\n".join(parts)


def details(results: Results) -> str:
    """Return the generated part of the page about processor time and memory."""
    parts = [
        "## Processor time",
        (
            "The processor time of the client, including system calls. During the rest of the "
            "time, it waits for the server. In brackets is the ratio to dugong's."
        ),
        *tables(results, cpu, growth=False),
        "## Memory",
        (
            "The largest resident set of the process, including the interpreter and the benchmark. "
            "For `import`, how much it grew."
        ),
        *tables(results, mib, growth=False),
    ]
    return "\n\n".join(parts)


def cpu(results: Results, case: Case, client: str) -> str:
    if not results.has(case.name, client):
        return "-"
    value = seconds(results.middle(case.name, client, "cpu"))
    if client == DUGONG or not results.has(case.name, DUGONG):
        return value
    return f"{value} ({results.ratio(case.name, client, 'cpu'):.2f})"


def mib(results: Results, case: Case, client: str) -> str:
    if not results.has(case.name, client):
        return "-"
    return f"{results.middle(case.name, client, 'memory') / 2**20:#.3g} MiB".replace(". ", " ")


def write(page: Path, generated: str) -> None:
    """Put the generated part into *page*, between its markers."""
    text = page.read_text() if page.exists() else f"{BEGIN}\n{END}\n"
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} lacks the lines between which figures are to be written")
    page.write_text(f"{before}{BEGIN}\n\n{generated}\n\n{END}{after}")
