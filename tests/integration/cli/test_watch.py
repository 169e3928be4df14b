"""`livebalance watch` at a gateway that a test controls. `test_inspection.py` runs it beside a whole demo."""

import asyncio
import json
import os
import signal
from typing import Any

from livebalance.wire.frame import Error, Status
from scripts.cli_docs import JSON_FIELDS
from tests.integration.cli.command_line import run_command, start_command
from tests.integration.client.gateway import Gateway, running_gateway, send
from tests.unit.client.frames import ACCOUNT, CHANNEL, delta, snapshot

ENVIRONMENT = {"PATH": os.environ["PATH"], "LIVEBALANCE_TOKEN": "a-token"}
_SECONDS = 60


async def watch_until_stopped(gateway: Gateway, lines: int, *words: str) -> list[str]:
    """Returns the first lines of a command that is interrupted then."""
    process = await start_command(ENVIRONMENT, "watch", ACCOUNT, "--url", gateway.url, *words)
    assert process.stdout
    async with asyncio.timeout(_SECONDS):
        connection = await gateway.connections.get()
        await send(connection, [snapshot(2), delta(2, 3), Status("stalled", "2026-11-24T17:20:00.000Z")])
        shown = [(await process.stdout.readline()).decode().rstrip() for _ in range(lines)]
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
    return shown


async def test_watch_prints_a_line_per_change_and_what_makes_it_stale() -> None:
    async with running_gateway() as gateway:
        assert await watch_until_stopped(gateway, 4) == [
            "connected to gateway-1",
            f"{ACCOUNT}  2 EUR  revision 2",
            f"{ACCOUNT}  3 EUR  revision 3  1 (t3)",
            "the pipeline is stalled since 2026-11-24T17:20:00.000Z",
        ]


async def test_watch_prints_an_object_per_event() -> None:
    async with running_gateway() as gateway:
        events: list[dict[str, Any]] = [
            json.loads(line) for line in await watch_until_stopped(gateway, 4, "--json")
        ]
    assert [event["event"] for event in events] == ["connected", "changed", "changed", "status"]
    for event in events:
        assert list(event) == JSON_FIELDS["watch"][event["event"]].split(", ")
    assert [event["snapshot"] for event in events[1:3]] == [True, False]
    assert [transfer["id"] for transfer in events[2]["transfers"]] == ["t3"]


async def test_watch_ends_after_a_number_of_changes() -> None:
    async with running_gateway() as gateway:
        watching = asyncio.create_task(
            run_command(ENVIRONMENT, "watch", ACCOUNT, "--url", gateway.url, "--count", "1")
        )
        await send(await gateway.connections.get(), [snapshot(2)])
        result = await watching
    assert (result.code, result.err) == (0, "")
    assert result.out == f"connected to gateway-1\n{ACCOUNT}  2 EUR  revision 2\n"


async def test_watch_fails_if_no_account_is_served() -> None:
    async with running_gateway() as gateway:
        watching = asyncio.create_task(run_command(ENVIRONMENT, "watch", ACCOUNT, "--url", gateway.url))
        error = Error("no_access", "not yours", temporary=False, id=1, channel=CHANNEL)
        await send(await gateway.connections.get(), [error])
        result = await watching
    assert result.code == 1
    assert result.out.splitlines()[-1] == f"{ACCOUNT}  no longer followed: no_access: not yours"
    assert result.err == "livebalance: the gateway serves none of these accounts\n"
