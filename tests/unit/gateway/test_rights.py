import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.gateway.auth.rights import EVERYTHING, Rights, parse_scope
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId
from livebalance.wire.timestamp import Millis
from tests.unit.wire.samples import accounts


@given(accounts, st.integers(0, 64))
def test_prefix_covers_every_account_that_starts_with_it(account: AccountId, length: int) -> None:
    assert parse_scope([f"{account[:length]}*"]).covers(account)
    assert parse_scope([account]).covers(account)
    assert not parse_scope([]).covers(account)


@given(accounts, accounts)
def test_id_covers_no_other_account(own: AccountId, other: AccountId) -> None:
    assert parse_scope([own]).covers(other) == (own == other)
    assert parse_scope([f"{own}*"]).covers(other) == other.startswith(own)


@pytest.mark.parametrize("claim", [None, "*", {"a": 1}, [1]])
def test_claim_that_is_no_list_of_texts_is_rejected(claim: object) -> None:
    with pytest.raises(DecodeError, match=r"^accounts are a list of texts$"):
        parse_scope(claim)


@pytest.mark.parametrize("entry", ["a b", "**", "*a", "", "x" * 65, "é"])
def test_entry_that_is_no_account_and_no_prefix_is_rejected(entry: str) -> None:
    with pytest.raises(DecodeError, match=r"^neither an account nor a prefix$"):
        parse_scope(["a", entry])


def test_token_accepted_after_it_expired_lasts_for_the_leeway() -> None:
    rights = Rights("me", "phone", EVERYTHING, 0, Millis(5000))
    assert rights.ends_at(Millis(4999)) == 5000
    assert rights.ends_at(Millis(5000)) == 65_000
    assert rights.ends_at(Millis(6000)) == 65_000


def test_narrow_returns_the_ids_and_prefixes_below_a_prefix() -> None:
    scope = parse_scope(["alice", "bob", "EU-*", "E*"])
    assert scope.narrow("") == (["alice", "bob"], ["E", "EU-"])
    assert scope.narrow("EU-1") == ([], ["EU-1"])
    assert scope.narrow("b") == (["bob"], [])
    assert parse_scope([]).narrow("") == ([], [])
