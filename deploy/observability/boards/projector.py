"""Projectors: both topics into Postgres, then the doorbell."""

from deploy.observability.boards.board import Board, Row
from deploy.observability.boards.panel import Panel, Query, table
from deploy.observability.boards.process import mean, processes, quantile, rate

BATCH = "livebalance_projector_batch_seconds"

BOARD = Board(
    "projector",
    "projector",
    [
        Row(
            "Records",
            [
                Panel(
                    "Applied",
                    [Query(rate("livebalance_projector_records_applied_total", "instance"), "{{instance}}")],
                    unit="ops",
                    stacked=True,
                ),
                Panel(
                    "Behind, in seconds",
                    [Query("max by (lane) (livebalance_projector_lag_seconds)", "lane {{lane}}")],
                    unit="s",
                ),
                Panel(
                    "Behind, in records",
                    [
                        Query(
                            "max by (topic, lane) (livebalance_projector_lag_records)",
                            "{{topic}}/{{lane}}",
                        )
                    ],
                    "Up to the last stable offset: what is in an open transaction is not counted.",
                ),
                Panel(
                    "Held back, in seconds",
                    [
                        Query(
                            "max by (topic, lane) (livebalance_projector_held_back_seconds)",
                            "{{topic}}/{{lane}}",
                        )
                    ],
                    "How long one open transaction, whoever's it is, has been in the way of what follows it.",
                    "s",
                ),
                Panel(
                    "Not applied",
                    [
                        Query(rate("livebalance_projector_duplicates_total"), "duplicates"),
                        Query(rate("livebalance_projector_stale_balances_total"), "stale balances"),
                        Query(rate("livebalance_projector_quarantined_total"), "put aside"),
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
                    "Accounts that are not well",
                    [
                        Query("sum(livebalance_projector_drifting)", "drifting"),
                        Query("sum(livebalance_projector_disputed)", "disputed"),
                    ],
                    width=12,
                ),
                Panel(
                    "The longest wait for a transfer that a balance names",
                    [Query("max(livebalance_projector_unverified_seconds)", "unverified")],
                    unit="s",
                    width=12,
                ),
            ],
        ),
        Row(
            "Batches",
            [
                Panel("p99 by stage", [Query(quantile(0.99, BATCH, "stage"), "{{stage}}")], unit="s"),
                Panel(
                    "Time spent by stage",
                    [Query(mean(BATCH, "stage"), "{{stage}}")],
                    "Seconds of each second, all projectors together.",
                    "s",
                    stacked=True,
                ),
                Panel(
                    "Messages",
                    [
                        Query(rate("livebalance_projector_published_total"), "published"),
                        Query(rate("livebalance_projector_unpublished_total"), "Redis was away"),
                    ],
                    unit="ops",
                ),
            ],
        ),
        Row(
            "Lanes",
            [
                Panel(
                    "Owned",
                    [
                        Query(
                            "sum by (instance, state) (livebalance_projector_lanes)",
                            "{{instance}} {{state}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Given up",
                    [
                        Query(rate("livebalance_projector_failed_total", "fate"), "{{fate}}"),
                        Query(rate("livebalance_projector_fenced_total"), "by the fence"),
                    ],
                    "Each is claimed again.",
                    "ops",
                ),
                table(
                    "Epochs",
                    Query("count by (epoch) (livebalance_projector_epoch_info)"),
                    says="How many projectors are in each. One, or Postgres has lost commits.",
                    width=5,
                    height=7,
                ),
                Panel(
                    "Changes of the epoch",
                    [Query("sum(increase(livebalance_projector_epoch_changes_total[1h]))", "in an hour")],
                    width=3,
                ),
            ],
        ),
        processes("projector"),
    ],
)
