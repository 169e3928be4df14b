"""An account statement as JSON or CSV, written in parts: head, transfers, end."""

from typing import Protocol

from msgspec import json

from livebalance.readmodel.statements import StatementEdges
from livebalance.wire.identity import AccountId
from livebalance.wire.money import parse_money
from livebalance.wire.views import EdgeView, StatementView, TransferView, transfers_json

COLUMNS = "line,revision,transfer_id,amount,total,balance,occurred_at,source"


class StatementWriter(Protocol):
    """Writes a statement. The parts must be written in order."""

    media_type: str

    def head(self) -> bytes:
        """Returns everything before the first transfer."""

    def transfers(self, page: list[TransferView]) -> bytes:
        """Returns the next transfers."""

    def end(self) -> bytes:
        """Returns everything after the last transfer. A statement without its end is incomplete."""


class JsonStatement:
    """Writes a statement as a JSON object."""

    media_type = "application/json"

    def __init__(self, account: AccountId, edges: StatementEdges) -> None:
        self._view = StatementView(
            account,
            edges.position.epoch,
            edges.position.revision,
            edges.currency,
            edges.opening,
            edges.closing,
            [],
        )
        self._separator = b""

    def head(self) -> bytes:
        """Returns the object up to the array of transfers, which is its last field."""
        return json.encode(self._view).removesuffix(b"]}")

    def transfers(self, page: list[TransferView]) -> bytes:
        """Returns the next elements of the array."""
        text = self._separator + transfers_json(page)
        self._separator = b","
        return text

    def end(self) -> bytes:
        """Returns the closing brackets."""
        return b"]}"


class CsvStatement:
    """Writes a statement as CSV (RFC 4180). No value contains characters that need quotes."""

    media_type = "text/csv; charset=utf-8; header=present"

    def __init__(self, edges: StatementEdges) -> None:
        self._edges = edges

    def head(self) -> bytes:
        """Returns the header line and the line `opening`."""
        return f"{COLUMNS}\r\n{_edge_line('opening', self._edges.opening)}".encode()

    def transfers(self, page: list[TransferView]) -> bytes:
        """Returns a line for each transfer."""
        return "".join(map(self._transfer_line, page)).encode()

    def end(self) -> bytes:
        """Returns the line `closing`."""
        return _edge_line("closing", self._edges.closing).encode()

    def _transfer_line(self, transfer: TransferView) -> str:
        opening = self._edges.account_opening
        balance = "" if opening is None else parse_money(opening).add(parse_money(transfer.total))
        return (
            f"transfer,{transfer.revision},{transfer.id},{transfer.amount},{transfer.total},{balance},"
            f"{transfer.occurred_at},{transfer.source}\r\n"
        )


class CsvSearch(CsvStatement):
    """Writes transfers that were searched for, as the lines of a statement without its edges."""

    def head(self) -> bytes:
        """Returns the header line."""
        return f"{COLUMNS}\r\n".encode()

    def end(self) -> bytes:
        """Returns nothing."""
        return b""


def _edge_line(kind: str, edge: EdgeView) -> str:
    return f"{kind},{edge.revision},,,{edge.total},{edge.balance or ''},,\r\n"
