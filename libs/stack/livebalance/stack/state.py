"""The running stack as a JSON file, which its supervising process keeps up to date."""

import json
import os
from dataclasses import asdict, dataclass, field

from livebalance.stack.paths import StatePaths

_NAME = "state.json"


@dataclass(frozen=True)
class ClusterState:
    """Addresses and process ids of a cluster; all are empty while it does not run."""

    page: str | None = None
    gateways: list[str] = field(default_factory=list)
    kafka: str | None = None
    postgres: str | None = None
    redis: str | None = None
    pids: dict[str, list[int]] = field(default_factory=dict)
    supervisor: int | None = None

    @classmethod
    def read(cls, paths: StatePaths) -> "ClusterState":
        """Returns the state that a live supervisor has written, or an empty state."""
        try:
            return cls(**json.loads((paths.state / _NAME).read_text())) if paths.is_locked() else cls()
        except FileNotFoundError:
            return cls()

    def write(self, paths: StatePaths) -> None:
        """Writes the file atomically."""
        draft = paths.state / f"{_NAME}.draft"
        draft.write_text(self.json() + "\n")
        os.replace(draft, paths.state / _NAME)

    @staticmethod
    def delete(paths: StatePaths) -> None:
        """Deletes the file. Called when the cluster has stopped."""
        (paths.state / _NAME).unlink(missing_ok=True)

    def json(self) -> str:
        """Returns the state as a JSON object."""
        return json.dumps(asdict(self), indent=2)
