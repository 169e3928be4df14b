"""A sheet of transfers as CSV: bytes in, and for every line a transfer, or why it is none."""

import csv
import re
from collections.abc import Sequence
from typing import NamedTuple

from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.kafka.record import Transfer, rejection_reason
from livebalance.wire.money import Money, parse_money
from livebalance.wire.timestamp import Millis, parse_rfc3339

MAX_LINE = 4096  # bytes
NEEDED = ("id", "account", "amount")
_KNOWN = frozenset((*NEEDED, "time"))
_MILLIS = re.compile(r"-?\d{1,18}", re.ASCII)


class SkippedLine(NamedTuple):
    """A line that is no transfer: "line 3", and why. Nothing of what stands there is repeated."""

    where: str
    reason: str


Row = Transfer | SkippedLine


class HeaderError(DecodeError):
    """Without its header a sheet says nothing; the text is one line and says what to do."""


class CsvParser:
    """One line is one row; empty lines are passed over. It holds no more than one unfinished line.

    With `columns` there is no header. `word` is what a line is called.
    """

    def __init__(self, columns: Sequence[str] | None = None, word: str = "line") -> None:
        self._columns, self._word = columns, word
        self._number, self._rest = 0, b""

    def take(self, chunk: bytes, now: Millis) -> list[Row]:
        """The rows that `chunk` completes; those without a time are of `now`. Raises HeaderError."""
        *lines, rest = (self._rest + chunk).split(b"\n")
        self._rest = rest[: MAX_LINE + 2]  # of a longer one no more is needed to see that
        return [row for line in lines if (row := self._row(line, now)) is not None]

    def end(self, now: Millis) -> list[Row]:
        """The row of a last line that no line end follows. Raises HeaderError."""
        rows = self.take(b"\n", now)
        if self._columns is None:
            raise HeaderError(
                "it is empty: the first line names the columns id, account, amount, or time too"
            )
        return rows

    def _row(self, line: bytes, now: Millis) -> Row | None:
        self._number += 1
        try:
            fields = _fields(line.removesuffix(b"\r"))
            if not fields:
                return None
            if self._columns is None:
                self._columns = _header(fields)
                return None
            return _transfer(self._columns, fields, now)
        except DecodeError as refused:
            skip = SkippedLine(f"{self._word} {self._number}", str(refused))
        if self._columns is None:
            raise HeaderError(f"{skip.where}: {skip.reason}")
        return skip


def _fields(line: bytes) -> list[str]:
    """Without spaces around them; none of an empty line."""
    if len(line) > MAX_LINE:
        raise DecodeError(f"longer than {MAX_LINE} bytes")
    try:
        text = line.decode()
        return [field.strip() for field in next(csv.reader([text], strict=True))] if text.strip() else []
    except UnicodeDecodeError as cause:
        raise DecodeError("not UTF-8") from cause
    except csv.Error as cause:
        raise DecodeError("not one line of CSV: look at its quotes") from cause


def _header(fields: list[str]) -> list[str]:
    names = [fields[0].removeprefix("\ufeff").strip('" '), *fields[1:]]  # what some programs put first
    if len(set(names)) != len(names) or not set(NEEDED) <= set(names) <= _KNOWN:
        raise DecodeError(
            "the header names the columns id, account, amount, or time too, once each, and no other"
        )
    return names


def _transfer(columns: Sequence[str], fields: list[str], now: Millis) -> Transfer:
    if len(fields) != len(columns):
        raise DecodeError(f"{len(columns)} fields are needed, here are {len(fields)}")
    given = dict(zip(columns, fields, strict=True))
    transfer = Transfer(
        TransferId(given["id"]), AccountId(given["account"]), _amount(given["amount"]), _time(given, now)
    )
    if reason := rejection_reason(transfer, transfer.account.encode()):
        raise DecodeError(reason)
    return transfer


def _amount(text: str) -> Money:
    try:
        return parse_money(text)
    except DecodeError as cause:
        raise DecodeError("the amount is not a decimal number like -12.50") from cause


def _time(given: dict[str, str], now: Millis) -> Millis:
    text = given.get("time", "")
    if not text:
        return now
    if _MILLIS.fullmatch(text):
        return Millis(int(text))
    try:
        return parse_rfc3339(text)
    except DecodeError as cause:
        raise DecodeError("the time is neither RFC 3339 with a zone nor ms since 1970") from cause
