"""What the comparison of Kafka with the projection found."""

from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, Numeric, Table, text

from livebalance.readmodel.tables.columns import ID, TIME, metadata


def _number(name: str, comment: str, kind: type[BigInteger | Numeric[Any]] = BigInteger) -> Column[Any]:
    return Column(name, kind, nullable=False, server_default=text("0"), comment=comment)


_DIFFERENCES = {
    "missing": "Records without a row, for none of these reasons",
    "different": "Records whose row has another amount, time or offset",
    "extra": "Rows that the topic does not hold",
    "restored": "Rows of records whose account was erased after them",
}

reconciliation = Table(
    "reconciliation",
    metadata,
    Column(
        "lane", Integer, primary_key=True, autoincrement=False, comment="Partition of the topic of transfers"
    ),
    Column(
        "first_offset",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="Start of the range of 2,000 offsets that the row is about",
    ),
    Column("hour", TIME, primary_key=True, comment="Start of the hour of Kafka time"),
    _number("kafka_records", "Records of the topic"),
    _number("kafka_sum", "Sum of the amounts of these records", Numeric),
    _number("sql_rows", "Rows of transfers"),
    _number("sql_sum", "Sum of the amounts of these rows", Numeric),
    _number("quarantined", "Records that are in the quarantine"),
    _number("duplicates", "Records that repeat an earlier transfer"),
    _number("erased", "Records of accounts that were erased after them"),
    *(_number(name, comment) for name, comment in _DIFFERENCES.items()),
    Column(
        "checked_at",
        TIME,
        nullable=False,
        server_default=text("now()"),
        comment="Time of the last comparison, by the clock of Postgres",
    ),
    Index(
        "reconciliation_differences",
        "lane",
        postgresql_where=text("missing + different + extra + restored > 0"),
    ),
    comment="One row per range of 2,000 offsets and hour: the topic of transfers compared with its rows",
)

reconciliation_lane = Table(
    "reconciliation_lane",
    metadata,
    Column("lane", Integer, primary_key=True, autoincrement=False, comment="Partition number"),
    Column(
        "start_offset", BigInteger, nullable=False, comment="Transfers before this offset are not compared"
    ),
    Column(
        "compared_next",
        BigInteger,
        nullable=False,
        comment="Offset up to which the newest transfers are compared",
    ),
    Column(
        "history_next",
        BigInteger,
        nullable=False,
        comment="Offset down to which the round under way has compared",
    ),
    Column(
        "compared_at",
        TIME,
        nullable=False,
        server_default=text("now()"),
        comment="Time when the newest transfers were compared, by the clock of Postgres",
    ),
    Column("round_began_at", TIME, comment="Time when the round under way began; null: none has begun"),
    Column("round_ended_at", TIME, comment="Time when a round ended; null: none has ended"),
    *(_number(name, comment) for name, comment in _DIFFERENCES.items()),
    _number(
        "half_applied",
        "Accounts with transfers that no balance record includes for 10 s or more; counted to 10,000",
    ),
    Column("half_applied_since", TIME, comment="half_applied_since of the oldest of them; null: none"),
    comment="One row per partition: how far it is compared, and what differs",
)

half_applied_account = Table(
    "half_applied_account",
    metadata,
    Column("lane", Integer, primary_key=True, autoincrement=False, comment="Partition of the account"),
    Column("account_id", ID, primary_key=True, comment="Account id"),
    comment="One row per account that a comparison met with transfers that no balance record includes",
)
