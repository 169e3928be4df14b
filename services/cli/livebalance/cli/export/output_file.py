"""The output of an export: a file that is replaced as a whole, or standard output."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from livebalance.cli.errors import UserError, from_os


@contextlib.contextmanager
def open_output(path: Path | None) -> Iterator[BinaryIO]:
    """Opens a file, or standard output for None. The file appears only when the block ends without an error.

    Raises:
        UserError: the output cannot be written. An OSError of the block becomes a UserError as well.
    """
    try:
        with _standard_output() if path is None else _atomic_file(path.resolve()) as file:
            yield file
    except BrokenPipeError:
        raise UserError("standard output was closed before all was written") from None
    except OSError as error:
        raise from_os(error) from error


@contextlib.contextmanager
def _standard_output() -> Iterator[BinaryIO]:
    with open(1, "wb", closefd=False) as file:
        yield file


@contextlib.contextmanager
def _atomic_file(path: Path) -> Iterator[BinaryIO]:
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is not a regular file: omit --output to write to standard output")
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
