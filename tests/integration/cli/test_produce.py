"""`livebalance produce`, with a real broker."""

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
from livebalance.wire.money import ZERO, Money
from tests.integration.cli.command_line import run_command, start_command, wait_for_command
from tests.integration.recorder.topic_records import read_records, read_transfers, wait_until

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


async def test_file_is_written_and_bad_lines_are_skipped(
    environment: dict[str, str], kafka: str, topics: Topics, tmp_path: Path
) -> None:
    file = tmp_path / "transfers.csv"
    file.write_bytes(FILE)
    result = await run_command(environment, "produce", "--from", str(file))
    assert result.code == 3
    assert result.out == (
        "4 written, 2 skipped: line 5: the amount is not a decimal number like -12.50; "
        "line 7: bad account id\n"
    )
    assert result.err.splitlines() == [
        "line 5: the amount is not a decimal number like -12.50",
        "line 7: bad account id",
    ]
    transfers = {f"{record.id} {record.account}": record for record in await read_transfers(kafka, topics)}
    assert transfers["t1 alice"] == Transfer(
        TransferId("t1"), AccountId("alice"), Money(-1250, 2), 1_795_537_200_500
    )
    assert transfers["t1 bob"] == Transfer(TransferId("t1"), AccountId("bob"), Money(125, 1), 0)
    assert transfers["t4 alice"].amount == Money(2**63 - 1, 0)
    assert transfers["t2 carol"].amount == Money(1, 18)
    assert transfers["t2 carol"].time_ms > 1_700_000_000_000
    assert len(transfers) == 4


async def test_records_have_keys_and_partitions_of_the_java_client_in_order(
    environment: dict[str, str], kafka: str, topics: Topics
) -> None:
    lines = [f"{n},account-{n % 7},{n}.00" for n in range(20_000)]
    text = "\n".join(["id,account,amount", *lines]).encode()  # no line end after the last one
    result = await run_command(environment, "produce", "--from", "-", "--json", stdin=text)
    assert (result.code, result.err) == (0, "")
    assert json.loads(result.out) == {
        "written": 20_000,
        "unacknowledged": 0,
        "skipped": 0,
        "skipped_lines": [],
        "stopped": False,
    }
    partitions, numbers = list(range(topics.partitions)), list[int]()
    for record in await read_records(kafka, topics.transfers, topics.partitions):
        transfer = avro.decode_transfer(record.value or b"", FileRegistry().writer_schema)
        assert record.key == transfer.account.encode()
        assert record.partition == DefaultPartitioner()(record.key, partitions, partitions)
        numbers.append(int(transfer.id))
    assert sorted(numbers) == list(range(20_000))
    for account in range(7):
        of_account = [n for n in numbers if n % 7 == account]
        assert of_account == sorted(of_account)


async def test_transfers_in_arguments_are_written(
    environment: dict[str, str], kafka: str, topics: Topics
) -> None:
    words = ("--transfer", "t1", "alice", "-12.50", "--transfer", "t1", "bob", "12.50")
    result = await run_command(environment, "produce", *words, "--transfer", "t 2", "bob", "1", "--json")
    assert result.code == 3
    report = json.loads(result.out)
    assert (report["written"], report["skipped"]) == (2, 1)
    assert report["skipped_lines"] == [{"where": "transfer 3", "reason": "bad transfer id"}]
    transfers = [
        (record.id, record.account, str(record.amount)) for record in await read_transfers(kafka, topics)
    ]
    assert sorted(transfers) == [("t1", "alice", "-12.50"), ("t1", "bob", "12.50")]


async def test_random_transfers_are_balanced_pairs_with_skewed_accounts(
    environment: dict[str, str], kafka: str, topics: Topics
) -> None:
    options = (
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
    result = await run_command(environment, "produce", *options)
    assert (result.code, result.out, result.err) == (0, "5000 written\n", "")
    transfers = await read_transfers(kafka, topics)
    assert set(Counter(record.id.rsplit("-", 1)[0] for record in transfers).values()) == {2}
    assert {record.id[-2:] for record in transfers} == {"-d", "-c"}
    total = ZERO
    for record in transfers:
        total = total.add(record.amount)
    assert total.same_value(ZERO)
    shares = Counter(record.account for record in transfers)
    assert shares[AccountId("acc-0001")] > 10 * shares[AccountId("acc-0020")]


async def has_records(kafka: str, topics: Topics) -> bool:
    return bool(await read_records(kafka, topics.transfers, topics.partitions))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_interrupted_command_reports_written_records(
    environment: dict[str, str], kafka: str, topics: Topics, number: signal.Signals
) -> None:
    process = await start_command(environment, "produce", "--random", "--rate", "200", "--json")
    await wait_until(lambda: has_records(kafka, topics))
    process.send_signal(number)
    result = await wait_for_command(process)
    assert (result.code, result.err) == (130, "")
    report = json.loads(result.out)
    assert report["stopped"]
    assert report["written"] == len(await read_transfers(kafka, topics))


async def test_line_from_a_pipe_is_written_at_once(
    environment: dict[str, str], kafka: str, topics: Topics
) -> None:
    process = await start_command(environment, "produce", "--from", "-")
    assert process.stdin
    process.stdin.write(b"id,account,amount\nt1,alice,1\nt2,ali")
    await process.stdin.drain()
    await wait_until(lambda: has_records(kafka, topics))
    process.send_signal(signal.SIGINT)  # while the command waits for the rest
    await asyncio.wait_for(process.wait(), 30)
    assert (await wait_for_command(process))[:2] == (130, "stopped: 1 written\n")


async def test_terminal_shows_the_number_of_written_records(
    environment: dict[str, str], kafka: str, topics: Topics
) -> None:
    terminal, stderr = pty.openpty()
    words = ("produce", "--random", "--rate", "0", "--limit", "3000")
    process = await start_command({**environment, "TERM": "xterm"}, *words, stderr=stderr)
    result = await wait_for_command(process)
    os.close(stderr)
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert (result.code, result.out) == (0, "6000 written\n")
    assert "0 written" in shown


@pytest.mark.parametrize(
    ("words", "changed", "stdin", "message"),
    [
        ((), {}, b"", "give one of --from, --transfer and --random"),
        (("--random", "--from", "-"), {}, b"", "give one of --from, --transfer and --random"),
        (("--from", "/nowhere.csv"), {}, b"", "No such file or directory: /nowhere.csv"),
        (("--from", "/tmp"), {}, b"", "cannot be read: Is a directory"),
        (
            ("--from", "-"),
            {},
            b"id,account,amount,note\n",
            "nothing was written: line 1: the header must name",
        ),
        (("--from", "-"), {}, b"", "nothing was written: the input is empty"),
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
async def test_failed_command_gives_one_error_line(
    environment: dict[str, str], words: tuple[str, ...], changed: dict[str, str], stdin: bytes, message: str
) -> None:
    result = await run_command({**environment, **changed}, "produce", *words, stdin=stdin)
    assert (result.code, result.out) == (1, "")
    assert message in result.err
    assert result.err.count("\n") == 1
