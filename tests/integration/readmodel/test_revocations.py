"""Revocations are read by what a snapshot has not seen."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from livebalance.readmodel import revocations
from livebalance.readmodel.gateway_reads import Connection, UnavailableError
from livebalance.readmodel.migrate import migrate
from livebalance.readmodel.revocations import Mark, read_new, read_page, revoke
from livebalance.stack.paths import StatePaths
from tests.servers.database import Database
from tests.servers.disposable import disposable_servers
from tests.servers.standby import promote, running_standby


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database.url("owner"))
    yield connection
    await connection.close()


@pytest.fixture
async def operator(database: Database) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database.url("operator"))
    yield connection
    await connection.close()


@pytest.fixture
async def gateway(database: Database) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database.url("gateway"))
    yield connection
    await connection.close()


async def write(operator: Connection, *subjects: str) -> None:
    for subject in subjects:
        await revoke(operator, subject, None, None, "a test")


async def new_subjects(gateway: Connection, mark: Mark) -> tuple[set[str | None], Mark]:
    page = await read_new(gateway, mark)
    assert page
    return {revocation.subject for revocation in page.revocations}, page.mark


async def test_each_revocation_is_read_once_however_late_it_is_committed(
    gateway: Connection, operator: Connection, database: Database
) -> None:
    """An open transaction stops the oldest open transaction id, but not the mark."""
    await write(operator, "first")
    page = await read_page(gateway)
    assert [revocation.subject for revocation in page.revocations] == ["first"]
    late = await asyncpg.connect(database.url("operator"))
    transaction = late.transaction()
    await transaction.start()
    await write(late, "late")
    mark = page.mark
    for subject in ("second", "third"):
        await write(operator, subject)
        subjects, mark = await new_subjects(gateway, mark)
        assert subjects == {subject}
    await transaction.commit()
    await late.close()
    subjects, mark = await new_subjects(gateway, mark)
    assert subjects == {"late"}
    assert (await new_subjects(gateway, mark))[0] == set()


async def test_revocation_of_a_transaction_that_is_aborted_is_never_read(
    gateway: Connection, owner: Connection
) -> None:
    mark = (await read_page(gateway)).mark
    for end in ("rollback", "commit"):
        await owner.fetch("begin")
        await write(owner, end)
        await owner.fetch(end)
    assert (await new_subjects(gateway, mark))[0] == {"commit"}


async def test_mark_of_another_server_is_not_used(gateway: Connection, operator: Connection) -> None:
    """After a failover transaction ids are given again that the lost server had given already."""
    mark = (await read_page(gateway)).mark
    await write(operator, "me")
    for server in ("", mark.server[:-1] + "x"):
        assert await read_new(gateway, mark._replace(server=server)) is None
    assert await read_new(gateway, mark)


async def test_mark_is_not_used_at_a_standby_and_not_after_its_promotion(
    paths: StatePaths, tmp_path: Path
) -> None:
    with disposable_servers(StatePaths(paths.home, tmp_path / "primary"), "postgres") as servers:
        await migrate(servers.postgres())
        with running_standby(StatePaths(paths.home, tmp_path / "standby"), servers.postgres()) as standby:
            primary = await asyncpg.connect(servers.postgres("gateway"))
            mark = (await read_page(primary)).mark
            port = str(servers.managed["postgres"].port)
            promoted = await asyncpg.connect(servers.postgres().replace(port, str(standby.port)))
            with pytest.raises(UnavailableError):
                await read_new(promoted, mark)
            await promote(promoted)
            assert await read_new(promoted, mark) is None
            await write(promoted, "me")
            assert [row.subject for row in (await read_page(promoted)).revocations] == ["me"]
            await primary.close()
            await promoted.close()


async def test_revocation_with_a_transaction_id_of_the_future_is_read_only_with_the_whole_list(
    gateway: Connection, owner: Connection
) -> None:
    """It was restored from the dump of an older server; otherwise each poll would read it again."""
    mark = (await read_page(gateway)).mark
    await owner.fetch("insert into revocation (subject, xid, why) values ('me', '9000000000000', 'a test')")
    assert (await new_subjects(gateway, mark))[0] == set()
    assert [revocation.subject for revocation in (await read_page(gateway)).revocations] == ["me"]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5])
async def test_whole_list_is_read_in_pages(
    gateway: Connection, owner: Connection, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(revocations, "PAGE_ROWS", 2)
    mark = (await read_page(gateway)).mark
    await owner.fetch("begin")
    await write(owner, *(str(number) for number in range(count)))
    await owner.fetch("update revocation set at = (select min(at) from revocation)")  # in the order of the id
    await owner.fetch("commit")
    pages = [await read_page(gateway)]
    while cursor := pages[-1].next:
        pages.append(await read_page(gateway, cursor))
    subjects = [revocation.subject for page in pages for revocation in page.revocations]
    assert subjects == [str(number) for number in range(count)]
    assert len(pages) == count // 2 + 1
    assert (await read_new(gateway, mark) is None) is (count >= 2)


async def test_transaction_of_a_revocation_cannot_be_chosen_by_an_operator(operator: Connection) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await operator.fetch("insert into revocation (subject, xid, why) values ('me', '3', 'a test')")
