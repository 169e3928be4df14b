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
    Column("account_id", _ID, primary_key=True, comment="The account"),
    Column(
        "revision",
        BigInteger,
        nullable=False,
        comment="Grows by exactly 1 with each record applied to the account; screens show the same",
    ),
    Column(
        "lane", Integer, nullable=False, comment="The partition number of both topics that the account is in"
    ),
    Column("balance", Numeric, comment="The amount of the newest balance record; null until the first one"),
    Column("scale", SmallInteger, comment="Decimal places of balance"),
    Column("currency", Text, comment="Of the deployment; null if it names none"),
    Column("version", BigInteger, comment="Of the newest balance record: 0 opened the account"),
    Column("transfer_id", _ID, comment="The transfer the balance names; empty at version 0"),
    Column("client_id", Text, comment="Whose account it is, as the balance record says"),
    Column(
        "opening",
        Numeric,
        comment="What the account held before its first transfer; null until that is known",
    ),
    Column("posted_total", Numeric, nullable=False, comment="The sum of all transfers listed"),
    Column("transfer_count", BigInteger, nullable=False, comment="How many transfers are listed"),
    Column(
        "half_applied",
        Numeric,
        comment="What the list shows and the balance does not yet; null until the named transfer is listed",
    ),
    Column(
        "drift",
        Numeric,
        comment="balance - opening - total of the named transfer: 0 when right; null until that is listed",
    ),
    Column("unverified_since", _TIME, comment="Kafka time of the balance that waits for its transfer"),
    Column("disputed_since", _TIME, comment="Kafka time of the first contradiction in the input; null: none"),
    Column("disputed_why", Text, comment="What that contradiction was"),
    Column("transfers_offset", BigInteger, comment="Kafka offset of the last transfer record applied"),
    Column("balances_offset", BigInteger, comment="Kafka offset of the last balance record applied"),
    Column("recorded_at", _TIME, nullable=False, comment="The greatest Kafka time applied"),
    Column(
        "updated_at",
        _TIME,
        nullable=False,
        server_default=text("now()"),
        comment="When the row was written, by the clock of Postgres",
    ),
    postgresql_with={
        "fillfactor": "70",  # updates stay on their page, and HOT
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
        comment="The account: positive amounts credit it, negative ones debit it",
    ),
    Column(
        "revision", BigInteger, primary_key=True, comment="Of the account, at which the transfer was listed"
    ),
    Column("transfer_id", _ID, nullable=False, comment="Unique in its account"),
    Column("amount", Numeric, nullable=False, comment="Exact, with the scale it was sent with"),
    Column(
        "total",
        Numeric,
        nullable=False,
        comment="The running sum in the order of the account; the balance after it is opening + total",
    ),
    Column("occurred_at", _TIME, nullable=False, comment="By the clock of the producer: any order"),
    Column(
        "recorded_at", _TIME, nullable=False, comment="Kafka time, never before that of the revision before"
    ),
    Column("topic", Text, nullable=False, comment="The topic it came by"),
    Column("lane", Integer, nullable=False, comment="The partition it came by"),
    Column("source_offset", BigInteger, nullable=False, comment="Its offset in that partition"),
    UniqueConstraint("account_id", "transfer_id", name="transfer_once"),
    comment="One row per transfer: written once, erased with its account",
)

lane = Table(
    "lane",
    metadata,
    Column(
        "lane", Integer, primary_key=True, autoincrement=False, comment="The partition number of both topics"
    ),
    Column(
        "transfers_next", BigInteger, nullable=False, comment="The next offset of transfers to be applied"
    ),
    Column("balances_next", BigInteger, nullable=False, comment="The next offset of balances to be applied"),
    Column("generation", BigInteger, nullable=False, comment="Grows with each claim: the fence"),
    Column(
        "epoch", Text, nullable=False, comment="In which its revisions count; another one after lost commits"
    ),
    Column(
        "from_start",
        Boolean,
        nullable=False,
        comment="Whether it was read from offset 0: version 0 is the true opening",
    ),
    Column("transfers_last", BigInteger, comment="Offset of the last transfer record read"),
    Column("transfers_fingerprint", LargeBinary, comment="Of that record"),
    Column("balances_last", BigInteger, comment="Offset of the last balance record read"),
    Column("balances_fingerprint", LargeBinary, comment="Of that record"),
    Column("last_event_at", _TIME, comment="Kafka time of the newest record applied"),
    Column("as_of", _TIME, comment="Complete as of: all that Kafka had until then is applied"),
    Column("owner", Text, comment="Name of the projector that claimed it"),
    Column("halted_why", Text, comment="Why nothing more is applied; null: it is"),
    postgresql_with={
        "fillfactor": "50",
        "autovacuum_vacuum_threshold": "1000",
        "autovacuum_vacuum_scale_factor": "0",
    },
    comment="One row per partition: how far it is applied, and who may go on",
)

projection = Table(
    "projection",
    metadata,
    Column(
        "one", Boolean, primary_key=True, server_default=text("true"), comment="Always true: there is one row"
    ),
    Column("epoch", Text, nullable=False, comment="16 hex digits, compared for equality only"),
    Column("system_identifier", Text, nullable=False, comment="Of the server this was written to"),
    Column(
        "timeline",
        Text,
        nullable=False,
        comment="Of its WAL: the first 8 hex digits of the name of a WAL file",
    ),
    Column("partitions", Integer, nullable=False, comment="How many lanes there are"),
    CheckConstraint("one", name="one_row"),
    comment="One row: which epoch this is, and which server it was written to",
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True, comment="In the order of being held"),
    Column("topic", Text, nullable=False, comment="The topic of the record"),
    Column("partition", Integer, nullable=False, comment="Its partition"),
    Column("source_offset", BigInteger, nullable=False, comment="Its offset"),
    Column("key", LargeBinary, comment="Its key, as it came"),
    Column("value", LargeBinary, comment="Its value, as it came"),
    Column("headers", JSONB, nullable=False, comment="Its headers: a list of name and value in hex"),
    Column("kafka_time", _TIME, nullable=False, comment="Its Kafka time"),
    Column("reason", Text, nullable=False, comment="Why it was not applied"),
    Column(
        "state",
        Text,
        nullable=False,
        server_default=text("'held'"),
        comment="held; replay: to be applied now; then applied, duplicate, stale, or held again; erased: its"
        " account was; or a word of an operator",
    ),
    Column(
        "held_at",
        _TIME,
        nullable=False,
        server_default=text("now()"),
        comment="When, by the clock of Postgres",
    ),
    Index("quarantine_source", "topic", "partition", "source_offset"),
    Index("quarantine_marked", "partition", "id", postgresql_where=text("state = 'replay'")),
    comment="One row per record that could not be applied",
)

revocation = Table(
    "revocation",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True, comment="In the order of being written"),
    Column("subject", Text, comment="Whose tokens; null: whoever's"),
    Column("login", Text, comment="Of which session of the issuer; null: of any"),
    Column("account_id", _ID, comment="Which account; null: all"),
    Column(
        "at",
        _TIME,
        nullable=False,
        server_default=text("clock_timestamp()"),
        comment="When, by the clock of Postgres",
    ),
    Column(
        "by",
        Text,
        nullable=False,
        server_default=text("session_user"),
        comment="Who wrote it, a role of Postgres",
    ),
    Column("why", Text, nullable=False, comment="In words"),
    CheckConstraint("num_nonnulls(subject, login, account_id) > 0", name="names_something"),
    Index("revocation_at", "at"),
    comment="One row per right taken back before its token ended",
)

intervention = Table(
    "intervention",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True, comment="In the order of being written"),
    Column(
        "what",
        Text,
        nullable=False,
        comment="epoch: it was ended; lane: a halted one goes on; quarantine: a record is to be applied now",
    ),
    Column("lane", Integer, comment="Which lane; null: all"),
    Column(
        "was",
        Text,
        nullable=False,
        comment="The epoch before, why the lane was halted, or which record it is and why it was held",
    ),
    Column("became", Text, comment="The epoch that began; null: none did"),
    Column(
        "at",
        _TIME,
        nullable=False,
        server_default=text("clock_timestamp()"),
        comment="When, by the clock of Postgres",
    ),
    Column(
        "by",
        Text,
        nullable=False,
        server_default=text("session_user"),
        comment="Who did it, a role of Postgres",
    ),
    Column("why", Text, nullable=False, comment="In words"),
    comment="One row per thing that an operator did to the projection by hand",
)
