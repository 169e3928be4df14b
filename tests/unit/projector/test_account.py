"""An account is the same after it was copied, written and read."""

from dataclasses import replace

from livebalance.projector.fold.account import DRIFT, Account, ErasedBounds, account_from_row
from livebalance.readmodel.rows import BalanceRow
from livebalance.wire.identity import AccountId, Lane, Offset, Revision, TransferId
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import ZERO, Money
from livebalance.wire.timestamp import Millis
from livebalance.wire.views import BalanceView
from tests.unit.projector.memory_store import stored_balance

FULL = Account(
    id=AccountId("a"),
    lane=Lane(3),
    revision=Revision(9),
    amount=Money(1250, 2),
    version=4,
    transfer_id=TransferId("t"),
    client_id="c",
    opening=Money(1000, 2),
    posted_total=Money(300, 2),
    transfer_count=5,
    named_total=Money(250, 2),
    unverified_since=Millis(11),
    disputed_since=Millis(12),
    disputed_why="why",
    transfers_offset=Offset(13),
    balances_offset=Offset(14),
    recorded_at=Millis(15),
    half_applied_since=Millis(10),
    erased_offset=Offset(6),
    opening_known=True,
    erased=ErasedBounds(Offset(4), Offset(5)),
)
ROW = BalanceRow(
    AccountId("a"), Revision(8), Revision(9), Lane(3), "12.50", 2, "EUR", 4, TransferId("t"), "c", "10.00",
    "3.00", 5, "0.50", "0.00", Millis(11), Millis(12), "why", Offset(13), Offset(14), Millis(15),
    opening_known=True, erased_transfers_before=Offset(4), erased_balances_before=Offset(5),
    erased_revision=Revision(7), half_applied_since=Millis(10), erased_offset=Offset(6),
)  # fmt: skip
EMPTY = Account(AccountId("a"), Lane(3), Revision(2))


def test_clone_equals_its_account() -> None:
    assert FULL.clone() == FULL
    assert FULL.clone() is not FULL


def test_row_has_every_field() -> None:
    assert FULL.row(Revision(8), "EUR", Revision(7)) == ROW


def test_row_without_a_balance_has_no_scale_and_no_currency() -> None:
    row = EMPTY.row(Revision(1), "EUR", Revision(0))
    assert (row.balance, row.scale, row.currency, row.posted_total) == (None, None, None, "0")


def test_account_is_read_back_from_its_row() -> None:
    for account in (FULL, EMPTY):
        assert account_from_row(stored_balance(account.row(Revision(1), "EUR", Revision(0)))) == account


def test_row_without_both_bounds_has_no_erasure() -> None:
    row = stored_balance(FULL.row(Revision(1), "EUR", Revision(0)))
    assert account_from_row(row).erased is not None
    assert account_from_row(row._replace(erased_transfers_before=None)).erased is None
    assert account_from_row(row._replace(erased_balances_before=None)).erased is None


def test_view_has_what_clients_see() -> None:
    assert FULL.view("EUR") == BalanceView(
        "12.50",
        "EUR",
        4,
        Revision(9),
        TransferId("t"),
        "c",
        "10.00",
        "0.50",
        "0.00",
        "1970-01-01T00:00:00.012Z",
    )
    undisputed = replace(FULL, disputed_since=None).view("EUR")
    assert undisputed is not None
    assert undisputed.disputed_since is None
    assert EMPTY.view("EUR") is None


def test_records_count_transfers_and_keep_their_offsets() -> None:
    account = Account(AccountId("a"), Lane(3))
    for number in (1, 2):
        transfer = Transfer(TransferId(f"t{number}"), account.id, Money(1, 0), 0)
        account.apply_transfer(transfer, Offset(20 + number), Millis(number))
    account.apply_balance(
        Balance(account.id, "c", TransferId("u"), Money(2, 0), 1), None, Offset(30), Millis(5)
    )
    assert (account.transfer_count, account.transfers_offset, account.balances_offset) == (2, 22, 30)
    assert account.unverified_since == 5


def test_account_is_half_applied_since_the_first_transfer_that_its_balance_lacks() -> None:
    account, since = Account(AccountId("a"), Lane(3)), []
    opened = Balance(account.id, "c", TransferId(""), Money(0, 0), 0)
    account.apply_balance(opened, Money(0, 0), Offset(1), Millis(1))
    since.append(account.half_applied_since)
    for at in (2, 3):
        transfer = Transfer(TransferId(f"t{at}"), account.id, Money(1, 0), 0)
        account.apply_transfer(transfer, Offset(at), Millis(at))
        since.append(account.half_applied_since)
    for version, at in ((1, 4), (2, 5)):  # the first balance still lacks the second transfer
        newer = Balance(account.id, "c", TransferId(f"t{version + 1}"), Money(version, 0), version)
        account.apply_balance(newer, Money(version, 0), Offset(at), Millis(at))
        since.append(account.half_applied_since)
    assert since == [None, 2, 2, 4, None]


def test_account_without_a_balance_is_half_applied_since_its_first_transfer() -> None:
    account = Account(AccountId("a"), Lane(3))
    for at in (7, 8):
        account.apply_transfer(
            Transfer(TransferId(f"t{at}"), account.id, Money(0, 0), 0), Offset(at), Millis(at)
        )
    assert account.half_applied_since == 7


def test_transfers_before_the_first_balance_do_not_wait() -> None:
    account = Account(AccountId("a"), Lane(3))
    account.apply_transfer(Transfer(TransferId("t"), account.id, Money(1, 0), 0), Offset(1), Millis(1))
    assert account.unverified_since is None


def test_balance_that_waits_keeps_the_time_since_when() -> None:
    account = Account(AccountId("a"), Lane(3))
    for version in (1, 2):
        record = Balance(account.id, "c", TransferId(f"t{version}"), Money(2, 0), version)
        account.apply_balance(record, None, Offset(version), Millis(version))
    assert account.unverified_since == 1


def test_erased_account_keeps_identity_revision_and_offsets() -> None:
    account = FULL.clone()
    account.erase(None, Offset(40), Millis(16), Offset(17))
    expected = Account(
        FULL.id,
        FULL.lane,
        Revision(10),
        transfers_offset=FULL.transfers_offset,
        balances_offset=Offset(40),
        recorded_at=Millis(16),
        erased_offset=Offset(17),
        erased=FULL.erased,
    )
    assert account == expected


def test_erasure_with_bounds_is_kept_with_them() -> None:
    account = FULL.clone()
    account.erase(ErasedBounds(Offset(13), Offset(14)), Offset(14), Millis(16), Offset(99))
    assert (account.erased, account.erased_offset) == (ErasedBounds(Offset(13), Offset(14)), 13)
    assert (account.amount, account.balances_offset) == (None, 14)  # the balance is at the erasure's offset


def test_opening_balance_from_after_an_erasure_is_verified() -> None:
    account = replace(FULL, transfer_id=TransferId(""), amount=Money(700, 2), balances_offset=Offset(15))
    account.erase(ErasedBounds(Offset(13), Offset(14)), Offset(14), Millis(16), Offset(99))
    assert (account.amount, account.named_total, account.opening) == (Money(700, 2), ZERO, Money(700, 2))
    assert (account.unverified_since, account.balances_offset) == (None, 15)


def test_account_covers_its_erasure_and_those_before() -> None:
    before, same, after = (ErasedBounds(Offset(9), Offset(balances)) for balances in (4, 5, 6))
    assert [FULL.covers(bounds) for bounds in (before, same, after)] == [True, True, False]
    assert not EMPTY.covers(before)


def test_known_opening_is_compared_with_the_balance() -> None:
    account = replace(FULL, opening_known=False, disputed_since=None, disputed_why=None)
    account.open(Money(900, 2), Millis(20))
    assert (account.opening, account.opening_known, account.named_total) == (
        Money(900, 2),
        True,
        Money(250, 2),
    )
    assert (account.revision, account.recorded_at) == (10, 20)
    assert (account.disputed_since, account.disputed_why) == (20, DRIFT)


def test_forgotten_opening_is_derived_again_and_ends_a_dispute_about_it_only() -> None:
    for why, disputed in ((DRIFT, (None, None)), ("why", (12, "why"))):
        account = replace(FULL, opening=Money(900, 2), disputed_why=why)
        account.forget_opening(Millis(20))
        assert (account.opening, account.opening_known) == (Money(1000, 2), False)
        assert (account.revision, account.recorded_at) == (10, 20)
        assert (account.disputed_since, account.disputed_why) == disputed


def test_balance_in_a_cut_lane_waits_only_after_a_transfer_or_an_opening() -> None:
    record = Balance(FULL.id, "c", TransferId("u"), Money(2, 0), 9)
    for opening, transfers, waits in ((None, 0, False), (None, 1, True), (Money(0, 0), 0, True)):
        account = replace(EMPTY, opening=opening, transfer_count=transfers)
        account.apply_balance(record, None, Offset(1), Millis(7), cut=True)
        assert account.unverified_since == (7 if waits else None)
