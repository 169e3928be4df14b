"""What a recorder must know of a partition before it may write: its balances, and the ids just before."""

from aiokafka import ConsumerRecord, TopicPartition

from livebalance.recorder.ledger import BEFORE_ALL, Ledger
from livebalance.recorder.settings import RecorderSettings
from livebalance.runtime import logs
from livebalance.runtime.kafka.reader import replay
from livebalance.runtime.schema.values import Values
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, Lane, Offset
from livebalance.wire.kafka.record import admissible

SOURCE_OFFSET = "source-offset"  # header of a balance record: the offset of the transfer it holds

_log = logs.get("recorder")


class Restore:
    """Fills a ledger from the topics of one lane."""

    def __init__(self, settings: RecorderSettings, values: Values, lane: Lane) -> None:
        self._settings, self._values = settings, values
        self._transfers = TopicPartition(settings.transfers_topic, lane)
        self._balances = TopicPartition(settings.balances_topic, lane)
        self._read_to = 0  # of the balances
        self._within = settings.kafka_timeout_seconds

    async def ledger(self, next_: Offset) -> Ledger:
        """For applying from transfer offset `next_` on. Raises TimeoutError."""
        ledger = Ledger(self._settings.duplicate_window_offsets)
        await self.read_on(ledger)

        def remember(record: ConsumerRecord) -> None:
            try:
                transfer = self._values.codec.transfer(record.value or b"")
            except DecodeError:
                return
            ledger.remember(Offset(record.offset), record.key, transfer)

        start = max(0, next_ - self._settings.duplicate_window_offsets)
        await replay(
            self._settings.broker,
            self._transfers,
            remember,
            start,
            end=next_,
            within=self._within,
            learn=self._values.learn,
        )
        return ledger

    async def read_on(self, ledger: Ledger) -> None:
        """Tells `ledger` the balances written since the last reading. Raises TimeoutError."""

        def take(record: ConsumerRecord) -> None:
            self._take(ledger, record)

        self._read_to = await replay(
            self._settings.broker,
            self._balances,
            take,
            self._read_to,
            within=self._within,
            learn=self._values.learn,
        )

    def _take(self, ledger: Ledger, record: ConsumerRecord) -> None:
        if record.value is None:
            ledger.forget(AccountId((record.key or b"").decode(errors="replace")))
            return
        try:
            balance = self._values.codec.balance(record.value)
        except DecodeError as error:
            refusal: str | None = str(error)
        else:
            refusal = admissible(balance, record.key)
        if refusal:
            _log.warning("balance refused", partition=record.partition, offset=record.offset, reason=refusal)
        else:
            ledger.restore(balance, _source(record))


def _source(record: ConsumerRecord) -> Offset:
    found = dict(record.headers).get(SOURCE_OFFSET, b"")
    return Offset(int(found)) if found.isdigit() else BEFORE_ALL
