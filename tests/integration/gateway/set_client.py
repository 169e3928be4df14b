"""A WebSocket client that also shows sets, and remembers each position and total that it showed."""

from decimal import Decimal
from typing import Any

from tests.integration.gateway.websocket_client import Frame, WebSocketClient

Position = tuple[tuple[str, int], ...]  # the number of the newest batch of each lane


class ShownSet:
    """A set as the client shows it. Its total counts only after the last page of an answer."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.epoch = ""
        self.lanes: dict[str, int] = {}
        self.members: dict[str, Frame] = {}
        self.totals: list[Frame] = []
        self.complete = False
        self.history: list[tuple[dict[str, int], list[Frame]]] = []  # positions with their totals

    def apply(self, frame: Frame) -> None:
        if frame["type"] == "set_snapshot":
            self.members, self.lanes = {}, {}
        else:
            assert self.number == frame["from"], "frames of a set must chain"
            for account in frame.get("left", ()):
                self.members.pop(account, None)
        self.members |= {member["account"]: member for member in frame["members"]}
        self.number, self.epoch, self.complete = frame["to"], frame["epoch"], not frame.get("more", False)
        if self.complete:
            self.totals = frame["totals"]
            self.lanes |= frame["lanes"]
            self.history.append((dict(self.lanes), self.totals))
            amounts = [Decimal(member["amount"]) for member in self.members.values()]
            assert [(total["currency"], Decimal(total["amount"])) for total in self.totals] == (
                [("EUR", sum(amounts))] if amounts else []
            )

    @property
    def total(self) -> str | None:
        return self.totals[0]["amount"] if self.totals else None


class SetClient(WebSocketClient):
    """Subscribes to sets as well."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self.sets: dict[str, ShownSet] = {}

    async def _receive(self, frame: Frame) -> None:
        if frame["type"] in ("set_snapshot", "set_delta"):
            self.sets.setdefault(frame["channel"], ShownSet()).apply(frame)
        await super()._receive(frame)

    async def subscribe_set(self, *channels: str) -> int:
        return await self.request("subscribe", channels=[{"channel": channel} for channel in channels])

    async def until_complete(self, channel: str) -> ShownSet:
        await self.until(lambda: channel in self.sets and self.sets[channel].complete)
        return self.sets[channel]

    async def until_total(self, channel: str, amount: str | None) -> ShownSet:
        await self.until(
            lambda: (
                channel in self.sets and self.sets[channel].complete and self.sets[channel].total == amount
            )
        )
        return self.sets[channel]
