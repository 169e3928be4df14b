"""The description of REST is true: its examples are of its shapes, and a fuzzer finds no answer beside it."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest

from tests.integration.gateway.conftest import RunningGateway, StartGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.tokens import token


@pytest.fixture
async def described(gateway: RunningGateway) -> dict[str, Any]:
    async with httpx.AsyncClient() as http:
        found: dict[str, Any] = (await http.get(f"{gateway.http}/api/openapi.json")).json()
    return found


def contents(described: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of every answer of every operation."""
    for path, operations in described["paths"].items():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                for content in answer.get("content", {}).values():
                    yield f"{path} {status}", content


async def test_every_answer_has_an_example_of_its_shape(described: dict[str, Any]) -> None:
    count = 0
    for where, content in contents(described):
        name = content["schema"].get("$ref", "").rpartition("/")[2]
        examples = [one["value"] for one in content.get("examples", {}).values()]
        examples += described["components"]["schemas"].get(name, content).get("examples", [])
        assert examples, where
        for example in examples:
            schema = {**content["schema"], "components": described["components"]}
            jsonschema_rs.validate(schema, example)
            count += 1
    assert count > 40


# What a schema cannot say of a cursor: it is one of ours, of this list, and does not go with after_revision;
# nor of a time: that there is such a day, and which of two is first.
CONFIG = """
[warnings] # all but missing_deserializer: it reads no CSV
display = [
  "base_url_mismatch", "low_valid_rate", "method_not_allowed", "missing_auth", "missing_test_data",
  "unresolvable_reference", "unsupported_regex", "unused_openapi_auth", "validation_mismatch",
]

[[operations]]
include-name = [
  "GET /api/v1/accounts/{account}/transfers",
  "GET /api/v1/accounts/{account}/statement",
  "GET /api/v1/events",
]
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "304", "401", "403", "404", "409", "410", "422"]
"""
EVENTS = "/api/v1/events"


async def hammer(gateway: RunningGateway, here: Path, *options: str) -> str:
    """Every check of schemathesis, with the same requests each time. Returns its report."""
    (here / "schemathesis.toml").write_text(CONFIG)
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"{gateway.http}/api/openapi.json",
        "--checks=all",
        "--generation-deterministic",
        "--no-shrink",
        "--no-color",
        *options,
        cwd=here,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


@pytest.fixture
async def quick(
    gateway: RunningGateway, projector: FakeProjector, monkeypatch: pytest.MonkeyPatch
) -> RunningGateway:
    """It waits for no revision, and has something to show."""
    monkeypatch.setattr("livebalance.gateway.api.queries.WAIT_SECONDS", 0.02)
    await projector.open("acc-0001", "acc-0002")
    await projector.transfer("acc-0001", *range(1, 61))
    return gateway


async def test_no_answer_beside_it(quick: RunningGateway, tmp_path: Path) -> None:
    mine = f"--header=Authorization: Bearer {token()}"
    report = await hammer(quick, tmp_path, mine, "--max-examples=10", f"--exclude-path={EVENTS}")
    assert "WARNINGS" not in report, report


async def test_nor_among_events(start_gateway: StartGateway, tmp_path: Path) -> None:
    """Of one who may see nothing: every stream has an end."""
    gateway = await start_gateway(connection_rate_per_address=1000)
    mine = f"--header=Authorization: Bearer {token([])}"
    report = await hammer(gateway, tmp_path, mine, "--max-examples=10", f"--include-path={EVENTS}")
    assert "WARNINGS" not in report, report


async def test_nor_for_who_shows_no_token(quick: RunningGateway, tmp_path: Path) -> None:
    report = await hammer(quick, tmp_path, "--max-examples=3", "--phases=coverage,fuzzing")
    assert "6 operations returned only 401/403 responses" in report
