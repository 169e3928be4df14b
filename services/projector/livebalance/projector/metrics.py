"""What a projector shows at /metrics. Those of lanes are of the lanes it owns."""

from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

from livebalance.projector.fold.fold import FoldResult
from livebalance.readmodel.rows import ReplayOutcome
from livebalance.runtime.kafka.errors import Fate
from livebalance.runtime.kafka.lag import gauges
from livebalance.runtime.metrics import each
from livebalance.wire.identity import Epoch

lag = lag_records, lag_seconds, held_back = gauges("projector")
applied = Counter("livebalance_projector_records_applied", "Records that moved a revision.")
duplicates = Counter(
    "livebalance_projector_duplicate_records",
    "Records seen before, and ignored. Usual after a restart of a producer.",
)
stale = Counter(
    "livebalance_projector_stale_balances",
    "Balance records no newer than the one held, and not the same: a second writer, perhaps. They are "
    "ignored, or dispute their account.",
)
quarantined = Counter(
    "livebalance_projector_quarantined_records",
    "Records kept aside with their bytes, in the table quarantine, which has the reason.",
)
replayed = each(
    Counter(
        "livebalance_projector_replayed_records",
        "Records out of quarantine that an operator had marked, by what became of them. held: refused again.",
        ["outcome"],
    ),
    ["applied", "duplicate", "stale", "held"],
)
failed = each(
    Counter(
        "livebalance_projector_lane_releases",
        "Times the lanes were given up and claimed again. transient: Postgres or Kafka was away.",
        ["fate"],
    ),
    [Fate.TRANSIENT.value, Fate.FENCED.value],
)
fenced = Counter(
    "livebalance_projector_fenced",
    "Batches and claims thrown away because another process owns the lane, or the epoch changed. Usual when "
    "projectors come and go, never otherwise.",
)
epoch_changes = Counter(
    "livebalance_projector_epoch_changes",
    "Times this process changed the epoch: Postgres was not the one it wrote to, or had lost commits.",
)
epoch = Gauge(
    "livebalance_projector_epoch_info",
    "The epoch of the lanes. Always 1; two at once: a change under way.",
    ["epoch"],
)
disputed = Gauge(
    "livebalance_projector_disputed_accounts", "Accounts whose input contradicts itself. Should be 0."
)
drifting = Gauge(
    "livebalance_projector_drifting_accounts",
    "Accounts whose balance, opening and transfers do not add up. Should be 0; each is disputed too.",
)
unverified = Gauge(
    "livebalance_projector_unverified_seconds",
    "Seconds that an account has waited for the transfer its balance names, the longest. Those that have not "
    "moved since LIVEBALANCE_START_FROM are not counted.",
)
lanes = each(
    Gauge("livebalance_projector_lanes", "Lanes owned. One that is halted waits for an operator.", ["state"]),
    ["running", "halted"],
)
published = Counter("livebalance_projector_published_messages", "Messages Redis took.")
unpublished = Counter(
    "livebalance_projector_unpublished_messages",
    "Messages not sent, because Redis was away: gateways find what they lost.",
)
seconds = each(
    Histogram(
        "livebalance_projector_batch_seconds",
        "Seconds of a batch in each stage: what it needs is read, folded, written and committed; then "
        "Kafka's group is told, then Redis, while the next one is under way.",
        ["stage"],
        buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
    ),
    ["load", "fold", "write", "commit_offsets", "publish"],
)


def show_epochs(epochs: Iterable[Epoch]) -> None:
    """Those of the owned lanes."""
    epoch.clear()
    for one in epochs:
        epoch.labels(one).set(1)


def count(folded: FoldResult, outcomes: Iterable[ReplayOutcome] = ()) -> None:
    """A batch that Postgres has taken."""
    applied.inc(folded.applied)
    duplicates.inc(folded.duplicates)
    stale.inc(folded.stale)
    quarantined.inc(len(folded.quarantined))
    for outcome in outcomes:
        replayed.labels(outcome.state).inc()
