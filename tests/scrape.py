"""Reads the metrics of a process, like Prometheus."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


class Scrape:
    """A scrape. `types` has the type of each Livebalance metric, by the name of its samples."""

    def __init__(self, text: str) -> None:
        families = [
            family for family in text_string_to_metric_families(text) if not family.name.endswith("_created")
        ]
        self.samples: list[Sample] = [sample for family in families for sample in family.samples]
        self.types = {
            f"{family.name}_total" if family.type == "counter" else family.name: family.type
            for family in families
            if family.name.startswith("livebalance_")
        }

    def of(self, name: str, **labels: str) -> Iterator[Sample]:
        """Returns the samples with this name and at least these labels."""
        return (
            sample
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def sum(self, name: str, **labels: str) -> float:
        """Returns the sum of the samples of `of`, of which there must be any."""
        values = [sample.value for sample in self.of(name, **labels)]
        assert values, f"no {name} {labels}"
        return sum(values)


async def scrape(url: str) -> Scrape:
    """Scrapes the process at `url`."""
    async with httpx.AsyncClient(timeout=30) as client:
        return Scrape((await client.get(f"{url}/metrics")).text)


async def wait_for_metrics(url: str, is_so: Callable[[Scrape], bool], seconds: float = 60.0) -> Scrape:
    """Scrapes until `is_so` returns True. A process may not listen yet. Raises AssertionError."""
    last: list[Sample] = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    current = await scrape(url)
                    if is_so(current):
                        return current
                    last = [
                        sample
                        for sample in current.samples
                        if sample.value and sample.name.startswith("livebalance_")
                    ]
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"the metrics do not become as expected: {last}") from None
