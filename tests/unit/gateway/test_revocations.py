import pytest

from livebalance.gateway.auth.revocations import Revocations
from livebalance.gateway.auth.rights import LEEWAY, Rights, parse_scope
from livebalance.readmodel.revocations import Revocation
from livebalance.wire.identity import AccountId
from livebalance.wire.timestamp import Millis

ISSUED = 1_795_000_000  # seconds since 1970
AT = Millis(ISSUED * 1000)
ALICE, BOB = AccountId("alice"), AccountId("bob")


def rights(issued: int = ISSUED) -> Rights:
    return Rights("me", "login", parse_scope(["*"]), issued, Millis(AT + 3_600_000))


@pytest.mark.parametrize(
    ("revocation", "revoked", "hidden"),
    [
        (Revocation("me", None, None, AT), True, []),
        (Revocation(None, "login", None, AT), True, []),
        (Revocation("me", "login", None, AT), True, []),
        (Revocation("you", None, None, AT), False, []),
        (Revocation("me", "another", None, AT), False, []),
        (Revocation(None, None, ALICE, AT), False, [ALICE]),
        (Revocation("me", None, ALICE, AT), False, [ALICE]),
        (Revocation("you", None, ALICE, AT), False, []),
        (Revocation("me", "login", BOB, AT), False, [BOB]),
    ],
)
def test_revocation_applies_to_rights_that_have_all_it_names(
    revocation: Revocation, revoked: bool, hidden: list[AccountId]
) -> None:
    revocations = Revocations()
    assert not revocations.revokes(rights())
    assert revocations.add([revocation]) == [revocation]
    assert revocations.revokes(rights()) is revoked
    assert [account for account in (ALICE, BOB) if revocations.hides(rights(), account)] == hidden
    assert revocations.hidden_accounts(rights(issued=ISSUED + LEEWAY)) == hidden
    assert revocations.hidden_accounts(rights(issued=ISSUED + LEEWAY + 1)) == []


def test_revocation_does_not_apply_to_a_token_issued_later() -> None:
    revocations = Revocations()
    revocations.add([Revocation("me", None, None, AT)])
    assert revocations.revokes(rights(issued=ISSUED + LEEWAY))
    assert not revocations.revokes(rights(issued=ISSUED + LEEWAY + 1))


def test_older_revocation_changes_nothing() -> None:
    revocations = Revocations()
    revocations.add([Revocation("me", None, None, AT)])
    for at in (AT - 5000, AT, AT + 999):  # a token's time of issue has no ms
        assert revocations.add([Revocation("me", None, None, Millis(at))]) == []
    assert revocations.revokes(rights(issued=ISSUED + LEEWAY))


def test_older_revocation_of_an_account_changes_nothing() -> None:
    revocations = Revocations()
    revocations.add([Revocation("me", None, ALICE, AT)])
    assert revocations.add([Revocation("me", None, ALICE, Millis(AT - 5000))]) == []
    assert revocations.hides(rights(issued=ISSUED + LEEWAY), ALICE)


def test_revocation_of_others_does_not_apply_to_a_token_that_was_issued_long_ago() -> None:
    revocations = Revocations()
    revocations.add([Revocation("you", None, None, AT)])
    assert not revocations.revokes(rights(issued=1))
    assert not revocations.hides(rights(issued=1), ALICE)


def test_revocation_that_names_nothing_applies_to_nobody() -> None:
    """Postgres rejects such a row."""
    revocations = Revocations()
    revocations.add([Revocation(None, None, None, AT)])
    assert not revocations.revokes(rights())
    assert not revocations.hides(rights(), ALICE)


def test_hidden_accounts_are_sorted_and_named_once() -> None:
    revocations = Revocations()
    revocations.add([Revocation(None, None, BOB, AT), Revocation("me", None, BOB, AT)])
    revocations.add([Revocation(None, "login", ALICE, AT), Revocation("you", None, AccountId("eve"), AT)])
    assert revocations.hidden_accounts(rights()) == [ALICE, BOB]
