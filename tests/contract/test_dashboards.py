"""The dashboard files are generated from the code, and their queries use existing metrics."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest
import yaml

from deploy.observability.boards import BOARDS, DIRECTORY, projector, recorder
from deploy.observability.boards.board import COLUMNS, Board
from deploy.observability.boards.health import STATUS, STATUS_NAMES
from deploy.observability.boards.variables import ANNOTATIONS
from livebalance.gateway.live.status import PipelineState
from tests.contract.promql import existing_series, missing, selected_series
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


def expressions(board: Board) -> list[str]:
    """Returns the PromQL of the panels in a dashboard's file."""
    panels = json.loads(board.text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ()) if "expr" in target]


@each
def test_queries_use_existing_metrics_and_variables(board: Board) -> None:
    variables = {f"${variable.name}" for variable in board.variables}
    used = set[str]()
    for expr in expressions(board):
        plain = expr.replace("$__rate_interval", "1m")
        assert missing(plain) == [], expr
        used.update(re.findall(r"\$\w+", plain))
    assert used == variables


@each
def test_variables_are_values_of_existing_labels(board: Board) -> None:
    for variable in board.variables:
        assert missing(f'{variable.values_of}{{{variable.label}=""}}') == []


def test_lane_variable_limits_every_query_by_lane() -> None:
    """A series that has a lane and is not limited would show lanes that nobody chose."""
    labels = existing_series()
    for board in (projector.BOARD, recorder.BOARD):
        for expr in expressions(board):
            for name, matchers in selected_series(expr.replace("$__rate_interval", "1m")):
                assert ("lane" in labels[name]) == ("lane" in matchers), expr


def test_annotations_use_existing_metrics() -> None:
    for annotation in ANNOTATIONS:
        assert missing(annotation.expr) == [], annotation.name


EPOCHS = "livebalance_projector_epoch_info"
INFO = "livebalance_info"
LANES = "livebalance_projector_lanes"
STAYS, NEVER, RISES, BEGINS = ("1 " * 20, "0 " * 20, "0 " * 10 + "1 " * 10, "_ " * 10 + "1 " * 10)


@pytest.mark.parametrize(
    ("name", "series", "marked"),
    [
        ("epoch", {f'{EPOCHS}{{epoch="a"}}': STAYS, f'{EPOCHS}{{epoch="b"}}': BEGINS}, ['{epoch="b"}']),
        ("epoch", {f'{EPOCHS}{{epoch="a"}}': BEGINS}, []),
        (
            "deploy",
            {
                f'{INFO}{{service="feed",version="1"}}': STAYS,
                f'{INFO}{{service="feed",version="2"}}': BEGINS,
                f'{INFO}{{service="gateway",version="1"}}': BEGINS,
            },
            ['{service="feed",version="2"}'],
        ),
        (
            "halt",
            {
                f'{LANES}{{instance="1",state="halted"}}': RISES,
                f'{LANES}{{instance="2",state="halted"}}': NEVER,
            },
            ['{instance="1"}'],
        ),
    ],
    ids=["new epoch", "first epoch", "new version", "halted lane"],
)
def test_annotation_marks_what_happened(
    name: str, series: dict[str, str], marked: list[str], tmp_path: Path
) -> None:
    """Asked half a minute after the tenth scrape."""
    (annotation,) = (annotation for annotation in ANNOTATIONS if annotation.name == name)
    expected = {
        "expr": annotation.expr,
        "eval_time": "2m45s",
        "exp_samples": [{"labels": labels, "value": 1} for labels in marked],
    }
    inputs = [{"series": labels, "values": values} for labels, values in series.items()]
    case = {"interval": "15s", "input_series": inputs, "promql_expr_test": [expected]}
    tests = {"evaluation_interval": "15s", "tests": [case]}
    (tmp_path / "annotation.yml").write_text(yaml.safe_dump(tests))
    promtool("test", "rules", tmp_path / "annotation.yml")


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
