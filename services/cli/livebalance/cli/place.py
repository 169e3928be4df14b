"""Where the servers are: told in the environment, else those of the demo that runs on this machine."""

import os

from pydantic import ValidationError

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
    """Of Kafka and its topics: LIVEBALANCE_KAFKA and what goes with it, else the demo's. Raises Trouble."""
    try:
        told = ServiceSettings()
    except ValidationError as wrong:
        first = wrong.errors()[0]
        name = "".join(f"LIVEBALANCE_{part}".upper() for part in first["loc"][:1])
        raise Trouble(f"{name} {first['msg']}".strip()) from None
    if told.kafka and "kafka" in told.model_fields_set:
        return told
    if found := State.read(Place.of_environment()).kafka:
        return told.model_copy(update={"kafka": found})
    raise Trouble("where is Kafka? set LIVEBALANCE_KAFKA, or start the demo (make up)")


def redis() -> str | None:
    """URL; None: nobody said where it is, and no demo runs here."""
    return os.environ.get("LIVEBALANCE_REDIS") or State.read(Place.of_environment()).redis


def channel_prefix() -> str:
    return os.environ.get("LIVEBALANCE_CHANNEL_PREFIX", "livebalance:")
