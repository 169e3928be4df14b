"""The Prometheus metrics of a gateway."""

from typing import get_args

from prometheus_client import Counter, Gauge, Histogram

from livebalance.gateway.live.channel import GapReason
from livebalance.gateway.live.status import PipelineState
from livebalance.runtime.metrics import init_labels
from livebalance.wire.frame import ErrorCode, SnapshotReason
from livebalance.wire.problem import ProblemCode

_REJECTIONS = (
    *(
        "address_full",
        "address_too_fast",
        "bad_request",
        "body",
        "draining",
        "full",
        "handshake",
        "head_too_large",
    ),
    *("host", "http_version", "method", "not_found", "not_ready", "not_secure", "origin", "ranges", "silent"),
    *(
        "slow_head",
        "subprotocol",
        "target_too_long",
        "token_in_url",
        "too_fast",
        "user_full",
        "user_too_fast",
    ),
    "websocket_version",
)

# --- clients, and frames to them

SESSIONS = Gauge("livebalance_gateway_sessions", "Connected clients.")
STREAMS = Gauge("livebalance_gateway_event_streams", "Connected clients that read server-sent events.")
SUBSCRIPTIONS = Gauge(
    "livebalance_gateway_subscriptions",
    "Subscriptions of all clients: an account counts once for each client.",
)
CHANNELS = Gauge(
    "livebalance_gateway_channels", "Accounts with a subscription, each once: each has a channel in Redis."
)
DELIVERIES = Counter("livebalance_gateway_deliveries", "Frames written to clients' transports.")
BYTES = Counter("livebalance_gateway_sent_bytes", "Bytes written to clients' transports.")
QUEUE_BYTES = Gauge(
    "livebalance_gateway_client_queue_bytes",
    "Bytes of data queued for all clients, because they are slow or limit their rate.",
)
CONFLATED = init_labels(
    Counter(
        "livebalance_gateway_conflated_frames",
        "Frames that were merged into another frame for the same client. slow: the client's queue was full; "
        "rate: the client limits its rate.",
        ["reason"],
    ),
    ["slow", "rate"],
)
QUEUE_OVERFLOWS = Counter(
    "livebalance_gateway_client_queue_overflows",
    "Times the data queued for a client was dropped, to be read from Postgres later: the client was too "
    "slow even for conflated frames.",
)
COMMIT_TO_SOCKET = Histogram(
    "livebalance_gateway_commit_to_socket_seconds",
    "Seconds from the Kafka timestamp of a delta's newest record until the delta is written to clients that "
    "accept it at once. The clocks are the producer's or broker's, and this gateway's. A sample of the "
    "deltas.",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
SNAPSHOTS = init_labels(
    Counter(
        "livebalance_gateway_snapshots",
        "Snapshots sent to clients. subscribed: the client had no state; too_far: the client was too far "
        "behind; ahead, epoch: the client had data that Postgres lost, or (ahead) that was erased; content: "
        "the client was sent a delta with other content than Postgres has.",
        ["reason"],
    ),
    [*get_args(SnapshotReason), "content"],
)
UNSUBSCRIBED = init_labels(
    Counter(
        "livebalance_gateway_ended_subscriptions",
        "Subscriptions that ended before their connection. client: unsubscribed by the client; gone: the "
        "account was erased; revoked: an operator revoked the right to see it.",
        ["reason"],
    ),
    ["client", "gone", "revoked"],
)

# --- rejections, closes and errors

REJECTED = init_labels(
    Counter(
        "livebalance_gateway_rejected_requests",
        "Requests rejected before they were served, including WebSocket handshakes.",
        ["reason"],
    ),
    _REJECTIONS,
)
UNNAMED = Counter(
    "livebalance_gateway_unnamed_clients",
    "Requests, event streams and WebSockets that a trusted proxy forwarded without an address in "
    "X-Forwarded-For. They have no limits per address: let the proxy send the header.",
)
CLOSED = Counter(
    "livebalance_gateway_closed_connections",
    "WebSockets and event streams that ended, by close code and reason. Code 1006 has the reasons lost, "
    "silent and no_progress.",
    ["code", "reason"],
)
ERRORS = init_labels(
    Counter("livebalance_gateway_error_frames", "Error frames sent to clients.", ["reason"]),
    get_args(ErrorCode),
)
PROBLEMS = init_labels(
    Counter("livebalance_gateway_http_problems", "Problem responses of HTTP, by their code.", ["reason"]),
    get_args(ProblemCode),
)
RESPONSES = Counter("livebalance_gateway_http_responses", "HTTP responses, by status.", ["status"])

WAITING_QUERIES = Gauge(
    "livebalance_gateway_waiting_queries", "Queries of REST requests that wait for a connection to Postgres."
)

# --- Redis

DELTAS = Counter("livebalance_gateway_received_deltas", "Deltas received from Redis.")
DROPPED = init_labels(
    Counter(
        "livebalance_gateway_dropped_messages",
        "Invalid messages received from Redis. Check which Redis users may publish. delta, progress, batch: "
        "invalid content; unsigned, forged: the message lacks the signature that this gateway demands.",
        ["reason"],
    ),
    ["delta", "progress", "batch", "unsigned", "forged"],
)
REDIS_LOST = init_labels(
    Counter(
        "livebalance_gateway_redis_disconnects",
        "Connections to Redis that were lost or could not be made. deaf: an open connection did not deliver "
        "probes.",
        ["reason"],
    ),
    ["closed", "deaf", "refused", "timeout", "unreachable"],
)
PROBE_SECONDS = Gauge(
    "livebalance_gateway_redis_probe_seconds",
    "Seconds that the last probe took: a message that the gateway publishes to itself.",
)
PROBE_MISSED = Counter(
    "livebalance_gateway_redis_probes_missed",
    "Probes that Redis did not deliver. The gateway reconnects when it has missed two in a row.",
)
REPAIRS = init_labels(
    Counter(
        "livebalance_gateway_gap_repairs",
        "Gaps in the deltas of an account, each repaired from Postgres, by cause. audit: an audit found a "
        "delta that Redis lost, or other content (content).",
        ["reason"],
    ),
    get_args(GapReason),
)

# --- Postgres

READS = Counter("livebalance_gateway_account_reads", "Accounts read from Postgres.")
STATEMENTS = Counter(
    "livebalance_gateway_read_statements", "Statements that read accounts, each for many accounts."
)
HISTORY_RECOVERIES = Counter(
    "livebalance_gateway_history_recoveries", "Times the history in memory answered a client, without a read."
)
FAILED_READS = init_labels(
    Counter(
        "livebalance_gateway_failed_reads",
        "Account reads that failed. unavailable: Postgres did not answer; queue_full: too many reads were "
        "queued.",
        ["reason"],
    ),
    ["unavailable", "queue_full"],
)
FINDINGS = init_labels(
    Counter(
        "livebalance_gateway_audit_findings",
        "Accounts that differ between this gateway and Postgres at an audit. ahead: Postgres has a higher "
        "revision, usually because a delta was still on its way; back, epoch: Postgres lost commits; "
        "content: a delta had other content than Postgres has.",
        ["reason"],
    ),
    ["ahead", "back", "epoch", "content"],
)

WRONG_TOTALS = Counter(
    "livebalance_gateway_wrong_set_totals",
    "Reads of a set in which a lane keeps another total than its balances have. Clients get the sum of the "
    "balances; the lane's projector counts the set again within 10 minutes. Should be 0.",
)

# --- the state of this gateway

STATE = init_labels(
    Gauge(
        "livebalance_gateway_pipeline_state",
        "1 for the pipeline's state that clients see, else 0.",
        ["state"],
    ),
    get_args(PipelineState),
)
STALE = Gauge(
    "livebalance_gateway_stale_seconds",
    "Seconds since the time as of which all lanes were complete at the last audit: the age of the data that "
    "a page shows. Usually little more than the audit interval; NaN before the first audit.",
)
REVOCATIONS_AGE = Gauge(
    "livebalance_gateway_revocations_age_seconds",
    "Seconds since the last successful read of the revocations began, or since the start if there was none. "
    "Usually little more than LIVEBALANCE_REVOCATION_POLL_SECONDS.",
)
DRAINING = Gauge("livebalance_gateway_draining", "1 while this gateway drains its clients.")

_CLIENT_CODES = frozenset({1000, 1001, 1005, 1006})


def count_closed(code: int, reason: str) -> None:
    """Counts a closed connection. Unusual codes that clients chose share a series."""
    known = reason != "client" or code in _CLIENT_CODES
    CLOSED.labels(int(code) if known else "other", reason).inc()
