"""`livebalance lane list` while records arrive."""

import asyncio
import json

import pytest

from livebalance.cli.inspection import lanes
from livebalance.cli.inspection.lanes import Ends
from livebalance.readmodel.operator.status_rows import ProjectionStatus, ServerStatus
from livebalance.wire.identity import Offset
from tests.unit.cli.test_diagnosis import LANE, PROJECTION, SERVER


def test_lane_that_goes_on_while_it_is_read_is_not_beyond_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = 5

    async def read_projection() -> tuple[ServerStatus, ProjectionStatus]:
        nonlocal written
        await asyncio.sleep(0)
        written = 7  # records that arrive now are applied when the lane is read
        lane = LANE._replace(transfers_next=Offset(written))
        return SERVER, PROJECTION._replace(lanes=[lane])

    async def read_ends() -> Ends:
        return Ends({LANE.lane: written}, {LANE.lane: written})

    monkeypatch.setattr(lanes, "read_projection", read_projection)
    monkeypatch.setattr(lanes, "read_ends", read_ends)
    lanes.lanes(as_json=True)
    [lane] = json.loads(capsys.readouterr().out)["lanes"]
    assert (lane["transfers_next"], lane["transfers_end"]) == (7, 7)
