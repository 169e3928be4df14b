"""Rejected transfers are in the quarantine with their bytes, and too many in a row halt their partition."""

from functools import partial

import httpx
import pytest

from livebalance.recorder.store import Store
from livebalance.runtime.schema.file_registry import TRANSFER_ID
from livebalance.stack.paths import free_port
from livebalance.stack.servers.topics import Topics
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.headers import decode_headers
from tests.integration.recorder.halted_partitions import (
    continue_partition,
    halted,
    query,
    run_operator,
    wait_until_halted,
)
from tests.integration.recorder.recorder_process import running_recorder, settings
from tests.integration.recorder.topic_records import (
    has_transfers,
    plain_producer,
    read_balances,
    read_transfers,
    send_transfers,
    transfer,
    wait_until,
)
from tests.scrape import wait_for_metrics
from tests.servers.database import Database

TOO_MANY = "more than 3 consecutive transfers were rejected"
NONE = "more than 0 consecutive transfers were rejected"


async def send_value(
    kafka: str, topics: Topics, value: bytes | None, *headers: tuple[str, bytes | None]
) -> None:
    """Sends a record of account a to partition 0 of the transfers."""
    async with plain_producer(kafka) as producer:
        await producer.send_and_wait(topics.transfers, value, b"a", 0, headers=list(headers))


async def quarantined(database: Database) -> list[tuple[object, ...]]:
    rows = await query(
        database, "select source_offset, key, value, reason, state, rejected_by from quarantine order by id"
    )
    return [tuple(row) for row in rows]


async def history(kafka: str, topics: Topics) -> list[tuple[str, str]]:
    balances = [written.balance for written in await read_balances(kafka, topics)]
    return [(balance.transfer_id, str(balance.amount)) for balance in balances if balance.account == "a"]


async def test_rejected_transfer_is_quarantined_with_its_bytes(
    kafka: str, topics: Topics, database: Database
) -> None:
    huge = avro.encode_transfer(transfer("huge", "a", 2**63 - 1), TRANSFER_ID)
    await send_transfers(kafka, topics, [transfer("t-0", "a", 1)], partition=0)
    await send_value(kafka, topics, b"\x00bad", ("name\x00", b"\xff"), ("null", None))
    await send_value(kafka, topics, None)
    await send_value(kafka, topics, huge)
    await send_transfers(kafka, topics, [transfer("t-1", "a", 1)], partition=0)
    async with running_recorder(settings(kafka, topics, database)):
        await wait_until(partial(has_transfers, kafka, topics, "t-1"))
    rows = await quarantined(database)
    assert [row[:3] for row in rows] == [(1, b"a", b"\x00bad"), (2, b"a", None), (3, b"a", huge)]
    assert [row[3] for row in rows[1:]] == ["no value", "balance: amount leaves int64"]
    assert {row[4:] for row in rows} == {("held", "recorder")}
    [[headers]] = await query(database, "select header_bytes from quarantine where source_offset = 1")
    assert decode_headers(headers) == ((b"name\x00", b"\xff"), (b"null", None))


async def test_transfer_of_a_larger_scale_is_rejected_and_stops_no_later_transfer(
    kafka: str, topics: Topics, database: Database
) -> None:
    """At scale 18, int64 holds less than 10: one such transfer would make every later credit overflow."""
    await send_transfers(
        kafka,
        topics,
        [transfer("t-0", "a", 100), transfer("fine", "a", 1, 18), transfer("t-1", "a", 10_000)],
        partition=0,
    )
    async with running_recorder(settings(kafka, topics, database, max_scale=2)):
        await wait_until(partial(has_transfers, kafka, topics, "t-1"))
    assert await history(kafka, topics) == [("", "0.00"), ("t-0", "1.00"), ("t-1", "101.00")]
    [row] = await quarantined(database)
    assert row[3] == "scale is not 0..2"


async def test_transfer_is_quarantined_before_the_recorder_moves_past_it(
    kafka: str, topics: Topics, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postgres fails twice. The recorder waits for it, and keeps the transfer once."""
    failures, quarantine = [0], Store.quarantine

    async def fail_twice(store: Store, rows: list[object]) -> None:
        if rows and failures[0] < 2:
            failures[0] += 1
            raise ConnectionResetError
        await quarantine(store, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "quarantine", fail_twice)
    await send_value(kafka, topics, b"bad")
    await send_transfers(kafka, topics, [transfer("t-0", "a", 1)], partition=0)
    async with running_recorder(settings(kafka, topics, database)):
        await wait_until(partial(has_transfers, kafka, topics, "t-0"))
    assert failures == [2]
    assert len(await quarantined(database)) == 1
    assert await history(kafka, topics) == [("", "0.00"), ("t-0", "0.01")]


async def test_too_many_rejected_transfers_halt_until_an_operator_lets_the_partition_continue(
    kafka: str, topics: Topics, database: Database
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    recorder_settings = settings(kafka, topics, database, max_consecutive_rejects=3, http_port=port)
    async with running_recorder(recorder_settings), httpx.AsyncClient(base_url=url, timeout=30) as http:
        await send_transfers(kafka, topics, [transfer("t-0", "a", 1)], partition=0)
        for _ in range(5):
            await send_value(kafka, topics, b"bad")
        await send_transfers(kafka, topics, [transfer("t-1", "a", 1)], partition=0)
        await wait_until_halted(database, {0: TOO_MANY})
        await wait_for_metrics(
            url,
            lambda scrape: (
                scrape.sum("livebalance_recorder_partitions", state="halted") == 1
                and scrape.sum("livebalance_recorder_partitions", state="running") == 2
            ),
        )
        answer = await http.get("/readyz")
        assert (answer.status_code, answer.text) == (503, f"partition 0 is halted: {TOO_MANY}\n")
        assert (await http.get("/readyz?exclude=halted")).status_code == 200
        await send_transfers(kafka, topics, [transfer("other", "b", 1)], partition=1)
        await wait_until(partial(has_transfers, kafka, topics, "other"))
        assert await history(kafka, topics) == [("", "0.00"), ("t-0", "0.01")]
        result = await continue_partition(kafka, topics, database, 0)
        assert result.out == f"Lane 0 of the recorder continues. It was halted: {TOO_MANY}.\n"
        await wait_until(partial(has_transfers, kafka, topics, "t-1"))
        assert (await http.get("/readyz")).status_code == 200
    assert [row[0] for row in await quarantined(database)] == [1, 2, 3, 4, 5]
    [row] = await query(database, "select what, lane, was, became, by, why from intervention")
    assert tuple(row) == ("recorder", 0, TOO_MANY, None, "operator", "of the test")


async def test_skipped_transfers_are_not_applied(kafka: str, topics: Topics, database: Database) -> None:
    """The second is admissible."""
    await send_value(kafka, topics, b"bad")
    sent = [transfer("wrong", "a", 1), transfer("t-0", "a", 1)]
    await send_transfers(kafka, topics, sent, partition=0)
    async with running_recorder(settings(kafka, topics, database, max_consecutive_rejects=0)):
        await wait_until_halted(database, {0: NONE})
        command = (
            "lane",
            "skip",
            "0",
            "--of",
            "recorder",
            "--topic",
            topics.transfers,
            "--reason",
            "garbage",
        )
        for offset in range(2):
            result = await run_operator(kafka, topics, database, *command)
            assert (result.code, result.err) == (0, "")
            skipped = f"{topics.transfers}/0@{offset}"
            assert result.out == f"Skipped {skipped}. Lane 0 of the recorder is still halted.\n"
        await continue_partition(kafka, topics, database, 0)
        await wait_until(partial(has_transfers, kafka, topics, "t-0"))
    assert await history(kafka, topics) == [("", "0.00"), ("t-0", "0.01")]
    assert [(row[0], *row[3:]) for row in await quarantined(database)] == [
        (offset, "skipped by an operator", "skipped", "recorder") for offset in range(2)
    ]
    rows = await query(database, "select what, was, became, why from intervention order by id")
    assert [tuple(row) for row in rows] == [
        *(("skip", f"{topics.transfers}/0@{offset}: {NONE}", None, "garbage") for offset in range(2)),
        ("recorder", NONE, None, "of the test"),
    ]
    assert await halted(database) == {}


async def test_partition_that_is_not_halted_is_not_changed(
    kafka: str, topics: Topics, database: Database
) -> None:
    for command in (("continue",), ("skip", "--topic", topics.transfers)):
        words = ("lane", *command, "0", "--of", "recorder", "--reason", "a mistake")
        result = await run_operator(kafka, topics, database, *words)
        assert (result.code, result.out) == (1, "")
        assert "partition 0 of the recorder is not halted, or does not exist" in result.err
    assert await query(database, "select from intervention") == []


async def test_replayed_transfer_is_sent_again_and_applied_once(
    kafka: str, topics: Topics, database: Database
) -> None:
    """It was rejected because the balance would have left int64. A debit made room for it."""
    recorder_settings = settings(kafka, topics, database)
    sent = [transfer("t-0", "a", 100), transfer("huge", "a", 2**63 - 1), transfer("t-1", "a", -200)]
    await send_transfers(kafka, topics, sent, partition=0)
    async with running_recorder(recorder_settings):
        await wait_until(partial(has_transfers, kafka, topics, "t-1"))
        listed = await run_operator(kafka, topics, database, "quarantine", "list", "--of", "recorder")
        assert "recorder: balance: amount leaves int64" in listed.out
    async with running_recorder(recorder_settings):  # the restored recorder does not remember the id
        result = await run_operator(kafka, topics, database, "quarantine", "replay", "1", "--reason", "room")
        assert (result.code, result.err) == (0, "")
        assert result.out == "Sent 1 record to the topic of transfers again.\n"
        await wait_until(partial(has_transfers, kafka, topics, "huge"))
        again = await run_operator(kafka, topics, database, "quarantine", "replay", "1", "--reason", "again")
        assert "record 1 is sent, not held" in again.err
    assert [record.id for record in await read_transfers(kafka, topics)] == ["t-0", "huge", "t-1", "huge"]
    assert (await history(kafka, topics))[-1] == ("huge", str(transfer("", "a", 2**63 - 101).amount))


async def test_recorder_without_postgres_records_transfers_that_it_accepts(
    kafka: str, topics: Topics, database: Database
) -> None:
    async with running_recorder(settings(kafka, topics, database)):
        await send_transfers(kafka, topics, [transfer("t-0", "a", 1)], partition=0)
        await wait_until(partial(has_transfers, kafka, topics, "t-0"))
        await database.drop()
        await send_transfers(kafka, topics, [transfer("t-1", "a", 1)], partition=0)
        await wait_until(partial(has_transfers, kafka, topics, "t-1"))
        await send_value(kafka, topics, b"bad")
        await send_transfers(kafka, topics, [transfer("t-2", "a", 1)], partition=0)
        await database.create()
        await wait_until(partial(has_transfers, kafka, topics, "t-2"))
    assert len(await quarantined(database)) == 1
