"""Each alert is valid, has tests in which it fires and stays silent, and has a runbook."""

import shlex
from typing import Any

import pytest
from typer.testing import CliRunner

from livebalance.cli.commands import app
from livebalance.stack.paths import PROJECT
from tests.contract import runbook
from tests.contract.alerts import ALERTS, DIRECTORY, RULES, RUNBOOKS, Alert, read
from tests.contract.promql import missing
from tests.prometheus import promtool

each = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert.stem))


def silent(group: dict[str, Any], alert: Alert) -> bool:
    """Returns whether a group of tests expects the alert to stay silent although its series exist."""
    rules = [rule for rule in group.get("alert_rule_test", ()) if rule["alertname"] == alert.name]
    return bool(rules) and not any(rule.get("exp_alerts") for rule in rules)


def fires(group: dict[str, Any], alert: Alert) -> bool:
    labels = f'alertname="{alert.name}", alertstate="firing"'
    return any(
        test["expr"] == f"ALERTS{{{labels}}}"
        and [sample["value"] for sample in test["exp_samples"]] == [1]
        and f'severity="{alert.labels["severity"]}"' in test["exp_samples"][0]["labels"]
        for test in group.get("promql_expr_test", ())
    )


def test_rules_and_configuration_are_valid() -> None:
    promtool("check", "rules", RULES)
    promtool("check", "config", DIRECTORY / "prometheus.yml")


@each
def test_alert_fires_and_stays_silent_as_its_tests_expect(alert: Alert) -> None:
    path = DIRECTORY / "tests" / f"{alert.stem}.yml"
    groups = read(path)["tests"]
    assert any(silent(group, alert) for group in groups)
    assert any(fires(group, alert) for group in groups)
    promtool("test", "rules", path)


@each
def test_alert_has_a_severity_texts_and_a_runbook(alert: Alert) -> None:
    assert alert.labels["severity"] in {"page", "ticket"}
    assert alert.annotations.keys() == {"summary", "description", "runbook_url"}
    assert alert.annotations["runbook_url"] == f"{RUNBOOKS}/{alert.stem}.md"
    page = (PROJECT / RUNBOOKS / f"{alert.stem}.md").read_text()
    headings = [line for line in page.splitlines() if line.startswith("#")]
    assert headings == [
        f"# {alert.name}",
        "## What it means",
        "## How to see it",
        "## Usual causes",
        "## What to do",
        "## When to escalate",
    ]


@each
def test_alert_uses_existing_metrics(alert: Alert) -> None:
    assert missing(alert.expr) == []


@pytest.mark.parametrize(("page", "expr"), runbook.blocks("promql"))
def test_runbook_uses_existing_metrics(page: str, expr: str) -> None:
    assert missing(expr) == [], page


@pytest.mark.parametrize("command", sorted(runbook.commands()))
def test_command_of_a_runbook_exists(command: str) -> None:
    result = CliRunner().invoke(app, [*shlex.split(command, comments=True), "--help"])
    assert result.exit_code == 0, result.output


def test_files_belong_to_existing_alerts() -> None:
    stems = {alert.stem for alert in ALERTS}
    assert len(stems) == len(ALERTS)
    assert {path.stem for path in (DIRECTORY / "tests").iterdir()} == stems
    assert {path.stem for path in (PROJECT / RUNBOOKS).iterdir()} == stems | {"README"}
