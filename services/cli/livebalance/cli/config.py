"""`livebalance config`: the settings that each service would have."""

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from livebalance.cli.options import AsJson
from livebalance.runtime.config.environment import read_settings, service_settings, variable
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.config.types import environment_text, is_secret
from livebalance.runtime.errors import SettingsError
from livebalance.runtime.redact import one_line, text

HIDDEN = "…"
_MAX_CHARACTERS = 1000  # of a value

app = typer.Typer(help="Check the settings of the services.", no_args_is_help=True)


@app.callback()
def config() -> None:
    """Check the settings of the services."""


@app.command()
def check(
    service: Annotated[str | None, typer.Option(help="Check only this service, such as gateway.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read the environment as each service would, and print its settings without secrets.

    Exit code 1: a setting is invalid. Then only the errors are printed, each on its own line.
    """
    kinds = _select(service)
    settings, errors = _read(kinds)
    if as_json:
        lines = [{"line": line, "services": services} for line, services in errors.items()]
        services = {} if errors else {name: _values(valid) for name, valid in settings.items()}
        typer.echo(json.dumps({"good": not errors, "errors": lines, "services": services}))
    else:
        for line in _error_lines(errors, len(kinds)) if errors else _setting_lines(settings):
            typer.echo(line)
    raise typer.Exit(1 if errors else 0)


def _select(service: str | None) -> dict[str, type[ServiceSettings]]:
    kinds = service_settings()
    if service is None:
        return kinds
    if service not in kinds:
        raise typer.BadParameter(f"one of {', '.join(kinds)}", param_hint="--service")
    return {service: kinds[service]}


def _read(
    kinds: dict[str, type[ServiceSettings]],
) -> tuple[dict[str, ServiceSettings], dict[str, list[str]]]:
    """Returns the settings of each service that would start, and the services by error line."""
    settings, errors = dict[str, ServiceSettings](), defaultdict[str, list[str]](list)
    for name, kind in kinds.items():
        try:
            settings[name] = read_settings(kind)
        except SettingsError as error:
            for line in error.lines:
                errors[line].append(name)
    return settings, errors


def _error_lines(errors: dict[str, list[str]], services: int) -> Iterable[str]:
    for line, names in errors.items():
        yield line if len(names) == services else f"{line} ({', '.join(names)})"


def _setting_lines(settings: dict[str, ServiceSettings]) -> Iterable[str]:
    for name, values in settings.items():
        yield f"[{name}]"
        for key, setting in _values(values).items():
            default = "" if setting["set"] else "  (default)"
            yield f"{key}={one_line(environment_text(setting['value']))}{default}"


def _values(settings: ServiceSettings) -> dict[str, dict[str, Any]]:
    shapes = settings.model_json_schema()["properties"]
    given = settings.model_fields_set
    values = settings.model_dump(mode="json")
    return {
        variable(field): {"value": _redacted(values[field], is_secret(shapes[field])), "set": field in given}
        for field in values
    }


def _redacted(value: Any, secret: bool) -> Any:
    if secret:
        return HIDDEN if value else None
    return text(value, _MAX_CHARACTERS) if isinstance(value, str) else value
