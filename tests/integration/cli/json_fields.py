"""Compares what commands print with --json with the fields that docs/cli.md lists."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from scripts.cli_docs import JSON_FIELDS


def listed_fields(command: str, key: str) -> list[str]:
    """Returns the fields of an object that a command prints, as docs/cli.md lists them."""
    fields = JSON_FIELDS[command][key]
    if fields.startswith("as in "):
        return listed_fields(fields.split("`")[1], key)
    return fields.split(", ")


def objects(value: Any, key: str) -> Iterator[dict[str, Any]]:
    """Yields the objects at a key such as `lanes[]` (each of a list) or `topics{}` (each of an object)."""
    name, _, rest = key.partition(".")
    if not name:
        yield value
        return
    field, kind = (name[:-2], name[-2:]) if name.endswith(("[]", "{}")) else (name, "")
    inner = value[field] if field else value
    for each in inner.values() if kind == "{}" else inner if kind == "[]" else [inner]:
        yield from objects(each, rest)


def command_of(words: Sequence[str]) -> str:
    """Returns the command in the words of a command line."""
    return max((name for name in JSON_FIELDS if name.split() == [*words][: len(name.split())]), key=len)


def assert_listed(words: Sequence[str], output: str) -> None:
    """Asserts that a command has printed the fields of docs/cli.md, in their order."""
    command = command_of(words)
    printed = json.loads(output.splitlines()[-1])
    for key in JSON_FIELDS[command]:
        for fields in objects(printed, key):
            assert list(fields) == listed_fields(command, key), f"{command} {key}"
