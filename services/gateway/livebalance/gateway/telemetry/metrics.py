"""What /metrics shows of a gateway, beside what the process itself shows."""

from typing import get_args

from prometheus_client import Counter, Gauge, Histogram

from livebalance.gateway.live.channel import Why
from livebalance.gateway.live.status import Word
from livebalance.runtime.metrics import each
from livebalance.wire.frame import ErrorCode, SnapshotReason
from livebalance.wire.problem import ProblemCode

_TURNED = (
    *("address_full", "address_too_fast", "bad_request", "draining", "full", "handshake", "head_too_large"),
    *("host", "http_version", "method", "not_found", "not_ready", "not_secure", "origin", "ranges", "silent"),
    *("slow_head", "subprotocol", "target_too_long", "token_in_url", "too_fast", "websocket_version"),
)

# --- clients, and what they are sent

SESSIONS = Gauge("livebalance_gateway_sessions", "Clients connected.")
STREAMS = Gauge("livebalance_gateway_event_streams", "Of them, those that read server-sent events.")
SUBSCRIPTIONS = Gauge("livebalance_gateway_subscriptions", "Accounts followed, each as often as by clients.")
CHANNELS = Gauge("livebalance_gateway_channels", "Accounts followed, each once: so many channels of Redis.")
DELIVERIES = Counter("livebalance_gateway_deliveries", "Frames given to clients' transports.")
BYTES = Counter("livebalance_gateway_sent_bytes", "Bytes given to clients' transports.")
OUTBOX_BYTES = Gauge(
    "livebalance_gateway_client_queue_bytes",
    "Bytes of data that wait for clients, of all of them: clients are slow, or want data seldom.",
)
CONFLATED = each(
    Counter(
        "livebalance_gateway_conflated_frames",
        "Frames that became part of another for a client. slow: its outbox was full; rate: as it wanted.",
        ["reason"],
    ),
    ["slow", "rate"],
)
FORGOTTEN = Counter(
    "livebalance_gateway_client_queue_overflows",
    "Times a client's data were left to be read from Postgres: it was too slow even for what is conflated.",
)
COMMIT_TO_SOCKET = Histogram(
    "livebalance_gateway_commit_to_socket_seconds",
    "Seconds from Kafka's timestamp of a delta's newest record, by its producer's clock (or the broker's), "
    "until it is with the transports of those who take it at once, by ours. Of some deltas each second.",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
SNAPSHOTS = each(
    Counter(
        "livebalance_gateway_snapshots",
        "Snapshots for clients. subscribed: it had nothing; too_far: it was away for too long; ahead, epoch: "
        "Postgres had lost what it had.",
        ["reason"],
    ),
    get_args(SnapshotReason),
)
UNSUBSCRIBED = each(
    Counter(
        "livebalance_gateway_ended_subscriptions",
        "Subscriptions that ended before their socket. gone: the account was erased.",
        ["reason"],
    ),
    ["client", "gone", "revoked"],
)

# --- who is told no

TURNED = each(
    Counter(
        "livebalance_gateway_rejected_requests",
        "Requests refused before they were served, sockets too.",
        ["reason"],
    ),
    _TURNED,
)
CLOSED = Counter(
    "livebalance_gateway_closed_connections",
    "Sockets and streams that ended, by close code and why. Of 1006: lost, silent or no_progress.",
    ["code", "reason"],
)
ERRORS = each(Counter("livebalance_gateway_error_frames", "Error frames.", ["reason"]), get_args(ErrorCode))
PROBLEMS = each(
    Counter("livebalance_gateway_http_problems", "Answers of HTTP that say no, by their code.", ["reason"]),
    get_args(ProblemCode),
)
ANSWERS = Counter("livebalance_gateway_http_responses", "Answers of HTTP, by their status.", ["status"])

# --- Redis

DELTAS = Counter("livebalance_gateway_received_deltas", "Deltas heard from Redis.")
DROPPED = each(
    Counter(
        "livebalance_gateway_dropped_messages",
        "Messages of Redis that were none of ours. Look who may publish there.",
        ["reason"],
    ),
    ["delta", "progress"],
)
REDIS_LOST = each(
    Counter(
        "livebalance_gateway_redis_disconnects",
        "Connections to Redis lost, or not had. deaf: probes did not come back though it was connected.",
        ["reason"],
    ),
    ["closed", "deaf", "refused", "timeout", "unreachable"],
)
PROBE_SECONDS = Gauge(
    "livebalance_gateway_redis_probe_seconds",
    "Seconds that the last message to ourselves through Redis took.",
)
PROBE_MISSED = Counter(
    "livebalance_gateway_redis_probes_missed",
    "Such messages that did not come back; two in a row: Redis is deaf.",
)
REPAIRS = each(
    Counter(
        "livebalance_gateway_gap_repairs",
        "Holes in what was heard of an account, each repaired from Postgres, by how it opened. audit: Redis "
        "had lost the last that was published.",
        ["reason"],
    ),
    get_args(Why),
)

# --- Postgres

READS = Counter("livebalance_gateway_account_reads", "Reads of an account in Postgres.")
STATEMENTS = Counter("livebalance_gateway_read_statements", "Statements that read accounts, many in one.")
SPARED = Counter(
    "livebalance_gateway_history_recoveries", "Times a client was answered from what was relayed lately."
)
FAILED_READS = each(
    Counter(
        "livebalance_gateway_failed_reads",
        "Reads of an account that returned nothing. unavailable: Postgres did not answer; queue_full: too many reads were queued.",
        ["reason"],
    ),
    ["unavailable", "queue_full"],
)
FINDINGS = each(
    Counter(
        "livebalance_gateway_audit_findings",
        "Accounts that an audit found elsewhere. ahead: usually a delta that was on its way; back, epoch: "
        "Postgres lost commits.",
        ["reason"],
    ),
    ["ahead", "back", "epoch"],
)

# --- how this gateway is

STATE = each(
    Gauge(
        "livebalance_gateway_pipeline_state",
        "1 for what clients are told of the pipeline, else 0.",
        ["state"],
    ),
    get_args(Word),
)
STALE = Gauge(
    "livebalance_gateway_stale_seconds",
    "Seconds since all lanes were complete, as the last audit says: the age of what a page shows. Usually at "
    "most a little more than the period of audits; NaN before the first.",
)
DRAINING = Gauge("livebalance_gateway_draining", "1 while clients are asked to go elsewhere.")

_OF_CLIENTS = frozenset({1000, 1001, 1005, 1006})


def closed(code: int, reason: str) -> None:
    """A client may close with any code: those are not worth a series each."""
    known = reason != "client" or code in _OF_CLIENTS
    CLOSED.labels(int(code) if known else "other", reason).inc()
