"""What /metrics shows of a gateway, beside what the process itself shows."""

from prometheus_client import Counter, Gauge

SESSIONS = Gauge("livebalance_gateway_sessions", "Clients connected")
DELTAS = Counter("livebalance_gateway_deltas", "Deltas heard from Redis")
REFUSED = Counter("livebalance_gateway_refused_messages", "Messages of Redis that are no delta of ours")
READS = Counter("livebalance_gateway_reads", "Reads of an account in Postgres")
FAILED_READS = Counter("livebalance_gateway_failed_reads", "Reads of an account that brought nothing")
DIFFERENCES = Counter("livebalance_gateway_differences", "Accounts an audit found at another revision")
TURNED = Counter("livebalance_gateway_turned_away", "Clients that were not let in", ["why"])
CLOSED = Counter("livebalance_gateway_closed", "Clients closed for what they did", ["reason"])
CONFLATED = Counter("livebalance_gateway_conflated_frames", "Frames that became part of another for a client")
FORGOTTEN = Counter(
    "livebalance_gateway_forgotten_outboxes", "Times a client's data were left to be read from Postgres"
)
BYTES = Counter("livebalance_gateway_sent_bytes", "Bytes given to clients' transports")
