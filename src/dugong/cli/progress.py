"""Progress bars on standard error, if that is a terminal."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from . import output

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType
    from rich.progress import Progress, Task, TaskID

#: Cells of the terminal that are left free at the right.
_MARGIN = 3


@dataclass
class Bar:
    """The progress of one transfer. Set the attributes: the display reads them periodically.

    Attributes:
        done: the number of bytes transferred.
        total: the total number of bytes, ``None`` if it is unknown.
        watch: returns the value of *done*, for transfers that cannot set it themselves.
    """

    done: int = 0
    total: int | None = None
    watch: Callable[[], int] | None = None

    def look(self) -> int:
        if self.watch is not None:
            self.done = self.watch()
        return self.done


class Bars(Protocol):
    """A display of bars."""

    def bar(
        self, name: str, total: int | None = None, done: int = 0
    ) -> AbstractContextManager[Bar]:
        """Show a bar while the context lasts. It stays visible unless an exception is raised.

        Args:
            name: the label of the bar.
            total: the total number of bytes, ``None`` if it is unknown.
            done: the number of bytes transferred before.
        """


class _NoBars:
    def bar(
        self, name: str, total: int | None = None, done: int = 0
    ) -> AbstractContextManager[Bar]:
        return nullcontext(Bar(done, total))


class _RichBars:
    def __init__(self, progress: Progress, shown: dict[TaskID, Bar]) -> None:
        self._progress = progress
        self._shown = shown

    @contextmanager
    def bar(self, name: str, total: int | None = None, done: int = 0) -> Iterator[Bar]:
        bar = Bar(done, total)
        progress = self._progress
        progress.start()
        shortened = _shortened(output.printable(name), progress.console.width)
        task = progress.add_task(shortened, total=total, completed=done)
        self._shown[task] = bar
        try:
            yield bar
            bar.total = bar.look()
            progress.refresh()
            table = progress.make_tasks_table([one for one in progress.tasks if one.id == task])
            progress.console.print(table)
        finally:
            del self._shown[task]
            progress.remove_task(task)


@contextmanager
def bars(wanted: bool = True) -> Iterator[Bars]:
    """Provide a display of bars while the context lasts.

    Meanwhile, error messages appear above the bars. If standard error is not a terminal or the
    extra is not installed, nothing is shown and rich is not loaded.

    Args:
        wanted: whether to show bars at all.
    """
    if not wanted or not output.is_terminal(2) or not output.has_extra():
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
                self.update(task, completed=bar.look(), total=bar.total)
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
    return "" if speed is None else f"{output.size(int(speed))}/s"


def _time(task: Task) -> str:
    """Return the remaining time, or the duration of a finished transfer."""
    if task.finished:
        return f"in {_clock(task.finished_time or 0)}"
    left = task.time_remaining
    return "" if left is None else f"{_clock(left)} left"


def _clock(seconds: float) -> str:
    minutes, second = divmod(math.ceil(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
