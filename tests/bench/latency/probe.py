"""Logs when a service has a record: `site/sitecustomize.py` calls `install` in each service of the benchmark.

A service keeps each moment and the object that it has then, and writes both to a file when it ends. So what
the log costs while the service runs is less than a microsecond for a batch.
"""

import atexit
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

VARIABLE = "LATENCY_DIRECTORY"


class Moment(NamedTuple):
    """Records that a service has at a time of the machine's monotonic clock."""

    stage: str
    time_ns: int
    transfers: list[str]  # their ids
    balances: list[tuple[str, int, str]]  # account, version, id of the last transfer


Read = Callable[[Any], Iterable[Any]]  # returns records, or frames

_kept: list[tuple[str, int, Any, Read]] = []


def keep(stage: str, value: Any, read: Read) -> None:
    """Keeps this moment. `read` returns the records, or the texts of frames, of `value` later."""
    _kept.append((stage, time.monotonic_ns(), value, read))


def moment(stage: str, time_ns: int, records: Iterable[Any]) -> Moment:
    """Returns a moment of transfers and balances, each as a record of Kafka or in the text of a frame."""
    transfers, balances = list[str](), list[tuple[str, int, str]]()
    for record in records:
        if isinstance(record, bytes):
            frame = json.loads(record)
            transfers += [transfer["id"] for transfer in frame.get("transfers", ())]
            if balance := frame.get("balance"):
                account = frame["channel"].partition(":")[2]
                balances.append((account, balance["version"], balance["transfer_id"]))
        elif hasattr(record, "version"):
            balances.append((record.account, record.version, record.transfer_id))
        elif hasattr(record, "id"):
            transfers.append(record.id)
    return Moment(stage, time_ns, transfers, balances)


def _write(path: Path) -> None:
    with path.open("a") as log:
        for stage, time_ns, value, read in _kept:
            log.write(json.dumps(moment(stage, time_ns, read(value))) + "\n")


def install() -> None:
    """Makes a service log its moments. Does nothing in any other process."""
    kind = next((word for word in sys.orig_argv if word.startswith("livebalance.")), "")
    patches = {
        "livebalance.feed": _patch_feed,
        "livebalance.recorder": _patch_recorder,
        "livebalance.projector": _patch_projector,
        "livebalance.gateway": _patch_gateway,
    }
    if kind in patches:
        patches[kind]()
        name = f"{os.environ['LIVEBALANCE_NAME']}-{os.getpid()}.jsonl"
        atexit.register(_write, Path(os.environ[VARIABLE]) / name)


def _around(owner: Any, name: str, before: Callable[..., None], after: Callable[..., None]) -> None:
    """Replaces an asynchronous method: it calls `before` and `after` with its arguments."""
    original = getattr(owner, name)

    @functools.wraps(original)
    async def method(*arguments: Any, **keywords: Any) -> Any:
        before(*arguments)
        result = await original(*arguments, **keywords)
        after(*arguments)
        return result

    setattr(owner, name, method)


def _nothing(*_: Any) -> None:
    pass


def _patch_feed() -> None:
    from livebalance.feed.producer import FeedProducer

    def read(pairs: Any) -> Iterable[Any]:
        return (record for pair in pairs for record in pair)

    _around(
        FeedProducer,
        "send",
        lambda _, pairs: keep("sent", pairs, read),
        lambda _, pairs: keep("acknowledged", pairs, read),
    )


def _patch_recorder() -> None:
    from livebalance.recorder.partition import Partition

    def decode(given: tuple[Any, Any]) -> Iterable[Any]:
        partition, batch = given
        return (partition._values.codec.decode_transfer(record.value) for record in batch)

    def read(balances: Any) -> Iterable[Any]:
        return (balance for _, balance in balances)

    _around(
        Partition,
        "record",
        lambda partition, batch: keep("recorder has it", (partition, batch), decode),
        _nothing,
    )
    _around(
        Partition,
        "_commit",
        lambda _, balances, __: keep("transaction begins", balances, read),
        lambda _, balances, __: keep("transaction committed", balances, read),
    )


def _patch_projector() -> None:
    from livebalance.projector.postgres.store import Store
    from livebalance.projector.projector import Projector
    from livebalance.projector.redis.publisher import Publisher
    from livebalance.wire.delta import decode_delta

    steps_now: list[Any] = []

    def read(steps: Any) -> Iterable[Any]:
        return (record.content for step in steps for record in step.records)

    def read_messages(messages: Any) -> Iterable[Any]:
        for channel, payload in messages:
            _, is_account, account = channel.partition("account:")
            if is_account:
                yield decode_delta(account, payload).text

    def begin(_: Any, steps: Any) -> None:
        steps_now[:] = [steps]
        keep("projector has it", steps, read)

    _around(Projector, "_apply", begin, _nothing)
    _around(
        Store,
        "write",
        lambda *_: keep("statement begins", steps_now[0], read),
        lambda *_: keep("committed", steps_now[0], read),
    )
    _around(Publisher, "publish", lambda _, messages: keep("published", messages, read_messages), _nothing)


def _patch_gateway() -> None:
    from livebalance.gateway.relay import Relay

    original = Relay._on_deltas

    def on_deltas(self: Any, deltas: Any) -> None:
        keep("gateway has it", deltas, lambda deltas: [bytes(delta.text) for _, delta in deltas])
        original(self, deltas)

    Relay._on_deltas = on_deltas  # type: ignore[method-assign]
