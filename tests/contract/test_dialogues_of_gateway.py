"""The gateway's machines in every dialogue: it says what the script says, in that order, no more.

Redis acknowledges and Postgres answers at once, from the `truth` of the script.
"""

from collections import deque
from datetime import datetime
from typing import Any

import pytest
from msgspec import convert, json

from livebalance.gateway.auth.revocations import Revocations
from livebalance.gateway.auth.rights import Rights, parse_scope
from livebalance.gateway.limits.connections import ConnectionLimits
from livebalance.gateway.live.effects import AccountRead, Disconnect
from livebalance.gateway.live.hub import Hub
from livebalance.gateway.live.session import NOT_AUTHENTICATED, Authenticate, Session, SessionLimits
from livebalance.gateway.live.sessions import SessionConfig, Sessions
from livebalance.readmodel.gateway_reads import AccountState, AuditFinding, LaneProgress
from livebalance.readmodel.revocations import Revocation
from livebalance.wire.close import CloseCode, encode_reason
from livebalance.wire.delta import DeltaParts, make_delta
from livebalance.wire.frame import Limits, Status
from livebalance.wire.identity import AccountId, Lane, Position, Revision
from livebalance.wire.timestamp import Millis
from livebalance.wire.views import BalanceView, TransferView, balance_json, transfers_json
from tests.contract.dialogue import Dialogue, Frame, Step, dialogues

START = 1_795_540_800_000
RESUME_MAX, SNAPSHOT_TRANSFERS, PAGE_TRANSFERS = 8, 3, 2
TRAIL_BYTES = 1 << 20
LANE, ADDRESS = Lane(0), "10.0.0.1"
TERMS = SessionConfig(
    "gateway-1", "1", 10_000, Limits(16384, 3, RESUME_MAX), 1200, ConnectionLimits(9, 9, 9, 9),
    SessionLimits(messages=2.0, warnings=2 / 60), per_user=2,
)  # fmt: skip
DENIED = {
    "unauthenticated": NOT_AUTHENTICATED,
    "keys_missing": Disconnect(CloseCode.BUSY, "keys_missing", 1000),
}
# Decided by shells: the machines never close with them.
OF_SHELLS = {1001, 1002, 1003, 1006, 1007, 1008, 1009, 1011, CloseCode.GOODBYE, CloseCode.OLD_VERSION}


class Gateway:
    """A method for each kind of step that is a gateway's."""

    def __init__(self, dialogue: Dialogue) -> None:
        self._tokens = dialogue.tokens
        self._hub = Hub(RESUME_MAX, TRAIL_BYTES)
        self._clients = Sessions(TERMS, Revocations(), self._hub)
        self._now = 0.0
        self._session: Session | None = None
        self._sessions = 0
        self._said: deque[Frame] = deque()
        self._hangup: Disconnect | None = None
        self._truths: dict[str, dict[str, Any]] = {}
        self._answers = True

    def play(self, step: Step) -> None:
        [(kind, what)] = step.items()
        act = getattr(self, kind, None)
        if act is None:
            return
        assert kind in ("client", "server", "lost") or not self._said, "it said more than is written"
        assert kind in ("server", "lost", "close") or not self._hangup, "it closes the socket"
        act(what)
        self._perform()

    def end(self, _: None) -> None:
        """There is nothing more to say."""

    @property
    def _wall(self) -> Millis:
        return Millis(START + round(self._now * 1000))

    def agree(self, written: Frame, said: Frame) -> bool:
        return written == said

    # --- what is said

    def client(self, frame: Frame) -> None:
        if frame["type"] == "auth":
            self._leave()
            self._sessions += 1
            self._session = self._clients.connect(f"s-{self._sessions}", ADDRESS, self._now)
        self.wrong(json.encode(frame).decode())

    def wrong(self, text: str) -> None:
        assert self._session
        self._clients.receive(self._session, text.encode(), self._now)

    def server(self, frame: Frame) -> None:
        assert self.agree(frame, self._said.popleft())

    lost = server

    def close(self, close: dict[str, Any]) -> None:
        code, told = close["code"], close.get("reason", {})
        assert (self._hangup.code if self._hangup else None) == (None if code in OF_SHELLS else code)
        word = self._hangup.reason if self._hangup else told.get("code")
        wait = self._hangup.retry_after_ms if self._hangup else told.get("retry_after_ms")
        assert not word or self.agree(told, json.decode(encode_reason(word, wait)))
        self._hangup = None
        self._leave()

    def _leave(self) -> None:
        if self._session:
            self._clients.disconnect(self._session)
        self._session = None

    # --- what happens

    def time(self, seconds: float) -> None:
        self._now += seconds
        self._clients.release(self._now)
        self._hub.tick(self._now)
        self._clients.tick(self._now, self._wall)

    def comes_back(self, when: dict[str, float]) -> None:
        self.time(when["within"])

    def truth(self, truth: dict[str, Any]) -> None:
        self._truths[truth["account"]] = truth

    def delta(self, told: dict[str, Any]) -> None:
        truth, from_ = self._truths[told["account"]], Revision(told["from"])
        found = self._found(truth["account"], Position(truth["epoch"], from_))
        assert found.follows
        assert not found.more
        self._hub.delta(
            truth["account"],
            make_delta(truth["account"], LANE, DeltaParts(
                found.epoch, from_, found.revision, found.recorded_at, balance_json(found.balance),
                transfers_json(found.transfers),
            ), gone=found.erased),
        )  # fmt: skip

    def audit(self, audit: dict[str, str]) -> None:
        asked = self._hub.positions(self._hub.audiences)
        truths = {account: self._truths[account] for account in asked}
        [epoch] = {truth["epoch"] for truth in truths.values()}
        elsewhere = {
            a: truths[a]["revision"] for a, at in asked.items() if truths[a]["revision"] != at.revision
        }
        finding = AuditFinding(epoch, 1, {LANE: LaneProgress(_millis(audit["as_of"]), None)}, elsewhere)
        self._hub.audited(asked, finding, self._now)

    def postgres(self, answers: bool) -> None:
        self._answers = answers

    def reads(self, reads: bool) -> None:
        assert self._session
        self._clients.writable(self._session, reads)

    def pipeline(self, status: dict[str, str]) -> None:
        self._clients.tell(convert(status, Status))

    def revoked(self, whose: dict[str, str]) -> None:
        account = whose.get("account")
        one = Revocation(whose.get("subject"), None, AccountId(account) if account else None, self._wall)
        self._clients.revoked([one])

    def drain(self, within_ms: int) -> None:
        self._clients.drain(within_ms)

    def others(self, count: int) -> None:
        for _ in range(count):
            other = self._clients.connect("other", ADDRESS, self._now)
            self._clients.vouched(other, None, self._rights({}), self._now, self._wall)

    def strikes(self, count: int) -> None:
        for _ in range(count):
            assert not self._clients.doorman.strike(ADDRESS, self._now)

    # --- the shell

    def _perform(self) -> None:
        done = self._hub.take()
        for session, shown in done.tokens:
            self._check(session, shown)
        for account, there in done.subscriptions.items():
            if there:
                self._hub.acked(account)
        for read in sorted(done.reads, key=lambda one: one.account):
            self._answer(read)
        if self._session and self._session in done.touched and self._session.outbox.writable:
            frames = self._session.outbox.pop(self._now)
            self._said += [json.decode(frame if isinstance(frame, bytes) else frame.text) for frame in frames]
            if self._session.outbox.held:
                self._clients.hold(self._session)
        self._hangup = next((hangup for one, hangup in done.hangups if one is self._session), self._hangup)
        if done.tokens or done.subscriptions or done.reads:
            self._perform()

    def _check(self, session: Session, shown: Authenticate) -> None:
        opens = self._tokens.get(shown.token, {})
        if isinstance(opens, str):
            self._clients.refused(session, DENIED[opens])
        else:
            self._clients.vouched(session, shown.request, self._rights(opens), self._now, self._wall)

    def _rights(self, opens: dict[str, Any]) -> Rights:
        expires = Millis(self._wall + opens.get("seconds", 3600) * 1000)
        return Rights("user-1", "login-1", parse_scope(opens.get("accounts", ["*"])), self._wall // 1000, expires)

    def _answer(self, read: AccountRead) -> None:
        if self._answers:
            found = {after: self._found(read.account, after) for after in read.afters}
            self._hub.answered(read, found, self._now)
        else:
            self._hub.failed(read, 1000)

    def _found(self, account: AccountId, after: Position | None) -> AccountState:
        truth = self._truths[account]
        revision, transfers = truth["revision"], convert(truth["transfers"], list[TransferView])
        wanted, limit, follows = transfers[::-1], SNAPSHOT_TRANSFERS, False
        if after and after.epoch == truth["epoch"] and 0 <= revision - after.revision <= RESUME_MAX:
            wanted = [one for one in transfers if one.revision > after.revision]
            limit, follows = PAGE_TRANSFERS, True
        return AccountState(
            epoch=truth["epoch"],
            revision=revision,
            lane=LANE if revision else None,
            as_of=_millis(truth["as_of"]),
            recorded_at=_millis(truth["recorded_at"]),
            balance=convert(truth["balance"], BalanceView | None),
            transfers=wanted[:limit],
            follows=follows,
            more=len(wanted) > limit,
            erased=truth.get("erased", False),
        )


def _millis(text: str) -> Millis:
    return Millis(round(datetime.fromisoformat(text).timestamp() * 1000))


@pytest.mark.parametrize("dialogue", dialogues(), ids=lambda one: one.name)
def test_the_gateway_says_what_is_written(dialogue: Dialogue) -> None:
    gateway = Gateway(dialogue)
    for step in dialogue.steps:
        gateway.play(step)
    gateway.play({"end": None})
