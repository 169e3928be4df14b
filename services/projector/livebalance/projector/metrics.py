"""What a projector counts, for /metrics."""

from prometheus_client import Counter, Gauge, Histogram

from livebalance.projector.fold import Folded

applied = Counter("livebalance_projector_records_applied", "Records that moved a revision")
duplicates = Counter("livebalance_projector_duplicates", "Records seen before, ignored")
quarantined = Counter("livebalance_projector_quarantined", "Records kept aside with their bytes")
failed = Counter("livebalance_projector_failed", "Times the lanes were given up and claimed again", ["fate"])
published = Counter("livebalance_projector_published", "Messages Redis took")
unpublished = Counter("livebalance_projector_unpublished", "Messages not sent: Redis was away")
disputed = Gauge("livebalance_projector_disputed", "Accounts of the owned lanes that are disputed")
unverified = Gauge(
    "livebalance_projector_unverified_seconds", "How long an account has waited for the transfer it names"
)
lanes = Gauge("livebalance_projector_lanes", "Lanes owned", ["state"])  # running, halted
seconds = Histogram(
    "livebalance_projector_batch_seconds",
    "Time of one batch, by stage",
    ["stage"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)


def count(folded: Folded) -> None:
    """A batch that Postgres has taken."""
    applied.inc(folded.applied)
    duplicates.inc(folded.duplicates)
    quarantined.inc(len(folded.quarantined))
