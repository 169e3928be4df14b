"""What can happen to a gateway: an action for each thing that a metric counts."""

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import httpx
import jwt
from msgspec import json
from msgspec.structs import replace
from prometheus_client import REGISTRY

from livebalance.gateway import app, connections, lifecycle
from livebalance.gateway.api import queries
from livebalance.gateway.live import channel
from livebalance.readmodel import account_pages
from livebalance.wire.delta import Delta, make_delta, split_delta_frame
from livebalance.wire.identity import AccountId
from livebalance.wire.signature import SigningKey
from livebalance.wire.views import TransferView, transfers_json
from tests.integration.gateway.bad_input.raw import CRLF, HANDSHAKE_HEAD, TEXT, frame, message
from tests.integration.gateway.conftest import LimiterClock
from tests.integration.gateway.harness import WITHIN, Action, Harness
from tests.integration.gateway.held_audits import HeldAudits
from tests.integration.gateway.sse_client import SseClient
from tests.integration.gateway.stalled_reader import end_ping_intervals, stalled_reader
from tests.integration.gateway.websocket_client import position_of
from tests.tokens import bearer, claims, token


async def abort_stream(harness: Harness) -> None:
    await harness.projector.open("alice")
    async with SseClient(harness.gateway.http, "alice") as client:
        await client.until_at("alice", 1)


async def open_stream_without_access(harness: Harness) -> None:
    async with SseClient(harness.gateway.http, "alice", token=token([])) as client:
        await client.until_end()


NAMED_HANDSHAKE = HANDSHAKE_HEAD + b"X-Forwarded-For: 192.0.2.1\r\n" + CRLF  # as the balancer names a client


def send_request(request: bytes) -> Action:
    return lambda harness: harness.send_request(request + CRLF)


def get(path: str, **options: Any) -> Action:
    return lambda harness: harness.get(path, **options)


def send_until_closed(*data: bytes) -> Action:
    """Sends bytes on a WebSocket, and reads until the gateway closes it."""

    async def act(harness: Harness) -> None:
        client = await harness.open()
        for part in data:
            client.send(part)
        await client.read_all()

    return act


def send_until_error(*data: bytes) -> Action:
    """Sends each part on a WebSocket, and reads the error that answers it."""

    async def act(harness: Harness) -> None:
        client = await harness.open()
        for part in data:
            client.send(part)
            await client.until("error")

    return act


def authenticate_with(make_token: Callable[[], str | None]) -> Action:
    async def act(harness: Harness) -> None:
        await (await harness.client(token=make_token())).until_closed()

    return act


async def send_nothing(harness: Harness) -> None:
    await (await harness.connect()).read_all()


async def send_incomplete_head(harness: Harness) -> None:
    client = await harness.connect()
    client.send(HANDSHAKE_HEAD)
    await client.read_all()


async def open_stream_beyond_limit(harness: Harness) -> None:
    await harness.open()
    await harness.get("/events?account=alice")


async def connect_beyond_limit(harness: Harness) -> None:
    LimiterClock(harness.patch)
    await harness.open(NAMED_HANDSHAKE)
    await harness.send_request(NAMED_HANDSHAKE)


async def connect_when_not_ready(harness: Harness) -> None:
    harness.patch.setattr(lifecycle, "MAX_AUDIT_AGE", -1.0)
    await harness.send_request(HANDSHAKE_HEAD + CRLF)


async def abort_connection(harness: Harness) -> None:
    (await harness.open()).writer.transport.abort()


async def ignore_pings(harness: Harness) -> None:
    client = await harness.connect()
    client.send(HANDSHAKE_HEAD + CRLF)
    client.send(message("auth", token=token()))
    await client.read_all()


async def stop_reading(harness: Harness) -> None:
    overflows = await harness.gateway.counter("client_queue_overflows")
    await harness.opened.enter_async_context(await stalled_reader(harness.gateway.http, harness.projector))
    async with asyncio.timeout(WITHIN):
        while await harness.gateway.counter("client_queue_overflows") == overflows:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.02)
    [connection] = harness.connections
    # A shorter timeout would be less than the interval of TCP retransmissions.
    connection._timeouts = connection._timeouts._replace(write_timeout=2.0)
    await end_ping_intervals(connection)
    await harness.gateway.until_sessions(0)


async def fail_in_message(harness: Harness) -> None:
    client = await harness.open()
    harness.patch.setattr("livebalance.gateway.live.session.Session.receive", None)
    client.send(message("ping"))
    await client.until_closed()


async def fail_in_request(harness: Harness) -> None:
    harness.patch.setattr("livebalance.readmodel.account_pages.list_accounts", None)
    await harness.get("/accounts")


async def exceed_rates_repeatedly(harness: Harness) -> None:
    for _ in range(3):
        client = await harness.open(NAMED_HANDSHAKE)
        client.send(frame(TEXT, b'{"type":"dance","id":1}') * 60)
        await client.until_closed()


async def drain(harness: Harness) -> None:
    # A request that had arrived when the port was closed.
    harness.patch.setattr(app.GatewayServer, "stop_accepting", lambda _: None)
    client = await harness.open()
    stopping = asyncio.create_task(harness.gateway.stop())
    await client.until("goaway")
    await harness.send_request(HANDSHAKE_HEAD + CRLF)
    await client.until_closed()
    await stopping


async def stop_without_drain(harness: Harness) -> None:
    async def skip_drain(*_: object) -> None: ...

    client = await harness.open()
    harness.patch.setattr(connections.Connections, "drain", skip_drain)
    stopping = asyncio.create_task(harness.gateway.stop())
    await client.until_closed()
    await stopping


async def let_token_expire(harness: Harness) -> None:
    await (await harness.client(token=token(seconds=2))).until_closed()


async def revoke_subject(harness: Harness) -> None:
    client = await harness.client(token=token(sub="me"))
    await client.until(lambda: client.of_type("welcome"))
    await harness.revoke(subject="me")
    await client.until_closed()


async def request_with_revoked_token(harness: Harness) -> None:
    await harness.revoke(subject="you")
    async with (
        asyncio.timeout(WITHIN),
        httpx.AsyncClient(base_url=harness.gateway.http, timeout=30) as client,
    ):
        while (await client.get("/api/v1/accounts", headers=bearer(token(sub="you")))).status_code == 200:
            pass


async def revoke_account(harness: Harness) -> None:
    client = await harness.subscribed("revoked")
    await harness.revoke(account=AccountId("revoked"))
    await client.until(lambda: client.of_type("unsubscribed"))


async def unsubscribe(harness: Harness) -> None:
    """Unsubscribes twice, also an account without subscription: a single subscription ends."""
    client = await harness.subscribed("left")
    for _ in range(2):
        request = await client.request("unsubscribe", channels=["account:left", "account:never"])
        await client.until(lambda request=request: request in [frame["id"] for frame in client.of_type("ok")])


async def erase_account(harness: Harness) -> None:
    client = await harness.subscribed("erased")
    await harness.projector.erase("erased")
    await client.until(lambda: client.of_type("unsubscribed"))


async def use_unpublished_key(harness: Harness) -> None:
    """Uses a token of a key that the gateway does not know, but that may be published."""
    harness.patch.setattr("livebalance.gateway.auth.jwks.JwksCache.request_refresh", lambda *_: True)
    new = jwt.encode(claims(), "a secret nobody has heard of until now", "HS256", {"kid": "new"})
    await (await harness.client(token=new)).until_closed()


async def subscribe_without_access(harness: Harness) -> None:
    client = await harness.client(token=token(["bob"]))
    await client.subscribe("alice")
    await client.until(lambda: client.of_type("error"))


async def connect_beyond_user_limit(harness: Harness) -> None:
    first = await harness.client(token=token(sub="me"))
    await first.until(lambda: first.of_type("welcome"))
    await (await harness.client(token=token(sub="me"))).until_closed()


async def subscribe_while_postgres_hangs(harness: Harness) -> None:
    owner = await asyncpg.connect(harness.database.url("owner"))
    async with owner.transaction():
        await owner.execute("lock table balance in access exclusive mode")
        client = await harness.client()
        await client.subscribe("alice")
        await client.until(lambda: client.of_type("error"))
    await owner.close()


async def outlast_revocations(harness: Harness) -> None:
    await harness.open()
    owner = await asyncpg.connect(harness.database.url("owner"))
    async with owner.transaction():
        await owner.execute("lock table revocation in access exclusive mode")
        await harness.gateway.until_sessions(0)
    await owner.close()


async def request_while_postgres_hangs(harness: Harness) -> None:
    harness.patch.setattr("livebalance.gateway.api.queries.QUERY_SECONDS", 0.3)
    owner = await asyncpg.connect(harness.database.url("owner"))
    async with owner.transaction():
        await owner.execute("lock table balance in access exclusive mode")
        await harness.get("/accounts")
    await owner.close()


async def request_two_statements(harness: Harness) -> None:
    bearer_token, path, go = token(), "/accounts/alice/statement", asyncio.Event()
    read = account_pages.read_newer

    async def newer(*args: Any) -> account_pages.AccountPage:
        await go.wait()
        return await read(*args)

    harness.patch.setattr(account_pages, "read_newer", newer)
    await harness.projector.open("alice")
    await harness.projector.transfer("alice", 1)
    url = f"{harness.gateway.http}/api/v1{path}"
    async with (
        httpx.AsyncClient(timeout=30) as client,
        client.stream("GET", url, headers=bearer(bearer_token)) as first,
    ):
        assert first.status_code == 200
        await harness.get(path, bearer_token)
        go.set()
        await first.aread()


async def request_during_another(harness: Harness) -> None:
    bearer_token, reading, go = token(), asyncio.Event(), asyncio.Event()
    read = account_pages.list_accounts

    async def list_accounts(*args: Any, **named: Any) -> account_pages.AccountList:
        reading.set()
        await go.wait()
        return await read(*args, **named)

    harness.patch.setattr(account_pages, "list_accounts", list_accounts)
    first = asyncio.create_task(harness.get("/accounts", bearer_token))
    await reading.wait()
    await harness.get("/accounts", bearer_token)
    go.set()
    await first


async def request_twice(harness: Harness) -> None:
    bearer_token = token()
    LimiterClock(harness.patch)
    for _ in range(2):
        await harness.get("/accounts", bearer_token)


async def wait_for_revision(harness: Harness) -> None:
    harness.patch.setattr(queries, "WAIT_SECONDS", 0.1)
    await harness.get("/accounts/nobody?min_revision=9")


def resume_from(revision: int, epoch: str = "") -> Action:
    async def act(harness: Harness) -> None:
        await harness.projector.open("alice")
        await harness.projector.transfer("alice", 1, 2, 3)
        client = await harness.client()
        await client.subscribe(
            "alice", position={"epoch": epoch or harness.projector.epoch, "revision": revision}
        )
        await client.until_at("alice", 7)

    return act


async def lose_delta(harness: Harness) -> None:
    client = await harness.subscribed("alice")
    harness.projector.silent = True
    await harness.projector.transfer("alice", 1)
    harness.projector.silent = False
    await harness.projector.transfer("alice", 1)
    await client.until_at("alice", 5)


async def publish_header_only(harness: Harness) -> None:
    client = await harness.subscribed("alice")
    delta = await harness.projector.commit("alice", [1, None])
    header = split_delta_frame(delta.text)._replace(balance=b"", transfers=b"")
    await harness.projector.publish("alice", make_delta(AccountId("alice"), delta.lane, header))
    await client.until_at("alice", 3)


async def lose_last_delta(harness: Harness) -> None:
    """Loses a delta that only an audit can find."""
    client = await harness.subscribed("alice")
    harness.projector.silent = True
    await harness.projector.transfer("alice", 1)
    await client.until_at("alice", 3)


async def change_epoch(harness: Harness) -> None:
    client = await harness.subscribed("alice")
    await harness.projector.change_epoch("00000000000000b2")
    await client.until(lambda: position_of(client.shown["alice"])["epoch"] == harness.projector.epoch)


async def lose_commit(harness: Harness) -> None:
    """Makes Postgres lose a commit whose delta was sent to clients."""
    client = await harness.subscribed("alice")
    audits = HeldAudits(harness.patch, allowed=0)
    await audits.until_held()  # an audit during the commit finds its account ahead
    await harness.projector.transfer("alice", 1)
    await client.until_at("alice", 3)
    await harness.projector.execute("update balance set revision = 2 where account_id = 'alice'")
    audits.allow_next()
    await client.until_at("alice", 2)


async def lose_many_deltas(harness: Harness) -> None:
    client = await harness.subscribed("alice")
    harness.projector.silent = True
    await harness.projector.transfer("alice", *range(5))
    harness.projector.silent = False
    await harness.projector.transfer("alice", 1)
    await client.until_at("alice", 13)


async def overflow_pending_deltas(harness: Harness) -> None:
    """Publishes more deltas during a repair than the channel keeps."""
    client = await harness.subscribed("alice")
    harness.patch.setattr(channel, "MAX_BUFFERED_BYTES", 10)
    _, second, third = [await harness.projector.commit("alice", [1, None]) for _ in range(3)]
    owner = await asyncpg.connect(harness.database.url("owner"))
    async with owner.transaction(), asyncio.timeout(WITHIN):
        await owner.execute("lock table balance in access exclusive mode")
        for delta in (second, third):  # the first is missing, so the gateway reads Postgres, which hangs
            received = REGISTRY.get_sample_value("livebalance_gateway_received_deltas_total") or 0
            await harness.projector.publish("alice", delta)
            while REGISTRY.get_sample_value("livebalance_gateway_received_deltas_total") == received:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    await client.until_at("alice", 7)
    await owner.close()


async def publish_forged_content(harness: Harness) -> None:
    """Publishes another transfer at the revision of a real transfer."""
    client = await harness.subscribed("alice")
    audits = HeldAudits(harness.patch, allowed=0)
    await audits.until_held()
    await harness.projector.publish("alice", forged(await harness.projector.commit("alice", [1, None])))
    await client.until_at("alice", 3)
    audits.allow_next()
    await client.until(lambda: len(client.of_type("snapshot")) == 2)


def forged(delta: Delta) -> Delta:
    """Returns the delta with another amount in its first transfer."""
    parts = split_delta_frame(delta.text)
    first, *rest = json.decode(b"[%b]" % parts.transfers, type=list[TransferView])
    transfers = transfers_json([replace(first, amount="999999.00"), *rest])
    return make_delta(AccountId("alice"), delta.lane, parts._replace(transfers=transfers))


async def publish_progress_with_another_key(harness: Harness) -> None:
    harness.projector.key = SigningKey("the secret of another deployment")
    await harness.projector.publish_progress(0, behind=True)


async def publish_invalid_delta(harness: Harness) -> None:
    await harness.subscribed("alice")
    await harness.projector.publish_raw("alice", b"invalid")


async def publish_invalid_progress(harness: Harness) -> None:
    await harness.projector.publish_to_lane(0, b"invalid")


async def limit_rate(harness: Harness) -> None:
    quick = await harness.subscribed("alice")
    client = await harness.client()
    await client.subscribe("alice")
    await client.until_at("alice", 1)
    await client.request("rate", max_per_second=0.001)
    await harness.projector.transfer("alice", 1)
    await client.until_at("alice", 3)
    for number in range(5):
        await harness.projector.transfer("alice", number)
    await quick.until_at("alice", 13)
    await client.request("rate", max_per_second=None)
    await client.until_at("alice", 13)
