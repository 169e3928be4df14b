"""The table printer."""

from livebalance.cli.table import format_table


def test_table_aligns_columns_and_shows_none_as_a_dash() -> None:
    rows = [("alice", 7, None), ("bob", 1234, "late")]
    assert format_table(("name", "count", "why"), rows) == [
        "name   count  why",
        "alice      7  -",
        "bob     1234  late",
    ]


def test_table_cuts_nothing_off_and_escapes_control_characters() -> None:
    header, row = format_table(("a",), [("\x1b[2J" + "x" * 300,)])
    assert header == "a"
    assert row == r"\u001b[2J" + "x" * 300


def test_table_without_rows_has_its_header() -> None:
    assert format_table(("a", "b"), []) == ["a  b"]
