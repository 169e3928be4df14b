"""Parses transfers from CSV: bytes in; for each line a transfer, or the reason why the line is skipped."""

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
REQUIRED_COLUMNS = ("id", "account", "amount")
_COLUMNS = frozenset((*REQUIRED_COLUMNS, "time"))
_MILLIS = re.compile(r"-?\d{1,18}", re.ASCII)


class SkippedLine(NamedTuple):
    """A line that is no valid transfer. `where` is such as "line 3"; `reason` repeats nothing of the line."""

    where: str
    reason: str


ParsedLine = Transfer | SkippedLine


class HeaderError(DecodeError):
    """The header is missing or wrong; the message is a single line that says what to do."""


class CsvParser:
    """A streaming parser, a line per transfer. It ignores empty lines and keeps only an unfinished line.

    If `columns` is given, the input has no header. `label` is the word for a line in reports.
    """

    def __init__(self, columns: Sequence[str] | None = None, label: str = "line") -> None:
        self._columns, self._label = columns, label
        self._number, self._rest = 0, b""

    def feed(self, chunk: bytes, now: Millis) -> list[ParsedLine]:
        """Returns the lines that `chunk` completes. A transfer without a time gets the time `now`.

        Raises:
            HeaderError: the first line is not a valid header.
        """
        *lines, rest = (self._rest + chunk).split(b"\n")
        self._rest = rest[: MAX_LINE + 2]  # enough to see that a line is too long
        return [parsed for line in lines if (parsed := self._parse(line, now)) is not None]

    def close(self, now: Millis) -> list[ParsedLine]:
        """Returns the last line, if no line end follows it.

        Raises:
            HeaderError: there is no valid header.
        """
        parsed = self.feed(b"\n", now)
        if self._columns is None:
            raise HeaderError("the input is empty: its first line must name the columns id, account, amount")
        return parsed

    def _parse(self, line: bytes, now: Millis) -> ParsedLine | None:
        self._number += 1
        try:
            fields = _fields(line.removesuffix(b"\r"))
            if not fields:
                return None
            if self._columns is None:
                self._columns = _header(fields)
                return None
            return _transfer(self._columns, fields, now)
        except DecodeError as error:
            skipped = SkippedLine(f"{self._label} {self._number}", str(error))
        if self._columns is None:
            raise HeaderError(f"{skipped.where}: {skipped.reason}")
        return skipped


def _fields(line: bytes) -> list[str]:
    """Returns the fields without surrounding spaces; an empty list for an empty line."""
    if len(line) > MAX_LINE:
        raise DecodeError(f"longer than {MAX_LINE} bytes")
    try:
        text = line.decode()
        return [field.strip() for field in next(csv.reader([text], strict=True))] if text.strip() else []
    except UnicodeDecodeError as cause:
        raise DecodeError("not UTF-8") from cause
    except csv.Error as cause:
        raise DecodeError("not a line of CSV: check its quotes") from cause


def _header(fields: list[str]) -> list[str]:
    names = [fields[0].removeprefix("\ufeff").strip('" '), *fields[1:]]  # a byte order mark of some programs
    if len(set(names)) != len(names) or not set(REQUIRED_COLUMNS) <= set(names) <= _COLUMNS:
        raise DecodeError(
            "the header must name id, account and amount, optionally time, once each, nothing else"
        )
    return names


def _transfer(columns: Sequence[str], fields: list[str], now: Millis) -> Transfer:
    if len(fields) != len(columns):
        raise DecodeError(f"{len(fields)} fields instead of {len(columns)}")
    values = dict(zip(columns, fields, strict=True))
    transfer = Transfer(
        TransferId(values["id"]), AccountId(values["account"]), _amount(values["amount"]), _time(values, now)
    )
    if reason := rejection_reason(transfer, transfer.account.encode()):
        raise DecodeError(reason)
    return transfer


def _amount(text: str) -> Money:
    try:
        return parse_money(text)
    except DecodeError as cause:
        raise DecodeError("the amount is not a decimal number like -12.50") from cause


def _time(values: dict[str, str], now: Millis) -> Millis:
    text = values.get("time", "")
    if not text:
        return now
    if _MILLIS.fullmatch(text):
        return Millis(int(text))
    try:
        return parse_rfc3339(text)
    except DecodeError as cause:
        raise DecodeError("the time is neither RFC 3339 with a time zone nor ms since 1970") from cause
