"""What /metrics shows of a gateway, beside what the process itself shows."""

from prometheus_client import Counter, Gauge

SESSIONS = Gauge("livebalance_gateway_sessions", "Clients connected")
STREAMS = Gauge("livebalance_gateway_streams", "Of them, those that read server-sent events")
DELTAS = Counter("livebalance_gateway_deltas", "Deltas heard from Redis")
DROPPED = Counter("livebalance_gateway_dropped_messages", "Messages of Redis that were not taken", ["reason"])
REDIS_LOST = Counter("livebalance_gateway_redis_lost", "Connections to Redis lost, or not had", ["reason"])
READS = Counter("livebalance_gateway_reads", "Reads of an account in Postgres")
STATEMENTS = Counter("livebalance_gateway_read_statements", "Statements that read accounts, many in one")
SPARED = Counter(
    "livebalance_gateway_spared_reads", "Times a client was answered from what was relayed lately"
)
FAILED_READS = Counter(
    "livebalance_gateway_failed_reads", "Reads of an account that brought nothing", ["reason"]
)
FINDINGS = Counter("livebalance_gateway_audit_findings", "Accounts an audit found elsewhere", ["reason"])
REPAIRS = Counter("livebalance_gateway_repairs", "Holes in what was heard of an account", ["reason"])
TURNED = Counter("livebalance_gateway_turned_away", "Requests refused before they were served", ["reason"])
CLOSED = Counter("livebalance_gateway_closed", "Sockets and streams that ended, and why", ["code", "reason"])
PROBLEMS = Counter("livebalance_gateway_problems", "Answers of HTTP that say no, and why", ["reason"])
ANSWERS = Counter("livebalance_gateway_http_answers", "Answers of HTTP", ["status"])
ERRORS = Counter("livebalance_gateway_errors", "Error frames", ["reason"])
SNAPSHOTS = Counter("livebalance_gateway_snapshots", "Snapshots for clients", ["reason"])
UNSUBSCRIBED = Counter(
    "livebalance_gateway_unsubscribed", "Subscriptions that ended before their socket", ["reason"]
)
CONFLATED = Counter(
    "livebalance_gateway_conflated_frames", "Frames that became part of another for a client", ["reason"]
)
FORGOTTEN = Counter(
    "livebalance_gateway_forgotten_outboxes", "Times a client's data were left to be read from Postgres"
)
BYTES = Counter("livebalance_gateway_sent_bytes", "Bytes given to clients' transports")

_OF_CLIENTS = frozenset({1000, 1001, 1005, 1006})


def closed(code: int, reason: str) -> None:
    """A client may close with any code: those are not worth a series each."""
    known = reason != "client" or code in _OF_CLIENTS
    CLOSED.labels(int(code) if known else "other", reason).inc()
