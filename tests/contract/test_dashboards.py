"""The dashboard files are generated from the code, and their queries use existing metrics."""

import json
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest
import yaml

from deploy.observability.boards import BOARDS, DIRECTORY
from deploy.observability.boards.board import COLUMNS, Board
from deploy.observability.boards.health import STATUS, STATUS_NAMES
from deploy.observability.boards.panel import Query
from livebalance.gateway.live.status import PipelineState
from tests.contract.promql import missing
from tests.prometheus import promtool

each = pytest.mark.parametrize("board", BOARDS, ids=lambda board: str(board.name))


@each
def test_file_matches_the_code(board: Board) -> None:
    text = (DIRECTORY / f"{board.name}.json").read_text()
    assert text == board.text(), "run: python -m deploy.observability.boards"


def test_every_file_belongs_to_a_dashboard() -> None:
    assert {path.stem for path in DIRECTORY.iterdir()} == {board.name for board in BOARDS}


@each
def test_panels_do_not_overlap(board: Board) -> None:
    cells: Counter[tuple[int, int]] = Counter()
    for panel in json.loads(board.text())["panels"]:
        box = panel["gridPos"]
        columns, lines = range(box["x"], box["x"] + box["w"]), range(box["y"], box["y"] + box["h"])
        assert columns.stop <= COLUMNS
        cells.update((x, y) for x in columns for y in lines)
    assert max(cells.values()) == 1


@each
def test_queries_use_existing_metrics(board: Board) -> None:
    queries = [query for panel in board.panels() for query in panel.queries if isinstance(query, Query)]
    for query in queries:
        assert missing(query.expr.replace("$__rate_interval", "1m")) == [], query.expr


@pytest.mark.parametrize(
    ("gateways", "shown"),
    [
        (["live", "live"], "live"),
        (["live", "catching_up"], "catching up"),
        (["catching_up", "stalled"], "stalled"),
        (["stalled", "live"], "stalled"),
    ],
)
def test_worst_state_of_the_gateways_is_shown(gateways: list[str], shown: str, tmp_path: Path) -> None:
    series = [
        {
            "series": f'livebalance_gateway_pipeline_state{{instance="{number}",state="{state}"}}',
            "values": str(int(state == current)),
        }
        for number, current in enumerate(gateways)
        for state in get_args(PipelineState)
    ]
    (value,) = (float(number) for number, name in STATUS_NAMES.items() if name == shown)
    expected = {"expr": STATUS.expr, "eval_time": "0s", "exp_samples": [{"labels": "{}", "value": value}]}
    case = {"interval": "15s", "input_series": series, "promql_expr_test": [expected]}
    (tmp_path / "status.yml").write_text(yaml.safe_dump({"tests": [case]}))
    promtool("test", "rules", tmp_path / "status.yml")


def test_unknown_metric_or_label_is_reported() -> None:
    assert missing("rate(livebalance_gateway_delta_total[1m])") == ["livebalance_gateway_delta_total"]
    assert missing('livebalance_gateway_pipeline_state{word="live"}') == [
        "livebalance_gateway_pipeline_state{word}"
    ]
