"""The CSV parser: each line is a transfer that can be applied, or is skipped with a reason."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.cli.produce.csv_transfers import MAX_LINE, CsvParser, HeaderError, ParsedLine, SkippedLine
from livebalance.wire.kafka.record import Transfer, rejection_reason
from livebalance.wire.money import Money
from livebalance.wire.timestamp import Millis, format_rfc3339
from tests.unit.wire import samples

NOW = Millis(1_795_540_800_123)
HEADER = b"id,account,amount,time\n"


def parse(text: bytes) -> list[ParsedLine]:
    parser = CsvParser()
    return [*parser.feed(text, NOW), *parser.close(NOW)]


def parse_line(line: str) -> ParsedLine:
    [parsed] = parse(HEADER + line.encode())
    return parsed


def as_csv(transfers: list[Transfer], columns: list[str]) -> bytes:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, columns)
    table.writeheader()
    for transfer in transfers:
        fields = {
            "id": transfer.id,
            "account": transfer.account,
            "amount": transfer.amount,
            "time": transfer.time_ms,
        }
        table.writerow({column: fields[column] for column in columns})
    return text.getvalue().encode()


@given(st.lists(samples.transfers), st.permutations(["id", "account", "amount", "time"]))
def test_transfers_with_columns_in_any_order_are_parsed(
    transfers: list[Transfer], columns: list[str]
) -> None:
    assert parse(as_csv(transfers, columns)) == transfers


@given(samples.transfers, st.integers(0, 3))
def test_time_in_rfc_3339_is_parsed(transfer: Transfer, zone: int) -> None:
    time = format_rfc3339(Millis(transfer.time_ms)).replace("Z", ("Z", "z", "+00:00", "-00:00")[zone])
    assert parse_line(f"{transfer.id},{transfer.account},{transfer.amount},{time}") == transfer


lines = st.binary(max_size=40) | st.text('abc.,"-+0123456789eEZT:\r ', max_size=40).map(str.encode)


@given(st.lists(lines))
def test_line_of_any_bytes_is_valid_or_skipped(given_lines: list[bytes]) -> None:
    text = HEADER + b"\n".join(given_lines)
    parsed = parse(text)
    for line in parsed:
        if isinstance(line, Transfer):
            assert rejection_reason(line, line.account.encode()) is None
    skipped = [int(line.where.removeprefix("line ")) for line in parsed if isinstance(line, SkippedLine)]
    assert skipped == sorted(set(skipped))
    assert all(2 <= number <= text.count(b"\n") + 1 for number in skipped)


@given(st.lists(lines), st.lists(st.integers(0, 400)))
def test_input_in_any_chunks_gives_the_same_lines(given_lines: list[bytes], cuts: list[int]) -> None:
    text = HEADER + b"\n".join(given_lines)
    parser, parsed, position = CsvParser(), list[ParsedLine](), 0
    for cut in [*sorted(cuts), len(text)]:
        parsed += parser.feed(text[position:cut], NOW)
        position = max(position, cut)
    assert [*parsed, *parser.close(NOW)] == parse(text)


@pytest.mark.parametrize(
    ("amount", "money"),
    [
        ("12.50", Money(1250, 2)),
        ("-12.5", Money(-125, 1)),
        ("0", Money(0, 0)),
        ("0.000", Money(0, 3)),
        (" 7 ", Money(7, 0)),
        ('"7.0"', Money(70, 1)),
        ("-9223372036854775808", Money(-(2**63), 0)),
    ],
)
def test_amount_keeps_its_decimal_places(amount: str, money: Money) -> None:
    assert parse_line(f"t,a,{amount},") == Transfer("t", "a", money, NOW)  # type: ignore[arg-type]  # ids as text


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("t,a,1e3,", "the amount is not"),
        ("t,a,+1,", "the amount is not"),
        ("t,a,NaN,", "the amount is not"),
        ("t,a,-0.00,", "the amount is not"),
        ('t,a,"1,000.00",', "the amount is not"),
        ("t,a,1.0000000000000000001,", "scale is not 0..18"),
        ("t,a,9223372036854775808,", "amount leaves int64"),
        ("t,,1,", "bad account id"),
        (",a,1,", "bad transfer id"),
        ("t,ä,1,", "bad account id"),
        ("t,a,1,yesterday", "the time is neither"),
        ("t,a,1,2026-11-24", "the time is neither"),
        ("t,a,1,2026-11-24T17:20:00", "the time is neither"),
        ("t,a,1,2026-02-30T17:20:00Z", "the time is neither"),
        ("t,a,1,1.5", "the time is neither"),
        ("t,a,1,-1", "time is not within"),
        ("t,a,1,9999999999999999", "time is not within"),
        ("t,a,1", "3 fields instead of 4"),
        ('t,a,1,"', "not a line of CSV"),
        (f"{'t' * MAX_LINE},a,1,", "longer than"),
    ],
)
def test_invalid_line_is_skipped_with_a_reason(line: str, reason: str) -> None:
    parsed = parse_line(line)
    assert isinstance(parsed, SkippedLine)
    assert (parsed.where, parsed.reason[: len(reason)]) == ("line 2", reason)


def test_line_numbers_count_empty_lines_and_the_header() -> None:
    parsed = parse(b"\xef\xbb\xbf amount ,id,account\r\n\r\n1,t,a\r\n\n\xff\n1,u,\n")
    assert parsed[0] == Transfer("t", "a", Money(1, 0), NOW)  # type: ignore[arg-type]  # ids as text
    assert parsed[1:] == [SkippedLine("line 5", "not UTF-8"), SkippedLine("line 6", "bad account id")]


def test_line_without_end_is_not_kept_in_memory() -> None:
    parser = CsvParser()
    parser.feed(HEADER, NOW)
    for _ in range(100):
        parser.feed(b"x" * 10_000, NOW)
    assert len(parser._rest) < 2 * MAX_LINE
    assert parser.close(NOW) == [SkippedLine("line 2", f"longer than {MAX_LINE} bytes")]


@pytest.mark.parametrize(
    "text",
    [b"", b"\n\n", b"id,account", b"id,account,amount,note", b"id,id,account,amount", b"t,a,1\n", b"\xff\n"],
)
def test_input_without_a_valid_header_is_refused(text: bytes) -> None:
    with pytest.raises(HeaderError):
        parse(text)


def test_parser_with_given_columns_expects_no_header() -> None:
    parser = CsvParser(("id", "account", "amount"), "transfer")
    assert parser.feed(b"t,a,1\nt,a\n", NOW)[1:] == [SkippedLine("transfer 2", "2 fields instead of 3")]
