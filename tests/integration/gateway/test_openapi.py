"""The OpenAPI document: its examples are valid, and a fuzzer finds no response that it does not describe."""

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
async def document(gateway: RunningGateway) -> dict[str, Any]:
    async with httpx.AsyncClient(timeout=30) as http:
        document: dict[str, Any] = (await http.get(f"{gateway.http}/api/openapi.json")).json()
    return document


def contents(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the content of every response of every operation, with its path and status."""
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                for content in response.get("content", {}).values():
                    yield f"{path} {status}", content


async def test_every_response_has_a_valid_example(document: dict[str, Any]) -> None:
    count = 0
    for place, content in contents(document):
        name = content["schema"].get("$ref", "").rpartition("/")[2]
        examples = [example["value"] for example in content.get("examples", {}).values()]
        examples += document["components"]["schemas"].get(name, content).get("examples", [])
        assert examples, place
        for example in examples:
            schema = {**content["schema"], "components": document["components"]}
            jsonschema_rs.validate(schema, example)
            count += 1
    assert count > 40


# A schema cannot describe that a cursor must be of this gateway and of this list, that it excludes
# after_revision, that a day must exist, or that `from` must be before `to`.
CONFIG = """
[warnings] # all but missing_deserializer: schemathesis reads no CSV
display = [
  "base_url_mismatch", "low_valid_rate", "method_not_allowed", "missing_auth", "missing_test_data",
  "unresolvable_reference", "unsupported_regex", "unused_openapi_auth", "validation_mismatch",
]

[[operations]]
include-name = [
  "GET /api/v1/accounts/{account}/transfers",
  "GET /api/v1/accounts/{account}/statement",
  "GET /api/v1/accounts/{account}/search",
  "GET /api/v1/accounts/{account}/search.csv",
  "GET /api/v1/accounts/{account}/chart",
  "GET /api/v1/events",
]
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "304", "401", "403", "404", "409", "410", "422"]
"""
EVENTS = "/api/v1/events"


async def fuzz(gateway: RunningGateway, directory: Path, *options: str) -> str:
    """Runs every check of schemathesis with the same requests each time. Returns its report."""
    (directory / "schemathesis.toml").write_text(CONFIG)
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"{gateway.http}/api/openapi.json",
        "--checks=all",
        "--generation-deterministic",
        "--no-shrink",
        "--no-color",
        *options,
        cwd=directory,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


@pytest.fixture
async def quick(
    gateway: RunningGateway, projector: FakeProjector, monkeypatch: pytest.MonkeyPatch
) -> RunningGateway:
    """A gateway with accounts, where requests hardly wait for a revision."""
    monkeypatch.setattr("livebalance.gateway.api.queries.WAIT_SECONDS", 0.02)
    await projector.open("acc-0001", "acc-0002")
    await projector.transfer("acc-0001", *range(1, 61))
    return gateway


async def test_responses_match_the_document(quick: RunningGateway, tmp_path: Path) -> None:
    header = f"--header=Authorization: Bearer {token()}"
    report = await fuzz(quick, tmp_path, header, "--max-examples=10", f"--exclude-path={EVENTS}")
    assert "WARNINGS" not in report, report


async def test_event_stream_responses_match_the_document(start_gateway: StartGateway, tmp_path: Path) -> None:
    """The token may see no account, so that every stream ends."""
    gateway = await start_gateway(connection_rate_per_address=1000)
    header = f"--header=Authorization: Bearer {token([])}"
    report = await fuzz(gateway, tmp_path, header, "--max-examples=10", f"--include-path={EVENTS}")
    assert "WARNINGS" not in report, report


async def test_responses_without_a_token_match_the_document(quick: RunningGateway, tmp_path: Path) -> None:
    report = await fuzz(quick, tmp_path, "--max-examples=3", "--phases=coverage,fuzzing")
    assert "9 operations returned only 401/403 responses" in report
