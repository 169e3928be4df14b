"""What the environment tells a service: its settings, or all that is wrong with them, a line each.

A line names the variable and says what it should be. Values are in none of them: a secret may stand anywhere.
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
from livebalance.runtime.config.types import said
from livebalance.runtime.errors import SettingsError
from livebalance.runtime.redact import one_line

Settings = TypeVar("Settings", bound=ServiceSettings)

SECRETS = f"{PREFIX}SECRETS_DIRECTORY"
_VARIABLE = re.compile(rf"\b{PREFIX}[A-Z0-9_]+")
_LONGEST = 60  # characters of a name that nobody here has chosen

# What is read by others than services, as docs/configuration.md tells it.
ELSEWHERE = {
    "CHROMIUM": "tests: the browser to use",
    "FAILPOINT": "proofs: where a service dies",
    "DEMO_TOKEN_ADDRESS": "balancer: where tokens of the demo are given, host:port",
    "GATEWAYS": "balancer: the gateways, host:port with spaces between",
    "GRAFANA_PORT": "`docker compose`: the port of Grafana",
    "STATE_DIRECTORY": "`make`: where all is kept, else `.livebalance`",
    "MAVEN_REPOSITORY": "`make`: another repository of Kafka's jars",
    "PAGE_HOST": "balancer: the address it listens on",
    "PAGE_NAME": "balancer: the name that the page is asked for by",
    "PAGE_PORT": "balancer: the port it listens on",
    "PAGE_ROOT": "balancer: directory of the built page",
    "PAGE_SCHEME": "balancer: `https` serves by TLS alone",
    "PAGE_TLS": "balancer: a directive, as in `deploy/Caddyfile`",
    "PARENT_PID": "`make`: the process that the demo ends with",
    "SCREENSHOT": "tests: where a picture of the page is put",
    "PORT": "`docker compose`: the port of the page",
    "POSTGRES_OWNER": "migrations: URL of the database for its owner (a secret)",
    "PROMETHEUS_PORT": "`docker compose`: the port of Prometheus",
    "SECRETS_DIRECTORY": "all: directory of files that hold settings",
    "STACK": "`make` and tests: `docker` or `embedded` servers",
}


@cache
def kinds() -> dict[str, type[ServiceSettings]]:
    """The settings of every service installed here, by its name: services do not import each other."""
    return {one.name: one.load() for one in sorted(entry_points(group="livebalance.settings"))}


def variable(field: str) -> str:
    return f"{PREFIX}{field}".upper()


@cache
def known() -> frozenset[str]:
    """Every variable that something of ours reads."""
    fields = (field for kind in kinds().values() for field in kind.model_fields)
    return frozenset(map(variable, [*ELSEWHERE, *fields]))


def read(kind: type[Settings]) -> Settings:
    """Raises SettingsError."""
    files, broken = _secrets(os.environ.get(SECRETS))
    lines = [*_unknown([*os.environ, *files]), *broken]
    where: dict[str, Any] = {"_secrets_dir": os.environ.get(SECRETS) if files and not broken else ()}
    try:
        told = kind(**where)
    except ValidationError as wrong:
        lines += _wrong(wrong, kind)
        raise SettingsError([*lines, *([] if broken else _others(wrong, kind, where))]) from None
    if not broken:
        lines += told.refusals()
    if lines:
        raise SettingsError(lines)
    return told


def _others(wrong: ValidationError, kind: type[ServiceSettings], where: Mapping[str, Any]) -> Iterator[str]:
    """What would be refused if the wrong ones were left out, and does not name one of these."""
    fields = {str(error["loc"][0]) for error in wrong.errors(include_url=False)}
    left_out = {field: kind.model_fields[field].get_default(call_default_factory=True) for field in fields}
    with suppress(ValidationError):  # one that there is no doing without
        for line in kind(**where, **left_out).refusals():
            if {variable(field) for field in fields}.isdisjoint(_VARIABLE.findall(line)):
                yield line


def _wrong(wrong: ValidationError, kind: type[ServiceSettings]) -> Iterator[str]:
    shapes = kind.model_json_schema()["properties"]
    seen = set[str]()
    for error in wrong.errors(include_url=False):
        field = str(error["loc"][0])
        if field not in seen:  # one that may be this or that is wrong for each
            seen.add(field)
            yield f"{variable(field)} {_complaint(error, shapes[field])}"


def _complaint(error: Mapping[str, Any], shape: Mapping[str, Any]) -> str:
    own = error.get("ctx", {}).get("error")
    if own and str(own):
        return str(own)
    if error["type"] == "missing":
        return f"is not set: it should be {said(shape)}"
    given = error["input"]
    quoted = isinstance(given, str) and given[:1] in ("'", '"')
    return f"should be {said(shape)}{', without quotes around it' if quoted else ''}"


def _unknown(names: Iterable[str]) -> Iterator[str]:
    mine = sorted(name for name in map(str.upper, names) if name.startswith(PREFIX))
    for name in sorted(set(mine) - known()):
        if not name.startswith(_linked(mine)):
            yield f"{_shortened(name)} is not known{_meant(name)}"


def _linked(names: Iterable[str]) -> tuple[str, ...]:
    """What Kubernetes tells every process of a namespace of each service there, livebalance-gateway say."""
    ends = "_SERVICE_HOST"
    services = [name.removesuffix(ends) for name in names if name.endswith(ends)]
    return tuple(f"{service}_{what}" for service in services for what in ("SERVICE_", "PORT"))


def _meant(name: str) -> str:
    short = name.removeprefix(PREFIX)[:_LONGEST]
    near = get_close_matches(short, [one.removeprefix(PREFIX) for one in known()], n=1)
    return f": is {PREFIX}{near[0]} meant?" if near else ": leave it out, or see docs/configuration.md"


def _shortened(name: str) -> str:
    shown = one_line(name)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


def _secrets(directory: str | None) -> tuple[list[str], list[str]]:
    """The settings that are files there, and why some of them cannot be used."""
    if not directory:
        return [], []
    path = Path(directory).expanduser()
    try:
        files = [file for file in sorted(path.iterdir()) if file.name.upper().startswith(PREFIX)]
    except OSError as why:
        return [], [f"{SECRETS} should be a directory: {why.strerror}"]
    broken = [
        f"{SECRETS} has a file {_shortened(file.name)} that {reason}"
        for file in files
        if (reason := _unusable(file, path))
    ]
    return [file.name for file in files], broken


def _unusable(file: Path, directory: Path) -> str | None:
    try:
        file.read_text("utf-8")
    except UnicodeDecodeError:
        return "is not UTF-8"
    except OSError as why:
        return f"cannot be read: {why.strerror}"
    inside = file.resolve().is_relative_to(directory.resolve())
    return None if inside else "is a link to somewhere else"
