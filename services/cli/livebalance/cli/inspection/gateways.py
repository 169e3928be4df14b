"""Asks gateways on their operations ports: whether they are ready, and how many clients they serve."""

import asyncio
import re
from collections.abc import Iterable
from typing import NamedTuple

import httpx

_TIMEOUT_SECONDS = 20.0  # as long as `status` waits for Kafka
_METRIC = re.compile(r"^livebalance_gateway_(sessions|stale_seconds) (\S+)$", re.MULTILINE)


class GatewayStatus(NamedTuple):
    """A gateway; `problem` says why it is not ready or does not answer."""

    url: str
    ready: bool
    sessions: int | None = None
    stale_seconds: float | None = None
    problem: str | None = None


async def read_gateways(urls: Iterable[str]) -> list[GatewayStatus]:
    """Returns the state of each gateway, by the URL of its operations port."""
    async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False) as http:
        return await asyncio.gather(*(_read(http, url.rstrip("/")) for url in urls))


async def _read(http: httpx.AsyncClient, url: str) -> GatewayStatus:
    try:
        ready = await http.get(f"{url}/readyz")
        metrics = await http.get(f"{url}/metrics")
        values = {name: float(value) for name, value in _METRIC.findall(metrics.text)}
        sessions = int(values["sessions"]) if "sessions" in values else None
    except (httpx.RequestError, httpx.InvalidURL, ValueError, OverflowError, ExceptionGroup) as cause:
        return GatewayStatus(url, ready=False, problem=str(cause) or type(cause).__name__)
    problem = None if ready.is_success else " ".join(ready.text.split())[:200]
    return GatewayStatus(url, ready.is_success, sessions, values.get("stale_seconds"), problem)
