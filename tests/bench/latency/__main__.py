"""Time of a transfer and of its balance from the producer to a client, and what each stage takes.

`python -m tests.bench.latency [--seconds 10] [--rates 10 1000] [--write]`

Real servers (fsync on), two projectors, one client at a gateway that follows every account. All times are of
the machine's monotonic clock, which all processes share: services log when they have a record, and the client
when it has read a frame, before it is decoded. A transfer begins when the feed has given it a timestamp.

Without transactions no recorder runs, so only transfers are measured. With a recorder, a balance begins with
the transfer that it names. Rates are of transfer records. "busy" is the share of the machine's cores.

`--write` writes the stages at the last rate into the documentation.
"""

import argparse
import asyncio
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from livebalance.stack.paths import PROJECT, StatePaths
from tests.bench.latency.measurement import Row, Scenario, run
from tests.bench.latency.report import cpu_table, line, render

REPORT = PROJECT / "docs" / "benchmarks.md"
BEGIN, END = (
    "<!-- The latency bench writes what follows. -->\n",
    "<!-- End of what the latency bench writes. -->\n",
)


def scenarios(rates: Sequence[float]) -> list[list[Scenario]]:
    """Returns the scenarios without a recorder, and with one."""
    return [
        [Scenario("plain", rate, plain=True) for rate in rates],
        [
            Scenario(name, rate, plain=plain)
            for rate in rates
            for name, plain in (("plain, recorded", True), ("in transactions, recorded", False))
        ],
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds to measure for each row (10)")
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[10, 1000], help="transfer records a second"
    )
    parser.add_argument("--write", action="store_true", help=f"write {REPORT}")
    arguments = parser.parse_args()
    rows: list[Row] = []
    for recorders, part in enumerate(scenarios(arguments.rates)):
        with tempfile.TemporaryDirectory(prefix="latency-") as state:
            Path(state).chmod(0o755)  # Postgres may run as another user
            paths = StatePaths(StatePaths.from_environment().home, Path(state))
            for row in asyncio.run(run(paths, recorders, part, arguments.seconds)):
                print(line(row), flush=True)
                rows.append(row)
    print("\n" + cpu_table(rows))
    tables = render(rows, arguments.seconds, arguments.rates)
    print(f"\n{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n\n{tables}")
    if arguments.write:
        before, _, rest = REPORT.read_text().partition(BEGIN)
        REPORT.write_text(f"{before}{BEGIN}\n{tables}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
