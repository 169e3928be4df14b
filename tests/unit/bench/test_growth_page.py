from tests.bench.growth.curve import Curve, Growth
from tests.bench.growth.page import read_table, replace_tables, table

LANES = Growth("lanes of one projector", [Curve("Postgres", "CPU µs a record", [(1, 11.3), (64, 8.72)])])
SESSIONS = Growth(
    "sessions",
    [
        Curve("a client, idle", "KiB", [(100, 18.9), (19_000, 1470.0)]),
        Curve("b", "c", [(100, 1), (19_000, 2)]),
    ],
)


def test_table_that_is_read_is_written_the_same() -> None:
    text = table(SESSIONS)
    assert read_table(text) == SESSIONS
    assert table(read_table(text)) == text


def test_measured_table_replaces_its_predecessor_and_keeps_the_others() -> None:
    former = Growth("sessions", [Curve("a", "b", [(1, 1.0), (2, 2.0)])])
    text = "\n\n".join(["![picture](p)", "monday", table(former), "tuesday", table(LANES), ""])
    tables = replace_tables(text, "today", [SESSIONS])
    assert list(tables.values()) == [("today", table(SESSIONS)), ("tuesday", table(LANES))]


def test_measured_table_that_is_new_comes_last() -> None:
    text = "\n\n".join(["", "tuesday", table(LANES), ""])
    assert list(replace_tables(text, "today", [SESSIONS])) == [LANES.of, SESSIONS.of]
