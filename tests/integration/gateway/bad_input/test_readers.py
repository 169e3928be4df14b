"""Who reads for years: page by page, each bounded in rows and in time; nobody waits for it."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import httpx
import pytest

from livebalance.gateway.api import queries, statements
from livebalance.readmodel import gateway_reads
from livebalance.readmodel.gateway_reads import AccountPage
from tests.integration.gateway.bad_input.conftest import Scene
from tests.integration.gateway.bad_input.raw import RawConnection
from tests.servers.database import Database
from tests.tokens import bearer, token

MANY = 6_000
MORE = 50_000  # than systems keep for who does not read


@pytest.fixture
async def years(scene: Scene) -> Scene:
    """With an account of many transfers."""
    await scene.projector.open("years")
    await fill(scene, 2, MANY)
    return scene


async def fill(scene: Scene, first: int, last: int) -> None:
    """Transfers of these revisions."""
    await scene.projector.execute(
        "insert into transfer select 'years', n, 't-' || n, 1.5, n * 1.5, now(), now(), 'transfers', 0, n"
        " from generate_series($1::int, $2::int) n",
        first,
        last,
    )
    await scene.projector.execute("update balance set revision = $1 where account_id = 'years'", last)


def client(scene: Scene) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"{scene.gateway.http}/api/v1", headers=bearer())


async def page_through(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    """All of it, by pages of the biggest size there is."""
    found: list[dict[str, Any]] = []
    after: str | None = "0"
    while after is not None:
        params = {"after_revision": after, "limit": "500"}
        page = (await http.get("/accounts/years/transfers", params=params)).json()
        assert len(page["transfers"]) <= 500
        found += page["transfers"]
        after = page["next"]
    return found


async def test_row_33_many_readers_of_many_pages_hold_nobody_up(years: Scene) -> None:
    """More of them than statements at once."""
    async with client(years) as http, client(years) as other:
        reading = [asyncio.create_task(page_through(http)) for _ in range(3 * queries.MAX_QUERIES)]
        answered = 0
        while not all(one.done() for one in reading):
            assert (await other.get("/accounts/neighbour")).status_code == 200
            answered += 1
        for one in reading:
            assert [row["revision"] for row in await one] == list(range(2, MANY + 1))
        assert answered > 10
    await years.assert_neighbour_unaffected()
    years.assert_log()


async def test_row_33_a_page_has_its_time(
    years: Scene, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that does not come is given up, in Postgres too; meanwhile all else is answered."""
    monkeypatch.setattr(
        queries, "QUERY_SECONDS", 2.0
    )  # a shorter one is too short for all else on a busy machine
    owner = await asyncpg.connect(database.url("owner"))
    async with client(years) as http, owner.transaction():
        await owner.execute("lock table transfer in access exclusive mode")
        held = asyncio.create_task(http.get("/accounts/years/transfers"))
        async with asyncio.timeout(5):
            while not held.done():
                assert (await http.get("/accounts")).status_code == 200
        answer = await held
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["retry-after"]
        waiting = "select count(*) from pg_locks where relation = 'transfer'::regclass and not granted"
        async with asyncio.timeout(5):
            while await owner.fetchval(waiting):
                pass
    await owner.close()
    async with client(years) as http:
        assert len((await http.get("/accounts/years/transfers")).json()["transfers"]) == 50
    await years.assert_logged("answered no", "years", status=503)


STATEMENT = "/accounts/years/statement"


def held(patch: pytest.MonkeyPatch) -> asyncio.Event:
    """The first page that is read from now on waits for it."""
    go, read, first = asyncio.Event(), gateway_reads.read_newer, [True]

    async def newer(*given: Any) -> AccountPage:
        if first and first.pop():
            await go.wait()
        return await read(*given)

    patch.setattr(gateway_reads, "read_newer", newer)
    return go


async def test_row_33_one_statement_of_a_user_at_a_time(
    years: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second one is told to come back, also for another account; another user is not."""
    go = held(monkeypatch)
    async with client(years) as http:
        async with http.stream("GET", STATEMENT) as first:
            assert first.status_code == 200
            for path in (STATEMENT, "/accounts/neighbour/statement?format=csv"):
                second = await http.get(path)
                assert (second.status_code, second.json()["code"]) == (429, "one_at_a_time")
                assert second.headers["retry-after"] == "1"
            assert (await http.get(STATEMENT, headers=bearer(token()))).status_code == 200
            go.set()
            rows = b"".join([chunk async for chunk in first.aiter_bytes()])
        assert rows.count(b'"id"') == MANY - 1
        assert (await http.get(STATEMENT)).status_code == 200
    await years.assert_neighbour_unaffected()


async def test_row_33_who_leaves_a_statement_may_ask_for_another(
    years: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(monkeypatch)
    async with client(years) as http:
        async with http.stream("GET", STATEMENT) as first:
            assert first.status_code == 200
        async with asyncio.timeout(5):
            while (await http.get(STATEMENT)).status_code == 429:
                pass
    await years.assert_neighbour_unaffected()


async def test_row_33_who_does_not_read_a_statement_holds_nobody_up(
    years: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than statements at once: each holds a page, and none of them Postgres. All end in time."""
    await fill(years, MANY + 1, MORE)
    monkeypatch.setattr(statements, "DEADLINE_SECONDS", 3.0)
    async with client(years) as other, AsyncExitStack() as stack:
        for _ in range(3 * queries.MAX_QUERIES):
            ask = f"GET /api/v1{STATEMENT} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {token()}\r\n\r\n"
            idle = await stack.enter_async_context(
                await RawConnection.connect(years.gateway.http, narrow=True)
            )
            idle.send(ask.encode())
            idle.stop_reading()
        for _ in range(50):
            assert (await other.get("/accounts/neighbour")).status_code == 200
        await years.log.until(
            lambda: sum("statement aborted" in line for line in years.log.lines) == 3 * queries.MAX_QUERIES
        )
    await years.assert_neighbour_unaffected()


async def test_row_33_the_server_ends_a_statement_by_itself(database: Database) -> None:
    """Also one whose gateway is stopped, and gives up nothing."""
    connection = await asyncpg.connect(database.url("gateway"), server_settings=gateway_reads.SETTINGS)
    assert await connection.fetchval("show statement_timeout") == "5s"
    await connection.execute("set statement_timeout = '50ms'")
    with pytest.raises(asyncpg.QueryCanceledError):
        await connection.execute("select pg_sleep(10)")
    await connection.close()
