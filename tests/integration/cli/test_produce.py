"""`livebalance produce` as one types it, on a real broker."""

import asyncio
import json
import os
import pty
import signal
from collections import Counter
from pathlib import Path

import pytest
from aiokafka.partitioner import DefaultPartitioner

from livebalance.runtime.schema.file_registry import FileRegistry
from livebalance.stack.servers.topics import Topics
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.record import Transfer
from livebalance.wire.money import NOTHING, Money
from tests.integration.cli.operator import heard, said, typing
from tests.integration.recorder.topics import reached, records, transfers

FILE = b"""time,account,id,amount
2026-11-24T17:20:00.5+01:00,alice,t1,-12.50
0,bob,t1,12.5
,carol,t2,0.000000000000000001
1795540800000,alice,t3,twelve
1795540800000,alice,t4,9223372036854775807
1795540800000,al ice,t5,1
"""


@pytest.fixture
def environment(kafka: str, topics: Topics) -> dict[str, str]:
    return {
        "LIVEBALANCE_KAFKA": kafka,
        "LIVEBALANCE_TRANSFERS_TOPIC": topics.transfers,
        "TERM": "dumb",
    }


async def test_a_file_is_read_as_it_is_written(
    environment: dict[str, str], kafka: str, topics: Topics, tmp_path: Path
) -> None:
    file = tmp_path / "transfers.csv"
    file.write_bytes(FILE)
    done = await said(environment, "produce", "--from", str(file))
    assert done.code == 3
    assert done.out == (
        "4 written, 2 skipped: line 5: the amount is not a decimal number like -12.50; "
        "line 7: bad account id\n"
    )
    assert done.err.splitlines() == [
        "line 5: the amount is not a decimal number like -12.50",
        "line 7: bad account id",
    ]
    found = {f"{record.id} {record.account}": record for record in await transfers(kafka, topics)}
    assert found["t1 alice"] == Transfer(
        TransferId("t1"), AccountId("alice"), Money(-1250, 2), 1_795_537_200_500
    )
    assert found["t1 bob"] == Transfer(TransferId("t1"), AccountId("bob"), Money(125, 1), 0)
    assert found["t4 alice"].amount == Money(2**63 - 1, 0)
    assert found["t2 carol"].amount == Money(1, 18)
    assert found["t2 carol"].time_ms > 1_700_000_000_000
    assert len(found) == 4


async def test_each_record_is_keyed_and_placed_as_java_would_and_in_order(
    environment: dict[str, str], kafka: str, topics: Topics
) -> None:
    lines = [f"{n},account-{n % 7},{n}.00" for n in range(20_000)]
    text = "\n".join(["id,account,amount", *lines]).encode()  # no line end after the last one
    done = await said(environment, "produce", "--from", "-", "--json", given=text)
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == {
        "written": 20_000,
        "doubtful": 0,
        "skipped": 0,
        "first": [],
        "stopped": False,
    }
    all_partitions, seen = list(range(topics.partitions)), list[int]()
    for record in await records(kafka, topics.transfers, topics.partitions):
        transfer = avro.decode_transfer(record.value, FileRegistry().writer)
        assert record.key == transfer.account.encode()
        assert record.partition == DefaultPartitioner()(record.key, all_partitions, all_partitions)
        seen.append(int(transfer.id))
    assert sorted(seen) == list(range(20_000))
    for account in range(7):
        own = [n for n in seen if n % 7 == account]
        assert own == sorted(own)


async def test_transfers_may_be_typed(environment: dict[str, str], kafka: str, topics: Topics) -> None:
    words = ("--transfer", "t1", "alice", "-12.50", "--transfer", "t1", "bob", "12.50")
    done = await said(environment, "produce", *words, "--transfer", "t 2", "bob", "1", "--json")
    assert done.code == 3
    told = json.loads(done.out)
    assert (told["written"], told["skipped"]) == (2, 1)
    assert told["first"] == [{"where": "transfer 3", "reason": "bad transfer id"}]
    found = [(record.id, record.account, str(record.amount)) for record in await transfers(kafka, topics)]
    assert sorted(found) == [("t1", "alice", "-12.50"), ("t1", "bob", "12.50")]


async def test_random_transfers_are_whole_and_skewed(
    environment: dict[str, str], kafka: str, topics: Topics
) -> None:
    chosen = (
        "--random",
        "--rate",
        "0",
        "--limit",
        "2500",
        "--accounts",
        "30",
        "--zipf",
        "1.5",
        "--seed",
        "9",
    )
    done = await said(environment, "produce", *chosen)
    assert (done.code, done.out, done.err) == (0, "5000 written\n", "")
    found = await transfers(kafka, topics)
    assert set(Counter(record.id.rsplit("-", 1)[0] for record in found).values()) == {2}
    assert {record.id[-2:] for record in found} == {"-d", "-c"}
    total = NOTHING
    for record in found:
        total = total.plus(record.amount)
    assert total.same_value(NOTHING)
    shares = Counter(record.account for record in found)
    assert shares[AccountId("acc-0001")] > 10 * shares[AccountId("acc-0020")]


async def some(kafka: str, topics: Topics) -> bool:
    return bool(await records(kafka, topics.transfers, topics.partitions))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_told_to_stop_it_says_how_many_are_written(
    environment: dict[str, str], kafka: str, topics: Topics, number: signal.Signals
) -> None:
    process = await typing(environment, "produce", "--random", "--rate", "200", "--json")
    await reached(lambda: some(kafka, topics))
    process.send_signal(number)
    done = await heard(process)
    assert (done.code, done.err) == (130, "")
    told = json.loads(done.out)
    assert told["stopped"]
    assert told["written"] == len(await transfers(kafka, topics))


async def test_what_is_typed_into_a_pipe_is_written_at_once(
    environment: dict[str, str], kafka: str, topics: Topics
) -> None:
    process = await typing(environment, "produce", "--from", "-")
    assert process.stdin
    process.stdin.write(b"id,account,amount\nt1,alice,1\nt2,ali")
    await process.stdin.drain()
    await reached(lambda: some(kafka, topics))
    process.send_signal(signal.SIGINT)  # while it waits for the rest
    await asyncio.wait_for(process.wait(), 30)
    assert (await heard(process))[:2] == (130, "stopped: 1 written\n")


async def test_on_a_terminal_it_shows_how_many_went(
    environment: dict[str, str], kafka: str, topics: Topics
) -> None:
    ours, its = pty.openpty()
    words = ("produce", "--random", "--rate", "0", "--limit", "3000")
    process = await typing({**environment, "TERM": "xterm"}, *words, stderr=its)
    done = await heard(process)
    os.close(its)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert (done.code, done.out) == (0, "6000 written\n")
    assert "0 written" in shown


@pytest.mark.parametrize(
    ("words", "changed", "given", "says"),
    [
        ((), {}, b"", "what shall be written?"),
        (("--random", "--from", "-"), {}, b"", "what shall be written?"),
        (("--from", "/nowhere.csv"), {}, b"", "No such file or directory: /nowhere.csv"),
        (("--from", "/tmp"), {}, b"", "cannot be read: Is a directory"),
        (("--from", "-"), {}, b"id,account,amount,note\n", "nothing was written: line 1: the header names"),
        (("--from", "-"), {}, b"", "nothing was written: it is empty"),
        (
            ("--random",),
            {"LIVEBALANCE_KAFKA": "", "LIVEBALANCE_STATE_DIRECTORY": "/nonexistent"},
            b"",
            "make up",
        ),
        (("--random",), {"LIVEBALANCE_KAFKA": "127.0.0.1:1"}, b"", "Kafka at 127.0.0.1:1: "),
        (("--random",), {"LIVEBALANCE_TRANSFERS_TOPIC": "none"}, b"", "no topic none; 0 written\n"),
    ],
)
async def test_what_fails_is_one_line(
    environment: dict[str, str], words: tuple[str, ...], changed: dict[str, str], given: bytes, says: str
) -> None:
    done = await said({**environment, **changed}, "produce", *words, given=given)
    assert (done.code, done.out) == (1, "")
    assert says in done.err
    assert done.err.count("\n") == 1
