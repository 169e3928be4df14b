"""What a process shows at /metrics, as Prometheus reads it."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


class Scrape:
    """`samples`: all of them. `types`: of each family of ours, by the name its samples have."""

    def __init__(self, text: str) -> None:
        families = [one for one in text_string_to_metric_families(text) if not one.name.endswith("_created")]
        self.samples: list[Sample] = [sample for one in families for sample in one.samples]
        self.types = {
            f"{one.name}_total" if one.type == "counter" else one.name: one.type
            for one in families
            if one.name.startswith("livebalance_")
        }

    def of(self, name: str, **labels: str) -> Iterator[Sample]:
        """The series of that name that have these labels, and perhaps others."""
        return (one for one in self.samples if one.name == name and labels.items() <= one.labels.items())

    def sum(self, name: str, **labels: str) -> float:
        """Over these series; there must be one."""
        found = [one.value for one in self.of(name, **labels)]
        assert found, f"no {name} {labels}"
        return sum(found)


async def scrape(url: str) -> Scrape:
    """`url`: of the process."""
    async with httpx.AsyncClient(timeout=10) as client:
        return Scrape((await client.get(f"{url}/metrics")).text)


async def shows(url: str, is_so: Callable[[Scrape], bool], seconds: float = 20.0) -> Scrape:
    """Scrapes until it is so; who does not answer yet is asked again. Raises AssertionError."""
    shown: list[Sample] = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    found = await scrape(url)
                    if is_so(found):
                        return found
                    shown = [
                        one for one in found.samples if one.value and one.name.startswith("livebalance_")
                    ]
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"it does not come to be so: {shown}") from None
