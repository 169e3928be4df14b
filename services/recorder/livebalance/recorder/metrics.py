"""What a recorder shows at /metrics. Partitions are those of the transfers; a lane is the number of one."""

from prometheus_client import Counter, Gauge, Histogram

from livebalance.recorder.ledger import Verdict
from livebalance.runtime.kafka.errors import Fate
from livebalance.runtime.kafka.lag import gauges
from livebalance.runtime.metrics import each

UNDECODABLE = "undecodable"

lag = lag_records, lag_seconds, held_back = gauges("recorder")
partitions = Gauge("livebalance_recorder_partitions", "Partitions owned.")
transfers = each(
    Counter(
        "livebalance_recorder_transfers",
        "Transfers by what became of them. applied and opened made a balance; duplicate: its id was seen "
        "lately; already_recorded: a balance of it exists; rejected and undecodable: the log has their offsets.",
        ["verdict"],
    ),
    [*Verdict, UNDECODABLE],
)
given_up = each(
    Counter(
        "livebalance_recorder_partition_releases",
        "Times a partition was given up, to be claimed again. transient: Kafka or the registry was away.",
        ["fate"],
    ),
    [Fate.TRANSIENT.value, Fate.FENCED.value],
)
fenced = Counter(
    "livebalance_recorder_fenced",
    "Of them, those that another recorder had taken. Usual when recorders come and go, never otherwise.",
)
seconds = each(
    Histogram(
        "livebalance_recorder_batch_seconds",
        "Seconds of a partition's batch in each stage: transfers become balances, which are sent with their "
        "offset, and committed.",
        ["stage"],
        buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
    ),
    ["apply", "send", "commit"],
)
