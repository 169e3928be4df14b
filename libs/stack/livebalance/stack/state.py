"""What is up, in one JSON file that its supervisor keeps."""

import json
import os
from dataclasses import asdict, dataclass, field

from livebalance.stack.paths import StatePaths

_NAME = "state.json"


@dataclass(frozen=True)
class ClusterState:
    """Addresses and process ids of a cluster; all empty while it is not up."""

    page: str | None = None
    gateways: list[str] = field(default_factory=list)
    kafka: str | None = None
    postgres: str | None = None
    redis: str | None = None
    pids: dict[str, list[int]] = field(default_factory=dict)
    supervisor: int | None = None

    @classmethod
    def read(cls, place: StatePaths) -> "ClusterState":
        """What the supervisor of a place has noted, if one is alive."""
        try:
            return cls(**json.loads((place.state / _NAME).read_text())) if place.in_use() else cls()
        except FileNotFoundError:
            return cls()

    def write(self, place: StatePaths) -> None:
        """Note it, whole or not at all."""
        draft = place.state / f"{_NAME}.draft"
        draft.write_text(self.json() + "\n")
        os.replace(draft, place.state / _NAME)

    @staticmethod
    def forget(place: StatePaths) -> None:
        """Nothing is up any more."""
        (place.state / _NAME).unlink(missing_ok=True)

    def json(self) -> str:
        """One JSON object."""
        return json.dumps(asdict(self), indent=2)
