"""Judges what `livebalance doctor` has read. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple
from uuid import UUID

from livebalance.readmodel.operator.status_rows import LaneStatus, ProjectionStatus, ServerStatus

State = Literal["ok", "warning", "error"]

_CLOCK_WARNING, _CLOCK_ERROR = 1.0, 10.0  # seconds; a token has a leeway of 60 s
_STALE_SECONDS = 60.0
_NEEDED = ("projector", "recorder", "gateway")


class Diagnosis(NamedTuple):
    """A result of doctor. `text` says what is so, `hint` what to do; only an `ok` has no hint."""

    check: str
    state: State
    text: str
    hint: str | None = None


class TopicFacts(NamedTuple):
    """The id that Kafka gave to a topic (None: it knows no ids), and the number of partitions."""

    id: UUID | None
    partitions: int


class PartitionOffsets(NamedTuple):
    """The first offset that a partition still has, and the next that it will have."""

    first: int
    next: int


def judge_clock(server: str, offset: float, uncertainty: float) -> Diagnosis:
    """Judges a server's clock: `offset` seconds ahead of this machine's, give or take `uncertainty`."""
    skew = max(0.0, abs(offset) - uncertainty)
    direction = "ahead of" if offset > 0 else "behind"
    if skew < _CLOCK_WARNING:
        return Diagnosis(f"clock of {server}", "ok", f"within {_CLOCK_WARNING:g} s of this machine's clock")
    state: State = "error" if skew >= _CLOCK_ERROR else "warning"
    text = f"about {abs(offset):.0f} s {direction} this machine's clock"
    return Diagnosis(
        f"clock of {server}", state, text, "synchronize both clocks (NTP): freshness and tokens need it"
    )


def judge_server(server: ServerStatus, newest: str) -> Iterator[Diagnosis]:
    """Judges Postgres, its schema and the rights of the role. `newest` is the newest migration."""
    kind = "a standby" if server.standby else "a primary"
    yield Diagnosis("Postgres", "ok", f"{kind}, version {server.version}, as {server.role}")
    rights = "grant operator to the role, or connect as operator (LIVEBALANCE_POSTGRES)"
    if server.missing_rights:
        missing = ", ".join(server.missing_rights)
        yield Diagnosis("rights", "error", f"{server.role} may not: {missing}", rights)
    elif server.migration:
        yield Diagnosis("rights", "ok", f"{server.role} may do what the commands of an operator need")
    if "select alembic_version" not in server.missing_rights:
        yield _judge_migration(server.migration, newest)


def _judge_migration(migration: str | None, newest: str) -> Diagnosis:
    run = "run `python -m livebalance.readmodel` as the owner of the database"
    if migration is None:
        return Diagnosis("schema", "error", "the database has no schema of Livebalance", run)
    if migration < newest:
        return Diagnosis("schema", "error", f"migration {migration}, but {newest} is missing", run)
    if migration > newest:
        hint = "use the command line of the release that runs"
        return Diagnosis(
            "schema", "warning", f"migration {migration} is newer than this command ({newest})", hint
        )
    return Diagnosis("schema", "ok", f"migration {migration}, the newest")


def judge_services(server: ServerStatus) -> Iterator[Diagnosis]:
    """Judges which services are connected to Postgres."""
    names = {role: [s.name for s in server.services if s.role == role] for role in _NEEDED}
    for role, connected in names.items():
        if connected:
            yield Diagnosis(f"{role}s", "ok", f"connected to Postgres: {', '.join(connected)}")
        else:
            hint = f"start one: python -m livebalance.{role}; its log says why it does not connect"
            yield Diagnosis(f"{role}s", "warning", f"no {role} is connected to this database", hint)


def judge_projection(status: ProjectionStatus | None, now: int) -> Iterator[Diagnosis]:
    """Judges the projection at the time `now`, in ms of Postgres' clock."""
    if status is None:
        hint = "start a projector; its log says why it writes nothing"
        yield Diagnosis("projection", "warning", "no projector has written to this database yet", hint)
        return
    if status.known:
        yield Diagnosis("projection", "ok", f"epoch {status.epoch}, {status.partitions} lanes")
    else:
        text = "this is not the server that the projection was written to: a restore or a failover"
        hint = "after a restore: livebalance epoch bump; after a failover a projector detects it by itself"
        yield Diagnosis("projection", "error", text, hint)
    yield from (finding for lane in status.lanes for finding in _judge_lane(lane, now))
    if status.quarantined:
        hint = "livebalance quarantine list --state held"
        yield Diagnosis("quarantine", "warning", f"{status.quarantined} records wait for a decision", hint)
    if disputed := sum(lane.disputed for lane in status.lanes):
        hint = "select account_id, disputed_why from reporting.balances where disputed_since is not null"
        yield Diagnosis("disputes", "warning", f"{disputed} accounts are disputed", hint)
    if drifting := sum(lane.drifting for lane in status.lanes):
        yield Diagnosis(
            "drift", "error", f"{drifting} accounts have a drift", "docs/runbooks, drift; livebalance rebuild"
        )


def _judge_lane(lane: LaneStatus, now: int) -> Iterator[Diagnosis]:
    check = f"lane {lane.lane}"
    for service, why in (("projector", lane.halted_why), ("recorder", lane.recorder_halted_why)):
        if why:
            hint = f"remove the cause, then livebalance lane continue {lane.lane} --of {service}"
            yield Diagnosis(check, "error", f"halted by the {service}: {why}", hint)
    age = None if lane.as_of is None else (now - lane.as_of) / 1000
    if age is None or age > _STALE_SECONDS:
        since = "never complete yet" if age is None else f"complete as of {age:,.0f} s ago"
        hint = "is a projector running, and Kafka reachable for it? livebalance lane list"
        yield Diagnosis(check, "warning", f"{since}; claimed by {lane.owner or 'no projector'}", hint)


def judge_topics(
    topics: Mapping[str, TopicFacts], transfers: str, balances: str, status: ProjectionStatus | None
) -> Iterator[Diagnosis]:
    """Judges partition counts and topic ids, against each other and against the projection."""
    counts = {name: topics[name].partitions for name in (transfers, balances)}
    if counts[transfers] != counts[balances]:
        text = f"{transfers} has {counts[transfers]} partitions, {balances} has {counts[balances]}"
        yield Diagnosis(
            "partitions", "error", text, "both topics need the same number: create one of them anew"
        )
    elif status and status.partitions != counts[transfers]:
        text = f"the topics have {counts[transfers]} partitions, the projection has {status.partitions} lanes"
        hint = "use the topics or the database that belong together (LIVEBALANCE_POSTGRES, …_TOPIC)"
        yield Diagnosis("partitions", "error", text, hint)
    else:
        yield Diagnosis("partitions", "ok", f"{counts[transfers]} of each topic")
    for name, column in ((transfers, "transfers_topic_id"), (balances, "balances_topic_id")):
        known = {getattr(lane, column) for lane in (status.lanes if status else ())} - {None}
        if known and topics[name].id and topics[name].id not in known:
            hint = "docs/operations.md, Topics that were created again"
            yield Diagnosis(
                name, "error", "this topic was deleted and created again, or is of another Kafka", hint
            )


def judge_offsets(
    topic: str, partitions: Mapping[int, PartitionOffsets], nexts: Sequence[tuple[int, int]]
) -> Iterator[Diagnosis]:
    """Judges the next offsets of lanes, as (lane, offset), against what the topic holds."""
    for lane, offset in nexts:
        held = partitions.get(lane)
        if held is None:
            continue
        if offset > held.next:
            text = f"partition {lane} ends at {held.next}, but the projection has applied up to {offset}"
            yield Diagnosis(
                topic, "error", text, "Kafka lost records, or this is another topic of the same name"
            )
        elif offset < held.first:
            text = f"partition {lane} begins at {held.first}, but {offset} is the next to apply"
            yield Diagnosis(
                topic, "error", text, "records were deleted before they were applied: see the retention"
            )
