"""Long reads: page by page, each with limits for rows and time. They do not delay other requests."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import httpx
import pytest

from livebalance.gateway.api import queries, statements
from livebalance.readmodel import account_pages, gateway_reads
from livebalance.readmodel.account_pages import AccountPage
from tests.integration.gateway.bad_input.conftest import Scene
from tests.integration.gateway.bad_input.raw import RawConnection
from tests.servers.database import Database
from tests.tokens import bearer, token

MANY = 6_000
MORE = 50_000  # transfers: more bytes than the socket buffers of a stalled client hold


@pytest.fixture
async def years(scene: Scene) -> Scene:
    """A gateway, and the account `years` with many transfers."""
    await scene.projector.open("years")
    await fill(scene, 2, MANY)
    return scene


async def fill(scene: Scene, first: int, last: int) -> None:
    """Adds transfers with these revisions."""
    await scene.projector.execute(
        "insert into transfer select 'years', n, 't-' || n, 1.5, n * 1.5, now(), now(), 'transfers', 0, n"
        " from generate_series($1::int, $2::int) n",
        first,
        last,
    )
    await scene.projector.execute("update balance set revision = $1 where account_id = 'years'", last)


def client(scene: Scene) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"{scene.gateway.http}/api/v1", headers=bearer(), timeout=30)


async def page_through(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Returns all transfers, read by pages of the largest size."""
    transfers: list[dict[str, Any]] = []
    after: str | None = "0"
    while after is not None:
        params = {"after_revision": after, "limit": "500"}
        page = (await http.get("/accounts/years/transfers", params=params)).json()
        assert len(page["transfers"]) <= 500
        transfers += page["transfers"]
        after = page["next"]
    return transfers


async def test_row_33_many_page_readers_do_not_delay_other_requests(years: Scene) -> None:
    """There are more readers than concurrent queries."""
    async with client(years) as http, client(years) as other:
        reading = [asyncio.create_task(page_through(http)) for _ in range(3 * queries.MAX_QUERIES)]
        answered = 0
        while not all(task.done() for task in reading):
            assert (await other.get("/accounts/neighbour")).status_code == 200
            answered += 1
        for task in reading:
            assert [row["revision"] for row in await task] == list(range(2, MANY + 1))
        assert answered > 10
    await years.assert_neighbour_unaffected()
    years.assert_log()


async def test_row_33_query_over_its_deadline_gets_503_and_is_cancelled(
    years: Scene, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postgres cancels the query too. Meanwhile requests of other users are answered."""
    owner = await asyncpg.connect(database.url("owner"))
    waiting = "select count(*) from pg_locks where relation = 'transfer'::regclass and not granted"
    async with client(years) as http, client(years) as other, owner.transaction():
        await owner.execute("lock table transfer in access exclusive mode")
        with monkeypatch.context() as patch:
            patch.setattr(queries, "QUERY_SECONDS", 2.0)
            blocked = asyncio.create_task(http.get("/accounts/years/transfers"))
            async with asyncio.timeout(30):
                while not (await owner.fetchval(waiting) or blocked.done()):
                    pass
        async with asyncio.timeout(30):
            while not blocked.done():
                assert (await other.get("/accounts")).status_code == 200
        response = await blocked
        assert (response.status_code, response.json()["code"]) == (503, "unavailable")
        assert response.headers["retry-after"]
        async with asyncio.timeout(30):
            while await owner.fetchval(waiting):
                pass
    await owner.close()
    async with client(years) as http:
        assert len((await http.get("/accounts/years/transfers")).json()["transfers"]) == 50
    await years.assert_logged("error response sent", "years", status=503)


STATEMENT = "/accounts/years/statement"


def block_first_page(patch: pytest.MonkeyPatch) -> asyncio.Event:
    """Makes the first page that is read from now on wait for the returned event."""
    unblock, read, first = asyncio.Event(), account_pages.read_newer, [True]

    async def newer(*arguments: Any) -> AccountPage:
        if first and first.pop():
            await unblock.wait()
        return await read(*arguments)

    patch.setattr(account_pages, "read_newer", newer)
    return unblock


async def test_row_33_second_statement_of_a_user_gets_429(
    years: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit also covers statements of other accounts, but not those of another user."""
    unblock = block_first_page(monkeypatch)
    async with client(years) as http:
        async with http.stream("GET", STATEMENT) as first:
            assert first.status_code == 200
            for path in (STATEMENT, "/accounts/neighbour/statement?format=csv"):
                second = await http.get(path)
                assert (second.status_code, second.json()["code"]) == (429, "one_at_a_time")
                assert second.headers["retry-after"] == "1"
            assert (await http.get(STATEMENT, headers=bearer(token()))).status_code == 200
            unblock.set()
            rows = b"".join([chunk async for chunk in first.aiter_bytes()])
        assert rows.count(b'"id"') == MANY - 1
        assert (await http.get(STATEMENT)).status_code == 200
    await years.assert_neighbour_unaffected()


async def test_row_33_abandoned_statement_allows_another(
    years: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    block_first_page(monkeypatch)
    async with client(years) as http:
        async with http.stream("GET", STATEMENT) as first:
            assert first.status_code == 200
        async with asyncio.timeout(30):
            while (await http.get(STATEMENT)).status_code == 429:
                pass
    await years.assert_neighbour_unaffected()


async def test_row_33_stalled_statement_readers_are_aborted_and_delay_nobody(
    years: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are more readers than concurrent queries, but none of them holds a connection to Postgres."""
    await fill(years, MANY + 1, MORE)
    monkeypatch.setattr(statements, "DEADLINE_SECONDS", 3.0)
    async with client(years) as other, AsyncExitStack() as stack:
        for _ in range(3 * queries.MAX_QUERIES):
            request = (
                f"GET /api/v1{STATEMENT} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {token()}\r\n\r\n"
            )
            stalled = await stack.enter_async_context(
                await RawConnection.connect(years.gateway.http, narrow=True)
            )
            stalled.send(request.encode())
            stalled.stop_reading()
        for _ in range(50):
            assert (await other.get("/accounts/neighbour")).status_code == 200
        await years.log.until(
            lambda: sum("statement aborted" in line for line in years.log.lines) == 3 * queries.MAX_QUERIES
        )
    await years.assert_neighbour_unaffected()


async def test_row_33_postgres_cancels_a_query_after_its_timeout(database: Database) -> None:
    """Limits the query of a gateway that was stopped and cancels nothing."""
    connection = await asyncpg.connect(database.url("gateway"), server_settings=gateway_reads.SETTINGS)
    assert await connection.fetchval("show statement_timeout") == "5s"
    await connection.execute("set statement_timeout = '50ms'")
    with pytest.raises(asyncpg.QueryCanceledError):
        await connection.execute("select pg_sleep(10)")
    await connection.close()
