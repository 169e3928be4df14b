"""What reads of an account cost Postgres while its transfers grow."""

from collections.abc import Awaitable, Callable, Sequence

import asyncpg

from livebalance.readmodel import account_pages, gateway_reads
from livebalance.stack.servers.servers import Servers
from livebalance.wire.identity import AccountId, Position, Revision, TransferId
from tests.bench.growth.curve import Curve, Growth
from tests.bench.long_account import ACCOUNT, FILL
from tests.bench.peers.messages import EPOCH
from tests.bench.process_cpu import cpu_seconds
from tests.servers.database import Database

REPETITIONS = 2000
BEHIND = 100  # revisions of the client that resumes

Read = Callable[[], Awaitable[object]]


async def over_transfers(servers: Servers, sizes: Sequence[int]) -> Growth:
    costs: dict[str, list[tuple[int, float]]] = {}
    for size in sizes:
        database = Database(servers.postgres, f"transfers_{size}")
        await database.create()
        owner = await asyncpg.connect(database.url("owner"))
        await owner.execute(FILL.replace("$transfers", str(size)))
        await owner.execute("vacuum analyze")
        await owner.close()
        gateway = await asyncpg.connect(database.url("gateway"), server_settings=gateway_reads.SETTINGS)
        for name, read in _reads(gateway, size).items():
            costs.setdefault(name, []).append((size, await _cpu(gateway, read)))
        await gateway.close()
        await database.drop()
    return Growth(
        "transfers of an account", [Curve(name, "CPU µs a read", points) for name, points in costs.items()]
    )


def _reads(gateway: gateway_reads.Connection, size: int) -> dict[str, Read]:
    newest = Revision(2 * size + 1)
    missed = Position(EPOCH, Revision(max(0, newest - BEHIND)))
    account = AccountId(ACCOUNT)

    def state(after: Position | None) -> Read:
        query = gateway_reads.AccountQuery(account, after)
        return lambda: gateway_reads.read_accounts(gateway, [query], 10_000, 500)

    return {
        "snapshot": state(None),
        f"resume, {BEHIND} revisions behind": state(missed),
        "page of 50 from the middle": lambda: account_pages.read_older(
            gateway, account, TransferId(f"t-{size // 2 + 1}"), 50
        ),
    }


async def _cpu(gateway: "asyncpg.Connection[asyncpg.Record]", read: Read) -> float:
    """Returns µs of CPU of the process that serves the connection, per read."""
    backend = [gateway.get_server_pid()]
    await read()
    before = cpu_seconds(backend)
    for _ in range(REPETITIONS):
        await read()
    return (cpu_seconds(backend) - before) / REPETITIONS * 1e6
