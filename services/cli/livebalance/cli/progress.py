"""What standard error says meanwhile: the lines left out, and on a terminal how many are written."""

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from livebalance.cli.produce.csv_transfers import SkippedLine
from livebalance.cli.produce.produce import ProduceReport


class Progress:
    def __init__(self, *, quiet: bool = False) -> None:
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        columns = SpinnerColumn(), TextColumn("{task.completed:.0f} written"), TimeElapsedColumn()
        self._bar = Bar(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def tell(self, report: ProduceReport, skips: Sequence[SkippedLine]) -> None:
        """After each batch."""
        for skip in skips:
            self._bar.console.print(Text(f"{skip.where}: {skip.reason}"))
        self.show(report.written)

    def show(self, written: int) -> None:
        self._bar.update(self._task, completed=written)
