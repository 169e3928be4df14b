"""The dashboards, of which the files for Grafana are made."""

from pathlib import Path

from deploy.observability.boards import feed, gateway, health, money, projector, recorder

DIRECTORY = Path(__file__).parent.parent / "dashboards"
BOARDS = (health.BOARD, feed.BOARD, recorder.BOARD, projector.BOARD, gateway.BOARD, money.BOARD)
