"""Is it healthy? What clients see, whether money adds up, what is in the way."""

from deploy.observability.boards.board import Board, Row
from deploy.observability.boards.panel import Panel, Query, number, table
from deploy.observability.boards.process import quantile, rate

TOLD = Query(
    'max(2 * livebalance_gateway_state{state="stalled"} or livebalance_gateway_state{state="catching_up"})'
)
WORDS = {"0": "live", "1": "catching up", "2": "stalled"}

BOARD = Board(
    "health",
    "is it healthy",
    [
        Row(
            "Now",
            [
                number(
                    "Clients are told",
                    TOLD,
                    says="The worst of all gateways.",
                    bad=1,
                    words=WORDS,
                ),
                number(
                    "Complete as of, ago",
                    Query("max(livebalance_gateway_stale_seconds)"),
                    says="How old what clients see may be; an audit every 5 s is what moves it.",
                    unit="s",
                    bad=60,
                ),
                number(
                    "Accounts that drift",
                    Query("sum(livebalance_projector_drifting)"),
                    says="Their balance is not what their transfers make. 0, always.",
                    bad=1,
                ),
                number("Disputed", Query("sum(livebalance_projector_disputed)"), bad=1),
                number("Halted lanes", Query('sum(livebalance_projector_lanes{state="halted"})'), bad=1),
                number("Clients", Query("sum(livebalance_gateway_sessions)")),
            ],
        ),
        Row(
            "Alerts and services",
            [
                table(
                    "Alerts",
                    Query('max by (alertname, severity, alertstate) (ALERTS{alertname=~"Livebalance.+"})'),
                    says="Each has a page in docs/runbooks.",
                ),
                table("Services", Query("count by (service, version) (livebalance_info)")),
            ],
        ),
        Row(
            "On the way",
            [
                Panel(
                    "From Kafka to clients",
                    [
                        Query(quantile(0.5, "livebalance_gateway_commit_to_socket_seconds"), "p50"),
                        Query(quantile(0.99, "livebalance_gateway_commit_to_socket_seconds"), "p99"),
                    ],
                    "From Kafka's time of a record until it is given to its clients' sockets.",
                    "s",
                ),
                Panel(
                    "Behind Kafka",
                    [
                        Query("max(livebalance_recorder_lag_seconds)", "recorder"),
                        Query("max(livebalance_projector_lag_seconds)", "projector"),
                        Query("max(livebalance_projector_held_back_seconds)", "held back by a transaction"),
                    ],
                    unit="s",
                ),
                Panel(
                    "Moved",
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
            "What is in the way",
            [
                Panel(
                    "Put aside",
                    [Query(rate("livebalance_projector_quarantined_total"), "records in quarantine")],
                    unit="ops",
                ),
                Panel(
                    "Thrown away and claimed again",
                    [
                        Query(rate("livebalance_projector_failed_total", "fate"), "projector: {{fate}}"),
                        Query(
                            rate("livebalance_recorder_partitions_given_up_total", "fate"),
                            "recorder: {{fate}}",
                        ),
                    ],
                    unit="ops",
                ),
                Panel(
                    "Redis",
                    [
                        Query(rate("livebalance_projector_unpublished_total"), "not published"),
                        Query(rate("livebalance_gateway_redis_lost_total", "reason"), "lost: {{reason}}"),
                        Query(
                            rate("livebalance_gateway_audit_findings_total", "reason"),
                            "found by audits: {{reason}}",
                        ),
                    ],
                    unit="ops",
                ),
            ],
        ),
    ],
)
