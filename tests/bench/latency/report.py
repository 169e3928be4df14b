"""The tables of the benchmark, as Markdown."""

from collections.abc import Mapping, Sequence

from tests.bench.latency.measurement import Row
from tests.bench.latency.stages import TOTAL, Quantiles
from tests.bench.provenance import provenance

NOTHING = Quantiles(0, float("nan"), float("nan"))


def line(row: Row) -> str:
    """Returns a line about a single row."""
    transfers, balances = (part.get(TOTAL, NOTHING) for part in row.stages)
    window = row.window
    return (
        f"{window.scenario.name:26}{window.scenario.rate:>7g}/s  busy {window.own:4.0%} of {window.busy:4.0%}"
        f"   transfers {transfers.count:>6} p50 {transfers.p50:>6} p99 {transfers.p99:>6} ms"
        f"   balances {balances.count:>6} p50 {balances.p50:>6} p99 {balances.p99:>6} ms"
    )


def cpu_table(rows: Sequence[Row]) -> str:
    """Returns the CPU time of each kind of process. At a low rate it would be the CPU time of idling."""
    measured = [row.window for row in rows if row.window.scenario.rate >= 100]
    kinds = sorted({kind for window in measured for kind in window.cpu_us})
    lines = [
        [
            f"{window.scenario.name}, {window.scenario.rate:g}/s",
            *(f"{window.cpu_us.get(k, '')}" for k in kinds),
        ]
        for window in measured
    ]
    return _markdown(["CPU µs per transfer record", *kinds], lines)


def render(rows: Sequence[Row], seconds: float, rates: Sequence[float]) -> str:
    """Returns a part of a page: how it was measured, the totals, and the stages at the last rate."""
    when, machine = provenance()
    command = (
        f"python -m tests.bench.latency --seconds {seconds:g} --rates {' '.join(f'{r:g}' for r in rates)}"
    )
    last = [row for row in rows if row.window.scenario.rate == rates[-1]]
    return (
        "\n\n".join(
            [
                f"`{command} --write` {when}: {machine}",
                "### In total",
                _totals(rows),
                f"### Stages of a transfer at {rates[-1]:g} per second, p50 and p99 in ms",
                _stages([row for row in last if row.stages.transfers], 0),
                f"### Stages of a balance at {rates[-1]:g} per second, p50 and p99 in ms",
                _stages([row for row in last if row.stages.balances], 1),
            ]
        )
        + "\n"
    )


def _totals(rows: Sequence[Row]) -> str:
    head = [
        "transfers",
        "per second",
        "cores busy with this, with all",
        "transfer p50 ms",
        "p99",
        "balance p50 ms",
        "p99",
    ]
    lines = []
    for row in rows:
        transfers, balances = (part.get(TOTAL, NOTHING) for part in row.stages)
        values = f"{transfers.p50}", f"{transfers.p99}", *_cells(balances)
        scenario = row.window.scenario
        lines.append(
            [scenario.name, f"{scenario.rate:,.0f}", f"{row.window.own:.0%}, {row.window.busy:.0%}", *values]
        )
    return _markdown(head, lines)


def _cells(quantiles: Quantiles) -> tuple[str, str]:
    return (f"{quantiles.p50}", f"{quantiles.p99}") if quantiles.count else ("", "")


def _stages(rows: Sequence[Row], part: int) -> str:
    measured: list[Mapping[str, Quantiles]] = [row.stages[part] for row in rows]
    names = list(measured[0]) if measured else []
    head = ["", *(cell for row in rows for cell in (row.window.scenario.name, "p99"))]
    lines = [[name, *(cell for stages in measured for cell in _cells(stages[name]))] for name in names]
    return _markdown(head, lines)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
