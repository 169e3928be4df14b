"""What operators work with: rejected records, halts, revocations and what operators did."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from livebalance.readmodel.tables.columns import ID, TIME, Xid8, metadata

quarantine = Table(
    "quarantine",
    metadata,
    Column(
        "id",
        BigInteger,
        Identity(),
        primary_key=True,
        comment="Increases in the order in which records were quarantined",
    ),
    Column("topic", Text, nullable=False, comment="Topic of the record"),
    Column("partition", Integer, nullable=False, comment="Partition of the record"),
    Column("source_offset", BigInteger, nullable=False, comment="Offset of the record"),
    Column("key", LargeBinary, comment="Key of the record, unchanged"),
    Column("value", LargeBinary, comment="Value of the record, unchanged"),
    Column(
        "headers",
        JSONB,
        nullable=False,
        server_default=text("'[]'"),
        comment="Headers of a record without header_bytes: a list of names and values in hex",
    ),
    Column(
        "header_bytes",
        LargeBinary,
        comment="Headers of the record, unchanged, in MessagePack: pairs of a name and a value, both bytes;"
        " null: see headers",
    ),
    Column("kafka_time", TIME, nullable=False, comment="Kafka time of the record"),
    Column("reason", Text, nullable=False, comment="Why the record was rejected"),
    Column(
        "state",
        Text,
        nullable=False,
        server_default=text("'held'"),
        comment="held; skipped: an operator moved its lane past it; replay: marked for replay; then"
        " applied, duplicate, stale, or held again; sent: sent to its topic again; erased: the account was"
        " erased; or a word that an operator has set",
    ),
    Column(
        "held_at",
        TIME,
        nullable=False,
        server_default=text("now()"),
        comment="Time when the record was quarantined, by the clock of Postgres",
    ),
    Column(
        "rejected_by",
        Text,
        nullable=False,
        server_default=text("'projector'"),
        comment="Service that rejected the record: projector or recorder",
    ),
    Index("quarantine_source", "topic", "partition", "source_offset"),
    Index(
        "quarantine_of_recorder",
        "topic",
        "partition",
        "source_offset",
        "kafka_time",
        unique=True,
        postgresql_where=text("rejected_by = 'recorder'"),
    ),
    Index("quarantine_marked", "partition", "id", postgresql_where=text("state = 'replay'")),
    comment="One row per rejected record",
)

recorder_lane = Table(
    "recorder_lane",
    metadata,
    Column(
        "lane",
        Integer,
        primary_key=True,
        autoincrement=False,
        comment="Partition number, the same in both topics",
    ),
    Column("partitions", Integer, nullable=False, comment="Number of partitions of both topics"),
    Column("transfers_id", Text, nullable=False, comment="Kafka's id of the topic of transfers"),
    Column("balances_id", Text, nullable=False, comment="Kafka's id of the topic of balances"),
    Column(
        "since",
        TIME,
        nullable=False,
        server_default=text("clock_timestamp()"),
        comment="Time when a recorder began to read these topics, by the clock of Postgres",
    ),
    Column(
        "other_sources",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="Whether an operator has accepted balances that were not made from these topics",
    ),
    Column("next_offset", BigInteger, comment="Offset of the next transfer when the partition was halted"),
    Column("halted_why", Text, comment="Why the partition is halted; null: it is not halted"),
    Column(
        "continued",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="Whether an operator has let the partition continue since it was halted; the next claim"
        " accepts its topics and balances as they are",
    ),
    Column(
        "start_offset", BigInteger, comment="Offset that the operator lets it continue at; null: at its own"
    ),
    comment="One row per partition that a recorder has claimed: which topics it reads, and why it is halted",
)

revocation = Table(
    "revocation",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True, comment="Increases in the order of insertion"),
    Column("subject", Text, comment="Subject of the revoked tokens; null: any"),
    Column("login", Text, comment="Session of the issuer that the tokens belong to; null: any"),
    Column("account_id", ID, comment="Account that the tokens lose; null: all accounts"),
    Column(
        "at",
        TIME,
        nullable=False,
        server_default=text("clock_timestamp()"),
        comment="Time of the insertion, by the clock of Postgres",
    ),
    Column(
        "by",
        Text,
        nullable=False,
        server_default=text("session_user"),
        comment="Role of Postgres that inserted the row",
    ),
    Column("why", Text, nullable=False, comment="Reason, as text"),
    Column(
        "xid",
        Xid8,
        nullable=False,
        server_default=text("pg_current_xact_id()"),
        comment="Transaction that inserted the row. It shows gateways rows that were committed late",
    ),
    CheckConstraint("num_nonnulls(subject, login, account_id) > 0", name="names_something"),
    Index("revocation_at", "at"),
    Index("revocation_xid", "xid"),
    comment="One row per revocation of rights that tokens still have",
)

intervention = Table(
    "intervention",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True, comment="Increases in the order of insertion"),
    Column(
        "what",
        Text,
        nullable=False,
        comment="epoch: a new epoch began; lane: a halted lane was continued; recorder: a halted partition of"
        " the recorder was continued; skip: a halted lane was moved past a record; quarantine: a record was"
        " marked for replay or sent again; erase: an account was erased",
    ),
    Column("lane", Integer, comment="Lane that was changed; null: all lanes"),
    Column(
        "was",
        Text,
        nullable=False,
        comment="Previous epoch, why the lane was halted, the record and why it was quarantined, or the"
        " account",
    ),
    Column("became", Text, comment="New epoch, or the offset to continue at; null: neither changed"),
    Column(
        "at",
        TIME,
        nullable=False,
        server_default=text("clock_timestamp()"),
        comment="Time of the insertion, by the clock of Postgres",
    ),
    Column(
        "by",
        Text,
        nullable=False,
        server_default=text("session_user"),
        comment="Role of Postgres that inserted the row",
    ),
    Column("why", Text, nullable=False, comment="Reason, as text"),
    comment="One row per change that an operator made to the projection by hand",
)
