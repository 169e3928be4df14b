"""Planted mutants of the SQL in libs/readmodel: each removes a predicate on which money or rights depend."""

import asyncpg

from livebalance.readmodel import (
    account_pages,
    erasures,
    gateway_reads,
    lane_totals,
    quarantine,
    recorder_writes,
    revocations,
    statements,
)
from livebalance.readmodel.operator import projection_actions
from livebalance.readmodel.projection import account_reads, batch_writes, epoch, lane_writes
from livebalance.readmodel.rebuild import replacement
from livebalance.readmodel.sets import reads as set_reads
from livebalance.readmodel.sets import totals
from tests.mutation.planted import Planted, attribute, code, sql
from tests.servers.database import Database

_READMODEL = "tests/integration/readmodel/"
_WRITES = f"{_READMODEL}test_projection.py::"
_ERASED = f"{_READMODEL}test_erasures.py::"
_SETS = f"{_READMODEL}test_set_totals.py::"
_TOTALS = f"{_READMODEL}test_lane_totals.py::"
_SINGLE = f"{_READMODEL}test_predicates.py::"
_SECURITY = f"{_READMODEL}test_row_level_security.py::"
_RIGHTS = f"{_SECURITY}test_accounts_are_named_before_the_lookup_in_every_plan"

CREATE_DATABASE = Database.create


async def create_without_row_level_security(database: Database) -> None:
    await CREATE_DATABASE(database)
    connection = await asyncpg.connect(database.url("owner"))
    for table in ("balance", "transfer"):
        await connection.execute(f"alter table {table} disable row level security")
    await connection.close()


PREDICATES = (
    Planted(
        "a gateway sees the accounts that its statement names",
        f"{_SECURITY}test_only_named_accounts_are_visible",
        attribute(Database, "create", create_without_row_level_security),
        r"^AssertionError: assert .* == \(\{'alice'\}, \{'alice'\}\)",
        "settings5",
    ),
    Planted(
        "the fence compares the generation",
        f"{_WRITES}test_claim_fences_the_previous_generation",
        sql(lane_writes, "MOVE", " and l.generation = m.generation", ""),
        "^AssertionError: assert 1 == 0",
    ),
    Planted(
        "the fence compares the epoch",
        f"{_WRITES}test_fence_moves_only_lanes_in_the_expected_state",
        sql(lane_writes, "MOVE", " and l.epoch = m.epoch", ""),
        r"^AssertionError: assert .* == \[\].*one more item: \{'epoch': 'ffffffffffffffff'\}",
    ),
    Planted(
        "the fence compares the offset of transfers",
        f"{_WRITES}test_fence_moves_only_lanes_in_the_expected_state",
        sql(lane_writes, "MOVE", "l.transfers_next = m.transfers_from and ", ""),
        r"^AssertionError: assert .* == \[\].*one more item: \{'transfers_from': 1\}",
    ),
    Planted(
        "the fence compares the offset of balances",
        f"{_WRITES}test_fence_moves_only_lanes_in_the_expected_state",
        sql(lane_writes, "MOVE", " and l.balances_next = m.balances_from", ""),
        r"^AssertionError: assert .* == \[\].*one more item: \{'balances_from': 1\}",
    ),
    Planted(
        "balances are written behind the fence",
        f"{_WRITES}test_batch_of_a_fenced_projector_writes_nothing",
        sql(batch_writes, "_WRITE", "\n   where fence.holds),\nchanged", "),\nchanged"),
        r"^AssertionError: assert WriteResult.* == \(1, 0, 0\).*At index 1 diff: 2 != 0",
    ),
    Planted(
        "transfers are written behind the fence",
        f"{_WRITES}test_batch_of_a_fenced_projector_writes_nothing",
        sql(batch_writes, "_WRITE", "\n   where fence.holds),\nreplaced", "),\nreplaced"),
        r"^AssertionError: assert WriteResult.* == \(1, 0, 0\).*At index 2 diff: 1 != 0",
    ),
    Planted(
        "an account is written at the revision at which it was read",
        f"{_WRITES}test_account_is_written_only_at_the_expected_revision",
        sql(batch_writes, "_WRITE", " and b.revision = x.was", ""),
        "^AssertionError: assert 1 == 0",
    ),
    Planted(
        "erased_revision never decreases",
        f"{_WRITES}test_erased_revision_never_decreases",
        sql(batch_writes, "_WRITE", "greatest(b.erased_revision, x.erased_revision)", "x.erased_revision"),
        "^AssertionError: assert 2 == 4",
    ),
    Planted(
        "only erased transfers are replaced",
        f"{_WRITES}test_transfer_replaces_an_erased_transfer_only_if_all_were_looked_up",
        sql(
            batch_writes,
            "_WRITE",
            "\n     and t.revision <= greatest(b.erased_revision, a.erased_revision)",
            "",
        ),
        "^AssertionError: assert 1 == 0",
    ),
    Planted(
        "transfers are replaced only if all were looked up",
        f"{_WRITES}test_transfer_replaces_an_erased_transfer_only_if_all_were_looked_up",
        sql(
            batch_writes,
            "_WRITE",
            f"${batch_writes._TOPIC + 1}::bool",
            f"${batch_writes._TOPIC + 1}::bool is not null",
        ),
        "^AssertionError: assert 2 == 1",
    ),
    Planted(
        "an erased transfer is not listed",
        f"{_WRITES}test_erased_transfer_is_not_listed",
        sql(account_reads, "_LISTED", "where t.revision > coalesce(b.erased_revision, 0)", ""),
        r"^AssertionError: assert \[\('a', 't'\), \('a', 'u'\)\] == \[\('a', 'u'\)\]",
    ),
    Planted(
        "transfers of a former topic do not survive an erasure",
        "tests/integration/projector/test_lane_continue.py"
        "::test_erasure_after_a_move_erases_the_transfers_of_the_former_topic",
        sql(
            account_reads,
            "_LISTED_SINCE",
            "greatest(b.erased_revision, b.moved_revision)",
            "b.erased_revision",
        ),
        r"^AssertionError: assert \[.*\] == \[\(0,\)\]",
    ),
    Planted(
        "an epoch is changed once",
        f"{_WRITES}test_epoch_is_changed_by_a_single_process",
        sql(epoch, "_CHANGE_EPOCH", " where epoch = $1", " where epoch is distinct from $1 or true"),
        "^AssertionError: assert not True",
    ),
    Planted(
        "a claim after an older release asks for a count",
        f"{_TOTALS}test_lane_of_an_older_release_is_counted_again",
        sql(lane_writes, "_CLAIM", "case when totals_generation = generation then", "case when true then"),
        r"^AssertionError: assert LanesTotals.* uncounted: \[\] != \[0, 1\]",
    ),
    Planted(
        "a former owner counts nothing",
        f"{_TOTALS}test_count_of_a_former_owner_changes_nothing",
        sql(lane_totals, "_COUNT", "using (lane, generation)", "using (lane)"),
        r"^AssertionError: assert \[\] == \[0\]",
    ),
    Planted(
        "a count adds what batches added meanwhile",
        f"{_TOTALS}test_batch_that_commits_during_the_count_is_counted_once",
        sql(
            lane_totals,
            "_COUNT",
            "disputed = l.disputed - s.disputed + coalesce(c.disputed, 0)",
            "disputed = coalesce(c.disputed, 0)",
        ),
        "^AssertionError: assert Totals.* disputed: 2 != 3",
    ),
    Planted(
        "a claim after an older release makes the totals of sets invalid",
        f"{_SETS}test_total_that_an_older_release_left_behind_is_counted_again",
        sql(
            lane_writes,
            "_CLAIM",
            "case when kept_generation = generation then kept_since",
            "case when true then kept_since",
        ),
        "^AssertionError: counted totals are not those of SQL",
    ),
    Planted(
        "a rebuild makes the totals of sets invalid",
        f"{_SETS}test_rebuild_lets_the_totals_be_counted_again",
        code(replacement, "begin_epoch", ", kept_since = generation + 1", ""),
        "^AssertionError: counted totals are not those of SQL",
    ),
    Planted(
        "a former owner counts no set",
        f"{_SETS}test_former_owner_counts_nothing",
        sql(totals, "_COUNT_PREFIX", "join lane using (lane, generation)", "where true"),
        "^AssertionError: assert 1 == 0",
    ),
    Planted(
        "a set is counted only if it was followed all the time",
        f"{_SETS}test_set_that_was_followed_anew_meanwhile_is_not_counted",
        sql(totals, "_COUNT_PREFIX", " and followed_since = $5", " and $5::timestamptz is not null"),
        "^AssertionError: assert 1 == 0",
    ),
    Planted(
        "a count adds to what batches keep meanwhile",
        f"{_SETS}test_batches_that_commit_around_the_count_are_counted_once",
        sql(
            totals,
            "_COUNT_PREFIX",
            "accounts = t.accounts + excluded.accounts, amount = t.amount + excluded.amount",
            "accounts = excluded.accounts, amount = excluded.amount",
        ),
        "^AssertionError: assert ",
    ),
    Planted(
        "of two counts at once the second adds nothing",
        f"{_SETS}test_two_counts_of_a_set_add_what_is_missing_once",
        sql(totals, "_COUNT_PREFIX", "\n   where c.counted_at = excluded.counted_at", ""),
        "^AssertionError: assert ",
    ),
    Planted(
        "a former owner forgets nothing",
        f"{_SETS}test_former_owner_forgets_nothing",
        sql(totals, "_FORGET_TOTALS", " and generation = $2", " and $2::int8 is not null"),
        "^AssertionError: assert ",
    ),
    Planted(
        "a set that is not followed any more is forgotten with its totals",
        f"{_SETS}test_set_that_is_not_followed_any_more_is_forgotten",
        sql(totals, "_FORGET_TOTALS", "where lane = $1", "where lane = $1 and false"),
        "^AssertionError: assert ",
    ),
    Planted(
        "a gateway finds a lane that keeps another total than SQL sums up",
        f"{_SETS}test_wrong_total_is_found_and_corrected",
        sql(set_reads, "_PREFIX", "(t.accounts, t.amount) is distinct from (s.accounts, s.amount)", "false"),
        r"^AssertionError: assert \[\] == \[0\]",
    ),
    Planted(
        "a lane without erased transfers has nothing to delete",
        f"{_ERASED}test_pieces_delete_erased_transfers_only",
        sql(
            lane_totals, "_READ", "\n                         and b.erased_revision > b.deleted_revision", ""
        ),
        r"^AssertionError: assert \[0\] == \[\]",
    ),
    Planted(
        "another owner deletes nothing",
        f"{_ERASED}test_pieces_delete_erased_transfers_only",
        sql(erasures, "_DELETE", " and generation = $2", " and $2::int8 > 0"),
        "^AssertionError: assert not True",
    ),
    Planted(
        "a piece ends at the erased revision",
        f"{_ERASED}test_pieces_delete_erased_transfers_only",
        sql(erasures, "_DELETE", " and t.revision <= p.up_to", ""),
        r"^AssertionError: assert None == \[12, 13, 14",
    ),
    Planted(
        "a snapshot has no erased transfer",
        f"{_ERASED}test_gateway_sees_no_erased_transfer",
        sql(
            gateway_reads,
            "_ACCOUNTS",
            "\n                   and revision > coalesce(b.erased_revision, 0)",
            "",
        ),
        r"^AssertionError: assert \[5, 6, 7, 8, 9, 10, \.\.\.\] == \[22, 23, 24\]",
    ),
    Planted(
        "a resumed client gets no erased transfer",
        f"{_ERASED}test_gateway_sees_no_erased_transfer",
        sql(
            gateway_reads,
            "_ACCOUNTS",
            "\n                       and w.after >= coalesce(b.erased_revision, 0)",
            "",
        ),
        r"^AssertionError: assert \[7, 8, 9, 10, 11, 12, \.\.\.\] == \[22, 23, 24\]",
    ),
    Planted(
        "an erased transfer is not read by its id",
        f"{_ERASED}test_gateway_sees_no_erased_transfer",
        sql(account_pages, "_BY_ID", "\n          and revision > coalesce(b.erased_revision, 0)", ""),
        r"^AssertionError: assert TransferDetailView\(id='t-19'",
    ),
    Planted(
        "a position of another epoch continues nothing",
        f"{_SINGLE}test_position_of_another_epoch_gets_the_newest_transfers",
        sql(gateway_reads, "_ACCOUNTS", "w.epoch = n.epoch and ", ""),
        r"^AssertionError: assert \(True, \[3\]\) == \(False, \[3, 2, 1\]\)",
    ),
    Planted(
        "a position ahead of Postgres continues nothing",
        f"{_SINGLE}test_position_ahead_of_postgres_gets_the_newest_transfers",
        sql(gateway_reads, "_ACCOUNTS", " between 0 and $4", " <= $4"),
        r"^AssertionError: assert \(True, \[\]\) == \(False, \[3, 2, 1\]\)",
    ),
    Planted(
        "a projection is read on the server that it was written to",
        f"{_SINGLE}test_projection_of_another_server_is_not_read",
        attribute(gateway_reads, "check_known", lambda rows: rows[0]),
        "^Failed: DID NOT RAISE",
    ),
    Planted(
        "an audit finds accounts at another revision",
        _RIGHTS,
        sql(gateway_reads, "_AUDIT", "coalesce(b.revision, 0) <> w.revision or c.differs", "c.differs"),
        r"^AssertionError: assert \{\} == \{'bob': 3\}",
        "default",
    ),
    Planted(
        "an audit that finds other content at the same revision names no revision",
        f"{_READMODEL}test_read_model.py::test_audit_finds_equal_content_in_what_was_read",
        code(gateway_reads, "read_audit", " if revision != expected[account].revision", ""),
        r"^AssertionError: assert not \{'",
    ),
    Planted(
        "a page begins after the last account of the previous page",
        _RIGHTS,
        sql(
            account_pages,
            "_LIST",
            "account_id > $1 and account_id >= left(p.prefix, -1)",
            "$1::text is not null and account_id >= left(p.prefix, -1)",
        ),
        r"^AssertionError: assert \['EU-1', 'EU-2', 'bob'\] == \['EU-2', 'bob'\]",
        "default",
    ),
    Planted(
        "an older page begins after erased transfers",
        f"{_ERASED}test_gateway_sees_no_erased_transfer",
        sql(account_pages, "_OLDER", "revision > e.erased and", ""),
        r"^AssertionError: assert .*At index 0 diff: \[5, 6, 7",
    ),
    Planted(
        "a newer page begins after erased transfers",
        f"{_ERASED}test_gateway_sees_no_erased_transfer",
        sql(account_pages, "_NEWER", "greatest($2, b.erased_revision)", "$2"),
        r"^AssertionError: assert .*At index 1 diff: \[5, 6, 7",
    ),
    Planted(
        "a transfer at the edge of a period is after it",
        f"{_READMODEL}test_long_account.py::test_edges_equal_the_last_transfer_before_a_time",
        lambda patch: patch.setattr(
            statements, "_EDGES", statements._EDGES.replace("x.recorded_at < ", "x.recorded_at <= ")
        ),
        r"^AssertionError: assert \(\d+, \d+\) == \(\d+, \d+\)",
        "40",
    ),
    Planted(
        "old revocations are not read again",
        f"{_SINGLE}test_revocations_are_read_back_to_a_time",
        sql(revocations, "_READ_PAGE", "now() - $2::interval", "now() - $2::interval * 1000"),
        r"^AssertionError: assert \['old', 'new'\] == \['new'\]",
    ),
    Planted(
        "a revocation that is committed late is read",
        f"{_READMODEL}test_revocations.py::test_each_revocation_is_read_once_however_late_it_is_committed",
        sql(revocations, "_READ_NEW", "xid >= pg_snapshot_xmin", "xid >= pg_snapshot_xmax"),
        r"^AssertionError: assert set\(\) == \{'late'\}",
    ),
    Planted(
        "a replay is settled once",
        f"{_SINGLE}test_replay_is_settled_once",
        sql(quarantine, "_SETTLE", " and q.state = 'replay'", ""),
        "^AssertionError: assert not True",
    ),
    Planted(
        "an owner replays the records of its own lanes",
        f"{_SINGLE}test_owner_replays_marked_records_of_its_lanes",
        sql(quarantine, "_REQUESTED", " and partition = any($1)", " and cardinality($1::int[]) > 0"),
        r"^AssertionError: assert \[1, 2\] == \[1\]",
    ),
    Planted(
        "only marked records are replayed",
        f"{_SINGLE}test_owner_replays_marked_records_of_its_lanes",
        sql(quarantine, "_REQUESTED", "state = 'replay' and ", ""),
        r"^AssertionError: assert \[1, 3\] == \[1\]",
    ),
    Planted(
        "an erasure discards the records of its account",
        f"{_SINGLE}test_erasure_discards_records_of_its_account",
        sql(quarantine, "_DISCARD", " and key = any($1)", " and cardinality($1::bytea[]) > 0"),
        r"^AssertionError: assert \['erased', 'erased', 'erased'\] ==",
    ),
    Planted(
        "a record is skipped at the offset at which it was read",
        f"{_SINGLE}test_record_is_skipped_only_at_the_offsets_that_were_read",
        sql(projection_actions, "_SKIP", " and transfers_next = $5", " and $5::int8 >= 0"),
        "^AssertionError: assert not True",
    ),
    Planted(
        "only a halted lane skips a record",
        f"{_SINGLE}test_record_is_skipped_only_at_the_offsets_that_were_read",
        sql(
            projection_actions,
            "_SKIP",
            "\n  and halted_why is not null\nreturning halted_why",
            "\nreturning coalesce(halted_why, '')",
        ),
        "^AssertionError: assert not True",
    ),
    Planted(
        "rejected offsets are of the topic that is read now",
        f"{_SINGLE}test_rejected_offsets_are_of_the_topic_that_is_read_now",
        sql(recorder_writes, "_REJECTED", "\n   and q.held_at >= l.since", ""),
        r"^AssertionError: assert \{7, 8\} == \{8\}",
    ),
)
