"""Runs the probes with each client, and records the results."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from importlib import metadata
from pathlib import Path

from bench.probes.clients import CLIENTS
from bench.probes.table import PROBES

RESULTS = Path(__file__).with_name("results.md")

INTRODUCTION = """\
# What clients do when something is unusual

Written by `python -m bench.probes`. Each question is put to each client by a server that does what
the question is about; `table.py` has the probes, and `clients.py` shows how each client
is used. In parentheses is what showed it: what was raised, what was sent, what was returned.

"""


def version(name: str) -> str:
    package = CLIENTS[name].package
    return metadata.version(package) if package else f"Python {platform.python_version()}"


def page(names: list[str], results: dict[str, dict[str, str]]) -> str:
    """Return the results as a page, one section for each probe."""
    parts = [INTRODUCTION]
    parts.append(", ".join(f"{name} {version(name)}" for name in names) + ".\n")
    for probe in PROBES:
        parts.append(f"\n## {probe.id}\n\n{probe.question}\n\n")
        parts.append("".join(f"- {name}: {results[probe.id][name]}\n" for name in names))
    return "".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.probes")
    parser.add_argument("--only", nargs="+", choices=CLIENTS, metavar="CLIENT")
    names = parser.parse_args().only
    results: dict[str, dict[str, str]] = {}
    for probe in PROBES:
        sys.stderr.write(f"{probe.id}\n")
        results[probe.id] = {name: probe.ask(CLIENTS[name]) for name in names or CLIENTS}
    text = json.dumps(results, indent=1) + "\n"
    if names:
        sys.stdout.write(text)
    else:
        RESULTS.with_suffix(".json").write_text(text)
        RESULTS.write_text(page([*CLIENTS], results))


if __name__ == "__main__":
    main()
