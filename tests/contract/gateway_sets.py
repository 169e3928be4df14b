"""The part of a dialogue's gateway that serves sets: what Postgres stores of them, and batches from Redis."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import convert, structs

from livebalance.gateway.live.hub import Hub
from livebalance.gateway.live.sessions import SessionConfig
from livebalance.gateway.live.sets.set_channel import SetRead
from livebalance.readmodel.gateway_reads import AuditFinding, LaneProgress
from livebalance.readmodel.sets.reads import Member, SetState
from livebalance.wire.identity import AccountId, Epoch, Lane, SetName
from livebalance.wire.sets.batch import ChangedAccount, LaneBatch
from livebalance.wire.timestamp import Millis
from livebalance.wire.views import MemberView

SETS, SET_ACCOUNTS, PAGE_MEMBERS = 2, 4, 2


def with_sets(config: SessionConfig) -> SessionConfig:
    """Returns the configuration of a gateway that serves sets."""
    limits = structs.replace(config.limits, sets=SETS, set_accounts=SET_ACCOUNTS)
    return config._replace(limits=limits, features=("sets",))


class GatewaySets:
    """Each account is in a lane. A batch changes accounts of Postgres, and Redis delivers it."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._epoch = Epoch("")
        self._lanes: dict[Lane, int] = {}
        self._members: dict[AccountId, Member] = {}
        self.as_of: Millis | None = None

    def store(self, stored: dict[str, Any], as_of: Millis) -> None:
        """Replaces what Postgres has."""
        self._epoch, self.as_of = stored["epoch"], as_of
        self._lanes = {Lane(int(lane)): number for lane, number in stored["lanes"].items()}
        members = convert([member for _, member in stored["members"]], list[MemberView])
        lanes = [Lane(lane) for lane, _ in stored["members"]]
        self._members = {view.account: Member(view, lane) for view, lane in zip(members, lanes, strict=True)}

    def commit(self, batch: dict[str, Any], *, is_delivered: bool = True, is_stored: bool = True) -> None:
        """Changes accounts, and delivers the batch."""
        lane, accounts = Lane(batch["lane"]), convert(batch["accounts"], list[ChangedAccount])
        if is_stored:
            self._lanes[lane] = batch["number"]
            for account in accounts:
                self._members.pop(account.account, None)
                if account.view:
                    self._members[account.account] = Member(account.view, lane)
        if is_delivered:
            self._hub.sets.on_batch(LaneBatch(lane, self._epoch, batch["number"], accounts))

    def finding(self, as_of: Millis) -> AuditFinding:
        """Returns what an audit finds."""
        lanes = {lane: LaneProgress(as_of, None, number) for lane, number in self._lanes.items()}
        return AuditFinding(self._epoch, len(lanes), lanes, {})

    def answer(self, reads: Iterable[SetRead], *, is_available: bool) -> None:
        """Answers reads at once."""
        for read in reads:
            if is_available:
                state = SetState(self._epoch, dict(self._lanes), self._of(read.name), self.as_of)
                self._hub.sets.on_read(read, state)
            else:
                self._hub.sets.on_read_failed(read)

    def _of(self, name: SetName) -> Mapping[AccountId, Member]:
        def matches(view: MemberView) -> bool:
            return (
                view.client_id == name.value if name.kind == "client" else view.account.startswith(name.value)
            )

        matching = {account: member for account, member in self._members.items() if matches(member.view)}
        return dict(list(matching.items())[: self._hub.sets.max_accounts + 1])
