"""Dashboard of the projectors, which write both topics to Postgres and publish deltas in Redis."""

from deploy.observability.boards.board import Board, Row
from deploy.observability.boards.panel import Panel, Query, table
from deploy.observability.boards.process import processes, quantile, rate, time_spent
from deploy.observability.boards.variables import lane

BATCH = "livebalance_projector_batch_seconds"

BOARD = Board(
    "projector",
    "projector",
    [
        Row(
            "Records",
            [
                Panel(
                    "Records applied",
                    [Query(rate("livebalance_projector_records_applied_total", "instance"), "{{instance}}")],
                    unit="ops",
                    stacked=True,
                ),
                Panel(
                    "Lag in seconds",
                    [Query("max by (lane) (livebalance_projector_lag_seconds)", "lane {{lane}}")],
                    unit="s",
                ),
                Panel(
                    "Lag in records",
                    [
                        Query(
                            "max by (topic, lane) (livebalance_projector_lag_records)",
                            "{{topic}}/{{lane}}",
                        )
                    ],
                    "Records up to the last stable offset; records of an open transaction are not counted.",
                ),
                Panel(
                    "Blocked by an open transaction, in seconds",
                    [
                        Query(
                            "max by (topic, lane) (livebalance_projector_open_transaction_seconds)",
                            "{{topic}}/{{lane}}",
                        )
                    ],
                    "How long an open transaction of any producer has blocked the records behind it.",
                    "s",
                ),
                Panel(
                    "Records not applied",
                    [
                        Query(rate("livebalance_projector_duplicate_records_total"), "duplicates"),
                        Query(rate("livebalance_projector_stale_balances_total"), "stale balances"),
                        Query(rate("livebalance_projector_quarantined_records_total"), "quarantined"),
                    ],
                    unit="ops",
                    width=16,
                ),
            ],
        ),
        Row(
            "Money",
            [
                Panel(
                    "Drifting and disputed accounts",
                    [
                        Query("sum(livebalance_projector_drifting_accounts)", "drifting"),
                        Query("sum(livebalance_projector_disputed_accounts)", "disputed"),
                    ],
                    width=12,
                ),
                Panel(
                    "Longest wait for a transfer that a balance names",
                    [Query("max(livebalance_projector_unverified_seconds)", "unverified")],
                    unit="s",
                    width=12,
                ),
            ],
        ),
        Row(
            "Reconciliation",
            [
                Panel(
                    "Transfers that differ from Kafka",
                    [Query("sum by (kind) (livebalance_projector_differences)", "{{kind}}")],
                    "The view kafka_reconciliation shows them by lane and hour.",
                ),
                Panel(
                    "Age of the comparison with Kafka",
                    [Query("max by (instance) (livebalance_projector_unreconciled_seconds)", "{{instance}}")],
                    unit="s",
                ),
                Panel(
                    "Transfers that no balance includes",
                    [
                        Query("sum(livebalance_projector_half_applied_accounts)", "accounts"),
                        Query("max(livebalance_projector_half_applied_seconds)", "seconds of the oldest"),
                    ],
                ),
            ],
        ),
        Row(
            "Batches",
            [
                Panel(
                    "p99 duration by stage", [Query(quantile(0.99, BATCH, "stage"), "{{stage}}")], unit="s"
                ),
                Panel(
                    "Time spent by stage",
                    [Query(time_spent(BATCH, "stage"), "{{stage}}")],
                    "Seconds spent per second, sum of all projectors.",
                    "s",
                    stacked=True,
                ),
                Panel(
                    "Messages to Redis",
                    [
                        Query(rate("livebalance_projector_published_messages_total"), "published"),
                        Query(
                            rate("livebalance_projector_unpublished_messages_total"),
                            "not published, Redis unavailable",
                        ),
                    ],
                    unit="ops",
                ),
            ],
        ),
        Row(
            "Lanes",
            [
                Panel(
                    "Owned lanes",
                    [
                        Query(
                            "sum by (instance, state) (livebalance_projector_lanes)",
                            "{{instance}} {{state}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Lanes released after an error",
                    [
                        Query(rate("livebalance_projector_lane_releases_total", "fate"), "{{fate}}"),
                        Query(rate("livebalance_projector_fenced_total"), "fenced"),
                    ],
                    "A projector claims each released lane again.",
                    "ops",
                ),
                table(
                    "Epochs",
                    Query("count by (epoch) (livebalance_projector_epoch_info)"),
                    description="Number of projectors in each epoch. If there are two, see the runbook.",
                    width=5,
                    height=7,
                ),
                Panel(
                    "Changes of the epoch",
                    [Query("sum(increase(livebalance_projector_epoch_changes_total[1h]))", "per hour")],
                    width=3,
                ),
            ],
        ),
        processes("projector"),
    ],
    variables=[lane("projector")],
)
