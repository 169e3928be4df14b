"""Makes the generated pages of docs/ that need no server: `make docs`."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from livebalance.runtime.config.environment import service_settings
from scripts import asyncapi, cli_docs, includes, metrics_docs, settings_docs

PROJECT = Path(__file__).resolve().parents[1]


def _vectors(name: str) -> Any:
    return json.loads((PROJECT / "libs" / "wire" / "vectors" / f"{name}.json").read_text())


def _asyncapi() -> str:
    document = asyncapi.document(_vectors("frames"), _vectors("sets"), _vectors("close"))
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "configuration.md": lambda: settings_docs.markdown(service_settings()),
    "metrics.md": lambda: metrics_docs.markdown(metrics_docs.modules()),
    "asyncapi.json": _asyncapi,
    # The gateway serves it, also where there is no folder docs.
    "../services/gateway/livebalance/gateway/api/reference/asyncapi.json": _asyncapi,
    "typescript-client.md": lambda: includes.filled("typescript-client.md"),
    "cli.md": cli_docs.markdown,
}


def main() -> int:
    """Writes the pages; with `--check`, only names those that are not up to date. Returns the exit code."""
    pages = {PROJECT / "docs" / name: make() for name, make in PAGES.items()}
    if "--check" in sys.argv:
        stale = [path.name for path, text in pages.items() if path.read_text() != text]
        sys.stdout.writelines(f"{name}\n" for name in stale)
        return 1 if stale else 0
    for path, text in pages.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
