"""The settings of a projector."""

from typing import Annotated

from pydantic import Field, SecretStr

from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.config.types import Count, Seconds, SecretPostgresUrl, SigningSecret
from livebalance.wire.signature import SigningKey

_ENDS = r"^\d+:\d+:\d+(,\d+:\d+:\d+)*$"


class ProjectorSettings(ServiceSettings):
    """Settings from LIVEBALANCE_* variables. Times are in seconds unless the name says otherwise."""

    name: str = "projector"
    postgres: SecretPostgresUrl = SecretStr("postgresql://projector@127.0.0.1:5432/livebalance")
    """URL of the projection's database, for a member of the role `projector`."""
    projector_group: str = "livebalance-projector"
    """Kafka consumer group that all projectors share."""
    group_instance_id: str | None = None
    """Kafka `group.instance.id`, different for each process. A process that restarts within the session
    timeout keeps its lanes. None: when it stops, other projectors claim its lanes at once."""
    session_timeout_ms: Count = 6_000
    """Milliseconds without a heartbeat after which Kafka assigns the lanes of a process to others."""
    batch_records: Count = 2000
    """Maximum records in a transaction."""
    cache_accounts: Count = 100_000
    """Maximum accounts kept in memory, and the same for transfers. Postgres is read for all others."""
    max_consecutive_rejects: Annotated[int, Field(ge=0)] = 100
    """Maximum rejected records in a row that are quarantined. The next rejected record halts the lane. 0: the
    first rejected record halts it."""
    delta_key: SigningSecret | None = None
    """Secret that signs all messages to gateways, at least 32 characters. None: messages are not signed.
    Gateways of releases that lack this setting cannot read signed messages."""
    delta_positions: bool = False
    """Whether the header of a delta has its positions, so that gateways need not parse it. Gateways of the
    previous release drop such deltas: set it when all gateways have this release."""
    catch_up_threshold_seconds: Seconds = 5.0
    """Seconds behind Kafka after which a lane publishes only its progress, no deltas."""
    reconciliation_rate: Annotated[int, Field(ge=0)] = 2000
    """Maximum transfers per second that the process reads again from Kafka to compare them with Postgres. 0:
    nothing is compared. Increase it if more transfers arrive per second, or to compare all of them sooner."""
    fetch_wait_ms: Count = 200
    """Maximum milliseconds that a fetch waits for records."""
    read_until: Annotated[str, Field(pattern=_ENDS, examples=["0:1200:2400,1:1180:2350"])] | None = None
    """Lanes, each with the offsets in transfers and balances that end it. The projector reads no record from
    these offsets on, and publishes nothing. `livebalance rebuild` sets it. None: lanes have no end."""

    def signing_key(self) -> SigningKey | None:
        """Returns the key of messages to gateways. None: messages are not signed."""
        return SigningKey(self.delta_key.get_secret_value()) if self.delta_key else None

    def end_offsets(self) -> dict[tuple[str, int], int]:
        """Returns the end of each partition (topic, number), from `read_until`."""
        ends = [map(int, lane.split(":")) for lane in self.read_until.split(",")] if self.read_until else []
        return {
            (topic, lane): end
            for lane, *offsets in ends
            for topic, end in zip((self.transfers_topic, self.balances_topic), offsets, strict=True)
        }
