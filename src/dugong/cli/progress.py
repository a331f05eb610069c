"""Progress bars on standard error, if that is a terminal."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

from . import output

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType
    from rich.progress import Progress, Task, TaskID

#: Cells of the terminal that are left free at the right.
_MARGIN = 3


class Bar:
    """The progress of one transfer.

    Attributes:
        done: the number of bytes transferred.
        total: the total number of bytes, ``None`` if it is unknown.
    """

    def __init__(self, begin: Callable[[Bar], object] = lambda bar: None) -> None:
        self.done = -1
        self.total: int | None = None
        self._begin = begin

    def show(self, done: int, total: int | None) -> None:
        """Show how far the transfer is. The bar appears with the first call."""
        is_first = self.done < 0
        self.done, self.total = done, total
        if is_first:
            self._begin(self)


class Bars(Protocol):
    """A display of bars."""

    def bar(self, name: str) -> AbstractContextManager[Bar]:
        """Provide a bar while the context lasts. It stays visible unless an exception is raised.

        Args:
            name: the label of the bar; without one, nothing is shown.
        """


class _NoBars:
    def bar(self, name: str) -> AbstractContextManager[Bar]:
        return nullcontext(Bar())


class _RichBars:
    def __init__(self, progress: Progress, shown: dict[TaskID, Bar]) -> None:
        self._progress = progress
        self._shown = shown

    @contextmanager
    def bar(self, name: str) -> Iterator[Bar]:
        if not name:
            yield Bar()
            return
        progress, tasks = self._progress, []

        def begin(bar: Bar) -> None:
            progress.start()
            shortened = _shortened(output.printable(name), progress.console.width)
            tasks.append(progress.add_task(shortened, total=bar.total, completed=bar.done))
            self._shown[tasks[0]] = bar

        bar = Bar(begin)
        try:
            yield bar
            if tasks:
                bar.total = bar.done
                progress.refresh()
                table = progress.make_tasks_table(
                    [task for task in progress.tasks if task.id == tasks[0]]
                )
                progress.console.print(table)
        finally:
            for task in tasks:
                del self._shown[task]
                progress.remove_task(task)


def has_rich() -> bool:
    """Return whether the package that draws bars is installed."""
    from importlib.util import find_spec

    return find_spec("rich") is not None


@contextmanager
def bars(wanted: bool = True) -> Iterator[Bars]:
    """Provide a display of bars while the context lasts.

    Meanwhile, error messages appear above the bars. If standard error is not a terminal or the
    extra is not installed, nothing is shown and rich is not loaded.

    Args:
        wanted: whether to show bars at all.
    """
    if not wanted or not output.is_terminal(2) or not has_rich():
        yield _NoBars()
        return
    progress, shown = _rich_progress()

    def print_above(line: str) -> None:
        progress.console.print(line, soft_wrap=True, markup=False, highlight=False, emoji=False)

    before, output.print_error = output.print_error, print_above
    try:
        yield _RichBars(progress, shown)
    finally:
        output.print_error = before
        progress.stop()


def _rich_progress() -> tuple[Progress, dict[TaskID, Bar]]:
    from rich.console import Console
    from rich.constrain import Constrain
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
    from rich.table import Column
    from rich.text import Text

    shown: dict[TaskID, Bar] = {}
    console = Console(file=sys.stderr)

    class Words(ProgressColumn):
        def __init__(self, words: Callable[[Task], str], style: str) -> None:
            self._words = words
            self._style = style
            super().__init__(Column(no_wrap=True, justify="right"))

        def render(self, task: Task) -> Text:
            return Text(self._words(task), self._style)

    class Watching(Progress):
        """Reads the progress of all bars whenever it draws them."""

        def get_renderables(self) -> Iterable[RenderableType]:
            for task, bar in list(shown.items()):
                self.update(task, completed=bar.done, total=bar.total)
            # The "^C" that the terminal prints must fit behind a bar. Otherwise the line wraps.
            width = max(1, console.width - _MARGIN)
            for renderable in super().get_renderables():
                yield Constrain(renderable, width)

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        Words(_amount, "progress.download"),
        Words(_rate, "progress.data.speed"),
        Words(_time, "progress.remaining"),
    )
    return Watching(*columns, console=console, expand=True, redirect_stdout=False), shown


def _shortened(name: str, width: int) -> str:
    """Return a name that fits beside a bar. The end of a longer name is cut off."""
    longest = max(1, width // 3)
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def _amount(task: Task) -> str:
    done = output.size(int(task.completed))
    if task.total is None or task.finished:
        return done
    number, unit = done.split(" ")
    total = output.size(int(task.total))
    return f"{number if total.endswith(unit) else done} of {total}"


def _rate(task: Task) -> str:
    speed = task.finished_speed or task.speed
    if speed is None and task.elapsed:  # too fast for samples
        speed = task.completed / task.elapsed
    return "" if speed is None else f"{output.size(int(speed))}/s"


def _time(task: Task) -> str:
    """Return the remaining time, or the duration of a finished transfer."""
    if task.finished:
        seconds = task.finished_time or task.elapsed or 0.0
        return f"in {seconds:.1f} s" if seconds < 10 else f"in {_clock(seconds)}"
    left = task.time_remaining
    return "" if left is None else f"{_clock(left)} left"


def _clock(seconds: float) -> str:
    minutes, second = divmod(math.ceil(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
