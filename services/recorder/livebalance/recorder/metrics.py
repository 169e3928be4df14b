"""Metrics of the recorder. A partition is a partition of the transfers; the label `lane` is its number."""

from prometheus_client import Counter, Gauge, Histogram

from livebalance.recorder.ledger import Verdict
from livebalance.runtime.kafka.errors import Fate
from livebalance.runtime.kafka.lag import lag_gauges
from livebalance.runtime.metrics import init_labels

lag = lag_records, lag_seconds, open_transaction_seconds = lag_gauges("recorder")
partitions = init_labels(
    Gauge(
        "livebalance_recorder_partitions",
        "Partitions owned by this recorder. restoring: the balances are being restored, so that no transfer "
        "is recorded. halted: the partition waits for an operator.",
        ["state"],
    ),
    ["running", "restoring", "halted"],
)
transfers = init_labels(
    Counter(
        "livebalance_recorder_transfers",
        "Transfers read, by verdict. applied, opened: a balance was written. duplicate: the id is known. "
        "already_recorded: a balance contains the transfer. erased: its account was erased later. rejected, "
        "undecodable: the table quarantine keeps the bytes and the reason.",
        ["verdict"],
    ),
    [*Verdict],
)
releases = init_labels(
    Counter(
        "livebalance_recorder_partition_releases",
        "Partitions released after an error, then claimed again if still assigned. transient: Kafka or the "
        "schema registry was unavailable. fenced: another recorder has claimed the partition.",
        ["fate"],
    ),
    [Fate.TRANSIENT.value, Fate.FENCED.value],
)
fenced = Counter(
    "livebalance_recorder_fenced",
    "Partitions released because another recorder claimed them. Expected only when recorders start or stop.",
)
seconds = init_labels(
    Histogram(
        "livebalance_recorder_batch_seconds",
        "Seconds of each stage of a partition's batch. apply: transfers become balances. send: balances and "
        "offset are sent. commit: the transaction is committed.",
        ["stage"],
        buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
    ),
    ["apply", "send", "commit"],
)
