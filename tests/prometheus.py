"""Runs the Prometheus and the promtool that are installed on this machine."""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from livebalance.stack.paths import free_port
from livebalance.stack.process.process import ChildProcess, bare_environment

INTERVAL = "500ms"  # of scrapes and of the evaluation of rules


def binary(name: str) -> str:
    """Returns the path of `prometheus` or `promtool`. Without it the test is skipped; in CI it fails."""
    path = shutil.which(name)
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"skipped: {name} is not installed (Debian: the package prometheus)"
        )
    return path


def promtool(*words: str | Path) -> None:
    """Runs promtool. If it fails, the test fails with its output."""
    result = subprocess.run(
        [binary("promtool"), *map(str, words)], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def shorten(rules: str) -> str:
    """Returns the rules with each `for` set to one second."""
    return re.sub(r"^( +for:) \w+$", r"\1 1s", rules, flags=re.MULTILINE)


class Prometheus:
    """A Prometheus on loopback, with these rules, that scrapes these ports."""

    def __init__(self, directory: Path, rules: str, ports: Iterable[int]) -> None:
        (directory / "rules.yml").write_text(rules)
        targets = [f"127.0.0.1:{port}" for port in ports]
        configuration = {
            "global": {
                "scrape_interval": INTERVAL,
                "scrape_timeout": INTERVAL,
                "evaluation_interval": INTERVAL,
            },
            "rule_files": ["rules.yml"],
            "scrape_configs": [{"job_name": "livebalance", "static_configs": [{"targets": targets}]}],
        }
        (directory / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        port = free_port()
        options = {
            "config.file": directory / "prometheus.yml",
            "storage.tsdb.path": directory / "data",
            "web.listen-address": f"127.0.0.1:{port}",
            "log.level": "warn",
        }
        arguments = [f"--{name}={value}" for name, value in options.items()]
        log = directory / "prometheus.log"
        self.child = ChildProcess("prometheus", [binary("prometheus"), *arguments], log, bare_environment())
        self._client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30)

    async def start(self) -> None:
        """Starts Prometheus, and waits until it is ready."""
        self.child.start()
        async with asyncio.timeout(30):
            while not await self._is_ready():  # noqa: ASYNC110 - no event to wait for
                await asyncio.sleep(0.05)

    async def _is_ready(self) -> bool:
        assert self.child.pid, self.child.tail()
        try:
            return (await self._client.get("/-/ready")).status_code == 200
        except httpx.TransportError:
            return False

    async def stop(self) -> None:
        await self._client.aclose()
        self.child.stop()

    async def query(self, query: str) -> Sequence[dict[str, Any]]:
        """Returns the present result of a PromQL query. Raises httpx.HTTPStatusError."""
        response = await self._client.get("/api/v1/query", params={"query": query})
        response.raise_for_status()
        result: Sequence[dict[str, Any]] = response.json()["data"]["result"]
        return result

    async def firing_alerts(self) -> set[str]:
        """Returns the names of the alerts that fire."""
        response = await self._client.get("/api/v1/alerts")
        alerts = response.raise_for_status().json()["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}
