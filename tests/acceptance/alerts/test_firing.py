"""Every alert fires for a real fault of the services, and no alert fires while there is no fault.

Apart from the pages that it names, a fault may raise no page that lasts. Prometheus evaluates the real rules
twice per second, with one change: an expression has to hold for one second only.
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
from tests.acceptance.alerts.faults import AT_END, AT_START, WHILE_ALL_RUN, Fault
from tests.acceptance.alerts.monitored_stack import Addresses, MonitoredStack
from tests.contract.alerts import ALERTS
from tests.servers.database import Database

PAGES = {alert.name for alert in ALERTS if alert.labels["severity"] == "page"}
TIMEOUT = 60.0  # seconds
FAULTS = [*AT_START, *WHILE_ALL_RUN, *AT_END]


@pytest.fixture
async def stack(  # noqa: PLR0917 - a fixture names the fixtures that it needs
    paths: StatePaths,
    kafka: str,
    topics: Topics,
    database: Database,
    own_redis: Servers,
    channel_prefix: str,
    tmp_path: Path,
) -> AsyncIterator[MonitoredStack]:
    """A running Prometheus. The faults start the services."""
    stack = MonitoredStack(Addresses(paths, kafka, topics, database, own_redis, channel_prefix), tmp_path)
    try:
        await stack.prometheus.start()
        yield stack
    finally:
        await stack.stop()


def test_faults_together_raise_every_alert() -> None:
    raised = {name for fault in FAULTS for name in fault.alerts}
    assert raised == {alert.name for alert in ALERTS}


async def assert_raises_alerts(stack: MonitoredStack, fault: Fault) -> None:
    """Asserts that a fault raises its alerts, which were silent before.

    Another page may fire, but has to resolve while the fault lasts.
    """
    name, before = fault.context.__name__, await stack.prometheus.firing_alerts()
    assert not fault.alerts & before, name
    other_pages, wrong = PAGES - fault.alerts - before, fault.alerts
    async with fault.context(stack):
        try:
            async with asyncio.timeout(TIMEOUT):
                while wrong:
                    firing = await stack.prometheus.firing_alerts()
                    wrong = fault.alerts - firing | other_pages & firing
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(
                f"{name}: {set(wrong & fault.alerts)} did not fire, {set(wrong & other_pages)} did"
            ) from None


async def assert_silent(stack: MonitoredStack) -> None:
    """Waits until all services are up and no alert fires."""
    firing: set[str] = set()
    try:
        async with asyncio.timeout(TIMEOUT):
            while len(await stack.prometheus.query("up == 1")) < len(stack.services):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            while firing := await stack.prometheus.firing_alerts():  # noqa: ASYNC110 - no event to await
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"still firing: {firing or 'not all are up'}") from None


async def assert_panels_have_data(stack: MonitoredStack) -> None:
    """Asserts that Prometheus has data for each query of a dashboard: no metric or label is misspelled."""
    for board in BOARDS:
        for panel in board.panels():
            for panel_query in panel.queries:
                if isinstance(panel_query, Query):
                    expression = panel_query.expr.replace("$__rate_interval", "1m")
                    try:
                        async with asyncio.timeout(30):
                            while not await stack.prometheus.query(expression):  # noqa: ASYNC110
                                await asyncio.sleep(0.1)
                    except TimeoutError:
                        raise AssertionError(f"{board.name}: {panel.title}: {expression}") from None


@pytest.mark.alone
@pytest.mark.timeout(900)
async def test_alerts_with_each_fault_fire_and_without_are_silent(stack: MonitoredStack) -> None:
    for fault in AT_START:
        await assert_raises_alerts(stack, fault)
    await stack.start("feed")
    async with stack.subscribed_client():
        await assert_silent(stack)
        for fault in WHILE_ALL_RUN:
            await assert_raises_alerts(stack, fault)
    await assert_panels_have_data(stack)  # some count closed connections, so the client is gone by now
    for fault in AT_END:
        await assert_raises_alerts(stack, fault)
