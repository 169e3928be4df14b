"""The stages of a transfer and of a balance, from the moments that services and a client have logged.

A balance counts as soon as a moment has it or a later balance of its account: a batch sends the last only.
"""

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

from tests.bench.latency.probe import Moment

Key = TypeVar("Key", str, tuple[str, int])  # the id of a transfer, or an account and a version of its balance

# From each moment to the next; a name says what happens in between.
PROJECTED = {
    "projector has it": "Kafka hands it to the projector, which decodes it",
    "statement begins": "the projector loads accounts and decides",
    "committed": "Postgres writes and commits",
    "published": "the projector commits offsets to Kafka",
    "gateway has it": "Redis hands the delta to the gateway",
    "client has it": "the gateway writes it, and the client reads it",
}
TRANSFER = {"sent": "", "acknowledged": "the producer sends it, and Kafka acknowledges it", **PROJECTED}
BALANCE = {
    "sent": "",
    "acknowledged": TRANSFER["acknowledged"],
    "recorder has it": "Kafka hands it to the recorder, which is perhaps in a transaction",
    "transaction begins": "the recorder reads new balances, and decides",
    "transaction committed": "the recorder's transaction",
    **PROJECTED,
}


@dataclass(frozen=True)
class Quantiles:
    """Of times in ms."""

    count: int
    p50: float
    p99: float

    @classmethod
    def of(cls, times: Iterable[float]) -> "Quantiles":
        ordered = sorted(times)
        p50, p99 = (
            ordered[min(int(len(ordered) * q), len(ordered) - 1)] if ordered else float("nan")
            for q in (0.5, 0.99)
        )
        return cls(len(ordered), round(p50, 1), round(p99, 1))


def read_moments(directory: Path) -> list[Moment]:
    """Returns what the services of a cluster have logged, in order of time."""
    files = [*directory.glob("*.jsonl")]
    return sorted(
        (Moment(*json.loads(line)) for file in files for line in file.read_text().splitlines()),
        key=lambda moment: moment.time_ns,
    )


def stages(moments: Sequence[Moment], begin_ns: int, end_ns: int) -> "Stages":
    """Returns the stages of what was sent between two times, and has reached the client."""
    transfers = defaultdict[str, dict[str, int]](dict)
    balances = defaultdict[str, dict[tuple[str, int], int]](dict)
    versions = defaultdict[tuple[str, str], list[tuple[int, int]]](list)  # version and time, ascending
    recorded = dict[str, tuple[str, int]]()  # by the id of the transfer
    for moment in moments:
        for id_ in moment.transfers:
            transfers[moment.stage].setdefault(id_, moment.time_ns)
        for account, version, id_ in moment.balances:
            recorded.setdefault(id_, (account, version))
            known = versions[moment.stage, account]
            if not known or known[-1][0] < version:
                known.append((version, moment.time_ns))
    sent = {id_: ns for id_, ns in transfers["sent"].items() if begin_ns <= ns < end_ns}
    for id_ in sent.keys() & recorded.keys():
        account, version = recorded[id_]
        for stage in BALANCE:
            if id_ in transfers[stage] and stage not in PROJECTED:
                balances[stage][account, version] = transfers[stage][id_]
            elif (known := versions[stage, account]) and known[-1][0] >= version:
                balances[stage][account, version] = known[bisect_left(known, (version, 0))][1]
    return Stages(_quantiles(TRANSFER, transfers, sent), _quantiles(BALANCE, balances, balances["sent"]))


class Stages(NamedTuple):
    """The time of each stage by its name, and of the whole way as TOTAL. Empty if nothing has arrived."""

    transfers: Mapping[str, Quantiles]
    balances: Mapping[str, Quantiles]


TOTAL = "from the producer to the client"


def _quantiles(
    names: Mapping[str, str], times: Mapping[str, Mapping[Key, int]], keys: Iterable[Key]
) -> dict[str, Quantiles]:
    complete = [key for key in keys if all(key in times[stage] for stage in names)]
    if not complete:
        return {}
    points = list(names)
    spans = {names[end]: (start, end) for start, end in pairwise(points)}
    spans[TOTAL] = points[0], points[-1]
    return {
        name: Quantiles.of((times[end][key] - times[start][key]) / 1e6 for key in complete)
        for name, (start, end) in spans.items()
    }
