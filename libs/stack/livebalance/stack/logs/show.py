"""Shows the merged log: coloured text for people, JSON lines for programs."""

import json
import time
from pathlib import Path
from zlib import crc32

from rich.console import Console
from rich.text import Text

from livebalance.stack.logs.log_line import LogLine
from livebalance.stack.logs.merged_log import MergedLog

_POLL_SECONDS = 0.2
_LEVEL_STYLES = {"debug": "dim", "info": "green", "warning": "yellow", "error": "bold red"}
_PROCESS_STYLES = ("cyan", "magenta", "blue", "bright_cyan", "bright_magenta", "bright_blue")


def show_logs(directory: Path, console: Console, lines: int, *, as_json: bool) -> None:
    """Prints the last lines; on a terminal, new lines too, until Ctrl-C."""
    log = MergedLog(directory)
    new = log.read()[-lines:]
    while True:
        for line in new:
            if as_json:
                console.file.write(json.dumps(line.as_object()) + "\n")
            else:
                console.print(as_text(line), soft_wrap=True)
        if not console.is_terminal:
            return
        time.sleep(_POLL_SECONDS)
        new = log.read()


def as_text(line: LogLine) -> Text:
    """Returns a line as people read it: the local time, process, level, event and fields."""
    clock = line.time.astimezone().strftime("%H:%M:%S.%f")[:-3] if line.time else " " * 12
    text = Text().append(clock, "dim")
    text.append(f" {line.process:<12}", _PROCESS_STYLES[crc32(line.process.encode()) % len(_PROCESS_STYLES)])
    text.append(f" {line.level:<7}", _LEVEL_STYLES.get(line.level, ""))
    text.append(f" {line.event}", "bold" if line.level in ("warning", "error") else "")
    for name, value in line.fields.items():
        shown = value if isinstance(value, str) else json.dumps(value)
        text.append(f" {name}=", "dim")
        text.append(shown)
    return text
