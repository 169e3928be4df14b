"""Rows of an export as text: CSV, or a JSON object a line."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import BinaryIO, TypeAlias

from livebalance.readmodel.exports import Column, Row
from livebalance.wire.timestamp import format_rfc3339, millis

Write: TypeAlias = Callable[[Sequence[Row]], None]
Form: TypeAlias = Callable[[BinaryIO, Sequence[Column]], AbstractContextManager[Write]]
"""Rows are written within the block; once it has ended well, they are all in the file. Raises OSErrors."""


@contextmanager
def as_csv(file: BinaryIO, columns: Sequence[Column]) -> Iterator[Write]:
    """RFC 4180 in UTF-8, the names of the columns first. Null and an empty text are both empty."""
    times = _times(columns)

    def put(rows: Sequence[Sequence[object]]) -> None:
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        file.write(text.getvalue().encode())

    put([[column.name for column in columns]])
    yield lambda rows: put([_said(row, times) for row in rows])


@contextmanager
def as_ndjson(file: BinaryIO, columns: Sequence[Column]) -> Iterator[Write]:
    """In UTF-8. Amounts are strings, other numbers are whole, null is null."""
    times, names = _times(columns), [column.name for column in columns]

    def line(row: Row) -> str:
        values = dict(zip(names, _said(row, times), strict=True))
        return json.dumps(values, ensure_ascii=False, separators=(",", ":")) + "\n"

    yield lambda rows: _put(file, "".join(map(line, rows)))


def _put(file: BinaryIO, text: str) -> None:
    file.write(text.encode())


def _times(columns: Sequence[Column]) -> list[int]:
    return [place for place, column in enumerate(columns) if column.kind == "timestamptz"]


def _said(row: Row, times: Sequence[int]) -> list[object]:
    """With its times as text."""
    said = list(row)
    for place in times:
        if said[place] is not None:
            said[place] = format_rfc3339(millis(said[place]))
    return said
