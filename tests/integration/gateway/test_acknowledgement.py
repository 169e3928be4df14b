"""An account that is unsubscribed and subscribed again is acknowledged by its last subscription only."""

import asyncio
import signal
from collections.abc import Sequence

import pytest

from livebalance.gateway.redis.subscriber import Subscriber, SubscriberEvents
from livebalance.stack.servers.servers import Servers
from livebalance.wire.identity import AccountId

ALICE, BOB = AccountId("alice"), AccountId("bob")


def ignore(*_: object) -> None:
    pass


async def test_acknowledgement_of_an_earlier_subscription_is_not_that_of_the_last(
    own_redis: Servers, channel_prefix: str
) -> None:
    acknowledged: list[AccountId] = []
    connected, done = asyncio.Event(), asyncio.Event()

    def on_acknowledged(accounts: Sequence[AccountId]) -> None:
        acknowledged.extend(accounts)
        if BOB in acknowledged:
            done.set()

    events = SubscriberEvents(on_acknowledged, ignore, ignore, lambda _: connected.set(), *[ignore] * 6)
    subscriber = Subscriber(own_redis.redis(), channel_prefix, "gateway-1", 60.0, events)
    task = asyncio.create_task(subscriber.run())
    child = own_redis.embedded["redis"].child
    async with asyncio.timeout(30):
        await connected.wait()
        child.send(signal.SIGSTOP)  # it answers no command before it continues
        subscriber.subscribe([ALICE])
        await asyncio.sleep(0)  # sends
        subscriber.unsubscribe([ALICE])
        await asyncio.sleep(0)
        subscriber.subscribe([ALICE, BOB])
        await asyncio.sleep(0)
        child.send(signal.SIGCONT)
        await done.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(acknowledged) == [ALICE, BOB]
