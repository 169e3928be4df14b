"""Dashboard of the recorders, which turn transfers into balances."""

from deploy.observability.boards.board import Board, Row
from deploy.observability.boards.panel import Panel, Query
from deploy.observability.boards.process import processes, quantile, rate, time_spent
from deploy.observability.boards.variables import lane

BOARD = Board(
    "recorder",
    "recorder",
    [
        Row(
            "Transfers",
            [
                Panel(
                    "Transfers by verdict",
                    [Query(rate("livebalance_recorder_transfers_total", "verdict"), "{{verdict}}")],
                    unit="ops",
                ),
                Panel(
                    "Lag in seconds",
                    [Query("max by (lane) (livebalance_recorder_lag_seconds)", "lane {{lane}}")],
                    unit="s",
                ),
                Panel(
                    "Lag in records",
                    [Query("max by (lane) (livebalance_recorder_lag_records)", "lane {{lane}}")],
                    "Records up to the last stable offset; records of an open transaction are not counted.",
                ),
            ],
        ),
        Row(
            "Batches",
            [
                Panel(
                    "p99 duration by stage",
                    [Query(quantile(0.99, "livebalance_recorder_batch_seconds", "stage"), "{{stage}}")],
                    unit="s",
                ),
                Panel(
                    "Time spent by stage",
                    [Query(time_spent("livebalance_recorder_batch_seconds", "stage"), "{{stage}}")],
                    "Seconds spent per second, sum of all recorders.",
                    "s",
                    stacked=True,
                ),
                Panel(
                    "Owned partitions",
                    [
                        Query(
                            "sum by (instance, state) (livebalance_recorder_partitions)",
                            "{{instance}} {{state}}",
                        )
                    ],
                    "A halted partition waits for an operator.",
                    stacked=True,
                ),
            ],
        ),
        Row(
            "Errors",
            [
                Panel(
                    "Released partitions by kind of error",
                    [Query(rate("livebalance_recorder_partition_releases_total", "fate"), "{{fate}}")],
                    "A recorder claims each released partition again.",
                    "ops",
                    width=12,
                ),
                Panel(
                    "Fenced partitions",
                    [Query(rate("livebalance_recorder_fenced_total", "instance"), "{{instance}}")],
                    "Another process has claimed the partition.",
                    "ops",
                    width=12,
                ),
            ],
        ),
        processes("recorder"),
    ],
    variables=[lane("recorder")],
)
