"""Progress of work in named stages that report the share done, such as training the miniature's models."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

PLAIN_STEP = 0.25
"""Without a terminal, a line each time that a stage has done this much more."""


class Stages:
    """A bar for each stage on a terminal, and a line now and then elsewhere. Use it as a context manager."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        self._title, self._console = title, console or Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        self._bars = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, float] = {}

    def report(self, stage: str, share: float) -> None:
        """`stage` has done `share` of its work, in [0, 1]. May be called from any thread."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(f"{self._title}: {stage}", total=1.0)
            self._said[stage] = -PLAIN_STEP
        self._bars.update(self._tasks[stage], completed=share)
        if not self._console.is_terminal and share >= self._said[stage] + PLAIN_STEP:
            self._said[stage] = share
            self._console.print(f"{self._title}: {stage} {share:.0%}", highlight=False)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
