"""Compares the CPU time of the three hot loops with `gate.toml`: `make bench-gate`.

`python -m tests.bench.gate [--rounds 15] [--write]`

A cost is the CPU time of an item, divided by that of a fixed work of the interpreter, which is measured in
turns with it, so that costs from different machines can be compared: the smallest of the rounds of each. A
cost that differs by more than 15 % from its figure fails, also if it is lower: then write the new figure with
`--write`, and commit it. No server is needed. The figures are those of one version of Python.
"""

import argparse
import gc
import json
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from hashlib import sha256
from itertools import count
from pathlib import Path

from livebalance.projector.fold.fold import batch_rows, fold
from livebalance.projector.fold.lane import FetchStatus, OwnedLane, decode, owned_lane, step
from livebalance.projector.redis.messages import MessageEncoder
from livebalance.readmodel.rows import LaneRow
from livebalance.recorder.ledger import Ledger
from livebalance.runtime.process.run import GC_THRESHOLDS
from livebalance.runtime.schema.file_registry import FileRegistry
from livebalance.wire.identity import AccountId, Epoch, Lane, Offset, TransferId
from livebalance.wire.kafka.codec import ConfluentCodec
from livebalance.wire.kafka.raw_record import RawRecord
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import Money
from livebalance.wire.timestamp import Millis
from tests.bench.delivery import Gateway, batches
from tests.bench.peers.messages import BASE, account_id
from tests.pieces import finish

FIGURES = Path(__file__).with_suffix(".toml")
TOLERANCE = 0.15
ITEMS, ACCOUNTS = 2_000, 500
AT = Millis(1_795_540_800_000)
CODEC = ConfluentCodec(FileRegistry())

Loop = Callable[[], object]  # handles ITEMS items


def reference() -> None:
    """A fixed work, of the kinds that the loops do: objects, texts, dictionaries, and calls of C."""
    seen: dict[str, tuple[int, str]] = {}
    for number in range(ITEMS):
        text = json.dumps({"id": f"t-{number}", "amount": str(number * 7), "names": ["a", "b"]})
        fields = json.loads(text)
        seen[fields["id"]] = (int(fields["amount"]), sha256(text.encode()).hexdigest())
    assert len(seen) == ITEMS


def account(number: int) -> AccountId:
    return AccountId(f"acc-{number % ACCOUNTS:04}")


def transfer(number: int) -> Transfer:
    return Transfer(TransferId(f"t-{number:08}"), account(number), Money(number % 1_000 + 1, 2), AT)


def projector() -> Loop:
    """Decodes and folds a backlog of transfers and balances, and encodes rows and deltas."""
    half = ITEMS // 2
    amounts: dict[AccountId, int] = {}
    transfers, balances = [], []
    for offset in range(half):
        change = transfer(offset)
        amounts[change.account] = amounts.get(change.account, 0) + change.amount.unscaled
        balance = Balance(
            change.account, "client-1", change.id, Money(amounts[change.account], 2), offset + 1
        )
        key = change.account.encode()
        value = CODEC.encode_transfer(change)
        transfers.append(RawRecord("transfers", 3, offset, AT + offset, key, value, ()))
        value = CODEC.encode_balance(balance)
        balances.append(RawRecord("account-balances", 3, offset, AT + offset, key, value, ()))
    encoder = MessageEncoder("livebalance:", "transfers", "EUR", 60_000)
    status = FetchStatus(False, AT)

    def lane() -> OwnedLane:
        epoch, first = Epoch("0123456789abcdef"), Offset(0)
        row = LaneRow(Lane(3), 1, epoch, first, first, None, None, None, None, None, True)
        return owned_lane(row, "transfers", "account-balances")

    def loop() -> None:
        owned = lane()
        lane_step = step(owned, finish(decode(owned, (transfers, balances), CODEC)), (status, status), 10)
        folded = fold(lane_step.records, {}, {}, (), {})
        rows = batch_rows([lane_step], folded, "EUR")
        deltas = list(encoder.deltas([lane_step], folded, AT))
        assert len(rows.transfers) == half
        assert len(deltas) == ACCOUNTS

    return loop


def gateway() -> Loop:
    """Relays a delta to each of as many clients, who each follow an account of their own."""
    accounts = [account_id(number) for number in range(ITEMS)]
    core, revisions = Gateway(accounts, ITEMS, patches=False), count(BASE, 2)

    def loop() -> None:
        for pushes in batches(accounts, next(revisions)):
            core.receive(pushes)
        core.audit()

    return loop


def recorder() -> Loop:
    """Decodes transfers, adds them to their balances, and encodes these."""
    values = [CODEC.encode_transfer(transfer(number)) for number in range(ITEMS)]

    def loop() -> None:
        ledger = Ledger(window=10_000)
        written = 0
        for number, value in enumerate(values):
            change = CODEC.decode_transfer(value)
            decision = ledger.apply(Offset(number), change.account.encode(), change)
            for balance in decision.balances:
                written += len(CODEC.encode_balance(balance))
        assert written

    return loop


def cpu_seconds(loop: Loop) -> float:
    start = time.process_time()
    loop()
    return time.process_time() - start


def measure(rounds: int) -> dict[str, float]:
    """Returns the cost of an item of each loop."""
    gc.set_threshold(*GC_THRESHOLDS)
    loops = {"projector": projector(), "gateway": gateway(), "recorder": recorder()}
    gc.freeze()
    times: dict[str, list[float]] = {"reference": [], **{name: [] for name in loops}}
    for _ in range(rounds):
        for name, loop in loops.items():
            times["reference"].append(cpu_seconds(reference))
            times[name].append(cpu_seconds(loop))
    unit = min(times.pop("reference"))
    return {name: min(values) / unit for name, values in times.items()}


def deviations(costs: Mapping[str, float], figures: Mapping[str, float]) -> dict[str, float]:
    """Returns by how much each cost differs from its figure: 0.2 is 20 % more."""
    return {name: cost / figures[name] - 1 for name, cost in costs.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", action="store_true", help="write the costs as the new figures")
    options = parser.parse_args()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    costs = measure(options.rounds)
    if options.write:
        lines = ["# Costs of an item, in units of the reference work. See gate.py.", f'python = "{version}"']
        lines += [f"{name} = {cost:.3f}" for name, cost in costs.items()]
        FIGURES.write_text("\n".join(lines) + "\n")
    figures = tomllib.loads(FIGURES.read_text())
    if figures.pop("python") != version:
        print(f"bench-gate: left out, because the figures in {FIGURES.name} are not of Python {version}")
        return 0
    failed = False
    for name, deviation in deviations(costs, figures).items():
        is_far = abs(deviation) > TOLERANCE
        failed |= is_far
        verdict = "FAILED" if is_far else "ok"
        print(
            f"{name:10} {costs[name]:6.3f} units, figure {figures[name]:6.3f}: {deviation:+7.1%}  {verdict}"
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
