"""The gateway's pure core plays every dialogue: it sends the frames of the script in order, and no more.

Redis acknowledges at once, and Postgres answers at once with the states that the script has `stored`.
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
from livebalance.gateway.live.sets import set_channel
from livebalance.readmodel.gateway_reads import AccountState, AuditFinding, LaneProgress
from livebalance.readmodel.revocations import Revocation
from livebalance.wire.close import CloseCode, encode_reason
from livebalance.wire.delta import DeltaParts, make_delta
from livebalance.wire.frame import Limits, Status
from livebalance.wire.identity import INITIAL_REVISION, AccountId, Lane, Position, Revision
from livebalance.wire.timestamp import Millis
from livebalance.wire.views import BalanceView, TransferView, balance_json, transfers_json
from tests.contract.dialogue import Dialogue, Frame, Step, dialogues
from tests.contract.gateway_sets import PAGE_MEMBERS, SET_ACCOUNTS, GatewaySets, with_sets

START = 1_795_540_800_000
RESUME_MAX, SNAPSHOT_TRANSFERS, PAGE_TRANSFERS = 8, 3, 2
HISTORY_BYTES = 1 << 20
LANE, ADDRESS = Lane(0), "10.0.0.1"
CONFIG = SessionConfig(
    "gateway-1", "1", 10_000, Limits(16384, 3, RESUME_MAX), 1200, ConnectionLimits(9, 9, 9, 9),
    SessionLimits(messages=2.0, warnings=2 / 60), max_connections_per_user=2,
)  # fmt: skip
REJECTIONS = {
    "unauthenticated": NOT_AUTHENTICATED,
    "keys_missing": Disconnect(CloseCode.BUSY, "keys_missing", 1000),
}
# Codes that the pure core does not decide.
OTHER_CODES = {1001, 1002, 1003, 1006, 1007, 1008, 1009, 1011, CloseCode.GOODBYE, CloseCode.OLD_VERSION}


class Gateway:
    """Has a method per step kind that concerns gateways."""

    def __init__(self, dialogue: Dialogue) -> None:
        self._tokens = dialogue.tokens
        self._hub = Hub(RESUME_MAX, HISTORY_BYTES, SET_ACCOUNTS)
        config = with_sets(CONFIG) if dialogue.sets else CONFIG
        self._sessions = Sessions(config, Revocations(), self._hub)
        self._sets = GatewaySets(self._hub)
        self._now = 0.0
        self._session: Session | None = None
        self._session_count = 0
        self._sent: deque[Frame] = deque()
        self._disconnect: Disconnect | None = None
        self._stored: dict[str, dict[str, Any]] = {}
        self._postgres_is_available = True

    def play(self, step: Step) -> None:
        [(kind, value)] = step.items()
        method = getattr(self, kind, None)
        if method is None:
            return
        assert kind in ("client", "server", "lost") or not self._sent, "the gateway sent more than scripted"
        assert kind in ("server", "lost", "close") or not self._disconnect, "the gateway closed"
        method(value)
        self._perform()

    def end(self, _: None) -> None:
        """Ends the dialogue: `play` has checked that the gateway sent nothing more."""

    @property
    def _wall(self) -> Millis:
        return Millis(START + round(self._now * 1000))

    def matches(self, expected: Frame, sent: Frame) -> bool:
        return expected == sent

    # --- frames

    def client(self, frame: Frame) -> None:
        if frame["type"] == "auth":
            self._end_session()
            self._session_count += 1
            self._session = self._sessions.connect(f"s-{self._session_count}", ADDRESS, self._now)
        self.raw(json.encode(frame).decode())

    def raw(self, text: str) -> None:
        assert self._session
        self._sessions.receive(self._session, text.encode(), self._now)

    def server(self, frame: Frame) -> None:
        assert self.matches(frame, self._sent.popleft())

    lost = server

    def close(self, close: dict[str, Any]) -> None:
        code, expected = close["code"], close.get("reason", {})
        assert (self._disconnect.code if self._disconnect else None) == (
            None if code in OTHER_CODES else code
        )
        reason = self._disconnect.reason if self._disconnect else expected.get("code")
        wait = self._disconnect.retry_after_ms if self._disconnect else expected.get("retry_after_ms")
        assert not reason or self.matches(expected, json.decode(encode_reason(reason, wait)))
        self._disconnect = None
        self._end_session()

    def _end_session(self) -> None:
        if self._session:
            self._sessions.disconnect(self._session)
        self._session = None

    # --- events

    def time(self, seconds: float) -> None:
        self._now += seconds
        self._sessions.flushed(self._sessions.flush_due(self._now))
        self._hub.tick(self._now)
        self._sessions.tick(self._now, self._wall)

    def reconnects(self, when: dict[str, float]) -> None:
        self.time(when["within"])

    def stored(self, state: dict[str, Any]) -> None:
        self._stored[state["account"]] = state

    def delta(self, delta: dict[str, Any]) -> None:
        account, from_ = delta["account"], Revision(delta["from"])
        state = self._read(account, Position(self._stored[account]["epoch"], from_))
        assert state.continues
        assert not state.more
        self._hub.on_delta(
            account,
            make_delta(account, LANE, DeltaParts(
                state.epoch, from_, state.revision, state.recorded_at, balance_json(state.balance),
                transfers_json(state.transfers),
            ), gone=state.erased),
        )  # fmt: skip

    def audit(self, audit: dict[str, str]) -> None:
        positions = self._hub.positions(self._hub.subscribers)
        stored = {account: self._stored[account] for account in positions}
        changed = {
            account: stored[account]["revision"]
            for account, position in positions.items()
            if stored[account]["revision"] != position.revision
        }
        as_of = _millis(audit["as_of"])
        if self._sets.as_of is None:
            [epoch] = {state["epoch"] for state in stored.values()}
            finding = AuditFinding(epoch, 1, {LANE: LaneProgress(as_of, None)}, changed)
        else:
            self._hub.begin_audit(positions)
            finding = self._sets.finding(as_of)._replace(revisions=changed)
        self._hub.on_audit(positions, finding, self._now)

    def stored_set(self, stored: dict[str, Any]) -> None:
        self._sets.store(stored, _millis(stored["as_of"]))

    def batch(self, batch: dict[str, Any]) -> None:
        self._sets.commit(batch)

    def lost_batch(self, batch: dict[str, Any]) -> None:
        self._sets.commit(batch, is_delivered=False)

    def forged_batch(self, batch: dict[str, Any]) -> None:
        self._sets.commit(batch, is_stored=False)

    def postgres(self, is_available: bool) -> None:
        self._postgres_is_available = is_available

    def reads(self, reads: bool) -> None:
        assert self._session
        self._sessions.set_writable(self._session, reads)

    def pipeline(self, status: dict[str, str]) -> None:
        self._sessions.set_status(convert(status, Status))

    def revoked(self, revoked: dict[str, str]) -> None:
        account = revoked.get("account")
        revocation = Revocation(
            revoked.get("subject"), None, AccountId(account) if account else None, self._wall
        )
        self._sessions.revoke([revocation])

    def drain(self, within_ms: int) -> None:
        self._sessions.announce_drain(within_ms)

    def other_connections(self, count: int) -> None:
        for _ in range(count):
            other = self._sessions.connect("other", ADDRESS, self._now)
            self._sessions.authorize(other, None, self._rights({}), self._now, self._wall)

    def strikes(self, count: int) -> None:
        for _ in range(count):
            assert not self._sessions.limiter.strike(ADDRESS, self._now)

    # --- effects

    def _perform(self) -> None:
        effects = self._hub.drain_effects()
        for session, request in effects.tokens_to_check:
            self._check(session, request)
        for account, subscribe in effects.redis_subscriptions.items():
            if subscribe:
                self._hub.on_subscribed(account)
        for read in sorted(effects.reads, key=lambda read: read.account):
            self._answer(read)
        if effects.batches_wanted:
            self._hub.sets.on_subscribed()
        self._sets.answer(effects.set_reads, is_available=self._postgres_is_available)
        if self._session and self._session in effects.sessions_to_flush and self._session.outbox.writable:
            while frames := self._session.outbox.pop(self._now):
                texts = [frame if isinstance(frame, bytes) else frame.text for frame in frames]
                self._sent += map(json.decode, texts)
            if self._session.outbox.is_delayed or self._session.waits_for_room:
                self._sessions.schedule(self._session, self._now)
        for session, disconnect in effects.disconnects:
            if session is self._session and not self._disconnect:
                self._disconnect = disconnect
        if (
            effects.tokens_to_check
            or effects.redis_subscriptions
            or effects.reads
            or effects.batches_wanted
            or effects.set_reads
        ):
            self._perform()

    def _check(self, session: Session, request: Authenticate) -> None:
        rights = self._tokens.get(request.token, {})
        if isinstance(rights, str):
            self._sessions.reject(session, REJECTIONS[rights])
        else:
            self._sessions.authorize(session, request.request, self._rights(rights), self._now, self._wall)

    def _rights(self, rights: dict[str, Any]) -> Rights:
        expires = Millis(self._wall + rights.get("seconds", 3600) * 1000)
        scope = parse_scope(rights.get("accounts", ["*"]), rights.get("clients", []))
        return Rights("user-1", "login-1", scope, self._wall // 1000, expires)

    def _answer(self, read: AccountRead) -> None:
        if self._postgres_is_available:
            states = {position: self._read(read.account, position) for position in read.positions}
            self._hub.on_read(read, states, self._now)
        else:
            self._hub.on_read_failed(read, 1000)

    def _read(self, account: AccountId, after: Position | None) -> AccountState:
        stored = self._stored[account]
        revision, transfers = stored["revision"], convert(stored["transfers"], list[TransferView])
        wanted, limit, continues = transfers[::-1], SNAPSHOT_TRANSFERS, False
        erased = Revision(stored.get("erased_revision", INITIAL_REVISION))
        if (
            after
            and after.epoch == stored["epoch"]
            and erased <= after.revision <= revision
            and revision - after.revision <= RESUME_MAX
        ):
            wanted = [transfer for transfer in transfers if transfer.revision > after.revision]
            limit, continues = PAGE_TRANSFERS, True
        return AccountState(
            epoch=stored["epoch"],
            revision=revision,
            lane=LANE if revision else None,
            as_of=_millis(stored["as_of"]),
            recorded_at=_millis(stored["recorded_at"]),
            balance=convert(stored["balance"], BalanceView | None),
            transfers=wanted[:limit],
            continues=continues,
            more=len(wanted) > limit,
            erased=stored.get("erased", False),
            erased_revision=erased,
        )


def _millis(text: str) -> Millis:
    return Millis(round(datetime.fromisoformat(text).timestamp() * 1000))


@pytest.mark.parametrize("dialogue", dialogues(), ids=lambda dialogue: str(dialogue.name))
def test_gateway_plays_the_dialogue(dialogue: Dialogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(set_channel, "PAGE_MEMBERS", PAGE_MEMBERS)
    gateway = Gateway(dialogue)
    for step in dialogue.steps:
        gateway.play(step)
    gateway.play({"end": None})
