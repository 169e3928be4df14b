"""`livebalance config`: what each service would run with, and what can be set."""

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from livebalance.runtime.config.environment import kinds, read, variable
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.config.types import is_secret, written
from livebalance.runtime.errors import SettingsError
from livebalance.runtime.redact import one_line, text

HIDDEN = "…"
_LONGEST = 1000  # characters of one value

app = typer.Typer(help="What services are told by LIVEBALANCE_*.", no_args_is_help=True)


@app.callback()
def config() -> None:
    """Settings of the services, from LIVEBALANCE_*."""


@app.command()
def check(
    service: Annotated[str | None, typer.Option(help="This one only, as feed, gateway.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of words.")] = False,
) -> None:
    """Read the environment as every service would, and print what each would run with, without secrets.

    Exit code 1: something is wrong, and is told instead, a line each.
    """
    told, wrong = _read(_chosen(service))
    if as_json:
        errors = [{"line": line, "services": services} for line, services in wrong.items()]
        services = {} if wrong else {name: _values(one) for name, one in told.items()}
        typer.echo(json.dumps({"good": not wrong, "errors": errors, "services": services}))
    else:
        count = len(_chosen(service))
        for line in _lines(wrong, count) if wrong else _words(told):
            typer.echo(line)
    raise typer.Exit(1 if wrong else 0)


def _chosen(service: str | None) -> dict[str, type[ServiceSettings]]:
    known = kinds()
    if service is None:
        return known
    if service not in known:
        raise typer.BadParameter(f"one of {', '.join(known)}", param_hint="--service")
    return {service: known[service]}


def _read(
    chosen: dict[str, type[ServiceSettings]],
) -> tuple[dict[str, ServiceSettings], dict[str, list[str]]]:
    """The settings of those that would start, and what keeps the others from it: which services, by line."""
    told, wrong = dict[str, ServiceSettings](), defaultdict[str, list[str]](list)
    for name, kind in chosen.items():
        try:
            told[name] = read(kind)
        except SettingsError as error:
            for line in error.lines:
                wrong[line].append(name)
    return told, wrong


def _lines(wrong: dict[str, list[str]], services: int) -> Iterable[str]:
    for line, names in wrong.items():
        yield line if len(names) == services else f"{line} ({', '.join(names)})"


def _words(told: dict[str, ServiceSettings]) -> Iterable[str]:
    for name, settings in told.items():
        yield f"[{name}]"
        for one, found in _values(settings).items():
            yield f"{one}={one_line(written(found['value']))}{'' if found['set'] else '  (default)'}"


def _values(settings: ServiceSettings) -> dict[str, dict[str, Any]]:
    shapes = settings.model_json_schema()["properties"]
    told = settings.model_fields_set
    values = settings.model_dump(mode="json")
    return {
        variable(field): {"value": _shown(values[field], is_secret(shapes[field])), "set": field in told}
        for field in values
    }


def _shown(value: Any, secret: bool) -> Any:
    if secret:
        return HIDDEN if value else None
    return text(value, _LONGEST) if isinstance(value, str) else value
