"""Recorders: transfers in, balances out."""

from deploy.observability.boards.board import Board, Row
from deploy.observability.boards.panel import Panel, Query
from deploy.observability.boards.process import mean, processes, quantile, rate

BOARD = Board(
    "recorder",
    "recorder",
    [
        Row(
            "Transfers",
            [
                Panel(
                    "What became of them",
                    [Query(rate("livebalance_recorder_transfers_total", "verdict"), "{{verdict}}")],
                    unit="ops",
                ),
                Panel(
                    "Behind, in seconds",
                    [Query("max by (lane) (livebalance_recorder_lag_seconds)", "lane {{lane}}")],
                    unit="s",
                ),
                Panel(
                    "Behind, in records",
                    [Query("max by (lane) (livebalance_recorder_lag_records)", "lane {{lane}}")],
                    "Up to the last stable offset: what is in an open transaction is not counted.",
                ),
            ],
        ),
        Row(
            "Batches",
            [
                Panel(
                    "p99 by stage",
                    [Query(quantile(0.99, "livebalance_recorder_batch_seconds", "stage"), "{{stage}}")],
                    unit="s",
                ),
                Panel(
                    "Time spent by stage",
                    [Query(mean("livebalance_recorder_batch_seconds", "stage"), "{{stage}}")],
                    "Seconds of each second, all recorders together.",
                    "s",
                    stacked=True,
                ),
                Panel(
                    "Owned partitions",
                    [Query("sum by (instance) (livebalance_recorder_partitions)", "{{instance}}")],
                    stacked=True,
                ),
            ],
        ),
        Row(
            "Given up",
            [
                Panel(
                    "Partitions, by fate",
                    [Query(rate("livebalance_recorder_partitions_given_up_total", "fate"), "{{fate}}")],
                    "Each is claimed again.",
                    "ops",
                    width=12,
                ),
                Panel(
                    "Fenced",
                    [Query(rate("livebalance_recorder_fenced_total", "instance"), "{{instance}}")],
                    "Somebody else has claimed the partition.",
                    "ops",
                    width=12,
                ),
            ],
        ),
        processes("recorder"),
    ],
)
