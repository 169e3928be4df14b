"""Puts the formats of `libs/wire` into the wheel and the sdist: the client installs alone (decision 30)."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BundleWire(BuildHookInterface[Any]):
    """Called by hatchling for each build. The formats of Kafka's records stay out: a client reads none."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the files. An sdist has them already, and an editable client uses those of the workspace."""
        if version == "editable":
            return
        wire = Path(self.root).parent / "wire" / "livebalance" / "wire"
        for file in (*wire.glob("*.py"), *wire.glob("py.typed")):
            build_data["force_include"][str(file)] = f"livebalance/wire/{file.name}"
