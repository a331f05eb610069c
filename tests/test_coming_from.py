"""The pages for those who come from elsewhere: what they say is so.

`RECORDED` has what came of the first column of each table when it was last run with the library
that it is about. The second column is run here, and has to bring the same values and requests.
Where the other library is installed too, the first column is run once more.

After a change of a page, ``make probes`` records anew.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import dugong
from tests.coming_from import dugong3
from tests.coming_from.pages import PAGES, rows_of
from tests.coming_from.record import RECORDED, comparable
from tests.support.servers import ROOT

pytestmark = pytest.mark.slow

#: The pages with tables, and an interpreter that has what the first column needs.
PEERS = ROOT / ".bench" / "peers" / "bin" / "python"
DUGONG3 = ROOT / ".bench" / "dugong3" / "bin" / "python"
OTHERS: dict[str, Path] = {
    "dugong3.md": DUGONG3,
    "http-client.md": Path(sys.executable),
    "requests.md": PEERS,
    "httpx-aiohttp.md": PEERS,
    "curl.md": PEERS,
}

pages = pytest.mark.parametrize("page", OTHERS)


def run(module: str, *arguments: str, python: Path = Path(sys.executable)) -> Any:
    own = python == Path(sys.executable)
    done = subprocess.run(
        [python, *(["-W", "error", "-X", "dev"] if own else []), "-m", module, *arguments],
        capture_output=True, check=False, text=True, timeout=100, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}" if own else f"{ROOT}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def recorded(page: str) -> Any:
    return json.loads(RECORDED.read_text())[page]


@pages
def test_record_is_of_this_page(page: str) -> None:
    rows = rows_of(PAGES / page)
    assert len(rows) > 3
    assert {row.title: row.wrote and row.wrote[1] for row in rows} == {
        title: row["code"] for title, row in recorded(page).items()
    }, "run `make probes`"


@pages
def test_you_write(page: str) -> None:
    theirs, ours = recorded(page), run("tests.coming_from.snippets", page, "1")
    assert list(theirs) == list(ours)
    for title, row in theirs.items():
        assert comparable(ours[title], row) == comparable(row, ours[title]), title


@pages
def test_you_wrote(page: str) -> None:
    if not OTHERS[page].exists() or (page == "curl.md" and shutil.which("curl") is None):
        pytest.skip("what this page comes from is not installed (make probes)")
    again = run("tests.coming_from.snippets", page, "0", python=OTHERS[page])
    assert again == recorded(page)


# ------------------------------------------------------------------------ requests

#: Everyday tasks: headings of ``requests.md``, each with a table of one row.
TASKS = (
    "Text",
    "JSON",
    "Forms",
    "File uploads",
    "Downloads with progress",
    "Basic authentication",
    "Redirects",
    "Cookies",
    "Retries",
    "Proxies from the environment",
    "Private certificate authorities and client certificates",
    "Compression",
    "Threads",
    "Total time limits",
)


def tasks() -> dict[str, list[tuple[str, str]]]:
    """Return the rows under each heading: the code of both columns."""
    found: dict[str, list[tuple[str, str]]] = {}
    for row in rows_of(PAGES / "requests.md"):
        assert row.wrote is not None
        assert row.write is not None
        found.setdefault(row.title.rpartition(" ")[0], []).append((row.wrote[1], row.write[1]))
    return found


def statements(code: str) -> int:
    return sum(isinstance(node, ast.stmt) for node in ast.walk(ast.parse(code)))


def test_everyday_tasks_are_there() -> None:
    rows = tasks()
    assert [title for title in rows if title in TASKS] == list(TASKS)
    for title in TASKS:
        ((wrote, write),) = rows[title]
        assert "requests.Session()" in wrote, title
        assert "Client(" in write, title


def test_everyday_tasks_are_no_longer_than_with_requests() -> None:
    rows = tasks()
    for title in TASKS:
        ((wrote, write),) = rows[title]
        assert statements(write) <= statements(wrote), title


# --------------------------------------------------------------------- dugong 3.8

INVALID, CLOSED, TIMED_OUT = "InvalidResponse", "ConnectionClosed", "ConnectionTimedOut"

#: What came of each probe with 3.8, and what comes of it here.
DIFFERENCES: dict[str, tuple[Any, Any]] = {
    "content_md5": (True, False),
    "length_of_get": (True, False),
    "until_close": ("UnsupportedResponse", "hello"),
    # the server hangs up at last
    "connecting_waits": ("ConnectionResetError", "PollNeeded"),
    "timeout_while_connecting": ("ConnectionResetError", TIMED_OUT),
    "timeout_zero": (CLOSED, TIMED_OUT),
    "read_returns": ("bytearray", "bytes"),
    "two_lengths": ("hello", INVALID),
    "odd_length": ("hello", INVALID),
    "odd_chunk_size": ("hello", INVALID),
    "stray_response": (["hello", "other"], ["hello", CLOSED]),
    "injected_field": ("sent", "InvalidRequest"),
    "target_with_space": ("GET /a file HTTP/1.1", "InvalidRequest"),
    "field_values": (
        {"Content-Disposition": False, "Content-Type": False, "Date": False, "datetime": True},
        {"Content-Disposition": True, "Content-Type": True, "Date": True, "datetime": False},
    ),
    "callers_fields": (
        {"Host": False, "Accept-Encoding": False, "mapping untouched": False},
        {"Host": True, "Accept-Encoding": True, "mapping untouched": True},
    ),
    "http10": ("hello", CLOSED),
    "framing_error": (
        {"read_response": 200, "read": INVALID},
        {"read_response": "UnsupportedResponse", "read": CLOSED},
    ),
    "closed_while_idle": (
        {"send_request": None, "read_response": CLOSED},
        {"send_request": CLOSED, "read_response": "StateError"},
    ),
    "error_classes": ([False, False], [True, True]),
    "read_too_early": ("", "StateError"),
    "gone_names": (list(dugong3.GONE), []),
}


def test_differences_from_dugong3() -> None:
    ours = run("tests.coming_from.dugong3")
    assert ours == {name: ours for name, (_, ours) in DIFFERENCES.items()}


def test_differences_as_dugong3_has_them() -> None:
    if not DUGONG3.exists():
        pytest.skip("dugong 3.8 is not installed (make probes)")
    theirs = run("tests.coming_from.dugong3", python=DUGONG3)
    assert theirs == {name: theirs for name, (theirs, _) in DIFFERENCES.items()}


@pytest.mark.parametrize("name", dugong3.GONE)
def test_guide_names_what_to_use_instead(name: str) -> None:
    (row,) = [
        line
        for line in (PAGES / "dugong3.md").read_text().splitlines()
        if line.startswith("|") and f"`{name}`" in line.split("|")[1]
    ]
    assert row.split("|")[2].strip()


def test_names_that_programs_import() -> None:
    assert (dugong.HTTP_PORT, dugong.HTTPS_PORT) == (80, 443)


@pytest.mark.parametrize("name", dugong3.PROBES)
def test_guide_names_each_difference(name: str) -> None:
    """Each probe is named in the row that it shows."""
    assert f"`{name}`" in (PAGES / "dugong3.md").read_text()
