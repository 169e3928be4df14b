"""What one transaction writes of a batch."""

from collections.abc import Sequence

from livebalance.projector.fold import Folded
from livebalance.projector.lane import Step
from livebalance.readmodel.rows import Outcome, Work


def work(
    steps: Sequence[Step],
    folded: Folded,
    currency: str | None,
    replayed: Sequence[tuple[int, Outcome]] = (),
) -> Work:
    changes = folded.changes.values()
    return Work(
        [one.move for one in steps],
        [change.account.row(change.from_, currency) for change in changes],
        [change.account.id for change in changes if change.erased],
        [row for change in changes for row in change.transfers],
        folded.quarantined,
        replayed,
    )
