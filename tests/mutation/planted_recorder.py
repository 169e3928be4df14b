"""Planted mutants of the recorder's shells: the order of a claim, and what a crash must find in its order."""

from textwrap import indent

from livebalance.recorder import __main__ as entry
from livebalance.recorder.account_file import AccountFile
from livebalance.recorder.partition import Partition
from livebalance.recorder.recorder import Recorder
from livebalance.runtime.kafka.reader import PartitionReader
from tests.mutation.planted import Planted, code

_CLAIM = "tests/integration/recorder/test_claim_order.py::"
_RECORDER = "tests/integration/recorder/test_recorder.py::"
_CHANGED = f"{_CLAIM}test_claim_of_changed_topics_halts_before_anything_is_restored"
_FILE = "tests/unit/recorder/test_account_file.py::"
_READ_COMMITTED = 'isolation_level="read_committed"'
_READ_UNCOMMITTED = 'isolation_level="read_uncommitted"'

_QUARANTINE = """\
    await self._store.quarantine(
        [quarantine_row(record, decision.reason) for record, decision in rejected]
    )
"""
_COMMIT = """\
    if decided:
        last = decided[-1][0]
        next_offset = Offset(last.offset + 1)
        balances = list(self._balances(decided))
        await self._commit(balances, next_offset)
"""
_SAVE = """\
        await self._restore._saved_ledger.save()
        await self._restore._saved_ledger.saved()
"""
_STORE_CHECKPOINT = "await self._run(self._commit, msgspec.json.encode(checkpoint).decode())\n"

RECORDER = (
    Planted(
        "a recorder reads Kafka's offsets after it has fenced the previous owner",
        f"{_CLAIM}test_claim_reads_offsets_after_the_previous_owner_is_fenced",
        code(
            Partition,
            "claim",
            "        await start_client(self._producer)\n        offsets = await read_offsets()\n",
            "        offsets = await read_offsets()\n        await start_client(self._producer)\n",
        ),
        r"^AssertionError: assert .*\+ a balance includes offset 1 but \S+ ends at 1",
    ),
    Planted(
        "a recorder compares the partition counts before it restores",
        _CHANGED,
        code(Partition, "_halt_unless_readable", "partitions_reason(lane.identity, identity)", "None"),
        "^AssertionError: assert 'claimed' == .*- the topics have 3 partitions",
        "more_partitions",
    ),
    Planted(
        "a recorder compares the ids of the topics before it restores",
        _CHANGED,
        code(
            Partition,
            "_halt_unless_readable",
            "None if lane.continued else topics_reason(lane.identity, identity, topics)",
            "None",
        ),
        r"^AssertionError: assert .*- \S+ has another topic id now",
        "other_topic",
    ),
    Planted(
        "a recorder compares its next offset with the log before it restores",
        _CHANGED,
        code(
            Partition,
            "_halt_unless_readable",
            "unreadable_reason(self._source.topic, offsets.first, offsets.end, self.next_offset)",
            "None",
        ),
        r"^AssertionError: assert 'claimed' == .*- \S+ begins at 3 but 1 comes next",
        "lost_history",
    ),
    Planted(
        "a partition is fetched once it is restored",
        "tests/integration/recorder/test_restore.py::test_partition_is_not_recorded_before_it_is_restored",
        code(Recorder, "_paused", " | self._claims.under_way", ""),
        "^AssertionError:  in `assert self._restore`",
    ),
    Planted(
        "accounts are saved once Kafka has committed them",
        f"{_CLAIM}test_accounts_of_a_batch_that_was_not_committed_are_not_saved",
        code(
            Partition,
            "record",
            _COMMIT,
            _COMMIT.replace("        await self._commit", f"{_SAVE}        await self._commit"),
        ),
        r"^AssertionError: assert \['', 't-0'\] == \['', 't-0', 't-1'\]",
    ),
    Planted(
        "a checkpoint is saved in the transaction of its accounts",
        f"{_FILE}test_write_that_ends_before_its_commit_saves_neither_accounts_nor_checkpoint",
        code(
            AccountFile,
            "_write",
            '    await self._run(self._execute, "begin")\n',
            f'    await self._run(self._execute, "begin")\n    {_STORE_CHECKPOINT}'
            '    await self._run(self._execute, "begin")\n',
        ),
        "^AssertionError: assert AccountsCheck.*next_offset: 9 != 7",
    ),
    Planted(
        "accounts are saved in a single transaction",
        f"{_FILE}test_write_that_ends_before_its_commit_saves_neither_accounts_nor_checkpoint",
        code(
            AccountFile,
            "_write",
            '    failpoints.at("recorder_before_save")\n',
            '    await self._run(self._execute, "commit")\n    failpoints.at("recorder_before_save")\n'
            '    await self._run(self._execute, "begin")\n',
        ),
        "^AssertionError: assert 0 == ",
    ),
    Planted(
        "a rejected transfer is in the quarantine before the recorder moves past it",
        "tests/integration/recorder/test_rejected_transfers.py::"
        "test_transfer_is_quarantined_before_the_recorder_moves_past_it",
        code(Partition, "record", _QUARANTINE + _COMMIT, _COMMIT + indent(_QUARANTINE, "    ")),
        r"^AssertionError: assert \[1\] == \[2\]",
    ),
    Planted(
        "a ledger that is ahead of the topic is not used on",
        f"{_RECORDER}test_batch_that_failed_is_recorded_again",
        code(
            Recorder,
            "_try_step",
            "        await self._release([at])\n        return False\n    return True",
            "        return False\n    return True",
        ),
        "^AssertionError: Invalid state transition TransactionState.IN_TRANSACTION",
    ),
    Planted(
        "an account is opened at 0 only if its opening is not under way",
        f"{_RECORDER}test_recorder_waits_for_an_opening_that_is_not_committed",
        code(Partition, "_apply", "if self._ledger.has_unknown_account(known):", "if not known:"),
        r"^AssertionError: assert .*At index 1 diff: \(0, '', '0.00'\) != \(1, 't-1', '5.01'\)",
    ),
    Planted(
        "a recorder hears erasures",
        "tests/integration/recorder/test_erasure.py::"
        "test_transfer_after_an_erasure_brings_neither_balance_nor_client_back",
        code(Partition, "record", "await self._restore.read_new_balances(self._written)", "pass"),
        r"^AssertionError: assert .*At index 2 diff: \(2, '100.06', 'Ada Lovelace'\)",
    ),
    Planted(
        "a recorder reads committed transfers",
        f"{_RECORDER}test_transfer_of_an_aborted_transaction_is_not_applied",
        code(entry, "_consumer", _READ_COMMITTED, _READ_UNCOMMITTED),
        r"^AssertionError: assert .*At index 1 diff: \(1, 'aborted', '0.01'\)",
    ),
    Planted(
        "a recorder hears committed erasures",
        "tests/integration/recorder/test_erasure.py::test_erasure_in_an_aborted_transaction_erases_nothing",
        code(PartitionReader, "__init__", _READ_COMMITTED, _READ_UNCOMMITTED),
        r"^AssertionError: assert \[0, 1, 0",
    ),
)
