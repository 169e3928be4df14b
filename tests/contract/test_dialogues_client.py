"""The Python client's session plays every dialogue: it sends, shows and emits what the script says."""

import json
from collections import deque
from typing import Any

import pytest
from msgspec.structs import asdict

from livebalance.client.account_set import SetEnded
from livebalance.client.effects import (
    ConnectionLost,
    Emit,
    FetchToken,
    Input,
    OpenSocket,
    Received,
    Send,
    Tick,
    TokenFetched,
)
from livebalance.client.event import Disconnected, Ended, Event
from livebalance.client.session import Session, State
from livebalance.wire.frame import PATCHES, Heartbeat, Status
from livebalance.wire.identity import AccountId
from tests.contract.dialogue import Dialogue, Frame, Step, dialogues

JITTER = 0.5  # dialogues assume the middle of every random range


class Player:
    """Has a method per step kind that concerns clients. It plays the part of `Client` that authenticates."""

    def __init__(self, dialogue: Dialogue) -> None:
        self._session = Session(["ws://gateway/ws"], patches=PATCHES in dialogue.features)
        self._followed = [AccountId(account) for account in dialogue.follows]
        self._now = 0.0
        self._sent: deque[Frame] = deque()
        self._events: list[Event] = []
        self._request_ids: dict[str | int, str | int] = {}  # id in the script: id that the client chose
        self._connects = self._refreshes = False
        for account in self._followed:
            self._session.follow(account)
        for name in dialogue.sets:
            self._session.follow_set(name)
        self._step(Tick())

    def play(self, step: Step) -> None:
        [(kind, value)] = step.items()
        if method := getattr(self, kind, None):
            assert kind in ("client", "server") or not self._sent, "the client sent more than scripted"
            method(value)

    def end(self, _: None) -> None:
        """Ends the dialogue: `play` has checked that the client sent nothing more."""

    def _step(self, input_: Input) -> None:
        for effect in self._session.step(input_, self._now, JITTER):
            match effect:
                case Send(text):
                    self._sent.append(json.loads(text))
                case Emit(event):
                    self._events.append(event)
                case OpenSocket(_):
                    self._connects = True
                case FetchToken():
                    self._refreshes = True

    def _advance(self, seconds: float) -> None:
        end = self._now + seconds
        while self._session.deadline <= end:
            self._now = max(self._now, self._session.deadline)
            self._step(Tick())
        self._now = end

    # --- frames

    def client(self, frame: Frame) -> None:
        if frame["type"] == "ping":
            return  # only the page sends it, when the user returns to it
        if frame["type"] == "auth":
            assert self._connects
            self._connects = False
            return
        if frame["type"] == "refresh":
            assert self._refreshes
            self._step(TokenFetched(frame["token"]))
        sent = self._sent.popleft()
        self._request_ids[frame["id"]] = sent["id"]
        assert sent == {**frame, "id": sent["id"]}

    def server(self, frame: Frame) -> None:
        own_id = {"id": self._request_ids.get(frame["id"], frame["id"])} if "id" in frame else {}
        self._step(Received(json.dumps({**frame, **own_id})))

    receives = server

    def close(self, close: dict[str, Any]) -> None:
        self._step(ConnectionLost(close["code"], json.dumps(close["reason"]) if "reason" in close else ""))

    # --- inputs

    def time(self, seconds: float) -> None:
        self._advance(seconds)

    def switches_to(self, account: str) -> None:
        for followed in self._followed:
            self._session.unfollow(followed)
        self._followed = [AccountId(account)]
        self._session.follow(AccountId(account))
        self._step(Tick())

    def rate(self, max_per_second: float | None) -> None:
        self._session.rate(max_per_second)
        self._step(Tick())

    # --- results

    def reconnects(self, when: dict[str, float]) -> None:
        early = max(0.0, when["after"] - 0.001)
        self._advance(early)
        assert not self._connects
        self._advance(when["within"] - early)
        assert self._connects

    def stops(self, _: str) -> None:
        last = self._events[-1]
        assert isinstance(last, Disconnected)
        assert last.retry_in is None
        assert json.loads(last.reason)["code"]
        assert self._session.state is State.STOPPED

    reloads = stops

    def shows(self, shown: dict[str, Any]) -> None:
        state = self._session.account_state(AccountId(shown["account"]))
        assert state
        assert asdict(state.position) == shown["position"]
        assert (state.balance.amount if state.balance else None) == shown["amount"]
        transfers = [transfer.id for transfer in reversed(state.transfers)]
        newest = shown.get("newest", transfers)
        assert transfers[: len(newest)] == newest
        assert shown.get("transfers", transfers) == transfers

    def shows_set(self, shown: dict[str, Any]) -> None:
        state = self._session.set_state(shown["channel"])
        assert state
        amounts = {account: member.amount for account, member in state.members.items()}
        totals = [asdict(total) for total in state.totals]
        assert (state.epoch, state.lanes) == (shown["epoch"], shown["lanes"])
        assert (amounts, totals) == (shown["members"], shown["totals"])

    def rejected_set(self, rejected: dict[str, str]) -> None:
        name = rejected["channel"]
        assert self._session.set_state(name) is None
        ended = [event for event in self._events if isinstance(event, SetEnded)]
        assert [event.code for event in ended if event.name.channel == name] == [rejected["code"]]

    def rejected(self, rejected: dict[str, str]) -> None:
        assert self._session.account_state(AccountId(rejected["account"])) is None
        ended = [event for event in self._events if isinstance(event, Ended)]
        assert [event.code for event in ended if event.account == rejected["account"]] == [rejected["code"]]

    def as_of(self, as_of: str | None) -> None:
        heartbeats = [event for event in self._events if isinstance(event, Heartbeat)]
        assert heartbeats[-1].as_of == as_of

    def status(self, state: str) -> None:
        assert [event for event in self._events if isinstance(event, Status)][-1].state == state


@pytest.mark.parametrize("dialogue", dialogues(), ids=lambda dialogue: str(dialogue.name))
def test_client_plays_the_dialogue(dialogue: Dialogue) -> None:
    player = Player(dialogue)
    for step in [*dialogue.steps, {"end": None}]:
        player.play(step)
