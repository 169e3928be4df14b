import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.gateway.api.rest import etag, matches, weak_etag
from livebalance.wire.identity import Epoch, Position, Revision
from tests.unit.wire.samples import epochs, revisions

TAG = etag(Position(Epoch("00000000000000a1"), Revision(57)))
positions = st.builds(Position, epochs, revisions)
other_tags = st.text(
    st.characters(codec="latin-1", exclude_characters='"\x7f', min_codepoint=33), max_size=20
).map(lambda text: f'"{text}"')


def test_etag_is_the_position() -> None:
    assert TAG == '"00000000000000a1:57"'
    assert weak_etag(TAG) == 'W/"00000000000000a1:57"'


@given(positions, positions)
def test_etags_match_only_at_the_same_position_strong_or_weak(first: Position, second: Position) -> None:
    is_same, tags = first == second, (etag(first), etag(second))
    assert matches([tags[0]], tags[1]) == is_same
    assert matches([weak_etag(tags[0])], tags[1]) == is_same
    assert matches([tags[0]], weak_etag(tags[1])) == is_same


@given(
    st.lists(other_tags.filter(lambda tag: tag != TAG)),
    st.lists(other_tags),
    st.booleans(),
    st.booleans(),
)
def test_if_none_match_with_a_list_matches_only_if_the_etag_is_in_it(
    before: list[str], after: list[str], is_one_header: bool, is_weak: bool
) -> None:
    tags = [*before, weak_etag(TAG) if is_weak else TAG, *after]
    assert matches([", ".join(tags)] if is_one_header else tags, TAG)
    assert not matches([",".join(before)], TAG)


@given(st.lists(st.text(max_size=40)))
def test_if_none_match_with_other_text_does_not_match(values: list[str]) -> None:
    assert not matches([value for value in values if "*" not in value], TAG)


@pytest.mark.parametrize(("value", "matched"), [("*", True), (" * ", True), ("", False), (TAG[1:-1], False)])
def test_if_none_match_star_matches_any_etag_and_empty_or_unquoted_matches_none(
    value: str, matched: bool
) -> None:
    assert matches([value], TAG) == matched
