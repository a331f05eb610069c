"""Fixtures of the whole suite, and the styles in which its tests run.

A test that is an ``async def`` takes a `StyledWire` and runs once in each style: generators,
blocking calls, asyncio and trio. A ``def`` takes a `Wire` and drives generators, or calls what
blocks, by itself: it looks at what exists in that style alone (masks, a coroutine resumed early),
or is a sweep over every offset, which takes time and has nothing to do with the style.
"""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.support.styles import BlockingWire, GeneratorWire, StyledWire
from tests.support.styles_in_loops import AsyncioWire, TrioWire
from tests.support.wire import AnyWire, Certificates, Wire

STYLES: dict[str, type[StyledWire]] = {
    "generator": GeneratorWire,
    "blocking": BlockingWire,
    "asyncio": AsyncioWire,
    "trio": TrioWire,
}

#: The servers, started by the first test that asks for one.
pytest_plugins = ["tests.support.servers", "tests.support.answering"]

slow = pytest.mark.slow

#: What a fixture's connections run over.
TRANSPORTS = {"wire": ["plain", "tls"], "plain": ["plain"], "tls": ["tls"]}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "styles(*names): run this test in these styles alone, for the reason given"
    )
    config.addinivalue_line("markers", "slow: left out by `make test`, run by `make test-all`")


def pytest_collection_finish() -> None:
    """Take the tests themselves out of each later collection, which they would slow down."""
    # Before that, because it asks the collector what refers to some objects of trio's, and frozen
    # objects do not count. Otherwise pytest imports it in the end, and fails.
    import hypothesis  # noqa: F401

    gc.collect()
    gc.freeze()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker("styles")
    styles = [""]
    if inspect.iscoroutinefunction(metafunc.function):
        styles = [*STYLES] if marker is None else [*marker.args]
    own: set[str] = set()  # arguments that the test gives values to, whatever their names
    for mark in metafunc.definition.iter_markers("parametrize"):
        own.update([mark.args[0]] if isinstance(mark.args[0], str) else mark.args[0])
    omits_slow = _omits_slow(metafunc.config)
    for name, transports in TRANSPORTS.items():
        if name in metafunc.fixturenames and name not in own:
            cases = [
                pytest.param(
                    (style, transport),
                    id="-".join(filter(None, (style, transport))),
                    marks=() if _is_quick(style, transport, styles, transports) else slow,
                )
                for style in styles
                for transport in transports
                if not omits_slow or _is_quick(style, transport, styles, transports)
            ]
            metafunc.parametrize(name, cases, indirect=True)


def _is_quick(style: str, transport: str, styles: list[str], transports: list[str]) -> bool:
    """Whether `make test` runs this combination.

    It runs each style and each transport, and all combinations only where there are few.
    """
    if len(styles) < len(STYLES) or len(transports) == 1:
        return True
    return transport == ("tls" if style in ("blocking", "trio") else "plain")


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class, obj: object) -> Any:
    """Make no items of slow tests where the command line leaves them out.

    They would be more than the others, and each process collects all tests.
    """
    if _omits_slow(collector.config) and (_is_slow(collector.obj) or _is_slow(obj)):
        return []
    return None


def _omits_slow(config: pytest.Config) -> bool:
    return bool(config.option.markexpr == "not slow")


def _is_slow(obj: object) -> bool:
    marks = getattr(obj, "pytestmark", ())
    marks = marks if isinstance(marks, Sequence) else (marks,)
    return any(mark.name == "slow" for mark in marks)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an ``async def`` in the style of its wire."""
    wires = [value for value in pyfuncitem.funcargs.values() if isinstance(value, StyledWire)]
    if not wires or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    wires[0].run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(scope="module", autouse=True)
def quick_collections() -> None:
    """Take what earlier modules have left out of each later collection, too: reports, caches."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def certificates() -> Certificates:
    """A certificate authority, and contexts for both ends."""
    return Certificates.make()


def _make(param: tuple[str, str], certificates: Certificates) -> Iterator[AnyWire[Any]]:
    style, transport = param
    kind: type[AnyWire[Any]] = STYLES[style] if style else Wire
    wire = kind(certificates, tls=transport == "tls")
    yield wire
    wire.close()


@pytest.fixture
def wire(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[AnyWire[Any]]:
    """Connections to scripted peers; the test runs once over TCP and once over TLS."""
    yield from _make(request.param, certificates)


@pytest.fixture
def plain(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[AnyWire[Any]]:
    """The same over TCP alone, for what has nothing to do with TLS."""
    yield from _make(request.param, certificates)


@pytest.fixture
def tls(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[AnyWire[Any]]:
    """The same over TLS alone."""
    yield from _make(request.param, certificates)
