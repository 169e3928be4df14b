"""What a unit of work costs while accounts, lanes, transfers, sessions and gateways grow.

`python -m tests.bench.growth [accounts lanes transfers sessions gateways] [--small] [--write]`

Everything runs on real servers: a projector works off a backlog, a gateway's role reads an account, gateways
have clients on real sockets. The slope is the exponent of the power law that fits a curve: 0 if a unit costs
the same at each size.

`--write` writes the tables that were measured into the documentation, keeps the others, and draws
`growth.svg` of all tables, which needs matplotlib (`uv pip install matplotlib`). `--small` leaves out the
largest sizes.
"""

import argparse
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from livebalance.stack.paths import PROJECT
from livebalance.stack.servers.servers import Servers
from tests.bench.bench_servers import run_on_servers
from tests.bench.growth import account, gateway, projector
from tests.bench.growth.curve import Growth, draw
from tests.bench.growth.page import read_table, replace_tables, table
from tests.bench.provenance import provenance

Measure = Callable[[Servers, Path, Sequence[int]], Awaitable[Growth]]

SIZES: dict[str, tuple[Measure, Sequence[int]]] = {
    "accounts": (projector.over_accounts, (1_000, 10_000, 100_000, 1_000_000)),
    "lanes": (projector.over_lanes, (1, 4, 16, 64)),
    "transfers": (
        lambda servers, _, sizes: account.over_transfers(servers, sizes),
        (10, 100, 1_000, 10_000, 100_000, 1_000_000),
    ),
    "sessions": (
        lambda servers, _, sizes: gateway.over_sessions(servers, sizes),
        (100, 1_000, 5_000, 19_000),  # a process may have 20,000 sockets and files
    ),
    "gateways": (lambda servers, _, sizes: gateway.over_gateways(servers, sizes), (1, 2, 4)),
}
PAGE, PICTURE = PROJECT / "docs" / "benchmarks.md", PROJECT / "docs" / "growth.svg"
BEGIN, END = (
    "<!-- The growth bench writes what follows. -->\n",
    "<!-- End of what the growth bench writes. -->\n",
)


async def benchmark(servers: Servers, names: Sequence[str], small: bool) -> list[Growth]:
    growths = []
    with tempfile.TemporaryDirectory() as directory:
        for name in names:
            measure, sizes = SIZES[name]
            growth = await measure(servers, Path(directory), sizes[:2] if small else sizes)
            print(f"{table(growth)}\n", flush=True)
            growths.append(growth)
    return growths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("growths", nargs="*", metavar="GROWTH", default=list(SIZES))
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name} and {PICTURE.name}")
    arguments = parser.parse_args()
    growths = run_on_servers(
        lambda servers: benchmark(servers, arguments.growths, arguments.small), "kafka", "postgres", "redis"
    )
    if arguments.write:
        write(arguments.growths, growths)


def write(names: Sequence[str], growths: Sequence[Growth]) -> None:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    text, _, after = rest.partition(END)
    run = "`python -m tests.bench.growth {} --write` {}: {}".format(" ".join(names), *provenance())
    tables = replace_tables(text, run, growths)
    PICTURE.write_text(draw([read_table(block) for _, block in tables.values()]))
    picture = f"![Costs at each size]({PICTURE.name})"
    text = "\n\n".join([picture, *(block for pair in tables.values() for block in pair)])
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n\n{END}{after}")


if __name__ == "__main__":
    main()
