"""The steps of a start, shown on the console."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn


class StartupProgress:
    """Shows a line per step: a spinner, then how long the step took. Without a console: nothing."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(quiet=True)
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24, complete_style="cyan"),
            TextColumn("[dim]{task.fields[note]}[/]"),
            console=self._console,
            disable=not self._console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[int, int], None]]:
        """Shows a step while the block runs. Yields a callback for downloads: bytes done, bytes in total."""
        began = time.monotonic()
        task = self._progress.add_task(name, total=None, note="")
        yield lambda done, total: self._show_download(task, done, total)
        note = f"{time.monotonic() - began:.1f} s"
        self._progress.update(task, total=1, completed=1, note=note)
        if not self._console.is_terminal:
            self._console.print(f"{name}: {note}", highlight=False)

    def report(self, text: str) -> None:
        """Prints a line with the time of day."""
        self._console.print(f"[dim]{time.strftime('%H:%M:%S')}[/] {text}", highlight=False, soft_wrap=True)

    def _show_download(self, task: TaskID, done: int, total: int) -> None:
        note = f"{done / 1e6:.0f} of {total / 1e6:.0f} MB"
        self._progress.update(task, completed=done, total=total, note=note)
