"""The HTTP server for probes and metrics."""

import asyncio
import os

import httpx
import pytest

from livebalance.runtime.process import health
from livebalance.stack.paths import PROJECT, free_port


async def test_server_answers_probes_and_metrics() -> None:
    reason: str | None = None
    port, stopping = free_port(), asyncio.Event()
    async with (
        health.run_server(("127.0.0.1", port), stopping, live=lambda: None, ready=lambda: reason),
        httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=5), timeout=30) as http,
    ):
        root = f"http://127.0.0.1:{port}"
        assert (await http.get(f"{root}/livez")).status_code == 200
        assert (await http.get(f"{root}/readyz")).status_code == 200
        reason = "no lanes claimed"
        answer = await http.get(f"{root}/readyz")
        assert (answer.status_code, answer.text) == (503, "no lanes claimed\n")
        reason = None
        stopping.set()
        answer = await http.get(f"{root}/readyz")
        assert (answer.status_code, answer.text) == (503, "stopping\n")
        assert (await http.get(f"{root}/livez")).status_code == 200
        assert "python_info" in (await http.get(f"{root}/metrics")).text
        assert (await http.get(f"{root}/other")).status_code == 404


async def test_server_with_port_0_does_not_listen() -> None:
    async with health.run_server(("127.0.0.1", 0), asyncio.Event(), live=lambda: None, ready=lambda: None):
        pass


@pytest.mark.parametrize(
    "ports", [{"HTTP": "{port}"}, {"HTTP": "1", "OPERATIONS": "{port}"}], ids=["projector", "gateway"]
)
async def test_health_check_of_containers_exits_with_0_only_if_the_service_is_ready(
    ports: dict[str, str],
) -> None:
    reason: str | None = None
    port = free_port()

    async def exit_code() -> int:
        variables = {f"LIVEBALANCE_{name}_PORT": text.format(port=port) for name, text in ports.items()}
        environment = {**os.environ, **variables}
        process = await asyncio.create_subprocess_exec(PROJECT / "deploy" / "ready", env=environment)
        return await asyncio.wait_for(process.wait(), 30)

    assert await exit_code() == 1  # no service listens
    async with health.run_server(
        ("127.0.0.1", port), asyncio.Event(), live=lambda: None, ready=lambda: reason
    ):
        assert await exit_code() == 0
        reason = "no lanes claimed"
        assert await exit_code() == 1
