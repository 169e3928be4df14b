"""Accounts, transfers, and how far each lane is applied."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

from livebalance.readmodel.tables.columns import ID, TIME, metadata

balance = Table(
    "balance",
    metadata,
    Column("account_id", ID, primary_key=True, comment="Account id"),
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
    Column("transfer_id", ID, comment="Last transfer that the balance record includes; empty at version 0"),
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
        TIME,
        comment="Kafka time of the balance record that waits for its transfer; null: none waits",
    ),
    Column("disputed_since", TIME, comment="Kafka time of the first contradiction in the input; null: none"),
    Column("disputed_why", Text, comment="The contradiction"),
    Column("transfers_offset", BigInteger, comment="Kafka offset of the last transfer record applied"),
    Column("balances_offset", BigInteger, comment="Kafka offset of the last balance record applied"),
    Column("recorded_at", TIME, nullable=False, comment="Greatest Kafka time of the records applied"),
    Column(
        "updated_at",
        TIME,
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
        TIME,
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
    Index("balance_client", "client_id"),
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
        ID,
        primary_key=True,
        comment="Account id; a positive amount credits the account, a negative amount debits it",
    ),
    Column(
        "revision",
        BigInteger,
        primary_key=True,
        comment="Revision of the account at which the transfer was listed",
    ),
    Column("transfer_id", ID, nullable=False, comment="Transfer id, unique within its account"),
    Column("amount", Numeric, nullable=False, comment="Exact amount, with the scale of the record"),
    Column(
        "total",
        Numeric,
        nullable=False,
        comment="Running sum in the order of the account; the balance after the transfer is opening + total",
    ),
    Column("occurred_at", TIME, nullable=False, comment="Time by the clock of the producer, in any order"),
    Column(
        "recorded_at",
        TIME,
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
    Column("last_event_at", TIME, comment="Kafka time of the newest record applied"),
    Column("as_of", TIME, comment="Complete as of: everything that Kafka had until then is applied"),
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
    Column(
        "batches",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="Increases by exactly 1 with each batch that changes accounts of the lane",
    ),
    Column(
        "batches_generation",
        BigInteger,
        comment="Generation that batches belongs to; another than generation: an older release, which does"
        " not number its batches, owns the lane",
    ),
    Column(
        "kept_since",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="Generation since which each owner adds to the totals of sets",
    ),
    Column(
        "kept_generation",
        BigInteger,
        comment="Generation whose owner adds to the totals of sets; another than generation: an older release"
        " owns the lane",
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
