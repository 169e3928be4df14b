"""`livebalance protocol`: what clients and gateways say to each other."""

import json
from typing import Any

import typer

from livebalance.cli.asyncapi import document
from livebalance.stack.place import PROJECT
from livebalance.stack.trouble import Trouble

app = typer.Typer(help="What clients and gateways say to each other.", no_args_is_help=True)


@app.callback()
def protocol() -> None:
    """What clients and gateways say to each other."""


@app.command()
def docs() -> None:
    """Print the socket as AsyncAPI 3: docs/asyncapi.json. Examples come from the checkout it runs in."""
    typer.echo(json.dumps(document(_vectors("frames"), _vectors("close")), indent=1, ensure_ascii=False))


def _vectors(name: str) -> Any:
    path = PROJECT / "libs" / "wire" / "vectors" / f"{name}.json"
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise Trouble("the examples are not here: run it in a checkout of Livebalance") from None
