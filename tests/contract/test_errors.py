"""docs/errors.md lists every error code and reason in the code, and no others."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple, get_args, get_type_hints

import pytest
from prometheus_client.metrics import MetricWrapperBase

from livebalance.gateway.telemetry import metrics as gateway_metrics
from livebalance.projector import metrics as projector_metrics
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
    """A table in Markdown."""

    head: list[str]
    rows: list[list[str]]

    def words(self, column: int = 0) -> list[str]:
        """Returns the texts between backquotes in a column."""
        return [word for row in self.rows for word in re.findall(r"`([^`]+)`", row[column])]


def tables(text: str, heading: str) -> list[Table]:
    """Returns the tables under a heading."""
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    result = []
    for block in re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE):
        head, _, *rows = (re.split(r"(?<!\\)\|", line)[1:-1] for line in block.splitlines())
        result.append(
            Table([cell.strip() for cell in head], [[cell.strip() for cell in row] for row in rows])
        )
    return result


def table(heading: str) -> Table:
    """Returns the first table of the page under a heading."""
    return tables(PAGE, heading)[0]


def test_page_lists_every_close_code_and_reason() -> None:
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
def test_page_lists_every_code(heading: str, codes: Iterable[str]) -> None:
    assert sorted(table(heading).words()) == sorted(codes)


def test_page_lists_every_pipeline_state() -> None:
    states = get_args(get_type_hints(Status)["state"])
    assert list(dict.fromkeys(table("Pipeline status").words())) == list(states)


def test_status_of_a_problem_matches_the_protocol_page() -> None:
    (statuses,) = (
        candidate for candidate in tables(PROTOCOL, "REST") if candidate.head == ["status", "codes"]
    )
    for code, status in ((row[0].strip("`"), row[1]) for row in table("HTTP problems").rows):
        assert any(status in row[0] and f"`{code}`" in row[1] for row in statuses.rows), code


def test_page_lists_every_reason_of_quarantine_and_dispute() -> None:
    quarantine, disputes = tables(PAGE, "Quarantined records")
    cases = [case for group in vectors("admissible").values() for case in group]
    reasons = {case["refused"] for case in cases if case["refused"]}
    assert reasons
    assert {*reasons, fold.OTHER_TRANSFER} <= set(quarantine.words())
    constants = {account.DRIFT, fold.OTHER_TRANSFER, fold.OTHER_BALANCE, fold.OTHER_OPENING, fold.OLD_BALANCE}
    assert set(disputes.words()) == constants


def names(module: Any) -> set[str]:
    """Returns the names of metrics as in /metrics."""
    metrics = [metric for metric in vars(module).values() if isinstance(metric, MetricWrapperBase)]
    families = [family for metric in metrics for family in metric.describe()]
    return {f"{family.name}_total" if family.type == "counter" else family.name for family in families}


def test_metrics_and_settings_of_the_page_exist() -> None:
    metrics = set(re.findall(r"\blivebalance_(?:gateway|projector)_\w+", PAGE))
    assert metrics
    assert metrics <= names(gateway_metrics) | names(projector_metrics)
    settings = set(re.findall(r"\bLIVEBALANCE_[A-Z_]+[A-Z]", PAGE))
    assert settings <= known_variables()


def test_no_cell_is_empty() -> None:
    for heading in re.findall(r"^## (.*)$", PAGE, re.MULTILINE):
        for current in tables(PAGE, heading):
            assert {len(row) for row in current.rows} == {len(current.head)}, heading
            for row in current.rows:
                may_be_empty = "see below" in row[1] or row[0] in ("4506", "`live`", "`catching_up`")
                assert all(row) or may_be_empty, row
