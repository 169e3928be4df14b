"""A statement as text, part by part: its head, some transfers, its end. JSON is one object, CSV has lines."""

from typing import Protocol

from msgspec import json

from livebalance.readmodel.statements import Edges
from livebalance.wire.identity import AccountId
from livebalance.wire.money import money
from livebalance.wire.views import EdgeView, StatementView, TransferView, transfers_part

COLUMNS = "line,revision,transfer_id,amount,total,balance,occurred_at,source"


class StatementWriter(Protocol):
    media_type: str

    def head(self) -> bytes: ...

    def lines(self, transfers: list[TransferView]) -> bytes: ...

    def end(self) -> bytes: ...


class JsonStatement:
    media_type = "application/json"

    def __init__(self, account: AccountId, edges: Edges) -> None:
        self._view = StatementView(
            account, edges.at.epoch, edges.at.revision, edges.currency, edges.opening, edges.closing, []
        )
        self._comma = b""

    def head(self) -> bytes:
        """Up to the bracket in which transfers stand: they are last."""
        return json.encode(self._view).removesuffix(b"]}")

    def lines(self, transfers: list[TransferView]) -> bytes:
        text = self._comma + transfers_part(transfers)
        self._comma = b","
        return text

    def end(self) -> bytes:
        return b"]}"


class CsvStatement:
    """RFC 4180; nothing we write needs quotes. Without a line `closing` it is not whole."""

    media_type = "text/csv; charset=utf-8; header=present"

    def __init__(self, edges: Edges) -> None:
        self._edges = edges

    def head(self) -> bytes:
        return f"{COLUMNS}\r\n{_edge('opening', self._edges.opening)}".encode()

    def lines(self, transfers: list[TransferView]) -> bytes:
        return "".join(map(self._line, transfers)).encode()

    def end(self) -> bytes:
        return _edge("closing", self._edges.closing).encode()

    def _line(self, one: TransferView) -> str:
        opening = self._edges.account_opening
        balance = "" if opening is None else money(opening).plus(money(one.total))
        return (
            f"transfer,{one.revision},{one.id},{one.amount},{one.total},{balance},"
            f"{one.occurred_at},{one.source}\r\n"
        )


def _edge(line: str, edge: EdgeView) -> str:
    return f"{line},{edge.revision},,,{edge.total},{edge.balance or ''},,\r\n"
