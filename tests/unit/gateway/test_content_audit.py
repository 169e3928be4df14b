"""Audits of relayed content: what is confirmed, and what is replaced (docs/guarantees.md#audit)."""

import pytest

from livebalance.gateway.live.content import MAX_WAITING_FRAMES, RelayedContent
from livebalance.gateway.live.hub import Hub
from livebalance.gateway.live.outbox import Frame
from livebalance.gateway.live.recovery import DISOWNED
from livebalance.gateway.live.sessions import Sessions
from livebalance.readmodel.gateway_reads import AccountState, AuditFinding
from livebalance.wire.delta import DeltaParts, encode_delta_frame, make_delta
from livebalance.wire.identity import AccountId, Epoch, Lane, Position, Revision
from tests.unit.gateway.harness import ALICE, EPOCH, WALL, account_state, connect_and_subscribe

BOB = AccountId("bob")
OTHER_EPOCH = Epoch("00000000000000b2")
AT_2 = Position(EPOCH, Revision(2))


def relay(hub: Hub, from_: int) -> None:
    """A delta of alice to the revision after `from_`."""
    parts = DeltaParts(EPOCH, Revision(from_), Revision(from_ + 1), WALL, b"null", b"")
    hub.on_delta(ALICE, make_delta(ALICE, Lane(0), parts))


def read(hub: Hub, state: AccountState) -> None:
    """Answers every read that the hub requests."""
    for account_read in hub.drain_effects().reads:
        hub.on_read(account_read, dict.fromkeys(account_read.positions, state), 0.0)


def begin_audit(hub: Hub, sessions: Sessions) -> None:
    """An audit begins when alice was relayed at revision 2, and bob was only read."""
    connect_and_subscribe(sessions, ALICE, BOB)
    for account in (ALICE, BOB):
        hub.on_subscribed(account)
    read(hub, account_state(1))
    relay(hub, 1)
    digests = hub.begin_audit([ALICE, BOB, AccountId("left")])
    assert {account: digest.since for account, digest in digests.items()} == {ALICE: 1}
    assert hub.positions([ALICE]) == {ALICE: AT_2}


def end_audit(hub: Hub, finding: AuditFinding) -> list[int]:
    """Ends the audit, and returns the revision since which the next one compares alice, if it does."""
    hub.on_audit({ALICE: AT_2}, finding, 1.0)
    return [digest.since for digest in hub.begin_audit([ALICE]).values()]


def finding(revision: int = 2, epoch: Epoch = EPOCH, different: bool = False) -> AuditFinding:
    accounts = frozenset({ALICE} if different else ())
    return AuditFinding(epoch, 1, {}, {ALICE: Revision(revision)} if revision != 2 else {}, accounts)


def test_content_that_postgres_has_is_not_compared_again(hub: Hub, sessions: Sessions) -> None:
    begin_audit(hub, sessions)
    assert end_audit(hub, finding()) == []


def test_content_that_postgres_has_and_continued_meanwhile_is_not_compared_again(
    hub: Hub, sessions: Sessions
) -> None:
    begin_audit(hub, sessions)
    assert end_audit(hub, finding(revision=3)) == []


def test_content_that_postgres_does_not_have_yet_is_compared_again(hub: Hub, sessions: Sessions) -> None:
    begin_audit(hub, sessions)
    assert end_audit(hub, finding(revision=1)) == [1]


def test_content_is_confirmed_also_if_that_of_another_account_differs(hub: Hub, sessions: Sessions) -> None:
    begin_audit(hub, sessions)
    assert end_audit(hub, finding()._replace(different=frozenset({BOB}))) == []
    assert not hub.subscribers[ALICE].channel.has_gap


@pytest.mark.parametrize("different", [False, True])
def test_content_of_another_epoch_is_neither_confirmed_nor_replaced(
    hub: Hub, sessions: Sessions, different: bool
) -> None:
    begin_audit(hub, sessions)
    assert end_audit(hub, finding(epoch=OTHER_EPOCH, different=different)) == [1]
    assert hub.subscribers[ALICE].channel.position == AT_2


def test_content_that_differs_is_replaced(hub: Hub, sessions: Sessions) -> None:
    begin_audit(hub, sessions)
    assert end_audit(hub, finding(different=True)) == []
    effects = hub.drain_effects()
    assert effects.opened_gaps == ["content"]
    assert [account_read.positions for account_read in effects.reads] == [{DISOWNED}]


def test_content_that_differs_is_replaced_after_a_snapshot_that_kept_it(hub: Hub, sessions: Sessions) -> None:
    begin_audit(hub, sessions)
    relay(hub, 8)
    read(hub, account_state(9))
    relay(hub, 9)
    assert end_audit(hub, finding(different=True)) == []
    assert hub.subscribers[ALICE].channel.position == DISOWNED


def test_content_that_differs_is_not_that_relayed_after_a_snapshot_that_replaced_it(
    hub: Hub, sessions: Sessions
) -> None:
    begin_audit(hub, sessions)
    relay(hub, 8)
    read(hub, account_state(1))
    relay(hub, 1)
    assert end_audit(hub, finding(different=True)) == [1]
    assert hub.subscribers[ALICE].channel.position == AT_2


# --- the digest


def frame(transfer_id: str, balance: bytes = b"", to: int = 4) -> Frame:
    """The frame of a delta from revision 3 with a transfer, and with a balance if there is one."""
    transfer = b'{"id":"%s","amount":"1.00","total":"1.00","occurred_at":"","revision":4,"source":""}'
    parts = DeltaParts(EPOCH, Revision(3), Revision(4), WALL, balance, transfer % transfer_id.encode())
    return Frame(
        ALICE, Position(EPOCH, Revision(3)), Position(EPOCH, Revision(to)), encode_delta_frame(ALICE, parts)
    )


def test_digest_depends_on_every_transfer_and_on_the_last_balance() -> None:
    digests = set()
    for frames in (
        [frame("a"), frame("b")],
        [frame("a"), frame("c")],
        [frame("c"), frame("b")],
        [frame("b")],
        [frame("a"), frame("b", b"null")],
        [frame("a"), frame("b", to=5)],
    ):
        content = RelayedContent(ALICE, Revision(3))
        for relayed in frames:
            content.add(relayed)
        digests.add(content.begin_audit(Revision(5)))
    assert len(digests) == 6


def test_digest_depends_on_no_balance_before_the_last_frame() -> None:
    first, second = RelayedContent(ALICE, Revision(3)), RelayedContent(ALICE, Revision(3))
    first.add(frame("a", b"null"))
    first.add(frame("b"))
    second.add(frame("a"))
    second.add(frame("b"))
    assert first.begin_audit(Revision(5)) == second.begin_audit(Revision(5))


def test_digest_says_since_when_it_was_relayed() -> None:
    assert RelayedContent(ALICE, Revision(3)).begin_audit(Revision(5)).since == 3


def test_content_after_the_beginning_of_an_audit_equals_that_of_a_channel_at_its_revision() -> None:
    content, later = RelayedContent(ALICE, Revision(3)), RelayedContent(ALICE, Revision(4))
    content.add(frame("a"))
    before = content.is_audited
    content.begin_audit(Revision(4))
    assert (before, content.is_audited) == (False, True)
    for relayed in (frame("b"), frame("c", b"null")):
        content.add(relayed)
        later.add(relayed)
    unconfirmed = content.unconfirmed()
    assert unconfirmed
    assert not unconfirmed.is_audited
    assert unconfirmed.begin_audit(Revision(6)) == later.begin_audit(Revision(6))


def test_content_is_unconfirmed_before_an_audit_and_gone_after_an_audit_of_all() -> None:
    content = RelayedContent(ALICE, Revision(3))
    content.add(frame("a"))
    assert content.unconfirmed() is content
    content.begin_audit(Revision(4))
    assert content.unconfirmed() is None


def test_digest_of_many_frames_equals_that_of_each() -> None:
    many, few = RelayedContent(ALICE, Revision(3)), RelayedContent(ALICE, Revision(3))
    for number in range(2 * MAX_WAITING_FRAMES + 1):
        many.add(frame(str(number)))
        few.add(frame(str(number)))
        few._digest()
    assert many.begin_audit(Revision(5)) == few.begin_audit(Revision(5))
