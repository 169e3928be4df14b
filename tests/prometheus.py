"""Prometheus and its tool, as this machine has them."""

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

EVERY = "500ms"  # it scrapes and looks at its rules


def found(name: str) -> str:
    """Path of `prometheus` or `promtool`. Without it the test is left out, and says so; in CI it fails."""
    path = shutil.which(name)
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"left out: no {name} here (Debian: the package prometheus)"
        )
    return path


def promtool(*words: str | Path) -> None:
    """Fails with what it prints."""
    answer = subprocess.run(
        [found("promtool"), *map(str, words)], capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def hurried(rules: str) -> str:
    """The same rules, but each has to hold for a second only."""
    return re.sub(r"^( +for:) \w+$", r"\1 1s", rules, flags=re.MULTILINE)


class Prometheus:
    """On loopback, with rules, for processes at these ports."""

    def __init__(self, directory: Path, rules: str, ports: Iterable[int]) -> None:
        (directory / "rules.yml").write_text(rules)
        targets = [f"127.0.0.1:{port}" for port in ports]
        configuration = {
            "global": {"scrape_interval": EVERY, "scrape_timeout": EVERY, "evaluation_interval": EVERY},
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
        words = [f"--{name}={value}" for name, value in options.items()]
        log = directory / "prometheus.log"
        self.child = ChildProcess("prometheus", [found("prometheus"), *words], log, bare_environment())
        self._client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10)

    async def start(self) -> None:
        """Ready when it returns."""
        self.child.start()
        async with asyncio.timeout(20):
            while not await self._is_ready():  # noqa: ASYNC110 - HTTP tells only who asks
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

    async def ask(self, query: str) -> Sequence[dict[str, Any]]:
        """What PromQL gives now. Raises httpx.HTTPStatusError."""
        answer = await self._client.get("/api/v1/query", params={"query": query})
        answer.raise_for_status()
        result: Sequence[dict[str, Any]] = answer.json()["data"]["result"]
        return result

    async def firing(self) -> set[str]:
        """The names of alerts."""
        answer = await self._client.get("/api/v1/alerts")
        alerts = answer.raise_for_status().json()["data"]["alerts"]
        return {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"}
