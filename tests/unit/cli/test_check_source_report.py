"""The output of `check source` for a terminal."""

import io
from collections import Counter

from rich.console import Console

from livebalance.cli.topics.check_source import PartitionReport, SourceReport, TopicReport
from livebalance.cli.topics.check_source_report import show
from livebalance.cli.topics.sample import Sample
from livebalance.runtime.kafka.topics import SourceTopics
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.kafka.record import Balance
from livebalance.wire.money import Money


def topic(name: str, newest: Balance | None) -> TopicReport:
    return TopicReport(name, {0: PartitionReport(0, 1, 0)}, Sample(1, newest, 0, Counter(), {}, {}))


def test_sample_record_cannot_control_the_terminal() -> None:
    newest = Balance(AccountId("alice"), "a\x1b[2J\x9b2J", TransferId("t-1"), Money(1, 2), 1)
    source = SourceTopics("transfers", "balances", {}, {"transfers": {}, "balances": {}})
    report = SourceReport(source, None, topic("transfers", None), topic("balances", newest), {})
    shown = io.StringIO()
    show(report, Console(file=shown, width=200))
    assert r"client_id=a\u001b[2J\u009b2J" in shown.getvalue()
