"""`dugong get`, killed: whenever that happens, a file under its final name is complete.

Processes are killed in front of each line of the module that deals with files, and, from outside,
while files appear one after the other.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.apps import document
from tests.cli.command import PATIENCE, Done, ended, run, start
from tests.cli.relay import Relay
from tests.servers import NginxEndpoints

#: Forks once for each line of the module: the child runs the command, and kills itself in front
#: of that line. Then the command runs again, unless it has done so from the same state. In a
#: second round, half of the document is there already; in a third one, half of another version
#: (both at every other line, since they share most of the first's).
#:
#: Each report is flushed: a child inherits what is left in the buffer, and the command flushes
#: standard output at its end, so the child would print that as well.
KILLED_AT_EACH_LINE = """
import json, os, signal, sys
from dugong.cli import files, main

folder, url, size = sys.argv[1:]
half_size = int(size) // 2
os.chdir(folder)

def contents():
    return {name: open(name, encoding="latin-1").read() for name in sorted(os.listdir())}

def restore(state):
    for name in os.listdir():
        os.unlink(name)
    for name, content in state.items():
        with open(name, "w", encoding="latin-1") as file:
            file.write(content)

def run(line):
    def trace(frame, event, argument):
        nonlocal line
        if frame.f_code.co_filename != files.__file__:
            return None
        if event == "line":
            line -= 1
            if line == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    pid = os.fork()
    if not pid:
        if line:
            sys.settrace(trace)
        os._exit(main(["get", "-o", "file", "--continue", url]))
    return os.waitpid(pid, 0)[1]

half = None

def kill_at_each_line(state, step=1):
    global half
    states = []
    for line in range(1, 10_000, step):
        restore(state)
        status = run(line)
        found = contents()
        if half is None and len(found.get("file.part", "")) >= half_size:
            half = {**found, "file.part": found["file.part"][:half_size]}
        if found not in states:
            states.append(found)
            again = run(0)
            print(json.dumps([os.WIFSIGNALED(status), found, again, contents()]), flush=True)
        if not os.WIFSIGNALED(status):
            print(line, file=sys.stderr)
            break

kill_at_each_line({"file": "before"})
kill_at_each_line(half, 2)
note = json.loads(half["file.part.json"])
note["beginning"]["validator"] = '"old"'
old = {"file.part": "x" * len(half["file.part"]), "file.part.json": json.dumps(note) + "\\n"}
kill_at_each_line(half | old, 2)
"""


def test_in_front_of_each_line(nginx: NginxEndpoints, tmp_path: Path) -> None:
    url = f"http://{nginx.plain.host}:{nginx.plain.port}/doc/3.txt"
    folder = tmp_path / "folder"
    folder.mkdir()
    whole = document(3).decode()
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AT_EACH_LINE, folder, url, str(len(whole))],
        capture_output=True, check=True, timeout=10 * PATIENCE,
    )  # fmt: skip
    assert min(map(int, done.stderr.split())) > 50  # lines
    seen = set()
    for killed, found, again, in_the_end in map(json.loads, done.stdout.splitlines()):
        assert set(found) <= {"file", "file.part", "file.part.json"}
        assert found["file"] in ("before", whole)
        part = found.get("file.part", "").rstrip("x")
        assert whole.startswith(part)
        assert (again, in_the_end) == (0, {"file": whole})
        assert killed or found == {"file": whole}
        seen.add((found["file"] == whole, len(part)))
    half = len(whole) // 2
    # There may be others: nothing says in how many pieces the document arrives.
    assert seen >= {(False, 0), (False, half), (False, len(whole)), (True, 0)}
    assert {length for is_whole, length in seen if is_whole} == {0}


@pytest.mark.parametrize("received", [1_000, 100_000, 400_000, 660_000])
def test_while_files_appear(nginx: NginxEndpoints, tmp_path: Path, received: int) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with Relay(nginx.plain.port, [received], hold=True) as relay:
        urls = [relay.url(f"/doc/{i}.txt") for i in range(80)]
        with start("get", "-O", *urls, cwd=folder) as process:
            assert relay.at_limit.wait(PATIENCE)
            process.kill()
            assert ended(process) == Done(-9, b"", "")
        names = [path.name for path in folder.iterdir() if ".part" not in path.name]
        assert len(names) < 80
        for name in names:
            assert (folder / name).read_bytes() == document(int(name.removesuffix(".txt")))
        assert run("get", "-O", "--continue", *urls, cwd=folder) == Done(0, b"", "")
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{i}.txt" for i in range(80))


@pytest.mark.parametrize("received", [1, 100, 1000, 100_000, 10_000_000, 40_000_000])
def test_wherever_it_is(nginx: NginxEndpoints, tmp_path: Path, received: int) -> None:
    """In the head, in the body: whoever looks, there is no file yet, or the old one."""
    folder = tmp_path / "folder"
    folder.mkdir()
    file = folder / "file"
    file.write_text("before")
    with Relay(nginx.plain.port, [received], hold=True) as relay:
        with start("get", "-o", file, relay.url("/doc/large.bin")) as process:
            assert relay.at_limit.wait(PATIENCE)
            process.kill()
            assert ended(process) == Done(-9, b"", "")
        assert file.read_text() == "before"
        again = run("get", "-o", file, "--continue", relay.url("/doc/large.bin"))
        assert again == Done(0, b"", "")
    assert file.stat().st_size == 64 << 20
    assert [*folder.iterdir()] == [file]
