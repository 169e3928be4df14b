"""Properties of sets, for any interleaving, loss, repetition and restart, beside the properties of accounts.

- The frames of each client chain.
- A client shows the members that SQL has at the batch of each lane that it is at, and their sum.
- A heartbeat's `as_of` claims no more than was sent.
- No frame with an account is written after the rights to it were revoked.
- Once the faults end, every client shows the current members and their total.
"""

from collections.abc import Iterable

from livebalance.wire.identity import AccountId, SetName
from livebalance.wire.timestamp import Millis
from livebalance.wire.views import MemberView
from tests.simulation.gateway.properties import (
    ACCOUNTS,
    INDEXES,
    NUMBERS,
    Faulty,
    Forging,
    LosingCommits,
    Lossless,
    Revoking,
)
from tests.simulation.gateway.set_client import SetClient, SetScreen, total_of
from tests.simulation.gateway.sets import Batch, SetWorld
from tests.simulation.gateway.world import World
from tests.simulation.projection import Projection
from tests.simulation.steps import always, step

OWNERS = ["c", "d"]
SETS = [
    SetName("prefix", ""),
    SetName("prefix", "a"),
    SetName("client", "c"),
    SetName("client", "d"),
]


class LosslessSets(Lossless):
    """Redis loses nothing."""

    world: SetWorld

    def make_world(self, projection: Projection) -> World:
        return SetWorld(projection)

    def subscribe_more(self) -> None:
        for client in self.world.clients:
            for name in SETS:
                self.world.subscribe_set(client, name)

    def set_client(self, number: int) -> SetClient:
        client = self.client(number)
        assert isinstance(client, SetClient)
        return client

    @property
    def set_clients(self) -> list[SetClient]:
        return [self.set_client(number) for number in NUMBERS]

    # --- steps

    @step(number=NUMBERS, name=SETS)
    def subscribe_set(self, number: int, name: SetName) -> None:
        self.world.subscribe_set(self.client(number), name)

    @step(number=NUMBERS, name=SETS)
    def unsubscribe_set(self, number: int, name: SetName) -> None:
        self.world.unsubscribe_set(self.client(number), name)

    @step(name=SETS)
    def count_set(self, name: SetName) -> None:
        self.world.count_set(name)

    @step()
    def count_all_sets(self) -> None:
        for name in SETS:
            self.world.count_set(name)

    @step(name=SETS)
    def forget_set(self, name: SetName) -> None:
        self.world.forget_set(name)

    @step(name=SETS, account=ACCOUNTS)
    def keep_wrong_total(self, name: SetName, account: AccountId) -> None:
        self.world.keep_wrong_total(name, account)

    @step(account=ACCOUNTS, owner=OWNERS)
    def change_the_client_of_an_account(self, account: AccountId, owner: str) -> None:
        if self.can_commit:
            self.world.change(account, [True, False], False, owner=owner)

    @step(account=ACCOUNTS, owner=OWNERS)
    def change_client_and_publish(self, account: AccountId, owner: str) -> None:
        self.change_the_client_of_an_account(account, owner)
        while self.world.unpublished_batches:
            self.world.publish_batch()
        self.world.deliver(len(self.world.incoming_batches))

    @step(number=NUMBERS, times=range(1, 7))
    def change_both_accounts_while_a_client_is_blocked(self, number: int, times: int) -> None:
        self.world.set_writable(self.client(number), False)
        for index in range(times):
            self.change_client_and_publish(ACCOUNTS[index % 2], OWNERS[index // 2 % 2])

    # --- properties

    @always
    def shown_members_and_totals_are_those_of_sql(self) -> None:
        if not self.world.batches_forged:
            for client in self.set_clients:
                for name, screen in client.sets.items():
                    if screen.request is None and screen.complete:
                        self.check_shown(name, screen)

    def check_shown(self, name: SetName, screen: SetScreen) -> None:
        assert screen.epoch
        stored = [
            member
            for lane, number in screen.lanes.items()
            for member in self.world.members_at(name, Batch(screen.epoch, lane, number))
        ]
        assert by_account(screen.members.values()) == by_account(stored), "not the members of SQL"
        assert screen.totals == total_of(stored), "not the total of SQL"

    @always
    def heartbeats_claim_no_more_of_sets_than_was_sent(self) -> None:
        for client in self.set_clients:
            for as_of, shown in client.set_heartbeats if not self.world.batches_forged else ():
                for name, position in shown.items():
                    if position is None:
                        continue  # the client has more than a position, and less than the next
                    for lane, commits in self.world.batch_commits.items():
                        epoch, lanes = position
                        self.check_sent(name, Batch(epoch, lane, lanes[lane]), as_of, commits)
            client.set_heartbeats.clear()

    def check_sent(
        self, name: SetName, shown: Batch, as_of: Millis, commits: list[tuple[Millis, Batch]]
    ) -> None:
        """Checks that the members are those of the newest batch at `as_of`, or of a later batch.

        Members that changed and changed back need not be sent.
        """
        first = next((index for index, (wall, _) in reversed([*enumerate(commits)]) if wall <= as_of), 0)
        later = [batch for _, batch in commits[first:]]
        members = self.world.members_at(name, shown)
        if (shown.epoch, shown.number) >= (later[0].epoch, later[0].number):
            return  # perhaps Postgres has lost it since
        assert any(self.world.members_at(name, batch) == members for batch in later), "a change was not sent"

    def teardown(self) -> None:
        super().teardown()
        self.heartbeats_claim_no_more_of_sets_than_was_sent()  # forgets those from while batches were forged
        self.world.batches_forged = False
        for client in self.set_clients:
            for name, screen in client.sets.items():
                assert screen.request is None
                assert screen.complete, "a set is between two positions at the end"
                stored = [
                    member
                    for account in ACCOUNTS
                    for member in self.world.members_at(name, self.world.batch_of(account))
                ]
                assert by_account(screen.members.values()) == by_account(stored), "not the members at the end"
                assert screen.totals == total_of(stored), "not the total at the end"
        self.heartbeats_claim_no_more_of_sets_than_was_sent()
        self.shown_members_and_totals_are_those_of_sql()


class FaultySets(LosslessSets, Faulty):
    """Batches are lost, repeated, reordered and corrupted, besides."""

    @step(index=INDEXES)
    def lose_batch(self, index: int) -> None:
        if index < len(self.world.incoming_batches) and self.world.incoming_batches[index]:
            del self.world.incoming_batches[index]

    @step(account=ACCOUNTS)
    def corrupt_batch(self, account: AccountId) -> None:
        """Changes an account, and the message of its batch on the way."""
        self.count_all_sets()
        if self.can_commit:
            self.world.change(account, [True, False], False)
        while self.world.unpublished_batches:
            self.world.publish_batch()
        self.world.corrupt_newest_batch(SETS)

    @step(index=INDEXES)
    def lose_batch_before_publishing(self, index: int) -> None:
        if index < len(self.world.unpublished_batches):
            del self.world.unpublished_batches[index]

    @step(index=INDEXES, later=INDEXES)
    def repeat_batch(self, index: int, later: int) -> None:
        incoming = self.world.incoming_batches
        if index < len(incoming) and incoming[index]:
            incoming.insert(index + later, incoming[index])

    @step(index=INDEXES)
    def publish_batch_out_of_order(self, index: int) -> None:
        self.world.publish_batch(index)


class ForgingSets(FaultySets, Forging):
    """A program other than the projector publishes batches. An audit repairs the sets."""

    @step(account=ACCOUNTS, ahead=[-1, 0, 1, 1, 1, 2, 1000])
    def forge_batch(self, account: AccountId, ahead: int) -> None:
        self.world.forge_batch(account, ahead)


class LosingSets(FaultySets, LosingCommits):
    """Accounts are erased, and Postgres loses commits."""


class RevokingSets(FaultySets, Revoking):
    """Rights are revoked. The world checks each frame that it writes."""


SET_MACHINES = (LosslessSets, FaultySets, ForgingSets, LosingSets, RevokingSets)


def by_account(members: Iterable[MemberView]) -> list[MemberView]:
    return sorted(members, key=lambda member: member.account)
