"""A program that may publish to Redis forges deltas. The next audit makes clients show what Postgres has."""

import asyncio
import time

import pytest
from msgspec import json
from msgspec.structs import replace
from pydantic import SecretStr

from livebalance.gateway.relay import TICK_SECONDS
from livebalance.readmodel.gateway_reads import SNAPSHOT_TRANSFERS
from livebalance.wire.delta import Delta, DeltaParts, encode_delta, make_delta, split_delta_frame
from livebalance.wire.identity import AccountId, Revision
from livebalance.wire.signature import SigningKey
from livebalance.wire.views import BalanceView, TransferView, balance_json, transfers_json
from tests.integration.gateway.conftest import StartGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.held_audits import HeldAudits
from tests.integration.gateway.test_subscribe import assert_shows
from tests.integration.gateway.websocket_client import WebSocketClient, position_of

ALICE = AccountId("alice")
INTERVAL = 0.1  # seconds between two audits
WHEN = "2020-02-02T02:02:02.000Z"
OLD, NEW = "old secret of this deployment, 1", "new secret of this deployment, 2"
REASONS = ("unsigned", "forged")
FREE_READS = 3  # that forged messages cost at once. After these, each tick of the gateway reads once


def forged(delta: Delta, account: str = "alice", **changed: str) -> Delta:
    """Returns the delta of an account with another first transfer. `balance_amount` changes the balance."""
    parts = split_delta_frame(delta.text)
    balance = json.decode(parts.balance, type=BalanceView)
    transfers = json.decode(b"[%b]" % parts.transfers, type=list[TransferView])
    if amount := changed.pop("balance_amount", None):
        balance = replace(balance, amount=amount)
    transfers[0] = replace(transfers[0], **changed)
    content = parts._replace(balance=balance_json(balance), transfers=transfers_json(transfers))
    return make_delta(AccountId(account), delta.lane, content)


async def shows_forged_content(client: WebSocketClient, projector: FakeProjector, **changed: str) -> None:
    """Lets the client show a forged delta in place of a real one."""
    await projector.open("alice")
    await client.subscribe("alice")
    await client.until_at("alice", 1)
    real = await projector.commit("alice", [100, None])
    await projector.publish("alice", forged(real, **changed))
    await projector.publish("alice", real)
    await client.until_at("alice", 3)


@pytest.mark.parametrize(
    "changed",
    [{"amount": "999999.00"}, {"id": "t-9"}, {"occurred_at": WHEN}, {"balance_amount": "999999.00"}],
)
async def test_forged_content_is_replaced_by_the_audit(
    start_gateway: StartGateway, projector: FakeProjector, audits: HeldAudits, changed: dict[str, str]
) -> None:
    gateway = await start_gateway(audit_interval_seconds=INTERVAL)
    async with WebSocketClient(gateway.ws) as client:
        await shows_forged_content(client, projector, **changed)
        audits.allow_next()
        await client.until(lambda: len(client.of_type("snapshot")) == 2)
        assert_shows(client.shown["alice"], projector.account("alice"))
        await projector.transfer("alice", 5)
        assert_shows(await client.until_at("alice", 5), projector.account("alice"))
        assert [frame["reason"] for frame in client.of_type("snapshot")] == ["subscribed", "ahead"]


async def test_forged_transfer_in_a_busy_account_is_replaced_by_the_audit(
    start_gateway: StartGateway, projector: FakeProjector, audits: HeldAudits
) -> None:
    """The newest balance and total are right again before the audit. The forged transfer is not."""
    gateway = await start_gateway(audit_interval_seconds=INTERVAL)
    async with WebSocketClient(gateway.ws) as client:
        await shows_forged_content(client, projector, amount="999999.00")
        audits.allow_next()
        for _ in range(SNAPSHOT_TRANSFERS - 1):  # the snapshot has all
            await projector.transfer("alice", 125)
            await asyncio.sleep(0.005)
        await client.until(lambda: len(client.of_type("snapshot")) == 2)
        revision = projector.account("alice").revision
        assert_shows(await client.until_at("alice", revision), projector.account("alice"))


async def test_frame_that_conceals_another_position_is_replaced_by_the_audit(
    start_gateway: StartGateway, projector: FakeProjector, audits: HeldAudits
) -> None:
    """The header and the beginning of the frame are right, and so are the transfers."""
    gateway = await start_gateway(audit_interval_seconds=INTERVAL)
    async with WebSocketClient(gateway.ws) as client:
        await projector.open("alice")
        await client.subscribe("alice")
        await client.until_at("alice", 1)
        real = await projector.commit("alice", [100, None])
        await projector.publish_raw("alice", encode_delta(real, positions=True)[:-1] + b',"to":9}')
        await client.until_at("alice", 9)
        audits.allow_next()
        await client.until(lambda: len(client.of_type("snapshot")) == 2)
        assert_shows(client.shown["alice"], projector.account("alice"))
        await projector.transfer("alice", 5)
        assert_shows(await client.until_at("alice", 5), projector.account("alice"))


async def test_client_that_resumes_at_forged_content_gets_a_snapshot(
    start_gateway: StartGateway, projector: FakeProjector, audits: HeldAudits
) -> None:
    gateway = await start_gateway(audit_interval_seconds=INTERVAL)
    async with WebSocketClient(gateway.ws) as first, WebSocketClient(gateway.ws) as second:
        await shows_forged_content(first, projector, amount="999999.00")
        forged_position = position_of(first.shown["alice"])
        audits.allow_next()
        await first.until(lambda: len(first.of_type("snapshot")) == 2)
        await second.subscribe("alice", position=forged_position)
        await second.until(lambda: second.of_type("snapshot"))
        assert_shows(second.shown["alice"], projector.account("alice"))


async def test_forged_end_of_an_account_ends_no_subscription(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(audit_interval_seconds=3600.0)
    await projector.open("alice")
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice")
        await client.until_at("alice", 1)
        reads, began = await gateway.counter("account_reads"), time.monotonic()
        parts = DeltaParts(projector.epoch, Revision(1), Revision(2), projector.as_of, b"null", b"")
        for _ in range(100):
            await projector.publish(
                "alice", make_delta(ALICE, projector.account("alice").lane, parts, gone=True)
            )
        await projector.transfer("alice", 7)
        assert_shows(await client.until_at("alice", 3), projector.account("alice"))
        assert not client.of_type("unsubscribed")
        reads = await gateway.counter("account_reads") - reads
        assert reads <= FREE_READS + (time.monotonic() - began) / TICK_SECONDS


async def test_unsigned_and_forged_messages_are_dropped_by_a_gateway_with_a_key(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(audit_interval_seconds=3600.0, delta_key=SecretStr(NEW))
    projector.key = SigningKey(NEW)
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice")
        await client.until(lambda: client.of_type("snapshot"))
        dropped = {reason: await gateway.counter("dropped_messages", reason=reason) for reason in REASONS}
        real = await projector.commit("alice", [None, 100])
        for key in (None, SigningKey(OLD)):
            projector.key = key
            await projector.publish("alice", forged(real, amount="999999.00"))
            await projector.publish_progress(0, behind=True)
        projector.key = SigningKey(NEW)
        await projector.publish("alice", real)
        assert_shows(await client.until_at("alice", 2), projector.account("alice"))
        assert [delta["transfers"][0]["amount"] for delta in client.of_type("delta")] == ["1.00"]
        for reason in REASONS:
            assert await gateway.counter("dropped_messages", reason=reason) == dropped[reason] + 2


@pytest.mark.parametrize(
    ("accepted", "signed_with"), [([], OLD), ([OLD], OLD), ([NEW, OLD], OLD), ([NEW, OLD], NEW), ([], None)]
)
async def test_signed_deltas_arrive_at_each_step_of_an_upgrade_and_of_a_rotation(
    start_gateway: StartGateway, projector: FakeProjector, accepted: list[str], signed_with: str | None
) -> None:
    names = ("delta_key", "delta_key_previous")
    keys = {name: SecretStr(key) for name, key in zip(names, accepted, strict=False)}
    gateway = await start_gateway(audit_interval_seconds=3600.0, **keys)
    projector.key = SigningKey(signed_with) if signed_with else None
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice")
        await client.until(lambda: client.of_type("snapshot"))
        await projector.write({"alice": [None, 100, None]})
        assert_shows(await client.until_at("alice", 3), projector.account("alice"))
        assert len(client.of_type("delta")) == 1
