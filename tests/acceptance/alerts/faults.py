"""Faults of real services, visible in their metrics, and the alerts that each fault must raise."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple

import httpx
from redis.asyncio import Redis

from livebalance.runtime.schema.file_registry import TRANSFER_ID
from livebalance.wire.delta import redis_lane_channel
from livebalance.wire.identity import AccountId, Lane, TransferId
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import Money
from tests.acceptance.alerts.monitored_stack import (
    MAX_CONSECUTIVE_REJECTS,
    MAX_RECORDER_REJECTS,
    MonitoredStack,
)
from tests.integration.gateway.bad_input.raw import CRLF, HANDSHAKE_HEAD, send_request
from tests.tokens import bearer

BACKLOG = 6_000  # transfers
BACKLOG_AGE_MS = 600_000
INCONSISTENT = AccountId("odd")
OVERFLOWING = "rich"
REJECTIONS = 450  # the alert needs more than one per second over five minutes
FENCES = 13  # the alert needs more than 5, plus 2 for each of three lanes
RESTARTS = 3
FENCED = "sum(livebalance_projector_fenced_total)"
OWNED = 'sum(livebalance_projector_lanes{state="running"})'

FaultContext = Callable[[MonitoredStack], AbstractAsyncContextManager[None]]


class Fault(NamedTuple):
    """A fault that lasts while the context is open. These alerts must fire meanwhile, and no other page."""

    context: FaultContext
    alerts: frozenset[str]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def make_transfer(account: str, id_: str, cents: int) -> Transfer:
    return Transfer(TransferId(id_), AccountId(account), Money(cents, 2), now_ms())


@asynccontextmanager
async def gateway_without_projector(stack: MonitoredStack) -> AsyncIterator[None]:
    stack.services["gateway"].child.start()  # not awaited: it gets ready only after a projector started
    yield


@asynccontextmanager
async def projector_backlog(stack: MonitoredStack) -> AsyncIterator[None]:
    """Transfers that are ten minutes old, a slow Postgres, and no recorder yet."""
    old = now_ms() - BACKLOG_AGE_MS
    await stack.write(
        ((make_transfer("old", f"t-{number}", 1), old + number) for number in range(BACKLOG)), 0
    )
    async with stack.slow_postgres(0.2):
        await stack.start("projector")
        yield


@asynccontextmanager
async def recorder_backlog(stack: MonitoredStack) -> AsyncIterator[None]:
    """The transfers of `projector_backlog`, which no recorder has read yet."""
    await stack.start("recorder")
    yield


@asynccontextmanager
async def redis_hangs(stack: MonitoredStack) -> AsyncIterator[None]:
    """Redis stops, but its connections stay open, and clients keep connecting.

    One lane is halted by now. "Stalled" must fire although the halted lane is no reason for it.
    """
    child = stack.addresses.redis.embedded["redis"].child
    child.send(signal.SIGSTOP)
    try:
        gateway = stack.services["gateway"]
        async with httpx.AsyncClient(base_url=gateway.operations, timeout=30) as client, asyncio.timeout(30):
            while (await client.get("/readyz")).status_code == 200:  # noqa: ASYNC110 - no event to await
                await asyncio.sleep(0.1)
        for _ in range(REJECTIONS // 50):
            await asyncio.gather(*(send_request(gateway.http, HANDSHAKE_HEAD + CRLF) for _ in range(50)))
        yield
    finally:
        child.send(signal.SIGCONT)


@asynccontextmanager
async def unsigned_message(stack: MonitoredStack) -> AsyncIterator[None]:
    """A program without the key of the deployment publishes."""
    channel = redis_lane_channel(stack.addresses.channel_prefix, Lane(0))
    async with Redis.from_url(stack.addresses.redis.redis()) as redis:
        await redis.publish(channel, b"unsigned")
    yield


@asynccontextmanager
async def changed_set_total(stack: MonitoredStack) -> AsyncIterator[None]:
    """Somebody changes the total of a set that a client follows."""
    async with stack.followed_set("prefix:acc-"):
        await stack.execute_as_owner("update set_total set amount = amount + 0.01")
        yield


@asynccontextmanager
async def unreadable_revocations(stack: MonitoredStack) -> AsyncIterator[None]:
    """Gateways can read everything but the table of revocations."""
    await stack.execute_as_owner("alter table revocation rename to revocation_elsewhere")
    yield
    await stack.execute_as_owner("alter table revocation_elsewhere rename to revocation")


@asynccontextmanager
async def slow_postgres(stack: MonitoredStack) -> AsyncIterator[None]:
    """The feed produces more than a projector can write."""
    async with stack.slow_postgres(0.4):
        yield


@asynccontextmanager
async def open_transaction(stack: MonitoredStack) -> AsyncIterator[None]:
    """A producer leaves its transaction open in one partition, while the feed writes behind it."""
    topic = stack.addresses.topics.transfers
    value = avro.encode_transfer(make_transfer(INCONSISTENT, "never", 1), TRANSFER_ID)
    async with stack.producing(transactional_id="hangs", transaction_timeout_ms=120_000) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, value, INCONSISTENT.encode(), 0)
        async with asyncio.timeout(30):
            while not await stack.prometheus.query("max(livebalance_projector_open_transaction_seconds) > 5"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        yield
        await producer.abort_transaction()


@asynccontextmanager
async def competing_projector(stack: MonitoredStack) -> AsyncIterator[None]:
    """All lanes are claimed again and again, as a second deployment would do."""
    for fence in range(1, FENCES + 1):
        await stack.execute_as_owner("update lane set generation = generation + 1")
        async with asyncio.timeout(30):
            while not await stack.prometheus.query(f"{FENCED} >= {fence} and {OWNED} > 0"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    yield


@asynccontextmanager
async def changed_timeline(stack: MonitoredStack) -> AsyncIterator[None]:
    """A projector connects to a Postgres on another timeline than it wrote to, as after a failover."""
    await stack.end("projector")
    await stack.execute_as_owner("update projection set timeline = 'FFFFFFFF'")
    await stack.start("projector")
    yield


@asynccontextmanager
async def unreadable_row(stack: MonitoredStack) -> AsyncIterator[None]:
    """A request reads a transfer whose time no gateway can encode. No client subscribes to its account."""
    await stack.execute_as_owner("update transfer set occurred_at = 'infinity' where transfer_id = 't-1'")
    url = f"http://127.0.0.1:{stack.services['gateway'].port}/api/v1/accounts/old/transfers/t-1"
    async with httpx.AsyncClient(timeout=30) as client:
        response = await client.get(url, headers=bearer())
    assert response.status_code == 500, response.text
    yield


@asynccontextmanager
async def stopped_comparison(stack: MonitoredStack) -> AsyncIterator[None]:
    """The last comparison was an hour ago, and no projector can store another."""
    await stack.execute_as_owner(
        "do $$ begin lock table reconciliation_lane in access exclusive mode;"
        " update reconciliation_lane set compared_at = now() - interval '1 hour';"
        " create function freeze() returns trigger language plpgsql as 'begin return null; end';"
        " create trigger frozen before update on reconciliation_lane for each row execute function freeze();"
        " end $$"
    )
    yield
    await stack.execute_as_owner("drop function freeze cascade")


@asynccontextmanager
async def transfer_without_balance(stack: MonitoredStack) -> AsyncIterator[None]:
    """A transfer that is ten minutes old, in the partition whose recorder is halted by now."""
    await stack.write([(make_transfer("left-out", "l-1", 1), now_ms() - BACKLOG_AGE_MS)], 0)
    yield


@asynccontextmanager
async def balance_without_transfer(stack: MonitoredStack) -> AsyncIterator[None]:
    """A balance that is ten minutes old names a transfer that was never produced."""
    opening = Balance(INCONSISTENT, "client", TransferId(""), Money(0, 2), 0)
    await stack.write([(opening, now_ms() - BACKLOG_AGE_MS)])
    balance = Balance(INCONSISTENT, "client", TransferId("x-1"), Money(700, 2), 1)
    await stack.write([(balance, now_ms() - BACKLOG_AGE_MS)])
    yield


@asynccontextmanager
async def transfer_of_another_amount(stack: MonitoredStack) -> AsyncIterator[None]:
    """The transfer of `balance_without_transfer` arrives with an amount that does not make this balance."""
    await stack.write([(make_transfer(INCONSISTENT, "x-1", 500), now_ms())])
    yield


@asynccontextmanager
async def invalid_record(stack: MonitoredStack) -> AsyncIterator[None]:
    await stack.write_invalid_records(1)
    yield


@asynccontextmanager
async def consecutive_invalid_records(stack: MonitoredStack) -> AsyncIterator[None]:
    await stack.write_invalid_records(2 * MAX_CONSECUTIVE_REJECTS + 2)
    yield


@asynccontextmanager
async def rewound_recorder(stack: MonitoredStack) -> AsyncIterator[None]:
    """The offsets of the recorders' group are lost while no recorder runs."""
    await stack.end("recorder")
    await stack.set_recorder_group_back()
    await stack.start("recorder")
    yield


@asynccontextmanager
async def overflowing_transfers(stack: MonitoredStack) -> AsyncIterator[None]:
    """Adjacent transfers that the projector lists, and whose balance would leave int64."""
    transfers = [make_transfer(OVERFLOWING, f"o-{n}", 2**63 - 1) for n in range(MAX_RECORDER_REJECTS + 2)]
    await stack.write(((transfer, now_ms()) for transfer in transfers), 0)
    yield


@asynccontextmanager
async def restarting_recorder(stack: MonitoredStack) -> AsyncIterator[None]:
    """The recorder restarts several times, each time scraped by Prometheus, and finally stays down."""
    for _ in range(RESTARTS):
        await stack.end("recorder")
        await stack.start("recorder")
        await stack.scraped("recorder")
    await stack.end("recorder")
    yield


@asynccontextmanager
async def no_gateway(stack: MonitoredStack) -> AsyncIterator[None]:
    await stack.end("gateway")
    yield


def fault(context: FaultContext, *alerts: str) -> Fault:
    return Fault(context, frozenset(f"Livebalance{name}" for name in alerts))


AT_START = [
    fault(gateway_without_projector, "NoProjector", "Stalled"),
    fault(projector_backlog, "Stale", "ProjectorBehind"),
    fault(recorder_backlog, "RecorderBehind"),
]
WHILE_ALL_RUN = [
    fault(slow_postgres, "SlowDelivery"),
    fault(open_transaction, "OpenTransaction", "Stalled"),
    fault(competing_projector, "Fenced"),
    fault(changed_timeline, "EpochChanged"),
    fault(unsigned_message, "ForgedMessages"),
    fault(changed_set_total, "WrongSetTotal"),
    fault(unreadable_revocations, "RevocationsUnread"),
    fault(unreadable_row, "GatewayInternalError", "Differences"),
    fault(stopped_comparison, "NotReconciled"),
    fault(balance_without_transfer, "Unverified"),
    fault(transfer_of_another_amount, "Drift", "Disputed"),
    fault(rewound_recorder, "TransfersAlreadyRecorded"),
    fault(invalid_record, "Quarantine", "TransfersRejected"),
    fault(overflowing_transfers, "RecorderHalted"),
    fault(transfer_without_balance, "HalfApplied"),
    fault(consecutive_invalid_records, "LaneHalted"),
    fault(
        redis_hangs,
        "RedisNotDelivering",
        "PublishFailing",
        "DeltasLost",
        "Stalled",
        "RejectingClients",
    ),
]
AT_END = [
    fault(restarting_recorder, "Restarting", "ProcessDown", "PartitionWithoutRecorder"),
    fault(no_gateway, "NoGateway"),
]
