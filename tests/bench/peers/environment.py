"""The settings of a gateway in a benchmark, and the accounts in its database."""

import asyncpg

from livebalance.stack.servers.servers import Servers
from tests.bench.peers.messages import BASE, EPOCH, PREFIX
from tests.servers.database import Database
from tests.tokens import SECRET


async def fill_accounts(url: str, accounts: int) -> None:
    """Writes accounts at the revision BASE."""
    connection = await asyncpg.connect(url)
    await connection.execute(
        "insert into projection select true, $1, system_identifier, timeline, 1 from server_identity", EPOCH
    )
    await connection.execute(
        "insert into lane values (0, 0, 0, 1, $1, true, null, null, null, null, null, now())", EPOCH
    )
    await connection.execute(
        "insert into balance (account_id, revision, lane, posted_total, transfer_count, recorded_at)"
        " select 'acc-' || lpad(n::text, greatest(5, length(n::text)), '0'), $1, 0, 0, 1, now()"
        " from generate_series(0, $2) n",
        BASE,
        accounts,
    )
    await connection.close()


async def server_environment(servers: Servers, clients: int) -> dict[str, str]:
    """Returns the settings of servers on a database with an account for each client."""
    database = Database(servers.postgres, "peers")
    await database.create()
    await fill_accounts(database.url("owner"), clients)
    return {
        "LIVEBALANCE_POSTGRES": database.url("gateway"),
        "LIVEBALANCE_REDIS": servers.redis(),
        "LIVEBALANCE_CHANNEL_PREFIX": PREFIX,
        "LIVEBALANCE_AUDIT_INTERVAL_SECONDS": "3600",  # Postgres does not have the published deltas
        # All clients connect at once, from the same address.
        **dict.fromkeys(
            ("LIVEBALANCE_MAX_CONNECTIONS_PER_ADDRESS", "LIVEBALANCE_CONNECTION_RATE_PER_ADDRESS"), "100000"
        ),
        "LIVEBALANCE_CONNECTION_RATE": "100000",
        "LIVEBALANCE_DEMO_SECRET": SECRET,
    }
