"""Who may come in, and how often those inside may ask; a neighbour notices nothing of who may not."""

import asyncio
import json
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.integration.gateway.book import Book
from tests.integration.gateway.conftest import Running, StartGateway
from tests.integration.gateway.viewer import Viewer


def by(address: str) -> dict[str, Any]:
    """What our balancer says of a client."""
    return {"additional_headers": {"X-Forwarded-For": f"203.0.113.99, {address}"}}


async def turned(gateway: Running, address: str) -> tuple[int, int]:
    """Status, and seconds to stay away."""
    with pytest.raises(InvalidStatus) as refused:
        await Viewer(gateway.ws, **by(address)).__aenter__()
    response = refused.value.response
    return response.status_code, int(response.headers["Retry-After"])


async def test_an_address_has_its_number_and_the_others_come_in(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(sockets_per_address=2, sockets=4)
    async with Viewer(gateway.ws, **by("10.0.0.1")), Viewer(gateway.ws, **by("10.0.0.1")) as second:
        assert await turned(gateway, "10.0.0.1") == (429, 10)
        async with Viewer(gateway.ws, **by("10.0.0.2")), Viewer(gateway.ws, **by("10.0.0.3")):
            assert await turned(gateway, "10.0.0.4") == (503, 10)
            await second.ask("ping")
            await second.until(lambda: second.of_type("ok"))
    await gateway.until_sessions(0)
    async with Viewer(gateway.ws, **by("10.0.0.1")) as again:
        await again.until(lambda: again.of_type("welcome"))


async def test_only_a_proxy_of_ours_is_believed(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(sockets_per_address=1, proxies=())
    async with Viewer(gateway.ws, **by("10.0.0.1")):
        assert (await turned(gateway, "10.0.0.2"))[0] == 429


async def test_an_address_that_comes_too_fast_is_told_when_to_come(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(new_sockets_per_address=0.5)
    async with Viewer(gateway.ws, **by("10.0.0.1")):
        assert await turned(gateway, "10.0.0.1") == (429, 2)
        async with Viewer(gateway.ws, **by("10.0.0.2")) as other:
            await other.until(lambda: other.of_type("welcome"))


async def test_a_flood_of_messages_ends_its_own_socket_only(gateway: Running, book: Book) -> None:
    await book.open("alice")
    async with Viewer(gateway.ws) as neighbour:
        await neighbour.follow("alice")
        await neighbour.until_at("alice", 1)
        codes = []
        for _ in range(3):
            async with Viewer(gateway.ws) as flood:
                pings = json.dumps({"type": "ping", "id": 1})
                sending = asyncio.gather(*(flood.send(pings) for _ in range(60)), return_exceptions=True)
                code, reason = await flood.until_closed()
                await sending
                warned = flood.of_type("error")
                assert {one["code"] for one in warned} == {"rate_limited"}
                assert all(one["temporary"] and one["retry_after_ms"] > 0 for one in warned)
                codes.append((code, json.loads(reason)["code"]))
        assert codes == [(4013, "rate_limited"), (4013, "rate_limited"), (4509, "abuse")]
        await book.move("alice", 5)
        await neighbour.until_at("alice", 3)
        assert [one["type"] for one in neighbour.frames if one["type"] not in ("status", "heartbeat")] == [
            "welcome",
            "ok",
            "snapshot",
            "delta",
        ]
