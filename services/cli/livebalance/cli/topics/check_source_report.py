"""What was found of two topics, for eyes and for programs."""

from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from livebalance.cli.topics.check_source import SourceReport, TopicReport
from livebalance.cli.topics.sample import Sample, shown
from livebalance.runtime.kafka.topics import open_periods

_KEPT = ("cleanup.policy", "retention.ms", "retention.bytes")


def as_object(report: SourceReport) -> dict[str, Any]:
    """For --json."""
    return {
        "good": report.is_good,
        "unfit": report.unfit,
        "open_periods": open_periods(report.source),
        "apart": {account: list(lanes) for account, lanes in report.apart.items()},
        "topics": {one.name: _object(one, report) for one in (report.transfers, report.balances)},
    }


def _object(topic: TopicReport, report: SourceReport) -> dict[str, Any]:
    config, found = report.source.configs[topic.name], topic.sample
    return {
        "partitions": {number: log._asdict() for number, log in topic.logs.items()},
        "kept": {name: config.get(name) for name in _KEPT},
        "looked_at": found.looked_at,
        "newest": shown(found.newest),
        "erased": found.erased,
        "refused": [
            {"reason": reason, "records": count, "first": found.first[reason]}
            for reason, count in found.refused.most_common()
        ],
    }


def show(report: SourceReport, console: Console) -> None:
    for topic in (report.transfers, report.balances):
        console.print(_topic(topic, report))
    for account, (transfers, balances) in list(report.apart.items())[:10]:
        console.print(
            f"{account}: transfers in partition {transfers}, balances in {balances}: write both by the same"
            " hash of the key",
            style="red",
        )
    if report.unfit:
        console.print(report.unfit, style="red", highlight=False, soft_wrap=True)
    if warning := open_periods(report.source):
        console.print(warning, style="yellow", highlight=False, soft_wrap=True)
    console.print(_verdict(report), highlight=False, soft_wrap=True)


def _verdict(report: SourceReport) -> Text:
    if report.is_good:
        return Text("A projection can be built from these topics.", "green")
    refused = sum(sum(one.sample.refused.values()) for one in (report.transfers, report.balances))
    if report.unfit or report.apart:
        return Text("No projection can be built from these topics as they are.", "red")
    return Text(f"A projection can be built; {refused} of these records would be put aside.", "yellow")


def _topic(topic: TopicReport, report: SourceReport) -> Group:
    config = report.source.configs[topic.name]
    table = Table("partition", "first", "next", "begins at", title_justify="left", title=topic.name)
    for number, log in topic.logs.items():
        table.add_row(str(number), str(log.first), str(log.end), str(log.begin))
    kept = ", ".join(f"{name}={config.get(name)}" for name in _KEPT)
    return Group(table, Text(kept, "dim"), *_sample(topic.sample), Text(""))


def _sample(found: Sample) -> list[Text]:
    lines = [Text(f"looked at {found.looked_at} records, {found.erased} of them erasures")]
    if newest := shown(found.newest):
        said = ", ".join(f"{name}={value}" for name, value in newest.items())
        lines.append(Text(f"newest: {said}"))
    for reason, count in found.refused.most_common():
        lines.append(Text(f"to be put aside: {count} times {reason} (first {found.first[reason]})", "yellow"))
    return lines
