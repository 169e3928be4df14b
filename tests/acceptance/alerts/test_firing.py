"""Every alert fires from the metrics of services that really have the trouble, and none while they have none.

A fault wakes nobody but by the pages it names. A Prometheus looks twice a second at the rules as they are,
but that each has to hold for a second only.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.observability.boards import BOARDS
from deploy.observability.boards.panel import Query
from livebalance.stack.paths import StatePaths
from livebalance.stack.servers.servers import Servers
from livebalance.stack.servers.topics import Topics
from tests.acceptance.alerts.faults import AT_THE_END, AT_THE_START, WHILE_ALL_RUNS, Fault
from tests.acceptance.alerts.monitored_stack import Ground, Servings
from tests.contract.alerts import ALERTS
from tests.servers.database import Database

PAGES = {alert.name for alert in ALERTS if alert.labels["severity"] == "page"}
WITHIN = 40.0  # seconds
FAULTS = [*AT_THE_START, *WHILE_ALL_RUNS, *AT_THE_END]


@pytest.fixture
async def ground(  # noqa: PLR0917 - a fixture names what it needs
    paths: StatePaths,
    kafka: str,
    topics: Topics,
    database: Database,
    own_redis: Servers,
    channel_prefix: str,
    tmp_path: Path,
) -> AsyncIterator[Ground]:
    """Prometheus runs; the services are started as a fault needs them."""
    one = Ground(Servings(paths, kafka, topics, database, own_redis, channel_prefix), tmp_path)
    try:
        await one.prometheus.start()
        yield one
    finally:
        await one.stop()


def test_every_alert_has_a_fault() -> None:
    raised = {name for fault in FAULTS for name in fault.raises}
    assert raised == {alert.name for alert in ALERTS}


async def fires(ground: Ground, fault: Fault) -> None:
    """What the fault raises was silent before. Another page may begin, but passes while the fault lasts."""
    name, before = fault.act.__name__, await ground.prometheus.firing()
    assert not fault.raises & before, name
    others, amiss = PAGES - fault.raises - before, fault.raises
    async with fault.act(ground):
        try:
            async with asyncio.timeout(WITHIN):
                while amiss:
                    firing = await ground.prometheus.firing()
                    amiss = fault.raises - firing | others & firing
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(
                f"{name}: {set(amiss & fault.raises)} did not fire, {set(amiss & others)} did"
            ) from None


async def is_silent(ground: Ground) -> None:
    """All services are there, and no alert is left."""
    firing: set[str] = set()
    try:
        async with asyncio.timeout(WITHIN):
            while len(await ground.prometheus.ask("up == 1")) < len(ground.services):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            while firing := await ground.prometheus.firing():  # noqa: ASYNC110 - HTTP tells only who asks
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"still firing: {firing or 'not all are up'}") from None


async def panels_are_answered(ground: Ground) -> None:
    """No expression of a dashboard asks for a label or a metric that no service has."""
    for board in BOARDS:
        for panel in board.panels():
            for ask in panel.queries:
                if isinstance(ask, Query):
                    query = ask.expr.replace("$__rate_interval", "1m")
                    try:
                        async with asyncio.timeout(10):
                            while not await ground.prometheus.ask(query):  # noqa: ASYNC110
                                await asyncio.sleep(0.1)
                    except TimeoutError:
                        raise AssertionError(f"{board.name}: {panel.title}: {query}") from None


@pytest.mark.timeout(400)
async def test_each_alert_fires(ground: Ground) -> None:
    for fault in AT_THE_START:
        await fires(ground, fault)
    await ground.start("feed")
    async with ground.followed():
        await is_silent(ground)
        for fault in WHILE_ALL_RUNS:
            await fires(ground, fault)
    await panels_are_answered(ground)  # a socket has ended by now
    for fault in AT_THE_END:
        await fires(ground, fault)
