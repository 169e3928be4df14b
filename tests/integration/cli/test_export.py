"""`livebalance export`, with a real Postgres."""

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

from livebalance.readmodel.connection import Connection
from livebalance.readmodel.exports import PAGE_ROWS
from tests.integration.cli.command_line import CommandResult, run_command, start_command, wait_for_command
from tests.integration.projector.pipeline import wait_until
from tests.integration.readmodel.sample_accounts import FILL
from tests.servers.database import Database

EPOCH = "00000000000000a1"


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[Connection]:
    """A connection to a database with the accounts of docs/reporting.md."""
    connection = await asyncpg.connect(database.url("owner"), timeout=30)
    await connection.execute(FILL)
    yield connection
    await connection.close()


@pytest.fixture
def environment(owner: Connection, database: Database) -> dict[str, str]:
    return {"LIVEBALANCE_POSTGRES": database.url("analyst"), "TERM": "dumb"}


async def insert_transfers(owner: Connection, counts: dict[str, int]) -> None:
    """Inserts this number of transfers for each account."""
    await owner.execute(
        "insert into transfer select a, 2 * n, 't-' || n, 0.01, 0.01 * n, now(), now(), 'transfers', 0, 0"
        " from unnest($1::text[], $2::int[]) as x (a, of), generate_series(1, of) n",
        list(counts),
        list(counts.values()),
    )


async def export_rows(environment: dict[str, str], *words: str) -> list[dict[str, Any]]:
    result = await run_command(environment, "export", *words, "--format", "ndjson")
    assert result.code == 0, result.err
    return [json.loads(line) for line in result.out.splitlines()]


TRANSFERS = f"""\
account_id,revision,transfer_id,amount,total,balance_after,occurred_at,recorded_at,topic,partition,source_offset,epoch
alice,2,t-1,-30.00,-30.00,70.00,2026-01-30T09:00:00.000Z,2026-01-30T09:00:00.000Z,transfers,0,0,{EPOCH}
alice,4,t-2,12.50,-17.50,82.50,2026-01-31T23:59:00.000Z,2026-01-31T23:59:59.999Z,transfers,0,2,{EPOCH}
"""


async def test_transfers_have_the_columns_of_the_view_and_the_epoch(environment: dict[str, str]) -> None:
    period = "--account", "alice", "--until", "2026-02-01T00:00:00Z"
    result = await run_command(environment, "export", "transfers", *period)
    assert result.code == 0
    assert result.out == TRANSFERS.replace("\n", "\r\n")
    assert result.err.startswith("2 transfers, complete as of 20")


async def test_balances_are_equal_in_all_formats(
    environment: dict[str, str], owner: Connection, tmp_path: Path
) -> None:
    await owner.execute("update balance set client_id = $1 where account_id = 'bob'", 'a,"b"\r\n=1+1')
    file = tmp_path / "balances.parquet"
    as_json = await export_rows(environment, "balances")
    as_csv = await run_command(environment, "export", "balances")
    result = await run_command(
        environment, "export", "balances", "--format", "parquet", "--output", str(file), "--json"
    )
    assert (result.code, result.err) == (0, "")
    summary = json.loads(result.out)
    assert (summary["rows"], summary["epoch"], summary["ends"]) == (2, EPOCH, {"0": 7})
    assert [row["half_applied"] for row in as_json] == ["0.00", "5.00"]
    table = parquet.read_table(file)
    kinds = {"balance": "decimal128(38, 18)", "revision": "int64", "recorded_at": "timestamp[us, tz=UTC]"}
    assert {name: str(table.schema.field(name).type) for name in kinds} == kinds
    for text, row, typed in zip(csv_rows(as_csv), as_json, table.to_pylist(), strict=True):
        assert list(text) == list(row) == list(typed)
        assert text == {name: as_csv_text(value) for name, value in row.items()}
        assert typed == {name: as_parquet(table.schema.field(name), value) for name, value in row.items()}


def as_csv_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def csv_rows(result: CommandResult) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(result.out, newline="")))


def as_parquet(field: Any, value: Any) -> Any:
    """Converts a value of NDJSON to the type of Parquet."""
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
async def test_accounts_and_period_select_transfers(
    environment: dict[str, str], words: tuple[str, ...], revisions: list[int]
) -> None:
    rows = await export_rows(environment, "transfers", *words)
    assert [row["revision"] for row in rows] == revisions
    assert [row["account_id"] for row in rows] == sorted(row["account_id"] for row in rows)


async def test_pages_have_no_gap_and_no_overlap(environment: dict[str, str], owner: Connection) -> None:
    """Pages end within accounts, between accounts, and at the end of the table; some have no matching row."""
    counts = {"a": PAGE_ROWS, "b": 1, "c": 2 * PAGE_ROWS + 1, "zed": PAGE_ROWS - 2 - 7}
    await insert_transfers(owner, counts)
    rows = await export_rows(environment, "transfers")
    assert len(rows) == sum(counts.values()) + 7 == 4 * PAGE_ROWS
    keys = [(row["account_id"], row["revision"]) for row in rows]
    assert keys == sorted(set(keys))
    for account, count in counts.items():
        of_account = await export_rows(environment, "transfers", "--account", account)
        assert of_account == [row for row in rows if row["account_id"] == account]
        assert len(of_account) == count
    old = await export_rows(environment, "transfers", "--until", "2026-02-02T00:00:00Z")
    assert {row["account_id"] for row in old} == {"alice", "bob"}


async def test_export_may_take_longer_than_the_statement_timeout(
    environment: dict[str, str], owner: Connection, database: Database
) -> None:
    await insert_transfers(owner, {"busy": 20 * PAGE_ROWS})
    await owner.execute(f'alter role analyst in database "{database.name}" set statement_timeout = 3000')
    analyst = await asyncpg.connect(database.url("analyst"))
    process, _ = await start_export(environment, "transfers")
    with pytest.raises(asyncpg.QueryCanceledError):
        await analyst.execute("select pg_sleep(30)")
    await analyst.close()
    result = await wait_for_command(process)
    assert (result.code, len(result.out.splitlines())) == (0, 20 * PAGE_ROWS + 7)


async def start_export(environment: dict[str, str], *words: str) -> tuple[asyncio.subprocess.Process, bytes]:
    """Starts an export, and reads its first line. Then the export waits for its reader."""
    process = await start_command(environment, "export", *words)
    assert process.stdout
    return process, await asyncio.wait_for(process.stdout.readline(), 30)


async def test_transfers_applied_during_the_export_are_left_out(
    environment: dict[str, str], owner: Connection
) -> None:
    await insert_transfers(owner, {"a": 8 * PAGE_ROWS, "zed": 3})
    process, head = await start_export(environment, "transfers")
    await owner.execute("insert into transfer select 'zed', 9, 't', 1, 1, now(), now(), 'transfers', 0, 7")
    await owner.execute("update lane set transfers_next = 8")
    result = await wait_for_command(process)
    assert (result.code, len(result.out.splitlines())) == (0, 8 * PAGE_ROWS + 3 + 7)
    assert head.startswith(b"account_id,")
    again = await export_rows(environment, "transfers", "--account", "zed")
    assert [row["revision"] for row in again] == [2, 4, 6, 9]


async def test_export_of_transfers_holds_no_snapshot_between_pages(
    environment: dict[str, str], owner: Connection
) -> None:
    await insert_transfers(owner, {"a": 8 * PAGE_ROWS})
    process, _ = await start_export(environment, "transfers")
    query = "select state, backend_xmin from pg_stat_activity where usename = 'analyst' and datname = $1"
    name = await owner.fetchval("select current_database()")
    async with asyncio.timeout(30):
        while list(map(tuple, await owner.fetch(query, name))) != [("idle", None)]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert (await wait_for_command(process)).code == 0


async def test_export_fails_if_the_epoch_changes(environment: dict[str, str], owner: Connection) -> None:
    await insert_transfers(owner, {"a": 8 * PAGE_ROWS})
    process, _ = await start_export(environment, "transfers")
    await owner.execute("update projection set epoch = 'b'; update lane set epoch = 'b'")
    result = await wait_for_command(process)
    assert result.code == 1
    assert result.err == "livebalance: the epoch changed during the export: start again\n"


async def test_export_to_a_closed_pipe_ends_with_an_error(
    environment: dict[str, str], owner: Connection
) -> None:
    await insert_transfers(owner, {"a": 8 * PAGE_ROWS})
    process, _ = await start_export(environment, "transfers")
    assert process.stdout
    process.stdout._transport.close()  # type: ignore[attr-defined] # as head does
    assert process.stderr
    error = await asyncio.wait_for(process.stderr.read(), 30)
    assert await process.wait() == 1
    assert error == b"livebalance: standard output was closed before all was written\n"


async def test_file_is_replaced_only_by_a_complete_export(
    environment: dict[str, str], owner: Connection, tmp_path: Path
) -> None:
    file = tmp_path / "transfers.parquet"
    file.write_text("old")
    words = "export", "transfers", "--format", "parquet", "--output", str(file)
    await owner.execute("update transfer set total = 123456789012345678901 where transfer_id = 't-4'")
    failed = await run_command(environment, *words)
    assert (failed.code, failed.out) == (1, "")
    assert "a value of total has more than 20 digits" in failed.err
    assert failed.err.count("\n") == 1
    assert (os.listdir(tmp_path), file.read_text()) == ([file.name], "old")
    await owner.execute("update transfer set total = -99999999999999999999.5 where transfer_id = 't-4'")
    result = await run_command(environment, *words)
    assert result.code == 0
    assert result.out.startswith("7 transfers, complete as of")
    assert os.listdir(tmp_path) == [file.name]
    totals = parquet.read_table(file).column("total").to_pylist()
    assert totals[-1] == Decimal("-99999999999999999999.5")


async def test_interrupted_export_leaves_no_file(
    environment: dict[str, str], owner: Connection, tmp_path: Path
) -> None:
    await insert_transfers(owner, {"a": 20 * PAGE_ROWS})
    process = await start_command(environment, "export", "transfers", "--output", str(tmp_path / "a.csv"))
    await wait_until(lambda: bool(os.listdir(tmp_path)))
    async with owner.transaction():
        await owner.execute("lock table transfer in access exclusive mode")  # its next page has to wait
        process.send_signal(signal.SIGTERM)
        result = await wait_for_command(process)
    assert (result.code, result.out, result.err) == (130, "", "livebalance: stopped\n")
    assert os.listdir(tmp_path) == []


async def test_terminal_shows_the_number_of_written_rows(
    environment: dict[str, str], owner: Connection
) -> None:
    await insert_transfers(owner, {"a": 2 * PAGE_ROWS})
    terminal, stderr = pty.openpty()
    process = await start_command({**environment, "TERM": "xterm"}, "export", "transfers", stderr=stderr)
    os.close(stderr)
    assert (await wait_for_command(process)).code == 0
    shown = b""
    with contextlib.suppress(OSError):  # at the end
        while part := os.read(terminal, 65536):
            shown += part
    os.close(terminal)
    assert f"{2 * PAGE_ROWS + 7} written".encode() in shown


PARQUET = ("balances", "--format", "parquet")
MARCH = "2026-03-01T00:00:00Z"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("transfers", "--account", "a b"), 1, "--account must be 1 to 64"),
        (("transfers", "--since", "2026-02-01"), 1, "--since must be a time with a zone"),
        (("transfers", "--until", "yesterday"), 1, "--until must be a time with a zone"),
        (("transfers", "--since", MARCH, "--until", "2026-03-01T01:00:00+01:00"), 1, "not before --until"),
        (("transfers", "--format", "xlsx"), 2, "csv"),
        (("balances", "--since", "2026-02-01T00:00:00Z"), 2, "--since"),
        (PARQUET, 1, "give its name with --output"),
        (("balances", "--output", "/dev/null"), 1, "not a regular file: omit --output"),
        (("balances", "--output", "/proc/none/file"), 1, "No such file or directory"),
    ],
)
async def test_wrong_arguments_give_an_error(
    environment: dict[str, str], words: tuple[str, ...], code: int, message: str
) -> None:
    result = await run_command(environment, "export", *words)
    assert (result.code, result.out) == (code, "")
    assert message in result.err
    assert code == 2 or result.err.count("\n") == 1


async def test_parquet_without_pyarrow_names_the_package(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['pyarrow'] = None\n")
    without_pyarrow = {**environment, "PYTHONPATH": str(tmp_path)}
    result = await run_command(without_pyarrow, "export", *PARQUET, "--output", str(tmp_path / "a.parquet"))
    assert (result.code, result.out) == (1, "")
    assert result.err == "livebalance: Parquet needs pyarrow: pip install pyarrow, or write csv or ndjson\n"
    assert (await run_command(without_pyarrow, "export", "balances")).code == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("update projection set timeline = '00000000'", "is missing, or this server has lost a part of it"),
        ("delete from lane", "is missing, or this server has lost a part of it"),
        ("revoke select on reporting.transfers from analyst", "Postgres: permission denied"),
    ],
)
async def test_unreadable_projection_gives_one_error_line(
    environment: dict[str, str], owner: Connection, change: str, message: str
) -> None:
    await owner.execute(change)
    result = await run_command(environment, "export", "transfers")
    assert result.code == 1
    assert message in result.err
    assert result.err.count("\n") == 1


async def test_unreachable_postgres_gives_one_error_line(environment: dict[str, str]) -> None:
    unreachable = {**environment, "LIVEBALANCE_POSTGRES": "postgresql://analyst@127.0.0.1:1/x"}
    result = await run_command(unreachable, "export", "balances")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("livebalance: Postgres: ")
    assert result.err.count("\n") == 1
