"""The Python client's machine in every dialogue: it says, shows and tells what the script says."""

import json
from collections import deque
from typing import Any

import pytest
from msgspec.structs import asdict

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
from livebalance.wire.frame import Heartbeat, Status
from livebalance.wire.identity import AccountId
from tests.contract.dialogue import Dialogue, Frame, Step, dialogues

MIDDLE = 0.5  # of all chances


class Player:
    """A method for each kind of step that is a client's. Who it is, its shell says."""

    def __init__(self, dialogue: Dialogue) -> None:
        self._session = Session(["ws://gateway/ws"])
        self._followed = [AccountId(account) for account in dialogue.follows]
        self._now = 0.0
        self._said: deque[Frame] = deque()
        self._told: list[Event] = []
        self._ids: dict[str | int, str | int] = {}  # its own, of the requests in the script
        self._dials = self._renews = False
        for account in self._followed:
            self._session.follow(account)
        self._step(Tick())

    def play(self, step: Step) -> None:
        [(kind, what)] = step.items()
        if act := getattr(self, kind, None):
            assert kind in ("client", "server") or not self._said, "it said more than is written"
            act(what)

    def end(self, _: None) -> None:
        """There is nothing more to say."""

    def _step(self, what: Input) -> None:
        for effect in self._session.step(what, self._now, MIDDLE):
            match effect:
                case Send(text):
                    self._said.append(json.loads(text))
                case Emit(event):
                    self._told.append(event)
                case OpenSocket(_):
                    self._dials = True
                case FetchToken():
                    self._renews = True

    def _pass(self, seconds: float) -> None:
        end = self._now + seconds
        while self._session.deadline <= end:
            self._now = max(self._now, self._session.deadline)
            self._step(Tick())
        self._now = end

    # --- what is said

    def client(self, frame: Frame) -> None:
        if frame["type"] == "ping":
            return  # a page says it, when somebody looks again
        if frame["type"] == "auth":
            assert self._dials
            self._dials = False
            return
        if frame["type"] == "refresh":
            assert self._renews
            self._step(TokenFetched(frame["token"]))
        said = self._said.popleft()
        self._ids[frame["id"]] = said["id"]
        assert said == {**frame, "id": said["id"]}

    def server(self, frame: Frame) -> None:
        own = {"id": self._ids.get(frame["id"], frame["id"])} if "id" in frame else {}
        self._step(Received(json.dumps({**frame, **own})))

    hears = server

    def close(self, close: dict[str, Any]) -> None:
        self._step(ConnectionLost(close["code"], json.dumps(close["reason"]) if "reason" in close else ""))

    # --- what happens

    def time(self, seconds: float) -> None:
        self._pass(seconds)

    def turns_to(self, account: str) -> None:
        for left in self._followed:
            self._session.unfollow(left)
        self._followed = [AccountId(account)]
        self._session.follow(AccountId(account))
        self._step(Tick())

    def wants(self, max_per_second: float | None) -> None:
        self._session.rate(max_per_second)
        self._step(Tick())

    # --- what comes of it

    def comes_back(self, when: dict[str, float]) -> None:
        early = max(0.0, when["after"] - 0.001)
        self._pass(early)
        assert not self._dials
        self._pass(when["within"] - early)
        assert self._dials

    def stays_away(self, _: str) -> None:
        last = self._told[-1]
        assert isinstance(last, Disconnected)
        assert last.retry_in is None
        assert json.loads(last.reason)["code"]
        assert self._session.state is State.STOPPED

    reloads = stays_away

    def shows(self, shown: dict[str, Any]) -> None:
        held = self._session.shown(AccountId(shown["account"]))
        assert held
        assert asdict(held.position) == shown["position"]
        assert (held.balance.amount if held.balance else None) == shown["amount"]
        transfers = [one.id for one in reversed(held.transfers)]
        newest = shown.get("newest", transfers)
        assert transfers[: len(newest)] == newest
        assert shown.get("transfers", transfers) == transfers

    def refused(self, refused: dict[str, str]) -> None:
        assert self._session.shown(AccountId(refused["account"])) is None
        [code] = [
            one.code for one in self._told if isinstance(one, Ended) and one.account == refused["account"]
        ]
        assert code == refused["code"]

    def as_of(self, as_of: str | None) -> None:
        assert next(one for one in reversed(self._told) if isinstance(one, Heartbeat)).as_of == as_of

    def status(self, state: str) -> None:
        assert next(one for one in reversed(self._told) if isinstance(one, Status)).state == state


@pytest.mark.parametrize("dialogue", dialogues(), ids=lambda one: one.name)
def test_the_client_says_and_shows_what_is_written(dialogue: Dialogue) -> None:
    player = Player(dialogue)
    for step in [*dialogue.steps, {"end": None}]:
        player.play(step)
