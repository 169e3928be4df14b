"""`Client.read` and `SyncClient` at a real gateway."""

import asyncio
import socket

import pytest

from livebalance.client import AccountId, Changed, Client, ReadError, SyncClient
from livebalance.wire.errors import DecodeError
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.gateway_process import GatewayProcess
from tests.tokens import token, token_source

ALICE = AccountId("alice")
UNREACHED = 2**53 - 1


async def test_read_returns_the_state_that_follow_begins_with(
    gateway: GatewayProcess, projector: FakeProjector
) -> None:
    await projector.open("alice")
    await projector.transfer("alice", 5, -7)
    async with Client(gateway.ws, token=token_source()) as client:
        read = await client.read(ALICE)
        client.follow(ALICE)
        followed = await anext(event.account async for event in client.events() if isinstance(event, Changed))
    assert read == followed
    assert [transfer.amount for transfer in read.transfers] == ["0.05", "-0.07"]
    assert read.balance
    assert read.balance.amount == "-0.02"


async def test_read_waits_longer_than_the_gateway_for_a_revision(
    gateway: GatewayProcess, projector: FakeProjector
) -> None:
    """The gateway waits 1.5 s and answers `not_yet`. The client asks again, with a token of its own."""
    tokens, asked_twice = token_source(), asyncio.Event()
    requests = 0

    async def counted_token() -> str:
        nonlocal requests
        requests += 1
        if requests == 2:
            asked_twice.set()
        return await tokens()

    await projector.open("alice")
    async with Client(gateway.ws, token=counted_token) as client:
        reading = asyncio.create_task(client.read(ALICE, min_revision=3, within=60))
        await asyncio.wait_for(asked_twice.wait(), 60)
        assert not reading.done()
        await projector.transfer("alice", 1)
        assert (await reading).position.revision == 3


async def test_read_of_an_account_that_does_not_exist_yet_has_revision_0(
    gateway: GatewayProcess, projector: FakeProjector
) -> None:
    async with Client(gateway.ws, token=token_source()) as client:
        state = await client.read(AccountId(".."))
    assert (state.account, state.position.revision, state.balance, state.transfers) == ("..", 0, None, ())


async def test_read_that_fails_says_why(gateway: GatewayProcess, projector: FakeProjector) -> None:
    async def token_of_bob() -> str:
        return token(["bob"])

    await projector.open("alice", "bob")
    async with Client(gateway.ws, token=token_of_bob) as client:
        with pytest.raises(ReadError) as failed:
            await client.read(ALICE)
        assert (failed.value.code, failed.value.status) == ("no_access", 403)
        with pytest.raises(ReadError) as failed:
            await client.read(AccountId("bob"), min_revision=UNREACHED, within=2)
        assert failed.value.code in ("not_yet", "timeout")
        with pytest.raises(DecodeError):
            await client.read(AccountId("a/b"))
    async with Client(gateway.ws) as client:
        with pytest.raises(ReadError) as failed:
            await client.read(ALICE)
        assert (failed.value.code, failed.value.status) == ("unauthenticated", 401)


async def test_read_uses_the_next_gateway_if_one_is_unreachable(
    gateway: GatewayProcess, projector: FakeProjector
) -> None:
    await projector.open("alice")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        unreachable = f"ws://127.0.0.1:{taken.getsockname()[1]}/ws"
        async with Client(unreachable, gateway.ws, token=token_source()) as client:
            assert (await client.read(ALICE, within=60)).position.revision == 1
        async with Client(unreachable, token=token_source()) as client:
            with pytest.raises(ReadError) as failed:
                await client.read(ALICE, within=1)
            assert failed.value.code in ("unreachable", "timeout")
            assert failed.value.status is None


async def test_sync_client_reads_and_follows(gateway: GatewayProcess, projector: FakeProjector) -> None:
    await projector.open("alice")

    def follow() -> list[int]:
        revisions = list[int]()
        with SyncClient(gateway.ws, token=token) as client:
            revisions.append(client.read(ALICE).position.revision)
            client.follow(ALICE)
            for event in client.events():
                if isinstance(event, Changed):
                    revisions.append(event.account.position.revision)
                    if event.account.position.revision >= 5:
                        break
            state = client.account_state(ALICE)
            assert state
            revisions.append(client.read(ALICE, min_revision=state.position.revision).position.revision)
        return revisions

    following = asyncio.create_task(asyncio.to_thread(follow))
    await gateway_has_a_session(gateway)
    await projector.transfer("alice", 1)
    await projector.transfer("alice", 2)
    revisions = await following
    assert revisions[:1] + revisions[-2:] == [1, 5, 5]
    assert revisions == sorted(revisions)


async def gateway_has_a_session(gateway: GatewayProcess) -> None:
    async with asyncio.timeout(30):
        while not await gateway.counter("sessions"):  # noqa: ASYNC110 - a metric of another process
            await asyncio.sleep(0.05)
