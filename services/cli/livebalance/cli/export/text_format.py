"""Rows of an export as text: CSV, or a JSON object per line."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import BinaryIO, TypeAlias

from livebalance.readmodel.exports import Column, Row
from livebalance.wire.timestamp import format_rfc3339, millis

WriteRows: TypeAlias = Callable[[Sequence[Row]], None]
OpenWriter: TypeAlias = Callable[[BinaryIO, Sequence[Column]], AbstractContextManager[WriteRows]]
"""Yields a function that writes rows. All rows are in the file when the block has ended without an error."""


@contextmanager
def csv_writer(file: BinaryIO, columns: Sequence[Column]) -> Iterator[WriteRows]:
    """Writes CSV (RFC 4180) in UTF-8, with a header. Null and an empty text are both empty."""
    times, flags = _columns_of("timestamptz", columns), _columns_of("bool", columns)

    def text_row(row: Row) -> list[object]:
        values = _with_text_times(row, times)
        for index in flags:
            values[index] = str(values[index]).lower()
        return values

    def write(rows: Sequence[Sequence[object]]) -> None:
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        file.write(text.getvalue().encode())

    write([[column.name for column in columns]])
    yield lambda rows: write([text_row(row) for row in rows])


@contextmanager
def ndjson_writer(file: BinaryIO, columns: Sequence[Column]) -> Iterator[WriteRows]:
    """Writes NDJSON in UTF-8. Amounts are strings, other numbers are integers, null is null."""
    times, names = _columns_of("timestamptz", columns), [column.name for column in columns]

    def line(row: Row) -> str:
        values = dict(zip(names, _with_text_times(row, times), strict=True))
        return json.dumps(values, ensure_ascii=False, separators=(",", ":")) + "\n"

    yield lambda rows: _write_text(file, "".join(map(line, rows)))


def _write_text(file: BinaryIO, text: str) -> None:
    file.write(text.encode())


def _columns_of(kind: str, columns: Sequence[Column]) -> list[int]:
    return [index for index, column in enumerate(columns) if column.kind == kind]


def _with_text_times(row: Row, times: Sequence[int]) -> list[object]:
    values = list(row)
    for index in times:
        if values[index] is not None:
            values[index] = format_rfc3339(millis(values[index]))
    return values
