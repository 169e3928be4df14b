"""A subscription to a set of accounts: its members and its total are those of SQL (decision 36)."""

import asyncio
import random
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from livebalance.client import Client, SetChanged
from livebalance.gateway.live.sets import set_channel
from livebalance.gateway.postgres import set_follower
from livebalance.gateway.telemetry import metrics
from livebalance.readmodel.revocations import revoke
from livebalance.readmodel.sets.totals import follow_sets
from livebalance.wire.identity import AccountId, Lane, Revision
from livebalance.wire.sets.batch import ChangedAccount, LaneBatch
from tests import tokens
from tests.integration.gateway.conftest import RunningGateway, StartGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.narrow_socket import narrow_socket
from tests.integration.gateway.set_client import SetClient, ShownSet
from tests.integration.gateway.websocket_client import Frame
from tests.servers.database import Database

EU, US = ["EU-1", "EU-2", "EU-3", "EU-4"], ["US-1", "US-2"]
AUDIT_SECONDS = 0.1
WRITES = 250

Totals = dict[tuple[str, int], Decimal]  # by lane and number of the batch


async def totals_by_lane(projector: FakeProjector, condition: str) -> Totals:
    """Returns what SQL says: the sum of the members in each lane, at its newest batch."""
    rows = await projector.fetch(
        "select l.lane, l.batches, coalesce(sum(b.balance), 0) as total from lane l left join balance b"
        f" on b.lane = l.lane and {condition} group by l.lane, l.batches"
    )
    return {(str(row["lane"]), row["batches"]): row["total"] for row in rows}


def assert_totals_are_those_of_sql(shown: ShownSet, stored: Totals) -> None:
    for lanes, totals in shown.history:
        total = sum((stored[lane, number] for lane, number in lanes.items()), Decimal())
        assert Decimal(totals[0]["amount"] if totals else 0) == total, "not the total of SQL"


@pytest.mark.parametrize(
    ("channel", "condition"),
    [("prefix:EU-", "b.account_id like 'EU-%'"), ("client:c-1", "b.client_id = 'c-1'"), ("prefix:", "true")],
)
async def test_total_at_each_position_is_that_of_sql(
    gateway: RunningGateway, projector: FakeProjector, channel: str, condition: str
) -> None:
    stored, chance = await totals_by_lane(projector, condition), random.Random(1)
    async with SetClient(gateway.ws) as client:
        await client.subscribe_set(channel)
        await client.until_complete(channel)
        for number in range(60):
            accounts = chance.sample(EU + US, chance.randint(1, 3))
            for account in accounts:
                projector.account(account).client = chance.choice(["c-1", "c-2"])
            if number % 10 == 9:
                await projector.erase(accounts[0])
            else:
                await projector.write({account: [chance.randint(-500, 500), None] for account in accounts})
            stored |= await totals_by_lane(projector, condition)
        await projector.transfer("EU-1", 1)
        stored |= await totals_by_lane(projector, condition)
        newest = {str(lane): number for lane, number in projector.batches.items()}
        total = sum((stored[lane, number] for lane, number in newest.items()), Decimal())
        await client.until(
            lambda: channel in client.sets and Decimal(client.sets[channel].total or 0) == total
        )
        shown = client.sets[channel]
    assert len(shown.history) > 10
    assert_totals_are_those_of_sql(shown, stored)


async def test_accounts_join_and_leave_a_set(gateway: RunningGateway, projector: FakeProjector) -> None:
    await projector.open("EU-1")
    await projector.transfer("EU-1", 100)
    async with SetClient(gateway.ws) as client:
        await client.subscribe_set("prefix:EU-", "client:c-2")
        assert set((await client.until_total("prefix:EU-", "1.00")).members) == {"EU-1"}
        assert (await client.until_total("client:c-2", None)).members == {}
        projector.account("EU-2").client = "c-2"
        await projector.open("EU-2")
        await projector.transfer("EU-2", 200)
        await client.until_total("client:c-2", "2.00")
        await client.until_total("prefix:EU-", "3.00")
        projector.account("EU-2").client = "c-3"
        await projector.transfer("EU-2", 400)
        assert (await client.until_total("client:c-2", None)).members == {}
        await client.until_total("prefix:EU-", "7.00")
        await projector.erase("EU-1")
        shown = await client.until_total("prefix:EU-", "6.00")
        assert set(shown.members) == {"EU-2"}
        assert shown.totals == [{"currency": "EUR", "amount": "6.00", "accounts": 1}]
        member = shown.members["EU-2"]
        assert (member["revision"], member["client_id"]) == (projector.account("EU-2").revision, "c-3")


async def test_large_set_arrives_in_pages(gateway: RunningGateway, projector: FakeProjector) -> None:
    count = 2 * set_channel.PAGE_MEMBERS + 1
    await projector.open(*(f"EU-{number}" for number in range(count)))
    async with SetClient(gateway.ws) as client:
        await client.subscribe_set("prefix:EU-")
        shown = await client.until_complete("prefix:EU-")
        assert len(shown.members) == count
        assert [frame.get("more", False) for frame in client.frames if frame["type"].startswith("set_")] == [
            True,
            True,
            False,
        ]


async def test_lost_batches_are_read_again(start_gateway: StartGateway, projector: FakeProjector) -> None:
    gateway = await start_gateway(audit_interval_seconds=AUDIT_SECONDS)
    await projector.open(*EU)
    async with SetClient(gateway.ws) as client:
        await client.subscribe_set("prefix:EU-")
        await client.until_total("prefix:EU-", "0.00")
        projector.loses_batches = True
        await projector.transfer("EU-1", 100)
        await client.until_total("prefix:EU-", "1.00")
        projector.loses_batches = False
        await projector.transfer("EU-1", 100)
        await client.until_total("prefix:EU-", "2.00")


async def test_forged_batch_is_replaced(start_gateway: StartGateway, projector: FakeProjector) -> None:
    gateway = await start_gateway(audit_interval_seconds=AUDIT_SECONDS)
    await projector.open("EU-1")
    lane = projector.account("EU-1").lane
    forged = ChangedAccount(AccountId("EU-1"), Revision(9), "999.00", "EUR", "client-1")
    batch = LaneBatch(lane, projector.epoch, projector.batches[lane] + 1, [forged])
    async with SetClient(gateway.ws) as client:
        await client.subscribe_set("prefix:EU-")
        await client.until_total("prefix:EU-", "0.00")
        await projector.publish_batch(batch)
        await client.until(lambda: len(client.of_type("set_snapshot")) == 2)
        shown = await client.until_total("prefix:EU-", "0.00")
        assert [totals[0]["amount"] for _, totals in shown.history] == ["0.00", "999.00", "0.00"]
        assert client.of_type("set_snapshot")[-1]["reason"] == "replaced"
        await projector.transfer("EU-1", 100)
        await client.until_total("prefix:EU-", "1.00")


async def test_slow_client_is_sent_the_newest_members(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(send_buffer_bytes=4096, client_queue_bytes=4096)
    await projector.open(*EU)
    narrow = narrow_socket(gateway.ws)
    async with SetClient(gateway.ws, sock=narrow, ping_interval=None) as client:
        await client.subscribe_set("prefix:EU-")
        await client.until_total("prefix:EU-", "0.00")
        client.reading.clear()
        for _ in range(WRITES):
            await projector.write({account: [1, None] for account in EU})
        client.reading.set()
        shown = await client.until_total("prefix:EU-", f"{len(EU) * WRITES / 100:.2f}")
    assert len(shown.history) < 2 * WRITES  # of a delta for each write and each of three lanes


async def test_epoch_change_replaces_the_set(start_gateway: StartGateway, projector: FakeProjector) -> None:
    gateway = await start_gateway(audit_interval_seconds=AUDIT_SECONDS)
    await projector.open(*EU)
    async with SetClient(gateway.ws) as client:
        await client.subscribe_set("prefix:EU-")
        await client.until_total("prefix:EU-", "0.00")
        await projector.change_epoch("00000000000000b2")
        await client.until(lambda: client.sets["prefix:EU-"].epoch == "00000000000000b2")
        assert client.of_type("set_snapshot")[-1]["reason"] == "replaced"
        await projector.transfer("EU-1", 100)
        await client.until_total("prefix:EU-", "1.00")


async def test_heartbeat_covers_a_set(start_gateway: StartGateway, projector: FakeProjector) -> None:
    gateway = await start_gateway(audit_interval_seconds=AUDIT_SECONDS, heartbeat_ms=200)
    await projector.open(*EU)
    async with SetClient(gateway.ws) as client:
        await client.subscribe_set("prefix:EU-")
        await client.until_total("prefix:EU-", "0.00")
        await client.until(lambda: client.of_type("heartbeat") and client.of_type("heartbeat")[-1]["as_of"])
        before = client.of_type("heartbeat")[-1]["as_of"]
        await projector.advance()
        await client.until(lambda: client.of_type("heartbeat")[-1]["as_of"] > before)


# --- rights

GRANTED: Mapping[str, tuple[list[str], dict[str, list[str]], bool]] = {
    "prefix:EU-": (["EU-*"], {}, True),
    "prefix:EU-1": (["EU-*"], {}, True),
    "prefix:E": (["EU-*"], {}, False),
    "prefix:": (["EU-*", "US-*"], {}, False),
    "prefix:EU-2": (["EU-2"], {}, False),  # EU-20 would be of the set, and is not of the token
    "client:client-1": (["EU-*"], {}, False),
    "client:client-2": (["EU-*"], {"clients": ["client-2"]}, True),
    "client:client-3": (["*"], {}, True),
}


@pytest.mark.parametrize("channel", GRANTED)
async def test_set_needs_a_right_to_every_account_that_it_may_have(
    gateway: RunningGateway, projector: FakeProjector, channel: str
) -> None:
    accounts, claims, granted = GRANTED[channel]
    async with SetClient(gateway.ws, token=tokens.sign(tokens.claims(accounts=accounts, **claims))) as client:
        await client.subscribe_set(channel)
        if granted:
            await client.until_complete(channel)
        else:
            await client.until(lambda: client.of_type("error"))
            [error] = client.of_type("error")
            assert (error["code"], error["channel"]) == ("no_access", channel)
            assert not client.sets


async def revoke_account(database: Database, subject: str, account: str) -> None:
    operator = await asyncpg.connect(database.url("operator"))
    try:
        await revoke(operator, subject, None, AccountId(account), "a test")
    finally:
        await operator.close()


async def until_ended(client: SetClient, channel: str) -> None:
    """Waits until a revocation has ended a subscription."""
    await client.until(lambda: ended(client, channel))
    assert ended(client, channel)[-1]["code"] == "revoked"


def ended(client: SetClient, channel: str) -> list[Frame]:
    return [frame for frame in client.of_type("unsubscribed") if frame["channel"] == channel]


@pytest.mark.parametrize("channel", ["prefix:EU-", "client:client-1"])
async def test_revoked_member_ends_the_subscription(
    start_gateway: StartGateway, projector: FakeProjector, database: Database, channel: str
) -> None:
    gateway = await start_gateway(revocation_poll_seconds=0.1)
    await projector.open(*EU)
    claims = tokens.claims()
    async with SetClient(gateway.ws, token=tokens.sign(claims)) as client, SetClient(gateway.ws) as other:
        for each in (client, other):
            await each.subscribe_set(channel)
            await each.until_total(channel, "0.00")
        await revoke_account(database, claims["sub"], "EU-2")
        await until_ended(client, channel)
        await client.subscribe_set(channel)
        await client.until(lambda: len(ended(client, channel)) == 2)
        await projector.transfer("EU-1", 100)
        await other.until_total(channel, "1.00")
        assert not other.of_type("unsubscribed")
        assert client.sets[channel].total == "0.00"


async def test_revoked_account_that_joins_ends_the_subscription(
    start_gateway: StartGateway, projector: FakeProjector, database: Database
) -> None:
    gateway = await start_gateway(revocation_poll_seconds=0.1)
    await projector.open("EU-1")
    claims = tokens.claims()
    async with SetClient(gateway.ws, token=tokens.sign(claims)) as client:
        await client.subscribe("EU-2")
        await client.subscribe_set("prefix:EU-")
        await client.until_total("prefix:EU-", "0.00")
        await revoke_account(database, claims["sub"], "EU-2")
        await until_ended(client, "account:EU-2")
        assert not ended(client, "prefix:EU-")
        await projector.transfer("EU-2", 100)
        await until_ended(client, "prefix:EU-")
        assert "EU-2" not in client.sets["prefix:EU-"].members


# --- limits


async def test_set_with_too_many_accounts_is_rejected(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(max_set_accounts=len(EU))
    await projector.open(*EU, *US)
    async with SetClient(gateway.ws) as client:
        await client.subscribe_set("prefix:", "prefix:EU-")
        await client.until_total("prefix:EU-", "0.00")
        await client.until(lambda: client.of_type("unsubscribed"))
        [ended] = client.of_type("unsubscribed")
        assert (ended["channel"], ended["code"]) == ("prefix:", "limit")
        await projector.open("EU-5")
        await client.until(lambda: len(client.of_type("unsubscribed")) == 2)


async def test_connection_has_a_maximum_of_sets(gateway: RunningGateway) -> None:
    async with SetClient(gateway.ws) as client:
        await client.until(lambda: client.of_type("welcome"))
        [welcome] = client.of_type("welcome")
        assert "sets" in welcome["features"]
        assert (welcome["limits"]["sets"], welcome["limits"]["set_accounts"]) == (4, 10_000)
        await client.subscribe_set(*(f"prefix:{number}" for number in range(5)))
        await client.until(lambda: client.of_type("error"))
        assert client.of_type("error")[0]["code"] == "limit"


async def test_lane_of_an_older_projector_makes_sets_unavailable(
    gateway: RunningGateway, projector: FakeProjector
) -> None:
    await projector.open(*EU)
    await projector.execute("update lane set batches_generation = null where lane = 1")
    async with SetClient(gateway.ws) as client:
        await client.subscribe_set("prefix:EU-")
        await client.until(lambda: client.of_type("error"))
        [error] = client.of_type("error")
        assert (error["code"], error["temporary"], error["channel"]) == ("unavailable", True, "prefix:EU-")


async def test_python_client_follows_a_set(gateway: RunningGateway, projector: FakeProjector) -> None:
    await projector.open(*EU)
    async with asyncio.timeout(30), Client(gateway.ws, token=tokens.token_source()) as client:
        client.follow_set("prefix:EU-")
        amounts = []
        async for event in client.events():
            if isinstance(event, SetChanged):
                amounts.append(event.set.totals[0].amount)
                if len(amounts) == 1:
                    await projector.transfer("EU-1", 100)
                if amounts[-1] == "1.00":
                    assert event.set.members[AccountId("EU-1")].amount == "1.00"
                    assert len(event.set.members) == len(EU)
                    return


async def followed(projector: FakeProjector) -> set[str]:
    return {row["channel"] for row in await projector.fetch("select channel from followed_set")}


async def test_gateway_names_the_sets_that_its_clients_follow(
    start_gateway: StartGateway, projector: FakeProjector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_follower, "TICK_SECONDS", 0.02)
    monkeypatch.setattr(set_follower, "AGAIN_AFTER_SECONDS", 0.1)
    await projector.open(*EU)
    gateway = await start_gateway(max_set_accounts=4)
    async with SetClient(gateway.ws) as client, asyncio.timeout(30):
        await client.subscribe_set("prefix:EU-", "client:c-1")
        while await followed(projector) != {"prefix:EU-", "client:c-1"}:  # noqa: ASYNC110 - SQL has no event
            await asyncio.sleep(0.02)
        await projector.open("EU-5")  # beyond the limit
        await client.until(lambda: client.of_type("unsubscribed"))
        await projector.execute("delete from followed_set")
        while await followed(projector) != {"client:c-1"}:  # noqa: ASYNC110 - SQL has no event
            await asyncio.sleep(0.02)


async def test_set_is_served_although_nobody_can_keep_its_total(
    start_gateway: StartGateway,
    projector: FakeProjector,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = asyncio.Event()

    async def follow(*arguments: Any) -> None:
        try:
            await follow_sets(*arguments)
        except asyncpg.UndefinedFunctionError:
            refused.set()
            raise

    monkeypatch.setattr(set_follower, "follow_sets", follow)
    monkeypatch.setattr(set_follower, "TICK_SECONDS", 0.02)
    owner = await asyncpg.connect(database.url("owner"))
    await owner.execute("drop function follow_sets")
    await owner.close()
    await projector.open("EU-1")
    gateway = await start_gateway()
    async with SetClient(gateway.ws) as client, asyncio.timeout(30):
        await client.subscribe_set("prefix:EU-")
        await client.until_total("prefix:EU-", "0.00")
        await refused.wait()
        await projector.transfer("EU-1", 100)
        await client.until_total("prefix:EU-", "1.00")


async def test_wrong_kept_total_is_reported_and_the_sum_of_the_balances_is_shown(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(audit_interval_seconds=AUDIT_SECONDS)
    await projector.open("EU-1")
    await projector.execute("update lane set kept_generation = generation")
    await projector.execute("insert into followed_set values ('prefix:EU-', now(), 'infinity')")
    await projector.execute("insert into counted_set values ('prefix:EU-', $1, 1)", Lane(0))
    await projector.execute("insert into set_total values ('prefix:EU-', $1, 'EUR', 2, 9, 99)", Lane(0))
    before = metrics.WRONG_TOTALS._value.get()
    async with SetClient(gateway.ws) as client:
        await client.subscribe_set("prefix:EU-")
        await client.until_total("prefix:EU-", "0.00")
        await projector.transfer("EU-1", 100)
        await client.until_total("prefix:EU-", "1.00")
    assert metrics.WRONG_TOTALS._value.get() > before
