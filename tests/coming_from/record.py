"""Runs the first column of each page, and writes down what came of it.

    python -m tests.coming_from.record PAGE ...

It needs the library that the page is about: for ``dugong3.md`` that is dugong 3.8, for others
requests, urllib3, httpx, aiohttp, pycurl and curl. ``make probes`` runs it where they are.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parent / "recorded.json"


def comparable(row: Any, other: Any) -> Any:
    """Return what two columns have to agree in: the values of names that both have, and more."""
    values, others = row["values"], other["values"]
    return {
        "values": {name: value for name, value in values.items() if name in others},
        "output": row["output"],
        "requests": row["requests"],
    }


def main(pages: list[str]) -> None:
    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    for page in pages:
        done = subprocess.run(
            [sys.executable, "-m", "tests.coming_from.snippets", page, "0"],
            stdout=subprocess.PIPE, check=True,
        )  # fmt: skip
        recorded[page] = json.loads(done.stdout)
    RECORDED.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
