"""Forged Redis messages: they are dropped, counted and logged, and no client sees them."""

from math import inf

import pytest
import redis.asyncio

from livebalance.gateway.limits import recurring
from livebalance.wire.delta import (
    Delta,
    DeltaParts,
    ProgressMessage,
    encode_delta,
    encode_progress,
    make_delta,
    redis_account_channel,
    redis_lane_channel,
)
from livebalance.wire.identity import AccountId, Epoch, Lane, Revision
from livebalance.wire.views import balance_json
from tests.integration.gateway.bad_input.conftest import Scene
from tests.integration.gateway.bad_input.raw import message
from tests.integration.gateway.fake_projector import START
from tests.scrape import wait_for_metrics


def forged(account: str = "alice", **changed: object) -> Delta:
    parts = DeltaParts(Epoch("00000000000000a1"), Revision(1), Revision(2), START, b'{"amount":"9"}', b"")
    return make_delta(AccountId(account), Lane(0), parts._replace(**changed))  # type: ignore[arg-type]


POSITIONED = encode_delta(forged(), positions=True)
FORGED = {
    "nothing": b"",
    "text": b"payload",
    "JSON": b'{"type":"snapshot","channel":"account:alice","payload":1}',
    "another format": b"\x01" + encode_delta(forged())[1:],
    "too short": encode_delta(forged())[:-1],
    "too long": encode_delta(forged()) + b"payload",
    "revisions that do not grow": encode_delta(forged(from_=Revision(2))),
    "a time of no calendar": encode_delta(forged()).replace(b"-11-", b"-13-"),
    "a balance that is no JSON": encode_delta(forged(balance=b"payload")),
    "a balance that goes on": encode_delta(forged(balance=b'{},"channel":"account:payload"')),
    "a balance that ends the frame": encode_delta(forged(balance=b'{}}{"type":"goaway"}')),
    "a balance that is no object": encode_delta(forged(balance=b"[1]")),
    "transfers that are no JSON": encode_delta(forged(transfers=b"payload")),
    "transfers that end the list": encode_delta(forged(transfers=b'{}],"channel":"payload","more":[{}')),
    "transfers that are no objects": encode_delta(forged(transfers=b'"payload"')),
    "no UTF-8": encode_delta(forged(balance=b'{"payload":"\xff"}')),
    "no UTF-8, with positions": encode_delta(forged(balance=b'{"payload":"\xff"}'), positions=True),
    "positions cut short": POSITIONED[:27],
    "positions, and no text": POSITIONED[:28],
    "positions of another epoch than the text": POSITIONED[:4] + b"\0" * 8 + POSITIONED[12:],
    "positions with a later end than the text": POSITIONED[:27] + b"\3" + POSITIONED[28:],
    "positions that say no balance": POSITIONED[:1] + b"\2" + POSITIONED[2:],
    "positions for the text of another account": encode_delta(forged("payload"), positions=True),
    "a format of the future": b"\5" + POSITIONED[1:],
}


@pytest.mark.parametrize("name", FORGED)
async def test_row_37_invalid_delta_is_dropped_and_counted(scene: Scene, name: str) -> None:
    await scene.projector.open("alice")
    before = await scene.gateway.counter("dropped_messages", reason="delta")
    async with await scene.open() as connection:
        connection.send(message("subscribe", channels=[{"channel": "account:alice"}]))
        await connection.until("snapshot")
        await scene.projector.publish_raw("alice", FORGED[name])
        await scene.assert_logged("redis message dropped", "payload", "alice", reason="delta")
        await scene.projector.transfer("alice", 5)
        delta = await connection.until("delta")
        assert (delta["from"], delta["to"], delta["balance"]["amount"]) == (1, 3, "0.05")
    assert await scene.gateway.counter("dropped_messages", reason="delta") == before + 1


async def test_row_37_delta_of_another_epoch_or_position_shows_no_false_data(scene: Scene) -> None:
    """These deltas are valid, but do not continue the account: it is read from Postgres."""
    await scene.projector.open("alice")
    false_balance = balance_json(scene.projector.account("alice").balance()).replace(b"0.00", b"6.66")
    async with await scene.open() as connection:
        connection.send(message("subscribe", channels=[{"channel": "account:alice"}]))
        await connection.until("snapshot")
        for misplaced in (
            forged(epoch=Epoch("ffffffffffffffff"), from_=Revision(0), balance=false_balance),
            forged(from_=Revision(40), to=Revision(41), balance=false_balance),
            forged(from_=Revision(0), to=Revision(1), balance=false_balance),
        ):
            await scene.projector.publish("alice", misplaced)
        await scene.projector.transfer("alice", 5)
        while (delta := await connection.until("delta"))["to"] != 3:
            pass
        assert delta["balance"]["amount"] == "0.05"
        assert "6.66" not in str(connection.frames)
    await scene.assert_neighbour_unaffected()


async def test_row_37_message_on_another_channel_is_not_shown(scene: Scene, redis_url: str) -> None:
    await scene.projector.open("alice", "bob")
    async with await scene.open() as connection, redis.asyncio.from_url(redis_url) as other:
        connection.send(message("subscribe", channels=[{"channel": "account:alice"}]))
        await connection.until("snapshot")
        for channel in (
            redis_account_channel(scene.gateway.settings.channel_prefix, AccountId("bob")),
            redis_account_channel("livebalance-of-others:", AccountId("alice")),
        ):
            await other.publish(channel, encode_delta(forged(balance=b'{"amount":"6.66"}')))
        await scene.projector.transfer("alice", 5)
        delta = await connection.until("delta")
        assert delta["balance"]["amount"] == "0.05"
        assert [frame["type"] for frame in connection.frames if frame["type"] != "status"] == [
            "welcome",
            "ok",
            "snapshot",
            "delta",
        ]
    await scene.assert_neighbour_unaffected()
    scene.assert_log()


async def test_row_37_invalid_progress_messages_are_dropped_and_a_flood_is_logged_once(
    scene: Scene, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recurring, "INTERVAL_SECONDS", inf)  # no second line, however slow the machine is
    channel = redis_lane_channel(scene.gateway.settings.channel_prefix, Lane(1))
    valid = encode_progress(ProgressMessage(Lane(1), scene.projector.epoch, START, behind=True))
    before = await scene.gateway.counter("dropped_messages", reason="progress")
    async with redis.asyncio.from_url(redis_url) as other:
        for message_ in (b"payload", valid[:-1], valid + b"payload") * 20:
            await other.publish(channel, message_)
    await scene.assert_logged("redis message dropped", "payload", reason="progress", count=1)
    await wait_for_metrics(
        scene.gateway.operations,
        lambda now: now.sum("livebalance_gateway_dropped_messages_total", reason="progress") == before + 60,
    )
