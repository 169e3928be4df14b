"""Subscriptions on real servers, from subscribe to live deltas."""

import asyncio

from tests.integration.gateway.conftest import RunningGateway, StartGateway
from tests.integration.gateway.fake_projector import FakeAccount, FakeProjector
from tests.integration.gateway.websocket_client import Frame, ShownAccount, WebSocketClient


def assert_shows(shown: ShownAccount, account: FakeAccount) -> None:
    """Asserts that a client shows the balance, and every transfer since the account was opened."""
    assert [
        (frame["id"], frame["amount"], frame["total"], frame["revision"]) for frame in shown.transfers
    ] == [(transfer.id, transfer.amount, transfer.total, transfer.revision) for transfer in account.transfers]
    view = account.balance()
    assert (shown.balance and shown.balance["amount"]) == (view and view.amount)


def names(frames: list[Frame]) -> list[str]:
    return [frame["type"] for frame in frames]


async def test_subscriber_gets_a_snapshot_then_deltas(
    gateway: RunningGateway, projector: FakeProjector
) -> None:
    await projector.open("alice")
    await projector.transfer("alice", 1250, -300)
    async with WebSocketClient(gateway.ws) as client:
        request = await client.subscribe("alice")
        await client.until_at("alice", 5)
        await client.until(lambda: {"type": "ok", "id": request} in client.frames)
        snapshot = client.of_type("snapshot")[0]
        assert (snapshot["reason"], snapshot["cursor"]) == ("subscribed", None)
        assert [transfer["id"] for transfer in snapshot["transfers"]] == ["t-1", "t-0"]
        assert snapshot["as_of"] is not None
        await projector.transfer("alice", 5)
        await projector.write({"alice": [7]})
        shown = await client.until_at("alice", 8)
        assert client.of_type("delta")[0]["from"] == 5
        assert_shows(shown, projector.account("alice"))
        assert shown.balance
        assert (shown.balance["amount"], shown.balance["half_applied"]) == ("9.55", "0.07")


async def test_welcome_has_gateway_epoch_and_limits(
    gateway: RunningGateway, projector: FakeProjector
) -> None:
    async with WebSocketClient(gateway.ws) as client:
        await client.until(lambda: len(client.frames) >= 2)
        welcome, status = client.frames[:2]
        assert welcome["gateway"] == "gateway-test"
        assert welcome["epoch"] == projector.epoch
        assert welcome["limits"] == {
            "message_bytes": 16384,
            "subscriptions": 128,
            "resume_max": 10000,
            "messages_per_second": 10.0,
            "connections_per_address": 200,
            "connections_per_user": 10,
            "sets": 4,
            "set_accounts": 10_000,
        }
        assert status["type"] == "status"


async def test_subscriber_of_unknown_account_gets_its_first_records(
    gateway: RunningGateway, projector: FakeProjector
) -> None:
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("newborn")
        shown = await client.until_at("newborn", 0)
        assert (shown.balance, shown.transfers) == (None, [])
        await projector.write({"newborn": [100]})  # its transfer comes before its first balance
        shown = await client.until_at("newborn", 1)
        assert shown.balance is None
        await projector.write({"newborn": [None]})
        await client.until_at("newborn", 2)
        assert_shows(shown, projector.account("newborn"))


async def test_subscribers_during_transfers_get_snapshot_and_deltas(
    gateway: RunningGateway, projector: FakeProjector
) -> None:
    """Each subscriber gets a snapshot of some moment, and every delta after it."""
    await projector.open("busy")
    done = asyncio.Event()

    async def write_transfers() -> None:
        while not done.is_set():
            await projector.transfer("busy", 1)

    async with asyncio.TaskGroup() as group:
        group.create_task(write_transfers())
        for _ in range(20):
            async with WebSocketClient(gateway.ws) as client:
                await client.subscribe("busy")
                await client.until(lambda: len(client.of_type("delta")) >= 3)
        done.set()
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("busy")
        await client.until_at("busy", projector.account("busy").revision)


async def test_subscriptions_over_the_limit_are_rejected(
    gateway: RunningGateway, projector: FakeProjector
) -> None:
    accounts = [f"a-{number}" for number in range(128)]
    await projector.open(*accounts)
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe(*accounts)
        await client.until(lambda: len(client.shown) == 128)
        await projector.write({account: [number] for number, account in enumerate(accounts)})
        for account in accounts:
            assert_shows(await client.until_at(account, 2), projector.account(account))
        assert await client.subscribe("one-too-many")
        await client.until(lambda: client.of_type("error"))
        error = client.of_type("error")[0]
        assert (error["code"], error["temporary"]) == ("limit", False)
        await client.subscribe("a-0")  # subscribing again does not count
        await client.until(lambda: len(client.of_type("snapshot")) == 129)


async def test_unsubscribed_account_gets_no_deltas(gateway: RunningGateway, projector: FakeProjector) -> None:
    await projector.open("left", "kept")
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("left", "kept")
        await client.until(lambda: len(client.shown) == 2)
        request = await client.request("unsubscribe", channels=["account:left"])
        await client.until(lambda: {"type": "ok", "id": request} in client.frames)
        await projector.write({"left": [1], "kept": [1]})
        await client.until_at("kept", 2)
        assert client.revision("left") == 1
        await client.subscribe("left")  # the gateway subscribes in Redis again
        await client.until_at("left", 2)
        await projector.transfer("left", 5)
        await client.until_at("left", 4)


async def test_erased_account_ends_its_subscriptions(
    gateway: RunningGateway, projector: FakeProjector
) -> None:
    await projector.open("erased")
    await projector.transfer("erased", 5)
    async with WebSocketClient(gateway.ws) as client, WebSocketClient(gateway.ws) as late:
        await client.subscribe("erased")
        position = (await client.until_at("erased", 3)).position
        await projector.erase("erased")
        await client.until(lambda: client.of_type("unsubscribed"))
        assert client.of_type("unsubscribed")[0]["code"] == "gone"
        await late.subscribe("erased", position=position)
        await late.until(lambda: late.of_type("unsubscribed"))
        await client.subscribe("erased")
        shown = await client.until_at("erased", 4)
        assert (shown.transfers, shown.balance) == ([], None)


async def test_heartbeat_of_subscriber_says_as_of(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(heartbeat_interval_seconds=0.2, audit_interval_seconds=0.1)
    await projector.open("alice")
    async with WebSocketClient(gateway.ws) as client:
        await client.until(lambda: client.of_type("heartbeat"))
        assert client.of_type("heartbeat")[0]["as_of"] is None  # no subscription yet
        await client.subscribe("alice")
        await client.until(lambda: client.of_type("heartbeat")[-1]["as_of"])
        before = client.of_type("heartbeat")[-1]["as_of"]
        await projector.advance()
        await client.until(lambda: client.of_type("heartbeat")[-1]["as_of"] > before)


async def test_two_gateways_serve_the_same_account(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateways = await start_gateway(name="gateway-1"), await start_gateway(name="gateway-2")
    await projector.open("alice")
    async with WebSocketClient(gateways[0].ws) as first, WebSocketClient(gateways[1].ws) as second:
        await first.subscribe("alice")
        await second.subscribe("alice")
        await first.until_at("alice", 1)
        await second.until_at("alice", 1)
        await projector.transfer("alice", 3, 4)
        assert_shows(await first.until_at("alice", 5), projector.account("alice"))
        assert_shows(await second.until_at("alice", 5), projector.account("alice"))
