"""Rights and data behind the shipped Caddyfile: late revocations, forged messages, a resume of too much."""

import asyncio
import time
from itertools import pairwise

import asyncpg
import httpx
import pytest
import pytest_asyncio

from livebalance.readmodel.revocations import revoke
from livebalance.wire.delta import DeltaParts, make_delta
from livebalance.wire.identity import Revision
from livebalance.wire.signature import SigningKey
from tests.acceptance.attacks.attacked_stack import TIMEOUT, AttackedStack, caddy
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.faulty_proxy import faulty_proxy
from tests.integration.gateway.test_forged_deltas import forged
from tests.integration.gateway.test_subscribe import assert_shows
from tests.integration.gateway.websocket_client import WebSocketClient, position_of
from tests.tokens import SECRET, bearer, claims, sign, token

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = SigningKey("the key of this deployment, long enough")
FORGED_AMOUNT = "999999.00"
RESUMED_ACCOUNTS = [f"account-{number}" for number in range(8)]
MISSED = 200  # transfers of each: together several times what a gateway queues for a client
RECOVERY_MAX_REVISIONS = 1000  # a client further behind keeps what it shows, before a gap


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def settings() -> dict[str, str]:
    """Short intervals, and a key that signs messages."""
    return {
        "demo_secret": SECRET,
        "delta_key": "the key of this deployment, long enough",
        "revocation_poll_seconds": "0.1",
        "audit_interval_seconds": "0.5",
        "recovery_max_revisions": str(RECOVERY_MAX_REVISIONS),
        "send_buffer_bytes": "8192",
        "connection_rate_per_address": "1000",
        "request_rate_per_user": "1000",
    }


@pytest.fixture
def projector(stack: AttackedStack) -> FakeProjector:
    """Signs what it publishes."""
    stack.projector.key = KEY
    return stack.projector


# --- rights


async def status(stack: AttackedStack, value: str) -> int:
    """Returns the status of an answer to a token."""
    async with httpx.AsyncClient(base_url=stack.http, timeout=TIMEOUT) as client:
        return (await client.get("/api/v1/accounts", headers=bearer(value))).status_code


async def revoke_and_wait(stack: AttackedStack, operator: asyncpg.Connection, subject: str) -> None:
    """Revokes the tokens of a subject, and waits until the gateway rejects them."""
    revoked = token(sub=subject)
    await revoke(operator, subject, None, None, "a test")
    async with asyncio.timeout(TIMEOUT):
        while await status(stack, revoked) != 401:
            pass


async def test_revocation_of_a_transaction_that_was_open_for_minutes_ends_sockets_and_requests(
    stack: AttackedStack, projector: FakeProjector
) -> None:
    """Gateways have read later revocations before it is committed."""
    await projector.open("rights")
    late = sign(claims(sub="late", iat=int(time.time()) - 900))
    owner = await asyncpg.connect(stack.database.url("owner"))
    operator = await asyncpg.connect(stack.database.url("operator"))
    async with WebSocketClient(stack.ws, token=late) as client:
        await client.subscribe("rights")
        await client.until_at("rights", 1)
        async with owner.transaction():
            await owner.execute(
                "insert into revocation (subject, why, at)"
                " values ('late', 'began 10 minutes ago', now() - interval '10 minutes')"
            )
            await revoke_and_wait(stack, operator, "earlier")
            assert await status(stack, late) == 200
        await revoke_and_wait(stack, operator, "later")
        assert await status(stack, late) == 401, "the late revocation was skipped"
        assert '"revoked"' in (await client.until_closed())[1]
    await owner.close()
    await operator.close()


# --- messages


def shows_real_content(client: WebSocketClient, projector: FakeProjector, account: str) -> bool:
    amounts = [transfer["amount"] for transfer in client.shown[account].transfers]
    return amounts == [transfer.amount for transfer in projector.account(account).transfers]


def forged_frames(client: WebSocketClient) -> int:
    """Returns how many deltas with the forged amount a client was sent."""
    return sum(FORGED_AMOUNT in str(frame["transfers"]) for frame in client.of_type("delta"))


async def publish_forged_and_real(projector: FakeProjector, account: str, key: SigningKey | None) -> None:
    """Commits a transfer, and publishes a forged delta before the real delta."""
    real = await projector.commit(account, [100, None])
    projector.key = key
    await projector.publish(account, forged(real, account, amount=FORGED_AMOUNT))
    projector.key = KEY
    await projector.publish(account, real)


async def test_wrong_delta_with_a_valid_signature_is_replaced_by_what_postgres_has(
    stack: AttackedStack, projector: FakeProjector
) -> None:
    await projector.open("wrong")
    async with WebSocketClient(stack.ws) as client:
        await client.subscribe("wrong")
        await client.until_at("wrong", 1)
        async with asyncio.timeout(TIMEOUT):
            while not forged_frames(client):  # an audit in between repairs the gap before the attack
                await publish_forged_and_real(projector, "wrong", KEY)
                await client.until_at("wrong", projector.account("wrong").revision)
        await client.until(lambda: shows_real_content(client, projector, "wrong"))
        await projector.transfer("wrong", 5)
        revision = projector.account("wrong").revision
        assert_shows(await client.until_at("wrong", revision), projector.account("wrong"))


async def test_wrong_delta_is_replaced_also_after_a_gap_before_which_clients_keep_what_they_show(
    stack: AttackedStack, projector: FakeProjector
) -> None:
    await projector.open("gapped")

    def changes() -> list[str]:
        """Returns the reasons of snapshots, and "forged" for each forged delta, as the client got them."""
        return [
            frame.get("reason", "forged")
            for frame in client.frames
            if frame["type"] == "snapshot" or FORGED_AMOUNT in str(frame.get("transfers"))
        ]

    async with WebSocketClient(stack.ws) as client:
        await client.subscribe("gapped")
        await client.until_at("gapped", 1)
        async with asyncio.timeout(TIMEOUT):
            while ("forged", "too_far") not in pairwise(changes()):  # an audit in between repairs either
                real = await projector.commit("gapped", [100])
                await projector.commit("gapped", [1] * RECOVERY_MAX_REVISIONS)
                newest = await projector.commit("gapped", [None])
                await projector.publish("gapped", forged(real, "gapped", amount=FORGED_AMOUNT))
                await projector.publish("gapped", newest)
                await client.until_at("gapped", projector.account("gapped").revision)
        await client.until(lambda: changes()[-1] == "ahead")


async def test_delta_that_the_deployment_has_not_signed_is_shown_to_no_client(
    stack: AttackedStack, projector: FakeProjector
) -> None:
    async def dropped() -> list[float]:
        reasons = ("unsigned", "forged")
        return [await stack.gateway.counter("dropped_messages_total", reason=reason) for reason in reasons]

    await projector.open("signed")
    before = await dropped()
    async with WebSocketClient(stack.ws) as client:
        await client.subscribe("signed")
        await client.until_at("signed", 1)
        for key in (None, SigningKey("a key that an attacker has made up")):
            await publish_forged_and_real(projector, "signed", key)
            await client.until_at("signed", projector.account("signed").revision)
        assert forged_frames(client) == 0
        assert_shows(client.shown["signed"], projector.account("signed"))
    async with asyncio.timeout(TIMEOUT):
        while await dropped() != [count + 1 for count in before]:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


async def test_end_of_an_account_that_postgres_does_not_confirm_ends_no_subscription(
    stack: AttackedStack, projector: FakeProjector
) -> None:
    await projector.open("alive")
    account = projector.account("alive")
    async with WebSocketClient(stack.ws) as client:
        await client.subscribe("alive")
        await client.until_at("alive", 1)
        end = DeltaParts(projector.epoch, Revision(1), Revision(2), projector.as_of, b"null", b"")
        await projector.publish("alive", make_delta(account.id, account.lane, end, gone=True))
        await projector.transfer("alive", 7)
        await client.until(lambda: client.of_type("unsubscribed") or client.revision("alive") == 3)
        assert client.of_type("unsubscribed") == []
        assert_shows(client.shown["alive"], account)


# --- memory


async def test_resume_of_many_accounts_by_a_client_that_does_not_read_waits_within_the_bound(
    stack: AttackedStack, projector: FakeProjector
) -> None:
    """The gateway writes no more than the bound at once. The rest waits in its queue, or is dropped."""
    await projector.open(*RESUMED_ACCOUNTS)
    async with WebSocketClient(stack.ws) as earlier:
        await earlier.subscribe(*RESUMED_ACCOUNTS)
        for account in RESUMED_ACCOUNTS:
            await earlier.until_at(account, 1)
    for account in RESUMED_ACCOUNTS:
        await projector.transfer(account, *[1] * MISSED)
    position = position_of(earlier.shown[RESUMED_ACCOUNTS[0]])

    async def held_back() -> float:
        overflows = await stack.gateway.counter("client_queue_overflows_total")
        return overflows + await stack.gateway.counter("client_queue_bytes")

    async with (
        faulty_proxy(stack.gateway.http, narrow=True) as (proxy, url),
        caddy(stack.paths, [url], stack.gateway.operations) as http,
        WebSocketClient(http.replace("http:", "ws:") + "/ws") as client,
    ):
        await client.until(lambda: client.of_type("welcome"))
        before = await held_back()
        proxy.returns.clear()
        await client.subscribe(*RESUMED_ACCOUNTS, position=position)
        async with asyncio.timeout(TIMEOUT):
            while await held_back() <= before:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
        client.shown = earlier.shown
        proxy.returns.set()
        for account in RESUMED_ACCOUNTS:
            revision = projector.account(account).revision
            assert_shows(await client.until_at(account, revision), projector.account(account))
