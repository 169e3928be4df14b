"""The commands that show the state of the system, against a whole demo: all tests share it."""

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from livebalance.stack.cluster import Cluster
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.plan import ClusterPlan
from scripts.cli_docs import JSON_FIELDS
from tests.integration.cli.command_line import CommandResult, run_command, start_command

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

TRANSFERS = 40  # that have two legs each, before the first test; the feed writes on
ACCOUNTS = 4


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(paths: StatePaths) -> AsyncIterator[Cluster]:
    """A demo that has applied some transfers."""
    plan = ClusterPlan(
        accounts=ACCOUNTS,
        rate=20,
        seed=1,
        projectors=1,
        gateways=1,
        page=False,
        port=free_port(),
        durable=False,
    )
    async with Cluster(StatePaths(paths.home, paths.state / "inspection" / "demo"), plan) as cluster:
        connection = await asyncpg.connect(cluster.postgres("owner"))
        async with asyncio.timeout(120):
            while await connection.fetchval("select count(*) from transfer") < TRANSFERS * 2:  # noqa: ASYNC110 - SQL has no event
                await asyncio.sleep(0.1)
        await connection.close()
        yield cluster


async def run(cluster: Cluster, *words: str, stdin: bytes = b"", **variables: str) -> CommandResult:
    """Runs a command beside the demo, as an operator does: it finds all addresses by itself."""
    environment = {"PATH": os.environ["PATH"], "LIVEBALANCE_STATE_DIRECTORY": str(cluster.paths.state.parent)}
    result = await run_command({**environment, **variables}, *words, stdin=stdin)
    assert "\x1b" not in result.out + result.err, "no colours in a pipe"
    return result


async def run_json(cluster: Cluster, command: str, *words: str, **variables: str) -> Any:
    """Returns the object that a command prints."""
    result = await run(cluster, *command.split(), "--json", *words, stdin=b"", **variables)
    assert result.err == ""
    return json.loads(result.out)


async def first_transfer(cluster: Cluster) -> asyncpg.Record:
    connection = await asyncpg.connect(cluster.postgres("owner"))
    row = await connection.fetchrow(
        "select account_id, transfer_id, amount, revision, topic, lane, source_offset"
        " from transfer order by recorded_at, transfer_id, account_id limit 1"
    )
    await connection.close()
    assert row
    return row


async def test_status_shows_lanes_services_and_sessions(cluster: Cluster) -> None:
    operations = cluster.services["gateway-1"].operations
    shown = await run_json(cluster, "status", "--operations", operations)
    assert shown["kafka_error"] is None
    assert (shown["known_server"], shown["quarantined"], shown["disputed"]) == (True, 0, 0)
    assert {(service["role"], service["name"]) for service in shown["services"]} >= {
        ("gateway", "gateway-1"),
        ("projector", "projector-1"),
        ("recorder", "recorder-1"),
    }
    assert {lane["owner"] for lane in shown["lanes"]} == {"projector-1"}
    assert sum(lane["transfers_next"] for lane in shown["lanes"]) >= TRANSFERS * 2
    for lane in shown["lanes"]:
        assert lane["transfers_next"] <= lane["transfers_end"]
        assert lane["lag_seconds"] is not None
    (only,) = shown["gateways"]
    assert (only["url"], only["ready"], only["sessions"], only["problem"]) == (operations, True, 0, None)

    text = (await run(cluster, "status")).out
    assert (
        f"Epoch {shown['epoch']}, {len(shown['lanes'])} lanes, 0 accounts disputed, 0 records in quarantine."
        in text
    )
    assert re.search(r"^lane +owner +lag +as of +transfers +balances +disputed +halted$", text, re.MULTILINE)
    assert re.search(r"^ *0  projector-1  ", text, re.MULTILINE)


async def test_status_without_kafka_shows_what_postgres_knows(cluster: Cluster) -> None:
    shown = await run_json(
        cluster, "status", LIVEBALANCE_KAFKA="127.0.0.1:1", LIVEBALANCE_POSTGRES=operator(cluster)
    )
    assert shown["kafka_error"]
    assert {lane["transfers_end"] for lane in shown["lanes"]} == {None}
    assert shown["epoch"]


def operator(cluster: Cluster) -> str:
    return cluster.postgres("operator")


async def test_status_shows_a_gateway_that_does_not_answer(cluster: Cluster) -> None:
    shown = await run_json(cluster, "status", "--operations", "http://127.0.0.1:1")
    (gateway,) = shown["gateways"]
    assert gateway["ready"] is False
    assert gateway["problem"]


async def test_doctor_finds_no_error_in_the_demo(cluster: Cluster) -> None:
    result = await run(cluster, "doctor", "--json")
    shown = json.loads(result.out)
    assert [finding for finding in shown["findings"] if finding["state"] == "error"] == []
    assert (result.code, shown["good"]) == (0, True)


async def test_lists_show_lanes_epochs_revocations_and_records(cluster: Cluster) -> None:
    lanes = await run_json(cluster, "lane list")
    assert [lane["lane"] for lane in lanes["lanes"]] == list(range(len(lanes["lanes"])))
    before = await run_json(cluster, "epoch show")
    assert before["changes"] == []
    assert (await run(cluster, "revoke", "--subject", "mallory", "--reason", "left the firm")).code == 0
    (revocation,) = (await run_json(cluster, "revoke list", "--subject", "mallory"))["revocations"]
    assert (revocation["subject"], revocation["account"], revocation["why"]) == (
        "mallory",
        None,
        "left the firm",
    )
    assert (await run_json(cluster, "revoke list", "--subject", "alice"))["revocations"] == []
    assert "left the firm" in (await run(cluster, "revoke", "list")).out
    mixed = await run(cluster, "revoke", "--subject", "alice", "list")
    assert (mixed.code, mixed.out) == (1, "")
    assert (await run_json(cluster, "revoke list", "--subject", "alice"))["revocations"] == []


async def test_quarantined_record_is_shown_with_what_it_means_now(cluster: Cluster) -> None:
    connection = await asyncpg.connect(cluster.postgres("owner"))
    id_ = await connection.fetchval(
        "insert into quarantine (topic, partition, source_offset, key, value, kafka_time, reason, state)"
        " values ('transfers', 1, 7, 'al\x1bice', '\\x9000ff', now(), 'bad value', 'applied') returning id"
    )
    shown = await run_json(cluster, "quarantine show", str(id_))
    assert (shown["source"], shown["value_hex"], shown["key"]) == ("transfers/1@7", "9000ff", r"al\x1bice")
    assert shown["decoded"] is None
    assert shown["rejected_now"]
    assert (await run(cluster, "quarantine", "show", str(id_))).code == 0
    await connection.execute("delete from quarantine where id = $1", id_)
    await connection.close()
    missing = await run(cluster, "quarantine", "show", str(id_))
    assert (missing.code, missing.err) == (
        1,
        f"livebalance: nothing can be shown: record {id_} does not exist\n",
    )


async def test_explain_shows_record_transaction_revision_and_delta(cluster: Cluster) -> None:
    legs = ("--transfer", "explained-1", "acc-0001", "-1.25", "--transfer", "explained-1", "acc-0002", "1.25")
    assert (await run(cluster, "produce", *legs)).code == 0
    connection = await asyncpg.connect(cluster.postgres("owner"))
    async with asyncio.timeout(120):
        while await connection.fetchval(_BALANCES_WITHOUT, "explained-1") != 0:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.1)
    rows = await connection.fetch(
        "select * from transfer where transfer_id = 'explained-1' order by account_id"
    )
    await connection.close()
    shown = await run_json(cluster, "explain", "explained-1")
    for row, leg, amount in zip(rows, shown["listed"], ("-1.25", "1.25"), strict=True):
        assert (leg["account"], leg["amount"]) == (row["account_id"], amount)
        assert leg["record"] == f"{row['topic']}/{row['lane']}@{row['source_offset']}"
        assert (leg["record_in_kafka"], leg["in_balance"]) == ("equal", True)
        assert (leg["delta_from"], leg["delta_to"]) == (row["revision"] - 1, row["revision"])
        assert leg["transaction"].isdecimal()
    text = (await run(cluster, "explain", "explained-1", "--account", "acc-0002")).out
    assert re.search(r"^record in kafka +equal$", text, re.MULTILINE)
    assert "acc-0001" not in text


# The number of legs that are not listed yet, or that the balance of their account does not include yet.
_BALANCES_WITHOUT = """
select 2 - count(*) from transfer t join balance b using (account_id)
  join transfer n on n.account_id = b.account_id and n.transfer_id = b.transfer_id
 where t.transfer_id = $1 and n.revision >= t.revision
"""


async def test_explain_reports_a_row_that_differs_from_its_record(cluster: Cluster) -> None:
    row = await first_transfer(cluster)
    connection = await asyncpg.connect(cluster.postgres("owner"))
    change = "update transfer set amount = amount + $2 where account_id = $3 and transfer_id = $1"
    arguments = row["transfer_id"], row["account_id"]
    await connection.execute(change, arguments[0], 1, arguments[1])
    shown = await run_json(cluster, "explain", row["transfer_id"], "--account", row["account_id"])
    await connection.execute(change, arguments[0], -1, arguments[1])
    await connection.close()
    assert [leg["record_in_kafka"] for leg in shown["listed"]] == ["differs: amount"]


async def test_explain_of_an_unknown_transfer_says_where_it_may_be(cluster: Cluster) -> None:
    result = await run(cluster, "explain", "no-such-transfer")
    assert (result.code, result.out) == (1, "")
    assert "no account lists it: it may be erased, in quarantine" in result.err
    assert (await run(cluster, "explain", "a/b")).code == 1


async def test_watch_prints_the_balance_and_each_change(cluster: Cluster) -> None:
    row = await first_transfer(cluster)
    account = row["account_id"]
    environment = {"PATH": os.environ["PATH"], "LIVEBALANCE_STATE_DIRECTORY": str(cluster.paths.state.parent)}
    process = await start_command(environment, "watch", account, "--json")
    assert process.stdout
    try:
        async with asyncio.timeout(150):
            events = [json.loads(await process.stdout.readline())]
            while events[-1]["event"] != "changed":
                events.append(json.loads(await process.stdout.readline()))
            assert events[-1]["snapshot"] is True
            before = events[-1]["revision"]
            produced = await run(cluster, "produce", "--transfer", "watched-1", account, "1.25")
            assert produced.code == 0
            while "watched-1" not in {t["id"] for event in events for t in event.get("transfers", ())}:
                events.append(json.loads(await process.stdout.readline()))
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 60) == 130
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert events[-1]["revision"] > before
    for event in events:
        assert list(event) == JSON_FIELDS["watch"][event["event"]].split(", ")


async def test_watch_ends_after_a_count_or_without_rights(cluster: Cluster) -> None:
    account = (await first_transfer(cluster))["account_id"]
    text = await run(cluster, "watch", account, "--count", "1")
    assert (text.code, text.err) == (0, "")
    assert re.fullmatch(
        rf"connected to gateway-1\n(.*\n)*{account}  -?\d+\.\d\d EUR  revision \d+\n", text.out
    )
    other = (await run(cluster, "token", "mint", "--account", "nobody")).out.strip()
    rejected = await run(cluster, "watch", account, LIVEBALANCE_TOKEN=other)
    assert rejected.code == 1
    assert f"{account}  no longer followed: no_access" in rejected.out
    assert rejected.err == "livebalance: the gateway serves none of these accounts\n"


async def test_gateway_accepts_a_minted_token(cluster: Cluster) -> None:
    account = (await first_transfer(cluster))["account_id"]
    token = (await run(cluster, "token", "mint", "--account", account)).out.strip()
    assert (await run(cluster, "watch", account, "--count", "1", LIVEBALANCE_TOKEN=token)).code == 0
