"""Sets with a real projector: at each position that a client shows, its totals are those of SQL."""

import random
import signal
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from livebalance.stack.paths import free_port
from livebalance.stack.process.process import ChildProcess
from livebalance.wire.kafka.record import Balance, Transfer
from tests.integration.gateway.gateway_process import GatewayProcess
from tests.integration.gateway.set_client import SetClient
from tests.integration.projector.pipeline import Pipeline, history, wait_until
from tests.scrape import wait_for_metrics
from tests.tokens import SECRET

ACCOUNTS = ["EU-1", "EU-2", "EU-3", "EU-4", "US-1", "US-2"]
SETS = {"prefix:EU-": "b.account_id like 'EU-%'", "client:c-1": "b.client_id = 'c-1'", "prefix:": "true"}
# Each transaction logs the totals of the lane that it changes, at its end and by its own snapshot: what SQL
# sums up, and what the projector keeps, which is null as long as it has not counted the set.
LOG = """
create table logged_total (channel text, lane int, batch bigint, accounts bigint, amount numeric,
                           kept_accounts bigint, kept_amount numeric);
create function log_set_totals() returns trigger language plpgsql security definer as $$
begin
  insert into logged_total
  select s.channel, new.lane, new.batches, s.accounts, s.amount, k.accounts, k.amount
    from ({totals}) s
    left join lateral (
         select coalesce(sum(t.accounts), 0) as accounts, coalesce(sum(t.amount), 0) as amount
           from counted_set c left join set_total t using (channel, lane)
          where c.channel = s.channel and c.lane = new.lane and c.generation >= new.kept_since
         having count(c.channel) > 0) k on true;
  return null;
end $$;
create constraint trigger log_set_totals after insert or update on lane deferrable initially deferred
  for each row execute function log_set_totals();
"""
TOTAL = (
    "select '{channel}' as channel, count(*) as accounts, coalesce(sum(b.balance), 0) as amount"
    " from balance b where b.lane = new.lane and b.balance is not null and {condition}"
)

Totals = dict[tuple[str, str, int], tuple[int, Decimal]]  # by channel, lane and number of the batch


async def log_totals(pipeline: Pipeline) -> None:
    """Lets Postgres log the totals of each set after each batch."""
    totals = " union all ".join(TOTAL.format(channel=c, condition=each) for c, each in SETS.items())
    for statement in LOG.format(totals=totals).split(";\ncreate"):
        create = statement.strip() if statement.lstrip().startswith("create") else f"create{statement}"
        await pipeline.query(create)


async def logged_totals(pipeline: Pipeline) -> Totals:
    """Returns what Postgres logged. A number of a batch never names two states of its lane."""
    totals: Totals = {}
    for row in await pipeline.query("select * from logged_total"):
        key, total = (row["channel"], str(row["lane"]), row["batch"]), (row["accounts"], row["amount"])
        assert totals.setdefault(key, total) == total, "a number of two states"
    return totals


async def assert_kept_totals_are_those_of_sql(pipeline: Pipeline, at_least: int) -> None:
    """Compares at the end of each transaction. Each set must have been kept for so many."""
    kept = await pipeline.query("select * from logged_total where kept_accounts is not null")
    for row in kept:
        assert (row["kept_accounts"], row["kept_amount"]) == (row["accounts"], row["amount"]), row
    for channel in SETS:
        assert sum(row["channel"] == channel for row in kept) >= at_least, channel


class Histories:
    """Writes parts of the accounts' histories, between which accounts move from client to client."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._chance = random.Random(1)
        self._written: dict[str, int] = dict.fromkeys(ACCOUNTS, 0)
        self.records: list[Transfer | Balance] = []

    async def write(self, transfers: int) -> None:
        part: list[Transfer | Balance] = []
        for account in ACCOUNTS:
            first = self._written[account] + 1
            amounts = range(1, first + transfers)
            own = history(account, amounts)[2 * first - 1 if first > 1 else 0 :]
            self._written[account] += transfers
            part += [
                record._replace(client_id=self._chance.choice(["c-1", "c-2"]))
                if isinstance(record, Balance)
                else record
                for record in own
            ]
        self.records += part
        await self._pipeline.write(part)

    async def applied(self) -> None:
        await self._pipeline.wait_until_applied(self.records)


@pytest.fixture
async def gateway(pipeline: Pipeline, tmp_path: Path) -> AsyncIterator[GatewayProcess]:
    """A gateway that the test starts."""
    environment = {
        "LIVEBALANCE_POSTGRES": pipeline.database.url("gateway"),
        "LIVEBALANCE_REDIS": pipeline.redis,
        "LIVEBALANCE_CHANNEL_PREFIX": pipeline.prefix,
        "LIVEBALANCE_DEMO_SECRET": SECRET,
        "LIVEBALANCE_AUDIT_INTERVAL_SECONDS": "0.5",
        "LIVEBALANCE_POSTGRES_TIMEOUT_SECONDS": "30",
    }
    process = GatewayProcess("gateway", free_port(), tmp_path / "gateway.log", environment, max_pause=None)
    yield process
    process.end()


async def until_current(client: SetClient, pipeline: Pipeline) -> None:
    """Waits until the client shows what SQL has now, in each set."""
    for channel, condition in SETS.items():
        [row] = await pipeline.query(f"select sum(b.balance) as total from balance b where {condition}")
        await client.until(
            lambda channel=channel, total=row["total"]: (
                channel in client.sets
                and client.sets[channel].complete
                and Decimal(client.sets[channel].total or 0) == (total or 0)
            )
        )


def assert_shown_totals_are_those_of_sql(client: SetClient, logged: Totals) -> int:
    """Returns the number of positions that were shown."""
    count = 0
    for channel in SETS:
        for lanes, totals in client.sets[channel].history:
            stored = [logged[channel, lane, number] for lane, number in lanes.items()]
            shown = [(total["accounts"], Decimal(total["amount"])) for total in totals]
            expected = (sum(accounts for accounts, _ in stored), sum(amount for _, amount in stored))
            assert shown == ([expected] if expected[0] else []), (channel, lanes)
            count += 1
    return count


def start_next(pipeline: Pipeline, name: str) -> ChildProcess:
    """Starts a projector in a group of its own, so that it claims all lanes at once."""
    return pipeline.start(name, projector_group=f"{name}-{pipeline.prefix}", batch_records=5)


async def test_totals_are_those_of_sql_while_projectors_and_the_gateway_fail(
    pipeline: Pipeline, gateway: GatewayProcess
) -> None:
    """Projectors are killed between two messages, and stopped and fenced; the gateway is stopped."""
    await log_totals(pipeline)
    histories = Histories(pipeline)
    victim = pipeline.start("one", crash_at="between_publishes:25", batch_records=5)
    await pipeline.wait_for("select count(*) filter (where owner = 'one') = count(*) from lane", True)
    await gateway.start()
    async with SetClient(gateway.ws, ping_interval=None) as client:
        await client.subscribe_set(*SETS)
        for channel in SETS:
            await client.until_complete(channel)
        await pipeline.wait_for("select count(*) = 3 * (select count(*) from lane) from counted_set", True)
        await histories.write(10)
        await wait_until(lambda: victim.exit_code == -signal.SIGKILL)
        fenced = start_next(pipeline, "two")
        await histories.applied()
        await until_current(client, pipeline)
        fenced.send(signal.SIGSTOP)
        await histories.write(10)
        start_next(pipeline, "three")
        await histories.applied()
        fenced.send(signal.SIGCONT)
        await histories.write(10)
        await histories.applied()
        await until_current(client, pipeline)
        gateway.child.send(signal.SIGSTOP)
        await histories.write(10)
        await histories.applied()
        gateway.child.send(signal.SIGCONT)
        await histories.write(5)
        await histories.applied()
        await until_current(client, pipeline)
        assert not [frame for frame in client.frames if frame["type"] in ("error", "unsubscribed")]
    assert assert_shown_totals_are_those_of_sql(client, await logged_totals(pipeline)) > 20
    await assert_kept_totals_are_those_of_sql(pipeline, at_least=20)


async def test_followed_set_is_counted_kept_and_forgotten(pipeline: Pipeline) -> None:
    port = free_port()
    pipeline.start("one", http_port=port)
    records = history("EU-1", [1250, -300]) + history("US-1", [7])
    await pipeline.write(records)
    await pipeline.wait_until_applied(records)
    await pipeline.query("insert into followed_set values ('prefix:EU-', now(), 'infinity')")
    total = "select string_agg(amount::text || ' in ' || accounts, ', ') from set_total"
    await pipeline.wait_for(total, "9.50 in 1")
    url = f"http://127.0.0.1:{port}"
    await wait_for_metrics(url, lambda now: now.sum("livebalance_projector_followed_sets") == 1)
    more = history("EU-1", [1250, -300, 1])[-2:]
    await pipeline.write(more)
    await pipeline.wait_for(total, "9.51 in 1")
    await pipeline.query("update set_total set amount = 99")
    await pipeline.query("update counted_set set counted_at = now() - interval '1 h'")
    await pipeline.wait_for(total, "9.51 in 1")
    await pipeline.query("update followed_set set followed_until = now()")
    await pipeline.wait_for("select count(*) from set_total", 0)
    assert await pipeline.query("select * from followed_set") == []
    assert await pipeline.query("select * from counted_set") == []
    await wait_for_metrics(url, lambda now: now.sum("livebalance_projector_followed_sets") == 0)
