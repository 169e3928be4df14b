"""Log lines: one per event, and limited per second for libraries."""

import json
import logging
import re

import pytest

from livebalance.runtime import logs
from livebalance.stack.paths import PROJECT

pytestmark = pytest.mark.usefixtures("restored_logging")


def test_line_is_json_with_the_name_of_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("gateway-1", "json", "INFO")
    logs.get("x").info("opened", sessions=3)
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["sessions"], line["process"], line["level"]) == (
        "opened",
        3,
        "gateway-1",
        "info",
    )


def test_control_characters_cannot_forge_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("x", "json", "INFO")
    logs.get("x").info("got", text='a\r\n{"event": "forged"}')
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_library_over_the_rate_limit_is_suppressed_and_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 10.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    logs.configure("x", "json", "INFO")
    library = logging.getLogger("aiokafka")
    for _ in range(100):
        library.error("no broker")
    assert len(capsys.readouterr().err.splitlines()) == 5
    now = 11.0
    library.error("no broker")
    assert "(95 lines suppressed)" in capsys.readouterr().err


def test_rate_limited_loggers_are_loggers_of_the_gateway() -> None:
    sources = (PROJECT / "services" / "gateway").rglob("*.py")
    names = {name for file in sources for name in re.findall(r'logs\.get\("(\w+)"\)', file.read_text())}
    assert set(logs.CLIENT_LOGGERS) - names == set()
