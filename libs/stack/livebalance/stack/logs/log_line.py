"""Parses a line of a log as its program writes it. Pure."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

_ISO = r"(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\.\d+)(?: UTC|Z|[+-]\d\d:\d\d)?"
# Each pattern has the groups time and event, and level if the program writes levels.
_KAFKA = re.compile(rf"{_ISO} \[[^]]*\] (?P<level>[A-Z]+) (?P<event>.*)", re.DOTALL)
_POSTGRES = re.compile(rf"{_ISO} \[\d+\] (?P<level>[A-Z]+):\s+(?P<event>.*)", re.DOTALL)
_REDIS = re.compile(
    r"\d+:[A-Z] (?P<time>\d+ \w{3} \d{4} \d\d:\d\d:\d\d\.\d+) (?P<level>[.*#-]) (?P<event>.*)", re.DOTALL
)
_REDIS_LEVELS = {"#": "warning", "*": "info", "-": "info", ".": "debug"}
_LEVELS = {
    "log": "info",
    "warn": "warning",
    "hint": "info",
    "detail": "info",
    "fatal": "error",
    "panic": "error",
}


@dataclass(frozen=True)
class LogLine:
    """An event of a process. `time` is None if the line does not say when it was written."""

    process: str
    time: datetime | None
    level: str  # debug, info, warning or error
    event: str
    fields: dict[str, Any] = field(default_factory=dict)

    def as_object(self) -> dict[str, Any]:
        """Returns the line as a JSON object, with the names that the services use."""
        time = {"timestamp": self.time.isoformat().replace("+00:00", "Z")} if self.time else {}
        return {**time, "process": self.process, "level": self.level, "event": self.event, **self.fields}


def parse(process: str, text: str) -> LogLine:
    """Returns the event of a line. A line in no known format is an event without a time."""
    for read in (_read_json, _read_text):
        if line := read(process, text):
            return line
    return LogLine(process, None, "info", text)


def _read_json(process: str, text: str) -> LogLine | None:
    """Reads a line of a service, or of Caddy."""
    if not text.startswith("{"):
        return None
    try:
        fields = json.loads(text)
        if "ts" in fields:
            time, event = datetime.fromtimestamp(fields.pop("ts"), UTC), fields.pop("msg")
        else:
            time, event = datetime.fromisoformat(fields.pop("timestamp")), fields.pop("event")
        fields.pop("process", None)
        return LogLine(process, time, _level(fields.pop("level", "info")), str(event), fields)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None


def _read_text(process: str, text: str) -> LogLine | None:
    readers: tuple[tuple[re.Pattern[str], Callable[[str], datetime]], ...] = (
        (_KAFKA, datetime.fromisoformat),
        (_POSTGRES, datetime.fromisoformat),
        (_REDIS, _read_redis_time),
    )
    for pattern, read_time in readers:
        if match := pattern.fullmatch(text):
            time = read_time(match["time"]).replace(tzinfo=UTC)
            return LogLine(process, time, _level(match["level"]), match["event"])
    return None


def _read_redis_time(text: str) -> datetime:
    return datetime.strptime(f"{text} +0000", "%d %b %Y %H:%M:%S.%f %z")


def _level(text: str) -> str:
    lower = text.lower()
    return _REDIS_LEVELS.get(lower) or _LEVELS.get(lower, lower)
