"""Rows as parameters of a statement: an array for each column, which `unnest` makes rows of (decision 9)."""

from collections.abc import Iterable, Sequence
from typing import Any


def arrays(types: str, first: int = 1) -> str:
    """Returns SQL for parameters that are arrays of these types. The number of the first is `first`."""
    return ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(types.split(), first))


def columns(rows: Sequence[tuple[Any, ...]], count: int) -> Iterable[Sequence[Any]]:
    """Returns the `count` columns of the rows."""
    return zip(*rows, strict=True) if rows else [()] * count


def literals(types: str, first: int) -> str:
    """Returns SQL that converts the results of `texts` to arrays."""
    return ", ".join(f"${number}::text::{kind}[]" for number, kind in enumerate(types.split(), first))


def texts(rows: Sequence[tuple[Any, ...]], types: str) -> Iterable[str]:
    """Returns each column as the text of an array.

    asyncpg calls two functions in Python for each element of an array (decision 39). It does not for a text.
    """
    kinds = types.split()
    return map(_array_text, columns(rows, len(kinds)), kinds)


def _array_text(column: Sequence[object], kind: str) -> str:
    if kind != "text":
        return "{" + ",".join(["NULL" if value is None else str(value) for value in column]) + "}"
    return "{" + ",".join(["NULL" if value is None else _quoted(str(value)) for value in column]) + "}"


def _quoted(text: str) -> str:
    if "\\" in text or '"' in text:
        text = text.replace("\\", r"\\").replace('"', r"\"")
    return f'"{text}"'
