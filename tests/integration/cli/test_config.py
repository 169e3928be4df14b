"""`livebalance config check`, and invalid settings in other commands."""

import json
from pathlib import Path

import pytest

from livebalance.runtime.config.environment import service_settings
from tests.integration.cli.command_line import run_command

SEED = "s33ded-and-long-enough-to-sign-tokens-with"
GOOD = {"LIVEBALANCE_DEMO_SECRET": SEED, "COLUMNS": "80"}
WRONG = {"LIVEBALANCE_VALUE_FORMAT": "xml", "LIVEBALANCE_REDIS": SEED, "LIVEBALANCE_KAFAK": SEED}
LINES = [
    "LIVEBALANCE_KAFAK is not known: did you mean LIVEBALANCE_KAFKA?",
    "LIVEBALANCE_VALUE_FORMAT should be confluent, avro or json",
    "LIVEBALANCE_REDIS should be a URL such as redis://host:6379/0",
]


async def test_settings_of_each_service_are_printed_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "livebalance_postgres").write_text(f"postgresql://me:{SEED}@host/database")
    environment = {
        **GOOD,
        "LIVEBALANCE_SECRETS_DIRECTORY": str(tmp_path),
        "LIVEBALANCE_KAFKA": "broker:9093",
        "LIVEBALANCE_JWKS_URL": "",
        "LIVEBALANCE_REDIS": f"redis://:{SEED}@host",
    }
    result = await run_command(environment, "config", "check")
    assert (result.code, result.err) == (0, "")
    assert [line for line in result.out.splitlines() if line.startswith("[")] == [
        f"[{service}]" for service in service_settings()
    ]
    assert result.out.count("LIVEBALANCE_KAFKA=broker:9093\n") == len(service_settings())
    assert "LIVEBALANCE_POSTGRES=…\n" in result.out
    assert 'LIVEBALANCE_TRUSTED_PROXIES=["127.0.0.1", "::1"]  (default)\n' in result.out
    assert SEED not in result.out
    gateway = await run_command(environment, "config", "check", "--service", "gateway", "--json")
    report = json.loads(gateway.out)
    assert (gateway.code, report["good"], list(report["services"])) == (0, True, ["gateway"])
    values = report["services"]["gateway"]
    assert values["LIVEBALANCE_REDIS"] == {"value": "…", "set": True}
    assert values["LIVEBALANCE_HEARTBEAT_INTERVAL_SECONDS"] == {"value": 10.0, "set": False}
    assert SEED not in gateway.out


async def test_all_invalid_settings_are_listed() -> None:
    result = await run_command(
        {**GOOD, **WRONG, "LIVEBALANCE_BATCH_RECORDS": "0", "LIVEBALANCE_DRAIN_PERIOD_SECONDS": "-1"},
        "config",
        "check",
    )
    assert (result.code, result.err) == (1, "")
    assert sorted(result.out.splitlines()) == sorted(
        [
            *LINES,
            "LIVEBALANCE_DRAIN_PERIOD_SECONDS should be a number, 0 or more (gateway)",
            "LIVEBALANCE_BATCH_RECORDS should be a whole number, 1 or more (projector, recorder)",
        ]
    )
    report = json.loads((await run_command({**GOOD, **WRONG}, "config", "check", "--json")).out)
    assert (report["good"], report["services"]) == (False, {})
    assert report["errors"] == [{"line": line, "services": list(service_settings())} for line in LINES]


@pytest.mark.parametrize("host", ["SEC/RET@127.0.0.1:1", "SEC#RET@host", "secret@host:99999", "secret@[::1"])
async def test_address_that_is_none_is_reported_without_its_password(host: str) -> None:
    url = f"postgresql://user:{host}/database"
    checked = await run_command({**GOOD, "LIVEBALANCE_POSTGRES": url}, "config", "check")
    assert checked.code == 1
    assert checked.out.startswith(
        "LIVEBALANCE_POSTGRES should be a URL such as postgresql://host:5432/database"
    )
    failed = await run_command({**GOOD, "LIVEBALANCE_POSTGRES": url}, "epoch", "show")
    assert (failed.code, failed.out, len(failed.err.splitlines())) == (2, "", 1)
    for part in ("SEC", "RET", "secret"):
        assert part not in checked.out + failed.err


async def test_gateway_without_keys_is_an_error() -> None:
    result = await run_command({}, "config", "check")
    assert result.code == 1
    assert "set LIVEBALANCE_JWKS or LIVEBALANCE_JWKS_URL (gateway)\n" in result.out
    assert (await run_command({}, "config", "check", "--service", "recorder")).code == 0
    assert (await run_command({}, "config", "check", "--service", "gatewya")).code == 2


@pytest.mark.parametrize(
    "words", [("check", "source"), ("revoke", "--subject", "me"), ("produce", "--random")]
)
async def test_other_commands_list_invalid_settings_too(words: tuple[str, ...]) -> None:
    result = await run_command(WRONG, *words)
    assert (result.code, result.out) == (2, "")
    assert result.err.splitlines() == [f"livebalance: {line}" for line in LINES]
