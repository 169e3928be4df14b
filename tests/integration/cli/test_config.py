"""`livebalance config` as an operator types it, and wrong settings in any other command."""

import json
from pathlib import Path

import pytest

from livebalance.runtime.config.environment import kinds
from tests.integration.cli.operator import said

SEED = "s33ded-and-long-enough-to-sign-tokens-with"
GOOD = {"LIVEBALANCE_DEMO_SECRET": SEED, "COLUMNS": "80"}
WRONG = {"LIVEBALANCE_VALUE_FORMAT": "xml", "LIVEBALANCE_REDIS": SEED, "LIVEBALANCE_KAFAK": SEED}
LINES = [
    "LIVEBALANCE_KAFAK is not known: is LIVEBALANCE_KAFKA meant?",
    "LIVEBALANCE_VALUE_FORMAT should be confluent, avro or json",
    "LIVEBALANCE_REDIS should be a URL such as redis://host:6379/0",
]


async def test_what_each_would_run_with(tmp_path: Path) -> None:
    (tmp_path / "livebalance_postgres").write_text(f"postgresql://me:{SEED}@host/database")
    told = {
        **GOOD,
        "LIVEBALANCE_SECRETS_DIRECTORY": str(tmp_path),
        "LIVEBALANCE_KAFKA": "broker:9093",
        "LIVEBALANCE_JWKS_URL": "",
        "LIVEBALANCE_REDIS": f"redis://:{SEED}@host",
    }
    found = await said(told, "config", "check")
    assert (found.code, found.err) == (0, "")
    assert [line for line in found.out.splitlines() if line.startswith("[")] == [
        f"[{one}]" for one in kinds()
    ]
    assert found.out.count("LIVEBALANCE_KAFKA=broker:9093\n") == len(kinds())
    assert "LIVEBALANCE_POSTGRES=…\n" in found.out
    assert 'LIVEBALANCE_TRUSTED_PROXIES=["127.0.0.1", "::1"]  (default)\n' in found.out
    assert SEED not in found.out
    one = await said(told, "config", "check", "--service", "gateway", "--json")
    report = json.loads(one.out)
    assert (one.code, report["good"], list(report["services"])) == (0, True, ["gateway"])
    values = report["services"]["gateway"]
    assert values["LIVEBALANCE_REDIS"] == {"value": "…", "set": True}
    assert values["LIVEBALANCE_HEARTBEAT_INTERVAL_SECONDS"] == {"value": 10.0, "set": False}
    assert SEED not in one.out


async def test_all_that_is_wrong() -> None:
    found = await said(
        {**GOOD, **WRONG, "LIVEBALANCE_BATCH_RECORDS": "0", "LIVEBALANCE_DRAIN_PERIOD_SECONDS": "-1"},
        "config",
        "check",
    )
    assert (found.code, found.err) == (1, "")
    assert sorted(found.out.splitlines()) == sorted(
        [
            *LINES,
            "LIVEBALANCE_DRAIN_PERIOD_SECONDS should be a number, 0 or more (gateway)",
            "LIVEBALANCE_BATCH_RECORDS should be a whole number, 1 or more (projector, recorder)",
        ]
    )
    report = json.loads((await said({**GOOD, **WRONG}, "config", "check", "--json")).out)
    assert (report["good"], report["services"]) == (False, {})
    assert report["errors"] == [{"line": line, "services": list(kinds())} for line in LINES]


async def test_a_gateway_without_keys_would_not_start() -> None:
    found = await said({}, "config", "check")
    assert found.code == 1
    assert "set LIVEBALANCE_JWKS or LIVEBALANCE_JWKS_URL (gateway)\n" in found.out
    assert (await said({}, "config", "check", "--service", "recorder")).code == 0
    assert (await said({}, "config", "check", "--service", "gatewya")).code == 2


@pytest.mark.parametrize(
    "words", [("check", "source"), ("revoke", "--subject", "me"), ("produce", "--random")]
)
async def test_any_command_says_the_same(words: tuple[str, ...]) -> None:
    found = await said(WRONG, *words)
    assert (found.code, found.out) == (2, "")
    assert found.err.splitlines() == [f"livebalance: {line}" for line in LINES]
