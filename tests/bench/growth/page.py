"""The tables of the growths on the page of benchmarks, each below the run that measured it."""

from collections.abc import Sequence
from itertools import pairwise

from tests.bench.growth.curve import Curve, Growth


def table(growth: Growth) -> str:
    """Returns a table of Markdown: a line for each curve."""
    sizes = [f"{size:,}" for size, _ in growth.curves[0].points]
    head = [growth.of, *sizes, "slope"]
    lines = [head, ["---"] * len(head), *map(_line, growth.curves)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _line(curve: Curve) -> list[str]:
    return [
        f"{curve.name}, {curve.unit}",
        *(f"{float(f'{cost:.3g}'):,g}" for _, cost in curve.points),
        f"{curve.slope:+.2f}",
    ]


def read_table(text: str) -> Growth:
    """Returns the growth that `table` has written, as exactly as the table has it."""
    (of, *sizes, _), _, *lines = [line.strip("| ").split(" | ") for line in text.splitlines()]
    return Growth(of, [_read_line(line, [int(_number(size)) for size in sizes]) for line in lines])


def _read_line(line: Sequence[str], sizes: Sequence[int]) -> Curve:
    label, *costs, _ = line
    name, _, unit = label.rpartition(", ")
    return Curve(name, unit, list(zip(sizes, map(_number, costs), strict=True)))


def _number(cell: str) -> float:
    return float(cell.replace(",", ""))


def replace_tables(text: str, run: str, measured: Sequence[Growth]) -> dict[str, tuple[str, str]]:
    """Returns the tables in `text`, with those of `measured` in place of their predecessors.

    The keys say what grows. The values are the paragraph before a table, which is `run` for a new table, and
    the table.
    """
    pairs = [pair for pair in pairwise(text.split("\n\n")) if pair[1].startswith("|")]
    tables = {read_table(block).of: (paragraph, block) for paragraph, block in pairs}
    return tables | {growth.of: (run, table(growth)) for growth in measured}
