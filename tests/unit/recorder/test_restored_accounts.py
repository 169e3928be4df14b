"""Accounts from a file and the records after its checkpoint are those of a whole restore, whatever crashes.

The restore and its file are the real ones. Two lists of records replace Kafka. Steps of the event loop
replace the thread of the file, so that a seed crashes each write at the same statement.
"""

import asyncio
import random
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from livebalance.recorder import restore as restore_module
from livebalance.recorder import saved_ledger as saved_ledger_module
from livebalance.recorder.account_file import AccountFile
from livebalance.recorder.accounts import Changes
from livebalance.recorder.checkpoint import AccountsCheckpoint, AccountStorage, Log
from livebalance.recorder.halt import SourceCheck
from livebalance.recorder.ledger import Ledger, LedgerAccount
from livebalance.recorder.restore import Restore
from livebalance.recorder.saved_ledger import SavedLedger
from livebalance.recorder.settings import RecorderSettings
from livebalance.runtime.schema.values import Values
from livebalance.wire.identity import AccountId, Lane, Offset, TransferId
from livebalance.wire.kafka.codec import JSON
from livebalance.wire.kafka.lifecycle import ERASURE, Bound, encode_erasure_header
from livebalance.wire.kafka.raw_record import Erasure, decode_balance
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.kafka.source import SOURCE, SOURCE_OFFSET, Source, source_of
from livebalance.wire.money import Money
from tests.unit.recorder.topic_logs import TopicLogs

NAMES = [AccountId(name) for name in "abcd"]
TRANSFERS, BALANCES, TOPIC_ID = "transfers", "account-balances", str(UUID(int=7))
SETTINGS = RecorderSettings(value_format="json", duplicate_window_offsets=5)

Erased = Mapping[AccountId, Offset]
Step = tuple[str, AccountId]
KINDS = [
    "record",
    "record",
    "record",
    "balance",
    "balance of a transfer",
    "erase",
    "erase more",
    "crash",
    "lost commit",
]
steps = st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(NAMES)), max_size=20)


class World:
    """A recorder that owns a partition, its file, and the two topics."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.logs, self.values = directory, TopicLogs(), Values(SETTINGS)
        self.written, self.count = list[int](), 0

    @property
    def transfers_end(self) -> Offset:
        return Offset(len(self.logs.records[TRANSFERS]))

    def check(self) -> SourceCheck:
        check = SourceCheck(TOPIC_ID, TRANSFERS, Lane(0), accepts_others=False, trusts_offsets=True)
        check.end = self.transfers_end
        return check

    async def claim(self) -> None:
        own, self.written, self.source_check = f"{TOPIC_ID}/0@".encode(), [], self.check()
        self.restore = Restore(
            SETTINGS, self.values, Lane(0), self.source_check, own=own, storage=AccountStorage(self.directory)
        )
        log = Log(0, len(self.logs.records[BALANCES]), self.transfers_end)
        self.ledger = await self.restore.ledger(self.transfers_end, (), "origin", log, rebuild=False)

    async def step(self, kind: str, account: AccountId) -> None:
        self.count += 1
        if kind == "erase":
            self.logs.append(BALANCES, account.encode(), None)
        elif kind == "erase more":  # also the next transfer, which may be under way
            bound = encode_erasure_header(Bound(UUID(TOPIC_ID), Offset(self.transfers_end + 1)))
            self.logs.append(BALANCES, account.encode(), None, ((ERASURE, bound),))
        elif kind.startswith("balance"):
            value = JSON.encode_balance(
                Balance(account, "other", TransferId(f"b-{self.count}"), Money(self.count, 2), 1)
            )
            newest = str(self.transfers_end - 1).encode()
            known = kind == "balance of a transfer" and self.transfers_end
            headers = ((SOURCE_OFFSET, newest),) if known else ()
            self.logs.append(BALANCES, account.encode(), value, headers)
        elif kind == "crash":
            await self.crash()
        else:
            await self.record(account, commits=kind == "record")

    async def crash(self) -> None:
        await self.restore.stop()  # without the changes since the last save
        await self.claim()

    async def record(self, account: AccountId, *, commits: bool) -> None:
        """Records a transfer as a partition does."""
        transfer = Transfer(TransferId(f"t-{self.count}"), account, Money(1, 2), 0)
        await self.restore.read_new_balances(self.written)
        await self.restore.load([account])
        if self.ledger.has_unknown_account([transfer]):
            await self.restore.read_all_balances()
            await self.restore.load([account])
        offset = self.transfers_end
        decision = self.ledger.apply(offset, account.encode(), transfer)
        if not commits:
            await self.crash()
            return
        self.logs.append(TRANSFERS, account.encode(), JSON.encode_transfer(transfer))
        source = Source(TOPIC_ID, Lane(0), offset, bytes(16))
        first = len(self.logs.records[BALANCES])
        self.written = [*range(first, first + len(decision.balances))] or self.written
        for balance in decision.balances:
            headers = ((SOURCE, source.encode()), (SOURCE_OFFSET, str(offset).encode()))
            self.logs.append(BALANCES, account.encode(), JSON.encode_balance(balance), headers)
        self.source_check.end = self.transfers_end
        self.source_check.advance(source)

    async def accounts(self) -> tuple[Changes, Erased]:
        await self.restore.read_new_balances(self.written)
        await self.restore.load(NAMES)
        saved: SavedLedger = self.restore._saved_ledger
        return {name: saved._accounts.get(name) for name in NAMES}, self.ledger.erased

    def restored_as_a_whole(self) -> tuple[Changes, Erased]:
        accounts: dict[AccountId, LedgerAccount] = {}
        ledger, check = Ledger(0, accounts=accounts), self.check()
        for record in self.logs.records[BALANCES]:
            balance = decode_balance(record, JSON)
            if isinstance(balance, Erasure):
                ledger.remove(balance.account, balance.transfers.before if balance.transfers else None)
            else:
                assert isinstance(balance, Balance)
                ledger.restore(balance, check.offset(source_of(record.headers)))
        return {name: accounts.get(name) for name in NAMES}, ledger.erased


async def run(history: list[Step], choices: random.Random) -> None:
    async def run_in_steps(file: AccountFile, call: Callable[..., Any], *arguments: Any) -> Any:
        for _ in range(choices.randrange(3)):
            await asyncio.sleep(0)
        return call(*arguments)

    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        world = World(Path(directory))
        patch.setattr(restore_module, "read_range", world.logs.read_range)
        patch.setattr(restore_module, "PartitionReader", world.logs.reader)
        patch.setattr(SourceCheck, "check_record", lambda *_: None)  # the fingerprints are made up
        patch.setattr(SavedLedger, "is_save_due", property(lambda _: choices.random() < 0.5))
        patch.setattr(saved_ledger_module, "_ACCOUNTS", 1)
        patch.setattr(AccountFile, "_run", run_in_steps)
        await world.claim()
        try:
            for step in history:
                await world.step(*step)
                if choices.random() < 0.3:
                    assert await world.accounts() == world.restored_as_a_whole()
            await world.crash()
            assert await world.accounts() == world.restored_as_a_whole()
        finally:
            await world.restore.stop()


def check_law(history: list[Step], seed: int) -> None:
    asyncio.run(run(history, random.Random(seed)))


@given(steps, st.integers(0, 1_000))
@settings(deadline=None)
def test_accounts_after_any_crashes_are_those_of_a_whole_restore(history: list[Step], seed: int) -> None:
    check_law(history, seed)


async def test_accounts_of_its_own_balances_are_saved_before_they_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    monkeypatch.setattr(restore_module, "read_range", world.logs.read_range)
    monkeypatch.setattr(restore_module, "PartitionReader", world.logs.reader)
    monkeypatch.setattr(saved_ledger_module, "_SAVE_SECONDS", float("inf"))
    monkeypatch.setattr(saved_ledger_module, "_MAX_CHANGES", 2)
    await world.claim()
    for name in NAMES:
        await world.record(name, commits=True)
        assert world.restore._saved_ledger._accounts.changes <= 2
    await world.restore.stop()


QUICK = settings(
    database=None,
    deadline=None,
    derandomize=True,
    max_examples=300,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


async def write_checkpoint_only(self: AccountFile, changes: Changes, checkpoint: AccountsCheckpoint) -> None:
    await self._run(self._execute, "begin")
    await self._run(self._commit, f"[{checkpoint.next_offset},{checkpoint.complete_at}]")


async def write_without_erasures(self: AccountFile, changes: Changes, checkpoint: AccountsCheckpoint) -> None:
    await WRITE(self, {name: value for name, value in changes.items() if value}, checkpoint)


async def write_too_far(self: AccountFile, changes: Changes, checkpoint: AccountsCheckpoint) -> None:
    await WRITE(self, changes, checkpoint._replace(next_offset=checkpoint.next_offset + 1))


WRITE = AccountFile._write


@pytest.mark.mutant
@pytest.mark.parametrize(
    "mutant", [write_checkpoint_only, write_without_erasures, write_too_far], ids=lambda m: m.__name__
)
def test_accounts_saved_wrongly_differ(mutant: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AccountFile, "_write", mutant)
    law = given(steps, st.integers(0, 1_000))(check_law)
    with pytest.raises(AssertionError):
        QUICK(law)()
