"""The dashboards in the files are those that the code makes, and ask for what there is."""

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
from livebalance.gateway.live.status import Word
from tests.contract.promql import missing
from tests.prometheus import promtool

each = pytest.mark.parametrize("board", BOARDS, ids=lambda board: str(board.name))


@each
def test_its_file_is_made_of_it(board: Board) -> None:
    made = (DIRECTORY / f"{board.name}.json").read_text()
    assert made == board.text(), "run: python -m deploy.observability.boards"


def test_there_are_no_other_files() -> None:
    assert {path.stem for path in DIRECTORY.iterdir()} == {board.name for board in BOARDS}


@each
def test_panels_lie_beside_each_other(board: Board) -> None:
    places: Counter[tuple[int, int]] = Counter()
    for panel in json.loads(board.text())["panels"]:
        at = panel["gridPos"]
        columns, lines = range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
        assert columns.stop <= COLUMNS
        places.update((x, y) for x in columns for y in lines)
    assert max(places.values()) == 1


@each
def test_it_asks_for_metrics_that_exist(board: Board) -> None:
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
def test_the_worst_that_clients_are_told_is_shown(gateways: list[str], shown: str, tmp_path: Path) -> None:
    series = [
        {
            "series": f'livebalance_gateway_pipeline_state{{instance="{number}",state="{word}"}}',
            "values": str(int(word == said)),
        }
        for number, said in enumerate(gateways)
        for word in get_args(Word)
    ]
    (value,) = (float(number) for number, word in STATUS_NAMES.items() if word == shown)
    asked = {"expr": STATUS.expr, "eval_time": "0s", "exp_samples": [{"labels": "{}", "value": value}]}
    case = {"interval": "15s", "input_series": series, "promql_expr_test": [asked]}
    (tmp_path / "told.yml").write_text(yaml.safe_dump({"tests": [case]}))
    promtool("test", "rules", tmp_path / "told.yml")


def test_a_metric_or_a_label_that_does_not_exist_is_noticed() -> None:
    assert missing("rate(livebalance_gateway_delta_total[1m])") == ["livebalance_gateway_delta_total"]
    assert missing('livebalance_gateway_pipeline_state{word="live"}') == [
        "livebalance_gateway_pipeline_state{word}"
    ]
