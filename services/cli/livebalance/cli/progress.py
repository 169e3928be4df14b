"""Progress on standard error: skipped lines and, on a terminal, the number of records written."""

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from livebalance.cli.produce.csv_transfers import SkippedLine
from livebalance.cli.produce.produce import ProduceReport


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

    def show_batch(self, report: ProduceReport, skipped: Sequence[SkippedLine]) -> None:
        """Prints the skipped lines of a batch, and shows the number of records written so far."""
        for line in skipped:
            self._progress.console.print(Text(f"{line.where}: {line.reason}"))
        self.show_written(report.written)

    def show_written(self, written: int) -> None:
        """Shows the number of records written so far."""
        self._progress.update(self._task, completed=written)
