"""Progress on standard error: lines about it and, on a terminal, the number of records written."""

from types import TracebackType

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text


class ProgressDisplay:
    """A context manager that shows the progress of a command. `quiet` hides the number of records."""

    def __init__(self, *, quiet: bool = False) -> None:
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        columns = SpinnerColumn(), TextColumn("{task.completed:.0f} written"), TimeElapsedColumn()
        disabled = quiet or not console.is_terminal
        self._progress = Progress(*columns, console=console, transient=True, disable=disabled)
        self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> "ProgressDisplay":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def print_line(self, text: str) -> None:
        """Prints a line above the progress."""
        self._progress.console.print(Text(text))

    def show_written(self, written: int) -> None:
        """Shows the number of records written so far."""
        self._progress.update(self._task, completed=written)
