"""The doors of a service that has no other."""

import asyncio
import os
import socket
import sys

import httpx

from livebalance.runtime.process import health, ready


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_live_ready_and_metrics() -> None:
    trouble: str | None = None
    port, stopping = free_port(), asyncio.Event()
    async with (
        health.serving(("127.0.0.1", port), stopping, live=lambda: None, ready=lambda: trouble),
        httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=5)) as http,
    ):
        root = f"http://127.0.0.1:{port}"
        assert (await http.get(f"{root}/livez")).status_code == 200
        assert (await http.get(f"{root}/readyz")).status_code == 200
        trouble = "Postgres is away"
        answer = await http.get(f"{root}/readyz")
        assert (answer.status_code, answer.text) == (503, "Postgres is away\n")
        trouble = None
        stopping.set()
        answer = await http.get(f"{root}/readyz")
        assert (answer.status_code, answer.text) == (503, "stopping\n")
        assert (await http.get(f"{root}/livez")).status_code == 200
        assert "python_info" in (await http.get(f"{root}/metrics")).text
        assert (await http.get(f"{root}/other")).status_code == 404


async def test_port_0_opens_nothing() -> None:
    async with health.serving(("127.0.0.1", 0), asyncio.Event(), live=lambda: None, ready=lambda: None):
        pass


async def test_who_is_ready_says_so_by_an_exit_code() -> None:
    trouble: str | None = None
    port = free_port()

    async def code() -> int:
        told = {**os.environ, "LIVEBALANCE_HTTP_PORT": str(port)}
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", ready.__name__, env=told)
        return await asyncio.wait_for(process.wait(), 20)

    assert await code() == 1  # nobody is there
    async with health.serving(("127.0.0.1", port), asyncio.Event(), live=lambda: None, ready=lambda: trouble):
        assert await code() == 0
        trouble = "Postgres is away"
        assert await code() == 1
