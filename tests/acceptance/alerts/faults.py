"""What goes wrong, each time so that the services' own metrics say so, and which alerts it raises."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple

import httpx

from livebalance.runtime.schema.file_registry import TRANSFER_ID
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import Money
from tests.acceptance.alerts.monitored_stack import GARBAGE_IN_A_ROW, Ground
from tests.integration.gateway.bad_input.raw import CRLF, HANDSHAKE_HEAD, send_request
from tests.tokens import bearer

BACKLOG = 6_000  # transfers
AGO = 600_000  # ms
ODD = AccountId("odd")
REFUSALS = 450  # more than one a second, in the five minutes that are looked at
FENCES = 13  # more than five, and two for each of three lanes
RESTARTS = 3
FENCED = "sum(livebalance_projector_fenced_total)"
OWNED = 'sum(livebalance_projector_lanes{state="running"})'

Faulty = Callable[[Ground], AbstractAsyncContextManager[None]]


class Fault(NamedTuple):
    """The alerts are to fire while the block runs, and no other page."""

    act: Faulty
    raises: frozenset[str]


def now() -> int:
    return time.time_ns() // 1_000_000


def transfer(account: str, id_: str, cents: int) -> Transfer:
    return Transfer(TransferId(id_), AccountId(account), Money(cents, 2), now())


@asynccontextmanager
async def a_gateway_alone(ground: Ground) -> AsyncIterator[None]:
    ground.services["gateway"].child.start()  # it is not ready before there is a projector
    yield


@asynccontextmanager
async def a_backlog(ground: Ground) -> AsyncIterator[None]:
    """Of transfers that are ten minutes old; Postgres is slow, and there never was a recorder."""
    old = now() - AGO
    await ground.write(((transfer("old", f"t-{number}", 1), old + number) for number in range(BACKLOG)), 0)
    async with ground.slow(0.2):
        await ground.start("projector")
        yield


@asynccontextmanager
async def the_same_for_a_recorder(ground: Ground) -> AsyncIterator[None]:
    await ground.start("recorder")
    yield


@asynccontextmanager
async def redis_stands_still(ground: Ground) -> AsyncIterator[None]:
    """It keeps its connections. Clients come all the same. That a lane is halted does not explain it."""
    child = ground.at.redis.embedded["redis"].child
    child.send(signal.SIGSTOP)
    try:
        at = f"http://127.0.0.1:{ground.services['gateway'].port}"
        async with httpx.AsyncClient(base_url=at) as client, asyncio.timeout(20):
            while (await client.get("/readyz")).status_code == 200:  # noqa: ASYNC110 - HTTP tells only who asks
                await asyncio.sleep(0.1)
        for _ in range(REFUSALS // 50):
            await asyncio.gather(*(send_request(at, HANDSHAKE_HEAD + CRLF) for _ in range(50)))
        yield
    finally:
        child.send(signal.SIGCONT)


@asynccontextmanager
async def postgres_is_slow(ground: Ground) -> AsyncIterator[None]:
    """More comes than it writes."""
    async with ground.slow(0.4):
        yield


@asynccontextmanager
async def a_transaction_stays_open(ground: Ground) -> AsyncIterator[None]:
    """In one partition, while the feed goes on behind it."""
    topic, value = ground.at.topics.transfers, avro.encode_transfer(transfer("odd", "never", 1), TRANSFER_ID)
    async with ground.producing(transactional_id="hangs", transaction_timeout_ms=120_000) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, value, b"odd", 0)
        async with asyncio.timeout(20):
            while not await ground.prometheus.ask("max(livebalance_projector_open_transaction_seconds) > 5"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        yield
        await producer.abort_transaction()


@asynccontextmanager
async def another_claims(ground: Ground) -> AsyncIterator[None]:
    """Again and again, as a second deployment would."""
    for fence in range(1, FENCES + 1):
        await ground.as_owner("update lane set generation = generation + 1")
        async with asyncio.timeout(20):
            while not await ground.prometheus.ask(f"{FENCED} >= {fence} and {OWNED} > 0"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    yield


@asynccontextmanager
async def another_timeline(ground: Ground) -> AsyncIterator[None]:
    """As after a failover, which projectors see when they connect: this is not where they wrote to."""
    await ground.end("projector")
    await ground.as_owner("update projection set timeline = 'FFFFFFFF'")
    await ground.start("projector")
    yield


@asynccontextmanager
async def a_row_nobody_thought_of(ground: Ground) -> AsyncIterator[None]:
    """A time that is none, of an account that nobody follows."""
    await ground.as_owner("update transfer set occurred_at = 'infinity' where transfer_id = 't-1'")
    url = f"http://127.0.0.1:{ground.services['gateway'].port}/api/v1/accounts/old/transfers/t-1"
    async with httpx.AsyncClient() as client:
        answer = await client.get(url, headers=bearer())
    assert answer.status_code == 500, answer.text
    yield


@asynccontextmanager
async def a_balance_alone(ground: Ground) -> AsyncIterator[None]:
    """Ten minutes ago it named a transfer that nobody has sent."""
    opened = Balance(ODD, "client", TransferId(""), Money(0, 2), 0)
    await ground.write([(opened, now() - AGO)])
    await ground.write([(Balance(ODD, "client", TransferId("x-1"), Money(700, 2), 1), now() - AGO)])
    yield


@asynccontextmanager
async def a_transfer_of_another_amount(ground: Ground) -> AsyncIterator[None]:
    await ground.write([(transfer(ODD, "x-1", 500), now())])
    yield


@asynccontextmanager
async def garbage(ground: Ground) -> AsyncIterator[None]:
    await ground.write_garbage(1)
    yield


@asynccontextmanager
async def nothing_but_garbage(ground: Ground) -> AsyncIterator[None]:
    await ground.write_garbage(2 * GARBAGE_IN_A_ROW + 2)
    yield


@asynccontextmanager
async def a_recorder_that_dies(ground: Ground) -> AsyncIterator[None]:
    """Again and again, until nobody starts it any more; each time Prometheus has seen it."""
    for _ in range(RESTARTS):
        await ground.end("recorder")
        await ground.start("recorder")
        await ground.seen("recorder")
    await ground.end("recorder")
    yield


@asynccontextmanager
async def no_gateway(ground: Ground) -> AsyncIterator[None]:
    await ground.end("gateway")
    yield


def fault(act: Faulty, *alerts: str) -> Fault:
    return Fault(act, frozenset(f"Livebalance{name}" for name in alerts))


AT_THE_START = [
    fault(a_gateway_alone, "NoProjector", "Stalled"),
    fault(a_backlog, "Stale", "ProjectorBehind"),
    fault(the_same_for_a_recorder, "RecorderBehind"),
]
WHILE_ALL_RUNS = [
    fault(postgres_is_slow, "SlowDelivery"),
    fault(a_transaction_stays_open, "OpenTransaction", "Stalled"),
    fault(another_claims, "Fenced"),
    fault(another_timeline, "EpochChanged"),
    fault(a_row_nobody_thought_of, "GatewayInternalError"),
    fault(a_balance_alone, "Unverified"),
    fault(a_transfer_of_another_amount, "Drift", "Disputed"),
    fault(garbage, "Quarantine"),
    fault(nothing_but_garbage, "LaneHalted"),
    fault(
        redis_stands_still,
        "RedisNotDelivering",
        "PublishFailing",
        "DeltasLost",
        "Stalled",
        "RejectingClients",
    ),
]
AT_THE_END = [
    fault(a_recorder_that_dies, "Restarting", "ProcessDown", "PartitionWithoutRecorder"),
    fault(no_gateway, "NoGateway"),
]
