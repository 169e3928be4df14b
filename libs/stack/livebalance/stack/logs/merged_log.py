"""Reads the log files of a directory, and returns what is new in them in the order of time."""

from datetime import UTC, datetime
from pathlib import Path

from livebalance.stack.logs.log_line import LogLine, parse

_TAIL_BYTES = 256 * 1024  # read from the end of each file at first
_READ_BYTES = 1024 * 1024  # read from each file at once


class MergedLog:
    """All logs of a directory. A file that appears later is read from its start."""

    def __init__(self, directory: Path) -> None:
        self._files = [_LogFile(path, tail=True) for path in sorted(directory.glob("*.log"))]
        self._directory = directory

    def read(self) -> list[LogLine]:
        """Returns the lines that were completed since the last call. The first call reads the ends."""
        known = {file.path for file in self._files}
        new = sorted(set(self._directory.glob("*.log")) - known)
        self._files += [_LogFile(path, tail=False) for path in new]
        lines = [timed for file in self._files for timed in file.read()]
        lines.sort(key=lambda timed: timed[0])
        return [line for _, line in lines]


class _LogFile:
    """A file and how far it was read."""

    def __init__(self, path: Path, *, tail: bool) -> None:
        self.path = path
        self._offset = max(0, path.stat().st_size - _TAIL_BYTES) if tail else 0
        self._is_cut = self._offset > 0  # the first line has no beginning
        self._modified = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        self._time: datetime | None = None  # of the last line

    def read(self) -> list[tuple[datetime, LogLine]]:
        """Returns the lines that were completed since the last call.

        A line without a time has that of the line before; the first lines that of the next, or of the file.
        """
        lines = [parse(self.path.stem, text) for text in self._new_lines()]
        time = self._time or next((line.time for line in lines if line.time), None) or self._modified
        timed = [(time := line.time or time, line) for line in lines]
        self._time = time if lines else self._time
        return timed

    def _new_lines(self) -> list[str]:
        try:
            with self.path.open("rb") as file:
                if self._offset > file.seek(0, 2):  # the file was made anew
                    self._offset = 0
                file.seek(self._offset)
                data = file.read(_READ_BYTES)
        except FileNotFoundError:
            return []
        end = data.rfind(b"\n") + 1
        end = end or (len(data) if len(data) == _READ_BYTES else 0)  # a longer line is cut
        self._offset += end
        lines = data[:end].decode(errors="replace").splitlines()
        if self._is_cut and lines:
            lines, self._is_cut = lines[1:], False
        return [line for line in lines if line.strip()]
