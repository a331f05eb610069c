"""The direction of imports: no room of the package knows the rooms built on top of it.

`LAYERS` is the rule; the code below it only reads the imports and compares.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import dugong

PACKAGE = "dugong"
SOURCE = Path(__file__).parent.parent / "src" / PACKAGE

#: From the bottom up. A module may import from its own room and from the layers below it; rooms
#: that share a layer do not know each other. The package's `__init__` gathers public names, so it
#: may import anything; only `PROGRAMS` may import it.
LAYERS = [
    {"errors", "version"},
    {"protocol"},
    {"transport"},
    {"session"},
    {"drivers"},
    {"connection"},
    {"pool"},
    {"client"},
    {"transfer"},
    {"adapters"},
    {"cli"},
    {"__main__"},
]

#: Rooms that use the package as its users do.
PROGRAMS = {"cli", "__main__"}

#: What no module of a room may import, whether at its top or inside a function.
FORBIDDEN = {
    "protocol": {"anyio", "asyncio", "select", "selectors", "socket", "ssl", "threading", "trio"},
}

#: What ``import dugong`` must not load: programs that use none of it should not pay for it.
UNLOADED = ["anyio", "asyncio", "ssl", "trio"]


@dataclass(frozen=True)
class Import:
    """One import of one module: both by dotted name."""

    importer: str
    imported: str
    where: str


def imports_of(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports that can happen at run time, wherever they stand.

    Under ``if TYPE_CHECKING:`` an import only lends its name to annotations, so it is no arrow.
    """
    nodes: list[ast.AST] = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            nodes.extend(node.orelse)
        else:
            nodes.extend(ast.iter_child_nodes(node))


def read_imports(source: Path) -> list[Import]:
    """Return all imports of the modules below *source*, which is the package's directory."""
    files = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        name = ".".join((PACKAGE, *parts)).removesuffix(".__init__")
        files[name] = path
    found = []
    for name, path in files.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for node in imports_of(ast.parse(path.read_text())):
            where = f"{path.relative_to(source.parent)}:{node.lineno}"
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            else:
                base = package.rsplit(".", node.level - 1)[0] if node.level else ""
                base = ".".join(part for part in (base, node.module) if part)
                # `from package import x` is an import of the module x, if there is one.
                names = [f"{base}.{alias.name}" for alias in node.names]
                targets = [full if full in files else base for full in names]
            found += [Import(name, target, where) for target in dict.fromkeys(targets)]
    return found


def room_of(module: str) -> str | None:
    """Return the first name below the package; "" for its `__init__`, None outside of it."""
    (package, _, rest) = module.partition(".")
    return rest.partition(".")[0] if package == PACKAGE else None


def violations(imports: list[Import]) -> list[str]:
    """Return what is wrong with the imports, one sentence each."""
    height = {room: i for (i, rooms) in enumerate(LAYERS) for room in rooms}
    wrong = []
    for item in imports:
        importer = room_of(item.importer)
        imported = room_of(item.imported)
        assert importer is not None
        if importer and importer not in height:
            wrong.append(f"{item.where}: {item.importer} has no place in LAYERS")
        elif imported is None:
            top = item.imported.partition(".")[0]
            if top in FORBIDDEN.get(importer, ()):
                wrong.append(f"{item.where}: {importer} must not import {top}")
        elif importer in ("", imported):
            pass
        elif imported == "":
            if importer not in PROGRAMS:
                wrong.append(f"{item.where}: {item.importer} imports the package itself")
        elif imported not in height:
            wrong.append(f"{item.where}: {item.imported} has no place in LAYERS")
        elif height[imported] >= height[importer]:
            wrong.append(f"{item.where}: {item.importer} must not import {item.imported}")
    return wrong


def private_names(tree: ast.Module) -> tuple[dict[str, int], set[str]]:
    """Return private names that a module takes from elsewhere, by line, and those it defines."""
    used: dict[str, int] = {}
    defined: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom():
                used.update((alias.name, node.lineno) for alias in node.names)
            case ast.Attribute(value=value, attr=attr, ctx=ast.Store()):
                if isinstance(value, ast.Name) and value.id in ("self", "cls"):
                    defined.add(attr)
            case ast.Attribute(value=value, attr=attr):
                if not (isinstance(value, ast.Name) and value.id in ("self", "cls")):
                    used[attr] = node.lineno
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                defined.add(name)
            case ast.ClassDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                defined.add(name)
            case ast.Constant(value=str(name)) if name.isidentifier():  # __slots__
                defined.add(name)
    return {name: line for name, line in used.items() if is_private(name)}, defined


#: Names with an underscore that are not ours: of named tuples, and of argparse, which the shell
#: completions are made from.
FOREIGN = {"_actions", "_asdict", "_replace"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in FOREIGN


def intrusions(source: Path) -> list[str]:
    """Return the uses of private names that no module of the same package defines."""
    found = []
    used: dict[Path, dict[str, int]] = {}
    defined: dict[str, set[str]] = {}
    for path in sorted(source.rglob("*.py")):
        used[path], names = private_names(ast.parse(path.read_text()))
        room = path.relative_to(source).parts[0]
        defined.setdefault(room, set()).update(names)
    for path, taken in used.items():
        room = path.relative_to(source).parts[0]
        found += [
            f"{path.relative_to(source)}:{line}: {name} is private to another package"
            for name, line in taken.items()
            if name not in defined[room]
        ]
    return found


def test_private_names_stay_in_their_package() -> None:
    assert intrusions(SOURCE) == []


#: Modules of the command that still know the inside of the library.
INSIDERS = {
    "arguments", "judging", "links", "measure", "servers", "sources", "timing",
}  # fmt: skip


def test_the_command_uses_public_names() -> None:
    wrong = []
    for path in sorted((SOURCE / "cli").glob("*.py")):
        if path.stem in INSIDERS:
            continue
        for node in imports_of(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 2:
                names = {alias.name for alias in node.names}
                if node.module or not names <= {*dugong.__all__}:
                    wrong.append(f"{path.name}:{node.lineno}")
    assert wrong == []


def test_direction() -> None:
    imports = read_imports(SOURCE)
    assert imports
    assert violations(imports) == []


def test_import_loads_no_more_than_needed() -> None:
    code = f"import sys, dugong; print(*(set({UNLOADED}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/"
    )
    assert done.stdout.split() == []


# --------------------------------------------------------------------- the checker itself

SOUND = {
    "__init__.py": "from .connection.blocking import HTTPConnection\nfrom . import errors",
    "errors.py": "import errno\nfrom typing import TYPE_CHECKING\n"
    "if TYPE_CHECKING:\n    from dugong.protocol.messages import Request",
    "protocol/__init__.py": "",
    "protocol/messages.py": "from dugong import errors",
    "protocol/body.py": "from .messages import Request\nfrom ..errors import StateError",
    "transport/__init__.py": "",
    "transport/stream.py": "import socket, ssl",
    "session/__init__.py": "",
    "session/writer.py": "from dugong.transport import stream",
    "session/session.py": "from dugong.protocol import body\nfrom .writer import RequestWriter",
    "drivers/__init__.py": "from dugong.transport import stream",
    "connection/__init__.py": "",
    "connection/blocking.py": "from dugong.session.session import Session\nimport dugong.drivers",
    "cli.py": "from dugong import HTTPConnection",
    "__main__.py": "from .cli import main",
}

#: A file, what is added to it, and what must be said about it.
TURNED = [
    ("errors.py", "import dugong.protocol.messages", "errors must not import dugong.protocol"),
    ("errors.py", "from dugong import protocol", "errors must not import dugong.protocol"),
    ("errors.py", "from . import connection", "errors must not import dugong.connection"),
    ("errors.py", "from dugong import HTTPConnection", "errors imports the package itself"),
    ("protocol/body.py", "from ..transport import stream", "body must not import dugong.transport"),
    (
        "protocol/__init__.py",
        "from ..session.writer import x",
        "protocol must not import dugong.se",
    ),
    ("protocol/body.py", "def f():\n    import ssl", "protocol must not import ssl"),
    ("protocol/body.py", "from asyncio.events import x", "protocol must not import asyncio"),
    ("transport/stream.py", "class C:\n    from ..connection import y", "import dugong.connection"),
    ("session/writer.py", "from ..drivers import x", "writer must not import dugong.drivers"),
    ("drivers/__init__.py", "from ..connection import z", "drivers must not import dugong.connect"),
    (
        "session/session.py",
        "try:\n    import dugong.connection\nfinally:\n    pass",
        "must not import dugong.connection",
    ),
    ("connection/blocking.py", "from ..elsewhere import x", "dugong.elsewhere has no place in LAY"),
    ("surprise.py", "import errno", "dugong.surprise has no place in LAYERS"),
]


def write_tree(directory: Path, files: dict[str, str]) -> Path:
    source = directory / PACKAGE
    for name, text in files.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return source


@pytest.mark.parametrize("text", ["from ..protocol.body import _x", "def f(x): return x._pieces"])
def test_checker_finds_a_private_name(tmp_path: Path, text: str) -> None:
    source = write_tree(tmp_path, {**SOUND, "transport/stream.py": text})
    (found,) = intrusions(source)
    assert found.startswith("transport/stream.py:1: _")


def test_checker_accepts_a_sound_tree(tmp_path: Path) -> None:
    assert violations(read_imports(write_tree(tmp_path, SOUND))) == []


@pytest.mark.parametrize(("name", "text", "expected"), TURNED)
def test_checker_finds_a_turned_arrow(tmp_path: Path, name: str, text: str, expected: str) -> None:
    files = {**SOUND, name: SOUND.get(name, "") + "\n" + text}
    (found,) = violations(read_imports(write_tree(tmp_path, files)))
    assert expected in found
