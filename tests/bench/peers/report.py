"""The table of a comparison, as Markdown."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from tests.bench.peers.measurement import Measurement, Scenario
from tests.bench.peers.servers import CENTRIFUGO_VERSION
from tests.bench.provenance import provenance

Results = Mapping[tuple[Scenario, str], Sequence[Measurement]]

SATURATED = 0.97  # share of the deliveries; a server that delivers fewer has no time left


def print_line(round_: int, scenario: Scenario, name: str, result: Measurement) -> None:
    """Prints a single measurement."""
    print(
        f"{round_ + 1}  {scenario.kind} {scenario.rate:>7,}/s  {name:<14}"
        f" {result.user:6.1f} + {result.kernel:5.1f} µs  {result.arrived:5.0%}  p99 {result.p99:6.1f} ms"
        f"  {result.wire_bytes:4.0f} bytes  idle {result.idle:5.1f} KiB  connect {result.connect:5.0f} µs"
        f"  breaks {result.breaks}",
        flush=True,
    )


def render(scenarios: Sequence[Scenario], names: Sequence[str], results: Results, network: str) -> str:
    """Returns a part of a page: how it was measured, and a table for each quantity."""
    first = scenarios[0]
    rounds = len(results[first, names[0]])
    when, machine = provenance()
    command = (
        f"python -m tests.bench.peers --clients {first.clients} --seconds {first.seconds:g} --rounds {rounds}"
    )
    sections = [
        f"`{command} --write` {when}: {first.clients:,} clients, {rounds} rounds of {first.seconds:g} s in"
        f" turns, medians, {network}. Centrifugo {CENTRIFUGO_VERSION}, {machine}",
        "### CPU µs per delivered update",
        "User + kernel; in brackets the lowest and the highest sum of all rounds.",
        _table(scenarios, names, results, _cpu),
        f"### CPU per delivered update, as a ratio to {names[0]}",
        "`gateway again` differs from `gateway` by the noise only.",
        _table(scenarios, names, results, lambda runs, first: f"{_sum(runs) / _sum(first):.2f}"),
        "### Delay: p99 in ms",
        "From publishing to a client's read. *Saturated*: fewer than"
        f" {SATURATED:.0%} of the deliveries arrived; the gateway joins deltas of clients that are behind.",
        _table(scenarios, names, results, _delay),
        "### A client",
        _clients(scenarios, names, results),
        f"In all runs together {_breaks(results)} chains of revisions were broken, of one client in 16.",
    ]
    return "\n\n".join(sections) + "\n"


def _sum(runs: Sequence[Measurement]) -> float:
    return median(run.delivery for run in runs)


def _cpu(runs: Sequence[Measurement], _: Sequence[Measurement]) -> str:
    sums = sorted(run.delivery for run in runs)
    user, kernel = median(run.user for run in runs), median(run.kernel for run in runs)
    return f"{user:.1f} + {kernel:.1f} ({sums[0]:.1f} to {sums[-1]:.1f})"


def _delay(runs: Sequence[Measurement], _: Sequence[Measurement]) -> str:
    arrived = median(run.arrived for run in runs)
    text = f"{median(run.p99 for run in runs):.0f}"
    return text if arrived >= SATURATED else f"{text}, *saturated* ({arrived:.0%})"


def _table(
    scenarios: Sequence[Scenario],
    names: Sequence[str],
    results: Results,
    cell: Callable[[Sequence[Measurement], Sequence[Measurement]], str],
) -> str:
    rows = [
        [name, *(cell(results[scenario, name], results[scenario, names[0]]) for scenario in scenarios)]
        for name in names
    ]
    return _markdown(["", *(f"{scenario.kind} {scenario.rate:,}/s" for scenario in scenarios)], rows)


def _clients(scenarios: Sequence[Scenario], names: Sequence[str], results: Results) -> str:
    rows = []
    for name in names:
        runs = [run for scenario in scenarios for run in results[scenario, name]]
        rows.append(
            [
                name,
                f"{median(run.idle for run in runs):.1f}",
                f"{median(run.connect for run in runs):.0f}",
                f"{median(run.wire_bytes for run in runs):.0f}",
            ]
        )
    return _markdown(["", "idle KiB", "connect µs", "bytes of a delivery on the wire"], rows)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _breaks(results: Results) -> int:
    return sum(run.breaks for runs in results.values() for run in runs)
