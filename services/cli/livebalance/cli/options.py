"""Options that several commands have."""

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON object.")]
Reason = Annotated[str, typer.Option(help="Your reason; it is stored in the database.")]
