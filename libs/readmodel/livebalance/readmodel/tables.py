"""The tables of the projection, as the migrations create them. A test compares both."""

from typing import Any

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
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

metadata = MetaData()

# Ids compare byte by byte, as in Python and TypeScript.
_ID = Text(collation="C")
_TIME = DateTime(timezone=True)


class Xid8(UserDefinedType[int]):
    """The type xid8 of Postgres: the id of a transaction, which never wraps around."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Called by SQLAlchemy for the name of the type."""
        return "xid8"


ischema_names["xid8"] = Xid8  # SQLAlchemy also reads the column back as this type

balance = Table(
    "balance",
    metadata,
    Column("account_id", _ID, primary_key=True, comment="Account id"),
    Column(
        "revision",
        BigInteger,
        nullable=False,
        comment="Increases by exactly 1 with each record applied to the account; clients see the same number",
    ),
    Column(
        "lane", Integer, nullable=False, comment="Partition number of the account, the same in both topics"
    ),
    Column("balance", Numeric, comment="Amount of the newest balance record; null before the first"),
    Column("scale", SmallInteger, comment="Decimal places of balance"),
    Column("currency", Text, comment="Currency of the deployment; null if it names none"),
    Column(
        "version", BigInteger, comment="Version of the newest balance record; version 0 opens the account"
    ),
    Column("transfer_id", _ID, comment="Last transfer that the balance record includes; empty at version 0"),
    Column("client_id", Text, comment="Owner of the account, as in the balance record"),
    Column(
        "opening",
        Numeric,
        comment="Balance before the first transfer; null until it is known",
    ),
    Column(
        "opening_known",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="Whether opening is from the lifecycle topic; false: it is derived from the first verified"
        " balance",
    ),
    Column("posted_total", Numeric, nullable=False, comment="Sum of all listed transfers"),
    Column("transfer_count", BigInteger, nullable=False, comment="Number of listed transfers"),
    Column(
        "half_applied",
        Numeric,
        comment="Sum of listed transfers that balance does not include yet; null until transfer_id is listed",
    ),
    Column(
        "drift",
        Numeric,
        comment="balance - opening - total of transfer_id; 0 if they agree; null until transfer_id is listed",
    ),
    Column(
        "unverified_since",
        _TIME,
        comment="Kafka time of the balance record that waits for its transfer; null: none waits",
    ),
    Column("disputed_since", _TIME, comment="Kafka time of the first contradiction in the input; null: none"),
    Column("disputed_why", Text, comment="The contradiction"),
    Column("transfers_offset", BigInteger, comment="Kafka offset of the last transfer record applied"),
    Column("balances_offset", BigInteger, comment="Kafka offset of the last balance record applied"),
    Column("recorded_at", _TIME, nullable=False, comment="Greatest Kafka time of the records applied"),
    Column(
        "updated_at",
        _TIME,
        nullable=False,
        server_default=text("now()"),
        comment="Time when the row was written, by the clock of Postgres",
    ),
    Column(
        "erased_revision",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="Revision of the last erasure: transfers up to it are erased; 0: none",
    ),
    Column(
        "deleted_revision",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="Revision up to which erased transfers are deleted; the rest is deleted in pieces",
    ),
    Column(
        "half_applied_since",
        _TIME,
        comment="Kafka time since which transfers are listed that no balance record includes, or of the last"
        " balance record if that is newer; null: there are no such transfers",
    ),
    Column(
        "erased_offset",
        BigInteger,
        comment="Offset in the topic of transfers at the last erasure: transfers before it are erased; null:"
        " unknown, or none",
    ),
    Column(
        "erased_transfers_before",
        BigInteger,
        comment="Kafka offset below which all transfers of the account are erased; null: none are",
    ),
    Column(
        "erased_balances_before",
        BigInteger,
        comment="Kafka offset below which all balances of the account are erased; null: none are",
    ),
    Column(
        "moved_revision",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="Revision when an operator moved the lane to another topic of transfers: the offsets of"
        " transfers up to it are of the former topic; 0: never",
    ),
    Index(
        "balance_unverified",
        "lane",
        "unverified_since",
        postgresql_where=text("unverified_since is not null"),
    ),
    Index(
        "balance_erasing",
        "lane",
        "account_id",
        postgresql_where=text("erased_revision > deleted_revision"),
    ),
    Index(
        "balance_erased_before",
        "lane",
        postgresql_where=text("erased_transfers_before is not null"),
    ),
    postgresql_with={
        "fillfactor": "70",  # space on each page for HOT updates
        "autovacuum_vacuum_threshold": "1000",
        "autovacuum_vacuum_scale_factor": "0",
    },
    comment="One row per account",
)

transfer = Table(
    "transfer",
    metadata,
    Column(
        "account_id",
        _ID,
        primary_key=True,
        comment="Account id; a positive amount credits the account, a negative amount debits it",
    ),
    Column(
        "revision",
        BigInteger,
        primary_key=True,
        comment="Revision of the account at which the transfer was listed",
    ),
    Column("transfer_id", _ID, nullable=False, comment="Transfer id, unique within its account"),
    Column("amount", Numeric, nullable=False, comment="Exact amount, with the scale of the record"),
    Column(
        "total",
        Numeric,
        nullable=False,
        comment="Running sum in the order of the account; the balance after the transfer is opening + total",
    ),
    Column("occurred_at", _TIME, nullable=False, comment="Time by the clock of the producer, in any order"),
    Column(
        "recorded_at",
        _TIME,
        nullable=False,
        comment="Kafka time; never decreases with the revision of the account",
    ),
    Column("topic", Text, nullable=False, comment="Topic of the record"),
    Column("lane", Integer, nullable=False, comment="Partition of the record"),
    Column("source_offset", BigInteger, nullable=False, comment="Offset of the record in its partition"),
    UniqueConstraint("account_id", "transfer_id", name="transfer_once"),
    # Rows come in the order of offsets, so that a summary per range of pages is enough (decision 25).
    Index(
        "transfer_source",
        "source_offset",
        postgresql_using="brin",
        postgresql_ops={"source_offset": "int8_minmax_multi_ops"},
        postgresql_with={"autosummarize": "on"},
    ),
    comment="One row per transfer: never updated, deleted only if its account is erased",
)

lane = Table(
    "lane",
    metadata,
    Column(
        "lane",
        Integer,
        primary_key=True,
        autoincrement=False,
        comment="Partition number, the same in both topics",
    ),
    Column(
        "transfers_next", BigInteger, nullable=False, comment="Offset of the next transfer record to apply"
    ),
    Column("balances_next", BigInteger, nullable=False, comment="Offset of the next balance record to apply"),
    Column(
        "generation",
        BigInteger,
        nullable=False,
        comment="Increases with each claim, which fences previous owners",
    ),
    Column(
        "epoch",
        Text,
        nullable=False,
        comment="Epoch of the revisions of this lane; changes after lost commits",
    ),
    Column(
        "from_start",
        Boolean,
        nullable=False,
        comment="Whether the lane was read from offset 0, so that version 0 is the true opening",
    ),
    Column("transfers_last", BigInteger, comment="Offset of the last transfer record read"),
    Column("transfers_fingerprint", LargeBinary, comment="Fingerprint of that transfer record"),
    Column("balances_last", BigInteger, comment="Offset of the last balance record read"),
    Column("balances_fingerprint", LargeBinary, comment="Fingerprint of that balance record"),
    Column("last_event_at", _TIME, comment="Kafka time of the newest record applied"),
    Column("as_of", _TIME, comment="Complete as of: everything that Kafka had until then is applied"),
    Column("owner", Text, comment="Name of the projector that claimed the lane"),
    Column("halted_why", Text, comment="Why the lane is halted; null: it is not halted"),
    Column(
        "transfers_topic_id", Uuid, comment="Kafka id of the topic that transfers_next is of; null: unknown"
    ),
    Column(
        "balances_topic_id", Uuid, comment="Kafka id of the topic that balances_next is of; null: unknown"
    ),
    Column(
        "lifecycle_next",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="Offset of the next record of the lifecycle topic to apply",
    ),
    Column(
        "lifecycle_topic_id", Uuid, comment="Kafka id of the topic that lifecycle_next is of; null: unknown"
    ),
    Column(
        "disputed",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="Number of disputed accounts, as of totals_generation",
    ),
    Column(
        "drifting",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="Number of accounts whose drift is not 0, as of totals_generation",
    ),
    Column(
        "unverified",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="Number of accounts that wait for the transfer that their balance names, as of"
        " totals_generation",
    ),
    Column(
        "totals_generation",
        BigInteger,
        comment="Generation that the numbers of accounts belong to; another than generation: they are being"
        " counted, because an older release owned the lane",
    ),
    postgresql_with={
        "fillfactor": "50",
        "autovacuum_vacuum_threshold": "1000",
        "autovacuum_vacuum_scale_factor": "0",
    },
    comment="One row per partition: how far it is applied, and which projector owns it",
)

projection = Table(
    "projection",
    metadata,
    Column(
        "one",
        Boolean,
        primary_key=True,
        server_default=text("true"),
        comment="Always true, so that there is only one row",
    ),
    Column("epoch", Text, nullable=False, comment="16 hex digits, compared for equality only"),
    Column(
        "system_identifier",
        Text,
        nullable=False,
        comment="System identifier of the server that the projection was written to",
    ),
    Column(
        "timeline",
        Text,
        nullable=False,
        comment="WAL timeline of that server: the first 8 hex digits of the name of a WAL file",
    ),
    Column("partitions", Integer, nullable=False, comment="Number of lanes"),
    CheckConstraint("one", name="one_row"),
    comment="One row: the epoch, and the server that the projection was written to",
)

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
    Column("kafka_time", _TIME, nullable=False, comment="Kafka time of the record"),
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
        _TIME,
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
        _TIME,
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
    Column("hour", _TIME, primary_key=True, comment="Start of the hour of Kafka time"),
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
        _TIME,
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
        _TIME,
        nullable=False,
        server_default=text("now()"),
        comment="Time when the newest transfers were compared, by the clock of Postgres",
    ),
    Column("round_began_at", _TIME, comment="Time when the round under way began; null: none has begun"),
    Column("round_ended_at", _TIME, comment="Time when a round ended; null: none has ended"),
    *(_number(name, comment) for name, comment in _DIFFERENCES.items()),
    _number(
        "half_applied",
        "Accounts with transfers that no balance record includes for 10 s or more; counted to 10,000",
    ),
    Column("half_applied_since", _TIME, comment="half_applied_since of the oldest of them; null: none"),
    comment="One row per partition: how far it is compared, and what differs",
)

half_applied_account = Table(
    "half_applied_account",
    metadata,
    Column("lane", Integer, primary_key=True, autoincrement=False, comment="Partition of the account"),
    Column("account_id", _ID, primary_key=True, comment="Account id"),
    comment="One row per account that a comparison met with transfers that no balance record includes",
)

revocation = Table(
    "revocation",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True, comment="Increases in the order of insertion"),
    Column("subject", Text, comment="Subject of the revoked tokens; null: any"),
    Column("login", Text, comment="Session of the issuer that the tokens belong to; null: any"),
    Column("account_id", _ID, comment="Account that the tokens lose; null: all accounts"),
    Column(
        "at",
        _TIME,
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
        _TIME,
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
