"""Where an export goes: a file that is there whole or not at all, or standard output."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from livebalance.cli.errors import UserError, from_os


@contextlib.contextmanager
def target(path: Path | None) -> Iterator[BinaryIO]:
    """None: standard output. A file gets its name when the block has ended well; until then, another.

    Raises UserError, also for what the block raises as OSError.
    """
    try:
        with _standard_output() if path is None else _whole(path.resolve()) as file:
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
def _whole(path: Path) -> Iterator[BinaryIO]:
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is no file: without --output it goes to standard output")
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
