"""`dugong get`, killed: whenever that happens, a file under its final name is complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import PATIENCE, Done, ended, run, start
from tests.cli.relay import Relay
from tests.support.apps import LARGE_SIZE, document
from tests.support.servers import NginxEndpoints

pytestmark = pytest.mark.slow


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
