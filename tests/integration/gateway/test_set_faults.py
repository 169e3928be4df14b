"""Sets while Redis loses batches, a read overlaps with commits, or the gateway is stopped."""

import asyncio
import signal
from collections.abc import Sequence

import pytest

from livebalance.gateway.postgres import set_loader
from livebalance.readmodel.sets.reads import SetState, read_set
from livebalance.wire.identity import Revision
from livebalance.wire.sets.batch import ChangedAccount, KeptTotal, LaneBatch
from tests import tokens
from tests.integration.gateway.conftest import StartGateway, StartProcess
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.faulty_proxy import faulty_proxy
from tests.integration.gateway.set_client import SetClient
from tests.integration.gateway.test_sets import AUDIT_SECONDS, EU, ended, revoke_account
from tests.servers.database import Database

CHANNEL = "prefix:EU-"
NO_AUDIT = 3600.0  # seconds


def shown_totals(client: SetClient) -> list[str]:
    return [totals[0]["amount"] for _, totals in client.sets[CHANNEL].history]


async def test_batch_after_a_lost_batch_shows_no_wrong_total(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    """No audit finds the loss: the number of the next batch of the lane does."""
    gateway = await start_gateway(audit_interval_seconds=NO_AUDIT)
    await projector.open("EU-1", "EU-4")
    assert projector.account("EU-1").lane == projector.account("EU-4").lane
    async with SetClient(gateway.ws) as client:
        await client.subscribe_set(CHANNEL)
        await client.until_total(CHANNEL, "0.00")
        projector.loses_batches = True
        await projector.transfer("EU-1", 100)
        projector.loses_batches = False
        await projector.transfer("EU-4", 1000)
        await client.until_total(CHANNEL, "11.00")
        assert shown_totals(client) == ["0.00", "11.00"]


class HeldReads:
    """Holds reads of sets before or after their statement, until `release` is set."""

    def __init__(self, patch: pytest.MonkeyPatch, *, before: bool) -> None:
        self.reached, self.release = asyncio.Event(), asyncio.Event()
        self._before = before
        patch.setattr(set_loader, "read_set", self._read)

    async def _read(self, *args: object) -> SetState:
        if self._before:
            await self._hold()
        state = await read_set(*args)  # type: ignore[arg-type]
        if not self._before:
            await self._hold()
        return state

    async def _hold(self) -> None:
        self.reached.set()
        await self.release.wait()


@pytest.mark.parametrize("before", [True, False], ids=["read after the commits", "read before the commits"])
async def test_accounts_that_join_and_leave_during_a_read_are_counted_once(
    start_gateway: StartGateway, projector: FakeProjector, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    gateway = await start_gateway(audit_interval_seconds=NO_AUDIT)
    reads = HeldReads(monkeypatch, before=before)
    await projector.write({"EU-1": [None, 100, None], "EU-2": [None, 200, None]})
    async with SetClient(gateway.ws) as client:
        await client.subscribe_set(CHANNEL)
        await reads.reached.wait()
        await projector.write({"EU-3": [None, 1000, None], "EU-1": [7, None]})
        await projector.erase("EU-2")
        reads.release.set()
        shown = await client.until_total(CHANNEL, "11.07")
        assert set(shown.members) == {"EU-1", "EU-3"}
        await projector.transfer("EU-3", 1)
        await client.until_total(CHANNEL, "11.08")
        assert shown_totals(client) == ["11.07", "11.08"]


async def test_batch_that_arrives_after_an_audit_has_found_it_is_not_counted_twice(
    start_gateway: StartGateway, projector: FakeProjector, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await start_gateway(audit_interval_seconds=AUDIT_SECONDS)
    await projector.open("EU-1")
    late: list[LaneBatch] = []

    async def keep(batches: Sequence[LaneBatch]) -> None:
        late.extend(batches)

    async with SetClient(gateway.ws) as client:
        await client.subscribe_set(CHANNEL)
        await client.until_total(CHANNEL, "0.00")
        with monkeypatch.context() as patch:
            patch.setattr(projector, "_publish_batches", keep)
            await projector.transfer("EU-1", 100)
        await client.until_total(CHANNEL, "1.00")
        for batch in late:
            await projector.publish_batch(batch)
        await projector.transfer("EU-1", 100)
        await client.until_total(CHANNEL, "2.00")
        assert shown_totals(client) == ["0.00", "1.00", "2.00"]


async def test_set_is_current_after_redis_delivered_nothing(
    start_gateway: StartGateway, projector: FakeProjector, redis_url: str
) -> None:
    async with faulty_proxy(redis_url) as (proxy, url):
        gateway = await start_gateway(
            redis=url, audit_interval_seconds=NO_AUDIT, redis_probe_interval_seconds=0.5
        )
        await projector.open(*EU)
        async with SetClient(gateway.ws) as client:
            await client.subscribe_set(CHANNEL)
            await client.until_total(CHANNEL, "0.00")
            proxy.drop_all()
            projector.silent = True
            await projector.write({account: [100, None] for account in EU})
            projector.silent = False
            await client.until_total(CHANNEL, "4.00")  # after the audit of the next connection
            await projector.transfer("EU-1", 100)
            await client.until_total(CHANNEL, "5.00")


async def test_gateway_that_was_stopped_sends_no_member_that_was_revoked_meanwhile(
    start_process: StartProcess, projector: FakeProjector, database: Database
) -> None:
    gateway = await start_process(
        "gateway-1", max_pause=None, audit_interval_seconds=0.5, postgres_timeout_seconds=30
    )
    await projector.open(*EU)
    claims = tokens.claims()
    async with (
        SetClient(gateway.ws, token=tokens.sign(claims), ping_interval=None) as revoked,
        SetClient(gateway.ws, ping_interval=None) as other,
    ):
        for client in (revoked, other):
            await client.subscribe_set(CHANNEL)
            await client.until_total(CHANNEL, "0.00")
        gateway.child.send(signal.SIGSTOP)
        await revoke_account(database, claims["sub"], "EU-2")
        await projector.write({account: [100, None] for account in EU})
        await asyncio.sleep(3)  # more than a gateway may pause without reading the revocations
        gateway.child.send(signal.SIGCONT)
        await other.until_total(CHANNEL, "4.00")
        await revoked.until(lambda: ended(revoked, CHANNEL))
        assert set(shown_totals(revoked)) == {"0.00"}
        assert not other.of_type("unsubscribed")


async def test_amount_that_was_changed_on_its_way_is_never_shown(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    """No audit finds it: the batch has the total that its lane keeps."""
    gateway = await start_gateway(audit_interval_seconds=NO_AUDIT)
    await projector.open("EU-1")
    await projector.transfer("EU-1", 100)
    account = projector.account("EU-1")
    async with SetClient(gateway.ws) as client:
        await client.subscribe_set(CHANNEL)
        await client.until_total(CHANNEL, "1.00")
        projector.loses_batches = True
        await projector.transfer("EU-1", 200)
        changed = ChangedAccount(account.id, Revision(account.revision), "999.00", "EUR", account.client)
        totals = [KeptTotal(CHANNEL, "EUR", "3.00", 1)]
        number = projector.batches[account.lane]
        await projector.publish_batch(
            LaneBatch(account.lane, projector.epoch, number, [changed], totals=totals)
        )
        await client.until_total(CHANNEL, "3.00")
        assert shown_totals(client) == ["1.00", "3.00"]
