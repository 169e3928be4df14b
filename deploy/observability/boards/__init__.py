"""The Grafana dashboards as Python, from which the JSON files are generated."""

from pathlib import Path

from deploy.observability.boards import feed, gateway, health, money, projector, recorder

DIRECTORY = Path(__file__).parent.parent / "dashboards"
BOARDS = (health.BOARD, feed.BOARD, recorder.BOARD, projector.BOARD, gateway.BOARD, money.BOARD)
