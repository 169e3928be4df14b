"""Costs of a set at a gateway: CPU time per batch, with the frames of its clients, and a snapshot.

`python -m tests.bench.sets [--accounts 10000] [--clients 100] [--batches 2000]`

Runs the gateway's pure core: batches go in, the frames that a socket would write come out. Each figure is the
median of 5 runs, with the least and the greatest.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from random import Random

from livebalance.gateway.auth.revocations import Revocations
from livebalance.gateway.auth.rights import EVERYTHING, Rights
from livebalance.gateway.live.hub import Hub
from livebalance.gateway.live.session import Session, SessionLimits
from livebalance.gateway.live.sessions import SessionConfig, Sessions
from livebalance.readmodel.sets.reads import Member, SetState
from livebalance.wire.frame import ChannelRequest, Limits, Subscribe, encode_frame
from livebalance.wire.identity import AccountId, Epoch, Lane, Revision
from livebalance.wire.money import Money
from livebalance.wire.sets.batch import ChangedAccount, KeptTotal, LaneBatch, decode_batch, encode_batch
from livebalance.wire.timestamp import Millis
from livebalance.wire.views import MemberView

RUNS, LANES = 5, 16
EPOCH = Epoch("00000000000000a1")
QUEUE_BYTES = 64 * 1024
NEVER = Millis(2**42)


class Gateway:
    """A gateway whose clients all follow `prefix:EU-`."""

    def __init__(self, accounts: int) -> None:
        self.hub = Hub(1000, 1 << 20, accounts)
        config = SessionConfig(
            "gateway", "0", 10_000, Limits(16384, 128, 1000, sets=4), QUEUE_BYTES,
            session_limits=SessionLimits(*[1e9] * 4), max_connections_per_user=1_000_000,
        )  # fmt: skip
        self.sessions = Sessions(config, Revocations(), self.hub)
        self.clients: list[Session] = []
        self._numbers = dict.fromkeys(map(Lane, range(LANES)), 1)
        self._members = {
            id_: Member(MemberView(id_, Revision(1), "1250.00", "EUR", "c-17", None), Lane(number % LANES))
            for number, id_ in enumerate(AccountId(f"EU-{each:08}") for each in range(accounts))
        }
        self._revisions = count(2)
        self._changed = set[AccountId]()
        self._in_lane_0 = sum(member.lane == 0 for member in self._members.values())

    def connect(self) -> None:
        session = self.sessions.connect(f"s-{len(self.clients)}", "10.0.0.1", 0.0)
        rights = Rights(f"user-{len(self.clients)}", "login", EVERYTHING, 0, NEVER)
        self.sessions.authorize(session, None, rights, 0.0, Millis(0))
        self.clients.append(session)
        self.sessions.receive(session, encode_frame(Subscribe(1, [ChannelRequest("prefix:EU-")])), 0.0)

    def flush(self) -> int:
        """Returns the number of bytes that were written to the clients."""
        written = 0
        while True:
            effects = self.hub.drain_effects()
            if effects.batches_wanted:
                self.hub.sets.on_subscribed()
            for read in effects.set_reads:
                self.hub.sets.on_read(read, SetState(EPOCH, dict(self._numbers), dict(self._members), None))
            for session in effects.sessions_to_flush:
                while frames := session.outbox.pop(0.0):
                    written += sum(len(frame if isinstance(frame, bytes) else frame.text) for frame in frames)
                if session.waits_for_room:
                    self.sessions.schedule(session, 0.0)
            self.sessions.flush_due(0.0)
            if not (effects.batches_wanted or effects.set_reads or effects.sessions_to_flush):
                return written

    def message(self, ids: list[AccountId], *, kept: bool) -> bytes:
        """Returns the Redis message of a batch of a single lane, with the total that it keeps if `kept`."""
        lane = Lane(0)
        self._numbers[lane] += 1
        self._changed.update(ids)
        members = self._in_lane_0 if kept else 0
        amount = str(Money(members * 125_000 + len(self._changed) * 100, 2))
        totals = [KeptTotal("prefix:EU-", "EUR", amount, members)] if kept else []
        changed = [
            ChangedAccount(id_, Revision(next(self._revisions)), "1251.00", "EUR", "c-17") for id_ in ids
        ]
        return encode_batch(LaneBatch(lane, EPOCH, self._numbers[lane], changed, totals=totals))

    def deliver(self, message: bytes) -> None:
        self.hub.sets.on_batch(decode_batch(message))
        self.flush()


def cpu_of(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def show(name: str, seconds: list[float], scale: float, unit: str) -> None:
    values = sorted(value * scale for value in seconds)
    print(f"{name:58} {statistics.median(values):9.1f} {unit} ({values[0]:.1f} to {values[-1]:.1f})")


def deliver_all(gateway: Gateway, messages: list[bytes]) -> None:
    for message in messages:
        gateway.deliver(message)


def per_batch(
    gateway: Gateway, batches: int, size: int, prefix: str, accounts: int, *, kept: bool = False
) -> list[float]:
    chance, seconds = Random(1), []
    for _ in range(RUNS):
        messages = [
            gateway.message(
                [AccountId(f"{prefix}{chance.randrange(0, accounts, LANES):08}") for _ in range(size)],
                kept=kept,
            )
            for _ in range(batches)
        ]
        seconds.append(cpu_of(partial(deliver_all, gateway, messages)) / batches)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--batches", type=int, default=2000)
    given = parser.parse_args()
    gateway, snapshots, sizes = Gateway(given.accounts), list[float](), set[int]()
    gateway.connect()
    show("a set is read, and its first client gets a snapshot", [cpu_of(gateway.flush)], 1e3, "ms")
    for clients in (1, given.clients):
        while len(gateway.clients) < clients:
            gateway.connect()
            snapshots.append(cpu_of(lambda: sizes.add(gateway.flush())))
        for size in (1, 20):
            seconds = per_batch(gateway, given.batches, size, "EU-", given.accounts)
            show(f"a batch of {size} members, {clients} clients", seconds, 1e6, "µs")
            seconds = per_batch(gateway, given.batches, size, "EU-", given.accounts, kept=True)
            show("  with the total that its lane keeps", seconds, 1e6, "µs")
    seconds = per_batch(gateway, given.batches, 20, "US-", given.accounts)
    show("a batch of 20 accounts outside of the set", seconds, 1e6, "µs")
    show(f"a further snapshot of {max(sizes, default=0):,} bytes", snapshots, 1e3, "ms")


if __name__ == "__main__":
    main()
