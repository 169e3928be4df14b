"""The metrics of a projector. Metrics of lanes cover the lanes that this process owns."""

from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

from livebalance.projector.fold.fold import FoldResult
from livebalance.readmodel.rows import Differences, LanesTotals, ReplayOutcome
from livebalance.runtime.kafka.errors import Fate
from livebalance.runtime.kafka.lag import lag_gauges
from livebalance.runtime.metrics import init_labels
from livebalance.wire.identity import Epoch
from livebalance.wire.timestamp import Millis

lag = lag_records, lag_seconds, open_transaction_seconds = lag_gauges("projector")
records_applied = Counter(
    "livebalance_projector_records_applied", "Records applied. Each adds 1 to its account's revision."
)
duplicate_records = Counter(
    "livebalance_projector_duplicate_records",
    "Records ignored because they were applied before. Normal after a producer restarts.",
)
stale_balances = Counter(
    "livebalance_projector_stale_balances",
    "Balance records that are not newer than the stored balance, and differ from it, perhaps because of a "
    "second writer. They are ignored, or dispute their account.",
)
erased_records = Counter(
    "livebalance_projector_erased_records",
    "Transfers and balances that were left out because their account was erased after them. Normal in a "
    "replay.",
)
quarantined_records = Counter(
    "livebalance_projector_quarantined_records",
    "Rejected records. The table quarantine keeps their bytes and the reason.",
)
replayed_records = init_labels(
    Counter(
        "livebalance_projector_replayed_records",
        "Quarantined records that were marked for replay, by outcome. held: rejected again.",
        ["outcome"],
    ),
    ["applied", "duplicate", "stale", "erased", "held"],
)
lane_releases = init_labels(
    Counter(
        "livebalance_projector_lane_releases",
        "Times the process released its lanes to claim them again. transient: Postgres or Kafka was "
        "unavailable. fenced: another process owns a lane, or the assignment or the epoch changed.",
        ["fate"],
    ),
    [Fate.TRANSIENT.value, Fate.FENCED.value],
)
fenced = Counter(
    "livebalance_projector_fenced",
    "Batches and claims discarded because another process owns the lane, or the epoch changed. Normal only "
    "while projectors start or stop.",
)
epoch_changes = Counter(
    "livebalance_projector_epoch_changes",
    "Times this process changed the epoch, because Postgres is another server or has lost commits.",
)
epoch_info = Gauge(
    "livebalance_projector_epoch_info",
    "The epoch of the owned lanes. Always 1. Two epochs at once: a change is under way.",
    ["epoch"],
)
disputed_accounts = Gauge(
    "livebalance_projector_disputed_accounts", "Accounts whose input contradicts itself. Should be 0."
)
drifting_accounts = Gauge(
    "livebalance_projector_drifting_accounts",
    "Accounts whose balance does not equal opening + transfers. Should be 0. Each is disputed too.",
)
unverified_accounts = Gauge(
    "livebalance_projector_unverified_accounts",
    "Accounts that wait for the transfer that their balance names.",
)
unverified_seconds = Gauge(
    "livebalance_projector_unverified_seconds",
    "Longest time that an account has waited for the transfer that its balance names. Accounts without a "
    "transfer since LIVEBALANCE_START_FROM are not counted.",
)
differences = init_labels(
    Gauge(
        "livebalance_projector_differences",
        "Transfers that differ between Kafka and Postgres. missing: no row. different: other amount, time or "
        "offset. extra: a row that is not in Kafka. restored: listed although its account was erased. Should "
        "be 0.",
        ["kind"],
    ),
    ["missing", "different", "extra", "restored"],
)
unreconciled_seconds = Gauge(
    "livebalance_projector_unreconciled_seconds",
    "Seconds since the newest transfers were compared with Kafka, in the lane where this is longest ago.",
)
half_applied_accounts = Gauge(
    "livebalance_projector_half_applied_accounts",
    "Accounts with transfers that no balance record includes for 10 seconds or more; at most 10,000 a lane.",
)
half_applied_seconds = Gauge(
    "livebalance_projector_half_applied_seconds",
    "Longest time that an account has had transfers that no balance record includes, without a new balance.",
)
followed_sets = Gauge(
    "livebalance_projector_followed_sets",
    "Sets of accounts that clients of any gateway follow, and whose totals this process keeps for its lanes.",
)
lanes = init_labels(
    Gauge("livebalance_projector_lanes", "Lanes owned. A halted lane waits for an operator.", ["state"]),
    ["running", "halted"],
)
published_messages = Counter("livebalance_projector_published_messages", "Messages that Redis accepted.")
unpublished_messages = Counter(
    "livebalance_projector_unpublished_messages",
    "Messages dropped because Redis was unavailable. Gateways find the gap and read from Postgres.",
)
batch_seconds = init_labels(
    Histogram(
        "livebalance_projector_batch_seconds",
        "Seconds of a batch in each stage. load, fold and write (with COMMIT) run in turn; write includes "
        "the decoding of the next batch in a backlog. Then commit_offsets (Kafka) and publish (Redis) run "
        "beside the next batch.",
        ["stage"],
        buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
    ),
    ["load", "fold", "write", "commit_offsets", "publish"],
)


def set_epochs(epochs: Iterable[Epoch]) -> None:
    """Shows the epochs of the owned lanes."""
    epoch_info.clear()
    for epoch in epochs:
        epoch_info.labels(epoch).set(1)


def set_totals(lanes: LanesTotals, now: Millis) -> None:
    """Shows the numbers of accounts of the owned lanes."""
    disputed_accounts.set(lanes.totals.disputed)
    drifting_accounts.set(lanes.totals.drifting)
    unverified_accounts.set(lanes.totals.unverified)
    unverified_seconds.set(_age(lanes.unverified_since, now))


def set_differences(read: Differences, now: Millis) -> None:
    """Shows what the reconciliation of the owned lanes has found."""
    for kind in ("missing", "different", "extra", "restored"):
        differences.labels(kind).set(getattr(read, kind))
    unreconciled_seconds.set(_age(read.compared_at, now))
    half_applied_accounts.set(read.half_applied)
    half_applied_seconds.set(_age(read.half_applied_since, now))


def _age(since: Millis | None, now: Millis) -> float:
    """Returns seconds; 0 without a time, or if another clock is ahead."""
    return 0 if since is None else max(0, now - since) / 1000


def count_batch(folded: FoldResult, outcomes: Iterable[ReplayOutcome] = ()) -> None:
    """Counts the records of a committed batch."""
    records_applied.inc(folded.applied)
    duplicate_records.inc(folded.duplicates)
    stale_balances.inc(folded.stale)
    erased_records.inc(folded.erased)
    quarantined_records.inc(len(folded.quarantined))
    for outcome in outcomes:
        replayed_records.labels(outcome.state).inc()
