"""Dashboard of the gateways: clients, frames, reads of Postgres, Redis, rejections."""

from deploy.observability.boards.board import Board, Row
from deploy.observability.boards.panel import Panel, Query
from deploy.observability.boards.process import processes, quantile, rate
from deploy.observability.boards.variables import GATEWAY


def _per_gateway(metric: str) -> str:
    return f"sum by (instance) (livebalance_gateway_{metric})"


def _by_reason(title: str, metric: str, description: str = "", by: str = "reason") -> Panel:
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    return Panel(
        title, [Query(rate(f"livebalance_gateway_{metric}_total", by), legend)], description, "ops", width=6
    )


BOARD = Board(
    "gateway",
    "gateway",
    [
        Row(
            "Clients",
            [
                Panel(
                    "Connected clients",
                    [Query(_per_gateway("sessions"), "{{instance}}")],
                    stacked=True,
                    width=6,
                ),
                Panel(
                    "Event streams",
                    [Query(_per_gateway("event_streams"), "{{instance}}")],
                    stacked=True,
                    width=6,
                ),
                Panel(
                    "Subscriptions",
                    [
                        Query("sum(livebalance_gateway_subscriptions)", "subscriptions"),
                        Query("sum(livebalance_gateway_channels)", "channels"),
                    ],
                    "A channel is an account to which a gateway subscribes once for all its clients.",
                    width=6,
                ),
                Panel("Draining", [Query(_per_gateway("draining"), "{{instance}}")], unit="bool", width=6),
            ],
        ),
        Row(
            "Freshness",
            [
                Panel(
                    "Latency from Kafka to clients",
                    [
                        Query(quantile(0.5, "livebalance_gateway_commit_to_socket_seconds"), "p50"),
                        Query(quantile(0.95, "livebalance_gateway_commit_to_socket_seconds"), "p95"),
                        Query(quantile(0.99, "livebalance_gateway_commit_to_socket_seconds"), "p99"),
                    ],
                    unit="s",
                    width=6,
                ),
                Panel(
                    "Age of the data",
                    [Query(_per_gateway("stale_seconds"), "{{instance}}")],
                    unit="s",
                    width=6,
                ),
                Panel(
                    "Age of the revocations",
                    [Query(_per_gateway("revocations_age_seconds"), "{{instance}}")],
                    unit="s",
                    width=6,
                ),
                Panel(
                    "Status that clients see",
                    [Query("sum by (state) (livebalance_gateway_pipeline_state)", "{{state}}")],
                    "Number of gateways that report each status.",
                    stacked=True,
                    width=6,
                ),
            ],
        ),
        Row(
            "Frames",
            [
                Panel(
                    "Deltas received, frames delivered",
                    [
                        Query(rate("livebalance_gateway_received_deltas_total"), "deltas received"),
                        Query(rate("livebalance_gateway_deliveries_total"), "deliveries"),
                    ],
                    unit="ops",
                    width=6,
                ),
                Panel(
                    "Bytes sent",
                    [Query(rate("livebalance_gateway_sent_bytes_total"), "sent")],
                    unit="Bps",
                    width=6,
                ),
                Panel(
                    "Waiting in client queues",
                    [Query(_per_gateway("client_queue_bytes"), "{{instance}}")],
                    unit="bytes",
                    width=6,
                ),
                Panel(
                    "Slow clients",
                    [
                        Query(
                            rate("livebalance_gateway_conflated_frames_total", "reason"),
                            "conflated: {{reason}}",
                        ),
                        Query(
                            rate("livebalance_gateway_client_queue_overflows_total"), "client queues dropped"
                        ),
                    ],
                    "Dropped: when the client reads again, the gateway reads the rest from Postgres.",
                    "ops",
                    width=6,
                ),
            ],
        ),
        Row(
            "Reads of Postgres",
            [
                Panel(
                    "Accounts read",
                    [
                        Query(rate("livebalance_gateway_account_reads_total"), "reads"),
                        Query(rate("livebalance_gateway_read_statements_total"), "statements"),
                        Query(rate("livebalance_gateway_history_recoveries_total"), "avoided reads"),
                    ],
                    unit="ops",
                    width=6,
                ),
                _by_reason("Failed reads", "failed_reads"),
                _by_reason("Snapshots", "snapshots"),
                _by_reason("Repaired gaps", "gap_repairs"),
                _by_reason(
                    "Differences found by audits", "audit_findings", "ahead: a delta was lost or in transit."
                ),
            ],
        ),
        Row(
            "Redis",
            [
                _by_reason("Connections lost or failed", "redis_disconnects"),
                _by_reason(
                    "Invalid messages dropped",
                    "dropped_messages",
                    "Should be 0. Otherwise check which applications may publish.",
                ),
                Panel(
                    "Probe round trip",
                    [Query(_per_gateway("redis_probe_seconds"), "{{instance}}")],
                    unit="s",
                    width=6,
                ),
                Panel(
                    "Probes missed",
                    [
                        Query(
                            rate("livebalance_gateway_redis_probes_missed_total", "instance"), "{{instance}}"
                        )
                    ],
                    unit="ops",
                    width=6,
                ),
            ],
        ),
        Row(
            "Rejections and closes",
            [
                _by_reason("Rejected requests", "rejected_requests"),
                _by_reason("Closed connections and streams", "closed_connections", by="code, reason"),
                _by_reason("Ended subscriptions", "ended_subscriptions"),
                _by_reason("Error frames", "error_frames"),
                _by_reason("HTTP problems", "http_problems"),
                _by_reason("HTTP responses", "http_responses", by="status"),
            ],
        ),
        processes("gateway"),
    ],
    variables=[GATEWAY],
)
