"""Rows of an export as Parquet. It needs pyarrow, an optional dependency."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow.parquet import ParquetWriter

from livebalance.cli.errors import UserError
from livebalance.cli.export.text_format import WriteRows
from livebalance.readmodel.exports import Column, Row

ROW_GROUP = 100_000  # rows; a reader can skip a row group as a whole

# 20 digits before the point and 18 after it: every amount (int64 at any scale) fits, and nearly every sum.
_AMOUNT = pa.decimal128(38, 18)
_TYPES = {
    "bool": pa.bool_(),
    "text": pa.string(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "numeric": _AMOUNT,
    "timestamptz": pa.timestamp("us", "UTC"),
}


@contextmanager
def parquet_writer(file: BinaryIO, columns: Sequence[Column]) -> Iterator[WriteRows]:
    """Writes Parquet. If the block fails, the file has no footer and cannot be read.

    Raises:
        UserError: an amount does not fit.
    """
    schema = pa.schema([(column.name, _TYPES[column.kind]) for column in columns])
    writer = ParquetWriter(file, schema, compression="zstd")
    waiting: list[Any] = []

    def flush() -> None:
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting), row_group_size=ROW_GROUP)
            waiting.clear()

    def write(rows: Sequence[Row]) -> None:
        if rows:
            waiting.append(_batch(schema, rows))
        if sum(len(batch) for batch in waiting) >= ROW_GROUP:
            flush()

    try:
        yield write
        flush()
        writer.close()
    finally:
        writer.is_open = False  # otherwise its destructor would write the footer even after an error


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
            f"a value of {field.name} has more than 20 digits before the point, too many for Parquet:"
            " write csv or ndjson"
        ) from cause
