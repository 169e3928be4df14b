"""The output of `check source`, as text and as JSON."""

from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from livebalance.cli.topics.check_source import SourceReport, TopicReport
from livebalance.cli.topics.sample import Sample, as_json_values
from livebalance.runtime.kafka.topics import open_period_warning
from livebalance.runtime.redact import one_line

_SETTINGS = ("cleanup.policy", "retention.ms", "retention.bytes")


def as_object(report: SourceReport) -> dict[str, Any]:
    """Returns the report for --json."""
    return {
        "good": report.is_good,
        "topics_error": report.topics_error,
        "open_period_warning": open_period_warning(report.source),
        "split_accounts": {
            account: list(partitions) for account, partitions in report.split_accounts.items()
        },
        "topics": {topic.name: _object(topic, report) for topic in (report.transfers, report.balances)},
    }


def _object(topic: TopicReport, report: SourceReport) -> dict[str, Any]:
    config, sample = report.source.configs[topic.name], topic.sample
    return {
        "partitions": {number: partition._asdict() for number, partition in topic.partitions.items()},
        "settings": {name: config.get(name) for name in _SETTINGS},
        "records": sample.records,
        "newest": as_json_values(sample.newest),
        "erasures": sample.erasures,
        "rejected": [
            {"reason": reason, "records": count, "first": sample.first_rejected[reason]}
            for reason, count in sample.rejected.most_common()
        ],
    }


def show(report: SourceReport, console: Console) -> None:
    """Prints the report as text."""
    for topic in (report.transfers, report.balances):
        console.print(_topic(topic, report))
    for account, (transfers, balances) in list(report.split_accounts.items())[:10]:
        console.print(
            f"{account}: transfers are in partition {transfers}, balances in {balances}: both producers must"
            " hash the key in the same way",
            style="red",
            soft_wrap=True,
        )
    if report.topics_error:
        console.print(report.topics_error, style="red", highlight=False, soft_wrap=True)
    if warning := open_period_warning(report.source):
        console.print(warning, style="yellow", highlight=False, soft_wrap=True)
    console.print(_verdict(report), highlight=False, soft_wrap=True)


def _verdict(report: SourceReport) -> Text:
    if report.is_good:
        return Text("A projection can be built from these topics.", "green")
    if report.topics_error or report.split_accounts:
        return Text("No projection can be built from these topics as they are.", "red")
    rejected = sum(topic.sample.rejected.total() for topic in (report.transfers, report.balances))
    return Text(f"A projection can be built; {rejected} of these records would be quarantined.", "yellow")


def _topic(topic: TopicReport, report: SourceReport) -> Group:
    config = report.source.configs[topic.name]
    table = Table(
        *("partition", "first offset", "next offset", "start offset"), title_justify="left", title=topic.name
    )
    for number, partition in topic.partitions.items():
        table.add_row(*map(str, (number, *partition)))
    settings = ", ".join(f"{name}={config.get(name)}" for name in _SETTINGS)
    return Group(table, Text(settings, "dim"), *_sample(topic.sample), Text(""))


def _sample(sample: Sample) -> list[Text]:
    lines = [Text(f"{sample.records} records decoded, {sample.erasures} of them erasures")]
    if newest := as_json_values(sample.newest):
        fields = ", ".join(f"{name}={value}" for name, value in newest.items())
        lines.append(Text(one_line(f"newest: {fields}")))  # a client id is any text of a producer
    for reason, count in sample.rejected.most_common():
        first = sample.first_rejected[reason]
        lines.append(Text(f"would be quarantined: {count} ({reason}), the first at {first}", "yellow"))
    return lines
