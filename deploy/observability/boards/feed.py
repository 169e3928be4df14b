"""Dashboard of the feed, which produces the transfers of the demo."""

from deploy.observability.boards.board import Board, Row
from deploy.observability.boards.panel import Panel, Query
from deploy.observability.boards.process import processes, rate

BOARD = Board(
    "feed",
    "feed",
    [
        Row(
            "Transfers",
            [
                Panel(
                    "Acknowledged by Kafka",
                    [Query(rate("livebalance_feed_records_total", "instance"), "{{instance}}")],
                    unit="ops",
                    width=24,
                )
            ],
        ),
        processes("feed"),
    ],
)
