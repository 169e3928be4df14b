"""Where the servers are: told in the environment, else those of the demo that runs on this machine."""

import os

from livebalance.runtime.settings import ServiceSettings
from livebalance.stack.place import Place
from livebalance.stack.state import State
from livebalance.stack.trouble import Trouble


def postgres(role: str) -> str:
    """URL for a role. Raises Trouble."""
    if told := os.environ.get("LIVEBALANCE_POSTGRES"):
        return told
    if found := State.read(Place.of_environment()).postgres:
        return found.replace("//analyst@", f"//{role}@", 1)
    raise Trouble("where is Postgres? set LIVEBALANCE_POSTGRES, or start the demo (make up)")


def kafka() -> ServiceSettings:
    """The settings that every service has, with where Kafka is. Raises Trouble."""
    found = os.environ.get("LIVEBALANCE_KAFKA") or State.read(Place.of_environment()).kafka
    if found is None:
        raise Trouble("where is Kafka? set LIVEBALANCE_KAFKA, or start the demo (make up)")
    return ServiceSettings(kafka=found)


def redis() -> str | None:
    """URL; None: nobody said where it is, and no demo runs here."""
    return os.environ.get("LIVEBALANCE_REDIS") or State.read(Place.of_environment()).redis


def channel_prefix() -> str:
    return os.environ.get("LIVEBALANCE_CHANNEL_PREFIX", "livebalance:")
