"""The logs of all processes are one log in the order of time, whatever format each program has."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from livebalance.stack.logs.log_line import LogLine, parse
from livebalance.stack.logs.merged_log import MergedLog
from livebalance.stack.logs.show import as_text, show_logs

AT = datetime(2026, 11, 28, 22, 16, 3, 914000, UTC)
SERVICE = json.dumps(
    {
        "event": "lanes claimed",
        "lanes": [0, 1],
        "process": "projector-1",
        "level": "warning",
        "timestamp": AT.isoformat(),
    }
)


def test_line_of_each_program_has_its_time_level_and_event() -> None:
    lines = {
        SERVICE: LogLine("p", AT, "warning", "lanes claimed", {"lanes": [0, 1]}),
        f'{{"level":"warn","ts":{AT.timestamp()},"logger":"admin","msg":"disabled"}}': LogLine(
            "p", AT, "warning", "disabled", {"logger": "admin"}
        ),
        "2026-11-28T22:16:03.914Z [main] INFO kafka.Server - started": LogLine(
            "p", AT, "info", "kafka.Server - started"
        ),
        "2026-11-28 22:16:03.914 UTC [18096] FATAL:  no role": LogLine("p", AT, "error", "no role"),
        "18062:M 28 Nov 2026 22:16:03.914 # WARNING overcommit": LogLine(
            "p", AT, "warning", "WARNING overcommit"
        ),
    }
    assert {text: parse("p", text) for text in lines} == lines


def test_line_in_no_known_format_is_an_event_without_a_time() -> None:
    for text in (
        "Traceback:",
        "{",
        '{"ts": "x", "msg": 1}',
        '{"ts": 1e99, "msg": ""}',
        "[1]",
        '{"event": 1}',
    ):
        assert parse("p", text) == LogLine("p", None, "info", text)


def test_lines_of_all_files_are_read_once_and_in_the_order_of_time(tmp_path: Path) -> None:
    kafka, postgres = tmp_path / "kafka.log", tmp_path / "postgres.log"
    kafka.write_text(
        "2026-11-28T22:16:01.000Z [main] ERROR a\n\tat Line.java\n2026-11-28T22:16:05.000Z [m] INFO b\n"
    )
    postgres.write_text(
        "2026-11-28 22:16:03.000 UTC [1] LOG:  c\n2026-11-28 22:16:06.000 UTC [1] LOG:  unfini"
    )
    log = MergedLog(tmp_path)
    assert [line.event for line in log.read()] == ["a", "\tat Line.java", "c", "b"]
    with postgres.open("a") as file:
        file.write("shed\n")
    (tmp_path / "redis.log").write_text("1:M 28 Nov 2026 22:16:04.000 * d\n")
    assert [line.event for line in log.read()] == ["d", "unfinished"]
    postgres.write_text("")  # made anew
    assert log.read() == []
    postgres.write_text("2026-11-28 22:16:07.000 UTC [1] LOG:  e\n")
    kafka.unlink()
    assert [line.event for line in log.read()] == ["e"]


def test_long_file_is_read_from_a_whole_line_near_its_end(tmp_path: Path) -> None:
    (tmp_path / "npm.log").write_text("".join(f"line {n}\n" for n in range(100_000)))
    events = [line.event for line in MergedLog(tmp_path).read()]
    assert events == [f"line {n}" for n in range(100_000 - len(events), 100_000)]
    assert 10_000 < len(events) < 40_000


def test_last_lines_are_shown_to_programs_as_json(tmp_path: Path) -> None:
    (tmp_path / "projector-1.log").write_text(f"old\n{SERVICE}\n")
    console = Console(file=(output := io.StringIO()))
    show_logs(tmp_path, console, 1, as_json=True)
    [line] = output.getvalue().splitlines()
    assert json.loads(line) == json.loads(SERVICE) | {"timestamp": "2026-11-28T22:16:03.914000Z"}


def test_line_is_shown_to_people_with_its_process_level_event_and_fields() -> None:
    words = as_text(parse("projector-1", SERVICE)).plain.split()
    assert words[1:] == ["projector-1", "warning", "lanes", "claimed", "lanes=[0,", "1]"]
