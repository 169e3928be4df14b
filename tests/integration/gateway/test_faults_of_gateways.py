"""A gateway is killed, deployed, paused or told a wrong time: its clients miss nothing."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from tests.bench.crowd import Crowd
from tests.integration.gateway.book import Book, paying
from tests.integration.gateway.conftest import StartProcess
from tests.integration.gateway.process import Process

CLIENTS, ACCOUNTS = 300, [f"acc-{number:05}" for number in range(100)]
HEALTH_WITHIN = 2.0  # seconds


def few(seconds: float) -> float:
    """Statements for all who come back within that time; each account alone would be one."""
    return 12 + 5 * seconds


@contextmanager
def gathered() -> Iterator[Crowd]:
    """A crowd that goes home at the end."""
    crowd = Crowd()
    yield crowd
    crowd.leaving = True
    for member in crowd.members:
        if member.transport:
            member.transport.abort()


@asynccontextmanager
async def healthy(process: Process) -> AsyncIterator[None]:
    """It says so meanwhile, whenever it is asked, and soon."""
    done = asyncio.Event()

    async def look() -> None:
        while not done.is_set():
            for path in ("/livez", "/readyz"):
                async with asyncio.timeout(HEALTH_WITHIN):
                    assert await process.status(path) == 200

    async with asyncio.TaskGroup() as group:
        group.create_task(look())
        yield
        done.set()


async def assert_exact(crowd: Crowd, book: Book) -> None:
    """Everyone is where SQL is; nobody was ever sent back, or past a hole."""
    truth = {f"account:{account}": [revision] for account, revision in (await book.revisions()).items()}
    async with asyncio.timeout(15):
        while await crowd.where() != truth:  # noqa: ASYNC110 - they tell nobody
            await asyncio.sleep(0.1)
    assert (crowd.holes, crowd.back) == (0, 0)


async def test_f26_a_gateway_is_killed(start_process: StartProcess, book: Book) -> None:
    """Its clients resume at one that knows nothing of them, from their positions: few statements for all."""
    await book.open(*ACCOUNTS)
    first, second = await start_process("gateway-1"), await start_process("gateway-2")
    with gathered() as crowd:
        async with paying(book, ACCOUNTS):
            await crowd.come(first.port, CLIENTS, len(ACCOUNTS), per_second=400)
            crowd.snapshots.clear()
            before = await second.counted("read_statements_total")
            async with healthy(second):
                first.child.kill()
                told = await crowd.cut(second.port)
            statements = await second.counted("read_statements_total") - before
        await assert_exact(crowd, book)
    assert told["last"] < 30
    assert not crowd.snapshots
    assert statements <= few(told["last"])


async def test_f36_everyone_is_cut_at_once(start_process: StartProcess, book: Book) -> None:
    """They find one that knows nothing. Who is too many there is turned away at the door, and comes again."""
    await book.open(*ACCOUNTS)
    first, second = await start_process("gateway-1"), await start_process("gateway-2", new_sockets=100)
    with gathered() as crowd:
        async with paying(book, ACCOUNTS):
            await crowd.come(first.port, CLIENTS, len(ACCOUNTS), per_second=400)
            crowd.snapshots.clear()
            before = await second.counted("read_statements_total")
            async with healthy(second):
                told = await crowd.cut(second.port)
            statements = await second.counted("read_statements_total") - before
        await assert_exact(crowd, book)
    assert crowd.turned > CLIENTS / 10
    assert crowd.turned == await second.counted("turned_away_total", reason="too_fast")
    assert all(one.startswith(b"HTTP/1.1 503 ") and b"\nretry-after: " in one for one in crowd.refusals)
    assert told["last"] < 60
    assert not crowd.snapshots
    assert statements <= few(told["last"])
