"""Records of any bytes: a recorder applies or quarantines each, and restores its ledger after them."""

from aiokafka import TopicPartition

from livebalance.runtime.schema.file_registry import BALANCE_ID, TRANSFER_ID, FileRegistry
from livebalance.stack.servers.topics import Topics
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.codec import ConfluentCodec
from livebalance.wire.kafka.headers import decode_headers
from livebalance.wire.kafka.raw_record import RawRecord, decode_balance
from livebalance.wire.kafka.record import Balance
from livebalance.wire.money import Money
from tests.integration.recorder.halted_partitions import query, run_operator
from tests.integration.recorder.recorder_process import running_recorder, settings
from tests.integration.recorder.topic_records import read_records, transfer, wait_until
from tests.servers.database import Database
from tests.servers.raw_producer import write_raw_records

NAMES = ((b"\x00", b"1"), (b"\xff\xfe", None), (b"source-offset", None))
AT = 1_795_540_800_000


CODEC = ConfluentCodec(FileRegistry())


async def recorded(kafka: str, topics: Topics) -> list[tuple[str, str]]:
    """Returns transfer id and amount of the balances that a recorder has written."""
    records = await read_records(kafka, topics.balances, topics.partitions)
    balances = [decode_balance(record, CODEC) for record in records]
    return [
        (balance.transfer_id, str(balance.amount))
        for balance in balances
        if isinstance(balance, Balance) and balance.version > 0
    ]


async def has(kafka: str, topics: Topics, count: int) -> bool:
    return len(await recorded(kafka, topics)) >= count


async def test_recorder_passes_records_of_any_bytes(kafka: str, topics: Topics, database: Database) -> None:
    good = [avro.encode_transfer(transfer(f"t-{number}", "a", 100), TRANSFER_ID) for number in (1, 2)]
    opening = Balance(AccountId("a"), "c", TransferId(""), Money(500, 2), 0)
    sources = (b"source-offset", b"9" * 5000), (b"source-offset", b"\xff")
    balances = [(b"a", avro.encode_balance(opening, BALANCE_ID), (source,)) for source in sources]
    await write_raw_records(
        kafka,
        TopicPartition(topics.balances, 0),
        [
            RawRecord("", 0, 0, AT, key, value, headers)
            for key, value, headers in [*balances, (b"\xff", None, NAMES), (b"a\x00", b"bad", NAMES)]
        ],
    )
    for key, value in [(b"a", b""), (b"a", None), (None, good[0]), (b"\xff", b"\x00"), (b"a", good[0])]:
        record = RawRecord("", 0, 0, AT, key, value, NAMES)
        await write_raw_records(kafka, TopicPartition(topics.transfers, 0), [record])
    async with running_recorder(settings(kafka, topics, database)):
        await wait_until(lambda: has(kafka, topics, 1))
    record = RawRecord("", 0, 0, -(2**40), b"a", good[1], NAMES)
    await write_raw_records(kafka, TopicPartition(topics.transfers, 0), [record])
    async with running_recorder(settings(kafka, topics, database)):
        await wait_until(lambda: has(kafka, topics, 2))
    assert await recorded(kafka, topics) == [("t-1", "6.00"), ("t-2", "7.00")]
    rows = await query(database, "select source_offset, header_bytes from quarantine order by source_offset")
    assert [(offset, decode_headers(headers)) for offset, headers in rows] == [(n, NAMES) for n in range(4)]


async def test_transfer_with_a_header_name_that_is_not_utf8_is_not_sent_again(
    kafka: str, topics: Topics, database: Database
) -> None:
    record = RawRecord("", 0, 0, AT, b"a", b"bad", NAMES)
    await write_raw_records(kafka, TopicPartition(topics.transfers, 0), [record])
    async with running_recorder(settings(kafka, topics, database)):
        await wait_until(lambda: is_quarantined(database))
    result = await run_operator(kafka, topics, database, "quarantine", "replay", "1", "--reason", "a mistake")
    reason = "record 1 has a header whose name is not UTF-8"
    assert (result.code, result.err) == (1, f"livebalance: nothing is replayed: {reason}\n")
    [row] = await query(database, "select state, (select count(*) from intervention) from quarantine")
    assert tuple(row) == ("held", 0)


async def is_quarantined(database: Database) -> bool:
    return bool(await query(database, "select from quarantine"))
