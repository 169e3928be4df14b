"""Gateways: who is there, what they get, what is read for them, and who is sent away."""

from deploy.observability.boards.board import Board, Row
from deploy.observability.boards.panel import Panel, Query
from deploy.observability.boards.process import processes, quantile, rate


def _of(metric: str) -> str:
    return f"sum by (instance) (livebalance_gateway_{metric})"


def _by_reason(title: str, metric: str, says: str = "", by: str = "reason") -> Panel:
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    return Panel(
        title, [Query(rate(f"livebalance_gateway_{metric}_total", by), legend)], says, "ops", width=6
    )


BOARD = Board(
    "gateway",
    "gateway",
    [
        Row(
            "Clients",
            [
                Panel("Connected", [Query(_of("sessions"), "{{instance}}")], stacked=True, width=6),
                Panel("Of them, streams", [Query(_of("streams"), "{{instance}}")], stacked=True, width=6),
                Panel(
                    "Followed",
                    [
                        Query("sum(livebalance_gateway_subscriptions)", "subscriptions"),
                        Query("sum(livebalance_gateway_channels)", "channels"),
                    ],
                    "A channel is an account that one gateway follows for all its clients.",
                    width=6,
                ),
                Panel("Told to go elsewhere", [Query(_of("draining"), "{{instance}}")], unit="bool", width=6),
            ],
        ),
        Row(
            "Freshness",
            [
                Panel(
                    "From Kafka to clients",
                    [
                        Query(quantile(0.5, "livebalance_gateway_commit_to_socket_seconds"), "p50"),
                        Query(quantile(0.95, "livebalance_gateway_commit_to_socket_seconds"), "p95"),
                        Query(quantile(0.99, "livebalance_gateway_commit_to_socket_seconds"), "p99"),
                    ],
                    unit="s",
                ),
                Panel("Complete as of, ago", [Query(_of("stale_seconds"), "{{instance}}")], unit="s"),
                Panel(
                    "What clients are told",
                    [Query("sum by (state) (livebalance_gateway_state)", "{{state}}")],
                    "How many gateways say so.",
                    stacked=True,
                ),
            ],
        ),
        Row(
            "What goes out",
            [
                Panel(
                    "Deltas in, deliveries out",
                    [
                        Query(rate("livebalance_gateway_deltas_total"), "deltas heard"),
                        Query(rate("livebalance_gateway_deliveries_total"), "deliveries"),
                    ],
                    unit="ops",
                    width=6,
                ),
                Panel(
                    "Sent", [Query(rate("livebalance_gateway_sent_bytes_total"), "sent")], unit="Bps", width=6
                ),
                Panel(
                    "Waiting in outboxes", [Query(_of("outbox_bytes"), "{{instance}}")], unit="bytes", width=6
                ),
                Panel(
                    "Slow clients",
                    [
                        Query(
                            rate("livebalance_gateway_conflated_frames_total", "reason"),
                            "conflated: {{reason}}",
                        ),
                        Query(rate("livebalance_gateway_forgotten_outboxes_total"), "outboxes forgotten"),
                    ],
                    "Forgotten: the rest is read from Postgres once the client reads again.",
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
                        Query(rate("livebalance_gateway_reads_total"), "reads"),
                        Query(rate("livebalance_gateway_read_statements_total"), "statements"),
                        Query(rate("livebalance_gateway_spared_reads_total"), "spared"),
                    ],
                    unit="ops",
                    width=6,
                ),
                _by_reason("Reads that brought nothing", "failed_reads"),
                _by_reason("Snapshots", "snapshots"),
                _by_reason("Holes repaired", "repairs"),
                _by_reason(
                    "Found by audits", "audit_findings", "ahead: a delta was lost, or was on its way."
                ),
            ],
        ),
        Row(
            "Redis",
            [
                _by_reason("Connections lost, or not had", "redis_lost"),
                _by_reason(
                    "Messages that were not taken", "dropped_messages", "None, or look who may publish."
                ),
                Panel(
                    "Probe, there and back",
                    [Query(_of("probe_seconds"), "{{instance}}")],
                    unit="s",
                    width=6,
                ),
                Panel(
                    "Probes missed",
                    [Query(rate("livebalance_gateway_probe_missed_total", "instance"), "{{instance}}")],
                    unit="ops",
                    width=6,
                ),
            ],
        ),
        Row(
            "No",
            [
                _by_reason("Turned away before they were served", "turned_away"),
                _by_reason("Sockets and streams that ended", "closed", by="code, reason"),
                _by_reason("Subscriptions that ended", "unsubscribed"),
                _by_reason("Error frames", "errors"),
                _by_reason("Problems of HTTP", "problems"),
                _by_reason("Answers of HTTP", "http_answers", by="status"),
            ],
        ),
        processes("gateway"),
    ],
)
