"""The file of a partition's accounts: crashes, damage, and other processes."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from livebalance.recorder.account_file import AccountFile
from livebalance.recorder.accounts import Changes
from livebalance.recorder.checkpoint import AccountsCheckpoint
from livebalance.recorder.ledger import LedgerAccount
from livebalance.runtime.process import failpoints
from livebalance.wire.identity import AccountId, Lane, Offset, TransferId
from livebalance.wire.kafka.record import Balance
from livebalance.wire.kafka.source import Source
from livebalance.wire.money import Money

CHECKPOINT = AccountsCheckpoint(7, 1.5, Source("topic", Lane(3), Offset(5), bytes(range(16))), Offset(5))
LARGE = 2**63 - 1


class CrashError(Exception):
    """Ends a write before its commit."""


def crash(point: str) -> None:
    raise CrashError


def account(name: str, unscaled: int = LARGE) -> LedgerAccount:
    balance = Balance(AccountId(name), 'a "client" ü', TransferId("t-1"), Money(unscaled, 18), 2**53 - 1)
    return LedgerAccount(balance, Offset(LARGE))


NAMES = [AccountId(f"acc-{n}") for n in range(2_500)]
CHANGES: Changes = {name: account(name) for name in NAMES}


async def saved(directory: Path) -> None:
    file = AccountFile(directory, "b-0")
    assert await file.open("origin") is None
    await file.write(CHANGES, CHECKPOINT)
    await file.write({NAMES[0]: None, NAMES[1]: account(NAMES[1], -LARGE - 1)}, CHECKPOINT)
    await file.written()
    await file.close()


async def test_saved_accounts_are_read_again_exactly(tmp_path: Path) -> None:
    await saved(tmp_path)
    file = AccountFile(tmp_path, "b-0")
    assert await file.open("origin") == CHECKPOINT
    found = await file.read([*NAMES, AccountId("unknown")])
    assert found == {**{name: CHANGES[name] for name in NAMES[2:]}, NAMES[1]: account(NAMES[1], -LARGE - 1)}
    assert await file.read([]) == {}
    await file.close()


async def test_incomplete_write_is_not_saved(tmp_path: Path) -> None:
    await saved(tmp_path)
    file = AccountFile(tmp_path, "b-0")
    await file.open("origin")
    await file.write(dict.fromkeys(NAMES), CHECKPOINT._replace(next_offset=9))
    await asyncio.sleep(0)
    await file.close()
    again = AccountFile(tmp_path, "b-0")
    assert await again.open("origin") == CHECKPOINT
    assert len(await again.read(NAMES)) == len(NAMES) - 1
    await again.close()


async def test_write_that_ends_before_its_commit_saves_neither_accounts_nor_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await saved(tmp_path)
    file = AccountFile(tmp_path, "b-0")
    await file.open("origin")
    monkeypatch.setattr(failpoints, "at", crash)
    await file.write(dict.fromkeys(NAMES), CHECKPOINT._replace(next_offset=9))
    with pytest.raises(CrashError):
        await file.written()
    await file.close()
    again = AccountFile(tmp_path, "b-0")
    checkpoint, accounts = await again.open("origin"), await again.read(NAMES)
    await again.close()
    assert checkpoint == CHECKPOINT
    assert len(accounts) == len(NAMES) - 1


async def test_accounts_of_another_origin_have_no_checkpoint(tmp_path: Path) -> None:
    await saved(tmp_path)
    file = AccountFile(tmp_path, "b-0")
    assert await file.open("other") is None
    await file.clear()
    assert await file.read(NAMES) == {}
    await file.close()


async def test_second_process_uses_a_file_of_its_own(tmp_path: Path) -> None:
    """An owner that is paused may still have its file open."""
    await saved(tmp_path)
    first, second = AccountFile(tmp_path, "b-0"), AccountFile(tmp_path, "b-0")
    assert await first.open("origin") == CHECKPOINT
    assert await second.open("origin") is None
    await second.write({NAMES[0]: account(NAMES[0])}, CHECKPOINT._replace(next_offset=8))
    await first.write({NAMES[2]: None}, CHECKPOINT)
    for file in (first, second):
        await file.written()
        await file.close()
    again = AccountFile(tmp_path, "b-0")
    assert await again.open("origin") == CHECKPOINT
    assert len(await again.read(NAMES)) == len(NAMES) - 2
    await again.close()


def write_over(path: Path, offset: int) -> None:
    with path.open("r+b") as opened:
        opened.seek(offset)
        opened.write(b"\xff" * 8192)


async def test_file_that_is_no_database_is_created_again(tmp_path: Path) -> None:
    await saved(tmp_path)
    write_over(tmp_path / "b-0.0.sqlite", 0)
    file = AccountFile(tmp_path, "b-0")
    assert await file.open("origin") is None
    assert await file.read(NAMES) == {}
    await file.close()


async def test_file_with_damaged_content_is_deleted_when_it_is_closed(tmp_path: Path) -> None:
    await saved(tmp_path)
    write_over(tmp_path / "b-0.0.sqlite", 3 * 4096)
    file = AccountFile(tmp_path, "b-0")
    await file.open("origin")
    with pytest.raises(sqlite3.DatabaseError):
        await file.read(NAMES)
    await file.close()
    assert not (tmp_path / "b-0.0.sqlite").exists()
