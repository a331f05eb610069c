"""`dugong get`, killed: whenever that happens, a file under its final name is complete.

Processes are killed in front of each line of the module that deals with files where these have
changed, and, from outside, while files appear one after the other.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import PATIENCE, Done, ended, run, start
from tests.cli.relay import Relay
from tests.support.apps import LARGE_SIZE, document
from tests.support.servers import NginxEndpoints

pytestmark = pytest.mark.slow

#: Runs the command in children, in three rounds: at first there is an older file, then half of the
#: document as well, then half of another version. One child notes in front of which lines of the
#: module the files have changed. Others are killed there, and then the command runs again.
#:
#: Each report is flushed: a child inherits what is left in the buffer, and the command flushes
#: standard output at its end, so the child would print that as well.
KILLED_AFTER_EACH_CHANGE = """
import json, os, signal, sys
from dugong.cli import files, get, main  # get: imported once, and not in each child

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

def run(before_line=None):
    def trace(frame, event, argument):
        if frame.f_code.co_filename != files.__file__:
            return None
        if event == "line":
            before_line()
        return trace
    pid = os.fork()
    if not pid:
        if before_line:
            sys.settrace(trace)
        os._exit(main(["get", "-o", "file", "--continue", url]))
    return os.waitpid(pid, 0)[1]

def lines_after_changes():
    reader, writer = os.pipe()
    last = None
    def note():
        nonlocal last
        now = contents()
        os.write(writer, b"same\\n" if now == last else b"changed\\n")
        last = now
    assert run(note) == 0
    os.close(writer)
    with open(reader) as pipe:
        lines = pipe.read().splitlines()
    print(len(lines), file=sys.stderr)
    return [number for number, line in enumerate(lines) if line == "changed"]

def killing(number):
    def count():
        nonlocal number
        if number == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        number -= 1
    return count

half = None

def kill_after_each_change(state):
    global half
    restore(state)
    for before_line in (*map(killing, lines_after_changes()), None):
        restore(state)
        killed = os.WIFSIGNALED(run(before_line))
        found = contents()
        if half is None and len(found.get("file.part", "")) >= half_size:
            half = {**found, "file.part": found["file.part"][:half_size]}
        again = run()
        print(json.dumps([killed, found, again, contents()]), flush=True)

kill_after_each_change({"file": "before"})
kill_after_each_change(half)
note = json.loads(half["file.part.json"])
note["beginning"]["validator"] = '"old"'
old = {"file.part": "x" * half_size, "file.part.json": json.dumps(note) + "\\n"}
kill_after_each_change(half | old)
"""


def test_after_each_change(nginx: NginxEndpoints, tmp_path: Path) -> None:
    """Killed in front of whatever line, the command leaves the files as they are there."""
    url = f"http://{nginx.plain.host}:{nginx.plain.port}/doc/3.txt"
    folder = tmp_path / "folder"
    folder.mkdir()
    whole = document(3).decode()
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AFTER_EACH_CHANGE, folder, url, str(len(whole))],
        capture_output=True, check=True, timeout=2 * PATIENCE,
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


@pytest.mark.parametrize("received", [1, 100, 1000, 100_000, 10_000_000, 30_000_000])
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
    assert file.stat().st_size == LARGE_SIZE
    assert [*folder.iterdir()] == [file]
