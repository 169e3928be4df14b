"""The result of a rebuild, as text and as JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from livebalance.cli.rebuild.differences import DifferenceCounts
from livebalance.readmodel.rebuild.rows import LaneEnd, LaneSums, QuarantineDifferences
from livebalance.runtime.redact import one_line
from livebalance.wire.identity import Epoch, Lane

_NO_ACCOUNTS = LaneSums(0, "0", 0, "0", 0)


@dataclass(frozen=True)
class RebuildReport:
    """What was compared, at which offsets, and how it differs. `epoch` is the new epoch after a swap."""

    lanes: Mapping[Lane, LaneEnd]
    live: Mapping[Lane, LaneSums]
    shadow: Mapping[Lane, LaneSums]
    differences: DifferenceCounts
    quarantine: QuarantineDifferences
    epoch: Epoch | None

    @property
    def is_equal(self) -> bool:
        """Whether the projection was equal to the replay."""
        return not (self.differences.accounts or any(self.quarantine))

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        for lane, end in self.lanes.items():
            live, shadow = self._sums(lane)
            offsets = f"transfers before {end.transfers}, balances before {end.balances}"
            yield f"lane {lane}, {offsets}: {_sums_text(live)}"
            if live != shadow:
                yield f"lane {lane}, replayed: {_sums_text(shadow)}"
        for difference in self.differences.first:
            yield one_line(str(difference))  # a client id is any text of a producer
        if (more := self.differences.fields.total() - len(self.differences.first)) > 0:
            yield f"and {more} more differences"
        if self.quarantine.missing:
            yield f"quarantine: {self.quarantine.missing} records that the replay rejected are missing"
        if self.quarantine.applied:
            yield f"quarantine: {self.quarantine.applied} transfers wait that the replay applied"
        yield self._verdict()

    def _verdict(self) -> str:
        if self.is_equal:
            return "The projection equals the replay."
        fields = ", ".join(f"{name} {count}" for name, count in self.differences.fields.most_common())
        differ = f"{self.differences.accounts} accounts differ{f' ({fields})' if fields else ''}."
        if self.epoch is None:
            return f"{differ} Nothing was replaced."
        return (
            f"{differ} They were replaced. The epoch is {self.epoch} now: every client will get a snapshot."
        )

    def _sums(self, lane: Lane) -> tuple[LaneSums, LaneSums]:
        return self.live.get(lane, _NO_ACCOUNTS), self.shadow.get(lane, _NO_ACCOUNTS)

    def as_object(self) -> dict[str, object]:
        """Returns the report as a JSON object. Amounts are decimal strings."""
        return {
            "equal": self.is_equal,
            "swapped": self.epoch is not None,
            "epoch": self.epoch,
            "accounts_different": self.differences.accounts,
            "fields": dict(self.differences.fields),
            "differences": [difference._asdict() for difference in self.differences.first],
            "quarantine": self.quarantine._asdict(),
            "lanes": {
                str(lane): {
                    "transfers_next": end.transfers,
                    "balances_next": end.balances,
                    "live": self._sums(lane)[0]._asdict(),
                    "shadow": self._sums(lane)[1]._asdict(),
                }
                for lane, end in self.lanes.items()
            },
        }


def _sums_text(sums: LaneSums) -> str:
    return (
        f"{sums.accounts:,} accounts, balances {sums.balance}, {sums.transfers:,} transfers,"
        f" posted {sums.posted_total}, {sums.disputed} disputed"
    )
