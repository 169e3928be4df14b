"""Totals of the sets that clients follow: one per lane, kept by the lane's owner (decision 46)."""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Integer, Numeric, Table, Text, text

from livebalance.readmodel.tables.columns import ID, TIME, metadata

followed_set = Table(
    "followed_set",
    metadata,
    Column("channel", ID, primary_key=True, comment="Channel of the set, as prefix:EU- or client:c-17"),
    Column(
        "followed_since",
        TIME,
        nullable=False,
        server_default=text("clock_timestamp()"),
        comment="Time when a gateway first named the set, by the clock of Postgres",
    ),
    Column(
        "followed_until",
        TIME,
        nullable=False,
        comment="Time after which the set is forgotten, unless a gateway names it again",
    ),
    CheckConstraint("channel ~ '^(prefix|client):[^[:cntrl:]]{0,128}$'", name="set_channel"),
    comment="One row per set that clients of some gateway follow",
)

counted_set = Table(
    "counted_set",
    metadata,
    Column(
        "channel",
        ID,
        ForeignKey("followed_set.channel", ondelete="CASCADE"),
        primary_key=True,
        comment="Channel of the set",
    ),
    Column("lane", Integer, primary_key=True, autoincrement=False, comment="Partition number"),
    Column(
        "generation",
        BigInteger,
        nullable=False,
        comment="Generation of the lane in which its owner counted the set; before kept_since of the lane:"
        " the totals are not valid",
    ),
    Column(
        "counted_at",
        TIME,
        nullable=False,
        server_default=text("now()"),
        comment="Time when the owner last counted the set, by the clock of Postgres",
    ),
    comment="One row per set and lane whose totals are complete",
)

set_total = Table(
    "set_total",
    metadata,
    Column("channel", ID, primary_key=True, comment="Channel of the set"),
    Column("lane", Integer, primary_key=True, autoincrement=False, comment="Partition number"),
    Column("currency", Text, primary_key=True, comment="Currency of the balances; empty: they name none"),
    Column("scale", Integer, primary_key=True, autoincrement=False, comment="Decimal places of the balances"),
    Column("accounts", BigInteger, nullable=False, comment="Number of accounts of the set in the lane"),
    Column("amount", Numeric, nullable=False, comment="Sum of their balances"),
    postgresql_with={
        "fillfactor": "70",  # space on each page for HOT updates
        "autovacuum_vacuum_threshold": "1000",
        "autovacuum_vacuum_scale_factor": "0",
    },
    comment="One row per set, lane, currency and scale: each batch adds its difference in its transaction",
)
