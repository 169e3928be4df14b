"""The feed: opens accounts, then writes pairs of transfers, each pair in a transaction."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from livebalance.feed.initial_balance import initial_balance
from livebalance.generator.transfers import AccountPicker, TransferPair, transfer_pair
from livebalance.wire.identity import AccountId
from livebalance.wire.kafka.lifecycle import Opened, encode_lifecycle
from livebalance.wire.kafka.record import Balance
from tests.simulation.world.codec import JSON
from tests.simulation.world.process import Process, Steps
from tests.simulation.world.servers.kafka import (
    BALANCES,
    LIFECYCLE,
    TRANSFERS,
    ConnectionLostError,
    Producer,
    ProducerFencedError,
)

if TYPE_CHECKING:
    from tests.simulation.world.world import Shape

TRANSACTIONAL_ID = "feed-transfers"
PAUSE_SECONDS = 0.05


class Feed(Process):
    """Sends a pair again until it is acknowledged, as the feed does after a transient error."""

    made = 0  # by all lives: an id is never used for two transfers
    acknowledged = 0
    unsent: TransferPair | None = None  # may be written already

    @property
    def shape(self) -> "Shape":
        return self.world.shape

    def create(self) -> Sequence[Steps]:
        return (self._run(),)

    def _run(self) -> Steps:
        picker = AccountPicker(self.shape.accounts)
        self.unsent = None
        while True:
            try:
                producer = self.world.kafka.start_producer(TRANSACTIONAL_ID)
                yield 0.0
                yield from self._open(producer)
                yield 0.0
                while self.unsent or self.made < self.shape.transfers:
                    if self.unsent is None and self.world.operator.requests:
                        yield PAUSE_SECONDS
                        continue
                    if self.unsent is None:
                        self.made += 1
                        self.unsent = transfer_pair(self.shape.seed, self.made, picker, "r", self.world.wall)
                    yield from self._send(producer, self.unsent)
                    self.unsent = None
                    yield PAUSE_SECONDS if self.world.is_healing else self.shape.feed_pause
                yield 1.0
            except (ProducerFencedError, ConnectionLostError):
                yield PAUSE_SECONDS

    def _send(self, producer: Producer, pair: TransferPair) -> Steps:
        producer.begin()
        for record in pair:
            log = self.world.kafka.log(TRANSFERS, self.world.lane_of(record.account))
            producer.send(log, record.account.encode(), JSON.encode_transfer(record))
            yield 0.0
        producer.commit()
        self.acknowledged += 1

    def _open(self, producer: Producer) -> Steps:
        """Opens, in a transaction, the accounts without a balance."""
        if missing := self._missing():
            producer.begin()
            for balance in missing:
                lane, key = self.world.lane_of(balance.account), balance.account.encode()
                producer.send(self.world.kafka.log(BALANCES, lane), key, JSON.encode_balance(balance))
                yield 0.0
                value = encode_lifecycle(Opened(balance.account, balance.amount))
                producer.send(self.world.kafka.log(LIFECYCLE, lane), key, value)
                yield 0.0
            producer.commit()

    def _missing(self) -> list[Balance]:
        """Returns the balances of accounts that have none."""
        kafka = self.world.kafka
        known = set[AccountId]()
        for log in kafka.topics[BALANCES].logs:
            for record in log.read(log.first)[0]:
                account = AccountId((record.key or b"").decode())
                (known.discard if record.value is None else known.add)(account)
        balances = [initial_balance(number + 1) for number in range(self.shape.opened)]
        return [
            balance
            for balance in balances
            if balance.account not in known and balance.account not in self.world.erased
        ]
