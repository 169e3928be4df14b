"""A model of the statements that a gateway reads with (`livebalance.readmodel.gateway_reads`).

`tests/integration/readmodel/test_read_model.py` compares it with the statements themselves.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from livebalance.readmodel.gateway_reads import AccountState, AuditFinding, LaneProgress
from livebalance.wire.identity import INITIAL_REVISION, AccountId, Epoch, Lane, Position, Revision
from livebalance.wire.timestamp import Millis
from livebalance.wire.views import BalanceView, TransferView


class StoredTransfer(NamedTuple):
    """A transfer as a gateway shows it, and Kafka's time of its record."""

    view: TransferView
    recorded_at: Millis


class StoredAccount(NamedTuple):
    """What Postgres has of an account; `transfers` are those since its last erasure, in order."""

    revision: Revision = INITIAL_REVISION  # 0: it does not exist yet
    lane: Lane | None = None
    recorded_at: Millis = Millis(0)
    balance: BalanceView | None = None
    transfers: Sequence[StoredTransfer] = ()
    erased_revision: Revision = INITIAL_REVISION

    @property
    def is_erased(self) -> bool:
        return self.revision > 0 and self.balance is None and not self.transfers


class StoredProjection(NamedTuple):
    """What Postgres has of the projection and its lanes."""

    epoch: Epoch
    partitions: int  # that it was built from; a lane may be missing
    lanes: Mapping[Lane, LaneProgress]

    @property
    def oldest_as_of(self) -> Millis | None:
        known = [lane.as_of for lane in self.lanes.values() if lane.as_of is not None]
        return min(known) if len(known) == self.partitions else None


class ReadLimits(NamedTuple):
    """Bounds of what a read returns."""

    max_revisions: int  # that a position may be behind
    page_transfers: int
    snapshot_transfers: int


def account_state(
    projection: StoredProjection, account: StoredAccount, after: Position | None, limits: ReadLimits
) -> AccountState:
    """Returns what `read_accounts` returns for a client at `after`."""
    continues = (
        after is not None
        and after.epoch == projection.epoch
        and account.erased_revision <= after.revision <= account.revision
        and account.revision - after.revision <= limits.max_revisions
    )
    if continues and after is not None:
        listed = [each for each in account.transfers if each.view.revision > after.revision]
        limit = limits.page_transfers
    else:
        listed, limit = [*reversed(account.transfers)], limits.snapshot_transfers
    more = len(listed) > limit
    return AccountState(
        epoch=projection.epoch,
        revision=account.revision,
        lane=account.lane,
        as_of=projection.oldest_as_of if account.lane is None else projection.lanes[account.lane].as_of,
        recorded_at=listed[limit - 1].recorded_at if continues and more else account.recorded_at,
        balance=account.balance,
        transfers=[each.view for each in listed[:limit]],
        continues=continues,
        more=more,
        erased=account.is_erased,
        erased_revision=account.erased_revision,
    )


def audit_finding(
    projection: StoredProjection,
    revisions: Mapping[AccountId, Revision],
    expected: Mapping[AccountId, Position],
) -> AuditFinding:
    """Returns what `read_audit` returns. `revisions` are those of the accounts that exist."""
    stored = {account: revisions.get(account, INITIAL_REVISION) for account in expected}
    differing = {
        account: revision for account, revision in stored.items() if revision != expected[account].revision
    }
    return AuditFinding(projection.epoch, projection.partitions, dict(projection.lanes), differing)
