"""The dashboards in the files are those that the code makes, and ask for what there is."""

import json
from collections import Counter

import pytest

from deploy.observability.boards import BOARDS, DIRECTORY
from deploy.observability.boards.board import COLUMNS, Board

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
