"""Makes docs/configuration.md from the settings class of each service."""

from collections.abc import Iterator, Mapping

from livebalance.runtime.config.environment import ELSEWHERE, variable
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.config.types import is_secret, said, written

_HEAD = """\
# Configuration

<!-- Made by `make docs`; the texts are in the `settings.py` of each service. -->

Every service is told by its environment what it needs to know. An empty variable counts as none. Times are in
seconds and sizes in bytes, unless a name says otherwise.

A setting can also be a file: `LIVEBALANCE_SECRETS_DIRECTORY` names a directory, and a file there is called as its
variable in lower case (`livebalance_jwks`). That is meant for what is marked as a secret below: it does not
show in any log or message. A variable outranks a file.

A service that is told what cannot be meant does not start: it says all that is wrong, a line each that names
the variable, and ends with exit code 2. So it does for a variable `LIVEBALANCE_…` that nothing here reads.
What others of Livebalance read does no harm, so that one environment may serve all. To look before:

```sh
livebalance config check                      # every service; --service gateway for one, --json for programs
```
"""


def markdown(kinds: Mapping[str, type[ServiceSettings]]) -> str:
    """Returns the whole page."""
    parts = [_HEAD, "## All services", *_table(ServiceSettings)]
    for name, kind in kinds.items():
        parts += [f"\n## {name.capitalize()}", *_table(kind)]
    parts += ["\n## Read by others", "", "| variable | for |", "|---|---|"]
    parts += [_row(f"`{variable(name)}`", what) for name, what in ELSEWHERE.items()]
    return "\n".join(parts) + "\n"


def _table(kind: type[ServiceSettings]) -> Iterator[str]:
    """Of what this class says itself: what it has from all is in their table."""
    shapes = kind.model_json_schema()["properties"]
    yield from ("", "| variable | says | is | default |", "|---|---|---|---|")
    for field, info in kind.model_fields.items():
        if field in kind.__annotations__:
            shape = shapes[field]
            says = info.description or ServiceSettings.model_fields[field].description or ""
            kind_of = said(shape) + (" (secret)" if is_secret(shape) else "")
            yield _row(f"`{variable(field)}`", says, kind_of, _code(written(info.default)))


def _code(text: str) -> str:
    return f"`{text}`" if text and text != "[]" else ""


def _row(*cells: str) -> str:
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"
