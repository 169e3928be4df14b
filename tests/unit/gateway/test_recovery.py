"""The recovery of a client, by its position and by what was read for it."""

from msgspec import UNSET, json
from msgspec.structs import replace as replace_frame

from livebalance.gateway.live.outbox import Frame, SessionEvent
from livebalance.gateway.live.recovery import DISOWNED, Recovery, erased_frame, recover, snapshot
from livebalance.readmodel.gateway_reads import AccountQuery, AccountState
from livebalance.wire.cursor import encode_cursor
from livebalance.wire.frame import Gap, Snapshot
from livebalance.wire.identity import Epoch, Lane, Position, Revision, TransferId
from livebalance.wire.timestamp import Millis
from livebalance.wire.views import BalanceView, TransferView
from tests.unit.gateway.harness import ALICE, EPOCH

OTHER_EPOCH = Epoch("00000000000000b2")
TIME = "2026-11-24T17:20:00.000Z"
BALANCE = BalanceView("3", "EUR", 3, Revision(9), TransferId("t9"), "c", "0", "0", "0", None)


def at(revision: int, epoch: Epoch = EPOCH) -> Position:
    return Position(epoch, Revision(revision))


def transfer(revision: int) -> TransferView:
    source = "transfers/0@1"
    return TransferView(TransferId(f"t{revision}"), "1", str(revision), TIME, Revision(revision), source)


# The account is at revision 9. Its recorded_at and as_of are one and two seconds after 1970.
STATE = AccountState(
    EPOCH, Revision(9), Lane(4), Millis(2000), Millis(1000), BALANCE, [transfer(8), transfer(9)],
    continues=True, more=False, erased=False, erased_revision=Revision(0),
)  # fmt: skip


def recovery(reached: Position, frame: Frame | None) -> Recovery:
    return Recovery(at(9), reached, frame, Lane(4), Millis(2000))


def test_client_at_the_position_of_the_account_misses_nothing() -> None:
    assert recover(AccountQuery(ALICE, at(9)), STATE) == recovery(at(9), None)


def test_client_of_an_erased_account_gets_the_last_frame() -> None:
    erased = erased_frame(ALICE, at(7), at(9))
    assert recover(AccountQuery(ALICE, at(7)), STATE._replace(erased=True)) == recovery(at(9), erased)
    assert json.decode(erased.text) == {
        "type": "unsubscribed",
        "channel": "account:alice",
        "code": "gone",
        "message": "this account was erased",
    }
    assert (erased.account, erased.before, erased.after) == (ALICE, at(7), at(9))
    assert erased.is_last
    assert erased.event == SessionEvent("unsubscribed", "gone")


def test_client_that_is_behind_gets_a_delta() -> None:
    result = recover(AccountQuery(ALICE, at(7)), STATE)
    assert result.frame
    assert result == recovery(at(9), result.frame)
    assert (result.frame.account, result.frame.before, result.frame.after) == (ALICE, at(7), at(9))
    assert result.frame.mergeable is True
    delta = json.decode(result.frame.text)
    assert (delta["type"], delta["channel"], delta["epoch"]) == ("delta", "account:alice", EPOCH)
    assert (delta["from"], delta["to"], delta["recorded_at"]) == (7, 9, "1970-01-01T00:00:01.000Z")
    assert [entry["id"] for entry in delta["transfers"]] == ["t8", "t9"]
    assert delta["balance"]["amount"] == "3"
    assert "more" not in delta


def test_client_that_is_far_behind_gets_a_page_that_ends_at_its_last_transfer() -> None:
    transfers = [transfer(7), *STATE.transfers]
    state = STATE._replace(more=True, revision=Revision(20), transfers=transfers)
    result = recover(AccountQuery(ALICE, at(6)), state)
    assert result.frame
    assert (result.current, result.reached, result.lane, result.as_of) == (at(20), at(9), 4, 2000)
    assert (result.frame.before, result.frame.after, result.frame.mergeable) == (at(6), at(9), False)
    page = json.decode(result.frame.text)
    assert (page["from"], page["to"], page["more"], "balance" in page) == (6, 9, True, False)


def test_delta_ends_at_the_revision_of_the_account_also_if_that_is_no_transfer() -> None:
    result = recover(AccountQuery(ALICE, at(7)), STATE._replace(transfers=[transfer(8)]))
    assert result.reached == at(9)
    assert result.frame
    assert result.frame.after == at(9)


def test_snapshot_replaces_the_state_at_the_position_of_its_client() -> None:
    result = recover(AccountQuery(ALICE, at(2)), STATE._replace(continues=False))
    assert result.frame
    assert (result.frame.before, result.frame.after) == (at(2), at(9))
    assert result.frame.event == SessionEvent("snapshot", "too_far")


def test_client_without_a_position_gets_a_snapshot() -> None:
    for continues in (True, False):
        result = recover(AccountQuery(ALICE, None), STATE._replace(continues=continues))
        assert result.frame
        assert result == recovery(at(9), result.frame)
        assert (result.frame.account, result.frame.before, result.frame.after) == (ALICE, None, at(9))
        assert result.frame.event == SessionEvent("snapshot", "subscribed")
        assert not result.frame.mergeable
        assert json.decode(result.frame.text)["type"] == "snapshot"


EXPECTED = Snapshot(
    channel="account:alice",
    epoch=EPOCH,
    revision=Revision(9),
    reason="subscribed",
    balance=BALANCE,
    transfers=STATE.transfers,
    cursor=None,
    as_of="1970-01-01T00:00:02.000Z",
    gap=UNSET,
)


def test_client_with_content_that_postgres_lacks_gets_a_snapshot() -> None:
    result = recover(AccountQuery(ALICE, DISOWNED), STATE._replace(continues=False))
    assert result.frame
    assert json.decode(result.frame.text)["reason"] == "ahead"  # clients of any release replace their state
    assert result.frame.event == SessionEvent("snapshot", "content")


def test_snapshot_says_why_it_is_sent() -> None:
    for position, changes in (
        (None, {}),
        (at(9, OTHER_EPOCH), {"reason": "epoch"}),
        (at(10), {"reason": "ahead"}),
        (at(2), {"reason": "too_far", "gap": Gap(Revision(2), Revision(9))}),
    ):
        assert snapshot(AccountQuery(ALICE, position), STATE) == replace_frame(EXPECTED, **changes)


def test_snapshot_has_a_cursor_if_there_are_more_transfers() -> None:
    transfers = [*reversed(STATE.transfers), transfer(7)]
    state = STATE._replace(more=True, as_of=None, transfers=transfers)
    cursor = encode_cursor(ALICE, TransferId("t7"))
    expected = replace_frame(EXPECTED, cursor=cursor, as_of=None, transfers=transfers)
    assert snapshot(AccountQuery(ALICE, None), state) == expected
