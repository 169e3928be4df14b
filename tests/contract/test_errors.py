"""docs/errors.md names every word that the code says no with, and no other."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple, get_args, get_type_hints

import pytest
from prometheus_client.metrics import MetricWrapperBase

from livebalance.gateway.telemetry import metrics as of_gateway
from livebalance.projector import metrics as of_projector
from livebalance.projector.fold import account, fold
from livebalance.runtime.config.environment import known_variables
from livebalance.stack.paths import PROJECT
from livebalance.wire.close import _MESSAGES, CloseCode
from livebalance.wire.frame import ErrorCode, SnapshotReason, Status
from livebalance.wire.problem import ProblemCode
from tests.contract.vectors import vectors

PAGE = (PROJECT / "docs/errors.md").read_text()
PROTOCOL = (PROJECT / "docs/protocol.md").read_text()


class Table(NamedTuple):
    head: list[str]
    rows: list[list[str]]

    def words(self, column: int = 0) -> list[str]:
        """What is between backquotes there, of all rows."""
        return [word for row in self.rows for word in re.findall(r"`([^`]+)`", row[column])]


def tables(text: str, heading: str) -> list[Table]:
    """Those under a heading."""
    part = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", part, re.MULTILINE):
        head, _, *rows = (re.split(r"(?<!\\)\|", line)[1:-1] for line in block.splitlines())
        found.append(Table([cell.strip() for cell in head], [[cell.strip() for cell in row] for row in rows]))
    return found


def table(heading: str) -> Table:
    found = tables(PAGE, heading)
    assert found, heading
    return found[0]


def test_every_close_code_and_every_word_beside_it() -> None:
    closes = table("Close codes")
    assert [int(row[0]) for row in closes.rows] == sorted(CloseCode)
    assert sorted(closes.words(1)) == sorted(_MESSAGES)


@pytest.mark.parametrize(
    ("heading", "codes"),
    [
        ("Error frames", get_args(ErrorCode)),
        ("Snapshot reasons", get_args(SnapshotReason)),
        ("Ended subscriptions", ("gone", "revoked")),
        ("HTTP problems", get_args(ProblemCode)),
    ],
)
def test_every_code_of(heading: str, codes: Iterable[str]) -> None:
    assert sorted(table(heading).words()) == sorted(codes)


def test_every_state_of_the_pipeline() -> None:
    states = get_args(get_type_hints(Status)["state"])
    assert list(dict.fromkeys(table("Pipeline status").words())) == list(states)


def test_a_problem_has_the_status_that_the_protocol_says() -> None:
    (told,) = (one for one in tables(PROTOCOL, "REST") if one.head == ["status", "codes"])
    for code, status in ((row[0].strip("`"), row[1]) for row in table("HTTP problems").rows):
        assert any(status in row[0] and f"`{code}`" in row[1] for row in told.rows), code


def test_every_reason_to_put_a_record_aside_or_to_dispute_an_account() -> None:
    aside, disputes = tables(PAGE, "Quarantined records")
    cases = [case for told in vectors("admissible").values() for case in told]
    refused = {case["refused"] for case in cases if case["refused"]}
    assert refused
    assert {*refused, fold.OTHER_TRANSFER} <= set(aside.words())
    constants = {account.DRIFT, fold.OTHER_TRANSFER, fold.OTHER_BALANCE, fold.OLD_BALANCE}
    assert set(disputes.words()) == constants


def names(module: Any) -> set[str]:
    """As /metrics has them."""
    metrics = [one for one in vars(module).values() if isinstance(one, MetricWrapperBase)]
    families = [family for metric in metrics for family in metric.describe()]
    return {f"{one.name}_total" if one.type == "counter" else one.name for one in families}


def test_metrics_and_settings_that_it_names_exist() -> None:
    told = set(re.findall(r"\blivebalance_(?:gateway|projector)_\w+", PAGE))
    assert told
    assert told <= names(of_gateway) | names(of_projector)
    settings = set(re.findall(r"\bLIVEBALANCE_[A-Z_]+[A-Z]", PAGE))
    assert settings <= known_variables()


def test_no_row_lacks_a_cell() -> None:
    for heading in re.findall(r"^## (.*)$", PAGE, re.MULTILINE):
        for one in tables(PAGE, heading):
            assert {len(row) for row in one.rows} == {len(one.head)}, heading
            for row in one.rows:
                elsewhere = "see below" in row[1] or row[0] in ("4506", "`live`", "`catching_up`")
                assert all(row) or elsewhere, row
