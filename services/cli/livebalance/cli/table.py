"""Prints the tables and the objects of all commands: text without colours, or JSON."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import typer

from livebalance.runtime.redact import one_line


def format_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Returns the lines of a table. Numbers are aligned to the right, None is `-`, and nothing is cut off.

    Cells may contain bytes of a record or a client's words, so control characters are escaped.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [
        bool(cells)
        and all(row[column].lstrip("-").replace(".", "").isdecimal() or row[column] == "-" for row in cells)
        for column in range(len(columns))
    ]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in (columns, *cells)
    ]


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a table, or `none` if it has no rows."""
    lines = format_table(columns, rows)
    typer.echo("\n".join(lines) if len(lines) > 1 else "none")


def print_json(value: Any) -> None:
    """Prints a value of --json on a line of its own."""
    typer.echo(json.dumps(value, default=str))


def _cell(value: object) -> str:
    return "-" if value is None else one_line(str(value))
