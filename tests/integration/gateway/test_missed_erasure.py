"""An account is erased and lives again while a gateway or a client misses messages.

Whatever was shown before the erasure is replaced, however the account is recovered.
"""

import asyncio

from livebalance.gateway.server.websocket import WebSocketConnection
from tests.integration.gateway.conftest import StartGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.held_audits import HeldAudits
from tests.integration.gateway.narrow_socket import narrow_socket
from tests.integration.gateway.sse_client import SseClient
from tests.integration.gateway.test_resume import resumed, shown_at
from tests.integration.gateway.test_subscribe import assert_shows
from tests.integration.gateway.websocket_client import WebSocketClient


async def erase_and_open_again(projector: FakeProjector) -> None:
    """Erases `alice`, and writes new transfers, without a message in Redis."""
    projector.silent = True
    await projector.erase("alice")
    await projector.write({"alice": [None, 7, None]})
    projector.silent = False


async def test_gateway_that_missed_an_erasure_replaces_what_its_clients_show(
    start_gateway: StartGateway, projector: FakeProjector, audits: HeldAudits
) -> None:
    gateway = await start_gateway(audit_interval_seconds=0.2)
    await projector.open("alice")
    await projector.transfer("alice", 1, 2)
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice")
        await client.until_at("alice", 5)
        await erase_and_open_again(projector)
        audits.allow_next()
        assert_shows(await client.until_at("alice", 9), projector.account("alice"))
        assert [frame["reason"] for frame in client.of_type("snapshot")] == ["subscribed", "ahead"]
        await projector.transfer("alice", 8)
        assert_shows(await client.until_at("alice", 11), projector.account("alice"))


async def test_delta_after_a_missed_erasure_replaces_what_clients_show(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(audit_interval_seconds=3600.0)  # none between the erasure and what follows
    await projector.open("alice")
    await projector.transfer("alice", 1, 2)
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice")
        await client.until_at("alice", 5)
        await erase_and_open_again(projector)
        await projector.transfer("alice", 8)
        assert_shows(await client.until_at("alice", 11), projector.account("alice"))


async def test_resume_from_before_an_erasure_gets_a_snapshot(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(audit_interval_seconds=3600.0)  # none between the erasure and what follows
    await projector.open("alice")
    await projector.transfer("alice", 1, 2)
    shown = await shown_at(gateway, "alice", 5)
    await erase_and_open_again(projector)
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice", position=resumed(client, "alice", shown))
        assert_shows(await client.until_at("alice", 9), projector.account("alice"))
        assert client.of_type("snapshot")[0]["reason"] == "ahead"


async def test_stream_resumed_from_before_an_erasure_gets_a_snapshot(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(audit_interval_seconds=3600.0)  # none between the erasure and what follows
    await projector.open("alice")
    await projector.transfer("alice", 1, 2)
    async with SseClient(gateway.http, "alice") as stream:
        await stream.until_at("alice", 5)
    await erase_and_open_again(projector)
    async with SseClient(
        gateway.http, "alice", last_event_id=stream.last_event_id, shown=stream.shown
    ) as again:
        assert_shows(await again.until_at("alice", 9), projector.account("alice"))
        assert again.of_type("snapshot")[0]["reason"] == "ahead"


async def test_client_that_reads_late_learns_of_an_erasure_before_much_other_data(
    start_gateway: StartGateway, projector: FakeProjector, connections: list[WebSocketConnection]
) -> None:
    """More data follows than waits for a client. All that waits is dropped, and read again if it can be."""
    gateway = await start_gateway(send_buffer_bytes=8192, client_queue_bytes=16_384)
    await projector.open("alice", "busy")
    async with WebSocketClient(gateway.ws, sock=narrow_socket(gateway.http)) as late:
        await late.subscribe("alice", "busy")
        await late.until(lambda: len(late.shown) == 2)
        [connection] = connections
        late.reading.clear()
        session = connection._session
        assert session
        async with asyncio.timeout(60):
            while not session.outbox.size:
                await projector.transfer("busy", *[1] * 20)
            await projector.erase("alice")
            while "alice" in session.subscriptions:  # noqa: ASYNC110 - a subscription has no event
                await asyncio.sleep(0.01)
            overflows = await gateway.counter("client_queue_overflows")
            while await gateway.counter("client_queue_overflows") == overflows:
                await projector.transfer("busy", *[1] * 20)
        late.reading.set()
        shown = await late.until_at("busy", projector.account("busy").revision)
        assert_shows(shown, projector.account("busy"))
        assert [frame["channel"] for frame in late.of_type("unsubscribed")] == ["account:alice"]
