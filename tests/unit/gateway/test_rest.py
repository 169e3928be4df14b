import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.gateway.api.rest import etag, matches, weak_etag
from livebalance.wire.identity import Epoch, Position, Revision
from tests.unit.wire.samples import epochs, revisions

HERE = etag(Position(Epoch("00000000000000a1"), Revision(57)))
positions = st.builds(Position, epochs, revisions)
others = st.text(
    st.characters(codec="latin-1", exclude_characters='"\x7f', min_codepoint=33), max_size=20
).map(lambda text: f'"{text}"')


def test_it_is_the_position() -> None:
    assert HERE == '"00000000000000a1:57"'
    assert weak_etag(HERE) == 'W/"00000000000000a1:57"'


@given(positions, positions)
def test_another_position_has_another(one: Position, other: Position) -> None:
    assert matches([etag(one)], etag(other)) == (one == other)
    assert matches([weak_etag(etag(one))], etag(other)) == matches([etag(one)], weak_etag(etag(other))) == (one == other)


@given(st.lists(others.filter(lambda one: one != HERE)), st.lists(others), st.booleans(), st.booleans())
def test_it_is_found_in_a_list_and_only_if_it_is_there(
    before: list[str], after: list[str], in_one: bool, weakly: bool
) -> None:
    told = [*before, weak_etag(HERE) if weakly else HERE, *after]
    assert matches([", ".join(told)] if in_one else told, HERE)
    assert not matches([",".join(before)], HERE)


@given(st.lists(st.text(max_size=40)))
def test_whatever_else_is_told_is_not_it(told: list[str]) -> None:
    assert not matches([one for one in told if "*" not in one], HERE)


@pytest.mark.parametrize(("told", "found"), [("*", True), (" * ", True), ("", False), (HERE[1:-1], False)])
def test_any_or_none(told: str, found: bool) -> None:
    assert matches([told], HERE) == found
