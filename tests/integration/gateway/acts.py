"""What can happen to a gateway: one act for each thing, on a stage."""

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import httpx
import jwt
from prometheus_client import REGISTRY

from livebalance.gateway import lifecycle, relay
from livebalance.gateway.api import queries
from livebalance.gateway.live import channel
from livebalance.readmodel import gateway_reads
from livebalance.wire.delta import make_delta, split_delta_frame
from livebalance.wire.identity import AccountId
from tests.integration.gateway.bad_input.raw import END, TEXT, UPGRADE, frame, message
from tests.integration.gateway.listener import Listener
from tests.integration.gateway.sleeper import sleeper
from tests.integration.gateway.stage import WITHIN, Act, Stage
from tests.integration.gateway.viewer import position
from tests.tokens import bearer, claims, token


async def streamed(stage: Stage) -> None:
    await stage.book.open("alice")
    async with Listener(stage.gateway.http, "alice") as one:
        await one.until_at("alice", 1)


async def stream_of_nothing(stage: Stage) -> None:
    async with Listener(stage.gateway.http, "alice", shows=token([])) as one:
        await one.until_end()


def asks(request: bytes) -> Act:
    return lambda stage: stage.talk(request + END)


def gets(path: str, **options: Any) -> Act:
    return lambda stage: stage.get(path, **options)


def sends(*data: bytes) -> Act:
    """And reads until it is closed."""

    async def act(stage: Stage) -> None:
        one = await stage.open()
        for some in data:
            one.send(some)
        await one.rest()

    return act


def says(*data: bytes) -> Act:
    """And is answered."""

    async def act(stage: Stage) -> None:
        one = await stage.open()
        for some in data:
            one.send(some)
            await one.until("error")

    return act


def shows(given: Callable[[], str | None]) -> Act:
    async def act(stage: Stage) -> None:
        await (await stage.viewer(shows=given())).until_closed()

    return act


async def silence(stage: Stage) -> None:
    await (await stage.connect()).rest()


async def half_a_head(stage: Stage) -> None:
    one = await stage.connect()
    one.send(UPGRADE)
    await one.rest()


async def a_stream_too_many(stage: Stage) -> None:
    await stage.open()
    await stage.get("/events?account=alice")


async def one_more(stage: Stage) -> None:
    await stage.open()
    await stage.talk(UPGRADE + END)


async def not_ready(stage: Stage) -> None:
    stage.patch.setattr(lifecycle, "AUDITED_WITHIN", -1.0)
    await stage.talk(UPGRADE + END)


async def away(stage: Stage) -> None:
    (await stage.open()).writer.transport.abort()


async def no_pong(stage: Stage) -> None:
    one = await stage.connect()
    one.send(UPGRADE + END)
    one.send(message("auth", token=token()))
    await one.rest()


async def no_progress(stage: Stage) -> None:
    await stage.opened.enter_async_context(await sleeper(stage.gateway.http, stage.book))
    await stage.gateway.until_sessions(0)


async def a_bug(stage: Stage) -> None:
    one = await stage.open()
    stage.patch.setattr("livebalance.gateway.live.session.Session.receive", None)
    one.send(message("ping"))
    await one.closed()


async def a_bug_of_a_request(stage: Stage) -> None:
    stage.patch.setattr("livebalance.readmodel.gateway_reads.listed", None)
    await stage.get("/accounts")


async def abuse(stage: Stage) -> None:
    for _ in range(3):
        one = await stage.open()
        one.send(frame(TEXT, b'{"type":"dance","id":1}') * 60)
        await one.closed()


async def drained(stage: Stage) -> None:
    one = await stage.open()
    stopping = asyncio.create_task(stage.gateway.stop())
    await one.until("goaway")
    await stage.talk(UPGRADE + END)
    await one.closed()
    await stopping


async def stopped(stage: Stage) -> None:
    """Without having been asked to leave."""

    async def at_once(*_: object) -> None: ...

    one = await stage.open()
    stage.patch.setattr(relay.Relay, "drain", at_once)
    stopping = asyncio.create_task(stage.gateway.stop())
    await one.closed()
    await stopping


async def expired(stage: Stage) -> None:
    await (await stage.viewer(shows=token(seconds=2))).until_closed()


async def subject_revoked(stage: Stage) -> None:
    viewer = await stage.viewer(shows=token(sub="me"))
    await viewer.until(lambda: viewer.of_type("welcome"))
    await stage.taken_back(subject="me")
    await viewer.until_closed()


async def revoked_request(stage: Stage) -> None:
    await stage.taken_back(subject="you")
    async with asyncio.timeout(WITHIN), httpx.AsyncClient(base_url=stage.gateway.http) as client:
        while (await client.get("/api/v1/accounts", headers=bearer(token(sub="you")))).status_code == 200:
            pass


async def account_revoked(stage: Stage) -> None:
    viewer = await stage.following("revoked")
    await stage.taken_back(account=AccountId("revoked"))
    await viewer.until(lambda: viewer.of_type("unsubscribed"))


async def left(stage: Stage) -> None:
    """Twice, and another that was never followed: one subscription ends."""
    viewer = await stage.following("left")
    for _ in range(2):
        asked = await viewer.ask("unsubscribe", channels=["account:left", "account:never"])
        await viewer.until(lambda asked=asked: asked in [one["id"] for one in viewer.of_type("ok")])


async def erased(stage: Stage) -> None:
    viewer = await stage.following("erased")
    await stage.book.erase("erased")
    await viewer.until(lambda: viewer.of_type("unsubscribed"))


async def a_new_key(stage: Stage) -> None:
    """It may be published, and is not known here."""
    stage.patch.setattr("livebalance.gateway.auth.jwks.JwksCache.may_come", lambda *_: True)
    new = jwt.encode(claims(), "a secret nobody has heard of until now", "HS256", {"kid": "new"})
    await (await stage.viewer(shows=new)).until_closed()


async def no_access(stage: Stage) -> None:
    viewer = await stage.viewer(shows=token(["bob"]))
    await viewer.follow("alice")
    await viewer.until(lambda: viewer.of_type("error"))


async def too_many_of_a_user(stage: Stage) -> None:
    first = await stage.viewer(shows=token(sub="me"))
    await first.until(lambda: first.of_type("welcome"))
    await (await stage.viewer(shows=token(sub="me"))).until_closed()


async def locked_out(stage: Stage) -> None:
    """Postgres does not answer."""
    owner = await asyncpg.connect(stage.database.url("owner"))
    async with owner.transaction():
        await owner.execute("lock table balance in access exclusive mode")
        viewer = await stage.viewer()
        await viewer.follow("alice")
        await viewer.until(lambda: viewer.of_type("error"))
    await owner.close()


async def locked_request(stage: Stage) -> None:
    stage.patch.setattr("livebalance.gateway.api.queries.QUERY_SECONDS", 0.3)
    owner = await asyncpg.connect(stage.database.url("owner"))
    async with owner.transaction():
        await owner.execute("lock table balance in access exclusive mode")
        await stage.get("/accounts")
    await owner.close()


async def second_statement(stage: Stage) -> None:
    given, path, go = token(), "/accounts/alice/statement", asyncio.Event()
    read = gateway_reads.newer

    async def newer(*some: Any) -> gateway_reads.AccountPage:
        await go.wait()
        return await read(*some)

    stage.patch.setattr(gateway_reads, "newer", newer)
    await stage.book.open("alice")
    await stage.book.move("alice", 1)
    url = f"{stage.gateway.http}/api/v1{path}"
    async with httpx.AsyncClient() as client, client.stream("GET", url, headers=bearer(given)) as first:
        assert first.status_code == 200
        await stage.get(path, given)
        go.set()
        await first.aread()


async def in_vain(stage: Stage) -> None:
    stage.patch.setattr(queries, "WAIT_SECONDS", 0.1)
    await stage.get("/accounts/nobody?min_revision=9")


def from_position(revision: int, epoch: str = "") -> Act:
    async def act(stage: Stage) -> None:
        await stage.book.open("alice")
        await stage.book.move("alice", 1, 2, 3)
        viewer = await stage.viewer()
        await viewer.follow("alice", at={"epoch": epoch or stage.book.epoch, "revision": revision})
        await viewer.until_at("alice", 7)

    return act


async def a_gap(stage: Stage) -> None:
    viewer = await stage.following("alice")
    stage.book.deaf = True
    await stage.book.move("alice", 1)
    stage.book.deaf = False
    await stage.book.move("alice", 1)
    await viewer.until_at("alice", 5)


async def a_header(stage: Stage) -> None:
    viewer = await stage.following("alice")
    delta = await stage.book.commit("alice", [1, None])
    alone = split_delta_frame(delta.text)._replace(balance=b"", transfers=b"")
    await stage.book.publish("alice", make_delta(AccountId("alice"), delta.lane, alone))
    await viewer.until_at("alice", 3)


async def a_loss(stage: Stage) -> None:
    """It is found by an audit."""
    viewer = await stage.following("alice")
    stage.book.deaf = True
    await stage.book.move("alice", 1)
    await viewer.until_at("alice", 3)


async def another_epoch(stage: Stage) -> None:
    viewer = await stage.following("alice")
    await stage.book.change_epoch("00000000000000b2")
    await viewer.until(lambda: position(viewer.shown["alice"])["epoch"] == stage.book.epoch)


async def gone_back(stage: Stage) -> None:
    """Postgres has less than was relayed."""
    viewer = await stage.following("alice")
    await stage.book.move("alice", 1)
    await viewer.until_at("alice", 3)
    await stage.book.execute("update balance set revision = 2 where account_id = 'alice'")
    await viewer.until_at("alice", 2)


async def pages(stage: Stage) -> None:
    viewer = await stage.following("alice")
    stage.book.deaf = True
    await stage.book.move("alice", *range(5))
    stage.book.deaf = False
    await stage.book.move("alice", 1)
    await viewer.until_at("alice", 13)


async def too_much_meanwhile(stage: Stage) -> None:
    """What comes while Postgres is asked is more than is kept."""
    viewer = await stage.following("alice")
    stage.patch.setattr(channel, "KEPT_BYTES", 10)
    _, second, third = [await stage.book.commit("alice", [1, None]) for _ in range(3)]
    owner = await asyncpg.connect(stage.database.url("owner"))
    async with owner.transaction(), asyncio.timeout(WITHIN):
        await owner.execute("lock table balance in access exclusive mode")
        for delta in (second, third):  # the first is missing: Postgres is asked, and has to wait
            heard = REGISTRY.get_sample_value("livebalance_gateway_received_deltas_total") or 0
            await stage.book.publish("alice", delta)
            while REGISTRY.get_sample_value("livebalance_gateway_received_deltas_total") == heard:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    await viewer.until_at("alice", 7)
    await owner.close()


async def no_delta(stage: Stage) -> None:
    await stage.following("alice")
    await stage.book.publish_raw("alice", b"none of ours")


async def no_progress_of_a_lane(stage: Stage) -> None:
    await stage.book.publish_to_lane(0, b"none of ours")


async def seldom(stage: Stage) -> None:
    quick = await stage.following("alice")
    viewer = await stage.viewer()
    await viewer.follow("alice")
    await viewer.until_at("alice", 1)
    await viewer.ask("rate", max_per_second=0.02)
    await stage.book.move("alice", 1)
    await viewer.until_at("alice", 3)
    for number in range(5):
        await stage.book.move("alice", number)
    await quick.until_at("alice", 13)
    await viewer.ask("rate", max_per_second=None)
    await viewer.until_at("alice", 13)
