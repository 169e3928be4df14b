"""Makes docs/cli.md from the commands of `livebalance` and their options."""

from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperGroup

from livebalance.cli.commands import app, load

# The fields of each object that a command prints with --json. Fields may be added, never renamed or
# removed. `lanes[]` is each object of a list, and `topics{}` each object of an object with names as keys.
JSON_FIELDS: dict[str, dict[str, str]] = {
    "status": {
        "": "epoch, known_server, quarantined, disputed, kafka_error, lanes, services, gateways",
        "services[]": "role, name, connections",
        "gateways[]": "url, ready, sessions, stale_seconds, problem",
        "lanes[]": "as in `lane list`",
    },
    "check source": {
        "": "good, topics_error, open_period_warning, split_accounts, topics",
        "topics{}": "partitions, settings, records, newest, erasures, rejected",
        "topics{}.partitions{}": "first, next, start",
        "topics{}.rejected[]": "reason, records, first",
    },
    "config check": {
        "": "good, errors, services",
        "errors[]": "line, services",
        "services{}.{}": "value, set",
    },
    "doctor": {"": "good, findings", "findings[]": "check, state, text, hint"},
    "epoch bump": {"": "old, new"},
    "erase": {"": "account, lane, transfers_before"},
    "export balances": {"": "rows, epoch, as_of, ends"},
    "export transfers": {"": "rows, epoch, as_of, ends"},
    "lane continue": {"": "lane, halted_why, epoch"},
    "lane skip": {"": "lane, topic, offset"},
    "produce": {
        "": "written, unacknowledged, skipped, skipped_lines, stopped",
        "skipped_lines[]": "where, reason",
    },
    "protocol check": {"": "conforms, rules", "rules[]": "rule, state, detail"},
    "protocol play": {"": "conforms, rules", "rules[]": "rule, state, detail"},
    "quarantine list": {
        "": "records, more",
        "records[]": "id, topic, partition, offset, kafka_time, key, size, reason, state, rejected_by,"
        " headers",
    },
    "quarantine replay": {"": "requested, sent"},
    "rebuild": {
        "": "equal, swapped, epoch, accounts_different, fields, differences, quarantine, lanes",
        "differences[]": "account, field, live, shadow",
        "quarantine": "missing, applied",
        "lanes{}": "transfers_next, balances_next, live, shadow",
        "lanes{}.live": "accounts, balance, transfers, posted_total, disputed",
        "lanes{}.shadow": "accounts, balance, transfers, posted_total, disputed",
    },
    "verify": {"": "as in `rebuild`"},
    "revoke": {"": "subject, session, account, at, notified"},
    "lane list": {
        "": "lanes, kafka_error",
        "lanes[]": "lane, owner, generation, as_of, lag_seconds, transfers_next, transfers_end,"
        " balances_next, balances_end, halted_why, recorder_halted_why, disputed, drifting, unverified",
    },
    "epoch show": {"": "epoch, known_server, changes", "changes[]": "at, by, lane, was, became, why"},
    "revoke list": {"": "revocations, more", "revocations[]": "id, at, subject, login, account, by, why"},
    "quarantine show": {
        "": "id, state, rejected_by, reason, source, kafka_time, key, value_hex, headers, decoded,"
        " rejected_now"
    },
    "explain": {
        "": "transfer, listed",
        "listed[]": "account, amount, balance_after, in_balance, record, record_in_kafka, occurred_at,"
        " recorded_at, transaction, committed_at, epoch, revision, delta_from, delta_to, channel",
    },
    "watch": {
        "changed": "event, account, epoch, revision, balance, snapshot, transfers",
        "connected": "event, gateway, session",
        "disconnected": "event, code, reason, retry_in",
        "ended": "event, account, code, message",
        "status": "event, state, since",
    },
    "token mint": {"": "token, claims"},
    "token inspect": {"": "header, claims, signature, defects"},
}

_HEAD = """\
# The command line

<!-- Made by `make docs` from the commands in services/cli. -->

`livebalance` shows the state of the system, and changes what an operator decides. It uses the servers in
`LIVEBALANCE_KAFKA`, `LIVEBALANCE_POSTGRES` (for a member of the role `operator`) and `LIVEBALANCE_REDIS`; by
default those of the demo on this machine. [configuration.md](configuration.md) lists the variables.

If something is wrong, begin with `livebalance doctor`: it asks each server and names the cause. Then
`livebalance status` shows the lanes.

- **`--json`**: a command prints one JSON object on one line (`watch`: one per event). Fields may be added,
  but are never renamed or removed. Amounts are decimal strings, times are RFC 3339 in UTC, and what is not
  known is null. Errors stay text on standard error.
- **Colours and progress** appear on a terminal only, never in a pipe or a file.
- **Completion**: `livebalance --install-completion` sets it up for your shell.
- **Secrets** such as `LIVEBALANCE_TOKEN` are read from the environment, because other users see arguments.

| exit code | means |
|---|---|
| 0 | it did what it says |
| 1 | it failed, and changed nothing unless it says so; one line on standard error says why |
| 2 | the arguments or the settings are wrong |
| 3 | it worked, and what it read is not sound (`doctor`, `protocol`, `rebuild`, `produce`, `token inspect`) |
| 130 | it was interrupted |
"""


def markdown() -> str:
    """Returns the page."""
    return "\n".join(
        [_HEAD, *(line for name, command in commands(root()) for line in _section(name, command))]
    )


def root() -> TyperGroup:
    """Returns `livebalance` with all its commands imported."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    group.commands = {name: load(name) for name in group.commands}
    return group


def commands(group: TyperGroup, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the commands of a group with their names, such as `lane list`."""
    for name, command in sorted(group.commands.items()):
        if not isinstance(command, TyperGroup):
            yield prefix + name, command
            continue
        if command.invoke_without_command:
            yield prefix + name, command
        yield from commands(command, f"{prefix}{name} ")


def _section(name: str, command: Any) -> Iterator[str]:
    context = typer.Context(command, info_name=f"livebalance {name}")
    pieces = command.collect_usage_pieces(context)
    if isinstance(command, TyperGroup):
        pieces = pieces[:1]
    yield f"## {name}"
    yield ""
    yield f"```\nlivebalance {' '.join([name, *pieces])}\n```"
    yield ""
    yield "\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n"))
    yield ""
    rows = [row for parameter in command.params if (row := _row(parameter, context))]
    if rows:
        yield "| option | means |"
        yield "|---|---|"
        yield from rows
        yield ""
    if fields := JSON_FIELDS.get(name):
        yield "`--json` prints:"
        yield ""
        yield from (f"- {f'`{key}`: ' if key else ''}{_code(text)}" for key, text in fields.items())
        yield ""


def _code(text: str) -> str:
    return text if text.startswith("as ") else ", ".join(f"`{field}`" for field in text.split(", "))


def _row(parameter: Any, context: typer.Context) -> str | None:
    record = parameter.get_help_record(context)
    if record is None or record[0] == "--help":
        return None
    option, text = (" ".join(part.split()).replace("|", "\\|") for part in record)
    return f"| `{option}` | {text} |"
