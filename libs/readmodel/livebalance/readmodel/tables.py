"""The tables of the projection. `migrations` makes them; a test holds both against each other."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()

# Ids compare byte by byte: the order of SQL is the order of Python and of TypeScript.
_ID = Text(collation="C")
_TIME = DateTime(timezone=True)

balance = Table(
    "balance",
    metadata,
    Column("account_id", _ID, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("lane", Integer, nullable=False),
    Column("balance", Numeric),  # null until the first balance record
    Column("scale", SmallInteger),
    Column("currency", Text),
    Column("version", BigInteger),
    Column("transfer_id", _ID),  # the transfer the balance names; empty at version 0
    Column("client_id", Text),
    Column("opening", Numeric),
    Column("posted_total", Numeric, nullable=False),
    Column("transfer_count", BigInteger, nullable=False),
    Column("half_applied", Numeric),  # null until the named transfer is in the list
    Column("drift", Numeric),  # null until then too
    Column("unverified_since", _TIME),  # Kafka time of the balance that waits for its transfer
    Column("disputed_since", _TIME),
    Column("disputed_why", Text),
    Column("transfers_offset", BigInteger),  # of the last transfer record applied
    Column("balances_offset", BigInteger),  # of the last balance record applied
    Column("recorded_at", _TIME, nullable=False),  # greatest Kafka time applied
    Column("updated_at", _TIME, nullable=False, server_default=text("now()")),
    postgresql_with={
        "fillfactor": "70",  # updates stay on their page, and HOT
        "autovacuum_vacuum_threshold": "1000",
        "autovacuum_vacuum_scale_factor": "0",
    },
)

transfer = Table(
    "transfer",
    metadata,
    Column("account_id", _ID, primary_key=True),
    Column("revision", BigInteger, primary_key=True),
    Column("transfer_id", _ID, nullable=False),
    Column("amount", Numeric, nullable=False),
    Column("total", Numeric, nullable=False),  # running sum in the account's order
    Column("occurred_at", _TIME, nullable=False),  # the producer's clock
    Column("recorded_at", _TIME, nullable=False),  # greatest(previous, Kafka time)
    Column("topic", Text, nullable=False),
    Column("lane", Integer, nullable=False),
    Column("source_offset", BigInteger, nullable=False),
    UniqueConstraint("account_id", "transfer_id", name="transfer_once"),
)

lane = Table(
    "lane",
    metadata,
    Column("lane", Integer, primary_key=True, autoincrement=False),
    Column("transfers_next", BigInteger, nullable=False),
    Column("balances_next", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("epoch", Text, nullable=False),
    Column("from_start", Boolean, nullable=False),  # read from offset 0: version 0 is the true opening
    Column("transfers_last", BigInteger),  # offset of the last record read, and its fingerprint
    Column("transfers_fingerprint", LargeBinary),
    Column("balances_last", BigInteger),
    Column("balances_fingerprint", LargeBinary),
    Column("last_event_at", _TIME),  # Kafka time of the newest record applied
    Column("as_of", _TIME),  # complete as of
    Column("owner", Text),  # name of the projector that claimed it
    Column("halted_why", Text),
    postgresql_with={
        "fillfactor": "50",
        "autovacuum_vacuum_threshold": "1000",
        "autovacuum_vacuum_scale_factor": "0",
    },
)

projection = Table(
    "projection",
    metadata,
    Column("one", Boolean, primary_key=True, server_default=text("true")),
    Column("epoch", Text, nullable=False),
    Column("system_identifier", Text, nullable=False),
    Column("timeline", Text, nullable=False),  # first 8 hex digits of a WAL file's name
    Column("partitions", Integer, nullable=False),
    CheckConstraint("one", name="one_row"),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("source_offset", BigInteger, nullable=False),
    Column("key", LargeBinary),
    Column("value", LargeBinary),
    Column("headers", JSONB, nullable=False),
    Column("kafka_time", _TIME, nullable=False),
    Column("reason", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'held'")),
    Column("held_at", _TIME, nullable=False, server_default=text("now()")),
    Index("quarantine_source", "topic", "partition", "source_offset"),
)

revocation = Table(
    "revocation",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("subject", Text),
    Column("login", Text),  # a session of whoever issues tokens
    Column("account_id", _ID),
    Column("at", _TIME, nullable=False, server_default=text("clock_timestamp()")),
    Column("by", Text, nullable=False, server_default=text("session_user")),
    Column("why", Text, nullable=False),
    CheckConstraint("num_nonnulls(subject, login, account_id) > 0", name="names_something"),
    Index("revocation_at", "at"),
)
