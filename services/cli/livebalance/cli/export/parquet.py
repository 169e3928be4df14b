"""Rows of an export as Parquet; needs pyarrow, which not everyone has."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow.parquet import ParquetWriter

from livebalance.cli.errors import UserError
from livebalance.cli.export.text_format import Write
from livebalance.readmodel.exports import Column, Row

GROUP = 100_000  # rows that a reader takes or leaves out together

# 20 digits before the point and 18 behind it: every int64 at every scale fits, and nearly all sums of such.
_AMOUNT = pa.decimal128(38, 18)
_TYPES = {
    "text": pa.string(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "numeric": _AMOUNT,
    "timestamptz": pa.timestamp("us", "UTC"),
}


@contextmanager
def as_parquet(file: BinaryIO, columns: Sequence[Column]) -> Iterator[Write]:
    """What has no end cannot be read. Raises UserError when an amount does not fit."""
    schema = pa.schema([(column.name, _TYPES[column.kind]) for column in columns])
    writer = ParquetWriter(file, schema, compression="zstd")
    waiting: list[Any] = []

    def flush() -> None:
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting), row_group_size=GROUP)
            waiting.clear()

    def write(rows: Sequence[Row]) -> None:
        if rows:
            waiting.append(_batch(schema, rows))
        if sum(len(batch) for batch in waiting) >= GROUP:
            flush()

    try:
        yield write
        flush()
        writer.close()
    finally:
        writer.is_open = False  # one that is only forgotten would write its end all the same


def _batch(schema: Any, rows: Sequence[Row]) -> Any:
    values = zip(*rows, strict=True)
    arrays = [_array(field, column) for field, column in zip(schema, values, strict=True)]
    return pa.record_batch(arrays, schema=schema)


def _array(field: Any, values: Sequence[Any]) -> Any:
    if field.type != _AMOUNT:
        return pa.array(values, field.type)
    try:
        return pa.array(values, pa.string()).cast(_AMOUNT)
    except pa.ArrowInvalid as cause:
        raise UserError(
            f"a value of {field.name} has more than 20 digits before the point, which is more than Parquet"
            " holds here: write csv or ndjson"
        ) from cause
