"""Overview dashboard: what clients see, whether money is conserved, which faults there are."""

from deploy.observability.boards.board import Board, Row
from deploy.observability.boards.panel import Panel, Query, number, table
from deploy.observability.boards.process import processes, quantile, rate
from deploy.observability.boards.variables import SERVICE

STATUS = Query(
    'max(2 * livebalance_gateway_pipeline_state{state="stalled"}'
    ' or livebalance_gateway_pipeline_state{state="catching_up"})'
)
STATUS_NAMES = {"0": "live", "1": "catching up", "2": "stalled"}

BOARD = Board(
    "health",
    "health",
    [
        Row(
            "Now",
            [
                number(
                    "Status that clients see",
                    STATUS,
                    description="The worst status of all gateways.",
                    red_from=1,
                    value_names=STATUS_NAMES,
                ),
                number(
                    "Age of the data",
                    Query("max(livebalance_gateway_stale_seconds)"),
                    description="Maximum age of the data that clients see; every audit (5 s) updates it.",
                    unit="s",
                    red_from=60,
                ),
                number(
                    "Drifting accounts",
                    Query("sum(livebalance_projector_drifting_accounts)"),
                    description="Accounts whose balance does not equal opening + transfers. Should be 0.",
                    red_from=1,
                ),
                number(
                    "Disputed accounts", Query("sum(livebalance_projector_disputed_accounts)"), red_from=1
                ),
                number("Halted lanes", Query('sum(livebalance_projector_lanes{state="halted"})'), red_from=1),
                number("Connected clients", Query("sum(livebalance_gateway_sessions)")),
            ],
        ),
        Row(
            "Alerts and services",
            [
                table(
                    "Alerts",
                    Query('max by (alertname, severity, alertstate) (ALERTS{alertname=~"Livebalance.+"})'),
                    description="Each alert has a runbook in docs/runbooks.",
                ),
                table("Services", Query("count by (service, version) (livebalance_info)")),
            ],
        ),
        Row(
            "From Kafka to clients",
            [
                Panel(
                    "Latency from Kafka to clients",
                    [
                        Query(quantile(0.5, "livebalance_gateway_commit_to_socket_seconds"), "p50"),
                        Query(quantile(0.99, "livebalance_gateway_commit_to_socket_seconds"), "p99"),
                    ],
                    "From Kafka's timestamp of a record until its frame is written to clients' sockets.",
                    "s",
                ),
                Panel(
                    "Lag behind Kafka",
                    [
                        Query("max(livebalance_recorder_lag_seconds)", "recorder"),
                        Query("max(livebalance_projector_lag_seconds)", "projector"),
                        Query(
                            "max(livebalance_projector_open_transaction_seconds)",
                            "blocked by an open transaction",
                        ),
                    ],
                    unit="s",
                ),
                Panel(
                    "Throughput",
                    [
                        Query(rate("livebalance_recorder_transfers_total"), "transfers recorded"),
                        Query(rate("livebalance_projector_records_applied_total"), "records applied"),
                        Query(rate("livebalance_gateway_deliveries_total"), "deliveries"),
                    ],
                    unit="ops",
                ),
            ],
        ),
        Row(
            "Faults",
            [
                Panel(
                    "Quarantine",
                    [Query(rate("livebalance_projector_quarantined_records_total"), "records quarantined")],
                    unit="ops",
                ),
                Panel(
                    "Lanes released after an error",
                    [
                        Query(
                            rate("livebalance_projector_lane_releases_total", "fate"), "projector: {{fate}}"
                        ),
                        Query(
                            rate("livebalance_recorder_partition_releases_total", "fate"),
                            "recorder: {{fate}}",
                        ),
                    ],
                    unit="ops",
                ),
                Panel(
                    "Redis",
                    [
                        Query(rate("livebalance_projector_unpublished_messages_total"), "not published"),
                        Query(
                            rate("livebalance_gateway_redis_disconnects_total", "reason"),
                            "connection lost: {{reason}}",
                        ),
                        Query(
                            rate("livebalance_gateway_audit_findings_total", "reason"),
                            "found by audits: {{reason}}",
                        ),
                    ],
                    unit="ops",
                ),
            ],
        ),
        processes(),
    ],
    variables=[SERVICE],
)
