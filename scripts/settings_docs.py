"""Makes docs/configuration.md from the settings class of each service."""

from collections.abc import Iterator, Mapping

from livebalance.runtime.config.descriptions import describe_settings
from livebalance.runtime.config.environment import OTHER_VARIABLES, variable
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.config.types import describe_type, environment_text, is_secret

_HEAD = """\
# Configuration

<!-- Made by `make docs` from the texts in the `settings.py` of each service. -->

Every service reads its settings from environment variables. An empty variable counts as not set.

The name of a setting says its unit: a duration ends in `_SECONDS` or `_MS`, a size in `_BYTES`, and a rate
(per second) in `_RATE` or `_RATE_PER_ADDRESS`. A limit has `MAX` in its name.

A setting can also be a file: `LIVEBALANCE_SECRETS_DIRECTORY` names a directory, and the file's name is the
variable in lower case (`livebalance_jwks`). Use files for the settings that are marked as secret below.
Secrets never appear in logs or messages. If a variable and a file set the same setting, the variable
counts.

A service with invalid settings does not start. It logs one line per mistake, which names the variable, and
exits with code 2. An unknown variable `LIVEBALANCE_…` is a mistake as well. Variables of other parts of
Livebalance are accepted, so that all services can share an environment. To check the settings without
starting a service:

```sh
livebalance config check      # all services; --service gateway for one service, --json for JSON
```
"""


def markdown(services: Mapping[str, type[ServiceSettings]]) -> str:
    """Returns the page for the settings class of each service."""
    parts = [_HEAD, "## All services", *_table(ServiceSettings)]
    for name, settings_type in services.items():
        parts += [f"\n## {name.capitalize()}", *_table(settings_type)]
    parts += ["\n## Other variables", "", "| variable | read by |", "|---|---|"]
    parts += [_row(f"`{variable(name)}`", text) for name, text in OTHER_VARIABLES.items()]
    return "\n".join(parts) + "\n"


def _table(settings_type: type[ServiceSettings]) -> Iterator[str]:
    """Yields a table of the fields that the class itself declares."""
    schemas = settings_type.model_json_schema()["properties"]
    descriptions = describe_settings(settings_type)
    yield from ("", "| variable | description | value | default |", "|---|---|---|---|")
    for field, info in settings_type.model_fields.items():
        if field in settings_type.__annotations__:
            schema = schemas[field]
            value = describe_type(schema) + (" (secret)" if is_secret(schema) else "")
            yield _row(
                f"`{variable(field)}`", descriptions[field], value, _code(environment_text(info.default))
            )


def _code(text: str) -> str:
    return f"`{text}`" if text and text != "[]" else ""


def _row(*cells: str) -> str:
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"
