"""Patches on real servers: clients with and without them show the same."""

import asyncio
import json

from livebalance.client.account import Account
from livebalance.client.client import Client
from livebalance.client.event import Changed
from livebalance.wire.identity import AccountId, Position
from tests import tokens
from tests.integration.gateway.conftest import RunningGateway
from tests.integration.gateway.fake_projector import FakeProjector

ALICE = AccountId("alice")


async def token() -> str:
    return tokens.token()


async def at(client: Client, revision: int) -> Account:
    """Returns the state at a revision, as soon as the client has it."""
    async with asyncio.timeout(60):
        async for event in client.events():
            if isinstance(event, Changed) and event.account.position.revision == revision:
                return event.account
    raise AssertionError("the client ended")


async def test_client_with_patches_shows_what_a_client_without_them_shows(
    gateway: RunningGateway, projector: FakeProjector
) -> None:
    await projector.open("alice")
    texts: list[bytes] = []
    async with (
        Client(gateway.ws, token=token, patches=True, on_frame=texts.append) as patched,
        Client(gateway.ws, token=token) as other,
    ):
        for client in (patched, other):
            client.follow(ALICE)
            await at(client, 1)
        await projector.transfer("alice", 1250, -300)
        assert await at(patched, 5) == await at(other, 5)
        await projector.write({"alice": [7]})
        assert await at(patched, 6) == await at(other, 6)
        await projector.transfer("alice", 5)
        state = await at(patched, 8)
        assert state == await at(other, 8)
    frames = [json.loads(text) for text in texts]
    data = [frame["type"] for frame in frames if frame.get("channel")]
    assert data[:2] == ["snapshot", "delta"]
    assert "patch" in data
    whole, patch = (max(len(text) for text in texts if kind in text) for kind in (b'"delta"', b'"patch"'))
    assert patch < whole
    async with Client(gateway.ws, token=token, patches=True, on_frame=texts.append) as resumed:
        texts.clear()
        resumed.follow(ALICE, Position(state.position.epoch, state.position.revision))
        await projector.transfer("alice", 1)
        later = await at(resumed, 10)
        assert later.balance
        assert later.balance.amount == "9.63"
        assert not [text for text in texts if b'"patch"' in text]
