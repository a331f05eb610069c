"""What is published: the wheel and the sdist hold what they should, and the wheel is enough."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.apps import document
from tests.support.servers import ROOT, NginxEndpoints

SOURCE = ROOT / "src" / "dugong"

#: What may stand at the top of the sdist.
PARTS = {
    ".gitignore", "CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "LICENSE", "Makefile",
    "PKG-INFO", "README.md", "RELEASING.md", "SECURITY.md", "bench", "docs", "examples", "fuzz",
    "pyproject.toml", "src", "tests",
}  # fmt: skip


def run(*command: object) -> str:
    done = subprocess.run(
        [*map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the sdist, as they would be published."""
    directory = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-d", directory)
    [wheel], [sdist] = directory.glob("*.whl"), directory.glob("*.tar.gz")
    return wheel, sdist


def test_wheel(built: tuple[Path, Path]) -> None:
    """The package whole, typed, and nothing else."""
    names = {name for name in zipfile.ZipFile(built[0]).namelist() if ".dist-info/" not in name}
    files = [path for path in SOURCE.rglob("*") if path.suffix == ".py" or path.name == "py.typed"]
    assert names == {path.relative_to(SOURCE.parent).as_posix() for path in files}
    assert "dugong/py.typed" in names


def test_sdist(built: tuple[Path, Path]) -> None:
    """The sources, with what tests and documents them; nothing that a tool has left behind."""
    with tarfile.open(built[1]) as archive:
        names = [Path(*Path(name).parts[1:]) for name in archive.getnames()]
    assert {path.parts[0] for path in names if path.parts} == PARTS
    assert [path for path in names if "__pycache__" in path.parts or path.suffix == ".pyc"] == []
    assert {path for path in names if path.suffix == ".lock"} == set()


def test_metadata(built: tuple[Path, Path]) -> None:
    """What an index would refuse, or could not show."""
    run(sys.executable, "-m", "twine", "check", "--strict", *built)


def test_in_an_empty_environment(
    built: tuple[Path, Path], nginx: NginxEndpoints, tmp_path: Path
) -> None:
    """The wheel alone gives the library and a command that fetches."""
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    run(
        sys.executable, "-m", "pip", "--python", python, "install",
        "--quiet", "--no-index", "--no-deps", "--no-compile", built[0],
    )  # fmt: skip
    assert run(python, "-I", "-c", "import dugong; print(dugong.__version__)").strip()
    command = python.with_name("dugong")
    url = f"http://{nginx.plain.host}:{nginx.plain.port}/doc"
    got = subprocess.run([command, "get", f"{url}/7.txt"], capture_output=True, check=True)
    assert got.stdout == document(7)
    done = subprocess.run([command, "time", url], capture_output=True, text=True, check=False)
    assert (done.returncode, "dugong[cli]" in done.stderr) == (2, True)
