"""CPU time of the gateway's own code for a delivered update, without sockets: decode, hub, outbox, frame.

Clients get whole deltas or patches, from two gateways in turns; "again" is a third, which shows the noise.

`python -m tests.bench.delivery [--accounts 2000] [--rounds 20]`

Each account has a client, or all clients have the same ("hot"). The deltas arrive in batches, as from reads
of Redis. Their bytes are new objects, and there are more accounts than caches hold, as in a gateway. Times
are microseconds of CPU per delivery: the median of the rounds, and the least and the most.
"""

import argparse
import gc
import time
from collections.abc import Iterator, Sequence
from itertools import count, islice
from statistics import median
from typing import Any, NamedTuple, cast

from livebalance.gateway.auth.revocations import Revocations
from livebalance.gateway.live.hub import Hub
from livebalance.gateway.live.sessions import Sessions
from livebalance.gateway.redis.node_subscriber import PLAIN, NodeSubscriber
from livebalance.gateway.redis.subscriber import Subscriber, SubscriberEvents
from livebalance.gateway.server.frame_encoder import FrameEncoder
from livebalance.runtime.process.run import GC_THRESHOLDS
from livebalance.wire.identity import AccountId
from tests.bench.peers.messages import BASE, EPOCH, PREFIX, account_id, livebalance_message
from tests.unit.gateway.harness import CONFIG, account_state, connect_and_subscribe

BATCH = 40  # deltas of a read
KINDS = ("deltas", "patches", "deltas again")
AUDIT_EVERY = 5  # deltas of an account between two audits


class Gateway:
    """The pure core of a gateway, behind the decoder of its Redis subscriber."""

    def __init__(self, accounts: Sequence[AccountId], clients: int, *, patches: bool) -> None:
        self._hub = Hub(1000, 64 * 1024 * 1024)
        self._encoder = FrameEncoder()
        self.written = 0
        sessions = Sessions(CONFIG._replace(max_connections_per_user=clients), Revocations(), self._hub)
        ignore: Any = lambda *_: None  # noqa: E731
        events = SubscriberEvents(*[ignore] * len(SubscriberEvents._fields))
        self._subscriber = Subscriber(
            "redis://localhost", PREFIX, "g", 1.0, events._replace(deltas=self._relay)
        )
        self._subscriber._schedule_send = ignore  # type: ignore[method-assign]  # nothing is connected
        self._subscriber.subscribe(accounts)
        self._node = cast(NodeSubscriber, type("Node", (), {"commands": PLAIN, "node": None}))
        for number in range(clients):
            account = accounts[number % len(accounts)]
            connect_and_subscribe(sessions, account, patches=patches)
            self._answer(account)
        self._flush()

    def _answer(self, account: AccountId) -> None:
        self._hub.on_subscribed(account)
        for read in self._hub.drain_effects().reads:
            self._hub.on_read(
                read, dict.fromkeys(read.positions, account_state(BASE)._replace(epoch=EPOCH)), 0.0
            )

    def receive(self, pushes: list[list[Any]]) -> None:
        """Handles the messages of a read of Redis."""
        self._subscriber.on_pushes(self._node, pushes)

    def _relay(self, deltas: Sequence[Any]) -> None:
        for delta in deltas:
            self._hub.on_delta(*delta)
        self._flush()

    def _flush(self) -> None:
        for session in self._hub.drain_effects().sessions_to_flush:
            self.written += len(self._encoder.encode(session.outbox.pop(0.0)))

    def audit(self) -> None:
        """Digests what was relayed, and confirms it, as an audit does."""
        accounts = list(self._hub.subscribers)
        self._hub.begin_audit(accounts)
        for account in accounts:
            self._hub.subscribers[account].channel.confirm_content()


def batches(accounts: Sequence[AccountId], revision: int) -> Iterator[list[list[Any]]]:
    """Yields the next delta of each account, as pushes of Redis."""
    messages = [livebalance_message(account, revision) for account in accounts]
    pushes = [[b"message", channel.encode(), message] for channel, message in messages]
    return (pushes[start : start + BATCH] for start in range(0, len(pushes), BATCH))


class Times(NamedTuple):
    """Microseconds of each delivery, and of each delta in an audit, and the bytes of a delivery."""

    deliveries: list[float]
    audits: list[float]
    sizes: list[float]


def measure(accounts: Sequence[AccountId], clients: int, rounds: int) -> dict[str, Times]:
    """Returns the times of each kind of client. Its gateways take turns."""
    gateways = {kind: Gateway(accounts, clients, patches=kind == "patches") for kind in KINDS}
    times, revisions = {kind: Times([], [], []) for kind in KINDS}, count(BASE, 2)
    gc.freeze()
    for _ in range(rounds):
        numbers = list(islice(revisions, AUDIT_EVERY))
        for kind, gateway in gateways.items():
            for number in numbers:
                todo, before = list(batches(accounts, number)), gateway.written
                start = time.process_time()
                for pushes in todo:
                    gateway.receive(pushes)
                times[kind].deliveries.append((time.process_time() - start) / clients * 1e6)
                times[kind].sizes.append((gateway.written - before) / clients)
            start = time.process_time()
            gateway.audit()
            times[kind].audits.append((time.process_time() - start) / len(accounts) / AUDIT_EVERY * 1e6)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--accounts", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    gc.set_threshold(*GC_THRESHOLDS)
    for kind, accounts in (("own", arguments.accounts), ("hot", 1)):
        measured = measure([account_id(n) for n in range(accounts)], arguments.accounts, arguments.rounds)
        for client, times in measured.items():
            for step, values in zip(("delivery", "audit, per delta", "bytes"), times, strict=True):
                span = f"({min(values):.2f} to {max(values):.2f})"
                print(f"{kind}  {client:14} {step:18} {median(values):7.2f} {span}")


if __name__ == "__main__":
    main()
