"""`livebalance protocol` at gateways and clients that keep the protocol, and at some that break a rule."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from livebalance.cli.protocol.gateway_rules import RULES
from tests.integration.cli.command_line import run_command
from tests.integration.gateway.conftest import (  # noqa: F401 - fixtures
    RunningGateway,
    StartGateway,
    projector,
    start_gateway,
)
from tests.integration.gateway.fake_projector import FakeProjector
from tests.tokens import token

CLIENT = (sys.executable, "-m", "livebalance.cli", "watch", "{accounts}", "--url", "{url}", "--json")
PLAYED = ("gap", "nothing was missed", "busy", "invalid token")


async def run_protocol(code: int, *words: str, **environment: str) -> list[dict[str, Any]]:
    """Returns the verdicts of a command that ends with this exit code."""
    result = await run_command({**os.environ, **environment}, "protocol", words[0], "--json", *words[1:])
    assert (result.code, result.err) == (code, "")
    report = json.loads(result.out)
    assert report["conforms"] is (code == 0)
    verdicts: list[dict[str, Any]] = report["rules"]
    return verdicts


# --- gateways


async def broken_rules(running: RunningGateway, code: int) -> set[str]:
    """Returns the names of the rules that a gateway breaks, after a check of all."""
    words = ("check", running.http, "--account", "alice")
    verdicts = await run_protocol(code, *words, LIVEBALANCE_TOKEN=token())
    assert len(verdicts) == len(RULES)
    states = dict(zip(RULES, (verdict["state"] for verdict in verdicts), strict=True))
    assert "skipped" not in states.values()
    return {name for name, state in states.items() if state == "failed"}


@pytest.fixture
async def gateway(start_gateway: StartGateway, projector: FakeProjector) -> RunningGateway:  # noqa: F811
    """A gateway that sends many heartbeats, and an account with two transfers."""
    await projector.open("alice")
    await projector.transfer("alice", 5, -2)
    return await start_gateway(heartbeat_interval_seconds=0.5)


async def test_gateway_that_keeps_every_rule_passes(gateway: RunningGateway) -> None:
    assert await broken_rules(gateway, 0) == set()


@pytest.mark.parametrize(
    ("target", "replacement", "broken"),
    [
        ("gateway.live.session.parse_position", lambda _: None, {"resume", "other_epoch", "ahead"}),
        ("wire.frame.check_strict", lambda _: None, {"invalid_messages"}),
        ("gateway.live.session.MAX_BAD_MESSAGES", 99, {"third_invalid_message"}),
        ("gateway.api.rest.weak_etag", lambda tag: tag, {"rest_account"}),
        ("gateway.live.sets.totals.SetTotals.views", lambda _: [], {"account_set"}),
    ],
    ids=[
        "ignores positions",
        "accepts ambiguous JSON",
        "closes no connection",
        "sends another ETag",
        "sends no totals",
    ],
)
async def test_gateway_that_breaks_a_rule_is_convicted(
    gateway: RunningGateway,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    replacement: Any,
    broken: set[str],
) -> None:
    monkeypatch.setattr(f"livebalance.{target}", replacement)
    assert await broken_rules(gateway, 3) == broken


async def test_gateway_that_does_not_answer_is_not_judged() -> None:
    result = await run_command({**os.environ}, "protocol", "check", "http://127.0.0.1:1")
    assert (result.code, result.out) == (1, "")
    assert result.err == "livebalance: the gateway does not answer: ConnectError\n"


# --- clients


async def failures(code: int, *command: str, played: tuple[str, ...] = PLAYED) -> set[str]:
    """Returns the names of the dialogues in which a client fails, after it has played some."""
    words = [word for name in played for word in ("--dialogue", name)]
    verdicts = await run_protocol(code, "play", *words, "--reports", "--", *command)
    assert {verdict["rule"].partition(":")[0] for verdict in verdicts} == set(played)
    assert "skipped" not in {verdict["state"] for verdict in verdicts}
    return {verdict["rule"].partition(":")[0] for verdict in verdicts if verdict["state"] == "failed"}


async def test_client_that_keeps_the_protocol_passes() -> None:
    assert await failures(0, *CLIENT) == set()


async def test_client_of_sets_that_keeps_the_protocol_passes() -> None:
    command = (sys.executable, "-m", "tests.integration.cli.set_client", "{url}", "{sets}")
    assert await failures(0, *command, played=("set", "gap in a set", "set after a reconnect")) == set()


async def test_client_without_sets_does_not_play_their_dialogues() -> None:
    [verdict] = await run_protocol(0, "play", "--dialogue", "gap in a set", "--", *CLIENT)
    assert verdict["state"] == "skipped"


@pytest.mark.parametrize(
    ("fault", "failed"),
    [
        ("forgets its position", {"gap", "nothing was missed"}),
        ("returns at once", {"busy", "invalid token"}),
    ],
)
async def test_client_that_breaks_a_rule_is_convicted(fault: str, failed: set[str]) -> None:
    command = (sys.executable, "-m", "tests.integration.cli.faulty_client", fault, *CLIENT[3:])
    assert await failures(3, *command) == failed


async def test_client_that_shows_another_amount_is_convicted(tmp_path: Path) -> None:
    """It only prints what it shows; the rest of its dialogue is right."""
    script = tmp_path / "client.sh"
    script.write_text(f'{" ".join(CLIENT)} | sed -u \'s/"amount": "5.00"/"amount": "5.01"/\'\n')
    assert "nothing was missed" in await failures(3, "sh", "-c", script.read_text())


async def test_client_that_cannot_be_started_is_not_judged() -> None:
    result = await run_command({**os.environ}, "protocol", "play", "--dialogue", "gap", "/nonexistent/client")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("livebalance: ")
