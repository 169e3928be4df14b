"""A projector is ready while it advances: its lanes are claimed, and none is halted."""

import asyncio
import signal

import httpx

from livebalance.stack.paths import free_port
from tests.integration.projector.pipeline import Pipeline, wait_until

OWNERS = "select count(distinct owner)::int from lane"
READY = (200, "ok\n")


async def wait_for_answer(port: int, path: str, expected: tuple[int, str]) -> None:
    """Waits until a probe answers as expected."""
    async with (
        asyncio.timeout(30),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        while True:
            answer = await client.get(path)
            if (answer.status_code, answer.text) == expected:
                return


async def test_projector_without_an_assignment_is_not_ready(pipeline: Pipeline) -> None:
    """A stopped member delays the assignment until its session ends."""
    async with pipeline.running(session_timeout_ms=10_000) as projector:
        paused = pipeline.start("projector-2", session_timeout_ms=10_000)
        await pipeline.wait_for(OWNERS, 2)
        await wait_until(lambda: projector.unready_reason() is None)
        paused.send(signal.SIGSTOP)
        pipeline.start("projector-3", session_timeout_ms=10_000)
        await wait_until(lambda: projector.unready_reason() == "no assignment from the group yet")
        await wait_until(lambda: projector.unready_reason() is None)


async def test_projector_beyond_the_number_of_lanes_is_ready(pipeline: Pipeline) -> None:
    ports = [free_port() for _ in range(pipeline.topics.partitions + 1)]
    children = [pipeline.start(f"projector-{port}", http_port=port) for port in ports]
    await pipeline.wait_for(OWNERS, pipeline.topics.partitions)
    for port in ports:
        await wait_for_answer(port, "/readyz", READY)
    await wait_until(lambda: any("no lanes assigned" in line for child in children for line in child.tail()))


async def test_projector_with_a_halted_lane_is_not_ready_until_it_continues(pipeline: Pipeline) -> None:
    port = free_port()
    pipeline.start(max_consecutive_rejects=0, http_port=port)
    await pipeline.wait_for(OWNERS, 1)
    await wait_for_answer(port, "/readyz", READY)
    await pipeline.write_raw(pipeline.topics.transfers, b"alice", b"bad", 1)
    topic = pipeline.topics.transfers
    reason = f"lane 1 is halted: more than 0 consecutive records of {topic} were rejected\n"
    await wait_for_answer(port, "/readyz", (503, reason))
    await wait_for_answer(port, "/readyz?exclude=halted", READY)  # a rollout goes on
    await pipeline.query("update lane set halted_why = null, transfers_next = 1 where lane = 1")
    await wait_for_answer(port, "/readyz", READY)
