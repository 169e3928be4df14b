"""Reads a service's settings from the environment, and lists every mistake in them, a line each.

A line names the variable and says what it should be. No line contains a value, because a value can be secret.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from livebalance.runtime.config.settings import PREFIX, ServiceSettings
from livebalance.runtime.config.types import describe_type
from livebalance.runtime.errors import SettingsError
from livebalance.runtime.redact import one_line

Settings = TypeVar("Settings", bound=ServiceSettings)

SECRETS_DIRECTORY = f"{PREFIX}SECRETS_DIRECTORY"
_VARIABLE = re.compile(rf"\b{PREFIX}[A-Z0-9_]+")
_MAX_NAME = 60  # characters shown of an unknown variable's name, which can be of any length

# Variables that are not a field of any settings class, for docs/configuration.md.
OTHER_VARIABLES = {
    "ACCOUNTS": "set by `livebalance protocol play`: accounts to subscribe to, separated by spaces",
    "SETS": "set by `livebalance protocol play`: sets to subscribe to, separated by spaces",
    "CHROMIUM": "tests: path of the browser to use",
    "FAILPOINT": "tests: point at which a service kills itself",
    "DEMO_CONTROL_ADDRESS": "balancer: host:port of the demo's supervisor, which acts for the page",
    "DEMO_HOSTS": "balancer: names under which the demo's tokens are issued, separated by spaces",
    "DEMO_TOKEN_ADDRESS": "balancer: host:port of the feed that issues demo tokens",
    "GATEWAYS": "balancer: host:port of each gateway, separated by spaces",
    "GRAFANA_PORT": "`docker compose`: port of Grafana",
    "HEALTH_PATH": "balancer: path of the health check of gateways; none: `/readyz`",
    "HEALTH_PORT": "balancer: port of the health check of gateways; 0: the clients' port; none: 8001",
    "STATE_DIRECTORY": "`make`: directory of everything that is built or stored; none: `.livebalance`",
    "MAVEN_REPOSITORY": "`make`: URL of a Maven repository that has Kafka's jars",
    "PAGE_HOST": "balancer: address to listen on",
    "PAGE_NAME": "balancer: host name that requests for the page must have",
    "PAGE_PORT": "balancer: port to listen on",
    "PAGE_ROOT": "balancer: directory of the built page; none: gateways answer every request",
    "PAGE_SCHEME": "balancer: `https` to serve TLS only",
    "PAGE_TLS": "balancer: a `tls` directive, as in `deploy/Caddyfile`",
    "PAGE_TRUSTED_PROXIES": "balancer: proxies in front of it, addresses and networks separated by spaces",
    "PARENT_PID": "`make`: id of the process with which the demo ends",
    "SCREENSHOT": "tests: file for a screenshot of the page",
    "SIMULATION_SEED": "tests: first seed of the simulated pipeline; none: random, and printed",
    "PORT": "`docker compose`: port of the page",
    "URL": "set by `livebalance protocol play`: URL that the client connects to",
    "POSTGRES_OWNER": "migrations, `livebalance rebuild`: URL of the database for its owner (a secret)",
    "PROMETHEUS_PORT": "`docker compose`: port of Prometheus",
    "SECRETS_DIRECTORY": "all: directory of files that hold settings",
    "TOKEN": "`livebalance watch`: token for the accounts to watch (a secret); none: a token of the demo",
    "STACK": "`make` and tests: `docker` or `embedded` servers",
}


@cache
def service_settings() -> dict[str, type[ServiceSettings]]:
    """Returns the settings class of each installed service by the service's name.

    They are found by entry points, because services do not import each other.
    """
    points = sorted(entry_points(group="livebalance.settings"))
    return {point.name: point.load() for point in points}


def variable(field: str) -> str:
    """Returns the name of the environment variable of a settings field."""
    return f"{PREFIX}{field}".upper()


@cache
def known_variables() -> frozenset[str]:
    """Returns every variable that some part of Livebalance reads."""
    classes = service_settings().values()
    fields = (field for settings_type in classes for field in settings_type.model_fields)
    return frozenset(map(variable, [*OTHER_VARIABLES, *fields]))


def read_settings(settings_type: type[Settings]) -> Settings:
    """Returns the settings that the environment and the directory of secrets hold.

    Raises:
        SettingsError: A setting is unknown, missing or invalid. The error has a line for each mistake.
    """
    files, file_errors = _secret_files(os.environ.get(SECRETS_DIRECTORY))
    lines = [*_unknown_variables([*os.environ, *files]), *file_errors]
    usable = files and not file_errors
    source: dict[str, Any] = {"_secrets_dir": os.environ.get(SECRETS_DIRECTORY) if usable else ()}
    try:
        settings = settings_type(**source)
    except ValidationError as invalid:
        lines += _field_errors(invalid, settings_type)
        if not file_errors:
            lines += _further_errors(invalid, settings_type, source)
        raise SettingsError(lines) from None
    if not file_errors:
        lines += settings.startup_errors()
    if lines:
        raise SettingsError(lines)
    return settings


def _further_errors(
    invalid: ValidationError, settings_type: type[ServiceSettings], source: Mapping[str, Any]
) -> Iterator[str]:
    """Yields the startup errors that remain when the invalid fields have their defaults.

    An error that names an invalid field is left out: it may disappear when the field is valid.
    """
    fields = {str(error["loc"][0]) for error in invalid.errors(include_url=False)}
    defaults = {
        field: settings_type.model_fields[field].get_default(call_default_factory=True) for field in fields
    }
    with suppress(ValidationError):  # a required field has no default
        for line in settings_type(**source, **defaults).startup_errors():
            if {variable(field) for field in fields}.isdisjoint(_VARIABLE.findall(line)):
                yield line


def _field_errors(invalid: ValidationError, settings_type: type[ServiceSettings]) -> Iterator[str]:
    schemas = settings_type.model_json_schema()["properties"]
    seen = set[str]()
    for error in invalid.errors(include_url=False):
        field = str(error["loc"][0])
        if field not in seen:  # a field of a union type has an error for each of its members
            seen.add(field)
            yield f"{variable(field)} {_expectation(error, schemas[field])}"


def _expectation(error: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    own_text = error.get("ctx", {}).get("error")
    if own_text and str(own_text):
        return str(own_text)
    if error["type"] == "missing":
        return f"is not set: it should be {describe_type(schema)}"
    value = error["input"]
    quoted = isinstance(value, str) and value[:1] in ("'", '"')
    return f"should be {describe_type(schema)}{', without quotes' if quoted else ''}"


def _unknown_variables(names: Iterable[str]) -> Iterator[str]:
    ours = sorted(name for name in map(str.upper, names) if name.startswith(PREFIX))
    for name in sorted(set(ours) - known_variables()):
        if not name.startswith(_service_link_prefixes(ours)):
            yield f"{_shorten(name)} is not known{_suggestion(name)}"


def _service_link_prefixes(names: Iterable[str]) -> tuple[str, ...]:
    """Returns the prefixes of the variables that Kubernetes sets for each Service of the namespace.

    Their names begin with the name of the Service, for instance `livebalance-gateway`, in upper case.
    """
    suffix = "_SERVICE_HOST"
    services = [name.removesuffix(suffix) for name in names if name.endswith(suffix)]
    return tuple(f"{service}_{part}" for service in services for part in ("SERVICE_", "PORT"))


def _suggestion(name: str) -> str:
    short = name.removeprefix(PREFIX)[:_MAX_NAME]
    candidates = [known.removeprefix(PREFIX) for known in known_variables()]
    matches = get_close_matches(short, candidates, n=1)
    return f": did you mean {PREFIX}{matches[0]}?" if matches else ": remove it, or see docs/configuration.md"


def _shorten(name: str) -> str:
    text = one_line(name)
    return text if len(text) <= _MAX_NAME else f"{text[:_MAX_NAME]}…"


def _secret_files(directory: str | None) -> tuple[list[str], list[str]]:
    """Returns the names of the files that hold settings, and a line for each file that cannot be used."""
    if not directory:
        return [], []
    path = Path(directory).expanduser()
    try:
        files = [file for file in sorted(path.iterdir()) if file.name.upper().startswith(PREFIX)]
    except OSError as error:
        return [], [f"{SECRETS_DIRECTORY} should be a directory: {error.strerror}"]
    errors = [
        f"{SECRETS_DIRECTORY} has a file {_shorten(file.name)} that {reason}"
        for file in files
        if (reason := _file_error(file, path))
    ]
    return [file.name for file in files], errors


def _file_error(file: Path, directory: Path) -> str | None:
    try:
        file.read_text("utf-8")
    except UnicodeDecodeError:
        return "is not UTF-8"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    inside = file.resolve().is_relative_to(directory.resolve())
    return None if inside else "links out of the directory"
