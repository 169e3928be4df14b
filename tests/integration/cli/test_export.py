"""`livebalance export` as one types it, on a real server."""

import asyncio
import contextlib
import csv
import io
import json
import os
import pty
import signal
from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pyarrow import parquet

from livebalance.readmodel.exports import PAGE
from livebalance.readmodel.projector_writes import Connection
from tests.integration.cli.operator import Said, heard, said, typing
from tests.integration.projector.world import reached
from tests.integration.readmodel.ledger import FILL
from tests.servers.database import Database

EPOCH = "00000000000000a1"


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[Connection]:
    """To a database with the accounts of docs/reporting.md."""
    connection = await asyncpg.connect(database.url("owner"), timeout=10)
    await connection.execute(FILL)
    yield connection
    await connection.close()


@pytest.fixture
def environment(owner: Connection, database: Database) -> dict[str, str]:
    return {"LIVEBALANCE_POSTGRES": database.url("analyst"), "TERM": "dumb"}


async def many(owner: Connection, counts: dict[str, int]) -> None:
    """So many transfers more, of accounts that were not there."""
    await owner.execute(
        "insert into transfer select a, 2 * n, 't-' || n, 0.01, 0.01 * n, now(), now(), 'transfers', 0, 0"
        " from unnest($1::text[], $2::int[]) as x (a, of), generate_series(1, of) n",
        list(counts),
        list(counts.values()),
    )


async def exported(environment: dict[str, str], *words: str) -> list[dict[str, Any]]:
    done = await said(environment, "export", *words, "--format", "ndjson")
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


TRANSFERS = f"""\
account_id,revision,transfer_id,amount,total,balance_after,occurred_at,recorded_at,topic,partition,source_offset,epoch
alice,2,t-1,-30.00,-30.00,70.00,2026-01-30T09:00:00.000Z,2026-01-30T09:00:00.000Z,transfers,0,0,{EPOCH}
alice,4,t-2,12.50,-17.50,82.50,2026-01-31T23:59:00.000Z,2026-01-31T23:59:59.999Z,transfers,0,2,{EPOCH}
"""


async def test_transfers_are_the_view_and_the_epoch(environment: dict[str, str]) -> None:
    period = "--account", "alice", "--until", "2026-02-01T00:00:00Z"
    done = await said(environment, "export", "transfers", *period)
    assert done.code == 0
    assert done.out == TRANSFERS.replace("\n", "\r\n")
    assert done.err.startswith("2 transfers, complete as of 20")


async def test_balances_in_each_form_are_the_same(
    environment: dict[str, str], owner: Connection, tmp_path: Path
) -> None:
    await owner.execute("update balance set client_id = $1 where account_id = 'bob'", 'a,"b"\r\n=1+1')
    file = tmp_path / "balances.parquet"
    as_json = await exported(environment, "balances")
    as_csv = await said(environment, "export", "balances")
    done = await said(
        environment, "export", "balances", "--format", "parquet", "--output", str(file), "--json"
    )
    assert (done.code, done.err) == (0, "")
    told = json.loads(done.out)
    assert (told["rows"], told["epoch"], told["ends"]) == (2, EPOCH, {"0": 7})
    assert [row["half_applied"] for row in as_json] == ["0.00", "5.00"]
    table = parquet.read_table(file)
    kinds = {"balance": "decimal128(38, 18)", "revision": "int64", "recorded_at": "timestamp[us, tz=UTC]"}
    assert {name: str(table.schema.field(name).type) for name in kinds} == kinds
    for text, row, typed in zip(lines(as_csv), as_json, table.to_pylist(), strict=True):
        assert list(text) == list(row) == list(typed)
        assert text == {name: "" if value is None else str(value) for name, value in row.items()}
        assert typed == {name: as_typed(table.schema.field(name), value) for name, value in row.items()}


def lines(done: Said) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(done.out, newline="")))


def as_typed(field: Any, value: Any) -> Any:
    """What NDJSON says, as Parquet has it."""
    if value is None:
        return None
    if str(field.type).startswith("decimal"):
        return Decimal(value)
    return datetime.fromisoformat(value) if str(field.type).startswith("timestamp") else value


@pytest.mark.parametrize(
    ("words", "revisions"),
    [
        ((), [2, 4, 6, 2, 4, 6, 8]),
        (("--account", "bob", "--account", "bob", "--account", "nobody"), [2, 4, 6, 8]),
        (("--account", "bob", "--account", "alice"), [2, 4, 6, 2, 4, 6, 8]),
        (("--since", "2026-02-01T00:00:00Z"), [6, 6, 8]),
        (("--since", "2026-02-01T01:00:00+01:00", "--until", "2026-02-01T10:00:00Z"), [6, 6]),
    ],
)
async def test_of_accounts_and_of_a_period(
    environment: dict[str, str], words: tuple[str, ...], revisions: list[int]
) -> None:
    found = await exported(environment, "transfers", *words)
    assert [row["revision"] for row in found] == revisions
    assert [row["account_id"] for row in found] == sorted(row["account_id"] for row in found)


async def test_pages_meet_wherever_they_end(environment: dict[str, str], owner: Connection) -> None:
    """Also where a page ends with an account, or with all, or has nothing that is wanted."""
    counts = {"a": PAGE, "b": 1, "c": 2 * PAGE + 1, "zed": PAGE - 2 - 7}
    await many(owner, counts)
    found = await exported(environment, "transfers")
    assert len(found) == sum(counts.values()) + 7 == 4 * PAGE
    keys = [(row["account_id"], row["revision"]) for row in found]
    assert keys == sorted(set(keys))
    for account, count in counts.items():
        of_one = await exported(environment, "transfers", "--account", account)
        assert of_one == [row for row in found if row["account_id"] == account]
        assert len(of_one) == count
    old = await exported(environment, "transfers", "--until", "2026-02-02T00:00:00Z")
    assert {row["account_id"] for row in old} == {"alice", "bob"}


async def test_no_statement_takes_as_long_as_the_export(
    environment: dict[str, str], owner: Connection, database: Database
) -> None:
    await many(owner, {"busy": 20 * PAGE})
    await owner.execute(f'alter role analyst in database "{database.name}" set statement_timeout = 250')
    analyst = await asyncpg.connect(database.url("analyst"))
    with pytest.raises(asyncpg.QueryCanceledError):
        await analyst.execute("select pg_sleep(0.3)")
    await analyst.close()
    began = asyncio.get_running_loop().time()
    done = await said(environment, "export", "transfers")
    assert (done.code, len(done.out.splitlines())) == (0, 20 * PAGE + 7 + 1)
    assert asyncio.get_running_loop().time() - began > 0.25


async def begun(environment: dict[str, str], *words: str) -> tuple[asyncio.subprocess.Process, bytes]:
    """It has written its first line, and waits until somebody reads on."""
    process = await typing(environment, "export", *words)
    assert process.stdout
    return process, await asyncio.wait_for(process.stdout.readline(), 30)


async def test_what_is_applied_meanwhile_is_left_out(environment: dict[str, str], owner: Connection) -> None:
    await many(owner, {"a": 8 * PAGE, "zed": 3})
    process, head = await begun(environment, "transfers")
    await owner.execute("insert into transfer select 'zed', 9, 't', 1, 1, now(), now(), 'transfers', 0, 7")
    await owner.execute("update lane set transfers_next = 8")
    done = await heard(process)
    assert (done.code, len(done.out.splitlines())) == (0, 8 * PAGE + 3 + 7)
    assert head.startswith(b"account_id,")
    again = await exported(environment, "transfers", "--account", "zed")
    assert [row["revision"] for row in again] == [2, 4, 6, 9]


async def test_no_snapshot_stays_open_while_transfers_are_read(
    environment: dict[str, str], owner: Connection
) -> None:
    await many(owner, {"a": 8 * PAGE})
    process, _ = await begun(environment, "transfers")
    query = "select state, backend_xmin from pg_stat_activity where usename = 'analyst' and datname = $1"
    name = await owner.fetchval("select current_database()")
    async with asyncio.timeout(10):
        while list(map(tuple, await owner.fetch(query, name))) != [("idle", None)]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert (await heard(process)).code == 0


async def test_revisions_of_two_epochs_are_no_export(environment: dict[str, str], owner: Connection) -> None:
    await many(owner, {"a": 8 * PAGE})
    process, _ = await begun(environment, "transfers")
    await owner.execute("update projection set epoch = 'b'; update lane set epoch = 'b'")
    done = await heard(process)
    assert done.code == 1
    assert done.err == "livebalance: the epoch changed meanwhile: begin again\n"


async def test_who_reads_no_further_ends_it(environment: dict[str, str], owner: Connection) -> None:
    await many(owner, {"a": 8 * PAGE})
    process, _ = await begun(environment, "transfers")
    assert process.stdout
    process.stdout._transport.close()  # type: ignore[attr-defined] # as head does
    assert process.stderr
    told = await asyncio.wait_for(process.stderr.read(), 30)
    assert await process.wait() == 1
    assert told == b"livebalance: standard output was closed before all was written\n"


async def test_a_file_is_there_whole_or_as_it_was(
    environment: dict[str, str], owner: Connection, tmp_path: Path
) -> None:
    file = tmp_path / "transfers.parquet"
    file.write_text("old")
    words = "export", "transfers", "--format", "parquet", "--output", str(file)
    await owner.execute("update transfer set total = 123456789012345678901 where transfer_id = 't-4'")
    failed = await said(environment, *words)
    assert (failed.code, failed.out) == (1, "")
    assert "a value of total has more than 20 digits" in failed.err
    assert failed.err.count("\n") == 1
    assert (os.listdir(tmp_path), file.read_text()) == ([file.name], "old")
    await owner.execute("update transfer set total = -99999999999999999999.5 where transfer_id = 't-4'")
    done = await said(environment, *words)
    assert done.code == 0
    assert done.out.startswith("7 transfers, complete as of")
    assert os.listdir(tmp_path) == [file.name]
    totals = parquet.read_table(file).column("total").to_pylist()
    assert totals[-1] == Decimal("-99999999999999999999.5")


async def test_who_is_told_to_stop_leaves_nothing(
    environment: dict[str, str], owner: Connection, tmp_path: Path
) -> None:
    await many(owner, {"a": 20 * PAGE})
    process = await typing(environment, "export", "transfers", "--output", str(tmp_path / "a.csv"))
    await reached(lambda: bool(os.listdir(tmp_path)))
    async with owner.transaction():
        await owner.execute("lock table transfer in access exclusive mode")  # its next page has to wait
        process.send_signal(signal.SIGTERM)
        done = await heard(process)
    assert (done.code, done.out, done.err) == (130, "", "livebalance: stopped\n")
    assert os.listdir(tmp_path) == []


async def test_a_terminal_sees_how_far_it_is(environment: dict[str, str], owner: Connection) -> None:
    await many(owner, {"a": 2 * PAGE})
    mine, its = pty.openpty()
    process = await typing({**environment, "TERM": "xterm"}, "export", "transfers", stderr=its)
    os.close(its)
    assert (await heard(process)).code == 0
    shown = b""
    with contextlib.suppress(OSError):  # its end
        while part := os.read(mine, 65536):
            shown += part
    os.close(mine)
    assert f"{2 * PAGE + 7} written".encode() in shown


PARQUET = ("balances", "--format", "parquet")
MARCH = "2026-03-01T00:00:00Z"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("transfers", "--account", "a b"), 1, "--account is 1 to 64"),
        (("transfers", "--since", "2026-02-01"), 1, "--since is a time with a zone"),
        (("transfers", "--until", "yesterday"), 1, "--until is a time with a zone"),
        (("transfers", "--since", MARCH, "--until", "2026-03-01T01:00:00+01:00"), 1, "not before --until"),
        (("transfers", "--format", "xlsx"), 2, "csv"),
        (("balances", "--since", "2026-02-01T00:00:00Z"), 2, "--since"),
        (PARQUET, 1, "name one with --output"),
        (("balances", "--output", "/dev/null"), 1, "no file: without --output"),
        (("balances", "--output", "/proc/none/file"), 1, "No such file or directory"),
    ],
)
async def test_what_is_asked_wrongly_is_said(
    environment: dict[str, str], words: tuple[str, ...], code: int, says: str
) -> None:
    done = await said(environment, "export", *words)
    assert (done.code, done.out) == (code, "")
    assert says in done.err
    assert code == 2 or done.err.count("\n") == 1


async def test_without_pyarrow_it_says_what_to_do(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['pyarrow'] = None\n")
    here = {**environment, "PYTHONPATH": str(tmp_path)}
    done = await said(here, "export", *PARQUET, "--output", str(tmp_path / "a.parquet"))
    assert (done.code, done.out) == (1, "")
    assert done.err == "livebalance: Parquet needs pyarrow: pip install pyarrow, or write csv or ndjson\n"
    assert (await said(here, "export", "balances")).code == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("update projection set timeline = '00000000'", "not here, or this server lost a part of it"),
        ("delete from lane", "not here, or this server lost a part of it"),
        ("revoke select on reporting.transfers from analyst", "Postgres: permission denied"),
    ],
)
async def test_what_is_not_there_is_not_exported(
    environment: dict[str, str], owner: Connection, change: str, says: str
) -> None:
    await owner.execute(change)
    done = await said(environment, "export", "transfers")
    assert done.code == 1
    assert says in done.err
    assert done.err.count("\n") == 1


async def test_a_server_that_is_away_is_one_line(environment: dict[str, str]) -> None:
    away = {**environment, "LIVEBALANCE_POSTGRES": "postgresql://analyst@127.0.0.1:1/x"}
    done = await said(away, "export", "balances")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("livebalance: Postgres: ")
    assert done.err.count("\n") == 1
